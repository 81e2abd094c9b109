"""Publishes for producers that speak HTTP: one script for each call, in shared round trips."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from gateway.bus.cluster import Cluster
from gateway.bus.connection import server_of
from gateway.bus.errors import REDIS_ERRORS, describe_redis_error
from gateway.bus.trips import Trips
from gateway.contract.keys import PublishTo, channels_of
from gateway.contract.registration import Registration
from gateway.contract.scripts import (
    FORMER_RUN_TTL_MS,
    Call,
    HistoryLimits,
    NewEvent,
    publish_many_call,
)
from gateway.errors import Conflict, KeyReused, PublishForbidden, Unavailable
from gateway.events.envelope import Envelope, decode
from gateway.events.ids import parse_id
from gateway.metrics import Metrics


class PublishCall(NamedTuple):
    """One call of a producer."""

    execution_id: str
    organization_id: str
    events: Sequence[NewEvent]
    body: bytes
    """As it came: a repeated call has the same."""
    idempotency_key: str | None = None
    began: int | None = None
    """An epoch of the run that its producer means."""
    restarts: bool = False
    keep: bool = False
    """What it restarts stays readable for as long as an ended run."""


class Published(NamedTuple):
    """The ids that the events of a call were given."""

    ids: list[str]
    is_repeated: bool
    """The same call was published before."""


@dataclass
class Publishing:
    """Appends and publishes, and registers."""

    redis: Redis
    channel_prefix: str
    limits: HistoryLimits
    metrics: Metrics
    publish_to: PublishTo = "pattern"
    on_registered: Callable[[Registration], None] = lambda _: None
    """Called with each registration that was accepted."""
    on_published: Callable[[str, Sequence[Envelope]], None] | None = None
    """Called with an execution and its events that were published."""
    trips: Trips = field(init=False)

    def __post_init__(self) -> None:
        # Its own: no stream that opens waits behind the bodies of producers.
        self.trips = Trips(self.redis)
        self._server = server_of(self.redis)

    async def publish(self, call: PublishCall) -> Published:
        """Publish all events of *call*, or none.

        Raises:
            PublishForbidden: the execution is another organization's.
            Conflict: it has a history without an owner, was deleted, or was restarted.
            KeyReused: the key is of another call.
            Unavailable: Redis refused, or gave no answer.
        """
        try:
            await self._server.make_sure()
            word, *more = await self.trips.run(self._script(call), changes=True)
        except REDIS_ERRORS as error:
            self._server.failed()
            raise _unpublished(error, has_key=call.idempotency_key is not None) from error
        if word not in (b"published", b"repeated"):
            raise _refusal(word, more)
        ids = _ids(*more)
        if word == b"published":
            self.metrics.events_published += len(ids)
            if self.on_published is not None:
                self.on_published(call.execution_id, _envelopes(call.events, ids))
        return Published(ids, word == b"repeated")

    def _script(self, call: PublishCall) -> Call:
        restart_ttl_ms = None
        if call.restarts:
            restart_ttl_ms = self.limits.history_ttl_ms if call.keep else FORMER_RUN_TTL_MS
        in_cluster = isinstance(self.redis, Cluster)
        channel, live = channels_of(
            self.publish_to, self.channel_prefix, call.execution_id, in_cluster=in_cluster
        )
        return publish_many_call(
            call.execution_id,
            call.events,
            channel=channel,
            live=live,
            in_cluster=in_cluster,
            organization_id=call.organization_id,
            idempotency_key=call.idempotency_key,
            digest=_digest(call),
            limits=self.limits,
            began=call.began,
            restart_ttl_ms=restart_ttl_ms,
        )

    async def register(
        self, execution_id: str, organization_id: str, workflow_id: str | None
    ) -> tuple[bool, str | None]:
        """Register an execution; whether it was not registered before, and its workflow.

        Raises:
            RegistrationRefused: an id is not valid.
            PublishForbidden, Conflict, Unavailable: see `publish`.
        """
        registration = Registration(execution_id, organization_id, workflow_id)
        try:
            await self._server.make_sure()
            script = registration.call(self.limits, in_cluster=isinstance(self.redis, Cluster))
            answer: bytes = await self.trips.run(script, changes=True)
            if workflow_id is None:
                # Another call may have said it.
                [known] = await self.trips.ask_meta(execution_id, "workflow_id")
                workflow_id = known.decode(errors="replace") if known is not None else None
        except REDIS_ERRORS as error:
            self._server.failed()
            raise Unavailable(
                f"Unknown whether it was registered: {describe_redis_error(error)} Send the "
                "request again: that is harmless."
            ) from error
        if answer == b"organization_id":
            raise PublishForbidden
        if answer == b"workflow_id":
            raise Conflict(
                "This execution is registered as a run of another workflow: give each execution an "
                "id of its own.",
                "workflow_differs",
            )
        if answer == b"forgotten":
            raise _refusal(answer, [])
        self.on_registered(registration)
        return answer == b"registered", workflow_id

    async def look(self, execution_id: str) -> None:
        """Ask Redis about an execution, so that a refusal takes as long as another one."""
        try:
            await self.trips.ask_meta(execution_id, "organization_id")
        except REDIS_ERRORS as error:
            raise _unpublished(error, has_key=True) from error


def _ids(first: bytes, count: int) -> list[str]:
    epoch, _, seq = first.decode().partition("-")
    return [f"{epoch}-{number}" for number in range(int(seq), int(seq) + count)]


def _envelopes(events: Sequence[NewEvent], ids: Sequence[str]) -> list[Envelope]:
    return [
        decode(event.payload, len(event.payload))._replace(id=parse_id(event_id))
        for event, event_id in zip(events, ids, strict=True)
    ]


def _digest(call: PublishCall) -> str:
    kind = b"%d%d" % (call.restarts, call.keep)
    return hashlib.blake2b(call.body, digest_size=16, person=kind).hexdigest()


def _refusal(word: bytes, more: Sequence[Any]) -> Exception:
    match word:
        case b"unregistered":
            return Conflict(
                "This execution has a history and belongs to no organization, so nothing was "
                "published: register it first, where its events are published.",
                "unregistered_history",
            )
        case b"forgotten":
            return Conflict(
                "This execution was deleted: use another id, or wait for a day.",
                "execution_forgotten",
            )
        case b"restarted":
            return Conflict(
                "The execution was restarted, and this event is of the former run: do not publish "
                f"it again. The present run began with epoch {more[0].decode()}.",
                "run_restarted",
            )
        case b"reused":
            return KeyReused(_ids(*more))
        case _:
            return PublishForbidden()


def _unpublished(error: Exception, *, has_key: bool) -> Unavailable:
    # A script that Redis refuses has written nothing.
    what = (
        "Not published" if isinstance(error, ResponseError) else "Unknown whether it was published"
    )
    remedy = (
        "Send the call again with the same Idempotency-Key: that does not double its events."
        if has_key
        else "A call with an Idempotency-Key can be sent again without doubling its events."
    )
    return Unavailable(f"{what}: {describe_redis_error(error)} {remedy}")
