"""Takes an open stream out of aiohttp's hands.

What aiohttp holds for a request (its protocol, parser, request, headers, two tasks, the frames of
all middlewares) is several times what a stream needs, and is held until the handler returns. So the
handler returns once the response has begun, and the connection lives on with another protocol.
"""

import asyncio
from collections.abc import Mapping

from aiohttp import HttpVersion11, web


class HandedOver:
    """A response that aiohttp has begun and somebody else ends; it is logged at its end."""


class _Chunked(HandedOver, web.Response):
    """Its head leaves together with the first bytes of its body, in one packet."""


class _UntilClose(HandedOver, web.StreamResponse):
    """For HTTP/1.0, where only the end of the connection can end a body of unknown length."""


def begin(request: web.Request, headers: Mapping[str, str]) -> web.StreamResponse:
    """A response to `request` that can be handed over."""
    response: web.StreamResponse
    if is_chunked(request):
        response = _Chunked(headers=headers)
        response.enable_chunked_encoding()
    else:
        response = _UntilClose(headers=headers)
    # Whoever ends it knows no second request.
    response.force_close()
    return response


def is_chunked(request: web.Request) -> bool:
    """Whether the body of the response goes in chunks (RFC 9112, section 7.1)."""
    return request.version >= HttpVersion11


def release(request: web.Request) -> asyncio.Transport:
    """The connection of *request*, which aiohttp takes for lost from now on.

    The handler must not wait for anything after this, and its response must be one of `begin`:
    aiohttp cancels it, and cannot serve a second request.

    Raises:
        ConnectionResetError: the reader has gone.
    """
    protocol = request.protocol
    transport = protocol.transport
    if transport is None:
        raise ConnectionResetError
    # It closes what it still has when it is told that the connection is lost.
    protocol.transport = None
    protocol.connection_lost(None)
    return transport
