"""Gunicorn as a real process, whose workers run the gateway."""

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from tests.process.programs import environment
from tests.support import DEADLINE, eventually

# As the documents have it.
COMMAND = ["-k", "aiohttp.GunicornUVLoopWebWorker", "gateway.app:create_app"]


class Gunicorn:
    """One Gunicorn which was started."""

    def __init__(self, process: asyncio.subprocess.Process, workers: int) -> None:
        self._process = process
        self._count = workers
        assert process.stderr is not None
        self._reading = asyncio.ensure_future(self._read(process.stderr))
        self.said = ""
        """All that it and its workers have logged so far."""

    @property
    def url(self) -> str:
        found = re.search(r"Listening at: (\S+)", self.said)
        return found[1] if found else ""

    @property
    def workers(self) -> list[int]:
        """The process ids of its workers."""
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        return [int(one) for one in children.read_text().split()]

    async def ready(self) -> None:
        """Wait until events reach all workers; before that they may not even accept."""
        # Gunicorn 27 starts one too many at times.
        await eventually(lambda: self.said.count("Subscribed to") >= self._count)

    def terminate(self) -> None:
        self._process.send_signal(signal.SIGTERM)

    async def ended(self) -> int:
        """Its exit status, once it and its workers have ended."""
        async with asyncio.timeout(DEADLINE):
            await self._reading
            return await self._process.wait()

    async def clean_up(self) -> None:
        if self._process.returncode is None:
            for pid in (*self.workers, self._process.pid):
                os.kill(pid, signal.SIGKILL)
        await self.ended()

    async def _read(self, stderr: asyncio.StreamReader) -> None:
        """On and on: a full pipe would stop it."""
        while line := await stderr.readline():
            self.said += line.decode()


def sockets(pid: int) -> int:
    """How many sockets a process has open."""
    return sum("socket:" in str(one.readlink()) for one in Path(f"/proc/{pid}/fd").iterdir())


@asynccontextmanager
async def gunicorn(
    home: Path, settings: Mapping[str, str], port: str = "0", workers: int = 2
) -> AsyncIterator[Gunicorn]:
    """Gunicorn on loopback for as long as the block runs; it may keep files in *home*."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gunicorn", "-w", str(workers), "-b", f"127.0.0.1:{port}"),
        *COMMAND,
        env={**environment(**settings), "HOME": str(home)},
        stderr=asyncio.subprocess.PIPE,
        stdin=asyncio.subprocess.DEVNULL,
    )
    running = Gunicorn(process, workers)
    try:
        yield running
    finally:
        await running.clean_up()
