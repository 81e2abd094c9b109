"""Organizations, executions and rights at random: nobody publishes into another's execution."""

import asyncio
from collections import defaultdict
from dataclasses import dataclass
from itertools import count
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from gateway.contract.keys import events_key, meta_key
from tests.conftest import RunningGateway, StartGateway, credentials
from tests.harness.history import append
from tests.publish.conftest import RIGHT, Producer

ORGANIZATIONS = ("acme", "ACME", "acme/", "globex", "*")
EXECUTIONS = ("a", "b", "c")
_number = count()


@dataclass(frozen=True)
class Action:
    """One call, in the order in which they are made."""

    organization: str
    asks_as: str
    execution: str
    has_right: bool
    only: tuple[str, ...] | None
    """The claim `executions`."""
    how: str


action = st.builds(
    Action,
    organization := st.sampled_from(ORGANIZATIONS),
    # Most ask as themselves: a world of refusals would prove nothing.
    st.none() | st.none() | organization,
    st.sampled_from(EXECUTIONS),
    st.sampled_from([True] * 5 + [False]),
    st.none() | st.none() | st.lists(st.sampled_from(EXECUTIONS), max_size=2).map(tuple),
    st.sampled_from(("events", "events", "restart", "register")),
)


async def _play(gateway: RunningGateway, redis: Redis, bare: str, actions: list[Action]) -> None:
    run = f"t{next(_number)}-"
    await append(redis, run + bare)
    owners: dict[str, str] = {}
    published: defaultdict[str, int] = defaultdict(int, {bare: 1})
    for one in actions:
        asks_as = one.asks_as or one.organization
        more: dict[str, Any] = dict(RIGHT if one.has_right else {})
        if one.only is not None:
            more["executions"] = [run + name for name in one.only]
        headers = credentials(one.organization, more=more) | {"X-Organization-ID": asks_as}
        path = run + one.execution + ("" if one.how == "register" else f"/{one.how}")
        body = {"type": "a", "data": {"of": asks_as}} if one.how != "register" else None
        method = "PUT" if one.how == "register" else "POST"
        status, document, _ = await Producer(gateway, headers).call(method, path, body)
        expected = _expected(one, asks_as, owners, published, bare)
        assert (status, document.get("error")) == expected, one
        if status in (200, 201):
            owners.setdefault(one.execution, asks_as)
            if one.how != "register":
                published[one.execution] = 1 + published[one.execution] * (one.how == "events")
    for name in EXECUTIONS:
        owner: Any = await redis.hget(meta_key(run + name), "organization_id")
        assert (owner.decode() if owner else None) == owners.get(name)
        kept: Any = await redis.xrange(events_key(run + name))
        assert len(kept) == published[name]
        for _, fields in kept:
            assert b'"of":' not in fields[b"event"] or owner in fields[b"event"]


def _expected(
    one: Action, asks_as: str, owners: dict[str, str], published: dict[str, int], bare: str
) -> tuple[int, str | None]:
    """The model: status and error code."""
    if not one.has_right or one.only == ():
        return 403, "publish_forbidden"
    if asks_as != one.organization:
        return 403, "organization_forbidden"
    owner = owners.get(one.execution)
    if (one.only is not None and one.execution not in one.only) or owner not in (None, asks_as):
        return 403, "execution_forbidden"
    if one.how == "register":
        return (200 if owner else 201), None
    if owner is None and one.execution == bare:
        return 409, "unregistered_history"
    return 201, None


async def test_no_organization_publishes_into_anothers(
    start_gateway: StartGateway, redis: Redis
) -> None:
    """Each answer is the one of a model, which knows owners and rights alone; afterwards every
    execution has its owner's events and no other."""
    gateway = await start_gateway(publish=True)
    loop = asyncio.get_running_loop()

    @settings(max_examples=25, suppress_health_check=list(HealthCheck))
    @given(st.sampled_from(EXECUTIONS), st.lists(action, min_size=1, max_size=10))
    def worlds(bare: str, actions: list[Action]) -> None:
        asyncio.run_coroutine_threadsafe(_play(gateway, redis, bare, actions), loop).result()

    await asyncio.to_thread(worlds)
