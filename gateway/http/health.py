"""`GET /api/v1/sse/health`: the verdict of `gateway.bus.health`, as the contract words it."""

from aiohttp import web
from aiohttp.typedefs import Handler

from gateway.bus.health import Health
from gateway.http.errors import json_response


def health_handler(health: Health) -> Handler:
    """200 while events can be trusted to arrive, else 503 with the reason in words."""

    async def handle(_: web.Request) -> web.Response:
        status = health.status()
        document: dict[str, object] = {
            "status": "healthy" if status.healthy else "unhealthy",
            "redis": "connected" if status.redis_connected else "disconnected",
        }
        if status.healthy:
            return json_response(document)
        document["reason"] = " ".join(status.reasons)
        return json_response(document, 503, {"Retry-After": "3"})

    return handle
