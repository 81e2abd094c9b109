"""Tickets: traded for a token, good once, for one execution, for half a minute."""

import asyncio
import json
import logging
import time
from typing import Any

import jwt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from gateway.access.tickets import Scope, Tickets, from_record, to_record
from gateway.access.tokens import MAX_TOKEN_BYTES
from gateway.bus.revocations import revoke
from gateway.bus.trips import Trips
from gateway.contract.keys import ticket_key
from gateway.errors import Unauthenticated
from tests.conftest import RunningGateway, credentials
from tests.harness.principals import principal
from tests.harness.sse import SseReader
from tests.support import SECRET, eventually, producer_message

RUN = "run-1"


def ticket_url(gateway: RunningGateway, execution_id: str = RUN) -> str:
    return f"{gateway.url}/api/v1/sse/executions/{execution_id}/ticket"


async def get_ticket(gateway: RunningGateway, **claims: Any) -> str:
    headers = credentials(**claims)
    async with gateway.session.post(ticket_url(gateway), headers=headers) as response:
        assert response.status == 200, await response.text()
        return str((await response.json())["ticket"])


async def spend(gateway: RunningGateway, ticket: str, execution_id: str = RUN) -> tuple[int, str]:
    """Status and, for a refusal, its code."""
    response = await gateway.session.get(
        gateway.stream_url(execution_id), params={"ticket": ticket}
    )
    gateway.responses.append(response)
    return response.status, "" if response.ok else (await response.json())["error"]


async def test_answer(gateway: RunningGateway) -> None:
    """The answer has the ticket, 256 random bits, and its seconds; it is kept by no cache."""
    async with gateway.session.post(ticket_url(gateway), headers=credentials()) as response:
        assert response.status == 200
        assert response.headers["Cache-Control"] == "no-store"
        document = await response.json()
    assert set(document) == {"ticket", "expires_in"}
    assert document["expires_in"] == 30
    assert len(document["ticket"]) == 43
    assert document["ticket"] != await get_ticket(gateway)


async def test_stream(gateway: RunningGateway, redis: Redis) -> None:
    """A ticket alone opens the stream, and events come."""
    response = await gateway.session.get(
        gateway.stream_url(RUN), params={"ticket": await get_ticket(gateway)}
    )
    gateway.responses.append(response)
    reader = SseReader(response)
    await reader.expect("connected")
    await redis.publish(f"execution:{RUN}", producer_message("step:started"))
    await reader.expect("step:started")


async def test_poll(gateway: RunningGateway) -> None:
    """It is good for a poll as well."""
    url = f"{gateway.url}/api/v1/workflows/any/runs/{RUN}"
    query = {"ticket": await get_ticket(gateway)}
    for status in (200, 401):
        async with gateway.session.get(url, params=query) as response:
            assert response.status == status


async def test_spent(gateway: RunningGateway) -> None:
    """It is good once; spent, unknown and malformed ones are one and the same 401."""
    ticket = await get_ticket(gateway)
    assert await spend(gateway, ticket) == (200, "")
    for bad in (ticket, "A" * 43, "short", "A" * 5000, "ä" * 43, ticket + "\n", ""):
        assert await spend(gateway, bad) == (401, "ticket_invalid"), bad


async def test_race(gateway: RunningGateway) -> None:
    """Of six who spend one ticket at the same moment exactly one wins."""
    for _ in range(5):
        ticket = await get_ticket(gateway)
        answers = await asyncio.gather(*[spend(gateway, ticket) for _ in range(6)])
        assert sorted(answers) == [(200, ""), *[(401, "ticket_invalid")] * 5]


async def test_bound_to_execution(gateway: RunningGateway) -> None:
    """Shown for another execution it opens nothing, and is spent by that."""
    ticket = await get_ticket(gateway)
    assert await spend(gateway, ticket, "run-2") == (401, "ticket_invalid")
    assert await spend(gateway, ticket) == (401, "ticket_invalid")


async def test_stored_hashed(gateway: RunningGateway, redis: Redis) -> None:
    """What is in Redis cannot be used: neither the ticket nor the token, and it goes
    after half a minute."""
    headers = credentials()
    async with gateway.session.post(ticket_url(gateway), headers=headers) as response:
        ticket = (await response.json())["ticket"]
    [key] = [key async for key in redis.scan_iter("sse:{!ticket:*")]
    stored = key + (await redis.get(key) or b"")
    assert ticket.encode() not in stored
    assert headers["Authorization"].removeprefix("Bearer ").encode() not in stored
    assert 25 < await redis.ttl(key) <= 30
    digest = key.decode().removeprefix(ticket_key("").removesuffix("}")).removesuffix("}")
    assert await spend(gateway, digest[:43]) == (401, "ticket_invalid")


async def test_expires(gateway: RunningGateway, redis: Redis) -> None:
    """It does not outlive its half minute, nor the token that it was given for."""
    ticket = await get_ticket(gateway)
    [key] = [key async for key in redis.scan_iter("sse:{!ticket:*")]
    await redis.pexpire(key, 1)

    async def is_gone() -> bool:
        return not await redis.exists(key)

    await eventually(is_gone)
    assert await spend(gateway, ticket) == (401, "ticket_invalid")
    headers = credentials(ttl_seconds=5)
    async with gateway.session.post(ticket_url(gateway), headers=headers) as response:
        assert 1 <= (await response.json())["expires_in"] <= 5


