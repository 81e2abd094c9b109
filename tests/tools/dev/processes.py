"""Processes that tests look for or start: embedded servers, and `sse-gateway dev`."""

import asyncio
import re
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, STDOUT
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from redis.asyncio import Redis

from tests.process.programs import environment
from tests.support import DEADLINE, eventually


def alive(pid: int) -> bool:
    """Whether process *pid* runs; one that has ended and was not waited for does not."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes() != b""
    except (FileNotFoundError, ProcessLookupError):
        # The latter when it ends between the opening and the reading.
        return False


def parent(pid: int) -> int:
    """The process that started *pid*."""
    [line] = re.findall(r"^PPid:\s+(\d+)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return int(line)


def descendants(pid: int) -> list[int]:
    """The processes that process *pid* has started, and those that they have."""
    file = Path(f"/proc/{pid}/task/{pid}/children")
    own = [int(child) for child in file.read_text().split()]
    return own + [pid for child in own for pid in descendants(child)]


async def pid_of(url: str) -> int:
    """The process of the Valkey at *url*."""
    async with Redis.from_url(url) as client:
        return int((await client.info("server"))["process_id"])


class Gone:
    """Waits until the Valkey at a URL and its keeper have ended: `await Gone.of(url)` before."""

    def __init__(self, *pids: int) -> None:
        self.pids = pids

    @classmethod
    async def of(cls, url: str) -> "Gone":
        server = await pid_of(url)
        return cls(server, parent(server))

    async def wait(self) -> None:
        await eventually(lambda: not any(alive(pid) for pid in self.pids))


class Dev:
    """One running `sse-gateway dev`, with what it has said."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.said = ""

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def url(self) -> str:
        return self.found(r"(http://127\.0\.0\.1:\d+)/ ")

    @property
    def redis_url(self) -> str:
        return self.found(r"^ *REDIS_URL=(\S+)$")

    def found(self, pattern: str) -> str:
        """The one place of the banner that matches *pattern*."""
        [place] = re.findall(pattern, self.said, re.MULTILINE)
        return str(place)

    async def started(self) -> None:
        """Read its banner."""
        assert self._process.stdout is not None
        async with asyncio.timeout(DEADLINE):
            while "Ctrl-C" not in self.said:
                line = await self._process.stdout.readline()
                assert line, self.said
                self.said += line.decode()

    def signal(self, signum: int) -> None:
        self._process.send_signal(signum)

    async def ended(self) -> int:
        """Its exit status; `said` is then complete."""
        rest, _ = await asyncio.wait_for(self._process.communicate(), DEADLINE)
        self.said += rest.decode()
        return self._process.returncode or 0


PROGRAM = (str(Path(sys.executable).with_name("sse-gateway")),)
MODULE = (sys.executable, "-m", "gateway.cli.main")


def running_dev(*options: str, **settings: str) -> AbstractAsyncContextManager[Dev]:
    """`sse-gateway dev` for as long as the block runs; *settings* by variable name."""
    return dev_of(PROGRAM, options, settings)


@asynccontextmanager
async def dev_of(
    program: Sequence[str], options: Sequence[str], settings: Mapping[str, str]
) -> AsyncIterator[Dev]:
    """As `running_dev`, with the command called as *program*."""
    process = await asyncio.create_subprocess_exec(
        *program,
        "dev",
        *options,
        env={**environment(GATEWAY_JWT_SECRET="", GATEWAY_PORT=""), **settings},
        stdin=DEVNULL,
        stdout=PIPE,
        stderr=STDOUT,
    )
    dev = Dev(process)
    try:
        await dev.started()
        yield dev
    finally:
        if process.returncode is None:
            dev.signal(signal.SIGKILL)
            await dev.ended()


async def lines_of(process: asyncio.subprocess.Process) -> AsyncIterator[str]:
    """What *process* prints, line by line, each with a deadline."""
    assert process.stdout is not None
    while line := await asyncio.wait_for(process.stdout.readline(), DEADLINE):
        yield line.decode().rstrip("\n")


async def pasted(line: str) -> asyncio.subprocess.Process:
    """*line* run by a shell, as when it is pasted into a terminal in another directory."""
    return await asyncio.create_subprocess_shell(
        line, cwd="/", env=environment(), stdout=PIPE, stderr=DEVNULL
    )
