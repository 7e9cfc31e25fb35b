"""The routes that answer questions."""
