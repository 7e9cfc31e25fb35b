"""Everything aiohttp: the server below, and a folder or module for each kind of endpoint."""
