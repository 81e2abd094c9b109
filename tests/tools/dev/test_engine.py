"""The simulated engine: what it publishes, as a gateway and its readers get it."""

import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

import orjson
import pytest
from redis.asyncio import Redis

from gateway.tasks import Supervisor
from gateway.tools.dev.engine import DEMO_EXECUTION, SimulatedEngine
from tests.harness.redis_process import RedisProcess
from tests.support import DEADLINE, eventually

FAST = 100.0

STEP = {"node_id", "node_type", "position", "status", "started_at"}
FIELDS = {
    "step:started": STEP,
    "step:completed": STEP | {"completed_at", "duration_ms", "output"},
    "step:failed": STEP | {"completed_at", "error"},
    "execution:paused": {"execution_id", "reason", "waiting_for"},
    "execution:completed": {
        "execution_id",
        "status",
        "completed_at",
        "execution_time_ms",
        "generated_document_id",
    },
    "execution:failed": {"execution_id", "status", "completed_at", "error_message"},
}
ENDS = ("execution:completed", "execution:failed")

Messages = AsyncIterator[tuple[str, dict[str, Any]]]


@asynccontextmanager
async def playing(redis: Redis, **options: Any) -> AsyncIterator[SimulatedEngine]:
    """An engine at work."""
    engine = SimulatedEngine(redis, **{"channel_prefix": "execution:", "pace": FAST, **options})
    supervisor = Supervisor()
    supervisor.start("engine", engine.run())
    yield engine
    await supervisor.stop()
    assert not supervisor.failures


@asynccontextmanager
async def listening(redis: Redis, prefix: str = "execution:") -> AsyncIterator[Messages]:
    """All messages under *prefix* as (execution id, document), each with a deadline."""
    async with redis.pubsub() as pubsub:
        await pubsub.psubscribe(f"{prefix}*")
        assert await pubsub.get_message(timeout=DEADLINE), "the confirmation"

        async def messages() -> Messages:
            while True:
                message = await pubsub.get_message(timeout=DEADLINE)
                assert message, "no message came in time"
                channel = message["channel"].decode()
                yield channel.removeprefix(prefix), orjson.loads(message["data"])

        yield messages()


async def ended_runs(messages: Messages, number: int) -> dict[str, list[dict[str, Any]]]:
    """The messages of every execution, until *number* of them have ended."""
    runs = defaultdict(list)
    ends = 0
    async for execution_id, document in messages:
        runs[execution_id].append(document)
        ends += document["type"] in ENDS
        if ends == number:
            break
    return runs


def moment(text: str) -> datetime:
    parsed = datetime.fromisoformat(text)
    assert parsed.tzinfo is None, "today's workers write no zone"
    return parsed


async def test_producer_format(redis: Redis) -> None:
    """Every message has today's form and all fields of its type; ids are UUIDs; times agree."""
    async with listening(redis) as messages, playing(redis):
        runs = await ended_runs(messages, 12)
    documents = [document for run in runs.values() for document in run]
    assert {document["type"] for document in documents} == FIELDS.keys()
    for document in documents:
        assert document.keys() == {"type", "data", "timestamp"}
        data = document["data"]
        assert data.keys() == FIELDS[document["type"]]
        moment(document["timestamp"])
        if "node_id" in data:
            uuid.UUID(data["node_id"])
        if "duration_ms" in data:
            took = moment(data["completed_at"]) - moment(data["started_at"])
            assert data["duration_ms"] == took // timedelta(milliseconds=1)
    outputs = [document["data"].get("output") for document in documents]
    written = [output for output in outputs if output]
    assert all(output.keys() == {"document_id", "file_url"} for output in written)
    assert all(isinstance(uuid.UUID(output["document_id"]), uuid.UUID) for output in written)
    assert {"running", "success", "error", "completed", "failed"} <= {
        document["data"].get("status") for document in documents
    }


