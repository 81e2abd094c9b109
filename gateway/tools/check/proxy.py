"""Opens a stream through a URL and its proxies: does it come, at once, and stay?

It publishes events of a probe through the gateway's Redis and notes when each arrives. Nothing of
the probe stays behind, neither in Redis nor in a gateway.
"""

import asyncio
import ssl
from dataclasses import dataclass
from functools import partial
from urllib.parse import urlsplit

import aiohttp

from gateway.access.tokens import issue
from gateway.bus.connection import create_redis
from gateway.bus.errors import REDIS_ERRORS, describe_redis_error
from gateway.events.json_edit import parse_object
from gateway.settings import EMBEDDED_REDIS, Settings
from gateway.settings.checks import check_url as check_address
from gateway.tools.check.diagnosis import ProbeLog, diagnose
from gateway.tools.check.finding import Finding, Level, Topic
from gateway.tools.check.machine import HEALTH
from gateway.tools.check.probe import Probe, ProbeClient

EVENTS = 5
_EVENT_WAIT = 2.0
_END_WAIT = 5.0
_MARGIN = 1.0
"""Seconds that a second stream is watched for longer than the first one lived."""
_ORGANIZATION = "sse-gateway-check"
_CONNECT_SECONDS = 5.0
_HEALTH_SECONDS = 10.0
_TOKEN_SECONDS = 300
"""How long a token is valid after the silence: a stream warns 60 s before it expires."""


@dataclass(frozen=True, slots=True)
class Options:
    """How streams are tried."""

    silence: float
    """Seconds that a stream is watched without events."""
    insecure: bool = False
    """Do not verify the certificate."""
    token: str | None = None
    organization: str | None = None


async def check_url(url: str, settings: Settings, options: Options) -> list[Finding]:
    """Findings about *url*, the address at which browsers reach the gateway."""
    topic = Topic(url)
    try:
        check_address(url)
    except ValueError as error:
        return [topic.error("This is no URL.", f"{error}.".capitalize())]
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS)
    connector = aiohttp.TCPConnector(ssl=not options.insecure)
    async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
        health = await _check_health(session, url.rstrip("/"), topic)
        if health.level is Level.ERROR:
            # A stream would show the same problem again.
            return [health]
        return [
            health,
            await _check_version(url, options, topic),
            *await _check_stream(session, url.rstrip("/"), settings, options),
        ]


async def _check_health(session: aiohttp.ClientSession, url: str, topic: Topic) -> Finding:
    try:
        async with (
            asyncio.timeout(_HEALTH_SECONDS),
            session.get(f"{url}{HEALTH}", allow_redirects=False) as answer,
        ):
            status, document = answer.status, parse_object(await answer.read())
    except aiohttp.ClientConnectorCertificateError as error:
        return topic.error(
            f"The certificate is not trusted: {error.certificate_error}.",
            "Correct its chain, or use --insecure if that is intended.",
        )
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        return topic.error(
            f"Nothing answers there: {str(error) or 'not in time'}.",
            "Check the address, and that the proxy runs and listens.",
        )
    if document.get("status") not in ("healthy", "unhealthy"):
        return topic.error(
            f"{HEALTH} is not answered by a gateway (HTTP {status}).",
            "Let the proxy pass /api/v1/ on to the gateway, and check that the gateway runs.",
        )
    if status != 200:
        return topic.error(
            f"The gateway is unhealthy: {document.get('reason')}", "Correct that first."
        )
    return topic.ok("The gateway answers, and is healthy.")


async def _check_version(url: str, options: Options, topic: Topic) -> Finding:
    """Whether browsers get HTTP/2, where all tabs share a connection."""
    try:
        offered = await _negotiated(url, options) if url.startswith("https:") else None
    except (OSError, TimeoutError) as error:
        return topic.warning(
            f"Whether browsers get HTTP/2 is unknown: {str(error) or 'not in time'}.",
            "Try again.",
        )
    if offered == "h2":
        return topic.ok("Browsers get HTTP/2.")
    return topic.warning(
        "Browsers get HTTP/1.1, with six connections to a host: the seventh tab hangs.",
        "Serve it by https with HTTP/2, as the site file in nginx/ does.",
    )


