"""Everything aiohttp: routes, handlers, codec, problems, health, the OpenAPI document."""
