"""What to say of a stream that was tried: it came or not, at once or late, and stayed or not.

Pure: it reads what `gateway.tools.check.probe_client` noted.
"""

from dataclasses import dataclass, field

import orjson

from gateway.settings import Settings, variable
from gateway.tools.check.finding import Finding, Topic
from gateway.tools.check.probe_client import ProbeClient

PROMPT = 1.0
"""Seconds within which `connected` and every event arrive."""

_UNBUFFERED = (
    "Let the proxy pass each byte on at once: in nginx proxy_buffering off, gzip off and no "
    "proxy_ignore_headers X-Accel-Buffering; the site file in nginx/ does."
)


@dataclass(slots=True)
class ProbeLog:
    """What was done while the stream was open. Times are the event loop's, in seconds."""

    patience: float
    published: dict[int, float] = field(default_factory=dict)
    """When each event was, by its number."""
    finished_at: float = 0.0
    """When the terminal event was."""
    silent_seconds: float = 0.0
    ended_early: bool = False


def judge(
    probe_client: ProbeClient, probe_log: ProbeLog, topic: Topic, settings: Settings
) -> list[Finding]:
    """All findings about one visit; only one where no stream came."""
    if not probe_client.is_stream:
        return [_no_stream(probe_client, topic)]
    if probe_client.closing is not None and probe_client.connected_at is None:
        return [
            topic.error(
                f"The gateway cannot open a stream now: {probe_client.closing}.",
                f"Its health and log say why; for `limit`, see {variable('max_connections')}.",
            )
        ]
    return [
        *_headers(probe_client, topic),
        *_arrival(probe_client, probe_log, topic),
        *_staying(probe_client, probe_log, topic, settings),
    ]


def _no_stream(probe_client: ProbeClient, topic: Topic) -> Finding:
    if probe_client.status == 0:
        why = f": {probe_client.problem}" if probe_client.problem else ""
        return topic.error(f"No answer came, not even its headers{why}.", _UNBUFFERED)
    if probe_client.status == 200:
        return topic.error(
            "The answer is no event stream.", "Let the proxy pass /api/v1/sse/ on to the gateway."
        )
    code, message = _refusal(probe_client.refusal)
    sentence = f"The stream was refused with {probe_client.status}" + (
        f" ({code})." if code else "."
    )
    if probe_client.status in (401, 403, 404):
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


def _headers(probe_client: ProbeClient, topic: Topic) -> list[Finding]:
    found = []
    encoding = (
        probe_client.headers.get("Content-Encoding") if probe_client.headers is not None else None
    )
    if encoding is not None:
        found.append(
            topic.error(
                f"Something on the way compresses the stream ({encoding}): that holds events back.",
                _UNBUFFERED,
            )
        )
    if probe_client.version == "1.0":
        found.append(
            topic.warning(
                "The answer is HTTP/1.0: a stream that was cut looks like one that has ended.",
                "Set proxy_http_version 1.1.",
            )
        )
    return found


def _arrival(probe_client: ProbeClient, probe_log: ProbeLog, topic: Topic) -> list[Finding]:
    """Whether what was sent came, and when."""
    late = [
        probe_client.events[number] - at
        for number, at in probe_log.published.items()
        if number in probe_client.events
    ]
    lost = len(probe_log.published) - len(late)
    if _is_held_back(probe_client, probe_log):
        return [topic.error("The stream is buffered: events come only when it ends.", _UNBUFFERED)]
    if probe_client.connected_at is None:
        return [topic.error("The stream opens, and nothing comes on it.", _UNBUFFERED)]
    found = []
    opening = probe_client.connected_at - probe_client.asked_at
    if opening > PROMPT:
        found.append(
            topic.warning(
                f"`connected` came after {opening:.1f} s: a client takes it for a dead stream.",
                "See that the proxy does not hold the first bytes back, and that Redis is near.",
            )
        )
    if lost and not probe_log.ended_early:
        return [
            *found,
            topic.error(
                f"{lost} of {len(probe_log.published)} events did not arrive.",
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


def _is_held_back(probe_client: ProbeClient, probe_log: ProbeLog) -> bool:
    """Whether what was sent before the end came only after it."""
    came = [
        probe_client.connected_at or 0.0,
        *(at for number, at in probe_client.events.items() if number),
    ]
    return max(came) > probe_log.finished_at > 0


def _staying(
    probe_client: ProbeClient, probe_log: ProbeLog, topic: Topic, settings: Settings
) -> list[Finding]:
    """Whether it outlived a silence, with heartbeats, and ended when it was to."""
    seconds = f"{probe_log.silent_seconds:.1f} s"
    if probe_log.ended_early:
        return [
            topic.error(
                f"The stream was cut in its silence, after {seconds}"
                + (f" ({probe_client.closing})." if probe_client.closing else "."),
                "Raise the proxy's timeout for reading (proxy_read_timeout 86400s in nginx), above "
                f"{variable('heartbeat_seconds')} ({settings.heartbeat_seconds:g}) in any case.",
            )
        ]
    found = []
    if probe_log.silent_seconds == 0:
        pass
    elif probe_client.heartbeats:
        found.append(topic.ok(f"It outlived {seconds} of silence; heartbeats come."))
    elif probe_log.patience > settings.heartbeat_seconds:
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
    if 0 not in probe_client.events:
        found.append(topic.error("The event that ends the execution did not arrive.", _UNBUFFERED))
    elif probe_client.problem is not None or probe_client.ended_at is None:
        found.append(
            topic.warning(
                "The stream does not end cleanly after the event that ends it.",
                "A client asks once more, and stops then; see how the proxy closes connections.",
            )
        )
    return found
