"""Tries a stream through a URL, with whatever stands in between: does it come, at once, and stay?

Through its own Redis it publishes events of a probe, and sees when each arrives. Nothing of the
probe is left behind, neither in Redis nor in a gateway.
"""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

import aiohttp

from gateway.access.tokens import issue
from gateway.bus.connection import create_redis
from gateway.bus.trouble import REDIS_ERRORS, in_words
from gateway.check.finding import Finding, Topic
from gateway.check.machine import HEALTH
from gateway.check.probe import Probe
from gateway.check.visit import Visit
from gateway.settings import EMBEDDED_REDIS, Settings

EVENTS = 5
EVENT_WAIT = 2.0
"""Seconds that one event may take before it counts as held back."""

LATE_MS = 250.0
"""Above this in the slowest event, something on the way collects before it passes on."""

CONNECTED_WITHIN = 8.0
"""Seconds to wait for `connected`: as long as a page does before it polls."""

_ORGANIZATION = "sse-gateway-check"
_CONNECT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Options:
    """How streams are tried."""

    patience: float
    """Seconds that a silent stream is watched."""
    insecure: bool = False
    """Whether any certificate will do."""
    token: str | None = None
    organization: str | None = None


async def check_url(url: str, settings: Settings, options: Options) -> list[Finding]:
    """Findings about the way through *url*, the address at which browsers find the gateway."""
    base = url.rstrip("/")
    topic = Topic(base)
    if not _is_address(base):
        return [topic.error("This is no address.", "Write it like https://events.example.com.")]
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS)
    connector = aiohttp.TCPConnector(ssl=not options.insecure)
    async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
        health, is_there = await _check_health(session, base, topic)
        if not is_there:
            return [health]
        return [health, *await _check_stream(session, base, settings, options, topic)]


def _is_address(base: str) -> bool:
    try:
        parts = urlsplit(base)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


async def _check_health(
    session: aiohttp.ClientSession, base: str, topic: Topic
) -> tuple[Finding, bool]:
    """What its health is, and whether a gateway answers there at all."""
    try:
        async with session.get(base + HEALTH, allow_redirects=False) as answer:
            text = (await answer.content.read(4096)).decode(errors="replace")
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        words = str(error) or type(error).__name__
        return topic.error(
            f"Nobody answers: {words}.", "See that a proxy or a gateway listens there."
        ), False
    if '"status"' not in text:
        return topic.error(
            f"{HEALTH} is answered with {answer.status} by something that is no gateway.",
            "Let the proxy pass /api/v1/sse/ on to the gateway (nginx/README.md).",
        ), False
    if answer.status != 200:
        return topic.error(f"The gateway is unhealthy: {text}", "It says why."), True
    return topic.ok("The gateway is healthy."), True


async def _check_stream(
    session: aiohttp.ClientSession, base: str, settings: Settings, options: Options, topic: Topic
) -> list[Finding]:
    organization = options.organization or _ORGANIZATION
    token = options.token or _issued(settings, organization)
    if token is None or settings.redis_url == EMBEDDED_REDIS:
        return [
            topic.note(
                "No stream was tried: that takes a token and the gateway's own Redis.",
                "Give --token and --organization, and REDIS_URL.",
            )
        ]
    redis = create_redis(settings.redis_url, max_connections=2)
    probe = Probe(redis, settings, organization)
    visit = Visit(
        f"{base}/api/v1/sse/executions/{probe.execution_id}/stream",
        {"Authorization": f"Bearer {token}", "X-Organization-ID": organization},
    )
    try:
        await probe.register()
        return await _watch(session, visit, probe, options.patience, topic)
    except REDIS_ERRORS as error:
        return [topic.error(f"The stream could not be tried: {in_words(error)}", "See Redis.")]
    finally:
        # What stays behind, should Redis be gone now, expires by itself within minutes.
        with suppress(*REDIS_ERRORS):
            await probe.remove()
        await redis.aclose()
        await redis.connection_pool.disconnect()


