"""How the gateway connects to Redis: a small bounded pool for all commands.

redis-py's default pool is unbounded: 500 tabs opening at once made 100 connections. Here a command
waits for a free connection instead, and gives up after its own deadline. The pattern subscription
makes a connection of its own, outside this pool: see `gateway.bus.subscription`.
"""

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

COMMAND_TIMEOUT = 3.0
"""Seconds after which a command, a connect or the wait for a free connection is given up."""


def create_redis(url: str, *, max_connections: int) -> Redis:
    """A client for *url* whose pool never opens more than *max_connections*.

    Nothing is connected yet. A command on a connection that Redis had closed is tried once more at
    once; whatever lasts longer is the caller's to wait for.
    """
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=max_connections,
        timeout=COMMAND_TIMEOUT,
        socket_timeout=COMMAND_TIMEOUT,
        socket_connect_timeout=COMMAND_TIMEOUT,
        retry=Retry(NoBackoff(), 1),
        # RESP2: pub/sub messages stay plain lists, which redis-py reads without a detour.
        protocol=2,
        # CLIENT SETINFO is not among the rights that the gateway asks an operator for.
        driver_info=None,
    )
    return Redis.from_pool(pool)
