"""The protocols between systemd and its services: sd_notify and sd_listen_fds.

Written here because the libraries for them need C headers or are not maintained. Without systemd
all of this does nothing.
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

_STATUS_INTERVAL = 10.0
"""Seconds between two status reports without a watchdog."""

_SEND_TIMEOUT = 1.0
"""Seconds that systemd may take to read a message; the event loop is blocked meanwhile."""


class Notifier:
    """Reports the state of this process to systemd."""

    def __init__(self, environment: MutableMapping[str, str] = os.environ) -> None:
        """Removes from *environment* what is for this process and not for its children."""
        self._address = environment.pop("NOTIFY_SOCKET", "")
        microseconds = environment.pop("WATCHDOG_USEC", "0")
        mine = environment.pop("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        # Seconds after which systemd kills a process that does not report; 0 for never.
        self._watchdog_seconds = (
            int(microseconds) / 1e6 if mine and microseconds.isdecimal() else 0.0
        )

    @property
    def is_enabled(self) -> bool:
        """Whether systemd has started this process and expects reports."""
        return bool(self._address)

    def ready(self, status: str) -> None:
        """The gateway listens, or has reloaded; `systemctl status` shows *status*."""
        self._send("READY=1", _status(status))

    def reloading(self) -> None:
        """A reload has started; `ready` ends it."""
        # By the time, systemd knows that this answers its own request.
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send("RELOADING=1", f"MONOTONIC_USEC={now}")

    def stopping(self, status: str) -> None:
        """The gateway has started to stop."""
        self._send("STOPPING=1", _status(status))

    async def watch(self, stuck: Callable[[], str | None], status: Callable[[], str]) -> None:
        """Report to the watchdog, until cancelled, unless *stuck* gives a reason not to.

        If the event loop hangs, so does this task. Without reports for `WatchdogSec`, systemd kills
        the process and starts it again.
        """
        logged = False
        while True:
            problem = stuck()
            if problem is None and self._watchdog_seconds:
                self._send("WATCHDOG=1", _status(status()))
            else:
                self._send(_status(problem or status()))
            if problem is not None and self._watchdog_seconds and not logged:
                log.critical("systemd will restart the gateway, unless this ends: %s", problem)
            logged = problem is not None
            # Two of three reports may be late.
            await asyncio.sleep(self._watchdog_seconds / 3 or _STATUS_INTERVAL)

    def _send(self, *assignments: str) -> None:
        if not self.is_enabled:
            return
        # "@" stands for the zero byte of an abstract address.
        address = re.sub("^@", "\0", self._address)
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                sock.settimeout(_SEND_TIMEOUT)
                sock.sendto("\n".join(assignments).encode(), address)
        except OSError as error:
            # Streams go on; the deadlines of systemd apply.
            log.warning("systemd does not accept %s: %s.", assignments[0], error)


def _status(text: str) -> str:
    # A line break would start another assignment.
    return "STATUS=" + " ".join(text.split())


def inherited_sockets(
    environment: MutableMapping[str, str] = os.environ,
) -> list[tuple[str, socket.socket]]:
    """The listening sockets that systemd has opened for this process, each with its
    `FileDescriptorName`. Their variables are removed from *environment*: they are valid once.

    Raises:
        CannotListen: one of them does not accept connections.
    """
    count = environment.pop("LISTEN_FDS", "0")
    names = environment.pop("LISTEN_FDNAMES", "").split(":")
    if environment.pop("LISTEN_PID", "") != str(os.getpid()) or not count.isdecimal():
        return []
    found = []
    for number in range(int(count)):
        name = names[number] if number < len(names) else ""
        sock = socket.socket(fileno=_FIRST_DESCRIPTOR + number)
        # Child processes must not keep it open.
        sock.set_inheritable(False)
        sock.setblocking(False)
        if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            raise CannotListen(
                f"systemd passed the socket {name!r}, which does not accept connections: use "
                "ListenStream= in its unit, without Accept=yes."
            )
        found.append((name, sock))
    return found
