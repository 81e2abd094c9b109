"""A stream of several executions: every event of each, one cursor, one end."""

import asyncio
from typing import Any

import pytest
from redis.asyncio import Redis
from yarl import URL

from gateway.bus import auditor, questions
from gateway.bus.forget import forget
from gateway.bus.registry import register
from gateway.bus.revocations import revoke
from gateway.contract.keys import events_key
from gateway.retry import unavailable
from tests.conftest import RunningGateway, StartGateway, credentials
from tests.harness.history import append, payload
from tests.harness.sse import Seen, SseReader
from tests.sets.support import PATH, ask, happen, open_set, own_id
from tests.support import eventually


@pytest.fixture(params=["pattern", "execution"])
def subscription(request: pytest.FixtureRequest) -> str:
    """All of this holds in both ways to subscribe."""
    return str(request.param)


async def names(reader: SseReader, count: int) -> list[tuple[str, str, str]]:
    """The next *count* frames: type, execution and id of its own."""
    found: list[tuple[str, str, str]] = []
    while len(found) < count:
        seen = await shown(reader)
        if seen.event != "heartbeat":
            data = seen.json()
            found.append((seen.event, data["execution_id"], data.get("id", "")))
    return found


async def test_it_shows_history_then_what_happens_then_each_end(
    gateway: RunningGateway, redis: Redis
) -> None:
    """The stream ends when all have ended; a reader that comes back with its last id gets 204."""
    first = await happen(redis, "a")
    reader, connected = await open_set(gateway, ["a", "b", "a"])
    assert connected.json()["execution_ids"] == ["a", "b"]
    assert (connected.id, "heartbeat_seconds" in connected.json()) == (None, True)
    assert await names(reader, 1) == [("step:started", "a", first)]
    other = await happen(redis, "b")
    assert await names(reader, 1) == [("step:started", "b", other)]
    end = await happen(redis, "a", "execution:completed")
    assert await names(reader, 2) == [
        ("execution:completed", "a", end),
        ("stream:ended", "a", ""),
    ]
    end = await happen(redis, "b", "execution:failed")
    seen = await reader.rest()
    assert [(one.event, one.json()["execution_id"]) for one in seen] == [
        ("execution:failed", "b"),
        ("stream:ended", "b"),
    ]
    assert seen[1].json() == {"execution_id": "b", "status": "failed"}
    assert list(seen[0].json())[:3] == ["execution_id", "id", "type"]
    assert (await ask(gateway, ["a", "b"], seen[0].id)).status == 204
    metrics = gateway.components.metrics
    await eventually(lambda: metrics.streams_closed["completed"] == 1)
    assert metrics.streams_opened == 1
    assert len(gateway.components.hub) == 0


async def test_a_reader_comes_back_to_all_of_them(gateway: RunningGateway, redis: Redis) -> None:
    """With the cursor of any frame: nothing twice, nothing left out, also of executions that are
    added; one that had ended before is named at once."""
    ids = {name: [await happen(redis, name) for _ in range(3)] for name in "ab"}
    await happen(redis, "b", "execution:completed")
    reader, _ = await open_set(gateway, ["a", "b"])
    seen = [await shown(reader) for _ in range(8)]
    for position, one in enumerate(seen):
        if one.id is None:
            continue
        before = [own_id(other) for other in seen[: position + 1] if other.id]
        again, connected = await open_set(gateway, ["a", "b", "c"], one.id)
        assert connected.id is not None
        rest = [await shown(again) for _ in range(8 - len(before))]
        assert [other.event for other in rest].count("stream:ended") == 1
        for name in "ab":
            told = before + [own_id(other) for other in rest if other.id]
            assert [other for other in told if other in ids[name]] == ids[name]


async def shown(reader: SseReader) -> Seen:
    """The next frame, whatever it is."""
    seen = await reader.next()
    assert seen is not None
    return seen


@pytest.mark.parametrize("subscription", ["pattern"])
async def test_what_may_not_be_seen_is_absent(start_gateway: StartGateway, redis: Redis) -> None:
    """Unknown and another organization's: the same frame, after the same wait; if none may be
    seen, the answer is 404."""
    gateway = await start_gateway(ownership_wait_seconds=0.5)
    await register(redis, "ours", "acme")
    await register(redis, "theirs", "globex")
    reader, connected = await open_set(gateway, ["theirs", "ours", "unknown"])
    assert connected.json()["execution_ids"] == ["ours"]
    absent = [await reader.expect("stream:absent") for _ in range(2)]
    assert [one.json() for one in absent] == [{"execution_id": x} for x in ("theirs", "unknown")]
    assert not gateway.components.hub.watches("theirs")
    answers = [await ask(gateway, asked) for asked in (["theirs"], ["unknown", "unknown-2"])]
    bodies = [(one.status, await one.read()) for one in answers]
    assert bodies[0][0] == 404
    assert bodies[0] == bodies[1]


async def test_one_execution_is_revoked_and_the_stream_goes_on(
    start_gateway: StartGateway, redis: Redis
) -> None:
    """A revoked subject ends the whole of it, once."""
    gateway = await start_gateway(ownership="token")
    reader, _ = await open_set(gateway, ["a", "b"], claims={"subject": "ada"})
    await revoke(redis, "execution", "a", 60)
    closing = (await reader.expect("stream:closing")).json()
    assert (closing["execution_id"], closing["reason"]) == ("a", "revoked")
    event = await happen(redis, "b")
    assert await names(reader, 1) == [("step:started", "b", event)]
    await revoke(redis, "subject", "ada", 60)
    [last] = await reader.rest()
    assert (last.event, last.json()["reason"]) == ("stream:closing", "revoked")
    assert "execution_id" not in last.json()


