"""The table of OPERATIONS.md says what executions take of the memory of Redis."""

import re
import uuid
from pathlib import Path

import pytest
from redis.asyncio import Redis

from gateway.contract import keys
from tests.harness.history import append_payload, payload

DOCUMENT = Path(__file__).parents[2] / "gateway" / "OPERATIONS.md"
ROW = re.compile(r"^\| ([\d,]+) \| ([\d,]+) \| ([\d.]+) KiB \| ([\d.]+) KiB \|$", re.MULTILINE)
ROWS = ROW.findall(DOCUMENT.read_text())
ENTRY = 64
"""Bytes of a key in the tables of Redis, which MEMORY USAGE leaves out in part."""


def test_the_table_is_there() -> None:
    assert len(ROWS) == 5


@pytest.mark.parametrize("row", ROWS, ids="x".join)
async def test_an_execution_takes_what_the_table_says(
    row: tuple[str, str, str, str], redis: Redis
) -> None:
    """Within a fifth: histories alone, and with the idempotency keys."""
    events, size = (int(one.replace(",", "")) for one in row[:2])
    first, later = (float(one) * 1024 for one in row[2:])
    message = payload("step:completed", output="")
    message = payload("step:completed", output="y" * (size - len(message)))
    name = uuid.uuid4().hex
    for _ in range(events):
        await append_payload(redis, name, message, key=uuid.uuid4().hex)
    kept = 0
    for key in (keys.events_key(name), keys.meta_key(name)):
        kept += await redis.memory_usage(key, samples=0) or 0
    assert kept == pytest.approx(later, rel=0.2)
    once = [key async for key in redis.scan_iter(f"*{name}*once*", count=10_000)]
    assert len(once) == events
    each = await redis.memory_usage(once[0]) or 0
    assert kept + events * (each + ENTRY) == pytest.approx(first, rel=0.2)