def _issued(settings: Settings, organization: str) -> str | None:
    """A token of our own, where the gateway checks with a secret."""
    if settings.jwt_secret is None:
        return None
    more = {"iss": settings.jwt_issuer, "aud": settings.jwt_audience}
    return issue(
        settings.jwt_secret.get_secret_value(),
        organization_id=organization,
        subject="sse-gateway check",
        ttl_seconds=600,
        claim=settings.organization_claim or "organization_id",
        algorithm=settings.jwt_algorithms[0],
        more={name: value for name, value in more.items() if value is not None},
    )


async def _watch(
    session: aiohttp.ClientSession, visit: Visit, probe: Probe, patience: float, topic: Topic
) -> list[Finding]:
    loop = asyncio.get_running_loop()
    reading = asyncio.create_task(visit.run(session))
    published: dict[int, float] = {}
    try:
        if await visit.wait(lambda: visit.connected_at is not None, CONNECTED_WITHIN):
            for number in range(1, EVENTS + 1):
                published[number] = loop.time()
                await probe.publish(number)
                await visit.wait(lambda number=number: number in visit.events, EVENT_WAIT)  # type: ignore[misc]
            beats = visit.heartbeats
            await visit.wait(lambda: visit.heartbeats > beats, patience)
            was_cut = visit.ended_at is not None
        else:
            beats, was_cut = 0, False
        await probe.finish()
        await visit.wait(lambda: visit.ended_at is not None, EVENT_WAIT)
    finally:
        reading.cancel()
        await asyncio.wait([reading])
    return list(_judge(visit, published, was_cut, visit.heartbeats > beats, patience, topic))


def _judge(
    visit: Visit,
    published: dict[int, float],
    was_cut: bool,
    has_beaten: bool,
    patience: float,
    topic: Topic,
) -> Iterator[Finding]:
    if visit.status and not visit.is_stream:
        yield topic.error(
            f"The stream is answered with {visit.status}: {visit.refusal[:300]}",
            "See that the token, the organization and the gateway's Redis belong together.",
        )
        return
    if visit.connected_at is None or not published:
        # Also one that came when all was over, in one piece.
        yield topic.error(
            f"The stream does not arrive within {CONNECTED_WITHIN:g} s: something on the way holds "
            "it back" + (f" ({visit.trouble})." if visit.trouble else "."),
            "Switch buffering off there (nginx: proxy_buffering off).",
        )
        return
    seconds = visit.connected_at - visit.asked_at
    words = f"The stream is open after {seconds * 1000:.0f} ms (HTTP/{visit.version})."
    yield (
        topic.ok(words)
        if seconds < 1
        else topic.warning(words, "A page expects it within a second: is Redis far away?")
    )
    yield _judge_delay(visit, published, topic)
    if visit.headers is not None and visit.headers.get("Content-Encoding"):
        yield topic.error(
            f"The stream is compressed ({visit.headers['Content-Encoding']}), so events wait until "
            "a block is full.",
            "Leave text/event-stream out of the proxy's compression.",
        )
    if was_cut:
        why = visit.closing or visit.trouble or "it ended"
        yield topic.error(
            f"The stream was cut while nothing happened: {why}.",
            "Raise the proxy's read timeout (nginx: proxy_read_timeout 86400s).",
        )
    elif has_beaten:
        yield topic.ok("The stream stays open in silence, and heartbeats come through.")
    else:
        yield topic.warning(
            f"No heartbeat came within {patience:g} s.",
            "Give --patience more than GATEWAY_HEARTBEAT_SECONDS; then it is held back on the way.",
        )


def _judge_delay(visit: Visit, published: dict[int, float], topic: Topic) -> Finding:
    missing = [number for number in published if number not in visit.events]
    delays = [1000 * (visit.events[n] - at) for n, at in published.items() if n in visit.events]
    if missing or max(delays) > 1000 * EVENT_WAIT:
        return topic.error(
            f"{max(len(missing), 1)} of {EVENTS} events did not arrive within {EVENT_WAIT:g} s: "
            "something on the way collects them.",
            "Switch buffering off there (nginx: proxy_buffering off).",
        )
    words = f"Events arrive after {max(delays):.0f} ms at most."
    if max(delays) > LATE_MS:
        return topic.warning(words, "Something on the way collects before it passes on.")
    return topic.ok(words)
