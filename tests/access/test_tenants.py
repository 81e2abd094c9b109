"""No event crosses from one organization to another, whatever is asked, in whatever way.

Random organizations, executions, tokens and requests, all at once, against a model of who may see
what. The model knows nothing of how the gateway decides.
"""

import asyncio
import time
from dataclasses import dataclass
from itertools import count
from typing import Any, Literal

import jwt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.bus.registry import register
from tests.conftest import RunningGateway, StartGateway
from tests.harness.history import ids
from tests.harness.sse import SseReader
from tests.support import SECRET, producer_message

# Names that a careless comparison takes for each other.
ORGANIZATIONS = ("acme", "ACME", "acme/", "acme,globex", "globex", "*", "0")
EVENTS = 3

How = Literal["header", "query", "ticket", "poll"]
_number = count()


@dataclass(frozen=True)
class Token:
    """A token as some issuer may have made it."""

    organizations: str | tuple[str, ...]
    genuine: bool = True
    expired: bool = False

    def encode(self) -> str:
        now = int(time.time())
        held = self.organizations
        claims = {
            "sub": "somebody",
            "organization_id": held if isinstance(held, str) else list(held),
            "exp": now + (-3600 if self.expired else 3600),
        }
        return jwt.encode(claims, SECRET if self.genuine else SECRET[::-1], algorithm="HS256")

    def covers(self, organization: str) -> bool:
        if isinstance(self.organizations, str):
            return organization == self.organizations
        return organization in self.organizations


@dataclass(frozen=True)
class Action:
    """One request: who asks for which execution, as which organization, and how."""

    token: Token
    organization: str
    execution: int
    how: How
    cursor_of: int | None
    """The execution whose first event this reader claims to have seen last."""
    spent_on: int
    """The execution that a ticket, once given, is shown for."""


@dataclass(frozen=True)
class World:
    owners: tuple[str | None, ...]
    """The organization that each execution is registered for, if any."""
    actions: tuple[Action, ...]


organization = st.sampled_from(ORGANIZATIONS)
token = st.builds(
    Token,
    st.one_of(organization, st.lists(organization, max_size=3).map(tuple)),
    # Most are good: a world of refusals would prove nothing.
    st.sampled_from([True] * 7 + [False]),
    st.sampled_from([False] * 7 + [True]),
)


@st.composite
def worlds(draw: st.DrawFn) -> World:
    owners = draw(st.lists(st.none() | organization, min_size=1, max_size=4).map(tuple))
    execution = st.integers(0, len(owners) - 1)
    action = st.builds(
        Action,
        token,
        organization,
        execution,
        st.sampled_from(("header", "query", "ticket", "poll")),
        st.none() | execution,
        execution,
    )
    return World(owners, draw(st.lists(action, min_size=1, max_size=12).map(tuple)))


def may_see(action: Action, world: World) -> int:
    """The model: the status that this request must get."""
    if not action.token.genuine or action.token.expired:
        return 401
    if not action.token.covers(action.organization):
        return 403
    if world.owners[action.execution] != action.organization:
        return 404
    if action.how == "ticket" and action.spent_on != action.execution:
        return 401
    return 200


