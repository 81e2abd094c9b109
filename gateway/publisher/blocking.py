"""How the publisher of threads connects to Redis. It sends nothing, and tries nothing again.

redis-py's Sentinel pool asks for the master each time that it connects, which is enough here: a
call that meets the wrong one, or none, is tried again.
"""

from collections.abc import Callable
from typing import Any

from redis import Connection, ConnectionPool, Redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import Sentinel, SentinelConnectionPool

from gateway.settings.redis_url import is_sentinel_url, is_tls_url, parse_sentinel_url


def connect(url: str, timeout: float) -> tuple[Redis, Callable[[], None]]:
    """A client of the Redis or master that *url* names, and what closes it; nothing is connected
    yet. *timeout*: seconds for a connect and for an answer.

    Raises:
        ValueError: as `create_redis` does.
    """
    options: dict[str, Any] = {
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        # Trying again is the publisher's.
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
        "driver_info": None,
    }
    if is_tls_url(url):
        options["redis_connect_func"] = _greet
    # As many connections as threads publish at one moment: nobody waits for a free one.
    if not is_sentinel_url(url):
        redis = Redis.from_pool(ConnectionPool.from_url(url, **options))
        return redis, redis.close
    given = parse_sentinel_url(url)
    asking = {**options, **given.sentinel_options, "ssl": given.tls}
    sentinels = Sentinel(given.sentinels, sentinel_kwargs=asking)
    redis = Redis.from_pool(
        SentinelConnectionPool(
            given.master, sentinels, ssl=given.tls, **{**options, **given.options}
        )
    )

    def close() -> None:
        redis.close()
        sentinels.close()

    return redis, close


def _greet(connection: Connection) -> None:
    """Begin a connection over TLS with one answer.

    TLS 1.3 sends session tickets after the handshake. redis-py takes any bytes that wait for an
    answer that nobody has read, and gives up such a connection, the next one too. They are read
    along with this answer.
    """
    connection.on_connect()
    connection.send_command("PING", check_health=False)
    connection.read_response()
