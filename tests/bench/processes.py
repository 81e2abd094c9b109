"""The processes of a bench: which runs on which core. Linux alone tells what each has cost."""

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]


class CannotMeasure(Exception):
    """This machine cannot tell; the message says why."""


def cores() -> tuple[int, set[int]]:
    """The core of the process under test, and those of all others.

    Raises:
        CannotMeasure: there is one core only, or no Linux to ask.
    """
    if not Path("/proc/self/schedstat").exists():
        raise CannotMeasure("The bench reads CPU times from /proc/PID/schedstat: run it on Linux.")
    usable = sorted(os.sched_getaffinity(0))
    if len(usable) < 2:
        raise CannotMeasure("The process under test needs a core of its own: two are needed.")
    return usable[0], set(usable[1:])


def python(*arguments: str) -> list[str]:
    """A command that runs this Python."""
    return [sys.executable, *arguments]


@cache
def floor_program() -> list[str]:
    """The command of the floor: in C where there is a compiler, else in Python."""
    compiler = shutil.which("cc")
    if compiler is None:
        return python(str(ROOT / "tests/bench/floor.py"))
    program = Path(tempfile.mkdtemp(prefix="gateway-bench-")) / "floor"
    atexit.register(shutil.rmtree, program.parent, ignore_errors=True)
    subprocess.run(
        [compiler, "-O2", "-o", str(program), str(ROOT / "tests/bench/floor.c")], check=True
    )
    return [str(program)]


def is_floor_in_c() -> bool:
    """Whether ratios are to a C loop; Python's own `send()` costs half as much again."""
    return len(floor_program()) == 1
