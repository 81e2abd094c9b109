"""`make run` in this checkout, as a user calls it the second time."""

import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from tests.packaging.checkout import ROOT, require_installed, without_make
from tests.support import DEADLINE


@pytest.fixture
def running() -> Iterator[subprocess.Popen[str]]:
    """`make run` in a terminal session of its own; killed after the test."""
    require_installed()
    process = subprocess.Popen(
        ["make", "run"],
        cwd=ROOT,
        env=without_make(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    yield process
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


@pytest.mark.alone
def test_run(running: subprocess.Popen[str]) -> None:
    """It is there within 5 s, its lines work when pasted, and Ctrl-C ends all of it in silence."""
    began = time.monotonic()
    said = _until(running, "Ctrl-C")
    assert time.monotonic() - began < 5, said
    stream = _pasted(r"^ *(curl .*)$", said)
    try:
        _until(stream, "event: connected")
        _until(stream, "event: step:started")
    finally:
        stream.kill()
        stream.communicate()
    # What a terminal does with Ctrl-C: make gets it too.
    os.killpg(running.pid, signal.SIGINT)
    rest, _ = running.communicate(timeout=DEADLINE)
    assert rest == ""
    # So ends what Ctrl-C has ended: make itself is not asked.
    assert running.returncode in (0, -signal.SIGINT)
    for url in re.findall(r"(?:http|redis)://127\.0\.0\.1:\d+", said):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", urlsplit(url).port or 0)).close()


def _until(process: subprocess.Popen[str], word: str) -> str:
    """All that *process* says up to the line with *word*; pytest's time limit ends the wait."""
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line
        if word in line:
            return said
    raise AssertionError(f"it ended without {word!r}: {said}")


def _pasted(pattern: str, said: str) -> subprocess.Popen[str]:
    """The one line of what was *said* that matches *pattern*, run by a shell."""
    [line] = re.findall(pattern, said, re.MULTILINE)
    return subprocess.Popen(f"exec {line}", shell=True, stdout=subprocess.PIPE, text=True)
