"""A gateway as a process of its own: started, stopped, killed, and its log kept."""

import asyncio
import re
import signal
from collections import deque
from collections.abc import Mapping
from pathlib import Path

from tests.process.programs import COMMAND, addresses, environment
from tests.support import DEADLINE

_LINES_KEPT = 200
_ERROR = re.compile(r"\S+ (?:ERROR|CRITICAL) ")


class Gateway:
    """`sse-gateway serve`, which may be started again after it has ended."""

    def __init__(self, settings: Mapping[str, str]) -> None:
        """*settings* by the names of environment variables."""
        self.port = 0
        """Where it listens, or listened last."""
        self.admin_url = ""
        """Where it listens for operators, if it does."""
        self.lines: deque[str] = deque(maxlen=_LINES_KEPT)
        """The last lines of its log."""
        self.errors: list[str] = []
        """All lines of its log, as text, at ERROR or above."""
        self.tracebacks = 0
        self.tree: Path | None = None
        """The directory with the release that `start` runs; None for this checkout's."""
        self._environment = environment(**settings)
        self._process: asyncio.subprocess.Process | None = None
        self._log: asyncio.Task[None] | None = None

    @property
    def is_running(self) -> bool:
        return self._process is not None

    @property
    def pid(self) -> int:
        """Of the process that runs."""
        assert self._process is not None
        return self._process.pid

    async def start(self) -> None:
        """Start it and wait until it listens."""
        self._process = await asyncio.create_subprocess_exec(
            *COMMAND,
            "serve",
            # `python -m` looks for the package in the working directory first.
            cwd=self.tree,
            env=self._environment,
            stdin=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        assert self._process.stderr is not None
        listening: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._log = asyncio.create_task(self._read_log(self._process.stderr, listening))
        async with asyncio.timeout(DEADLINE):
            self.port = await listening

    async def stop(self) -> None:
        """End it in good order, as systemd does."""
        status = await self._end(signal.SIGTERM)
        assert status == 0, f"exit status {status}"

    async def kill(self) -> None:
        """End it as a crash does."""
        await self._end(signal.SIGKILL)

    def reload(self) -> None:
        """Have it read its settings again (SIGHUP)."""
        assert self._process is not None
        self._process.send_signal(signal.SIGHUP)

    async def clean_up(self) -> None:
        if self.is_running:
            await self.kill()

    async def _end(self, signum: int) -> int:
        process, self._process = self._process, None
        assert process is not None
        assert self._log is not None
        if process.returncode is None:
            process.send_signal(signum)
        try:
            async with asyncio.timeout(DEADLINE):
                await asyncio.shield(self._log)
                return await process.wait()
        except TimeoutError:
            # Nobody else knows of it any more, and it would outlive the tests.
            process.kill()
            raise

    async def _read_log(self, stderr: asyncio.StreamReader, listening: asyncio.Future[int]) -> None:
        """Read on and on: a full pipe would stop the gateway."""
        while line := (await stderr.readline()).decode():
            self.lines.append(line)
            self.tracebacks += line.startswith("Traceback")
            if _ERROR.match(line):
                self.errors.append(line)
            if line.startswith("Listening on"):
                url, self.admin_url = addresses(line)
                listening.set_result(int(url.rpartition(":")[2]))
        if not listening.done():
            listening.set_exception(AssertionError("the gateway has ended before it listened"))
