"""The process's limit of open files: one stream is one file descriptor.

It only raises the soft limit to what the administrator allowed; the hard limit is systemd's
(`LimitNOFILE`) or the shell's. What streams do not get of it is a reserve: at the limit itself the
kernel's connections are closed without an answer, operators' too.
"""

import resource

from gateway.settings import Settings

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
