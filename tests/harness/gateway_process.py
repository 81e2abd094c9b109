"""The gateway as a real process: started, asked, signalled, killed."""

import asyncio
import os
import re
import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import aiohttp

from tests.harness.program import Program, running
from tests.support import DEADLINE, SECRET, eventually

COMMAND = (sys.executable, "-m", "gateway.cli.main")

_ERROR = re.compile(r"\S+ (?:ERROR|CRITICAL) ")


def environment(**settings: str) -> dict[str, str]:
    """The environment of a gateway process: nothing of ours, and *settings* by variable name."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("GATEWAY_") and name != "REDIS_URL"
    }
    given = {"GATEWAY_JWT_SECRET": SECRET, "GATEWAY_PORT": "0", "GATEWAY_ADMIN_PORT": "off"}
    return {**kept, **given, **settings}


async def run(*words: str, **settings: str) -> tuple[int, str, str]:
    """Run `sse-gateway` to its end: exit status, standard output, standard error."""
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        *words,
        env=environment(**settings),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), DEADLINE)
    return process.returncode or 0, out.decode(), err.decode()


class GatewayProcess(Program):
    """`sse-gateway serve`."""

    def __init__(
        self, settings: Mapping[str, str], *, around: Sequence[str] = (), **options: Any
    ) -> None:
        """*settings* by variable name; *around* stands before the command: a program that executes
        it."""
        super().__init__(*around, *COMMAND, "serve", environment=environment(**settings), **options)
        self.url = ""
        """Where it listens, or listened last."""
        self.admin_url = ""
        """The same for operators; empty if there is none."""
        self.tree: Path | None = None
        """The directory with the release that `start` runs; None for this checkout's."""

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    @property
    def errors(self) -> list[str]:
        """All lines of its log, as text, at ERROR or above."""
        return [line for line in self.lines if _ERROR.match(line)]

    @property
    def tracebacks(self) -> int:
        return sum(line.startswith("Traceback") for line in self.lines)

    async def start(self, **options: Any) -> None:
        """Start it and wait until it listens."""
        # `python -m` looks for the package in the working directory first.
        await super().start(cwd=self.tree, **options)
        line = await self.says("Listening on  ")
        found = re.fullmatch(r"Listening on +(\S+)(?: \(for operators: (\S+)\))?\n", line)
        assert found is not None, line
        self.url, self.admin_url = found[1], found[2] or ""

    async def healthy(self, session: aiohttp.ClientSession) -> None:
        """Wait until it is healthy."""

        async def asked() -> bool:
            async with session.get(f"{self.url}/api/v1/sse/health") as response:
                return response.status == 200

        await eventually(asked)


def serving(*around: str, **settings: str) -> AbstractAsyncContextManager[GatewayProcess]:
    """A gateway that runs for as long as the block does."""
    return running(GatewayProcess(settings, around=around))
