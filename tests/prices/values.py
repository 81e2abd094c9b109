"""Values in Redis that nobody of us wrote, under each name that the gateway reads."""

import asyncio
from typing import Any

from gateway.bus.revocations import MEMBERS_KEY
from gateway.bus.stream_counts import stream_counts_key
from gateway.contract.keys import channel, events_key, meta_key, order_key, seen_key
from tests.prices.gateways import ATTACKER
from tests.prices.histories import poll, stream
from tests.prices.row import Attack, Row
from tests.prices.stage import Stage


def malformed(*commands: tuple[Any, ...]) -> Attack:
    """Executions of the attacker, with *commands* done to each (their second word names one of
    its keys): somebody watches, an event comes, and each way of reading is tried."""

    async def attack(stage: Stage, size: int, times: int) -> None:
        headers = stage.headers()

        async def one(_number: int) -> None:
            execution_id = await stage.register(stage.fresh("malformed"))
            await stage.append(execution_id)
            keys = {
                "META": meta_key(execution_id),
                "EVENTS": events_key(execution_id),
                "SEEN": seen_key(execution_id),
                "ORDER": order_key(execution_id),
            }
            watching = await stage.watch(execution_id)
            for command in commands:
                words = [
                    keys.get(word, word) if isinstance(word, str) else word for word in command
                ]
                await stage.redis.execute_command(*words)
            await stage.publish(channel("execution:", execution_id), [b'{"type":"step:started"}'])
            requests = [
                stream(execution_id, headers),
                stream(execution_id, f"{headers}Last-Event-ID: 1-1\r\n"),
                poll(execution_id, headers),
                poll(execution_id, headers, "?include_logs=true"),
            ]
            await asyncio.gather(*[stage.ask(data) for data in requests])
            watching.abort()

        await stage.each(times, one, times)
        await stage.arrived()

    return attack


_ALONE = "REDIS_ERRORS in gateway/bus/errors.py"


async def _revocations(stage: Stage, size: int, times: int) -> None:
    """Members that no version of us has written, in the set of revocations."""
    members = [b"\xff\xfe", b"", b"subject:", b"nonsense", b"execution:\xff", b"kind:value:more"]
    for number, member in enumerate(members * times):
        await stage.redis.zadd(MEMBERS_KEY, {member + b"%d" % number: float("inf")})
    await stage.redis.set("sse:{!revocations}:version", stage.fresh("version"))
    execution_id = await stage.register(stage.fresh())
    data = stream(execution_id, stage.headers())
    await stage.each(10, lambda _: stage.ask(data))
    await stage.redis.delete(MEMBERS_KEY)
    await stage.redis.set("sse:{!revocations}:version", stage.fresh("version"))


async def _counts(stage: Stage, size: int, times: int) -> None:
    """Counts of the attacker's organization that are no numbers."""
    key = stream_counts_key(ATTACKER)
    await stage.redis.delete(key)
    for number in range(times):
        await stage.redis.hset(key, f"instance-{number}", "nonsense \xff")
    execution_id = await stage.register(stage.fresh())
    data = stream(execution_id, stage.headers())
    await stage.each(10, lambda _: stage.ask(data))
    await stage.redis.delete(key)


def _row(name: str, *commands: tuple[Any, ...]) -> Row:
    return Row(f"value: {name}", malformed(*commands), _ALONE,
               times=5, cpu=0.1)  # fmt: skip


ROWS = [
    _row("epoch that is no number", ("HSET", "META", "epoch", "abc")),
    _row("epoch that is too large", ("HSET", "META", "epoch", "9" * 40)),
    _row("sequence that is no number", ("HSET", "META", "seq", "abc")),
    _row("bytes that is no number", ("HSET", "META", "bytes", "abc")),
    _row("terminal that is no id", ("HSET", "META", "terminal", "abc")),
    _row("terminal type that is not UTF-8", ("HSET", "META", "terminal", "5-5"),
         ("HSET", "META", "terminal_type", b"\xff\xfe")),
    _row("organization that is not UTF-8", ("HSET", "META", "organization_id", b"\xff\xfe")),
    _row("workflow that is not UTF-8", ("HSET", "META", "workflow_id", b"\xff\xfe")),
    _row("meta of another type", ("SET", "META", "abc")),
    _row("history of another type", ("SET", "EVENTS", "abc")),
    _row("history without payloads", ("XADD", "EVENTS", "99999999999999-1", "other", "x")),
    _row("history with ids of nobody", ("XADD", "EVENTS", "18446744073709551615-5", "event", "x")),
    _row("payloads that are no JSON", ("XADD", "EVENTS", "99999999999999-1", "event", b"\xff")),
    _row("digests of another type", ("SET", "SEEN", "abc"), ("SET", "ORDER", "abc")),
    Row("value: revocations of nobody", _revocations,
        "parse_member in gateway/bus/revocations.py", times=20, cpu=0.02),
    Row("value: counts that are no numbers", _counts, "max_streams_per_organization", times=20,
        cpu=0.02),
]  # fmt: skip
