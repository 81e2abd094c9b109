"""The producers' library: announces what happens in an execution, so that nobody misses it.

An event is appended to the execution's history and published in one step and one round trip, so it
has an id, and whoever comes late or returns gets it. In asyncio programs:

    from gateway.publisher import Publisher

    async with Publisher("redis://localhost:6379/0") as publisher:
        await publisher.register("run-42", "acme", "invoices")
        begun = datetime.now(UTC)
        await publisher.step_started("run-42", node_id="n1", node_type="email", started_at=begun)
        ...
        await publisher.step_completed("run-42", node_id="n1", node_type="email", started_at=begun)
        await publisher.execution_completed("run-42", execution_time_ms=60_000)
        await publisher.publish("run-42", "invoice:sent", {"number": 7})

`SyncPublisher` is the same without `await`, for Flask, Celery and plain threads.

- A call returns the event's id (`1795377945746-3`) or raises: `EventRefused` for what can be no
  event, `PublishFailed` when Redis has not taken it before the deadline (5 s by default).
- Trouble on the way never doubles an event: each call has an idempotency key, a random one unless
  `idempotency_key` is given, which Redis remembers for five minutes.
- Workers that must not wait use `publisher.buffered`: its methods return at once, and the events
  are sent in the background, in order, for as long as it takes. A full buffer raises `BufferFull`;
  `flush` and `close` wait for what is left and raise if it cannot be sent. The buffer is in memory:
  a process that is killed takes it along.

It knows nothing of HTTP; any language can do the same with the scripts of `gateway.contract`.
"""

from gateway.contract.registration import RegistrationRefused
from gateway.contract.scripts import HistoryLimits
from gateway.publisher.asynchronous import AsyncBuffer, Publisher
from gateway.publisher.retry import BufferFull, EventRefused, EventTooLarge, PublishFailed
from gateway.publisher.synchronous import SyncBuffer, SyncPublisher

__all__ = [
    "AsyncBuffer",
    "BufferFull",
    "EventRefused",
    "EventTooLarge",
    "HistoryLimits",
    "PublishFailed",
    "Publisher",
    "RegistrationRefused",
    "SyncBuffer",
    "SyncPublisher",
]
