"""Revocation end to end: by the command, on two gateways, for open streams and new ones."""

import time
from typing import Any

import jwt
import pytest
from redis.asyncio import Redis

from gateway.bus.revocations import revoke
from tests.conftest import RunningGateway, StartGateway
from tests.harness.gateway_process import run
from tests.harness.sse import SseReader
from tests.support import SECRET

WITHIN = 2.0
"""Seconds in which a revocation is promised to hold everywhere."""

ANSWERS = {
    "subject": ("user-7", 401, "token_revoked"),
    "token-id": ("token-9", 401, "token_revoked"),
    "organization": ("acme", 403, "organization_revoked"),
    "execution": ("run-1", 404, "execution_not_found"),
}


def headers(number: int, organization: str) -> dict[str, str]:
    """Credentials of user *number*, whose token has an id."""
    claims = {
        "sub": f"user-{number}",
        "jti": f"token-{number + 2}",
        "organization_id": organization,
        "exp": time.time() + 600,
    }
    token = jwt.encode(claims, SECRET, algorithm="HS256")
    return {"Authorization": f"Bearer {token}", "X-Organization-ID": organization}


HIT: tuple[str, int, str] = ("run-1", 7, "acme")
OTHER: tuple[str, int, str] = ("run-2", 8, "other")


async def ask(gateway: RunningGateway, who: tuple[str, int, str]) -> Any:
    execution_id, number, organization = who
    return await gateway.get(execution_id, **headers(number, organization))


async def opened(gateway: RunningGateway, who: tuple[str, int, str]) -> SseReader:
    response = await ask(gateway, who)
    assert response.status == 200, await response.text()
    reader = SseReader(response)
    await reader.expect("connected")
    return reader


@pytest.mark.alone
@pytest.mark.parametrize("kind", ANSWERS)
async def test_revoked(kind: str, start_gateway: StartGateway, redis_url: str) -> None:
    """`sse-gateway revoke` ends the streams that it names within two seconds on all gateways, and
    refuses new ones until it is undone; other streams stay and other viewers get in."""
    value, status, code = ANSWERS[kind]
    gateways = [await start_gateway(ownership="token") for _ in range(2)]
    hit = [await opened(gateway, HIT) for gateway in gateways]
    others = [await opened(gateway, OTHER) for gateway in gateways]
    assert (await run("revoke", f"--{kind}", value, REDIS_URL=redis_url))[0] == 0
    began = time.monotonic()
    for reader in hit:
        closing = await reader.expect("stream:closing")
        assert closing.json()["reason"] == "revoked"
        assert await reader.next() is None
    assert time.monotonic() - began < WITHIN
    for gateway in gateways:
        async with await ask(gateway, HIT) as response:
            assert response.status == status
            assert (await response.json())["error"] == code
        await opened(gateway, OTHER)
    assert (await run("revoke", f"--{kind}", value, "--undo", REDIS_URL=redis_url))[0] == 0
    for gateway in gateways:
        await opened(gateway, HIT)
    await run("publish", "run-2", "execution:completed", REDIS_URL=redis_url)
    for reader in others:
        await reader.expect("execution:completed")


async def test_no_stream_slips_in(start_gateway: StartGateway, redis: Redis) -> None:
    """A request that comes right after the revocation is refused, before the task has looked; and
    one that comes after its end is not."""
    gateway = await start_gateway(ownership="token")
    await opened(gateway, HIT)
    for number in range(5):
        await revoke(redis, "subject", f"user-{number}", 600)
        async with await ask(gateway, ("run-1", number, "acme")) as response:
            assert response.status == 401
    await revoke(redis, "subject", "user-7", -1)
    await opened(gateway, HIT)
