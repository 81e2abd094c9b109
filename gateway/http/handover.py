"""Takes an open stream out of aiohttp's hands.

What aiohttp holds for a request (its protocol, parser, request, headers, two tasks, the frames of
all middlewares) is several times what a stream needs, and is held until the handler returns. So the
handler returns once the response has begun, and the connection lives on with another protocol.
"""

import asyncio
from collections.abc import Callable, Mapping

from aiohttp import HttpVersion11, web


class HandedOver:
    """A response that aiohttp has begun and somebody else ends; it is logged at its end."""


class _Chunked(HandedOver, web.Response):
    """Its head leaves together with the first bytes of its body, in one packet."""


class _UntilClose(HandedOver, web.StreamResponse):
    """For HTTP/1.0, where only the end of the connection can end a body of unknown length."""


class _Sent(HandedOver, web.StreamResponse):
    """Its head and the first bytes of its body were written by `hand_over`."""

    async def prepare(self, request: web.BaseRequest) -> None:
        """Called by aiohttp when the handler has returned."""

    async def write_eof(self, data: bytes = b"") -> None:
        """The same."""


def sent() -> web.StreamResponse:
    """What a handler returns where `hand_over` has written all that aiohttp would."""
    response = _Sent()
    response.force_close()
    return response


def begin(request: web.Request, headers: Mapping[str, str]) -> web.StreamResponse:
    """A response to `request` that can be handed over."""
    response: web.StreamResponse
    if is_chunked(request):
        response = _Chunked(headers=headers)
        response.enable_chunked_encoding()
    else:
        response = _UntilClose(headers=headers)
    # The connection carries no second request.
    response.force_close()
    return response


def is_chunked(request: web.Request) -> bool:
    """Whether the body of the response goes in chunks (RFC 9112, section 7.1)."""
    return request.version >= HttpVersion11


def hand_over(
    request: web.Request, attach: Callable[[asyncio.Transport], None], first: bytes = b""
) -> None:
    """Write *first* to the connection of *request* and give it to *attach*; aiohttp takes it for
    lost.

    One call, since nothing may be awaited in between: aiohttp cancels the handler. The handler
    returns the response of `begin` next, or where *first* has the head, that of `sent`.

    Raises:
        ConnectionResetError: the reader has gone.
    """
    protocol = request.protocol
    transport = protocol.transport
    if transport is None or transport.is_closing():
        raise ConnectionResetError
    if first:
        transport.write(first)
    # It closes what it still has when the connection counts as lost.
    protocol.transport = None
    protocol.connection_lost(None)
    attach(transport)