async def test_course(redis: Redis) -> None:
    """Executions begin with a step and end once; they complete, fail, and go on after a pause;
    several run at once, and new ones keep coming."""
    async with listening(redis) as messages, playing(redis) as engine:
        runs = await ended_runs(messages, 12)
        await eventually(lambda: len(engine.executions()) == 1 + 4 + 12)
    del runs[DEMO_EXECUTION]
    ended = [run for run in runs.values() if run[-1]["type"] in ENDS]
    assert len(ended) == 12
    assert {run[-1]["type"] for run in ended} == set(ENDS)
    for run in ended:
        types = [document["type"] for document in run]
        assert sum(kind in ENDS for kind in types) == 1
        assert types[0] == "step:started"
        pauses = [place for place, kind in enumerate(types) if kind == "execution:paused"]
        assert all(types[place + 1] == "step:started" for place in pauses)
        starts = [one["data"]["position"] for one in run if one["type"] == "step:started"]
        assert starts == list(range(1, len(starts) + 1))
        assert ("step:failed" in types) == (types[-1] == "execution:failed")
    assert any(one["type"] == "execution:paused" for run in ended for one in run)


async def test_demo_never_ends(redis: Redis) -> None:
    """The steps of `demo` come round, pauses among them, and no terminal event."""
    rounds = 0
    types = set()
    async with listening(redis) as messages, playing(redis, pace=500):
        async for execution_id, document in messages:
            if execution_id == DEMO_EXECUTION:
                types.add(document["type"])
                rounds += document["data"].get("position") == 1
                if rounds > 5:
                    break
    assert types == {"step:started", "step:completed", "execution:paused"}


async def test_registered_first(redis: Redis) -> None:
    """Each execution is registered before its first event, and a registration ends some day."""
    seen = set()
    async with listening(redis) as messages, playing(redis):
        async for execution_id, document in messages:
            seen.add(execution_id)
            owner = await redis.hget(f"sse:{{{execution_id}}}:meta", "organization_id")
            assert owner == b"dev-org"
            if document["type"] in ENDS:
                ended = f"sse:{{{execution_id}}}:meta"
                break
        await eventually(lambda: _expires(redis, ended))
    assert len(seen) > 1


async def _expires(redis: Redis, key: str) -> bool:
    return 0 < await redis.ttl(key) <= 24 * 3600


async def test_list(redis: Redis) -> None:
    """The list holds `demo`, what runs, and the last twelve that ended, newest first, however
    long it goes on."""
    async with listening(redis) as messages, playing(redis, pace=500) as engine:
        await ended_runs(messages, 30)
        demo, *others = engine.executions()
    assert demo["id"] == DEMO_EXECUTION
    assert demo["status"] in ("running", "paused")
    assert 0 < len(demo["steps"]) <= 20
    running = [one for one in others if one["completed_at"] is None]
    ended = [one for one in others if one["completed_at"] is not None]
    assert others == running + ended
    assert len(running) <= 4
    assert len(ended) == 12
    assert {one["status"] for one in ended} == {"completed", "failed"}
    for one in ended:
        assert one["steps"][-1]["status"] in ("success", "error")
    for key, list_ in (("started_at", running), ("completed_at", ended)):
        times = [one[key] for one in list_]
        assert times == sorted(times, reverse=True)


async def test_channel_prefix(redis: Redis) -> None:
    """Another channel prefix is followed."""
    async with (
        listening(redis, "other:") as messages,
        playing(redis, channel_prefix="other:"),
    ):
        async for execution_id, _ in messages:
            if execution_id == DEMO_EXECUTION:
                break


async def test_redis_away(
    redis_process: Callable[..., RedisProcess], caplog: pytest.LogCaptureFixture
) -> None:
    """A Redis that goes away is said once and waited for; then the engine goes on."""
    process = redis_process()
    async with Redis.from_url(process.url) as redis, playing(redis) as engine:
        await eventually(lambda: len(engine.executions()) > 5)
        process.kill()
        await eventually(lambda: "The simulated engine retries" in caplog.text)
        process.start()
        async with Redis.from_url(process.url) as other, listening(other) as messages:
            await ended_runs(messages, 2)
    assert caplog.text.count("The simulated engine retries") == 1
