"""Tries a stream through a URL, with whatever stands in between: does it come, at once, and stay?

Through its own Redis it publishes events of a probe, and sees when each arrives. Nothing of the
probe is left behind, neither in Redis nor in a gateway.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

import aiohttp
import orjson

from gateway.access.tokens import issue
from gateway.bus.connection import create_redis
from gateway.bus.trouble import REDIS_ERRORS, in_words
from gateway.check import verdict
from gateway.check.finding import Finding, Topic
from gateway.check.machine import HEALTH
from gateway.check.probe import Probe
from gateway.check.visit import Visit
from gateway.settings import EMBEDDED_REDIS, Settings

EVENTS = 5
_EVENT_WAIT = 2.0
_END_WAIT = 5.0
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
    try:
        parts = urlsplit(base)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        return [topic.error("This is no address.", "Write it like https://events.example.com.")]
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS)
    connector = aiohttp.TCPConnector(ssl=not options.insecure)
    async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
        health = await _check_health(session, base, topic)
        if health.remedy and session.closed is False and not _is_reachable(health):
            return [health]
        return [
            health,
            await _check_http2(base, options, topic),
            *await _check_stream(session, base, settings, options, topic),
        ]
