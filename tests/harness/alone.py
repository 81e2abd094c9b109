"""A plugin of pytest: a test marked `alone` asserts a time, so no other test runs beside it.

Those come last. The workers of a run meet at two files beside pytest's cache.
"""

import fcntl
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest


def _is_alone(item: pytest.Item) -> bool:
    return item.get_closest_marker("alone") is not None


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=_is_alone)


# First, so that the wait for other tests is not part of this one's timeout.
@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    folder = item.config.rootpath / ".pytest_cache"
    folder.mkdir(exist_ok=True)
    with _room(folder, alone=_is_alone(item)):
        return (yield)


@contextmanager
def _room(folder: Path, *, alone: bool) -> Generator[None]:
    """Any number of tests are in it, or one that is alone."""
    with (folder / "alone-room").open("wb") as room:
        # Who waits for an empty room holds the door: else others would go on entering.
        with (folder / "alone-door").open("wb") as door:
            fcntl.flock(door, fcntl.LOCK_EX)
            fcntl.flock(room, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
            fcntl.flock(door, fcntl.LOCK_UN)
        try:
            yield
        finally:
            # To close it is not enough: a process that was forked meanwhile has it too.
            fcntl.flock(room, fcntl.LOCK_UN)
