"""The HTTP side: routes, streams, polls, health, errors, CORS. Only this package uses aiohttp."""
