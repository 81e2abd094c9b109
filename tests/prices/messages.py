"""Messages that somebody PUBLISHes and should not have."""

import orjson

from gateway.contract.keys import channel
from tests.prices.row import MIB, Attack, Row
from tests.prices.stage import Stage

_EVENT = "event_max_bytes"
_SEEN = "_SEEN_REMEMBERED in gateway/contract/scripts.py"
_HISTORY = "history_max_events, history_max_bytes"


def published(begin: bytes, filler: bytes = b"", end: bytes = b"", fresh: bool = False) -> Attack:
    """Messages made of the three parts, on one execution; *fresh*: on a new one each."""

    async def attack(stage: Stage, size: int, times: int) -> None:
        payload = begin + filler * (size // max(1, len(filler))) + end
        if fresh:
            for _ in range(times):
                await stage.publish(channel("execution:", stage.fresh("invented")), [payload])
        else:
            await stage.publish(channel("execution:", "published"), [payload] * times)
        await stage.arrived()

    return attack


async def _channels(stage: Stage, size: int, times: int) -> None:
    """Channels that match the pattern and are no execution's."""
    names = ["", "!canary:x", "!", "a b", "{x}", "\xff", "a" * 500, "../x", "*"]
    for number in range(times):
        await stage.publish(f"execution:{names[number % len(names)]}", [b'{"type":"a"}'])
    await stage.arrived()


async def _holes(stage: Stage, size: int, times: int) -> None:
    """Ids that nobody has given out, in an execution that somebody watches."""
    execution_id = await stage.register(stage.fresh("holes"))
    watching = await stage.watch(execution_id)
    payloads = [
        orjson.dumps({"id": f"{n + 5}-{n + 7}", "type": "step:started"}) for n in range(times)
    ]
    await stage.publish(channel("execution:", execution_id), payloads)
    await stage.arrived()
    watching.abort()


async def _watched(stage: Stage, size: int, times: int) -> None:
    """Events in one execution as fast as Redis takes them, watched by three tabs that read."""
    execution_id = await stage.register(stage.fresh("busy"))
    watching = [await stage.watch(execution_id) for _ in range(3)]
    payloads = [b'{"type":"step:started","data":%d}' % number for number in range(times)]
    await stage.publish(channel("execution:", execution_id), payloads)
    await stage.arrived()
    for one in watching:
        one.abort()


async def _repeated(stage: Stage, size: int, times: int) -> None:
    """The same message over and over, in one execution."""
    name = channel("execution:", stage.fresh("repeated"))
    await stage.publish(name, [b'{"type":"step:started"}'] * times)
    await stage.arrived()


_TYPE = b'{"type":"step:started","data":'

ROWS = [
    Row("messages that are no JSON", published(b"", b"x"), _EVENT, size=500, times=500,
        cpu=0.001),
    Row("messages that are not UTF-8", published(b'{"type":"', b"\xff", b'"}'), _EVENT, size=500,
        times=500, cpu=0.001),
    Row("messages of deep JSON", published(_TYPE, b"["), _EVENT, size=20_000, times=100),
    Row("messages of deep JSON that closes", published(_TYPE + b"[" * 900, b"", b"]" * 900 + b"}"),
        _EVENT, times=200),
    Row("messages of wide JSON", published(_TYPE + b"[", b"[],", b"1]}"), _EVENT, size=50_000,
        times=20, cpu=0.02, keeps=16 * MIB),
    Row("messages of many members", published(_TYPE + b"{", b'"a":1,', b'"b":2}}'), _EVENT,
        size=50_000, times=20, cpu=0.02, keeps=16 * MIB),
    Row("messages of many ids", published(b'{"type":"a",', b'"id":1,', b'"b":2}'), _EVENT,
        size=50_000, times=20, cpu=0.05, keeps=16 * MIB),
    Row("messages of line ends", published(_TYPE, b"\r\n", b"1}"), _EVENT, size=50_000, times=20,
        cpu=0.02, keeps=16 * MIB),
    Row("messages of escapes", published(_TYPE + b'"', b"\\ud800", b'"}'), _EVENT, size=50_000,
        times=20, cpu=0.02, keeps=16 * MIB),
    Row("messages of NaN", published(_TYPE + b"[", b"NaN,", b"1]}"), _EVENT, size=50_000, times=20,
        cpu=0.02, keeps=16 * MIB),
    Row("messages of control characters", published(_TYPE + b'["', b"\x01", b'"]}'), _EVENT,
        size=50_000, times=20, cpu=0.02, keeps=16 * MIB),
    Row("messages that are cut off", published(_TYPE + b'{"a":"', b'\\"', b""), _EVENT, size=50_000,
        times=20, cpu=0.02),
    Row("messages of JSON in JSON", published(b'"{\\"type\\":\\"a\\",\\"data\\":[', b'\\"\\",',
        b'1]}"'), _EVENT, size=50_000, times=20, cpu=0.02, keeps=16 * MIB),
    Row("messages of a long type", published(b'{"type":"', b"y", b'"}'), _EVENT, size=50_000,
        times=100),
    Row("messages that are too large", published(_TYPE + b'"', b"y", b'"}'), _EVENT,
        size=1_100_000, times=4, cpu=0.1),
    Row("messages that are too large, of wide JSON", published(_TYPE + b'{"a":[', b"[[[]]],",
        b"1]}}"), _EVENT, size=4_000_000, times=2, cpu=0.1, keeps=16 * MIB),
    Row("messages that are too large, of many members", published(_TYPE + b'{', b'"a":1,',
        b'"b":2}}'), _EVENT, size=1_450_000, times=2, cpu=0.5, keeps=24 * MIB),
    Row("messages that are much too large", published(_TYPE + b'{"a":"', b"y", b'"}}'), _EVENT,
        size=9_000_000, times=1, cpu=0.5, keeps=40 * MIB, peak=96 * MIB),
    Row("messages that are too large, of wide and deep JSON", published(b'{"data":[',
        b"[]," * 300 + b"[", b'1],"type":"a"}'), _EVENT, size=1_500_000, times=2, cpu=0.1,
        keeps=16 * MIB),
    Row("messages of invented executions", published(b'{"type":"a"}', fresh=True), _HISTORY,
        times=200, keeps=200 * 8192 + 5 * MIB),
    Row("messages of the gateway's own types", published(b'{"type":"stream:closing"}'), _EVENT,
        times=500, cpu=0.001),
    Row("messages on channels of no execution", _channels, _EVENT, times=500, cpu=0.001),
    Row("messages with ids that nobody gave out", _holes, _HISTORY, times=100, cpu=0.01),
    Row("messages by the thousand in one execution", _watched, _HISTORY, times=1000, cpu=0.001,
        keeps=8 * MIB),
    Row("the same message by the thousand", _repeated, _SEEN, times=1000, cpu=0.001, keeps=8 * MIB),
]  # fmt: skip
