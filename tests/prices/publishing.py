"""Bodies, events and registrations of workers that mean harm, with the right or without."""

from tests.prices.row import MIB, Attack, Row
from tests.prices.stage import Stage

_SIZE = 256 * 1024


def call(
    stage: Stage, execution_id: str, body: bytes, path: str = "/events", *, right: bool = True,
    kind: str = "json",
) -> bytes:  # fmt: skip
    """One call of a new subject."""
    method = "POST" if path else "PUT"
    return (
        f"{method} /api/v1/sse/executions/{execution_id}{path} HTTP/1.1\r\nHost: x\r\n"
        f"{stage.headers(publish=right)}Content-Type: application/{kind}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body


def bodies(begin: bytes, filler: bytes, *, kind: str = "json", right: bool = True) -> Attack:
    """Calls with bodies of *filler*, to one execution."""

    async def attack(stage: Stage, size: int, times: int) -> None:
        execution_id = stage.fresh("published")
        body = begin + filler * (size // len(filler))
        await stage.each(
            times, lambda _: stage.ask(call(stage, execution_id, body, right=right, kind=kind)), 4
        )

    return attack


def invented(path: str, body: bytes = b"") -> Attack:
    """Calls to as many executions, none of which was there."""

    async def attack(stage: Stage, size: int, times: int) -> None:
        await stage.each(
            times, lambda _: stage.ask(call(stage, stage.fresh("invented"), body, path))
        )

    return attack


async def _of_the_bystander(stage: Stage, size: int, times: int) -> None:
    body = b'{"type":"a"}'
    await stage.each(times, lambda _: stage.ask(call(stage, "bystander", body)))


async def _restarts(stage: Stage, size: int, times: int) -> None:
    execution_id = stage.fresh("restarted")
    await stage.each(times, lambda _: stage.ask(call(stage, execution_id, b"", "/restart")))


async def _that_never_come(stage: Stage, size: int, times: int) -> None:
    async def one(_number: int) -> object:
        data = call(stage, "run-1", b"x" * _SIZE)
        return await stage.ask(data[: -_SIZE + 1])

    await stage.each(times, one)


_BODY = "MAX_PUBLISH_BYTES in gateway/http/screen.py, max_published_bytes_per_subject"
_EVENTS = "max_published_events_per_subject"
_EVENT = b'{"type":"a"}'

ROWS = [
    Row("bodies without the right to publish", bodies(b"", b"[", right=False),
        "MAX_PUBLISH_BYTES in gateway/http/screen.py", size=_SIZE, times=20, cpu=0.02),
    Row("published deep JSON", bodies(b"", b"["), _BODY, size=_SIZE, times=20, cpu=0.03),
    Row("published arrays of nothing", bodies(b"[", b"[],"), _BODY, size=_SIZE, times=20, cpu=0.1),
    Row("published wide JSON", bodies(b'[{"type":"a","data":[', b"[],"), _BODY, size=_SIZE,
        times=20, cpu=0.1),
    Row("published lines that are no events", bodies(b"", b"{\n", kind="x-ndjson"), _BODY,
        size=_SIZE, times=20, cpu=0.1),
    Row("published tiny events", bodies(b"", _EVENT + b"\n", kind="x-ndjson"), _EVENTS,
        size=250 * (len(_EVENT) + 1), times=10, cpu=0.1),
    Row("bodies of events that never come", _that_never_come, "header_timeout_seconds", cpu=0.02),
    Row("published to invented executions", invented("/events", _EVENT), _EVENTS, cpu=0.01),
    Row("registered invented executions", invented(""), _EVENTS, cpu=0.01),
    Row("published to somebody else's execution", _of_the_bystander, _EVENTS, cpu=0.01),
    Row("restarts of one execution", _restarts, _EVENTS, cpu=0.01, keeps=8 * MIB),
]  # fmt: skip
