"""Limits of streams, each with real streams: one too many is refused, and gets in when one left."""

import asyncio
import time
from pathlib import Path
from typing import Any

import aiohttp
import jwt
import pytest
from redis.asyncio import Redis

from tests.conftest import RunningGateway, StartGateway, credentials
from tests.harness.sse import SseReader
from tests.support import SECRET, eventually

LIMITS = {
    # The setting, the code of its refusal, and credentials that it counts apart.
    "max_streams_per_organization": ("organization_limit", ("globex", "user-1")),
    "max_streams_per_subject": ("subject_limit", ("acme", "user-2")),
}


async def ask(gateway: RunningGateway, who: tuple[str, str] = ("acme", "user-1")) -> Any:
    organization, subject = who
    headers = credentials(organization, subject=subject)
    return await gateway.session.get(gateway.stream_url("run-1"), headers=headers)


async def opens(gateway: RunningGateway, who: tuple[str, str] = ("acme", "user-1")) -> Any:
    response = await ask(gateway, who)
    assert response.status == 200, await response.text()
    await SseReader(response).expect("connected")
    return response


async def refused(response: Any, code: str) -> None:
    assert response.status == 429
    assert int(response.headers["Retry-After"]) > 0
    assert (await response.json())["error"] == code


async def opens_eventually(gateway: RunningGateway) -> None:
    async def is_open() -> bool:
        response = await ask(gateway)
        gateway.responses.append(response)
        return bool(response.status == 200)

    await eventually(is_open)


@pytest.mark.parametrize("setting", LIMITS)
async def test_limit(start_gateway: StartGateway, setting: str) -> None:
    """The third of two is refused with 429; others are not counted along; when one has left, the
    next gets in."""
    code, other = LIMITS[setting]
    gateway = await start_gateway(ownership="token", **{setting: 2})
    first = await opens(gateway)
    gateway.responses += [await opens(gateway)]
    await refused(await ask(gateway), code)
    gateway.responses += [await opens(gateway, other)]
    first.close()
    await opens_eventually(gateway)


async def test_event_source(start_gateway: StartGateway) -> None:
    """An EventSource gets a 200 with the reason and the time until it should reconnect."""
    gateway = await start_gateway(ownership="token", max_streams_per_subject=1)
    gateway.responses += [await opens(gateway)]
    response = await gateway.get("run-1", Accept="text/event-stream", **_as("user-1"))
    [closing] = await SseReader(response).rest()
    assert closing.event == "stream:closing"
    assert closing.json()["reason"] == "limit"
    assert 1000 <= (closing.retry or 0) <= 3000


def _as(subject: str) -> dict[str, str]:
    given = credentials(subject=subject)
    return {name.replace("-", "_"): value for name, value in given.items()}


async def test_rate(start_gateway: StartGateway) -> None:
    """A subject may open so many a second, at once or spread; a later one gets in again, and other
    subjects are not held up."""
    gateway = await start_gateway(ownership="token", max_opens_per_second=3)
    begun = time.monotonic()
    answers = [await ask(gateway) for _ in range(12)]
    gateway.responses += answers
    most = 3 + 3 * (time.monotonic() - begun) + 1
    opened = [one for one in answers if one.status == 200]
    assert 3 <= len(opened) <= most
    for one in answers:
        if one.status != 200:
            await refused(one, "rate_limit")
    gateway.responses += [await opens(gateway, ("acme", "user-2"))]
    await opens_eventually(gateway)


@pytest.mark.parametrize(
    ("setting", "method", "target"),
    [
        ("max_polls_per_second", "GET", "/api/v1/workflows/-/runs/run-1"),
        ("max_tickets_per_second", "POST", "/api/v1/sse/executions/run-1/ticket"),
    ],
)
async def test_rate_of_polls_and_tickets(
    start_gateway: StartGateway, setting: str, method: str, target: str
) -> None:
    """A subject polls, and asks for tickets, so often in a second; others are not held up."""
    gateway = await start_gateway(ownership="token", **{setting: 3})

    async def asks(subject: str) -> Any:
        headers = credentials(subject=subject)
        return await gateway.session.request(method, gateway.url + target, headers=headers)

    begun = time.monotonic()
    answers = [await asks("user-1") for _ in range(12)]
    most = 3 + 3 * (time.monotonic() - begun) + 1
    assert 3 <= [one.status for one in answers].count(200) <= most
    for one in answers:
        if one.status != 200:
            await refused(one, "rate_limit")
    assert (await asks("user-2")).status == 200

    async def answered() -> bool:
        return bool((await asks("user-1")).status == 200)

    await eventually(answered)


async def test_address(start_gateway: StartGateway) -> None:
    """Addresses are counted apart. A trusted proxy says which one it is; what anybody else says
    of that is not believed."""
    gateway = await start_gateway(
        ownership="token", max_streams_per_address=1, trusted_proxies="127.0.0.1"
    )

    async def status(session: aiohttp.ClientSession, forwarded_for: str) -> int:
        headers = {**credentials(), "X-Forwarded-For": forwarded_for}
        response = await session.get(gateway.stream_url("run-1"), headers=headers)
        gateway.responses.append(response)
        return response.status

    assert await status(gateway.session, "192.0.2.1") == 200
    assert await status(gateway.session, "192.0.2.1") == 429
    # The client wrote the left one, the proxy the right one.
    assert await status(gateway.session, "192.0.2.9, 192.0.2.1") == 429
    assert await status(gateway.session, "192.0.2.2") == 200
    connector = aiohttp.TCPConnector(local_addr=("127.0.0.2", 0))
    async with aiohttp.ClientSession(connector=connector) as other:
        assert await status(other, "192.0.2.3") == 200
        assert await status(other, "192.0.2.4") == 429


