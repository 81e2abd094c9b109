"""What a producer may put into the data of an event, and what it is in JSON."""

import json
from collections import OrderedDict, defaultdict, namedtuple
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum
from types import MappingProxyType
from typing import Any
from uuid import UUID

import pytest
from pydantic import BaseModel, SecretStr
from redis.asyncio import Redis

from gateway.events.envelope import decode
from gateway.publisher import EventRefused
from gateway.publisher.encoding import MAX_DEPTH, encode
from tests.harness.history import kept
from tests.publisher.conftest import MakePublisher

Point = namedtuple("Point", "x y")


class Color(Enum):
    RED = "red"
    BOTH = (1, date(2024, 1, 2))


class Level(IntEnum):
    HIGH = 3


@dataclass
class Row:
    _id: int
    when: object


@dataclass(slots=True)
class Slotted:
    value: object


class Model(BaseModel):
    when: datetime
    secret: SecretStr
    amount: Decimal


class Unknown:
    def __repr__(self) -> str:
        return "a thing"


MODEL = Model(when=datetime(2024, 1, 2, tzinfo=UTC), secret=SecretStr("x"), amount=Decimal("1.10"))

# Each is tried as it is and beside a value that orjson refuses, so by the walk too.
TAKEN: list[tuple[Any, Any]] = [
    (None, None),
    (True, True),
    (1.5, 1.5),
    ("ü\u2028\n", "ü\u2028\n"),
    ((1, (2,)), [1, [2]]),
    (Point(1, 2), [1, 2]),
    (OrderedDict(a=1), {"a": 1}),
    (defaultdict(int, a=1), {"a": 1}),
    (MappingProxyType({"a": 1}), {"a": 1}),
    (Color.RED, "red"),
    (Color.BOTH, [1, "2024-01-02"]),
    (Level.HIGH, 3),
    (Row(1, Slotted(date(2024, 1, 2))), {"_id": 1, "when": {"value": "2024-01-02"}}),
    (datetime(2024, 1, 2, 3, 4, 5, 678900), "2024-01-02T03:04:05.678Z"),
    (datetime(2024, 1, 2, tzinfo=timezone(timedelta(hours=2))), "2024-01-01T22:00:00.000Z"),
    (date(2024, 1, 2), "2024-01-02"),
    (time(3, 4), "03:04:00"),
    (Decimal("1.10"), "1.10"),
    (Decimal("NaN"), None),
    (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    (b"\xff\x00", "/wA="),
    (bytearray(b"a"), "YQ=="),
    (memoryview(b"a"), "YQ=="),
    (float("nan"), None),
    ([float("inf"), {"y": float("-inf")}], [None, {"y": None}]),
    (2**70, 2**70),
    (-(2**70), -(2**70)),
    ("\ud800 \\\udfff", "\ud800 \\\udfff"),
    ({7: 1, None: 2, True: 3, 1.5: 4}, {"7": 1, "null": 2, "true": 3, "1.5": 4}),
    ({Color.RED: 1, date(2024, 1, 2): 2, b"a": 3}, {"red": 1, "2024-01-02": 2, "YQ==": 3}),
    ({"\ud800": 1}, {"\ud800": 1}),
    (MODEL, {"when": "2024-01-02T00:00:00Z", "secret": "**********", "amount": "1.10"}),
    (Unknown(), ["a thing", "2024-01-02"]),
]


def default(value: object) -> object:
    if isinstance(value, Unknown):
        return (repr(value), date(2024, 1, 2))
    raise TypeError("no such thing")


@pytest.mark.parametrize("beside", [0, 2**70])
@pytest.mark.parametrize(("value", "expected"), TAKEN)
def test_what_json_dumps_takes_and_more(value: object, expected: object, beside: int) -> None:
    """Every value that JSON can say is taken, alike whether orjson takes all of the data or not,
    and the gateway takes the event."""
    encoded = encode({"x": value, "beside": beside}, default)
    assert json.loads(encoded) == {"x": expected, "beside": beside}
    assert decode(b'{"type":"a","data":%b}' % encoded).type == "a"


def test_the_data_may_be_an_object_of_any_kind() -> None:
    """A dataclass or a model is a JSON object, and so may be all of an event's data."""
    assert encode(Slotted(MODEL), None).startswith(b'{"value":{"when":"2024-01-02T00:00:00Z"')
    assert encode(MODEL, None) == encode(MODEL.model_dump(mode="json"), None)


def nested(levels: int) -> dict[str, object]:
    data: dict[str, object] = {}
    for _ in range(levels):
        data = {"x": data}
    return data


CYCLE: dict[str, Any] = {}
CYCLE["x"] = {"y": [CYCLE]}

BROKEN = Model(when=MODEL.when, secret=MODEL.secret, amount=MODEL.amount)
BROKEN.__dict__["when"] = b"\xff"

# Each is tried as the data's member `output`.
REFUSED: list[tuple[object, str]] = [
    (object(), "data.output is of type object: no such thing"),
    ({"rows": [1, 2, 3, {4}]}, r"data.output.rows\[3\] is of type set: no such thing"),
    ([{"a": (0, Point(0, {1: object()}))}], r"data.output\[0\].a\[1\]\[1\].1 is of type object"),
    (Row(1, Slotted([object()])), r"data.output.when.value\[0\] is of type object"),
    (Color, "data.output is of type EnumType|data.output is of type EnumMeta"),
    (Model, "data.output is of type ModelMetaclass"),
    (BROKEN, "data.output is of type Model: .*utf-8"),
    (datetime.min.replace(tzinfo=timezone(timedelta(hours=2))), "data.output is of type datetime"),
    ({"a": {(1, 2): 3}}, r"data.output.a has the key \(1, 2\), which is no text"),
    ({object(): 3}, "data.output: its key <object .* is of type object"),
    ({1: 2, "1": 3}, "data.output has two keys that are the same text"),
    (10**4000, "data.output is an integer of more than 10000 bits"),
    (nested(MAX_DEPTH + 10), "data.output.x.x.x.*….*x.x is nested deeper than 250 levels"),
    (CYCLE, r"data.output.x.y\[0\].x.*….* is nested deeper than 250 levels, or holds itself"),
]


@pytest.mark.parametrize(("value", "message"), REFUSED)
def test_what_is_refused_has_its_path(value: object, message: str) -> None:
    """What JSON cannot say is refused, and the error names where in the data it is."""
    with pytest.raises(EventRefused, match=f"^The event's data is not JSON: {message}"):
        encode({"output": value}, default)


def test_an_error_of_default_is_raised() -> None:
    """A mistake in the producer's own `default` is shown as what it is."""
    with pytest.raises(ZeroDivisionError):
        encode({"x": object()}, lambda _: 1 / 0)


async def test_publishers_take_default(make_publisher: MakePublisher, redis: Redis) -> None:
    """`default` of a publisher is for its buffer too; without one the error names it."""
    publisher = make_publisher(default=default)
    await publisher.publish("run-1", "a", {"x": Unknown()})
    publisher.buffered.publish("run-1", "a", {"x": Unknown()})
    await publisher.flush()
    data = [json.loads(payload)["data"] for _, payload in await kept(redis)]
    assert data == [{"x": ["a thing", "2024-01-02"]}] * 2
    with pytest.raises(EventRefused, match=r"data.x is of type Unknown: give `default`"):
        await make_publisher().publish("run-1", "a", {"x": Unknown()})
