"""Background tasks that somebody watches."""

import asyncio

import pytest

from gateway.tasks import Supervisor
from tests.support import eventually


async def endless() -> None:
    await asyncio.Event().wait()


async def ends() -> None:
    return


async def fails() -> None:
    raise ValueError("a bug")


@pytest.mark.parametrize(
    ("task", "how"), [(ends, "ended without an error"), (fails, "ValueError: a bug")]
)
async def test_a_task_that_ends_is_reported(
    task: object, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A task that ends, with or without an error, is a failure with its name, and is logged."""
    supervisor = Supervisor()
    supervisor.start("well", endless())
    supervisor.start("ill", task())  # type: ignore[operator]
    await eventually(lambda: supervisor.failures)
    assert list(supervisor.failures) == ["ill"]
    assert how in supervisor.failures["ill"]
    assert "ill has died" in caplog.text
    await supervisor.stop()


async def test_stop_ends_all_tasks(caplog: pytest.LogCaptureFixture) -> None:
    """Stopping cancels every task, waits for it, and is no failure."""
    supervisor = Supervisor()
    cleaned = []

    async def cleans_up() -> None:
        try:
            await endless()
        finally:
            await asyncio.sleep(0)
            cleaned.append(True)

    supervisor.start("one", cleans_up())
    await asyncio.sleep(0)
    await supervisor.stop()
    assert cleaned == [True]
    assert supervisor.failures == {}
    assert not caplog.records


async def test_a_swallowed_cancellation_is_repeated() -> None:
    """A task whose library swallows a cancellation is cancelled again, so that stopping ends."""
    supervisor = Supervisor()
    swallowed = []

    async def swallows() -> None:
        try:
            await endless()
        except asyncio.CancelledError:
            swallowed.append(True)
        await endless()

    supervisor.start("one", swallows())
    await asyncio.sleep(0)
    await asyncio.wait_for(supervisor.stop(), 5)
    assert swallowed == [True]
