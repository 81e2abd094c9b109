"""Diagnoses a stream that was probed: did it come, without delay, and did it stay open? Pure."""

from dataclasses import dataclass, field
from statistics import median

from gateway.events.json_edit import parse_object
from gateway.settings import Settings, variable
from gateway.tools.check.finding import Finding, Topic
from gateway.tools.check.probe import ProbeClient

PROMPT = 1.0
"""Seconds within which `connected` and every event must arrive."""

HELD = 0.1
"""Seconds, besides a round trip, that no event may take if it is passed on at once."""

_AT_ONCE = (
    "Let the proxy send small packets at once: in HAProxy `option http-no-delay`, else it waits "
    "200 ms for more."
)

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
    cut_when_busy: bool = False
    """Whether a second stream was cut at the same age, although events came on it."""
    round_trip: float = 0.0
    """Seconds that a short request takes through the same proxies."""


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
            "The answer is not an event stream.",
            "Let the proxy pass /api/v1/sse/ on to the gateway.",
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
    encoding = client.headers.get("Content-Encoding")
    if _is_buffered(client, probe_log):
        why = f" It is compressed ({encoding})." if encoding else ""
        return [
            topic.error(f"The stream is buffered: events come only when it ends.{why}", _UNBUFFERED)
        ]
    if client.connected_at is None:
        return [topic.error("The stream opens, and nothing comes on it.", _UNBUFFERED)]
    found = []
    opening = client.connected_at - client.requested_at
    if opening > PROMPT:
        found.append(
            topic.warning(
                f"`connected` came after {opening:.1f} s: a client may consider the stream dead.",
                "Check that the proxy does not buffer the first bytes, and that Redis is near.",
            )
        )
    if (delays := _delays(client, probe_log, topic, opening)) is not None:
        found.append(delays)
    if encoding is not None:
        found.append(
            topic.note(
                f"A proxy compresses the stream ({encoding}), and passes each event on.",
                "Switch that off for text/event-stream: it costs CPU and memory for each stream.",
            )
        )
    return found


def _delays(
    client: ProbeClient, probe_log: ProbeLog, topic: Topic, opening: float
) -> Finding | None:
    """How late events came, after an *opening* of so many seconds; None where none was due."""
    delays = [
        client.events[number] - at
        for number, at in probe_log.published.items()
        if number in client.events
    ]
    lost = len(probe_log.published) - len(delays)
    if lost and not probe_log.ended_early:
        return topic.error(
            f"{lost} of {len(probe_log.published)} events did not arrive.",
            "Check that the gateway uses the Redis and channel prefix of these settings.",
        )
    if not delays:
        return None
    if max(delays) > PROMPT:
        return topic.error(f"An event came {max(delays):.1f} s late.", _UNBUFFERED)
    if median(delays) > HELD + probe_log.round_trip:
        return topic.warning(
            f"Events come {median(delays) * 1000:.0f} ms late (median), where a short request "
            f"takes {probe_log.round_trip * 1000:.0f} ms.",
            _AT_ONCE,
        )
    return topic.ok(
        f"`connected` came after {opening * 1000:.0f} ms, and each of {len(delays)} events "
        f"within {max(delays) * 1000:.0f} ms."
    )


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
        return [_cut(client, probe_log, topic, heartbeat)]
    if probe_log.silent_seconds == 0:
        return []
    if client.heartbeats:
        return [
            topic.ok(
                f"It survived {seconds} of silence; heartbeats come. (A proxy that cuts later is "
                "found with a larger --patience.)"
            )
        ]
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


def _cut(client: ProbeClient, probe_log: ProbeLog, topic: Topic, heartbeat: str) -> Finding:
    """Why a stream ended before the execution did."""
    seconds = f"{probe_log.silent_seconds:.1f} s"
    if client.closing is not None:
        return topic.error(
            f"The gateway ended the stream after {seconds} ({client.closing}).",
            "See its log; for `token_expired` give a token that is valid for longer, for `max_age` "
            f"see {variable('max_stream_seconds')}.",
        )
    if probe_log.cut_when_busy:
        return topic.error(
            f"The stream was cut after {seconds}, and so was one on which events came: a proxy "
            "limits the whole time of a request, and heartbeats do not help.",
            "Remove that limit for /api/v1/sse/: in Envoy `timeout: 0s` in the route (15 s without "
            "that line), and no max_stream_duration.",
        )
    return topic.error(
        f"The stream was cut in its silence, after {seconds}; one on which events came was not.",
        "Raise the proxy's timeout for reading (proxy_read_timeout 86400s in nginx, `timeout "
        "server` and `timeout client` in HAProxy, ProxyTimeout in Apache, stream_idle_timeout in "
        f"Envoy), above {variable('heartbeat_seconds')} ({heartbeat}) in any case.",
    )


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
