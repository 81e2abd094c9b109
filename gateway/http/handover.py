"""Takes an open stream out of aiohttp's hands.

What aiohttp holds for a request (its protocol, parser, request, headers, two tasks, the frames of
all middlewares) is several times what a stream needs, and is held until the handler returns. So the
handler returns once the response has begun, and the connection lives on with another protocol.
"""

import asyncio

from aiohttp import web


class HandedOver(web.StreamResponse):
    """A response that aiohttp has begun and somebody else ends; it is logged at its end."""


def release(request: web.Request) -> asyncio.Transport:
    """The connection of *request*, which aiohttp takes for lost from now on.

    The handler must not wait for anything after this, and its response must be a `HandedOver` that
    ends with its connection: aiohttp cancels it, and cannot serve a second request.

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