class Tenants:
    """One world, played on a gateway."""

    def __init__(self, gateway: RunningGateway, world: World) -> None:
        self._gateway = gateway
        self._world = world
        self._run = f"tenants-{next(_number)}"
        self._last: dict[int, str] = {}

    def _id(self, execution: int) -> str:
        return f"{self._run}-{execution}"

    async def play(self) -> None:
        redis = self._gateway.components.redis
        for execution, owner in enumerate(self._world.owners):
            if owner is not None:
                await register(redis, self._id(execution), owner)
        first = [self._publish(execution, 0) for execution in range(len(self._world.owners))]
        await asyncio.gather(*first)
        async with asyncio.TaskGroup() as tasks:
            for action in self._world.actions:
                tasks.create_task(self._act(action))
            for execution in range(len(self._world.owners)):
                tasks.create_task(self._rest(execution))

    async def _publish(self, execution: int, number: int) -> None:
        event_type = "execution:completed" if number == EVENTS else "step:started"
        data = {"of": self._id(execution), "owner": self._world.owners[execution], "n": number}
        message = producer_message(event_type, **data)
        await self._gateway.components.redis.publish(f"execution:{self._id(execution)}", message)

    async def _rest(self, execution: int) -> None:
        for number in range(1, EVENTS + 1):
            await self._publish(execution, number)

    async def _act(self, action: Action) -> None:
        expected = may_see(action, self._world)
        if action.how == "ticket":
            status, seen = await self._by_ticket(action)
        else:
            status, seen = await self._by_token(action)
        assert status == expected, action
        for event in seen:
            assert event["of"] == self._id(action.execution), action
            assert event["owner"] == action.organization, action
        if status == 200 and action.how != "poll":
            # Neither may it pass by showing nothing.
            first = 0 if action.cursor_of is None else seen[0]["n"]
            assert first <= 1, action
            assert [event["n"] for event in seen] == list(range(first, EVENTS + 1)), action

    async def _by_token(self, action: Action) -> tuple[int, list[dict[str, Any]]]:
        bearer = f"Bearer {action.token.encode()}"
        headers = {"Accept": "text/event-stream"}
        query: dict[str, str] = {}
        if action.how == "query":
            query |= {"Authorization": bearer, "organization_id": action.organization}
        else:
            headers |= {"Authorization": bearer, "X-Organization-ID": action.organization}
        if action.cursor_of is not None and action.how != "poll":
            query["last_event_id"] = await self._first_id(action.cursor_of)
        if action.how == "poll":
            return await self._poll(action, headers)
        return await self._stream(action.execution, headers, query)

    async def _first_id(self, execution: int) -> str:
        kept = await ids(self._gateway.components.redis, self._id(execution))
        return kept[0] if kept else "1-1"

    async def _by_ticket(self, action: Action) -> tuple[int, list[dict[str, Any]]]:
        url = f"{self._gateway.url}/api/v1/sse/executions/{self._id(action.execution)}/ticket"
        headers = {
            "Authorization": f"Bearer {action.token.encode()}",
            "X-Organization-ID": action.organization,
        }
        async with self._gateway.session.post(url, headers=headers) as response:
            if response.status != 200:
                return response.status, []
            ticket = (await response.json())["ticket"]
        return await self._stream(
            action.spent_on, {"Accept": "text/event-stream"}, {"ticket": ticket}
        )

    async def _stream(
        self, execution: int, headers: dict[str, str], query: dict[str, str]
    ) -> tuple[int, list[dict[str, Any]]]:
        async with self._gateway.session.get(
            self._gateway.stream_url(self._id(execution)), headers=headers, params=query
        ) as response:
            if response.status != 200:
                return response.status, []
            seen = await SseReader(response).rest()
            events = (one for one in seen if one.id is not None and one.event != "connected")
            return 200, [event.json()["data"] for event in events]

    async def _poll(
        self, action: Action, headers: dict[str, str]
    ) -> tuple[int, list[dict[str, Any]]]:
        url = f"{self._gateway.url}/api/v1/workflows/w/runs/{self._id(action.execution)}"
        async with self._gateway.session.get(
            url, headers=headers, params={"include_logs": "true"}
        ) as response:
            if response.status != 200:
                return response.status, []
            return 200, [event["data"] for event in (await response.json())["events"]]


@pytest.fixture
async def strict(start_gateway: StartGateway) -> RunningGateway:
    """A gateway that waits but a moment for registrations: many are asked for in vain."""
    return await start_gateway(ownership="registry", ownership_wait_seconds=0.5)


@pytest.mark.fuzz
@given(world=worlds())
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_no_event_reaches_another_organization(strict: RunningGateway, world: World) -> None:
    """Every request gets the status of the model, and every event that arrives anywhere is of the
    execution asked for and of the organization that it was shown to."""
    await Tenants(strict, world).play()
