"""How a publisher sends by Redis: one script for each event."""

import asyncio
import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, get_args

from redis.exceptions import (
    AuthenticationError,
    DataError,
    ResponseError,
)

from gateway.bus import scripts
from gateway.bus.connection import create_redis, server_of
from gateway.bus.errors import REDIS_ERRORS, code_of, describe_redis_error
from gateway.contract.index import registered_call
from gateway.contract.keys import PublishTo, channels_of
from gateway.contract.meta import kind_of
from gateway.contract.registration import Registration
from gateway.contract.scripts import FORMER_RUN_TTL_MS, Call, HistoryLimits, publish_call
from gateway.events.fields import times_of
from gateway.events.json_edit import parse_object
from gateway.log import RateLimitedLog
from gateway.publisher.composer import Outgoing
from gateway.publisher.http_target import Token
from gateway.publisher.retry import AttemptFailed, NotReplicated, RunForgotten, RunRestarted
from gateway.settings import check_redis_url
from gateway.settings.redis_url import as_redis_py_writes, is_cluster_url

log = logging.getLogger(__name__)

_unlisted_log = RateLimitedLog(60.0)

CONNECTIONS = 8
"""Most connections of one asyncio publisher; one round trip an event needs no more."""

_TEMPORARY = frozenset([
    "BUSY", "CLUSTERDOWN", "LOADING", "MASTERDOWN", "MISCONF", "NOREPLICAS", "OOM", "READONLY",
    "TRYAGAIN", "MOVED", "ASK",
])  # fmt: skip
"""A refusal with one of these codes is temporary, after a failover for example."""

# In a pipeline, redis-py puts the beginning of the command before it.
_REFUSED = re.compile(r"(?:^| caused error: \(['\"])(FORGOTTEN|RESTARTED) ")


@dataclass(frozen=True, slots=True)
class RedisTarget:
    """The Redis to publish to, and what must be as in the gateway's settings."""

    url: str
    channel_prefix: str
    limits: HistoryLimits
    min_replicas: int
    token: Token | None = None
    """Not for Redis."""
    publish_to: PublishTo = "pattern"

    @property
    def is_cluster(self) -> bool:
        return is_cluster_url(self.url)

    def mistakes(self) -> Iterator[str]:
        """A sentence for each."""
        if self.token is not None:
            yield "token: give it together with the URL of a gateway, https://…"
        if self.min_replicas < 0:
            yield f"min_replicas is {self.min_replicas}: make it 0 or more."
        if self.publish_to not in get_args(PublishTo):
            yield f"publish_to is {self.publish_to!r}: make it {', '.join(get_args(PublishTo))}."
        try:
            check_redis_url(self.url)
        except ValueError as error:
            yield f"url: {error}. (The URL of a gateway starts with https:// or http://.)"

    def most(self, _waiting: Iterable[Outgoing]) -> int:
        """How many of what waits are sent in one call."""
        return 1

    def call(self, event: Outgoing, began: int | None) -> Call:
        """The script that appends and publishes *event*."""
        times = times_of(parse_object(event.payload))
        kept_ms = self.limits.history_ttl_ms if event.keeps else FORMER_RUN_TTL_MS
        return publish_call(
            event.execution_id,
            event.payload,
            **channels_of(
                self.publish_to,
                self.channel_prefix,
                event.execution_id,
                in_cluster=self.is_cluster,
            )._asdict(),
            in_cluster=self.is_cluster,
            idempotency_key=event.idempotency_key,
            terminal_type=event.terminal_type,
            limits=self.limits,
            kind=kind_of(event.event_type),
            moment=times.moment(ends=event.terminal_type != ""),
            began=began,
            restart_ttl_ms=kept_ms if event.restarts else None,
        )

    def register_call(self, registration: Registration) -> Call:
        """The script that registers."""
        return registration.call(self.limits, in_cluster=self.is_cluster)

    def index_call(self, registration: Registration) -> Call:
        """The script that has a registration listed."""
        return registered_call(registration, self.limits, self.channel_prefix)

    def with_wait(self, pipeline: Any, call: Call, timeout: float) -> Any:
        """*call*, and then how many replicas have what it has written. In one pipeline, so on one
        connection: WAIT is about what that one has written."""
        script, keys, arguments = call
        pipeline.eval(script.text, len(keys), *keys, *arguments)
        pipeline.execute_command(*self.wait(timeout))
        return pipeline.execute()

    def wait(self, timeout: float) -> tuple[str, int, int]:
        """The command that asks how many replicas have it; *timeout*: seconds of an attempt."""
        # Less than the attempt, so that its answer comes in time.
        return ("WAIT", self.min_replicas, int(timeout * 600))

    def replicated(self, answer: bytes, replicas: int) -> bytes:
        """*answer*, if so many *replicas* are enough."""
        if replicas < self.min_replicas:
            raise AttemptFailed(
                f"Redis has published it, but {replicas} of {self.min_replicas} replicas have it: "
                "check that they run and follow the master.",
                is_temporary=True,
                kind=NotReplicated,
            )
        return answer


