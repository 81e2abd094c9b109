"""The messages of `vectors/messages.jsonl`, and the event that each must become.

`payload` is published, text in parts of which `[part, times]` is repeated; or `payload_base64`. Of
`expect`: `dropped` with its `reason`; else `type`, and where they stand there `data`, `trimmed`,
`source_id`, and a `text` that the event has byte for byte, like `payload`.
"""

from base64 import b64decode
from pathlib import Path
from typing import Any

import orjson

MAX_BYTES = 3000
"""The limit that the vectors are for."""


def joined(parts: str | list[Any]) -> str:
    return "".join(one if isinstance(one, str) else one[0] * one[1] for one in parts)


def payload_of(vector: dict[str, Any]) -> bytes:
    given = vector.get("payload_base64")
    return joined(vector["payload"]).encode() if given is None else b64decode(given)


VECTORS: list[dict[str, Any]] = [
    {**vector, "payload": payload_of(vector)}
    for line in (Path(__file__).parent / "vectors" / "messages.jsonl").read_bytes().splitlines()
    for vector in [orjson.loads(line)]
]
ARRIVE = [one for one in VECTORS if "dropped" not in one["expect"]]
DROPPED = [one for one in VECTORS if "dropped" in one["expect"]]


def check(vector: dict[str, Any], text: str, event: dict[str, Any]) -> None:
    """That *event*, which a reader parsed from *text*, is the one of *vector*."""
    expect = dict(vector["expect"])
    assert joined(expect.pop("text", "")) in text, vector["name"]
    for name in ("trimmed", "source_id"):
        assert event.get(name) == expect.pop(name, None), vector["name"]
    assert {name: event[name] for name in expect} == expect, vector["name"]
