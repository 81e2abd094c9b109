"""The tool that measures several gateways works; how fast they are is nothing for a test."""

import asyncio
import math
import sys
from pathlib import Path

import orjson

from tests.support import DEADLINE, missing


async def test_cores(tmp_path: Path) -> None:
    """A short run measures each kind of figure: all are there, and none is nonsense."""
    if not Path("/proc/self/schedstat").exists():
        missing("the bench reads CPU times as Linux tells them")
    file = tmp_path / "figures.json"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.bench.cores", "--quick", "--json", str(file)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await asyncio.wait_for(process.communicate(), 2 * DEADLINE)
    assert process.returncode == 0, said.decode()
    figures = {one["name"]: one["value"] for one in orjson.loads(file.read_bytes())["figures"]}
    assert all(math.isfinite(value) and value > 0 for value in figures.values()), figures
    assert {name.rpartition(": ")[2] for name in figures} == {
        *("cost", "a core each", "growth"),
        *("gateway", "Redis"),
    }
    [alone, *grown] = [value for name, value in figures.items() if name.endswith("growth")]
    assert alone == 1
    assert len(grown) == 1
