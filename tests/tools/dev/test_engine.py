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

from gateway.contract.keys import events_key, meta_key
from gateway.publisher import Publisher
from gateway.tasks import Supervisor
from gateway.tools.dev.engine import DEMO_EXECUTION, SimulatedEngine
from tests.harness.redis_process import RedisProcess
from tests.support import DEADLINE, eventually

FAST = 100.0

STEP = {"node_id", "node_type", "position", "attempt", "status", "started_at"}
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
async def playing(
    redis_url: str, *, pace: float = FAST, prefix: str = "execution:"
) -> AsyncIterator[SimulatedEngine]:
    """An engine at work."""
    async with Publisher(redis_url, deadline=2, channel_prefix=prefix) as publisher:
        engine = SimulatedEngine(publisher, pace=pace)
        supervisor = Supervisor()
        supervisor.start("engine", engine.run())
        try:
            yield engine
        finally:
            # Else a test that fails leaves a task that one cancellation may not end.
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
                execution_id = message["channel"].decode().removeprefix(prefix)
                # A registration tells the gateways that a list has changed.
                if not execution_id.startswith("!"):
                    yield execution_id, orjson.loads(message["data"])

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


def instant(text: str) -> datetime:
    """The time of an envelope, as `Publisher` writes it."""
    parsed = datetime.fromisoformat(text)
    assert parsed.tzinfo is not None
    return parsed


async def test_producer_format(redis: Redis, redis_url: str) -> None:
    """Every message has today's form and all fields of its type; ids are UUIDs; times agree."""
    async with listening(redis) as messages, playing(redis_url):
        runs = await ended_runs(messages, 12)
    documents = [document for run in runs.values() for document in run]
    assert {document["type"] for document in documents} == FIELDS.keys()
    for document in documents:
        assert document.keys() == {"id", "type", "data", "timestamp"}
        data = document["data"]
        assert data.keys() == FIELDS[document["type"]]
        instant(document["timestamp"])
        if "node_id" in data:
            uuid.UUID(data["node_id"])
        if "duration_ms" in data:
            took = moment(data["completed_at"]) - moment(data["started_at"])
            assert data["duration_ms"] == took // timedelta(milliseconds=1)
    outputs = [document["data"].get("output") for document in documents]
    written = [output for output in outputs if output]
    assert all(output.keys() == {"document_id"} for output in written)
    assert all(isinstance(uuid.UUID(output["document_id"]), uuid.UUID) for output in written)
    assert {"running", "success", "error", "completed", "failed"} <= {
        document["data"].get("status") for document in documents
    }


async def test_course(redis: Redis, redis_url: str) -> None:
    """Executions begin with a step and end once; they complete, fail, and go on after a pause;
    several run at once, and new ones keep coming."""
    async with listening(redis) as messages, playing(redis_url) as engine:
        runs = await ended_runs(messages, 12)
        seen = set(runs)
        async for execution_id, _ in messages:
            seen.add(execution_id)
            # Of those that were seen some may have ended by now: new ones count too.
            if sum(map(engine.runs, seen)) > 2:
                break
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
        assert list(dict.fromkeys(starts)) == list(range(1, max(starts) + 1))
        if types[-1] == "execution:failed":
            assert types[-2] == "step:failed"
    assert any(one["type"] == "execution:paused" for run in ended for one in run)


async def test_demo_ends_and_begins_again(redis: Redis, redis_url: str) -> None:
    """Each run of `demo` is a new one for those that watch: it begins with `execution:restarted`.
    It fans out, fails and tries again, and waits for an approval."""
    seen: list[str] = []
    at_once = most = 0
    async with listening(redis) as messages, playing(redis_url, pace=500) as engine:
        async for execution_id, document in messages:
            if execution_id != DEMO_EXECUTION:
                continue
            kind = document["type"]
            at_once += {"step:started": 1, "step:completed": -1, "step:failed": -1}.get(kind, 0)
            most = max(most, at_once)
            seen.append(kind)
            if seen.count("execution:restarted") == 2:
                break
        assert engine.published[DEMO_EXECUTION] >= 1
    first, second = (
        seen[: seen.index("execution:restarted")],
        seen[seen.index("execution:restarted") + 1 : -1],
    )
    for run in (first, second):
        assert run[-1] == "execution:completed"
        assert run.count("step:started") > 150
        assert run.count("step:failed") == run.count("execution:paused") == 1
    assert most == 6


async def test_registered_first(redis: Redis, redis_url: str) -> None:
    """Each execution is registered before its first event, and a registration ends some day."""
    seen = set()
    async with listening(redis) as messages, playing(redis_url):
        async for execution_id, document in messages:
            seen.add(execution_id)
            owner = await redis.hget(f"sse:{{{execution_id}}}:meta", "organization_id")
            assert owner == b"dev-org"
            if document["type"] in ENDS:
                ended = execution_id
                break
        await eventually(lambda: _expires(redis, ended))
    assert len(seen) > 1


async def _expires(redis: Redis, execution_id: str) -> bool:
    """Its events after a day at most; `meta` has the end for a week (CONTRACT.md)."""
    events = await redis.ttl(events_key(execution_id))
    return 0 < events <= 24 * 3600 < await redis.ttl(meta_key(execution_id)) <= 7 * 24 * 3600


async def test_channel_prefix(redis: Redis, redis_url: str) -> None:
    """Another channel prefix is followed."""
    async with (
        listening(redis, "other:") as messages,
        playing(redis_url, prefix="other:"),
    ):
        async for execution_id, _ in messages:
            if execution_id == DEMO_EXECUTION:
                break


async def test_redis_away(
    redis_process: Callable[..., RedisProcess], caplog: pytest.LogCaptureFixture
) -> None:
    """A Redis that goes away is said once and waited for; then the engine goes on."""
    process = redis_process()
    async with playing(process.url) as engine:
        await eventually(lambda: engine.runs(DEMO_EXECUTION))
        process.kill()
        await eventually(lambda: "The simulated engine retries" in caplog.text)
        process.start()
        async with Redis.from_url(process.url) as other, listening(other) as messages:
            await ended_runs(messages, 2)
    assert caplog.text.count("The simulated engine retries") == 1
