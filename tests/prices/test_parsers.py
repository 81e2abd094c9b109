"""Parsers of what others write, each fed with anything: they read it, or refuse it as they say."""

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.bus.revocations import KINDS, member, parse_member
from gateway.errors import ConfigurationError
from gateway.events.ids import EventId, parse_id
from gateway.events.json_edit import without_member
from gateway.settings import Settings, check_redis_url, load, variable
from gateway.tools.loadtest.wire import Answer, BrokenAnswer
from gateway.tools.sse_parser import EventStream
from gateway.tools.tail.follow import Follower
from gateway.tools.tail.runs import ListFollower
from gateway.tools.tail.several import SetFollower
from gateway.tools.tail.stream import Lost
from tests.harness.sse import SseParser
from tests.support import served

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
_LINES = st.sampled_from(
    [b"data: {}", b"data", b"event: a", b"id: 1-1", b"id: \0", b"retry: 5", b"retry: x", b": c",
     b"\r", b"\n", b"\r\n", b"\n\n", b"\r\r", b"data:\xff", b"data:  x"]
)  # fmt: skip


@pytest.mark.fuzz
@given(st.text() | st.from_regex(r"[0-9]{1,25}-[0-9]{1,25}") | st.integers())
def test_any_cursor(text: object) -> None:
    """A cursor is an id that Redis can hold, or none."""
    parsed = parse_id(text)
    assert parsed is None or (0 <= min(parsed) <= max(parsed) < 2**64)


@pytest.mark.fuzz
@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_any_id(epoch: int, seq: int) -> None:
    """An id that was written is read as it was."""
    assert parse_id(str(EventId(epoch, seq))) == EventId(epoch, seq)


@pytest.mark.fuzz
@given(st.text() | st.builds(member, st.sampled_from(KINDS), st.text()))
def test_any_revocation(text: str) -> None:
    """A member of the set of revocations is one of ours, word for word, or none."""
    parsed = parse_member(text)
    assert parsed is None or member(*parsed) == text


@pytest.mark.fuzz
@given(st.dictionaries(st.text() | st.just("id"), JSON, max_size=5), st.sampled_from([None, 1]))
def test_any_foreign_id(document: dict[str, Any], indent: int | None) -> None:
    """Taking a member out takes out that one alone, whatever the others are."""
    text = json.dumps(document, indent=indent).encode()
    document.pop("id", None)
    assert json.loads(without_member(text, "id")) == document


@pytest.mark.fuzz
@given(st.lists(_LINES | st.binary(max_size=20), max_size=12).map(b"".join), st.data())
def test_any_stream(body: bytes, data: st.DataObject) -> None:
    """The reader of `tail` and of the load test sees the events that a browser sees, however the
    bytes are cut."""
    cut = data.draw(st.integers(0, len(body)))
    reader = EventStream()
    seen = [*reader.feed(body[:cut]), *reader.feed(body[cut:])]
    for frame in seen:
        assert isinstance(frame.event, str)
    whole = EventStream().feed(body)
    assert seen == whole
    if not body.startswith(b"\xef\xbb\xbf"):
        browser = [one.data for one in SseParser().feed(body)]
        # The others set an id or a time alone: a browser dispatches nothing for them.
        events = [frame.data.decode("utf-8", "replace") for frame in whole if frame.event]
        assert events[: len(browser)] == browser


@pytest.mark.fuzz
@given(st.lists(st.binary(max_size=80), max_size=4), st.sampled_from([
    b"", b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"HTTP/1.1 400 Bad\r\nContent-Length: 5\r\n\r\n",
]))  # fmt: skip
def test_any_answer(chunks: list[bytes], head: bytes) -> None:
    """The load test reads an answer, or says that it is broken."""
    answer = Answer()
    with suppress(BrokenAnswer):
        for chunk in (head, *chunks):
            answer.feed(chunk)
        answer.feed_eof()


SECRET = "s3cr3t-of-a-url"


@pytest.mark.fuzz
@given(
    st.sampled_from(["redis", "rediss", "unix", "redis+sentinel", "http", ""]),
    st.text(max_size=30),
    st.text(max_size=30),
)
def test_any_redis_url(scheme: str, before: str, after: str) -> None:
    """Any text is the URL of a Redis, or is refused without the password in it."""
    with suppress(ValueError):
        check_redis_url(f"{before}{after}")
    refusal = ""
    try:
        check_redis_url(f"{scheme}://{before}:{SECRET}@{after}")
    except ValueError as error:
        refusal = str(error)
    assert SECRET not in refusal


@pytest.mark.fuzz
@given(given=st.dictionaries(st.sampled_from(sorted(Settings.model_fields)), JSON, max_size=4))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_settings(tmp_path: Path, given: dict[str, Any]) -> None:
    """Any file and any environment are settings, or all mistakes are listed together."""
    file = tmp_path / "gateway.toml"
    known = {name: value for name, value in given.items() if value is not None}
    file.write_text("\n".join(f"{name} = {json.dumps(value)}" for name, value in known.items()))
    with suppress(ConfigurationError):
        load(file)
    with suppress(ConfigurationError):
        load(None, **given)
    with pytest.MonkeyPatch.context() as environment:
        for name, value in given.items():
            with suppress(ValueError, UnicodeEncodeError):
                environment.setenv(variable(name), os.fsdecode(os.fsencode(str(value))))
        with suppress(ConfigurationError):
            load(None)


@pytest.mark.fuzz
@given(st.binary(max_size=120) | st.builds(
    lambda event, value: f"event: {event}\ndata: {json.dumps(value)}\n\n".encode(),
    st.sampled_from([
        *("connected", "stream:reset", "step:started", "execution:completed", "stream:ended"),
        *("executions:snapshot", "execution:added", "execution:removed", "stream:absent"),
    ]), JSON,
), st.sampled_from([200, 204, 401, 503]))  # fmt: skip
@settings(deadline=None)
async def test_any_gateway(body: bytes, status: int) -> None:
    """`tail` at a server that answers anything says that it has lost the run, or sees an end."""

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(status=status, body=b"" if status == 204 else body)

    application = web.Application()
    application.router.add_get("/{any:.*}", answer)
    async with served(application) as url:
        for follower in (
            Follower(url, dict, execution_id="run-1", give_up_after=-1.0),
            SetFollower(url, dict, execution_ids=("run-1", "run-2"), give_up_after=-1.0),
            ListFollower(url, dict, organization="acme", give_up_after=-1.0),
        ):
            with suppress(Lost):
                async for _ in follower.follow():
                    pass
