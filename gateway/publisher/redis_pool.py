"""The connections to Redis of a publisher for threads, with and without Sentinel."""

from contextlib import suppress
from typing import Any

from redis import Connection, ConnectionPool
from redis.backoff import NoBackoff
from redis.exceptions import ResponseError
from redis.retry import Retry
from redis.sentinel import Sentinel, SentinelConnectionPool

from gateway.settings.redis_url import is_sentinel_url, is_tls_url, parse_sentinel_url


def redis_pool(url: str, timeout: float) -> ConnectionPool:
    """The connections to *url*; each is opened when a command needs it.

    *timeout*: seconds for a connect and for an answer.
    """
    options = connection_options(url, timeout)
    # As many connections as threads publish at the same time: none waits for a free one.
    if not is_sentinel_url(url):
        return ConnectionPool.from_url(url, **options)
    given = parse_sentinel_url(url)
    asking = {**options, **given.sentinel_options, "ssl": given.tls}
    # All of them within an attempt.
    asking["socket_timeout"] = asking["socket_connect_timeout"] = timeout / len(given.sentinels)
    sentinels = Sentinel(given.sentinels, sentinel_kwargs=asking)
    return SentinelConnectionPool(
        given.master, sentinels, ssl=given.tls, **{**options, **given.options}
    )


def connection_options(url: str, timeout: float) -> dict[str, Any]:
    """What redis-py makes each connection to *url* with; *timeout*: see `redis_pool`."""
    options: dict[str, Any] = {
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        # The publisher retries itself.
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
        "driver_info": None,
    }
    if is_tls_url(url):
        options["redis_connect_func"] = _greet
    return options


def _greet(connection: Connection) -> None:
    """Read one answer on each new TLS connection.

    TLS 1.3 sends session tickets after the handshake. redis-py takes waiting bytes for the rest of
    an earlier answer and drops such a connection. Reading an answer reads the tickets too.
    """
    connection.on_connect()
    # A publisher has no right to PING. A sentinel does not know TIME, and its refusal is as good.
    connection.send_command("TIME", check_health=False)
    with suppress(ResponseError):
        connection.read_response()
