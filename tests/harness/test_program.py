"""A program keeps what it prints, and its end is noticed."""

import os
import signal
from collections.abc import AsyncIterator

import pytest

from tests.harness.program import Program, running


@pytest.fixture
async def shell() -> AsyncIterator[Program]:
    script = "echo one; echo two >&2; echo three; exec sleep 60"
    async with running(Program("sh", "-c", script, environment=dict(os.environ))) as program:
        yield program


async def test_lines_are_waited_for_one_after_the_other(shell: Program) -> None:
    assert await shell.says("t") == "two\n"
    assert await shell.says("t") == "three\n"
    assert shell.said == "one\ntwo\nthree\n"


async def test_its_end_ends_the_wait_for_a_line(shell: Program) -> None:
    await shell.says("three")
    shell.signal(signal.SIGTERM)
    with pytest.raises(AssertionError, match="ended without 'four': one\ntwo"):
        await shell.says("four")
    assert await shell.ended() == -signal.SIGTERM
    assert not shell.is_running


async def test_it_can_be_started_again(shell: Program) -> None:
    await shell.says("three")
    await shell.kill()
    await shell.start()
    await shell.says("three")
    assert shell.is_running
    assert len(shell.lines) == 6
