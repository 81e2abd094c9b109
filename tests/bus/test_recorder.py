"""Recording bare messages, where an answer is lost."""

from collections.abc import Sequence
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from gateway.bus import scripts
from gateway.bus.inbox import SubscriptionSession
from gateway.bus.recorder import Recorder
from gateway.bus.recording import RecordingRules
from gateway.bus.since import Since
from gateway.contract.scripts import Call, HistoryLimits
from gateway.events.envelope import decode
from gateway.metrics import Metrics
from tests.support import producer_message


async def test_a_lost_answer_doubles_no_part_of_a_large_batch(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More messages of one execution than one call takes: the script remembers its last answer
    alone, so the calls of an execution are made one after the other."""
    run_all, calls_made = scripts.run_all, 0

    async def loses_every_second_answer(client: Redis, calls: Sequence[Call]) -> list[Any]:
        nonlocal calls_made
        calls_made += 1
        answers = await run_all(client, calls)
        if calls_made % 2:
            raise RedisConnectionError("lost")
        return answers

    monkeypatch.setattr(scripts, "run_all", loses_every_second_answer)
    recorder = Recorder(redis, RecordingRules(HistoryLimits(), {}), Metrics())
    bare = {"run-1": [decode(producer_message("log", n=n)) for n in range(250)]}
    async for _ in recorder.record(SubscriptionSession("one", Since(0)), bare):
        pass
    assert await redis.xlen("sse:{run-1}:events") == 250
