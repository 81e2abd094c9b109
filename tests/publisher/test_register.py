"""Whose execution it is: the first registration wins."""

from typing import Any

import pytest
from redis.asyncio import Redis

from gateway.bus.registry import Registry
from gateway.contract.scripts import HistoryLimits
from gateway.publisher import PublishFailed, RegistrationRefused
from tests.publisher.conftest import Either, MakePublisher

META = "sse:{run-1}:meta"


async def test_a_registration_is_written_and_kept(
    make_publisher: MakePublisher, redis: Redis
) -> None:
    """The registry knows the organization, `meta` the workflow, and it is kept while open."""
    publisher = make_publisher(limits=HistoryLimits(open_ttl_ms=60_000))
    await publisher.register("run-1", "acme", "invoices")
    assert await Registry(redis).owner("run-1") == "acme"
    assert await redis.hgetall(META) == {b"organization_id": b"acme", b"workflow_id": b"invoices"}
    assert 50_000 < await redis.pttl(META) <= 60_000


# Registrations one after the other, and what the last one answers.
SEQUENCES: list[tuple[list[tuple[str | None, ...]], str]] = [
    ([("acme", "w"), ("acme", "w")], ""),
    ([("acme", "w"), ("acme", None)], ""),
    ([("acme", None), ("acme", "w")], ""),
    ([("açaí", "é"), ("açaí", "é")], ""),
    ([("acme", "w"), ("other", "w")], "another organization_id|use .* another id"),
    ([("acme", None), ("other", None)], "another organization_id|use .* another id"),
    ([("acme", "w"), ("acme", "v")], "another workflow"),
]


@pytest.mark.parametrize(("registrations", "refusal"), SEQUENCES)
async def test_the_first_registration_wins(
    any_publisher: Either, redis: Redis, registrations: list[tuple[Any, ...]], refusal: str
) -> None:
    """The same registration again is accepted, another one refused, and the first one stays."""
    *earlier, last = registrations
    for organization, workflow in earlier:
        await any_publisher.register("run-1", organization, workflow)
    if refusal:
        with pytest.raises(RegistrationRefused, match=refusal):
            await any_publisher.register("run-1", *last)
    else:
        await any_publisher.register("run-1", *last)
    assert await redis.hget(META, "organization_id") == earlier[0][0].encode()


async def test_registering_after_events_keeps_them(any_publisher: Either, redis: Redis) -> None:
    """Events may come before the registration, and what the scripts keep is left alone."""
    event_id = await any_publisher.execution_completed("run-1")
    await any_publisher.register("run-1", "acme")
    assert await redis.hmget(META, "terminal", "organization_id") == [event_id.encode(), b"acme"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("no/slash", "acme", None), "not an execution id"),
        ((7, "acme", None), "not an execution id"),
        (("run-1", "", None), "not a valid organization_id"),
        (("run-1", None, None), "not a valid organization_id"),
        (("run-1", "a\nb", None), "not a valid organization_id"),
        (("run-1", "\ud800", None), "not a valid organization_id"),
        (("run-1", "acme", ""), "not a valid workflow_id"),
    ],
)
async def test_an_invalid_id_is_refused(
    publisher: Either, redis: Redis, given: tuple[Any, ...], message: str
) -> None:
    """What is no id is refused before anything is sent."""
    with pytest.raises(RegistrationRefused, match=message):
        await publisher.register(*given)
    assert await redis.dbsize() == 0


async def test_registering_without_redis_fails_at_the_deadline(
    make_publisher: MakePublisher,
) -> None:
    """Without Redis a registration fails after the deadline, as an event does."""
    publisher = make_publisher("redis://127.0.0.1:1/0", deadline=0.6)
    with pytest.raises(PublishFailed, match=r"within 0.6 s.* Redis cannot be reached"):
        await publisher.register("run-1", "acme")
