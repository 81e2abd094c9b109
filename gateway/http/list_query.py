"""What a request for a list asks for."""

import base64
import binascii
import re

from aiohttp import web

from gateway.errors import MalformedRequest
from gateway.lists.view import Filter, Place

MOST = 100
"""The largest `limit`, and the default."""

_STATUSES = frozenset(("pending", "running", "paused", "completed", "failed", "canceled", "ended"))
_LONGEST_WORKFLOW = 256
_BEFORE = re.compile(rb"([0-9]{1,15}) ([A-Za-z0-9_.:-]{1,128})")


def read_filter(request: web.Request) -> Filter:
    """Which executions are asked for.

    Raises:
        MalformedRequest: that cannot be read.
    """
    statuses = frozenset(filter(None, request.query.get("status", "").split(",")))
    if not statuses <= _STATUSES:
        raise MalformedRequest(
            f"The status is malformed: send one of {', '.join(sorted(_STATUSES))}, or several with "
            "commas, or leave it out to get all.",
            "malformed_status",
        )
    workflow_id = request.query.get("workflow_id", "")
    if len(workflow_id) > _LONGEST_WORKFLOW or not workflow_id.isprintable():
        raise MalformedRequest(
            f"The workflow_id is malformed: use at most {_LONGEST_WORKFLOW} printable characters.",
            "malformed_workflow_id",
        )
    return Filter(statuses, workflow_id)


def read_limit(request: web.Request) -> int:
    """How many executions are asked for.

    Raises:
        MalformedRequest: that is no number in the bounds.
    """
    given = request.query.get("limit")
    if given is None:
        return MOST
    if given.isascii() and given.isdigit() and len(given) <= 3 and 1 <= int(given) <= MOST:
        return int(given)
    raise MalformedRequest(
        f"The limit is malformed: send a number of executions from 1 to {MOST}.", "malformed_limit"
    )


def read_before(request: web.Request) -> Place | None:
    """After which place the page begins.

    Raises:
        MalformedRequest: it is no `next` of an answer.
    """
    given = request.query.get("before")
    if given is None:
        return None
    try:
        text = base64.b64decode(given.encode("ascii") + b"==", b"-_", validate=True)
    except (ValueError, binascii.Error):
        text = b""
    if len(given) <= 256 and (found := _BEFORE.fullmatch(text)) is not None:
        return Place(-int(found[1]), found[2].decode())
    raise MalformedRequest(
        "The value of before is malformed: send the `next` of the previous page.",
        "malformed_before",
    )


def as_next(place: Place) -> str:
    """What the next page's `before` is."""
    text = b"%d %b" % (-place.age, place.execution_id.encode())
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()
