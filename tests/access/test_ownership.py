"""Ownership `token` and `registry`; `backend` has a file of its own."""

import logging
import time
from statistics import median

import jwt
import pytest

from gateway.bus.registry import register
from tests.conftest import RunningGateway, StartGateway, credentials
from tests.support import SECRET


def bearing(**claims: object) -> dict[str, str]:
    token = jwt.encode(
        {"sub": "u", "organization_id": "acme", "exp": time.time() + 600, **claims}, SECRET
    )
    return {"Authorization": f"Bearer {token}", "X_Organization_ID": "acme"}


@pytest.mark.parametrize(
    ("claims", "seen"),
    [
        ({}, {"run-1", "run-2"}),
        ({"executions": ["run-1"]}, {"run-1"}),
        ({"executions": ["run-1", "run-2"]}, {"run-1", "run-2"}),
        ({"executions": []}, set()),
        ({"executions": "run-1"}, set()),
        ({"executions": [1.5, "run-1"]}, set()),
        ({"executions": {"run-1": True}}, set()),
    ],
)
async def test_executions_claim_narrows_a_token(
    gateway: RunningGateway, claims: dict[str, object], seen: set[str]
) -> None:
    """Under `token` a valid token is enough; where it lists executions, only for those. A list
    that is none is good for nothing."""
    for execution_id in ("run-1", "run-2"):
        async with await gateway.get(execution_id, **bearing(**claims)) as response:
            assert response.status == (200 if execution_id in seen else 404)


async def test_executions_claim_is_ignored_elsewhere(start_gateway: StartGateway) -> None:
    """Under `registry` that claim is somebody else's."""
    gateway = await start_gateway(ownership="registry")
    await register(gateway.components.redis, "run-2", "acme")
    async with await gateway.get("run-2", **bearing(executions=["run-1"])) as response:
        assert response.status == 200


async def test_ownership_token_warns_at_start(
    start_gateway: StartGateway, caplog: pytest.LogCaptureFixture
) -> None:
    """The start under `token` warns once; under `registry` it does not."""
    caplog.set_level(logging.WARNING)
    gateway = await start_gateway(ownership="token")
    for _ in range(2):
        async with await gateway.get("run-1") as response:
            assert response.status == 200
    warnings = [one.getMessage() for one in caplog.records if "Ownership is" in one.getMessage()]
    assert len(warnings) == 1
    assert "GATEWAY_OWNERSHIP=registry" in warnings[0]
    caplog.clear()
    await start_gateway(ownership="registry")
    assert "Ownership is" not in caplog.text


@pytest.mark.alone
async def test_foreign_is_unknown(start_gateway: StartGateway) -> None:
    """Unknown and foreign are one 404: status, body, headers, and, by the median of several tries,
    time, to a tenth of the wait."""
    wait = 0.5
    gateway = await start_gateway(ownership="registry", ownership_wait_seconds=wait)
    await register(gateway.components.redis, "of-globex", "globex")
    answers = set()
    times: dict[str, list[float]] = {"of-globex": [], "of-nobody": []}
    for _ in range(5):
        for execution_id, taken in times.items():
            begun = time.monotonic()
            async with await gateway.get(execution_id) as response:
                own = ("Date", "X-Request-ID")
                headers = sorted((k, v) for k, v in response.headers.items() if k not in own)
                answers.add((response.status, await response.text(), str(headers)))
            taken.append(time.monotonic() - begun)
    [(status, _, _)] = answers
    assert status == 404
    assert abs(median(times["of-globex"]) - median(times["of-nobody"])) < wait / 10
    async with gateway.session.get(
        gateway.stream_url("of-globex"), headers=credentials("globex")
    ) as response:
        assert response.status == 200
