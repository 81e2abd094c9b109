"""Only the page of `sse-gateway dev` may use its commands."""

from ipaddress import ip_address
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler

from gateway.errors import Forbidden

_EVERY_ADDRESS = ("0.0.0.0", "::", "")  # noqa: S104 - compared, not bound


class Guard:
    """Refuses requests that do not come from the gateway's own page.

    A page of another site can have its own name resolve to 127.0.0.1 (DNS rebinding), and then read
    every answer. But it cannot change `Host`, which holds that name. A request without `Origin` is
    the page's own, or of no browser.
    """

    def __init__(self, bound: str) -> None:
        """*bound*: the address or name that the gateway listens on."""
        self._bound = bound.lower()

    def __call__(self, handler: Handler) -> Handler:
        """*handler*, which then raises `Forbidden` for another host or origin."""

        async def guarded(request: web.Request) -> web.StreamResponse:
            self._check(request)
            return await handler(request)

        return guarded

    def _check(self, request: web.Request) -> None:
        host = request.headers.get("Host", "")
        if not self._is_own(host):
            raise Forbidden(
                "This host name is not the gateway's: open it as localhost, by its IP address, or "
                "by the name in GATEWAY_HOST.",
                "host_forbidden",
            )
        origin = request.headers.get("Origin")
        if origin is not None and origin.partition("://")[2].lower() != host.lower():
            raise Forbidden(
                "Only the gateway's own page may use this: open that page.", "origin_forbidden"
            )

    def _is_own(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        # Browsers resolve every name that ends with .localhost to this machine.
        if name == "localhost" or name.endswith(".localhost") or name == self._bound:
            return bool(name)
        try:
            address = ip_address(name)
        except ValueError:
            return False
        # An address involves no DNS, so no rebinding.
        return address.is_loopback or self._bound in _EVERY_ADDRESS