async def _negotiated(url: str, options: Options) -> str | None:
    """The protocol that the server chooses when TLS begins (ALPN)."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["h2", "http/1.1"])
    if options.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    parts = urlsplit(url)
    async with asyncio.timeout(_CONNECT_SECONDS):
        _, writer = await asyncio.open_connection(parts.hostname, parts.port or 443, ssl=context)
    chosen: str | None = writer.get_extra_info("ssl_object").selected_alpn_protocol()
    # Not a clean close: an HTTP/2 server has already sent data.
    writer.transport.abort()
    return chosen


async def _check_stream(
    session: aiohttp.ClientSession, url: str, settings: Settings, options: Options
) -> list[Finding]:
    topic = Topic(f"Stream through {url}")
    token, organization = _credentials(settings, options)
    if token is None or organization is None or settings.redis_url == EMBEDDED_REDIS:
        return [
            topic.note(
                "No stream was tried: that needs a token, and a Redis that is not embedded.",
                "Without a secret in the settings, give --token and --organization.",
            )
        ]
    headers = {"Authorization": f"Bearer {token}", "X-Organization-ID": organization}
    try:
        async with create_redis(settings.redis_url, max_connections=2) as redis:
            probe = Probe(redis, settings, organization)
            stream_url = f"{url}/api/v1/sse/executions/{probe.execution_id}/stream"
            client = ProbeClient(stream_url, headers)
            try:
                probe_log = await _run_probe(session, client, probe, settings, options)
                probe_log.round_trip = await _round_trip(session, url)
                if probe_log.ended_early and client.closing is None:
                    again = ProbeClient(stream_url, headers)
                    probe_log.cut_when_busy = await _is_cut_when_busy(
                        session, again, probe, probe_log.silent_seconds
                    )
            finally:
                await probe.remove()
    except REDIS_ERRORS as error:
        problem = f"No event can be published: {describe_redis_error(error)}"
        return [topic.error(problem, "Correct that first.")]
    return diagnose(client, probe_log, topic, settings)


async def _run_probe(
    session: aiohttp.ClientSession,
    client: ProbeClient,
    probe: Probe,
    settings: Settings,
    options: Options,
) -> ProbeLog:
    """Publish while the stream is open, pause, publish again, then end the execution."""
    loop = asyncio.get_running_loop()
    probe_log = ProbeLog(options.silence)
    if settings.ownership == "registry":
        await probe.register()
    reading = asyncio.create_task(client.run(session))
    try:
        if await client.wait(
            lambda: client.connected_at is not None,
            settings.ownership_wait_seconds + _EVENT_WAIT,
        ):
            await _publish(client, probe, probe_log)
            silent_since = loop.time()
            await client.wait(lambda: False, options.silence)
            probe_log.silent_seconds = loop.time() - silent_since
            probe_log.ended_early = client.ended_at is not None
            await _publish(client, probe, probe_log)
        if not probe_log.ended_early:
            probe_log.finished_at = loop.time()
            await probe.finish()
            await client.wait(lambda: False, _END_WAIT)
    finally:
        reading.cancel()
        await asyncio.wait([reading])
    return probe_log


async def _is_cut_when_busy(
    session: aiohttp.ClientSession, client: ProbeClient, probe: Probe, seconds: float
) -> bool:
    """Whether a stream on which events come all the time is cut too, after so many *seconds*."""
    loop = asyncio.get_running_loop()
    reading = asyncio.create_task(client.run(session))
    deadline = loop.time() + seconds + _MARGIN
    try:
        while client.ended_at is None and loop.time() < deadline:
            await probe.publish(0)
            await client.wait(lambda: False, seconds / 4)
        return client.ended_at is not None
    finally:
        reading.cancel()
        await asyncio.wait([reading])


async def _round_trip(session: aiohttp.ClientSession, url: str) -> float:
    """Seconds that a short answer takes, over a connection that is open already if one is kept."""
    begin = asyncio.get_running_loop().time()
    async with asyncio.timeout(_HEALTH_SECONDS), session.get(f"{url}{HEALTH}") as answer:
        await answer.read()
    return asyncio.get_running_loop().time() - begin


async def _publish(client: ProbeClient, probe: Probe, probe_log: ProbeLog) -> None:
    """A few events, each when the one before has arrived; none after one that is too late."""
    loop = asyncio.get_running_loop()
    first = len(probe_log.published) + 1
    for number in range(first, first + EVENTS):
        probe_log.published[number] = loop.time()
        await probe.publish(number)
        if not await client.wait(partial(client.events.__contains__, number), _EVENT_WAIT):
            break


def _credentials(settings: Settings, options: Options) -> tuple[str | None, str | None]:
    """A token and its organization: the given ones, or signed here."""
    if options.token is not None or not settings.secrets:
        return options.token, options.organization
    if settings.ownership == "backend":
        # The backend does not know the probe.
        return None, None
    organization = options.organization or _ORGANIZATION
    more = {"iss": settings.jwt_issuer, "aud": settings.jwt_audience}
    token = issue(
        settings.secrets[0],
        organization_id=organization,
        subject=_ORGANIZATION,
        ttl_seconds=int(options.silence) + _TOKEN_SECONDS,
        claim=settings.organization_claim,
        algorithm=settings.jwt_algorithms[0],
        more={name: value for name, value in more.items() if value is not None},
    )
    return token, organization
