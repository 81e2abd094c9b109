"""Waiting with a deadline, and programs that are missing."""

import asyncio

import pytest

from tests.support import eventually, require


async def test_eventually() -> None:
    """It returns what the condition returned, or names what it waited for."""
    values = iter([0, None, "there"])
    assert await eventually(lambda: next(values)) == "there"
    with pytest.raises(AssertionError, match="never"):
        await eventually(lambda: "never".isspace(), timeout=0.02)
    with pytest.raises(AssertionError, match="is_set"):
        await eventually(asyncio.Event().is_set, timeout=0.02)


def test_require(monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing program skips a test at a desk, and fails it where CI is set."""
    assert require("sh").endswith("/sh")
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no-such-program is not installed"):
        require("no-such-program")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="no-such-program is not installed"):
        require("no-such-program")
