"""`sse-gateway recorder`: what is only PUBLISHed reaches gateways that hear what is watched."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from functools import partial

import aiohttp
import pytest
from redis.asyncio import Redis

from gateway.bus.presence import agreed, differences
from gateway.errors import ConfigurationError
from gateway.settings import load
from tests.conftest import MakeSettings, StartGateway
from tests.harness.gateway_process import GatewayProcess
from tests.harness.history import ids, payload
from tests.harness.program import running
from tests.harness.redis_process import as_gateway
from tests.support import eventually

EVENTS = 300


@pytest.fixture
async def recorders(redis_url: str) -> AsyncIterator[list[GatewayProcess]]:
    """Two, which have no keys."""
    settings = {
        "REDIS_URL": as_gateway(redis_url),
        "GATEWAY_JWT_SECRET": "",
        "GATEWAY_ADMIN_PORT": "0",
        "GATEWAY_LOG_FORMAT": "json",
    }
    async with AsyncExitStack() as stack:
        starting = [running(GatewayProcess(settings, command="recorder")) for _ in range(2)]
        yield await asyncio.gather(*map(stack.enter_async_context, starting))


async def test_one_of_two_recorders_is_killed(
    recorders: list[GatewayProcess], make_settings: MakeSettings, start_gateway: StartGateway,
    redis: Redis,
) -> None:  # fmt: skip
    """At whatever moment: a reader gets each message once, also those that are equal."""
    async with aiohttp.ClientSession() as session:
        for one in recorders:
            assert one.url == ""
            await eventually(partial(_is_ready, session, one))
    gateway = await start_gateway(
        ownership="token", subscription="execution", record_bare_events="off", recorder=False
    )
    reader = await gateway.open("run-1")
    for number in range(EVENTS):
        await redis.publish("execution:run-1", payload("log", n=number // 2))
        if number == EVENTS // 2:
            killing = asyncio.create_task(recorders[0].kill())
    await redis.publish("execution:run-1", payload("execution:completed"))
    seen = await reader.rest()
    assert [one.json()["data"].get("n") for one in seen[:-1]] == [n // 2 for n in range(EVENTS)]
    assert [one.id for one in seen] == await ids(redis, "run-1")
    await killing


async def _is_ready(session: aiohttp.ClientSession, recorder: GatewayProcess) -> bool:
    async with session.get(f"{recorder.admin_url}/ready") as response:
        return response.status == 200


def test_a_gateway_that_hears_no_bare_message_cannot_record_them(
    make_settings: MakeSettings,
) -> None:
    """It does not start, and says what to do; a gateway must hear what it publishes, too."""
    with pytest.raises(ConfigurationError, match="run `sse-gateway recorder`"):
        make_settings(subscription="execution")
    for subscription, publish_to in (("execution", "pattern"), ("pattern", "execution")):
        with pytest.raises(ConfigurationError, match=f"make it {subscription}"):
            make_settings(
                subscription=subscription, publish_to=publish_to, record_bare_events="off"
            )


def test_a_recorder_takes_the_gateways_settings() -> None:
    """It hears the pattern whatever these say, and hands on what it records."""
    settings = load(None, record_bare_events="only", subscription="execution")
    assert (settings.watches, settings.hands_on) == (False, True)
    assert load(None, record_bare_events="only", publish_to="pattern").hands_on


ROLES: dict[str, dict[str, str]] = {
    "records, for the pattern": {},
    "records, for both": {"publish_to": "both"},
    "does not record": {"record_bare_events": "off"},
    "watches": {"subscription": "execution", "record_bare_events": "off"},
    "recorder": {"record_bare_events": "only"},
}


@pytest.mark.parametrize(
    ("one", "other", "differing"),
    [
        ("watches", "recorder", []),
        ("watches", "records, for both", []),
        ("recorder", "records, for both", []),
        ("watches", "does not record", []),
        ("watches", "records, for the pattern", ["GATEWAY_PUBLISH_TO"]),
        ("recorder", "records, for the pattern", ["GATEWAY_PUBLISH_TO"]),
        ("recorder", "does not record", ["GATEWAY_RECORD_BARE_EVENTS"]),
    ],
)
def test_which_gateways_may_run_side_by_side(
    make_settings: MakeSettings, one: str, other: str, differing: list[str]
) -> None:
    """How each subscribes is its own affair; what one records must reach all others."""
    mine, theirs = (agreed(make_settings(**ROLES[name])) for name in (one, other))
    assert [text.partition(" ")[0] for text in differences(mine, theirs)] == differing
    # As a former release writes it.
    assert agreed(make_settings())["record_bare_events"] is True
