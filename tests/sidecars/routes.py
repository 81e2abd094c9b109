"""Every route of the gateway, as strangers ask for it: what a proxy must pass on."""

from aiohttp import ClientSession

from gateway.app import create_application
from gateway.settings import Settings

Answers = dict[tuple[str, str], tuple[int, bytes]]

_NAMES = {"execution_id": "run-1", "organization_id": "acme", "workflow_id": "-"}


async def answers(session: ClientSession, url: str, settings: Settings) -> Answers:
    """What *url* answers on each route below `/api/v1/`."""
    found = {}
    for route in create_application(settings).router.routes():
        canonical = route.resource.canonical if route.resource is not None else ""
        if canonical.startswith("/api/v1/") and route.method != "HEAD":
            path = canonical.format_map({**_NAMES, "name": "index.js"})
            async with session.request(route.method, url + path, ssl=False) as response:
                found[route.method, path] = (response.status, await response.read())
    return found
