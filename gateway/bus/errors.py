"""Errors of Redis: which ones a command may raise, and what a user reads about each.

The sentences name no address, user or command, since health is public. The full error belongs in
the log.
"""

import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from redis.asyncio.sentinel import MasterNotFoundError
from redis.exceptions import (
    AskError,
    AuthenticationError,
    ClusterDownError,
    MasterDownError,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import TimeoutError as RedisTimeoutError

from gateway.errors import RedisUnavailable

REDIS_ERRORS = (RedisError, OSError, TimeoutError, RuntimeError)
"""What a command may raise when Redis is down, hangs or refuses.

uvloop raises RuntimeError, unlike asyncio's own loop, on writing to a connection that was closed a
moment before: without it one kill of Redis in six ended a background task.
"""


class Advice(NamedTuple):
    """What is wrong with Redis, and what to do, for a sentence."""

    what: str
    remedy: str


_CLUSTER = Advice(
    "Redis is a node of a cluster",
    "let REDIS_URL begin with redis+cluster:// (rediss+cluster:// with TLS)",
)
_FOREIGN = Advice(
    "A key of the gateway in Redis holds a value that neither a gateway nor a publisher writes",
    "delete or correct it",
)

PROBLEMS = {
    "NOAUTH": Advice("Redis asks for a password", "put the user and password into REDIS_URL"),
    "WRONGPASS": Advice(
        "Redis refuses the gateway's credentials", "check the user and password in REDIS_URL"
    ),
    "NOPERM": Advice(
        "Redis refuses what the gateway needs",
        "grant its user the rights that `sse-gateway check --acl` prints",
    ),
    "OOM": Advice("Redis refuses to write, since it is out of memory", "raise its maxmemory"),
    "READONLY": Advice(
        "Redis refuses to write, since it is a replica",
        "let REDIS_URL name the master, or the sentinels",
    ),
    "MASTERDOWN": Advice(
        "Redis is a replica without its master, and refuses commands",
        "let REDIS_URL name the master, or the sentinels",
    ),
    "NOREPLICAS": Advice(
        "Redis refuses to write, since too few replicas follow it",
        "start its replicas, or lower min-replicas-to-write",
    ),
    "MISCONF": Advice(
        "Redis refuses to write, since it cannot save to its disk",
        "see its log: the disk is full, or its directory is not writable",
    ),
    "LOADING": Advice("Redis has started, and still loads its data", "wait, and see its log"),
    "BUSY": Advice("A script that does not end keeps Redis busy", "send SCRIPT KILL"),
    "NOSCRIPT": Advice(
        "Redis does not know a script of the gateway", "wait: the gateway sends it again"
    ),
    "CLUSTERDOWN": Advice(
        "The Redis cluster is down, or some slots have no node",
        "see CLUSTER INFO: start the node that is missing, or let a replica take over",
    ),
    "MOVED": _CLUSTER,
    "ASK": _CLUSTER,
    "CROSSSLOT": _CLUSTER,
    "TRYAGAIN": Advice(
        "A slot of the Redis cluster moves to another node, and the keys of this call are not "
        "all at one node yet",
        "wait, or see redis-cli --cluster check: the migration may have been interrupted",
    ),
    "single": Advice(
        "Redis is not a node of a cluster",
        "let REDIS_URL begin with redis:// for a single Redis, or with redis+sentinel://",
    ),
    "WRONGTYPE": _FOREIGN,
    "FOREIGN": _FOREIGN,
    "old": Advice(
        "Redis is older than 6.2, so the scripts cannot run", "use a later one, or Valkey"
    ),
    "max clients": Advice(
        "Redis takes no more connections",
        "raise its maxclients, or see with CLIENT LIST which clients have so many",
    ),
    "unknown command": Advice(
        "Redis does not know a command that the gateway needs",
        "use Redis 6.2 or later, or Valkey, and rename no commands",
    ),
    "no database": Advice(
        "Redis has no database with the number in REDIS_URL", "correct the number"
    ),
    "timeout": Advice("Redis does not answer in time", "it hangs, or the network does"),
    "unreachable": Advice(
        "Redis cannot be reached", "check that it runs and that REDIS_URL names it"
    ),
    "no master": Advice(
        "No sentinel names a usable master",
        "check that the sentinels run, and that REDIS_URL has their addresses, their password, and "
        "the master's name",
    ),
    "certificate": Advice(
        "The certificate of Redis is not trusted",
        "name the authority that signed it in REDIS_URL (ssl_ca_certs), and use the host name that "
        "the certificate has",
    ),
    "TLS": Advice(
        "TLS with Redis fails",
        "check that its port speaks TLS, and that REDIS_URL has the client certificate that it "
        "asks for (ssl_certfile, ssl_keyfile)",
    ),
}
"""By code: the first word of an error of Redis, or a name of ours where it has none. OPERATIONS.md
has the same table."""

# What Redis says after its general code ERR, and inside of scripts instead of a code.
_TEXTS = {
    "unauthenticated": "NOAUTH",
    "max number of clients": "max clients",
    "unknown command": "unknown command",
    "Unknown Redis command": "unknown command",
    "DB index is out of range": "no database",
    "SELECT is not allowed in cluster mode": "MOVED",
    "cluster support disabled": "single",
    "ACL failure in script": "NOPERM",
    "The user executing the script can't": "NOPERM",
}
_CODE = re.compile(r"\b[A-Z]{3,}\b")


def code_of(error: BaseException) -> str:
    """The code of *error*, mostly one of `PROBLEMS`; of an unknown refusal, what Redis calls it."""
    if isinstance(error, RedisError) and error.status_code in PROBLEMS:
        # redis-py has cut it off the text.
        return str(error.status_code)
    text = str(error)
    if isinstance(error, ResponseError) or (
        isinstance(error, RedisError) and error.status_code is not None
    ):
        for part, code in _TEXTS.items():
            if part in text:
                return code
        if isinstance(error, AuthenticationError):
            return "WRONGPASS"
        # Redis 6.2 puts the code of a command in a script behind a text of its own.
        codes = _CODE.findall(text)
        return next((one for one in codes if one in PROBLEMS), error.status_code or _first(text))
    if isinstance(error, MasterNotFoundError):
        return "no master"
    # Also where no connection of the pool is free in time: all wait for an answer.
    if any(isinstance(one, RedisTimeoutError | TimeoutError) for one in (error, error.__cause__)):
        return "timeout"
    match _tls_error(error):
        case None:
            return "unreachable"
        case ssl.SSLCertVerificationError():
            return "certificate"
        case _:
            return "TLS"


def describe_redis_error(error: BaseException) -> str:
    """One sentence about what is wrong with Redis and what to do."""
    return describe_code(code_of(error))


def describe_code(code: str) -> str:
    """The same, by the code."""
    what, remedy = PROBLEMS.get(code, Advice("Redis refuses commands", "see its log"))
    return f"{what} ({code}): {remedy}." if code.isupper() else f"{what}: {remedy}."


FOREIGN_VALUE = describe_code("FOREIGN")
"""What is wrong with one key, while Redis as a whole works."""


@contextmanager
def redis_errors() -> Iterator[None]:
    """Raise RedisUnavailable, with a sentence for the user, for any error of Redis in the block."""
    try:
        yield
    except REDIS_ERRORS as error:
        raise RedisUnavailable(describe_redis_error(error)) from error


def is_of_one_key(error: BaseException) -> bool:
    """Whether Redis refuses only what one key holds: commands on other keys would succeed."""
    return isinstance(error, ResponseError) and code_of(error) in ("WRONGTYPE", "FOREIGN")


def is_loss(answer: object) -> bool:
    """Whether *answer*, to one of several commands, says that Redis has given none, or that a
    cluster could not serve it now. Another error is a refusal."""
    if isinstance(answer, ResponseError):
        is_elsewhere = isinstance(answer, AskError | TryAgainError | ClusterDownError)
        return is_elsewhere and not isinstance(answer, MasterDownError)
    return isinstance(answer, Exception)


def is_of_wrong_server(error: Exception) -> bool:
    """Whether a replica gives this answer, or a master that its replicas have left."""
    return code_of(error) in ("READONLY", "NOREPLICAS", "MASTERDOWN")


def _first(text: str) -> str:
    found = re.match(r"[A-Z]{3,}\b", text)
    return found[0] if found else "ERR"


def _tls_error(error: BaseException) -> ssl.SSLError | None:
    """The TLS error that redis-py has wrapped, if it is one."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ssl.SSLError):
        cause = cause.__cause__ or cause.__context__
    return cause
