"""`sse-gateway publish`: one event, a file of them, a whole simulated run."""

import asyncio
from datetime import datetime
from pathlib import Path

import orjson
import pytest
from redis.asyncio import Redis

from gateway.cli.publish import Event, schedule
from gateway.contract.keys import events_key
from tests.conftest import RunningGateway, StartGateway
from tests.harness.gateway_process import run


def write_lines(path: Path, *documents: object, empty: bytes = b"") -> str:
    """A file with each of *documents* on a line of its own, and then *empty* ones."""
    path.write_bytes(b"\n".join(orjson.dumps(document) for document in documents) + empty)
    return str(path)


async def test_publish(gateway: RunningGateway, redis_url: str) -> None:
    """`publish` makes an event appear on an open stream."""
    reader = await gateway.open("run-1")
    data = '{"node_type": "email"}'
    words = ("publish", "run-1", "step:started", "--data", data)
    status, out, _ = await run(*words, REDIS_URL=redis_url)
    assert status == 0
    seen = await reader.expect("step:started")
    assert seen.id is not None
    assert seen.id in out
    document = seen.json()
    assert document["data"] == orjson.loads(data)
    assert document["timestamp"].endswith("Z")


async def test_publish_to_nobody(start_gateway: StartGateway, redis_url: str) -> None:
    """An event without a subscriber is kept for later ones."""
    status, _, _ = await run("publish", "run-1", "step:started", REDIS_URL=redis_url)
    assert status == 0
    gateway = await start_gateway(ownership="token")
    reader = await gateway.open("run-1")
    await reader.expect("step:started")


async def test_file(gateway: RunningGateway, redis_url: str, tmp_path: Path) -> None:
    """`publish --file` publishes each line's event, in order and with its own time; an id and an
    empty line are left out."""
    when = "2025-12-23T10:30:00.123"
    file = write_lines(
        tmp_path / "events.jsonl",
        {"type": "step:started", "data": {"node_id": "n1"}, "timestamp": when, "id": "1-1"},
        {"type": "invoice:sent"},
        empty=b"\n  \n",
    )
    status, out, _ = await run("publish", "run-1", "--file", file, REDIS_URL=redis_url)
    assert status == 0
    reader = await gateway.open("run-1")
    started, sent = [await reader.expect(type_) for type_ in ("step:started", "invoice:sent")]
    assert started.json()["data"] == {"node_id": "n1"}
    assert datetime.fromisoformat(started.json()["timestamp"]) == datetime.fromisoformat(f"{when}Z")
    assert [started.id, sent.id] == [line.split()[-1].rstrip(".") for line in out.splitlines()]


def test_intervals() -> None:
    """With `--pace` a file's events come at the intervals of their timestamps, so much faster; one
    without a time, or with an earlier one, comes at once."""
    minutes = ("10:00", "10:01", "10:00", None, "10:05")
    events = [
        Event("a:b", {}, minute and f"2025-12-23T{minute}:00", "--file", "") for minute in minutes
    ]
    assert [seconds for _, seconds in schedule(events, 120)] == [0.5, 0, 0, 0, 0]
    assert list(schedule([], 1)) == []


async def test_pace(gateway: RunningGateway, redis_url: str, tmp_path: Path) -> None:
    """Between two events of a file with `--pace` time passes: the first is seen before the second
    is published."""
    began = {"type": "a:first", "timestamp": "2025-12-23T10:00:00"}
    ended = {"type": "a:second", "timestamp": "2025-12-23T11:00:00"}
    file = write_lines(tmp_path / "events.jsonl", began, ended)
    reader = await gateway.open("run-1")
    words = ("publish", "run-1", "--file", file, "--pace", "1800")
    publishing = asyncio.create_task(run(*words, REDIS_URL=redis_url))
    await reader.expect("a:first")
    assert not publishing.done()
    await reader.expect("a:second")
    assert (await publishing)[0] == 0


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (b"nonsense", "line 2: it is not JSON"),
        (b"[]", "line 2: it is not a JSON object"),
        (b'{"data": {}}', "line 2: The event None is refused"),
        (b'{"type": "heartbeat"}', "line 2: The event 'heartbeat' is refused"),
        (b'{"type": "a:b", "data": []}', "line 2: The event's data is not a JSON object"),
        (b'{"type": "a:b", "timestamp": "soon"}', "line 2: "),
    ],
)
async def test_file_with_a_mistake(
    redis: Redis, redis_url: str, tmp_path: Path, wrong: bytes, why: str
) -> None:
    """Of a file with a mistake nothing is published; the complaint names the line."""
    file = tmp_path / "events.jsonl"
    file.write_bytes(b'{"type": "step:started"}\n' + wrong)
    status, out, err = await run("publish", "run-1", "--file", str(file), REDIS_URL=redis_url)
    assert (status, out) == (2, "")
    assert why in " ".join(err.split())
    assert not await redis.exists(events_key("run-1"))


@pytest.mark.parametrize(
    ("ending", "seen"),
    [
        ("completed", {"step:completed", "execution:paused", "execution:completed"}),
        ("failed", {"step:failed", "execution:failed"}),
        ("canceled", {"execution:canceled"}),
    ],
)
async def test_simulated_run(
    start_gateway: StartGateway, redis_url: str, ending: str, seen: set[str]
) -> None:
    """`publish --simulate` publishes a whole run with the ending that was chosen; `--organization`
    registers it, so that its stream opens."""
    gateway = await start_gateway(ownership="registry")
    words = ("publish", "run-1", "--simulate", ending, "--organization", "acme", "--pace", "200")
    status, out, err = await run(*words, REDIS_URL=redis_url)
    assert (status, err) == (0, "")
    reader = await gateway.open("run-1")
    types = [line.split()[1] for line in out.splitlines()]
    for type_ in types:
        await reader.expect(type_)
    assert types[0] == "step:started"
    assert types[-1] == f"execution:{ending}"
    assert seen <= set(types)


@pytest.mark.parametrize(
    "words",
    [
        ("publish", "run-1"),
        ("publish", "run-1", "step:started", "--simulate", "failed"),
        ("publish", "run-1", "--simulate", "failed", "--data", "{}"),
        ("publish", "run-1", "step:started", "--data", "nonsense"),
        ("publish", "run-1", "step:started", "--data", "[]"),
        ("publish", "run-1", "heartbeat"),
        ("publish", "run-1", "two\nlines"),
        ("publish", "a b", "step:started"),
    ],
)
async def test_wrong_usage(words: tuple[str, ...], redis: Redis, redis_url: str) -> None:
    """Wrong usage is exit status 2 with a sentence, and publishes nothing."""
    status, _, err = await run(*words, REDIS_URL=redis_url)
    assert status == 2
    assert "Error" in err
    assert "Traceback" not in err
    assert not await redis.keys("*")
