"""The Python process: garbage collection and file descriptors."""

import gc
import resource

from gateway.settings import Settings

_GC_THRESHOLDS = (100_000, 50, 1000)
"""New objects before a collection of the youngest, and collections before one of the next older."""

REQUEST_FILES = 16
"""Descriptors for other requests, when there are as many streams as may be."""

OPERATOR_FILES = 16
"""Descriptors for connections to the operators' address."""

_PROCESS_FILES = 24
"""Descriptors of the process itself: the event loop, listening sockets, the subscription, keys."""

_BACKEND_FILES = 32
"""Most connections to the backend (`gateway.access.ownership.CONNECTIONS`)."""


def tune_gc() -> None:
    """Collect rarely from now on, and never the objects that exist now: they stay in use."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)


def other_files(settings: Settings) -> int:
    """Descriptors that a gateway needs besides those of the streams; 64 by default."""
    backend = _BACKEND_FILES if settings.ownership == "backend" else 0
    return _PROCESS_FILES + settings.redis_pool_size + backend + REQUEST_FILES + OPERATOR_FILES


def most_streams(settings: Settings) -> int:
    """How many streams there may be: `max_connections`, or fewer if descriptors are short."""
    allowed = max(1, file_limit() - other_files(settings))
    return min(settings.max_connections or allowed, allowed)


def most_connections(settings: Settings) -> int:
    """How many connections there may be, streams and other requests."""
    return max(1, file_limit() - other_files(settings) + REQUEST_FILES)


def file_limit() -> int:
    """How many files this process may have open now."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def raise_file_limit() -> int:
    """Raise the soft limit of open files to the hard one; return the limit now in force."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
