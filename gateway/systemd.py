"""What systemd and a service that it has started say to each other: sd_notify, sd_listen_fds.

Two small protocols in words and environment variables, written down here because the libraries for
them need C headers or are no longer kept up. Under anything but systemd all of it does nothing.
What is said when is decided by `gateway.server`; what a socket needs, by `gateway.listener`.
"""

import asyncio
import logging
import os
import re
import socket
import time
from collections.abc import Callable, MutableMapping

from gateway.errors import CannotListen

log = logging.getLogger(__name__)

_FIRST_DESCRIPTOR = 3
"""SD_LISTEN_FDS_START: inherited sockets follow standard input, output and error."""

_STATUS_EVERY = 10.0
"""Seconds between two words on how it goes, where no watchdog sets the pace."""

_SEND_TIMEOUT = 1.0
"""Seconds that systemd may take to read: the event loop waits for it."""


class Notifier:
    """Tells systemd how this process does."""

    def __init__(self, environment: MutableMapping[str, str] = os.environ) -> None:
        """Takes out of *environment* what is meant for this process and not for its children."""
        self._address = environment.pop("NOTIFY_SOCKET", "")
        microseconds = environment.pop("WATCHDOG_USEC", "0")
        mine = environment.pop("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        # Seconds after which systemd kills who has not fed its watchdog; 0: it keeps none.
        self._patience = int(microseconds) / 1e6 if mine and microseconds.isdecimal() else 0.0

    @property
    def is_heard(self) -> bool:
        """Whether systemd has started this process and wants to know."""
        return bool(self._address)

    def ready(self, status: str) -> None:
        """It listens, or has reloaded; *status* is what `systemctl status` shows."""
        self._tell("READY=1", _status(status))

    def reloading(self) -> None:
        """A reload has begun; `ready` ends it."""
        # The time tells a systemd that waits for the reload that this is the answer.
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._tell("RELOADING=1", f"MONOTONIC_USEC={now}")

    def stopping(self, status: str) -> None:
        """It has begun to stop."""
        self._tell("STOPPING=1", _status(status))

    async def watch(self, stuck: Callable[[], str | None], status: Callable[[], str]) -> None:
        """Feed the watchdog, for ever, while *stuck* knows no reason not to.

        That this task runs shows that the event loop does. Without food systemd kills the process
        after `WatchdogSec` and starts it anew.
        """
        said = False
        while True:
            problem = stuck()
            if problem is None and self._patience:
                self._tell("WATCHDOG=1", _status(status()))
            else:
                self._tell(_status(problem or status()))
            if problem is not None and self._patience and not said:
                log.critical("The watchdog is not fed any more, for a restart: %s", problem)
            # Trouble that passes in time is survived, and the next one has a cause of its own.
            said = problem is not None
            # Two of three may come late.
            await asyncio.sleep(self._patience / 3 or _STATUS_EVERY)

    def _tell(self, *assignments: str) -> None:
        if not self.is_heard:
            return
        # "@" stands for the zero byte that an abstract address begins with.
        address = re.sub("^@", "\0", self._address)
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                sock.settimeout(_SEND_TIMEOUT)
                sock.sendto("\n".join(assignments).encode(), address)
        except OSError as error:
            # Streams go on; if systemd stays deaf, its own deadlines apply.
            log.warning("systemd cannot be told %s: %s.", assignments[0], error)


def _status(words: str) -> str:
    """A line break would begin another assignment."""
    return "STATUS=" + " ".join(words.split())


def inherited_sockets(
    environment: MutableMapping[str, str] = os.environ,
) -> list[tuple[str, socket.socket]]:
    """The listening sockets that systemd has opened for this process, with the
    `FileDescriptorName` of each; what says so is taken out of *environment*, for it is true once.

    Raises:
        CannotListen: one of them takes no connections.
    """
    count = environment.pop("LISTEN_FDS", "0")
    names = environment.pop("LISTEN_FDNAMES", "").split(":")
    if environment.pop("LISTEN_PID", "") != str(os.getpid()) or not count.isdecimal():
        return []
    found = []
    for number in range(int(count)):
        name = names[number] if number < len(names) else ""
        sock = socket.socket(fileno=_FIRST_DESCRIPTOR + number)
        # A child of this process must not keep it open.
        sock.set_inheritable(False)
        sock.setblocking(False)
        if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            raise CannotListen(
                f"systemd handed over the socket {name!r}, which takes no connections: say "
                "ListenStream= in its unit, and not Accept=yes."
            )
        found.append((name, sock))
    return found
