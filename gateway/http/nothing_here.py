"""404 and 405 as a route of our own.

aiohttp makes a route for each such request, which refers to itself and to the error that it raises:
2 KiB stay for each, until the collector comes.
"""

from aiohttp import web


def add_nothing_here(application: web.Application) -> None:
    """Answer what none of the routes of *application* takes; its other paths stand first."""
    catch_all = application.router.add_resource("/{any:.*}")

    async def handle(request: web.Request) -> web.StreamResponse:
        allowed: set[str] = set()
        for resource in application.router.resources():
            if resource is not catch_all:
                _, methods = await resource.resolve(request)
                allowed |= methods
        if allowed:
            raise web.HTTPMethodNotAllowed(request.method, allowed)
        raise web.HTTPNotFound

    catch_all.add_route("*", handle)
