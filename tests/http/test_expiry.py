"""A stream does not outlive its token: warned, then closed, on a real connection."""

import time

import pytest

from tests.conftest import RunningGateway, credentials
from tests.support import eventually


async def test_expires_in_mid_stream(gateway: RunningGateway) -> None:
    """A stream whose token has seconds left is warned after `connected` and closed at `exp`, within
    the spread; a stream with a longer token stays open and gets nothing."""
    stays = await gateway.open("run-1")
    expires_at = int(time.time()) + 2
    ends = await gateway.open("run-1", **credentials(ttl_seconds=2))
    warning = await ends.expect("stream:expiring")
    assert warning.id is None
    assert warning.json()["expires_in_seconds"] <= 2
    closing = await ends.expect("stream:closing")
    assert closing.json()["reason"] == "token_expired"
    assert closing.retry == closing.json()["retry_ms"]
    assert time.time() - expires_at == pytest.approx(2, abs=2.5)
    assert await ends.next() is None
    await gateway.components.redis.publish(
        "execution:run-1", b'{"type":"step:started","data":{},"timestamp":"2026-01-01T00:00:00"}'
    )
    await stays.expect("step:started")


async def test_who_left_is_forgotten(gateway: RunningGateway) -> None:
    """A stream that its reader left is not cared for any more; an open one is."""
    reader = await gateway.open("run-1")
    await gateway.open("run-1")
    assert len(gateway.components.expiry) == 2
    reader.response.close()
    await eventually(lambda: len(gateway.components.expiry) == 1)
