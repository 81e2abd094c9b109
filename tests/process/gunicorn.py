"""Gunicorn as a real process, whose workers run the gateway."""

import os
import re
import signal
import sys
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from tests.harness.gateway_process import environment
from tests.harness.proc import children
from tests.harness.program import Program, running
from tests.support import eventually

# As the documents have it.
COMMAND = ["-k", "aiohttp.GunicornUVLoopWebWorker", "gateway.app:create_app"]


class Gunicorn(Program):
    """One Gunicorn which was started."""

    def __init__(self, home: Path, settings: Mapping[str, str], port: str, workers: int) -> None:
        super().__init__(
            *(sys.executable, "-m", "gunicorn", "-w", str(workers), "-b", f"127.0.0.1:{port}"),
            *COMMAND,
            environment={**environment(**settings), "HOME": str(home)},
        )
        self._count = workers

    @property
    def url(self) -> str:
        found = re.search(r"Listening at: (\S+)", self.said)
        return found[1] if found else ""

    @property
    def workers(self) -> list[int]:
        """The process ids of its workers."""
        return children(self.pid)

    async def ready(self) -> None:
        """Wait until events reach all workers; before that they may not even accept."""
        # Gunicorn 27 starts one too many at times.
        await eventually(lambda: self.said.count("Subscribed to") >= self._count)

    def terminate(self) -> None:
        self.signal(signal.SIGTERM)

    async def clean_up(self) -> None:
        if self.process.returncode is None:
            for pid in self.workers:
                os.kill(pid, signal.SIGKILL)
        await super().clean_up()


def gunicorn(
    home: Path, settings: Mapping[str, str], port: str = "0", workers: int = 2
) -> AbstractAsyncContextManager[Gunicorn]:
    """Gunicorn on loopback for as long as the block runs; it may keep files in *home*."""
    return running(Gunicorn(home, settings, port, workers))
