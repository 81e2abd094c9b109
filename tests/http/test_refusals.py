"""Requests that get no stream, and their answers."""

import asyncio
import time
from typing import Any

import aiohttp
import jwt
import pytest
from redis.asyncio import Redis

from gateway.bus.registry import register
from tests.conftest import RunningGateway, StartGateway, credentials
from tests.harness.sse import SseReader
from tests.support import SECRET, free_port

EVENT_STREAM = {"Accept": "text/event-stream"}


def token(**claims: Any) -> str:
    now = int(time.time())
    return jwt.encode({"organization_id": "acme", "exp": now + 3600, **claims}, SECRET)


def bearer(encoded: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {encoded}", "X-Organization-ID": "acme"}


REFUSED = [
    ({"X-Organization-ID": "acme"}, 401, "token_missing"),
    ({"Authorization": "Basic abc", "X-Organization-ID": "acme"}, 401, "token_missing"),
    (bearer("nonsense"), 401, "invalid_token"),
    (bearer(token(exp=int(time.time()) - 60)), 401, "token_expired"),
    (bearer(token(nbf=int(time.time()) + 600)), 401, "invalid_token"),
    (bearer(jwt.encode({"organization_id": "acme"}, SECRET)), 401, "invalid_token"),
    (bearer(jwt.encode({"exp": 9999999999}, SECRET[::-1])), 401, "invalid_token"),
    (bearer(jwt.encode({"exp": 9999999999}, "", algorithm="none")), 401, "invalid_token"),
    (bearer(jwt.encode({"exp": 9999999999}, SECRET * 2, "HS512")), 401, "invalid_token"),
    ({"Authorization": f"Bearer {token()}"}, 400, "organization_missing"),
    (bearer(token(organization_id="other")), 403, "organization_forbidden"),
    (bearer(token(organization_id=None)), 403, "organization_claim_missing"),
    (bearer(token(organization_id=[1.5])), 403, "organization_claim_missing"),
]


@pytest.mark.parametrize(("headers", "status", "code"), REFUSED)
@pytest.mark.parametrize("accept", [{}, EVENT_STREAM])
async def test_refused(
    gateway: RunningGateway,
    headers: dict[str, str],
    status: int,
    code: str,
    accept: dict[str, str],
) -> None:
    """A request without the right is refused by the contract's status and code, as JSON with a
    sentence, to an EventSource too; the valid counterpart is let in."""
    url = gateway.stream_url("run-1")
    async with gateway.session.get(url, headers={**headers, **accept}) as response:
        assert response.status == status
        document = await response.json()
        assert document["error"] == code
        assert len(document["message"].split()) > 3
        assert ("WWW-Authenticate" in response.headers) == (status == 401)
    async with gateway.session.get(url, headers=bearer(token())) as response:
        assert response.status == 200


async def test_claim_may_be_a_list(gateway: RunningGateway) -> None:
    """The organization claim is a string or a list of them."""
    headers = bearer(token(organization_id=["other", "acme"]))
    async with gateway.session.get(gateway.stream_url("run-1"), headers=headers) as response:
        assert response.status == 200


async def test_claim_is_named(start_gateway: StartGateway) -> None:
    """The refusal for a missing claim names the claim that was looked for."""
    gateway = await start_gateway(ownership="token", organization_claim="tenant")
    async with gateway.session.get(gateway.stream_url("a"), headers=bearer(token())) as response:
        assert response.status == 403
        assert "'tenant'" in (await response.json())["message"]


@pytest.mark.parametrize(("issuer", "audience"), [("me", None), (None, "you"), ("me", "you")])
async def test_issuer_and_audience(
    start_gateway: StartGateway, issuer: str | None, audience: str | None
) -> None:
    """Where an issuer or audience is set, a token without it is refused, and one with it let in."""
    gateway = await start_gateway(ownership="token", jwt_issuer=issuer, jwt_audience=audience)
    url = gateway.stream_url("run-1")
    async with gateway.session.get(url, headers=bearer(token())) as response:
        assert response.status == 401
    claims = {"iss": issuer} if issuer else {}
    claims |= {"aud": audience} if audience else {}
    async with gateway.session.get(url, headers=bearer(token(**claims))) as response:
        assert response.status == 200


@pytest.mark.parametrize(
    "execution_id", ["a%20b", "x" * 129, "%00", "a%2Fb", "%C3%A9", "a%0Ab", "!x"]
)
async def test_malformed_id(gateway: RunningGateway, execution_id: str) -> None:
    """An id of another form than the contract's is a 400."""
    import yarl

    url = yarl.URL(gateway.stream_url(execution_id), encoded=True)
    async with gateway.session.get(url, headers=credentials()) as response:
        assert response.status == 400
        assert (await response.json())["error"] == "malformed_execution_id"


@pytest.mark.alone
async def test_unknown_and_foreign_are_alike(start_gateway: StartGateway, redis: Redis) -> None:
    """Unknown and another organization's execution: one 404, same body, after the same wait."""
    gateway = await start_gateway(ownership_wait_seconds=0.6)
    await register(redis, "foreign", "other")
    await register(redis, "mine", "acme")

    async def ask(execution_id: str) -> tuple[int, str, float]:
        begin = time.monotonic()
        async with await gateway.get(execution_id) as response:
            text = await response.text() if response.status != 200 else ""
            return response.status, text, time.monotonic() - begin

    unknown, foreign, mine = await asyncio.gather(ask("unknown"), ask("foreign"), ask("mine"))
    assert unknown[:2] == foreign[:2]
    assert unknown[0] == 404
    assert "Register the execution first" in unknown[1]
    assert "Connect your own workers" in unknown[1]
    assert min(unknown[2], foreign[2]) >= 0.6
    assert abs(unknown[2] - foreign[2]) < 0.3
    assert mine[0] == 200
    assert mine[2] < 0.6


async def test_redis_away(start_gateway: StartGateway) -> None:
    """While Redis cannot be asked a request is held, then refused: 503 with Retry-After, and to an
    EventSource a 200 with `retry:`, `stream:closing` (`unavailable`) and the end."""
    nowhere = f"redis://127.0.0.1:{free_port()}/0"
    for ownership in ("registry", "token"):
        gateway = await start_gateway(
            wait=False, ownership=ownership, redis_url=nowhere, ownership_wait_seconds=0.5
        )
        begin = time.monotonic()
        async with await gateway.get("run-1") as response:
            assert response.status == 503
            assert int(response.headers["Retry-After"]) > 0
            document = await response.json()
            assert document["error"] == "unavailable"
            assert "Redis cannot be reached" in document["message"]
        assert time.monotonic() - begin >= 0.5
        async with await gateway.get("run-1", **EVENT_STREAM) as response:
            assert response.status == 200
            assert response.headers["Content-Type"] == "text/event-stream"
            [closing] = await SseReader(response).rest()
            assert closing.event == "stream:closing"
            assert closing.json()["reason"] == "unavailable"
            assert closing.json()["retry_ms"] == closing.retry
        assert gateway.components.metrics.refusals["unavailable"] == 2


async def test_limit(start_gateway: StartGateway) -> None:
    """One stream too many: 429 with Retry-After, and `limit` inside a 200 to an EventSource."""
    gateway = await start_gateway(ownership="token", max_connections=1)
    await gateway.open("run-1")
    async with await gateway.get("run-2") as response:
        assert response.status == 429
        assert int(response.headers["Retry-After"]) > 0
    async with await gateway.get("run-2", **EVENT_STREAM) as response:
        assert response.status == 200
        [closing] = await SseReader(response).rest()
        assert closing.json()["reason"] == "limit"


async def test_head_is_not_allowed(gateway: RunningGateway) -> None:
    """HEAD on the stream is a 405 without body, and the connection's next response is whole."""
    connector = aiohttp.TCPConnector(limit=1)
    async with aiohttp.ClientSession(connector=connector) as session:
        async with session.head(gateway.stream_url("run-1"), headers=credentials()) as response:
            assert response.status == 405
            assert response.headers["Allow"] == "GET"
        async with session.get(f"{gateway.url}/api/v1/sse/health") as response:
            assert (await response.json())["status"] == "healthy"


async def test_unknown_path(gateway: RunningGateway) -> None:
    """An unknown path is a 404 in the same JSON form."""
    async with gateway.session.get(f"{gateway.url}/api/v2") as response:
        assert response.status == 404
        assert (await response.json())["error"] == "not_found"


async def test_failing_handler(
    gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A bug is a 500 in the same form, with its trace in the log and none in the answer."""

    def fails(*_: object) -> None:
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr(type(gateway.components.access.policy), "identify", fails)
    async with await gateway.get("run-1") as response:
        assert response.status == 500
        assert "secret detail" not in await response.text()
    assert "secret detail" in caplog.text
