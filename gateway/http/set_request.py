"""Reads a request for several executions, and finds which of them may be seen."""

import asyncio
import re
from collections.abc import Collection, Sequence

import orjson
from aiohttp import web

from gateway.access.policy import Policy, SetRequest
from gateway.errors import ExecutionNotFound, MalformedRequest, RequestRefused, UriTooLong
from gateway.events.set_cursor import MOST_EXECUTIONS
from gateway.principal import Principal

SET_PATH = "/api/v1/sse/executions/stream"

MOST_LINE_BYTES = 8000
"""Bytes of a request line that every proxy must take (RFC 9112, section 3)."""

_PER_STREAM = 10
"""Executions of a set that count as one stream."""

_EXECUTION_ID = re.compile(r"(?:^|&)execution_id=")


def other_parameters(request: web.Request) -> int:
    """How many parameters the query of *request* has, without the executions of a set."""
    query = request.rel_url.raw_query_string
    count = query.count("&") + 1
    return count - len(_EXECUTION_ID.findall(query)) if request.path == SET_PATH else count


def execution_ids_of(request: web.Request) -> Collection[str]:
    """The executions that the query names, each once.

    Raises:
        UriTooLong: the request line is too long.
        MalformedRequest: there are too many.
    """
    line = f"{request.method} {request.raw_path} HTTP/1.1"
    if len(line.encode("utf-8", "surrogateescape")) > MOST_LINE_BYTES:
        raise UriTooLong(MOST_LINE_BYTES)
    return _checked(request.query.getall("execution_id", ()))


def execution_ids_in(body: bytes) -> Collection[str]:
    """The executions that the *body* of a request for a ticket names, each once.

    Raises:
        MalformedRequest: it names none, too many, or something else.
    """
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        document = None
    given = document.get("execution_ids") if isinstance(document, dict) else None
    if not isinstance(given, list) or not all(isinstance(one, str) for one in given):
        raise MalformedRequest(
            'The body must be a JSON object: {"execution_ids": ["…", "…"]}.', "malformed_body"
        )
    return _checked(given)


def _checked(given: Sequence[str]) -> Collection[str]:
    distinct = dict.fromkeys(given)
    if len(distinct) > MOST_EXECUTIONS:
        raise MalformedRequest(
            f"The request names {len(distinct)} executions: name at most {MOST_EXECUTIONS}, or "
            "open several streams.",
            "too_many_executions",
        )
    return distinct.keys()


def streams_of(asked: SetRequest) -> int:
    """As how many streams a set counts."""
    return -(-len(asked.execution_ids + asked.absent) // _PER_STREAM) or 1


async def admit_all(policy: Policy, asked: SetRequest) -> list[Principal]:
    """The parts of *asked* that may be seen. All are asked for at once, so the others have waited
    together.

    Raises:
        ExecutionNotFound: none may be seen.
        RequestRefused: what refuses the whole request, as `Policy.admit` raises it.
    """
    admitted, unanswered = await _ask_for(policy, asked)
    for refusal in unanswered.values():
        raise refusal
    return admitted


async def admit_most(policy: Policy, asked: SetRequest) -> tuple[list[Principal], list[Principal]]:
    """The same, and those of which nobody can say it now.

    Raises:
        As `admit_all`; what may pass, only where nothing may be seen.
    """
    admitted, unanswered = await _ask_for(policy, asked)
    for refusal in unanswered.values() if not admitted else ():
        raise refusal
    return admitted, [part for part in asked.parts if part.execution_id in unanswered]


async def _ask_for(
    policy: Policy, asked: SetRequest
) -> tuple[list[Principal], dict[str, RequestRefused]]:
    """Those that may be seen, and why nobody can say it of others."""
    parts = asked.parts
    answers = await asyncio.gather(*map(policy.admit, parts), return_exceptions=True)
    admitted: list[Principal] = []
    unanswered: dict[str, RequestRefused] = {}
    for part, answer in zip(parts, answers, strict=True):
        if answer is None:
            admitted.append(part)
        elif isinstance(answer, RequestRefused) and answer.temporary:
            unanswered[part.execution_id] = answer
        elif not isinstance(answer, ExecutionNotFound):
            # What a later try cannot change comes first.
            raise answer
    if not admitted and not unanswered:
        raise ExecutionNotFound
    return admitted, unanswered
