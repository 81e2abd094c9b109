"""Who may use `/dev/…` of `sse-gateway dev`: its own page, opened by an address of its own.

A page of another site can have its own name resolve to 127.0.0.1 (DNS rebinding); the browser then
lets it read every answer. What it cannot change is the name: it stands in `Host`. A request without
`Origin` is a page's own, or comes from no browser.
"""

from ipaddress import ip_address
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler

from gateway.errors import Forbidden

_EVERY_ADDRESS = ("0.0.0.0", "::", "")  # noqa: S104 - compared, not bound


class Guard:
    """Lets through what names a host of this gateway, which listens on *bound*."""

    def __init__(self, bound: str) -> None:
        """*bound*: the address or name that the user has chosen to listen on."""
        self._bound = bound.lower()

    def __call__(self, handler: Handler) -> Handler:
        """*handler*, asked for what is ours alone.

        The handler raises:
            Forbidden: the request is of another host or origin.
        """

        async def guarded(request: web.Request) -> web.StreamResponse:
            self._check(request)
            return await handler(request)

        return guarded

    def _check(self, request: web.Request) -> None:
        host = request.headers.get("Host", "")
        if not self._is_own(host):
            raise Forbidden(
                "This host is not the gateway's: open it as localhost, by its IP address, or by "
                "the name in GATEWAY_HOST.",
                "host_forbidden",
            )
        origin = request.headers.get("Origin")
        if origin is not None and origin.partition("://")[2].lower() != host.lower():
            raise Forbidden(
                "Only the gateway's own page may ask for this: open that.", "origin_forbidden"
            )

    def _is_own(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        # Browsers resolve whatever ends with .localhost to this machine.
        if name == "localhost" or name.endswith(".localhost") or name == self._bound:
            return bool(name)
        try:
            address = ip_address(name)
        except ValueError:
            return False
        # No name resolves to another address here: an address is what the browser has connected to.
        return address.is_loopback or self._bound in _EVERY_ADDRESS
