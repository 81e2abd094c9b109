"""Headers that every answer bears: refusals, streams, and answers to what could not be parsed.

It knows nothing of origins: who may read an answer from another page is decided by CORS, in
`gateway.http.routes`.
"""

from aiohttp import web
from multidict import istr

# `istr`: multidict would fold the case of a plain name for every answer.
_UNLESS_SET = {
    # An answer is what its Content-Type says: an event that looks like HTML is not run.
    istr("X-Content-Type-Options"): "nosniff",
    # Nothing here is a page: opened as one it runs nothing, loads nothing, and is framed nowhere.
    istr("Content-Security-Policy"): "default-src 'none'; frame-ancestors 'none'",
    istr("X-Frame-Options"): "DENY",
    # The query may hold a token, and must not travel on as a Referer.
    istr("Referrer-Policy"): "no-referrer",
    # No page may embed an answer without CORS (as a script or an image) and so draw it into its
    # own process. Whatever asks by CORS, as EventSource, fetch and modules do, is not affected.
    istr("Cross-Origin-Resource-Policy"): "same-origin",
}

_ALWAYS = {
    # aiohttp-cors does not add it, and a shared cache would hand one origin's answer to another.
    istr("Vary"): "Origin",
    # The default tells strangers the versions of Python and aiohttp.
    istr("Server"): "sse-gateway",
}


def add_common_headers(response: web.StreamResponse) -> None:
    """Add them to *response*; a handler's own choice stands, but for `Vary` and `Server`."""
    headers = response.headers
    for name, value in _UNLESS_SET.items():
        headers.setdefault(name, value)
    for name, value in _ALWAYS.items():
        headers[name] = value
