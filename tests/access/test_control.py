"""The door in a whole gateway: keys from an issuer's URL, and a Redis that is away."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import jwt
import pytest

from gateway.access import jwks
from gateway.errors import ConfigurationError
from tests.access.issuers import jwk, signed
from tests.access.jwks_server import Issuer, named, start_issuer
from tests.conftest import MakeSettings, StartGateway, credentials
from tests.harness.redis_process import RedisProcess
from tests.harness.sse import SseReader
from tests.support import eventually


@pytest.fixture
async def issuer(aiohttp_server: Any) -> Issuer:
    return await start_issuer(aiohttp_server)


async def test_keys_from_a_url(start_gateway: StartGateway, issuer: Issuer) -> None:
    """With GATEWAY_JWKS_URL alone a stream opens for a token of the issuer; a token that is signed
    with one of its keys as a secret is refused."""
    gateway = await start_gateway(
        ownership="token", jwt_secret=None, jwks_url=issuer.url, jwt_algorithms=("RS256",)
    )

    async def status(token: str) -> int:
        headers = {"Authorization": f"Bearer {token}", "X-Organization-ID": "acme"}
        response = await gateway.session.get(gateway.stream_url("run-1"), headers=headers)
        gateway.responses.append(response)
        if response.status == 200:
            await SseReader(response).expect("connected")
        return response.status

    assert await status(signed("RS256")) == 200
    forged = {"sub": "u", "organization_id": "acme", "exp": time.time() + 60}
    assert await status(jwt.encode(forged, jwk("RS256")["n"], algorithm="HS256")) == 401
    assert await gateway.healthy()
    # One of 0 would say that no keys are fetched.
    assert 0 < gateway.components.access.keys_age < 60


async def test_a_new_key_of_the_issuer_refuses_nobody(
    start_gateway: StartGateway, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where strangers have invented keys before: none of 24 open tabs is closed, and a tab
    with a token of the new key opens, at once or when it asks again."""
    monkeypatch.setattr(jwks, "REFETCH_SECONDS", 0.3)
    gateway = await start_gateway(
        ownership="token", jwt_secret=None, jwks_url=issuer.url, jwt_algorithms=("RS256",)
    )

    async def status(token: str) -> int:
        headers = {"Authorization": f"Bearer {token}", "X-Organization-ID": "acme"}
        response = await gateway.session.get(gateway.stream_url("run-1"), headers=headers)
        gateway.responses.append(response)
        return response.status

    assert [await status(named("RS256", sub=f"old-{number}")) for number in range(24)] == [200] * 24
    issuer.keys.insert(0, jwk("RS256", 1))
    issuer.open.clear()
    strangers = [
        asyncio.create_task(status(signed("RS256", 5, {"kid": f"invented-{number}"})))
        for number in range(10)
    ]
    await eventually(lambda: issuer.requests == 2)
    seen: Counter[int] = Counter()

    async def opens(number: int) -> bool:
        seen[found := await status(named("RS256", 1, sub=f"new-{number}"))] += 1
        return found == 200

    tabs = [asyncio.create_task(eventually(partial(opens, number))) for number in range(24)]
    issuer.open.set()
    await asyncio.gather(*tabs)
    assert set(seen) <= {200, 503}
    assert set(await asyncio.gather(*strangers)) <= {401, 503}
    assert len(gateway.components.hub) == 48


async def test_unfetched_keys_are_unavailable(start_gateway: StartGateway, issuer: Issuer) -> None:
    """While the issuer's keys could not be fetched at all a token is neither good nor bad: 503,
    and inside a 200 for an EventSource, which comes back."""
    issuer.fail()
    gateway = await start_gateway(
        wait=False,
        ownership="token",
        jwt_secret=None,
        jwks_url=issuer.url,
        jwt_algorithms=("RS256",),
    )
    headers = {"Authorization": f"Bearer {signed('RS256')}", "X-Organization-ID": "acme"}
    async with gateway.session.get(gateway.stream_url("run-1"), headers=headers) as response:
        assert response.status == 503
    headers["Accept"] = "text/event-stream"
    async with gateway.session.get(gateway.stream_url("run-1"), headers=headers) as response:
        [closing] = await SseReader(response).rest()
        assert closing.json()["reason"] == "unavailable"


async def test_redis_away_is_unavailable(
    start_gateway: StartGateway, redis_process: Callable[..., RedisProcess]
) -> None:
    """While Redis is away a ticket is neither given nor spent, and says that this may pass."""
    server = redis_process()
    gateway = await start_gateway(ownership="token", redis_url=server.url)
    url = f"{gateway.url}/api/v1/sse/executions/run-1/ticket"
    async with gateway.session.post(url, headers=credentials()) as response:
        ticket = (await response.json())["ticket"]
    server.kill()
    async with gateway.session.post(url, headers=credentials()) as response:
        assert response.status == 503
        assert response.headers["Retry-After"]
    query = {"ticket": ticket}
    async with gateway.session.get(gateway.stream_url("run-1"), params=query) as response:
        assert response.status == 503
    server.start()
    await eventually(gateway.healthy)
    async with gateway.session.post(url, headers=credentials()) as response:
        assert response.status == 200


@pytest.mark.parametrize("organization", ["a" * 257, "a\tb", "a\u2028b"])
async def test_malformed_organization_is_refused(
    start_gateway: StartGateway, organization: str
) -> None:
    """An organization that can be none is refused as such; a usual one is not."""
    gateway = await start_gateway(ownership="token")
    for asked, expected in ((organization, "malformed_organization"), ("acme", None)):
        query = {"Authorization": credentials()["Authorization"], "organization_id": asked}
        async with gateway.session.get(gateway.stream_url("run-1"), params=query) as response:
            assert response.status == (200 if expected is None else 400)
            if expected is not None:
                assert (await response.json())["error"] == expected


async def test_reload_takes_the_algorithms_along(
    start_gateway: StartGateway, make_settings: MakeSettings
) -> None:
    """What is read again are the keys and their algorithms, and nothing else: neither the claim nor
    the ownership changes under open streams."""
    secret = "x" * 64
    gateway = await start_gateway(ownership="token", jwt_secret=secret)
    token = jwt.encode(
        {"sub": "u", "organization_id": "acme", "executions": ["run-1"], "exp": 2e9},
        secret,
        algorithm="HS512",
    )

    async def status(execution_id: str) -> int:
        headers = {"Authorization": f"Bearer {token}", "X-Organization-ID": "acme"}
        response = await gateway.session.get(gateway.stream_url(execution_id), headers=headers)
        gateway.responses.append(response)
        return response.status

    assert await status("run-1") == 401
    gateway.components.access.reload(
        make_settings(ownership="registry", jwt_secret=secret, jwt_algorithms=("HS512",))
    )
    assert await status("run-1") == 200
    assert await status("run-2") == 404


async def test_another_jwks_url_needs_a_restart(
    start_gateway: StartGateway, make_settings: MakeSettings
) -> None:
    """To change between a secret and an issuer's URL takes a restart, and says so."""
    gateway = await start_gateway(ownership="token")
    assert gateway.components.access.keys_age == 0
    other = make_settings(
        jwt_secret=None, jwks_url="https://login.example/keys", jwt_algorithms=("RS256",)
    )
    with pytest.raises(ConfigurationError, match="restart"):
        gateway.components.access.reload(other)
    async with await gateway.get("run-1") as response:
        assert response.status == 200
