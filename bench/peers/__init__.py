"""What a user would pick instead, on the same table, with the same checks and the same answers.

judging       the same checks: what the service does between the body and the answer, one question
server        the rest that servers share: a port, one line when ready, SIGTERM
bare          an aiohttp handler that reads the body and returns bytes: the most aiohttp can do
pool          aiohttp and an asyncpg pool, one query per question
fastapi_app   FastAPI, uvicorn and an asyncpg pool, one query per question
golang        net/http and a pgx pool in Go (go/), one query per question, canonical questions
raw           asyncpg alone: `= ANY` over the same keys
copy          COPY alone into the same table
codec         msgspec and orjson alone over the bodies of a batch
"""