@contextmanager
def unlisted(registration: Registration) -> Iterator[None]:
    """Lists are best effort: the registration itself has succeeded."""
    try:
        yield
    except (*REDIS_ERRORS, AttemptFailed) as error:
        _unlisted_log.warning(
            log, "Lists show %s with its first event. (%s)", registration.execution_id, error
        )


class AsyncRedis:
    """Sends from asyncio; *timeout*: seconds of one attempt."""

    def __init__(self, target: RedisTarget, timeout: float) -> None:
        self._target = target
        self._timeout = timeout
        self._redis = create_redis(as_redis_py_writes(target.url), max_connections=CONNECTIONS)
        self._server = server_of(self._redis)

    async def publish(self, events: Sequence[Outgoing], began: int | None) -> list[str]:
        [event] = events
        with attempt(event):
            return [(await self._run(self._target.call(event, began))).decode()]

    async def register(self, registration: Registration) -> None:
        with attempt():
            answer = await self._run(self._target.register_call(registration))
        registration.check(answer)
        with unlisted(registration):
            await self._run(self._target.index_call(registration))

    async def close(self) -> None:
        await self._redis.aclose()

    async def _run(self, call: Call) -> bytes:
        try:
            async with asyncio.timeout(self._timeout):
                await self._server.make_sure()
                return await self._call(call)
        except (*REDIS_ERRORS, AttemptFailed):
            self._server.failed()
            raise

    async def _call(self, call: Call) -> bytes:
        if not self._target.min_replicas:
            answer: bytes = await scripts.run(self._redis, call)
            return answer
        async with self._redis.pipeline(transaction=False) as pipeline:
            answers = await self._target.with_wait(pipeline, call, self._timeout)
        return self._target.replicated(*answers)


@contextmanager
def attempt(event: Outgoing | None = None) -> Iterator[None]:
    """Around one attempt to send *event*, or something else.

    Raises:
        RunForgotten, RunRestarted: of this execution, which would be so at the next attempt too.
        AttemptFailed: for any other error of Redis.
    """
    try:
        yield
    except REDIS_ERRORS as error:
        refused = _REFUSED.search(str(error)) if isinstance(error, ResponseError) else None
        if event is None or refused is None:
            raise AttemptFailed(
                describe_redis_error(error), is_temporary=is_temporary(error), detail=error
            ) from error
        kind = RunForgotten if refused[1] == "FORGOTTEN" else RunRestarted
        raise kind.of(event.execution_id, event.idempotency_key) from error


def is_temporary(error: Exception) -> bool:
    """Whether the same call may succeed soon, though it met *error*."""
    match error:
        case AuthenticationError() | DataError():
            return False
        case ResponseError():
            return code_of(error) in _TEMPORARY
        case _:
            return True
