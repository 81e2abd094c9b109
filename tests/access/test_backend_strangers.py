"""Ownership `backend` against users who mean harm: what each of them does is paid by that one."""

import asyncio
from typing import Any

import jwt
import pytest
from redis.asyncio import Redis

from gateway.access.ownership import SHARE
from tests.access.backend_server import Backend, start_backend
from tests.access.issuers import claims
from tests.conftest import RunningGateway, StartGateway, credentials
from tests.harness.history import append, flush
from tests.harness.sse import SseReader
from tests.support import SECRET, eventually

VICTIM = credentials("victim", subject="bob")
MALLORY = credentials("victim", subject="mallory")
"""Names an organization in the header that is not hers; the backend knows."""


@pytest.fixture
async def backend(aiohttp_server: Any) -> Backend:
    return await start_backend(aiohttp_server)


@pytest.fixture
def start(start_gateway: StartGateway, backend: Backend) -> StartGateway:
    """Starts gateways whose tokens need no organization: the backend alone decides."""

    async def start(**settings: Any) -> RunningGateway:
        return await start_gateway(
            ownership="backend",
            backend_url=backend.url,
            organization_claim="",
            heartbeat_seconds=0.3,
            **settings,
        )

    return start


async def ask(
    gateway: RunningGateway, execution_id: str, headers: dict[str, str], **query: str
) -> Any:
    response = await gateway.session.get(
        gateway.stream_url(execution_id), headers=headers, params=query
    )
    gateway.responses.append(response)
    return response


async def code_of(response: Any) -> str:
    return "" if response.ok else str((await response.json())["error"])


async def test_a_flood_of_invented_ids(start: StartGateway, backend: Backend) -> None:
    """A user whose invented executions all hang in the backend has a few requests there, and
    another user's stream opens meanwhile."""
    gateway = await start(ownership_wait_seconds=30.0, backend_timeout_seconds=30.0)
    backend.stuck = lambda request: "invented" in request.path
    flood = [
        asyncio.create_task(ask(gateway, f"invented-{number}", MALLORY)) for number in range(100)
    ]
    try:
        await eventually(lambda: len(backend.asked) >= SHARE)
        response = await asyncio.wait_for(ask(gateway, "run-1", VICTIM), 10)
        assert response.status == 200
        assert len([one for one in backend.asked if "invented" in one.path]) == SHARE
    finally:
        backend.released.set()
        for task in flood:
            task.cancel()
        await asyncio.gather(*flood, return_exceptions=True)


async def test_refused_requests_use_up_no_organization(
    start: StartGateway, backend: Backend, redis: Redis
) -> None:
    """Somebody whom the backend refuses, again and again, takes none of the places of the
    organization that they name; those who belong to it are counted."""
    gateway = await start(max_streams_per_organization=8, ownership_wait_seconds=0.5)
    backend.refuses = lambda request: request.headers["Authorization"] == MALLORY["Authorization"]

    async def attack() -> None:
        while True:
            assert await code_of(await ask(gateway, "run-1", MALLORY)) == "execution_not_found"

    attacks = [asyncio.create_task(attack()) for _ in range(24)]
    try:
        await eventually(lambda: len(gateway.components.hub) == 24)
        assert not [key async for key in redis.scan_iter("sse:census:*")]
        opened = [await code_of(await ask(gateway, f"run-{n}", VICTIM)) for n in range(9)]
        assert opened == [""] * 8 + ["organization_limit"]
    finally:
        for task in attacks:
            task.cancel()
        await asyncio.gather(*attacks, return_exceptions=True)


def without_subject(organization: str, **others: Any) -> dict[str, str]:
    token = jwt.encode(claims(sub=None, **{"organization_id": None, **others}), SECRET, "HS256")
    return {"Authorization": f"Bearer {token}", "X-Organization-ID": organization}


@pytest.mark.parametrize(
    ("setting", "code"),
    [("max_streams_per_subject", "subject_limit"), ("max_opens_per_second", "rate_limit")],
)
async def test_invented_organizations(start: StartGateway, setting: str, code: str) -> None:
    """A token without `sub` gets no further by naming another organization each time; another
    token has its own account."""
    gateway = await start(**{setting: 3})
    # For the rate they must come within a second.
    answers = await asyncio.gather(
        *[ask(gateway, "run-1", without_subject(f"org-{number}")) for number in range(12)]
    )
    refused = [await code_of(one) for one in answers if not one.ok]
    assert set(refused) == {code}
    assert len(refused) >= 5
    assert (await ask(gateway, "run-1", without_subject("org-1", jti="another"))).status == 200


async def test_a_new_history_is_not_shown_by_ticket(
    start: StartGateway, backend: Backend, redis: Redis
) -> None:
    """A stream that a ticket opened cannot ask the backend when history begins again: it ends,
    and says that it is worth coming back, which takes a new ticket."""
    gateway = await start()
    await append(redis, "run-1", n=0)
    stream = SseReader(await ask(gateway, "run-1", {}, ticket=await ticket(gateway)))
    await stream.expect("connected")
    await stream.expect("step:started")
    backend.status = 403
    await begin_again(redis)
    [closing] = await stream.rest()
    assert closing.json()["reason"] == "unavailable"


async def test_a_cached_yes_is_not_for_a_new_history(
    start: StartGateway, backend: Backend, redis: Redis
) -> None:
    """The backend is asked again when history begins again, though its yes is still cached."""
    gateway = await start(backend_cache_seconds=300, ownership_wait_seconds=0.5)
    await append(redis, "run-1", n=0)
    stream = SseReader(await ask(gateway, "run-1", VICTIM))
    await stream.expect("connected")
    await stream.expect("step:started")
    backend.status = 403
    await begin_again(redis)
    [closing] = await stream.rest()
    assert closing.json()["reason"] == "revoked"


async def test_a_ticket_with_a_cursor_of_a_former_history(
    start: StartGateway, redis: Redis
) -> None:
    """A reader who comes back with a new ticket is shown the new history, as without a cursor;
    otherwise the reader would come back with this cursor again and again."""
    gateway = await start()
    await append(redis, "run-1", n=0)
    response = await ask(gateway, "run-1", {"Last-Event-ID": "1-1"}, ticket=await ticket(gateway))
    stream = SseReader(response)
    await stream.expect("connected")
    await stream.expect("stream:reset")
    await stream.expect("step:started")


async def ticket(gateway: RunningGateway) -> str:
    url = f"{gateway.url}/api/v1/sse/executions/run-1/ticket"
    async with gateway.session.post(url, headers=VICTIM) as response:
        return str((await response.json())["ticket"])


async def begin_again(redis: Redis) -> None:
    await flush(redis)
    await append(redis, "run-1", secret="of another")