async def test_ends_with_the_token(gateway: RunningGateway) -> None:
    """A stream that was opened with a ticket ends when the token would have."""
    response = await gateway.session.get(
        gateway.stream_url(RUN), params={"ticket": await get_ticket(gateway, ttl_seconds=2)}
    )
    gateway.responses.append(response)
    closing = [seen for seen in await SseReader(response).rest() if seen.event == "stream:closing"]
    assert [seen.json()["reason"] for seen in closing] == ["token_expired"]


async def test_credentials_by_header_alone(gateway: RunningGateway) -> None:
    """A token in the URL gets no ticket: that is what tickets are for."""
    query = {
        "Authorization": credentials()["Authorization"],
        "organization_id": "acme",
    }
    async with gateway.session.post(ticket_url(gateway), params=query) as response:
        assert response.status == 400
        assert (await response.json())["error"] == "credentials_in_query"


async def test_bad_credentials(gateway: RunningGateway) -> None:
    """Without a good token there is none, and a ticket cannot be traded for another."""
    async with gateway.session.post(ticket_url(gateway)) as response:
        assert response.status == 401
    query = {"ticket": await get_ticket(gateway)}
    async with gateway.session.post(ticket_url(gateway), params=query) as response:
        assert response.status == 400


async def test_not_logged(gateway: RunningGateway, caplog: pytest.LogCaptureFixture) -> None:
    """No ticket is in any log, spent or refused."""
    caplog.set_level(logging.DEBUG)
    ticket = await get_ticket(gateway)
    for _ in range(2):
        await spend(gateway, ticket)
    assert "/stream" in caplog.text
    assert ticket not in caplog.text


async def test_revoked_with_the_token(gateway: RunningGateway, redis: Redis) -> None:
    """A ticket of somebody who was revoked meanwhile opens nothing."""
    ticket = await get_ticket(gateway, subject="user-7")
    await revoke(redis, "subject", "user-7", 60)
    assert await spend(gateway, ticket) == (401, "token_revoked")


def test_record() -> None:
    """A record brings back all that counts of a principal, and nothing of the token."""
    whose = principal(subject="user-7", token_id="t-1", expires_at=time.time() + 60)
    assert from_record(to_record(whose)) == (whose, Scope())


async def test_record_of_a_large_token(gateway: RunningGateway, redis: Redis) -> None:
    """A token that is good for hundreds of executions leaves the one of the ticket in Redis."""
    token = signed_for(executions=[RUN, *(f"run-{number}" for number in range(2, 600))])
    headers = {"Authorization": f"Bearer {token}", "X-Organization-ID": "acme"}
    async with gateway.session.post(ticket_url(gateway), headers=headers) as response:
        ticket = (await response.json())["ticket"]
    [key] = [key async for key in redis.scan_iter("sse:{!ticket:*")]
    assert await redis.strlen(key) < 400
    assert await spend(gateway, ticket) == (200, "")


def signed_for(**more: Any) -> str:
    """A token of `acme` with these claims too."""
    claims = {"organization_id": "acme", "sub": "ada", "exp": int(time.time()) + 60, **more}
    token = jwt.encode(claims, SECRET, "HS256")
    assert len(token) <= MAX_TOKEN_BYTES
    return token


async def test_invented_tickets(gateway: RunningGateway, redis: Redis) -> None:
    """Anybody can invent tickets, and each must be looked for; those that come together are looked
    for in a few round trips."""
    before = (await redis.info("stats"))["total_reads_processed"]
    answers = await asyncio.gather(*[spend(gateway, f"{n:043}") for n in range(300)])
    reads = (await redis.info("stats"))["total_reads_processed"] - before
    assert answers == [(401, "ticket_invalid")] * 300
    assert reads < 150


@pytest.mark.parametrize("moment", ["nan", "inf", "1e400", -1e400, [1], None])
def test_record_without_a_moment(moment: object) -> None:
    """A record whose end is no moment is none of ours: it would stop the task that ends streams."""
    record = json.loads(to_record(principal()))
    assert from_record(json.dumps({**record, "expires_at": moment}).encode()) is None


@pytest.mark.fuzz
@given(st.one_of(st.binary(), st.text().map(str.encode)))
def test_any_record(record: bytes) -> None:
    """Whatever is in Redis is a valid principal or is refused."""
    assert from_record(record) is None


@pytest.mark.fuzz
@given(ticket=st.one_of(st.text(), st.from_regex(r"[A-Za-z0-9_-]{40,45}")))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_any_ticket(redis: Redis, ticket: str) -> None:
    """Whatever is shown as a ticket is refused as one, by its form or because Redis has none."""
    with pytest.raises(Unauthenticated):
        await Tickets(Trips(redis)).use(ticket, "execution", RUN)
