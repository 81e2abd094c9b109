"""This checkout: its files (those that git tracks, or would track), and make called in it."""

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

from tests.support import missing, require

ROOT = Path(__file__).parents[2]


@cache
def files() -> tuple[Path, ...]:
    """The paths of its files; without git (an unpacked archive) the test is skipped."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    command = [require("git"), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    paths = (Path(name) for name in listed.split("\0") if name)
    return tuple(sorted(path for path in paths if (ROOT / path).is_file()))


def copy_checkout(to: Path) -> None:
    """A copy of its files, as a fresh clone would be."""
    for path in files():
        (to / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, to / path)


def without_make() -> dict[str, str]:
    """The environment without what the make that runs the tests hands down to another make."""
    handed_down = ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "ARGS")
    return {name: value for name, value in os.environ.items() if name not in handed_down}


def require_installed() -> None:
    """make has installed this checkout; else a target that needs that would do it now."""
    make = [require("make"), "--question", ".venv/.embedded"]
    if subprocess.run(make, cwd=ROOT, env=without_make(), capture_output=True).returncode:
        missing("no make target has installed this checkout: call `make test`")
