"""Errors of Redis: which ones a command may raise, and what a user reads about each.

The sentences name no address, user or command, since health is public. The full error belongs in
the log.
"""

import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

from redis.asyncio.sentinel import MasterNotFoundError
from redis.exceptions import (
    AuthenticationError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)
from redis.exceptions import TimeoutError as RedisTimeoutError

from gateway.errors import RedisUnavailable

REDIS_ERRORS = (RedisError, OSError, TimeoutError, RuntimeError)
"""What a command may raise when Redis is down, hangs or refuses.

uvloop raises RuntimeError, unlike asyncio's own loop, on writing to a connection that was closed a
moment before: without it one kill of Redis in six ended a background task.
"""

FOREIGN_VALUE = (
    "A key of the gateway in Redis holds a value that neither a gateway nor a publisher writes: "
    "delete or correct it."
)
"""What is wrong with one key, while Redis as a whole works."""

# WRONGTYPE is Redis' own word, FOREIGN that of our scripts.
_FOREIGN = re.compile(r"WRONGTYPE|FOREIGN")


@contextmanager
def redis_errors() -> Iterator[None]:
    """Raise RedisUnavailable, with a sentence for the user, for any error of Redis in the block."""
    try:
        yield
    except REDIS_ERRORS as error:
        raise RedisUnavailable(describe_redis_error(error)) from error


def is_of_one_key(error: BaseException) -> bool:
    """Whether Redis refuses only what one key holds: commands on other keys would succeed."""
    return isinstance(error, ResponseError) and _FOREIGN.search(str(error)) is not None


def describe_redis_error(error: BaseException) -> str:
    """One sentence about what is wrong with Redis and what to do."""
    match error:
        case NoPermissionError():
            return "Redis refuses what the gateway needs (NOPERM): grant its user the rights."
        case AuthenticationError():
            return "Redis refuses the gateway's credentials: check the user and password."
        case OutOfMemoryError():
            return "Redis refuses to write (OOM): give it more memory."
        case ReadOnlyError():
            return "Redis refuses to write (READONLY): it is a replica; name the master."
        case _ if is_of_one_key(error):
            return FOREIGN_VALUE
        case ResponseError():
            return f"Redis refuses commands ({str(error).split(' ', 1)[0]}): see its log."
        case RedisTimeoutError() | TimeoutError():
            return "Redis does not answer in time: it hangs, or the network does."
        case MasterNotFoundError():
            return (
                "No sentinel names a usable master: check that the sentinels run, and that "
                "REDIS_URL has their addresses, their password, and the master's name."
            )
        case _ if (tls_error := _tls_error(error)) is not None:
            return _describe_tls_error(tls_error)
        case _:
            return "Redis cannot be reached: check that it runs and that REDIS_URL names it."


def _tls_error(error: BaseException) -> ssl.SSLError | None:
    """The TLS error that redis-py has wrapped, if it is one."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ssl.SSLError):
        cause = cause.__cause__ or cause.__context__
    return cause


def _describe_tls_error(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            "The certificate of Redis is not trusted: name the authority that signed it in "
            "REDIS_URL (ssl_ca_certs), and use the host name that the certificate has."
        )
    return (
        "TLS with Redis fails: check that its port speaks TLS, and that REDIS_URL has the client "
        "certificate that it asks for (ssl_certfile, ssl_keyfile)."
    )
