"""The gateway as a real process: started, asked, signalled."""

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import aiohttp

from tests.support import DEADLINE, SECRET, eventually

COMMAND = (sys.executable, "-m", "gateway.cli.main")


def environment(**settings: str) -> dict[str, str]:
    """The environment of a gateway process: nothing of ours, and *settings* by variable name."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("GATEWAY_") and name != "REDIS_URL"
    }
    given = {"GATEWAY_JWT_SECRET": SECRET, "GATEWAY_PORT": "0", "GATEWAY_ADMIN_PORT": "off"}
    return {**kept, **given, **settings}


def addresses(line: str) -> tuple[str, str]:
    """Where a gateway listens for browsers and, or nothing, for operators: the banner's first
    line."""
    found = re.fullmatch(r"Listening on +(\S+)(?: \(for operators: (\S+)\))?\n", line)
    assert found is not None, line
    return found[1], found[2] or ""


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


class Process:
    """One running `sse-gateway serve`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.lines: list[str] = []
        self.url = ""
        self.admin_url = ""
        """Empty without GATEWAY_ADMIN_PORT among its settings."""

    @property
    def pid(self) -> int:
        return self._process.pid

    async def listening(self) -> None:
        """Read its banner until the address is known."""
        assert self._process.stderr is not None
        async with asyncio.timeout(DEADLINE):
            while not self.url:
                line = (await self._process.stderr.readline()).decode()
                assert line, "".join(self.lines)
                self.lines.append(line)
                if line.startswith("Listening on  "):
                    self.url, self.admin_url = addresses(line)

    async def says(self, words: str) -> str:
        """Read its log until a line contains *words*: that line."""
        assert self._process.stderr is not None
        async with asyncio.timeout(DEADLINE):
            while True:
                line = (await self._process.stderr.readline()).decode()
                assert line, "".join(self.lines)
                self.lines.append(line)
                if words in line:
                    return line

    async def healthy(self, session: aiohttp.ClientSession) -> None:
        async def asked() -> bool:
            async with session.get(f"{self.url}/api/v1/sse/health") as response:
                return response.status == 200

        await eventually(asked)

    def signal(self, signum: int) -> None:
        self._process.send_signal(signum)

    async def ended(self, timeout: float = DEADLINE) -> int:
        """Its exit status; the rest of what it printed is in `lines`."""
        async with asyncio.timeout(timeout):
            assert self._process.stderr is not None
            self.lines.append((await self._process.stderr.read()).decode())
            return await self._process.wait()


def serving(*around: str, **settings: str) -> AbstractAsyncContextManager[Process]:
    """`sse-gateway serve` for as long as the block runs; *around* goes before the command, a
    program that executes it."""
    return passing_on((), around, settings)


@asynccontextmanager
async def passing_on(
    descriptors: Sequence[int], around: Sequence[str], settings: Mapping[str, str]
) -> AsyncIterator[Process]:
    """As `serving`, with open *descriptors* that the process inherits."""
    process = await asyncio.create_subprocess_exec(
        *around,
        *COMMAND,
        "serve",
        env=environment(**settings),
        pass_fds=descriptors,
        stderr=asyncio.subprocess.PIPE,
        stdin=asyncio.subprocess.DEVNULL,
    )
    running = Process(process)
    try:
        await running.listening()
        yield running
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGKILL)
            await running.ended()
