"""Diagnoses a stream that was probed: whether it came, at once or late, and stayed or not. Pure."""

from dataclasses import dataclass, field

from gateway.events.json_edit import parse_object
from gateway.settings import Settings, variable
from gateway.tools.check.finding import Finding, Topic
from gateway.tools.check.probe import ProbeClient

PROMPT = 1.0
"""Seconds within which `connected` and every event must arrive."""

_UNBUFFERED = (
    "Let the proxy pass each byte on at once: in nginx proxy_buffering off, gzip off and no "
    "proxy_ignore_headers X-Accel-Buffering; the site file in nginx/ does."
)


@dataclass(slots=True)
class ProbeLog:
    """What was done while the stream was open. Times are the event loop's, in seconds."""

    silence: float
    """Seconds without events that were planned."""
    published: dict[int, float] = field(default_factory=dict)
    """When each event was published, by its number."""
    finished_at: float = 0.0
    """When the terminal event was published."""
    silent_seconds: float = 0.0
    """Seconds without events that there were."""
    ended_early: bool = False


def diagnose(
    client: ProbeClient, probe_log: ProbeLog, topic: Topic, settings: Settings
) -> list[Finding]:
    """All findings about one probe; only one if no stream came."""
    if not client.is_stream:
        return [_no_stream(client, topic)]
    if client.closing is not None and client.connected_at is None:
        return [
            topic.error(
                f"The gateway cannot open a stream now: {client.closing}.",
                f"See its health and log; for `limit`, see {variable('max_connections')}.",
            )
        ]
    return [
        *_headers(client, topic),
        *_arrival(client, probe_log, topic),
        *_silence(client, probe_log, topic, settings),
        *_end(client, probe_log, topic),
    ]


def _no_stream(client: ProbeClient, topic: Topic) -> Finding:
    if client.status == 0:
        why = f": {client.problem}" if client.problem else ""
        return topic.error(f"No answer came, not even its headers{why}.", _UNBUFFERED)
    if client.status == 200:
        return topic.error(
            "The answer is no event stream.", "Let the proxy pass /api/v1/sse/ on to the gateway."
        )
    # Empty where a proxy refused, whose body has another form.
    refusal = parse_object(client.refusal.encode())
    code, message = (str(refusal.get(name, "")) for name in ("error", "message"))
    sentence = f"The stream was refused with {client.status}" + (f" ({code})." if code else ".")
    if client.status in (401, 403, 404):
        return topic.error(
            f"{sentence} {message}".strip(),
            "Run the check with the settings of that gateway: the same secret, claim, ownership "
            "and Redis. If the proxy removes Authorization, let it pass.",
        )
    return topic.error(sentence, message or "See the log of the proxy.")


def _headers(client: ProbeClient, topic: Topic) -> list[Finding]:
    found = []
    encoding = client.headers.get("Content-Encoding")
    if encoding is not None:
        found.append(
            topic.error(
                f"A proxy compresses the stream ({encoding}), which delays events.", _UNBUFFERED
            )
        )
    if client.version == "1.0":
        found.append(
            topic.warning(
                "The answer is HTTP/1.0: a stream that was cut looks like one that has ended.",
                "Set proxy_http_version 1.1.",
            )
        )
    return found


def _arrival(client: ProbeClient, probe_log: ProbeLog, topic: Topic) -> list[Finding]:
    """Whether everything that was published arrived, and when."""
    delays = [
        client.events[number] - at
        for number, at in probe_log.published.items()
        if number in client.events
    ]
    lost = len(probe_log.published) - len(delays)
    if _is_buffered(client, probe_log):
        return [topic.error("The stream is buffered: events come only when it ends.", _UNBUFFERED)]
    if client.connected_at is None:
        return [topic.error("The stream opens, and nothing comes on it.", _UNBUFFERED)]
    found = []
    opening = client.connected_at - client.requested_at
    if opening > PROMPT:
        found.append(
            topic.warning(
                f"`connected` came after {opening:.1f} s: a client may take the stream for dead.",
                "Check that the proxy does not buffer the first bytes, and that Redis is near.",
            )
        )
    if lost and not probe_log.ended_early:
        found.append(
            topic.error(
                f"{lost} of {len(probe_log.published)} events did not arrive.",
                "Check that the gateway uses the Redis and channel prefix of these settings.",
            )
        )
    elif delays and max(delays) > PROMPT:
        found.append(topic.error(f"An event came {max(delays):.1f} s late.", _UNBUFFERED))
    elif delays:
        found.append(
            topic.ok(
                f"`connected` came after {opening * 1000:.0f} ms, and each of {len(delays)} events "
                f"within {max(delays) * 1000:.0f} ms."
            )
        )
    return found


def _is_buffered(client: ProbeClient, probe_log: ProbeLog) -> bool:
    """Whether what was sent before the end came only after it."""
    arrivals = [
        client.connected_at or 0.0,
        *(at for number, at in client.events.items() if number),
    ]
    return max(arrivals) > probe_log.finished_at > 0


def _silence(
    client: ProbeClient, probe_log: ProbeLog, topic: Topic, settings: Settings
) -> list[Finding]:
    """Whether the stream stayed open without events, with heartbeats."""
    seconds, heartbeat = f"{probe_log.silent_seconds:.1f} s", f"{settings.heartbeat_seconds:g}"
    if probe_log.ended_early:
        reason = f" ({client.closing})" if client.closing else ""
        return [
            topic.error(
                f"The stream was cut in its silence, after {seconds}{reason}.",
                "Raise the proxy's timeout for reading (proxy_read_timeout 86400s in nginx), above "
                f"{variable('heartbeat_seconds')} ({heartbeat}) in any case.",
            )
        ]
    if probe_log.silent_seconds == 0:
        return []
    if client.heartbeats:
        return [topic.ok(f"It survived {seconds} of silence; heartbeats come.")]
    if probe_log.silence > settings.heartbeat_seconds:
        return [
            topic.error(
                f"No heartbeat came in {seconds}.",
                f"Check that the gateway's {variable('heartbeat_seconds')} is {heartbeat} as here, "
                "and that the proxy passes heartbeats on.",
            )
        ]
    return [
        topic.note(
            f"No heartbeat was due in the {seconds} of silence.",
            f"Give --patience more than {heartbeat} to see one.",
        )
    ]


def _end(client: ProbeClient, probe_log: ProbeLog, topic: Topic) -> list[Finding]:
    """Whether the terminal event and the clean end of the stream came."""
    if probe_log.ended_early:
        return []
    if 0 not in client.events:
        return [topic.error("The event that ends the execution did not arrive.", _UNBUFFERED)]
    if client.problem is not None or client.ended_at is None:
        return [
            topic.warning(
                "The stream does not end cleanly after the event that ends the execution.",
                "Check how the proxy closes connections: clients connect once more, and then stop.",
            )
        ]
    return []
