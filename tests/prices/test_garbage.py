"""Garbage of every kind, drawn by hypothesis, at one real gateway with somebody who watches."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.contract.keys import channel
from tests.harness.raw import GET, STREAM
from tests.prices.gateways import GATEWAYS
from tests.prices.stage import Stage

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage() -> AsyncIterator[Stage]:
    stage = Stage(GATEWAYS["production"])
    try:
        await stage.open()
        yield stage
        await stage.undisturbed()
    finally:
        await stage.close()


_LINE = st.binary(max_size=60).filter(lambda line: b"\n" not in line and b"\r" not in line)
_NAMES = st.sampled_from(
    [b"Authorization", b"X-Organization-ID", b"Last-Event-ID", b"X-Forwarded-For", b"X-Request-ID",
     b"If-None-Match", b"Accept", b"Origin", b"Cookie", b"Content-Length", b"Connection"]
)  # fmt: skip
_TARGETS = st.sampled_from(
    [STREAM.encode() + b"?", b"/api/v1/workflows/-/runs/run-1?", b"/api/v1/sse/health?", b"/"]
)


@st.composite
def _requests(draw: st.DrawFn) -> bytes:
    """A request whose form is right as far as it goes."""
    method = draw(st.sampled_from([b"GET", b"POST", b"OPTIONS", b"HEAD"]) | _LINE)
    headers = draw(st.lists(st.tuples(_NAMES | _LINE, _LINE), max_size=4))
    lines = b"".join(name + b": " + value + b"\r\n" for name, value in headers)
    target = draw(_TARGETS) + draw(_LINE)
    return method + b" " + target + b" HTTP/1.1\r\nHost: x\r\n" + lines + b"\r\n" + draw(_LINE)


_MESSAGES = st.binary(max_size=200) | st.builds(
    lambda name, value: b'{"type":"' + name + b'","data":' + value + b"}",
    st.binary(max_size=20),
    st.binary(max_size=40),
)


@pytest.mark.fuzz
@given(
    st.lists(_requests() | st.binary(max_size=300), max_size=5),
    st.lists(st.tuples(st.binary(max_size=20), _MESSAGES), max_size=5),
)
@settings(deadline=None)
async def test_any_garbage(
    stage: Stage, sent: list[bytes], published: list[tuple[bytes, bytes]]
) -> None:
    """Whatever is sent to the gateway or published, it answers the next request, all background
    tasks live on, no traceback is in the log, and another's events arrive in order."""
    await asyncio.gather(*[stage.shout(data) for data in sent])
    for name, message in published:
        await stage.redis.publish(channel("execution:", "").encode() + name, message)
        await stage.publish(channel("execution:", "run-1"), [message])
    said = await stage.ask(f"{GET}Connection: close\r\n\r\n")
    assert said.statuses == [200]
    assert said.json()["status"] == "healthy"
