"""Redis errors in words that may be shown to anybody: no address, no user, no command.

The full error belongs in the log; health is open to whoever reaches the port.
"""

import re
import ssl

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

REDIS_ERRORS = (RedisError, OSError, TimeoutError, RuntimeError)
"""What a command may raise when Redis is away, hangs or refuses.

RuntimeError is what uvloop raises, and asyncio's own loop does not, on writing to a connection that
was closed a moment before: without it one kill of Redis in six ended a background task for good.
"""

FOREIGN_VALUE = (
    "Redis holds a value, under a key of the gateway's, that neither a gateway nor a publisher "
    "writes: delete or correct it."
)
"""What is said of one key, where Redis as a whole is in order."""


def is_of_one_key(error: BaseException) -> bool:
    """Whether Redis refuses what one key holds, and would do the same for others."""
    return isinstance(error, ResponseError) and _FOREIGN.search(str(error)) is not None


# The former is Redis' own, the latter that of our scripts.
_FOREIGN = re.compile(r"WRONGTYPE|FOREIGN")


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
                "No sentinel names a master that may be used: see that they run, and that "
                "REDIS_URL has their addresses, their password, and the master's name."
            )
        case _ if (refusal := _tls_error(error)) is not None:
            return _describe_tls_error(refusal)
        case _:
            return "Redis cannot be reached: see that it runs and that REDIS_URL names it."


def _tls_error(error: BaseException) -> ssl.SSLError | None:
    """What TLS has said, under the error that redis-py has made of it."""
    below: BaseException | None = error
    while below is not None and not isinstance(below, ssl.SSLError):
        below = below.__cause__ or below.__context__
    return below


def _describe_tls_error(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            "Redis shows a certificate that is not trusted: name the authority that signed it in "
            "REDIS_URL (ssl_ca_certs), and the host as the certificate does."
        )
    return (
        "TLS with Redis fails: see that its port speaks TLS, and that REDIS_URL has the client "
        "certificate that it asks for (ssl_certfile, ssl_keyfile)."
    )
