"""What is asked of Redis regularly goes together, and no answer harms another."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from gateway.bus import questions as module
from gateway.bus.connection import create_redis
from gateway.bus.questions import Question, Questions
from tests.harness.redis_process import RedisProcess
from tests.harness.tcp_proxy import TcpProxy
from tests.harness.ticking import ticking
from tests.support import DEADLINE, eventually


class Wire(TcpProxy):
    """What is written to Redis."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self.written: list[bytes] = []

    async def request_passes(self, chunk: bytes) -> bool:
        self.written.append(chunk)
        return True


async def test_all_go_in_one_trip_and_are_answered_alone(
    redis: Redis, redis_server: RedisProcess
) -> None:
    """Everybody's questions are one write; a refusal is given to who asked for it."""
    await redis.set("text", "abc")
    answers: dict[str, Any] = {}

    async with (
        Wire(redis_server.port) as wire,
        create_redis(wire.redis_url, max_connections=2) as client,
        ticking() as ticker,
    ):
        questions = Questions(client, ticker)
        commands = {"one": ("GET", "text"), "two": ("HGET", "text", "x"), "three": ("GET", "none")}
        for name, command in commands.items():
            question = Question(command, partial(answers.__setitem__, name))
            questions.add(name, partial(list, [question]))
        questions.send_now()
        await eventually(lambda: len(answers) == 3)
    assert (answers["one"], answers["three"]) == (b"abc", None)
    assert isinstance(answers["two"], ResponseError)
    assert wire.written[-1].count(b"GET") == 3
    assert b"MULTI" not in b"".join(wire.written)


async def test_each_second(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """The questions are asked again and again; one whose answer cannot be handled is named, and
    the others get theirs."""
    monkeypatch.setattr(module, "INTERVAL", 0.02)
    answers: list[object] = []
    is_broken = True

    def fails(_: object) -> None:
        if is_broken:
            raise ValueError

    async with ticking() as ticker:
        questions = Questions(redis, ticker)
        questions.add("broken", lambda: [Question(("GET", "key"), fails)])
        questions.add("other", lambda: [Question(("GET", "key"), answers.append)])
        await eventually(lambda: len(answers) >= 3)
        assert ticker.failures.keys() == {"broken"}
        is_broken = False
        await eventually(lambda: not ticker.failures)


async def test_every_third_second_or_sooner(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not asked each time is asked at the beginning, every so many times after that, and
    at once where that is needed."""
    monkeypatch.setattr(module, "INTERVAL", 0.02)
    asked: list[str] = []

    async with ticking() as ticker:
        questions = Questions(redis, ticker)
        for name, every in (("each", 1), ("third", 3), ("rare", 10**6)):
            question = Question(("GET", name), lambda _: None)

            def ask(name: str = name, question: Question = question) -> list[Question]:
                asked.append(name)
                return [question]

            questions.add(name, ask, every)
        await eventually(lambda: len(asked) >= 7)
        assert asked[:7] == ["each", "third", "rare", "each", "each", "each", "third"]
        questions.ask_soon("rare")
        await eventually(lambda: asked.count("rare") == 2)


async def test_what_is_new_goes_before_what_is_left(redis: Redis) -> None:
    """Thousands of questions of one second do not hold up the canary of the next one."""
    order: list[str] = []
    crowd = [Question(("GET", "key"), lambda _: order.append("crowd"))] * 250

    async with ticking() as ticker:
        questions = Questions(redis, ticker)

        def canary(_: object) -> None:
            order.append("canary")
            if len(order) == 1:
                # As if the next second had come while the rest waits.
                questions.send_now()

        def asks_once() -> list[Question]:
            asked = crowd.copy()
            crowd.clear()
            return asked

        questions.add("canary", lambda: [Question(("GET", "key"), canary)])
        questions.add("crowd", asks_once)
        questions.send_now()
        await eventually(lambda: len(order) == 252)
    assert order.index("canary", 1) == 100


async def test_a_redis_that_hangs_or_is_away_is_given_up(
    redis_process: Callable[..., RedisProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who asked gets the error within the deadline, and an answer once Redis is back."""
    monkeypatch.setattr(module, "DEADLINE", 0.2)
    process = redis_process()
    answers: list[object] = []
    async with create_redis(process.url, max_connections=2) as client, ticking() as ticker:
        questions = Questions(client, ticker)
        questions.add("test", lambda: [Question(("PING",), answers.append)])

        async def ask() -> object:
            answers.clear()
            questions.send_now()
            async with asyncio.timeout(DEADLINE):
                return await eventually(lambda: answers and answers[0])

        assert await ask() in (b"PONG", True)
        process.suspend()
        assert isinstance(await ask(), TimeoutError)
        process.resume()
        assert await ask() in (b"PONG", True)
        process.kill()
        assert isinstance(await ask(), Exception)
