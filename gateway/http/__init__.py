"""The HTTP side: routes, the stream, health, errors as JSON, CORS. Only this package uses aiohttp."""
