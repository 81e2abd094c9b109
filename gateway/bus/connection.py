"""How the gateway connects to Redis: a small bounded pool for all commands.

redis-py's default pool is unbounded: 500 tabs that opened at once made 100 connections. Here a
command waits for a free connection, up to its deadline. The subscription has a connection of its
own outside this pool.
"""

from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from gateway.bus.cluster import Cluster
from gateway.bus.sentinel import MasterPool
from gateway.bus.server import Server, ServerPool
from gateway.settings.redis_url import (
    is_cluster_url,
    is_sentinel_url,
    parse_cluster_url,
    parse_sentinel_url,
)

COMMAND_TIMEOUT = 3.0
"""Seconds after which a command, a connect or the wait for a free connection is given up."""


def create_redis(
    url: str,
    *,
    max_connections: int,
    retries: int = 1,
    answer_timeout: float | None = COMMAND_TIMEOUT,
) -> Redis:
    """A client for *url* whose pool never opens more than *max_connections*, to each node
    of a cluster.

    It connects at the first command; use it as an async context manager, or call `aclose`.
    *retries*: how often a command is repeated at once after a lost connection. *answer_timeout*:
    seconds after which an answer is given up; None for a caller with its own deadline.

    Raises:
        ValueError: *url* is no Redis URL; `gateway.settings.check_redis_url` says why.
    """
    options: dict[str, Any] = {
        "max_connections": max_connections,
        "timeout": COMMAND_TIMEOUT,
        "socket_timeout": answer_timeout,
        "socket_connect_timeout": COMMAND_TIMEOUT,
        "retry": Retry(NoBackoff(), retries),
        # RESP2: pub/sub messages stay plain lists, which redis-py reads fastest.
        "protocol": 2,
        # CLIENT SETINFO is not among the rights that the gateway asks an operator for.
        "driver_info": None,
    }
    if is_cluster_url(url):
        return Cluster(
            parse_cluster_url(url), retries=retries, command_timeout=COMMAND_TIMEOUT, **options
        )
    if is_sentinel_url(url):
        return Redis.from_pool(MasterPool(parse_sentinel_url(url), **options))
    return Redis.from_pool(ServerPool(url, **options))


def server_of(redis: Redis) -> Server:
    """Where a client that `create_redis` has made is connected to."""
    if isinstance(redis, Cluster):
        return redis.nodes
    pool = redis.connection_pool
    assert isinstance(pool, MasterPool | ServerPool)  # noqa: S101 - for the type checker
    return pool.server


async def primaries_of(redis: Redis) -> list[Redis]:
    """A client for each part of what Redis holds: of a cluster, each primary; else *redis*.

    Raises what redis-py does.
    """
    if not isinstance(redis, Cluster):
        return [redis]
    await redis.nodes.known()
    return [node.client for node in redis.primaries()]
