"""The HTTP side: routes, the stream, health, errors as JSON, CORS. Only this room knows aiohttp."""
