"""A program in a process of its own: started, signalled, killed, and what it prints is kept."""

import asyncio
import signal
from asyncio.subprocess import DEVNULL, PIPE, STDOUT
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from tests.support import DEADLINE

_LONGEST_LINE = 2**20


class Program:
    """One program, which may be started again after its end."""

    def __init__(self, *command: str, environment: Mapping[str, str], **options: Any) -> None:
        """*options* are those of `asyncio.create_subprocess_exec`."""
        self.lines: list[str] = []
        """All that it has printed so far, with the line ends."""
        self.is_running = False
        self._command = command
        self._environment = environment
        self._options = options
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._looked_at = 0
        self._has_more = asyncio.Event()

    @property
    def said(self) -> str:
        """All that it has printed so far."""
        return "".join(self.lines)

    @property
    def process(self) -> asyncio.subprocess.Process:
        """Its process, or the last one that it had."""
        assert self._process is not None, "it was not started"
        return self._process

    @property
    def pid(self) -> int:
        return self.process.pid

    async def start(self, **options: Any) -> None:
        """Start it; *options* are further ones for this time."""
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            env=self._environment,
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=STDOUT,
            limit=_LONGEST_LINE,
            **{**self._options, **options},
        )
        assert self._process.stdout is not None
        self._reading = asyncio.create_task(self._read(self._process.stdout))
        self.is_running = True

    async def says(self, words: str, timeout: float = DEADLINE) -> str:
        """Wait for a line with *words*, beyond the last one that was waited for: that line."""
        try:
            async with asyncio.timeout(timeout):
                return await self._next_line_with(words)
        except TimeoutError:
            raise AssertionError(f"did not say {words!r}, but: {self.said}") from None

    async def _next_line_with(self, words: str) -> str:
        assert self._reading is not None, "it was not started"
        while True:
            for line in self.lines[self._looked_at :]:
                self._looked_at += 1
                if words in line:
                    return line
            assert not self._reading.done(), f"ended without {words!r}: {self.said}"
            self._has_more.clear()
            await self._has_more.wait()

    def signal(self, signum: int) -> None:
        self.process.send_signal(signum)

    async def ended(self, timeout: float = DEADLINE) -> int:
        """Wait for its end: the exit status; `lines` are then complete."""
        assert self._reading is not None, "it was not started"
        async with asyncio.timeout(timeout):
            await asyncio.shield(self._reading)
            status = await self.process.wait()
        self.is_running = False
        return status

    async def stop(self) -> None:
        """End it in good order, as systemd does."""
        status = await self._end(signal.SIGTERM)
        assert status == 0, f"exit status {status}: {self.said}"

    async def kill(self) -> None:
        """End it as a crash does."""
        await self._end(signal.SIGKILL)

    async def clean_up(self) -> None:
        """Kill it if it runs."""
        if self._process is not None:
            await self.kill()

    async def _end(self, signum: int) -> int:
        self.is_running = False
        if self.process.returncode is None:
            self.signal(signum)
        try:
            return await self.ended()
        except TimeoutError:
            # It would outlive the tests.
            self.process.kill()
            raise

    async def _read(self, output: asyncio.StreamReader) -> None:
        """Read all the time: a full pipe would stop the program."""
        try:
            while line := await output.readline():
                self.lines.append(line.decode(errors="replace"))
                self._has_more.set()
        finally:
            # In the next turn, when this task is done.
            asyncio.get_running_loop().call_soon(self._has_more.set)


P = TypeVar("P", bound=Program)


@asynccontextmanager
async def running(program: P) -> AsyncIterator[P]:
    """*program* runs for as long as the block does."""
    try:
        await program.start()
        yield program
    finally:
        await program.clean_up()
