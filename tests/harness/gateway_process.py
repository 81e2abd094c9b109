"""The gateway as a real process: started, asked, signalled, killed."""

import asyncio
import multiprocessing
import os
import re
import socket
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import aiohttp
import orjson
from coverage import Coverage

from gateway.cli.main import COMMANDS, main
from tests.harness.program import Program, running
from tests.support import DEADLINE, SECRET, eventually

COMMAND = (sys.executable, "-m", "gateway.cli.main")

# Moves the sockets to descriptor 3 and what follows, and says so to the program that it becomes.
_HAND_OVER = """
import os, sys
for place, descriptor in enumerate(map(int, os.environ.pop("DESCRIPTORS").split()), 3):
    os.dup2(descriptor, place)
os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(sys.argv[1], sys.argv[1:])
"""

_ERROR = re.compile(r"\S+ (?:ERROR|CRITICAL) ")


def environment(**settings: str) -> dict[str, str]:
    """The environment of a gateway process: nothing of ours, and *settings* by variable name."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("GATEWAY_", "OTEL_")) and name != "REDIS_URL"
    }
    given = {"GATEWAY_JWT_SECRET": SECRET, "GATEWAY_PORT": "0", "GATEWAY_ADMIN_PORT": "off"}
    return {**kept, **given, **settings}


def measured() -> dict[str, str]:
    """Settings of a process whose lines are counted where those of the tests are: for what no test
    runs otherwise, since to count takes half as much again."""
    if Coverage.current() is None:
        return {}
    root = Path(__file__).parents[2]
    return {
        "COVERAGE_PROCESS_START": str(root / "setup.cfg"),
        "COVERAGE_FILE": str(root / ".coverage"),
    }


async def run(*words: str, **settings: str) -> tuple[int, str, str]:
    """Run `sse-gateway` to its end: exit status, standard output, standard error.

    In a process of its own, which is forked from one that has imported the commands: to import them
    takes a second of CPU. (`COMMAND` starts as a user does.)
    """
    with tempfile.TemporaryDirectory() as directory:
        out, err = Path(directory, "out"), Path(directory, "err")
        process = _FORKED.Process(target=_command, args=(words, environment(**settings), out, err))
        process.start()
        try:
            await asyncio.to_thread(process.join, DEADLINE)
            if process.exitcode is None:
                raise TimeoutError(f"sse-gateway {words}: {out.read_text()}{err.read_text()}")
            return process.exitcode, out.read_text(), err.read_text()
        finally:
            process.kill()
            process.join()
            process.close()


def _command(words: Sequence[str], settings: Mapping[str, str], out: Path, err: Path) -> None:
    for file, descriptor in ((out, 1), (err, 2)):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT), descriptor)
    os.environ.clear()
    os.environ.update(settings)
    sys.argv = ["sse-gateway", *words]
    main()


_FORKED = multiprocessing.get_context("forkserver")
_FORKED.set_forkserver_preload([f"gateway.cli.{name}" for name in ("main", *COMMANDS.values())])


class GatewayProcess(Program):
    """`sse-gateway serve`."""

    def __init__(
        self,
        settings: Mapping[str, str],
        *,
        around: Sequence[str] = (),
        sockets: Mapping[str, socket.socket] | None = None,
        command: str = "serve",
        **options: Any,
    ) -> None:
        """*settings* by variable name; *around* stands before the command: a program that executes
        it. *sockets* are handed over as systemd does, by their names."""
        if sockets:
            descriptors = [sock.fileno() for sock in sockets.values()]
            assert min(descriptors) >= 3 + len(sockets), "one would be overwritten before its move"
            around = (sys.executable, "-c", _HAND_OVER, *around)
            handed = {
                "DESCRIPTORS": " ".join(map(str, descriptors)),
                "LISTEN_FDS": str(len(sockets)),
                "LISTEN_FDNAMES": ":".join(sockets),
            }
            settings, options = {**handed, **settings}, {**options, "pass_fds": descriptors}
        super().__init__(*around, *COMMAND, command, environment=environment(**settings), **options)
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
        found = None
        while found is None:
            # To import all takes a second of CPU, of which a busy machine gives a little at a time.
            line = await self.says("istening")
            if line.startswith("{"):
                started = orjson.loads(line)
                self.url, self.admin_url = started["listening"], started["operators"]
                return
            # A program around it may say where it listens itself.
            found = re.fullmatch(r"Listening on  +(\S+)(?: \(for operators: (\S+)\))?\n", line)
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