async def test_one_execution_is_forgotten_and_the_stream_goes_on(
    gateway: RunningGateway, redis: Redis
) -> None:
    """And a reader that comes back when the others have ended gets 204."""
    reader, _ = await open_set(gateway, ["a", "b"])
    for name in "ab":
        event = await happen(redis, name)
        assert await names(reader, 1) == [("step:started", name, event)]
    await forget(redis, "execution:", ["a"])
    closing = (await reader.expect("stream:closing")).json()
    assert (closing["execution_id"], closing["reason"]) == ("a", "forgotten")
    await happen(redis, "b", "execution:completed")
    seen = await reader.rest()
    assert [one.event for one in seen] == ["execution:completed", "stream:ended"]
    assert (await ask(gateway, ["a", "b"], seen[0].id)).status == 204


async def test_what_one_execution_lacks_for_the_moment_ends_the_stream(
    gateway: RunningGateway, redis: Redis
) -> None:
    """So that its reader comes back for it, and misses nothing of the others."""
    reader, _ = await open_set(gateway, ["a", "b"])
    hub = gateway.components.hub
    admit = hub.admit

    async def refuse(who: Any, *, again: bool) -> None:
        raise unavailable("Not now.")

    for name in "ab":
        await happen(redis, name)
    cursor = [await shown(reader) for _ in range(2)][-1].id
    hub.admit = refuse
    # Another epoch takes another admission.
    await redis.delete(events_key("a"))
    last = await happen(redis, "a")
    closing = await reader.expect("stream:closing")
    assert closing.json().keys() == {"reason", "retry_ms"}
    assert closing.json()["reason"] == "unavailable"
    assert await reader.rest() == []
    hub.admit = admit
    other = await happen(redis, "b")
    again, _ = await open_set(gateway, ["a", "b"], cursor)
    assert sorted(await names(again, 3)) == [
        ("step:started", "a", last),
        ("step:started", "b", other),
        ("stream:reset", "a", ""),
    ]


async def test_a_producers_own_member_does_not_hide_whose_event_it_is(
    gateway: RunningGateway, redis: Redis
) -> None:
    """It is left out, however it is written; one within `data` stays."""
    reader, _ = await open_set(gateway, ["a"])
    for text in (b'"execution_id":"b"', b'"execution\\u005fid":"b"', b'"x":1'):
        message = b'{"type":"step:started",%b,"data":{"execution_id":"c"}}' % text
        await redis.publish("execution:a", message)
        seen = await reader.expect("step:started")
        assert seen.data.count("execution") == 2
        assert (seen.json()["execution_id"], seen.json()["data"]) == ("a", {"execution_id": "c"})


@pytest.mark.parametrize("subscription", ["pattern"])
async def test_events_without_ids_carry_the_execution_too(
    start_gateway: StartGateway, redis: Redis
) -> None:
    """Without recording nothing has an id; the end is told all the same."""
    gateway = await start_gateway(ownership="token", record_bare_events=False)
    reader, _ = await open_set(gateway, ["a"])
    hub = gateway.components.hub

    def live() -> bool:
        [stream] = hub
        return stream.snapshot(0).state.value == "live"

    await eventually(live)
    await redis.publish("execution:a", payload("step:started"))
    await redis.publish("execution:a", payload("execution:failed"))
    seen = await reader.rest()
    assert [(one.event, one.id) for one in seen] == [
        ("step:started", None),
        ("execution:failed", None),
        ("stream:ended", None),
    ]
    assert seen[2].json() == {"execution_id": "a", "status": "failed"}


async def test_a_request_that_is_refused(gateway: RunningGateway) -> None:
    """Sixteen parameters beside the executions, and 8,000 bytes of request line."""
    long = "&".join(f"execution_id={n:0>200}" for n in range(50))
    for query, status, code in (
        ("", 400, "execution_id_missing"),
        ("&".join(f"execution_id=r{n}" for n in range(51)), 400, "too_many_executions"),
        ("execution_id=a&" + "&".join(f"x{n}=1" for n in range(17)), 400, "too_many_parameters"),
        ("execution_id=a%20b", 400, "malformed_execution_id"),
        ("execution_id=a&last_event_id=x&last_event_id=y", 400, "duplicate_credentials"),
        (long[:8100], 414, "uri_too_long"),
        (long, 414, "uri_too_long"),
    ):
        url = f"{gateway.url}{PATH}?{query}"
        async with gateway.session.get(URL(url, encoded=True), headers=credentials()) as response:
            document: Any = await response.json()
            assert (response.status, document["error"]) == (status, code)


async def test_fifty_long_ids_are_asked_for_by_query(gateway: RunningGateway) -> None:
    """Named twice, each counts once; their request line has nearly 8,000 bytes."""
    asked = [f"run-{number:0120}" for number in range(50)]
    reader, connected = await open_set(gateway, [*asked, *asked[:2]])
    assert connected.json()["execution_ids"] == asked
    reader.response.close()


async def test_what_one_has_lost_is_found_while_another_one_is_never_silent(
    start_gateway: StartGateway, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the silence of that execution tells of it: the stream has none."""
    monkeypatch.setattr(auditor, "SWEEPS", (0.0,))
    monkeypatch.setattr(questions, "INTERVAL", 0.02)
    gateway = await start_gateway(ownership="token", heartbeat_seconds=0.2)
    reader, _ = await open_set(gateway, ["quiet", "loud"])
    first = await happen(redis, "quiet")
    assert await names(reader, 1) == [("step:started", "quiet", first)]
    lost = str(await append(redis, "quiet", prefix="elsewhere:"))
    for _ in range(200):
        await happen(redis, "loud")
        [(_, execution_id, event_id)] = await names(reader, 1)
        if execution_id == "quiet":
            break
        await asyncio.sleep(0.01)
    assert event_id == lost