def signed(organizations: list[str], **claims: Any) -> str:
    claims = {"organization_id": organizations, "exp": int(time.time()) + 60, **claims}
    return "Bearer " + jwt.encode(claims, SECRET, "HS256")


async def test_token_without_a_subject(start_gateway: StartGateway) -> None:
    """A token without `sub` is one account, whichever of its organizations is asked for, and by
    token or by ticket."""
    gateway = await start_gateway(ownership="token", max_streams_per_subject=2)
    token = signed(["one", "two", "three"])

    async def status(organization: str, **query: str) -> int:
        headers = {} if query else {"Authorization": token, "X-Organization-ID": organization}
        response = await gateway.session.get(
            gateway.stream_url("run-1"), headers=headers, params=query
        )
        gateway.responses.append(response)
        return int(response.status)

    url = f"{gateway.url}/api/v1/sse/executions/run-1/ticket"
    headers = {"Authorization": token, "X-Organization-ID": "two"}
    async with gateway.session.post(url, headers=headers) as response:
        ticket = (await response.json())["ticket"]
    assert await status("one") == 200
    assert await status("two", ticket=ticket) == 200
    assert await status("three") == 429


async def test_subjects_of_two_issuers(start_gateway: StartGateway) -> None:
    """A `sub` is a name that its issuer gives; another issuer's is another user."""
    gateway = await start_gateway(ownership="token", max_streams_per_subject=1)
    for issuer, status in (("a", 200), ("b", 200), ("a", 429)):
        token = signed(["acme"], sub="user-1", iss=issuer)
        response = await gateway.get("run-1", Authorization=token)
        assert response.status == status


async def test_refused_is_not_counted(start_gateway: StartGateway) -> None:
    """A stream that one limit refuses is not counted against the others."""
    gateway = await start_gateway(
        ownership="token",
        max_streams_per_subject=2,
        max_streams_per_address=1,
        trusted_proxies="127.0.0.1",
    )
    gateway.responses += [await opens(gateway)]
    for _ in range(3):
        await refused(await ask(gateway), "address_limit")
    headers = {**credentials(subject="user-1"), "X-Forwarded-For": "192.0.2.1"}
    async with gateway.session.get(gateway.stream_url("run-1"), headers=headers) as response:
        assert response.status == 200


async def test_address_behind_a_unix_socket(start_gateway: StartGateway, tmp_path: Path) -> None:
    """A client of the unix socket is believed about the address, with no network listed."""
    socket = tmp_path / "gateway.sock"
    gateway = await start_gateway(
        wait=False, ownership="token", max_streams_per_address=1, unix_socket=socket
    )
    async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(socket))) as nginx:
        for address, status in (("192.0.2.1", 200), ("192.0.2.1", 429), ("192.0.2.2", 200)):
            headers = {**credentials(), "X-Forwarded-For": address}
            response = await nginx.get(
                "http://gateway/api/v1/sse/executions/run-1/stream", headers=headers
            )
            gateway.responses.append(response)
            assert response.status == status, address


async def test_at_once(start_gateway: StartGateway) -> None:
    """Of fifty that open at the same moment, exactly as many get in as may."""
    gateway = await start_gateway(ownership="token", max_streams_per_organization=7)
    answers = await asyncio.gather(*[ask(gateway) for _ in range(50)])
    gateway.responses += answers
    assert [one.status for one in answers].count(200) == 7


async def test_over_all_instances(start_gateway: StartGateway, redis: Redis) -> None:
    """Two gateways on one Redis count an organization's streams together; one that stops takes
    its own out of the count."""
    first, second = [
        await start_gateway(ownership="token", max_streams_per_organization=3) for _ in range(2)
    ]
    held = [await opens(first), await opens(first)]
    first.responses += held
    second.responses += [await opens(second)]
    for gateway in (first, second):
        await refused(await ask(gateway), "organization_limit")
    await first.server.stop()
    # At once: its leases would count for another 15 seconds.
    [key] = [key async for key in redis.scan_iter("sse:census:*")]
    assert await redis.hlen(key) == 1
    await opens_eventually(second)


async def test_nothing_stays(start_gateway: StartGateway, redis: Redis) -> None:
    """When all have left, nothing is counted any more, here or in Redis."""
    gateway = await start_gateway(
        ownership="token",
        max_streams_per_organization=50,
        max_streams_per_subject=50,
        max_streams_per_address=50,
    )
    answers = await asyncio.gather(*[opens(gateway) for _ in range(20)])
    assert len(gateway.components.access.quota) == 2
    for one in answers:
        one.close()
    await eventually(lambda: len(gateway.components.access.quota) == 0)
    await eventually(lambda: len(gateway.components.access.stream_counts) == 0)

    async def is_gone() -> bool:
        return not [key async for key in redis.scan_iter("sse:census:*")]

    await eventually(is_gone)
