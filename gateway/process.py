"""How late the event loop is: whatever holds it up holds up every stream.

It measures only; who is told is decided by whoever reads the histogram.
"""

import asyncio
import gc
import resource

from prometheus_client import Histogram

from gateway.settings import Settings

_THRESHOLDS = (100_000, 50, 1000)
"""New objects before a pass over them, and passes before one over the older ones."""


def tune_gc() -> None:
    """Collect seldom from now on, and never again what was made before: it stays for good."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)


REQUEST_FILES = 16
"""Descriptors for connections that are no stream (yet), when streams have all of theirs."""

OPERATOR_FILES = 16
"""Descriptors for the connections of operators."""

_PROCESS_FILES = 24
"""Descriptors of the process itself: the event loop, listening sockets, the subscription, keys."""

_BACKEND_FILES = 32
"""Most connections to a backend that is asked about ownership."""


def other_files(settings: Settings) -> int:
    """Descriptors that a gateway needs beside one a stream; 64 by default."""
    backend = _BACKEND_FILES if settings.ownership == "backend" else 0
    others = _PROCESS_FILES + settings.redis_pool_size + backend
    return others + REQUEST_FILES + OPERATOR_FILES


def most_streams(settings: Settings) -> int:
    """How many streams there may be: what is set, and no more than there are descriptors for."""
    allowed = max(1, file_limit() - other_files(settings))
    return min(settings.max_connections or allowed, allowed)


def file_limit() -> int:
    """How many files this process may have open now."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def raise_file_limit() -> int:
    """Raise the soft limit of open files to the hard one; return the limit now in force."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


INTERVAL = 0.25
"""Seconds between two looks."""


async def measure_loop_lag(lags: Histogram) -> None:
    """Observe in *lags*, for ever, how many seconds late the loop wakes a sleeper."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + INTERVAL
        await asyncio.sleep(INTERVAL)
        lags.observe(max(0.0, loop.time() - due))
