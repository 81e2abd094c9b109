"""The library for producers: publishes the events of executions.

An event is recorded in the execution's history and published in one round trip. So it has an id,
and a browser that connects late or again gets it. In asyncio programs:

    from gateway.publisher import Publisher

    async with Publisher("redis://localhost:6379/0") as publisher:
        await publisher.register("run-42", "acme", "invoices")
        start = datetime.now(UTC)
        await publisher.step_started("run-42", node_id="n1", node_type="email", started_at=start)
        ...
        await publisher.step_completed("run-42", node_id="n1", node_type="email", started_at=start)
        await publisher.execution_completed("run-42", execution_time_ms=60_000)
        await publisher.publish("run-42", "invoice:sent", {"number": 7})

`SyncPublisher` is the same without `await`, for Flask, Celery and plain threads. With the URL of a
gateway instead of Redis' (`Publisher("https://…", token=…)`) both send by HTTP.

- A call returns the event's id (`1795377945746-3`) or raises: `EventRefused` for an event that is
  not valid, `PublishFailed` when it was not accepted before the deadline (5 s by default).
- Retries never double an event: each call has an idempotency key, a random one unless
  `idempotency_key` is given, which is known for five minutes.
- `restart` begins a new run under the same id. Events of the former run then raise `RunRestarted`.
- With `min_replicas=1` it returns only when a replica of Redis has the event too, or raises
  `NotReplicated`: the event is published then, and a failover may lose it.
- Workers that must not wait use `publisher.buffered`: its methods return at once, and the events
  are sent in the background, in order, however long it takes. A full buffer raises `BufferFull`;
  `flush` and `close` wait for what is left and raise if it cannot be sent. The buffer is in memory:
  it is lost when the process is killed.

Any language can do the same by HTTP, or with the scripts of `gateway.contract`.
"""

from gateway.contract.registration import RegistrationRefused
from gateway.contract.scripts import HistoryLimits
from gateway.publisher.asynchronous import AsyncBuffer, Publisher
from gateway.publisher.retry import (
    BufferFull,
    EventRefused,
    EventTooLarge,
    NotReplicated,
    PublishFailed,
    RunForgotten,
    RunRestarted,
)
from gateway.publisher.synchronous import SyncBuffer, SyncPublisher

__all__ = [
    "AsyncBuffer",
    "BufferFull",
    "EventRefused",
    "EventTooLarge",
    "HistoryLimits",
    "NotReplicated",
    "PublishFailed",
    "Publisher",
    "RegistrationRefused",
    "RunForgotten",
    "RunRestarted",
    "SyncBuffer",
    "SyncPublisher",
]
