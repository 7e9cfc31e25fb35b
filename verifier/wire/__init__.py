"""Bytes to questions, answers and problems to bytes, messages, schemas. Nothing of aiohttp."""
