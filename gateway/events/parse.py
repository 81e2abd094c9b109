"""A producer's JSON as Python objects, to be read and never to be sent on.

Objects lose what bytes have: 1.10 becomes 1.1, an integer beyond 64 bits a float. Whoever passes an
event on passes its bytes.
"""

import re
from typing import Any

import orjson

# JSON may escape half a surrogate pair, browsers accept that, and orjson does not. An escaped
# backslash is matched so that what follows it is not taken for an escape.
_ESCAPE = re.compile(
    rb"\\\\|\\u[dD][89aAbB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    rb"|(?P<half>\\u[dD][89a-fA-F][0-9a-fA-F]{2})"
)


def parse(payload: bytes) -> Any:
    """*payload* as objects; half a surrogate pair becomes U+FFFD, as a browser would show it.

    Raises:
        orjson.JSONDecodeError: it is not JSON.
    """
    try:
        return orjson.loads(payload)
    except orjson.JSONDecodeError:
        return orjson.loads(_ESCAPE.sub(_whole, payload))


def parse_object(payload: bytes) -> dict[str, Any]:
    """The JSON object that *payload* is, as `parse` reads it; an empty one for anything else."""
    try:
        document = parse(payload)
    except orjson.JSONDecodeError:
        document = None
    return document if isinstance(document, dict) else {}


def _whole(escape: re.Match[bytes]) -> bytes:
    return rb"\ufffd" if escape["half"] else escape[0]
