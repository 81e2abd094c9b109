"""The id of a request, by which a line of nginx's log and one of ours are found to be the same.

A proxy before us gives it (`X-Request-ID`); without one it is drawn here. It proves nothing:
whoever speaks to the gateway directly may choose it.
"""

import re
import secrets

from aiohttp import web

REQUEST_ID_HEADER = "X-Request-ID"

_USABLE = re.compile(r"[A-Za-z0-9_.:=+/-]{1,128}")
"""What stands in a log as it came; anything else is taken for none."""

_REQUEST_ID = web.RequestKey("request_id", str)


def request_id(request: web.BaseRequest) -> str:
    """The id of *request*: the same one however often it is asked for."""
    known = request.get(_REQUEST_ID)
    if known is None:
        given = request.headers.get(REQUEST_ID_HEADER, "")
        known = given if _USABLE.fullmatch(given) else secrets.token_hex(16)
        request[_REQUEST_ID] = known
    return known
