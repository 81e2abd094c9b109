"""By HTTP: tokens that are refused, renewed, or cannot be had."""

import time

import pytest
from redis.asyncio import Redis

from gateway.publisher import Publisher, PublishFailed
from tests.conftest import RunningGateway
from tests.publisher.conftest import MakePublisher, numbers, publishing_token


async def test_a_refused_token_is_renewed(
    make_publisher: MakePublisher, gateway: RunningGateway, redis: Redis
) -> None:
    """A function is asked for a token at first, and when the gateway refuses the one that it gave;
    a token that is fixed fails at once."""
    given = iter([publishing_token(ttl_seconds=-60), publishing_token()])
    publisher = make_publisher(gateway.url, token=lambda: next(given))
    for number in range(2):
        await publisher.publish("run-1", "a", {"number": number})
    assert await numbers(redis) == [0, 1]
    expired = make_publisher(gateway.url, token=publishing_token(ttl_seconds=-60), deadline=10)
    began = time.monotonic()
    with pytest.raises(PublishFailed, match=r"refuses it \(token_expired\)"):
        await expired.publish("run-1", "a", {})
    assert time.monotonic() - began < 5


async def test_a_function_for_tokens_may_fail(
    make_publisher: MakePublisher, gateway: RunningGateway
) -> None:
    """What it raises is not shown, since it may hold a secret; what is no token is not sent."""

    def fail() -> str:
        raise ValueError("secret")

    for function, message in (
        (fail, "has raised ValueError"),
        (lambda: None, "has returned no token"),
    ):
        publisher = make_publisher(gateway.url, token=function, deadline=0.5)
        with pytest.raises(PublishFailed, match=message) as caught:
            await publisher.publish("run-1", "a", {})
        assert "secret" not in str(caught.value)


async def test_a_function_for_tokens_may_be_a_coroutine(gateway: RunningGateway) -> None:
    """In asyncio, where it asks the issuer."""

    async def renew() -> str:
        return publishing_token()

    async with Publisher(gateway.url, token=renew) as publisher:
        await publisher.publish("run-1", "a", {})
