"""Checks what the sentinels of REDIS_URL are set to: whether, and how soon, they fail over."""

from collections.abc import Mapping
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from gateway.bus.errors import REDIS_ERRORS
from gateway.bus.sentinel import SENTINEL_TIMEOUT
from gateway.settings.redis_url import SentinelUrl
from gateway.tools.check.finding import Finding, Topic

FEWEST = 3
"""Sentinels: a failover takes the majority of them, so two cannot lose one."""
SLOW_MS = 10_000
"""`down-after-milliseconds` above which an outage is long before a failover begins."""

_TOPIC = Topic("Sentinels")


async def check_sentinels(url: SentinelUrl) -> list[Finding]:
    """Findings about each sentinel that *url* names."""
    found: list[Finding] = []
    masters: dict[tuple[Any, Any], str] = {}
    for host, port in url.sentinels:
        name = f"{host}:{port}"
        options: dict[str, Any] = dict(url.sentinel_options)
        async with Redis(
            host=host,
            port=port,
            ssl=url.tls,
            socket_timeout=SENTINEL_TIMEOUT,
            socket_connect_timeout=SENTINEL_TIMEOUT,
            **options,
        ) as sentinel:
            try:
                state: Any = await sentinel.sentinel_master(url.master)
            except ResponseError as error:
                found.append(_TOPIC.error(f"{name} refuses: {error}.", _NAMES))
            except REDIS_ERRORS as error:
                found.append(_TOPIC.warning(f"{name} does not answer: {error}.", "Start it."))
            else:
                masters[state["ip"], state["port"]] = name
                found += judge_sentinel(name, state)
    if len(masters) > 1:
        names = ", ".join(f"{who} says {ip}:{port}" for (ip, port), who in masters.items())
        found.append(
            _TOPIC.error(f"The sentinels disagree on the master: {names}.", "See SENTINEL RESET.")
        )
    return found or [_TOPIC.ok(f"All {len(url.sentinels)} would fail over, and soon.")]


_NAMES = "Check the master's name and the sentinels' password in REDIS_URL."


def judge_sentinel(name: str, state: Mapping[str, Any]) -> list[Finding]:
    """The findings for what the sentinel *name* answers to SENTINEL MASTER."""
    found = []
    sentinels = int(state["num-other-sentinels"]) + 1
    quorum, down_after = int(state["quorum"]), int(state["down-after-milliseconds"])
    if not int(state["num-slaves"]):
        found.append(
            _TOPIC.error(
                f"{name} knows no replica of the master: nothing can take over.",
                "Start a replica: replicaof MASTER PORT.",
            )
        )
    if quorum > sentinels:
        found.append(
            _TOPIC.error(
                f"{name} has the quorum {quorum} and knows {sentinels} sentinels: they never fail "
                "over.",
                f"SENTINEL SET {state['name']} quorum {sentinels // 2 + 1}, or start the others.",
            )
        )
    elif sentinels < FEWEST:
        found.append(
            _TOPIC.warning(
                f"{name} knows {sentinels} sentinels in all: when one is lost with the master, the "
                "others are no majority, and nothing takes over.",
                "Run three, on machines of their own.",
            )
        )
    if down_after > SLOW_MS:
        found.append(
            _TOPIC.warning(
                f"{name} waits {down_after / 1000:g} s before it considers a master dead "
                "(down-after-milliseconds): no event arrives meanwhile.",
                f"SENTINEL SET {state['name']} down-after-milliseconds 5000, at each sentinel.",
            )
        )
    return found
