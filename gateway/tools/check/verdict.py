"""What to say of a stream that was tried: it came or not, at once or late, and stayed or not.

Pure: it reads what `gateway.tools.check.visit` noted.
"""

from dataclasses import dataclass, field

import orjson

from gateway.settings import Settings, variable
from gateway.tools.check.finding import Finding, Topic
from gateway.tools.check.visit import Visit

PROMPT = 1.0
"""Seconds within which `connected` and every event arrive."""

_UNBUFFERED = (
    "Let the proxy pass each byte on at once: in nginx proxy_buffering off, gzip off and no "
    "proxy_ignore_headers X-Accel-Buffering; the site file in nginx/ does."
)


@dataclass(slots=True)
class Course:
    """What was done while the stream was open. Times are the event loop's, in seconds."""

    patience: float
    published: dict[int, float] = field(default_factory=dict)
    """When each event was, by its number."""
    finished_at: float = 0.0
    """When the terminal event was."""
    silent_seconds: float = 0.0
    ended_early: bool = False


def judge(visit: Visit, course: Course, topic: Topic, settings: Settings) -> list[Finding]:
    """All findings about one visit; only one where no stream came."""
    if not visit.is_stream:
        return [_no_stream(visit, topic)]
    if visit.closing is not None and visit.connected_at is None:
        return [
            topic.error(
                f"The gateway cannot open a stream now: {visit.closing}.",
                f"Its health and log say why; for `limit`, see {variable('max_connections')}.",
            )
        ]
    return [
        *_headers(visit, topic),
        *_arrival(visit, course, topic),
        *_staying(visit, course, topic, settings),
    ]


def _no_stream(visit: Visit, topic: Topic) -> Finding:
    if visit.status == 0:
        why = f": {visit.trouble}" if visit.trouble else ""
        return topic.error(f"No answer came, not even its headers{why}.", _UNBUFFERED)
    if visit.status == 200:
        return topic.error(
            "The answer is no event stream.", "Let the proxy pass /api/v1/sse/ on to the gateway."
        )
    code, message = _refusal(visit.refusal)
    sentence = f"The stream was refused with {visit.status}" + (f" ({code})." if code else ".")
    if visit.status in (401, 403, 404):
        return topic.error(
            f"{sentence} {message}".strip(),
            "See that the check runs with the settings of that gateway: the same secret, claim, "
            "ownership and Redis. If the proxy strips Authorization, let it pass.",
        )
    return topic.error(sentence, message or "See the log of the proxy.")


def _refusal(body: str) -> tuple[str, str]:
    """Code and message of the gateway's refusals; nothing where a proxy refused."""
    try:
        document = orjson.loads(body)
        return str(document["error"]), str(document["message"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return "", ""


def _headers(visit: Visit, topic: Topic) -> list[Finding]:
    found = []
    encoding = visit.headers.get("Content-Encoding") if visit.headers is not None else None
    if encoding is not None:
        found.append(
            topic.error(
                f"Something on the way compresses the stream ({encoding}): that holds events back.",
                _UNBUFFERED,
            )
        )
    if visit.version == "1.0":
        found.append(
            topic.warning(
                "The answer is HTTP/1.0: a stream that was cut looks like one that has ended.",
                "Set proxy_http_version 1.1.",
            )
        )
    return found


def _arrival(visit: Visit, course: Course, topic: Topic) -> list[Finding]:
    """Whether what was sent came, and when."""
    late = [
        visit.events[number] - at
        for number, at in course.published.items()
        if number in visit.events
    ]
    lost = len(course.published) - len(late)
    if _is_held_back(visit, course):
        return [topic.error("The stream is buffered: events come only when it ends.", _UNBUFFERED)]
    if visit.connected_at is None:
        return [topic.error("The stream opens, and nothing comes on it.", _UNBUFFERED)]
    found = []
    opening = visit.connected_at - visit.asked_at
    if opening > PROMPT:
        found.append(
            topic.warning(
                f"`connected` came after {opening:.1f} s: a client takes it for a dead stream.",
                "See that the proxy does not hold the first bytes back, and that Redis is near.",
            )
        )
    if lost and not course.ended_early:
        return [
            *found,
            topic.error(
                f"{lost} of {len(course.published)} events did not arrive.",
                "See that the gateway listens on the Redis and channel prefix of these settings.",
            ),
        ]
    if late and max(late) > PROMPT:
        return [*found, topic.error(f"An event came {max(late):.1f} s late.", _UNBUFFERED)]
    if late:
        sentence = (
            f"`connected` came after {opening * 1000:.0f} ms, and each of {len(late)} events "
            f"within {max(late) * 1000:.0f} ms."
        )
        found.append(topic.ok(sentence))
    return found


def _is_held_back(visit: Visit, course: Course) -> bool:
    """Whether what was sent before the end came only after it."""
    came = [visit.connected_at or 0.0, *(at for number, at in visit.events.items() if number)]
    return max(came) > course.finished_at > 0


def _staying(visit: Visit, course: Course, topic: Topic, settings: Settings) -> list[Finding]:
    """Whether it outlived a silence, with heartbeats, and ended when it was to."""
    seconds = f"{course.silent_seconds:.1f} s"
    if course.ended_early:
        return [
            topic.error(
                f"The stream was cut in its silence, after {seconds}"
                + (f" ({visit.closing})." if visit.closing else "."),
                "Raise the proxy's timeout for reading (proxy_read_timeout 86400s in nginx), above "
                f"{variable('heartbeat_seconds')} ({settings.heartbeat_seconds:g}) in any case.",
            )
        ]
    found = []
    if course.silent_seconds == 0:
        pass
    elif visit.heartbeats:
        found.append(topic.ok(f"It outlived {seconds} of silence; heartbeats come."))
    elif course.patience > settings.heartbeat_seconds:
        found.append(
            topic.error(
                f"No heartbeat came in {seconds}.",
                f"See that the gateway's {variable('heartbeat_seconds')} is what it is here "
                f"({settings.heartbeat_seconds:g}), and that the proxy passes it on.",
            )
        )
    else:
        found.append(
            topic.note(
                f"No heartbeat was due in the {seconds} of silence.",
                f"Give --patience more than {settings.heartbeat_seconds:g} to see one.",
            )
        )
    if 0 not in visit.events:
        found.append(topic.error("The event that ends the execution did not arrive.", _UNBUFFERED))
    elif visit.trouble is not None or visit.ended_at is None:
        found.append(
            topic.warning(
                "The stream does not end cleanly after the event that ends it.",
                "A client asks once more, and stops then; see how the proxy closes connections.",
            )
        )
    return found
