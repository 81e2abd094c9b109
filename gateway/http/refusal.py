"""Answers to what no middleware sees: what is no request, or failed outside of all of them."""

from email.utils import formatdate

from aiohttp import web

from gateway.http.responses import add_common_headers, json_response
from gateway.http.screen import Fault

_REFUSALS = {
    # RFC 6585, section 5.
    Fault.TOO_LONG: (
        "431 Request Header Fields Too Large",
        "The request line or a header exceeds 8 KiB, or all of them 64 KiB: shorten them.",
    ),
    Fault.NO_ROUTE: ("404 Not Found", "Not Found: see the paths in the README."),
    Fault.MALFORMED: (
        "400 Bad Request",
        "The request is not valid HTTP: correct the client that sent it.",
    ),
}


def refusal(status: int, code: str, message: str) -> web.Response:
    """An answer to what reaches no middleware; it ends the connection."""
    response = json_response({"error": code, "message": message}, status)
    # No signal of the application is sent for a request that could not be parsed.
    add_common_headers(response)
    response.force_close()
    return response


def on_the_wire(fault: Fault) -> bytes:
    """The whole answer to what is no request, and so has nothing that aiohttp could answer."""
    status, message = _REFUSALS[fault]
    response = refusal(int(status[:3]), fault.value, message)
    body = response.body
    assert isinstance(body, bytes)  # noqa: S101 - for the type checker: `json_response` made it
    headers = {
        **response.headers,
        "Content-Length": str(len(body)),
        "Connection": "close",
        "Date": formatdate(usegmt=True),
    }
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body
