"""Processes that tests look for or start: embedded servers, and `sse-gateway dev`."""

import asyncio
import re
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from redis.asyncio import Redis

from tests.harness.gateway_process import environment
from tests.harness.proc import alive, parent
from tests.harness.program import Program, running
from tests.support import DEADLINE, eventually


async def pid_of(url: str) -> int:
    """The process of the Valkey at *url*."""
    async with Redis.from_url(url) as client:
        return int((await client.info("server"))["process_id"])


class Gone:
    """Waits until the Valkey at a URL and its parent have ended: `await Gone.of(url)` before."""

    def __init__(self, *pids: int) -> None:
        self.pids = pids

    @classmethod
    async def of(cls, url: str) -> "Gone":
        server = await pid_of(url)
        return cls(server, parent(server))

    async def wait(self) -> None:
        await eventually(lambda: not any(alive(pid) for pid in self.pids))


PROGRAM = (str(Path(sys.executable).with_name("sse-gateway")),)
MODULE = (sys.executable, "-m", "gateway.cli.main")


class Dev(Program):
    """One running `sse-gateway dev`, with what it has said."""

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


def running_dev(*options: str, **settings: str) -> AbstractAsyncContextManager[Dev]:
    """`sse-gateway dev` for as long as the block runs; *settings* by variable name."""
    return dev_of(PROGRAM, options, settings)


@asynccontextmanager
async def dev_of(
    program: Sequence[str], options: Sequence[str], settings: Mapping[str, str]
) -> AsyncIterator[Dev]:
    """As `running_dev`, with the command called as *program*."""
    given = {**environment(GATEWAY_JWT_SECRET="", GATEWAY_PORT=""), **settings}
    with TemporaryDirectory() as state:
        given = {"XDG_STATE_HOME": state, **given}
        async with running(Dev(*program, "dev", *options, environment=given)) as dev:
            await dev.says("Ctrl-C")
            yield dev


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
