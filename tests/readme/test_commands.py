"""Every command and snippet of the documents, run from top to bottom as a reader would paste it.

The blocks of `SESSION` are run here, in one terminal session, against the gateway that the README
itself starts; `ELSEWHERE` lists what is run in another place. Only the addresses differ from what
is written, so that the test meets nobody's Redis and finds its port free.
"""

import asyncio
import os
import re
import shlex
import signal
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Callable
from contextlib import AsyncExitStack
from itertools import count
from pathlib import Path

import aiohttp
import pytest

from tests.harness.redis_process import RedisProcess
from tests.readme.blocks import (
    CLIENT,
    CLIENT_IN_PORTUGUESE,
    DOCUMENTS,
    PUBLISHING,
    README,
    ROOT,
    Block,
    Command,
    blocks,
    commands,
    commands_of,
)
from tests.support import DEADLINE, eventually, free_port, require

SESSION = (
    README,
    PUBLISHING,
    CLIENT,
    CLIENT_IN_PORTUGUESE,
    ROOT / "gateway" / "SECURITY.md",
    ROOT / "gateway" / "SCALING.md",
    ROOT / "gateway" / "CONTRACT.md",
)
"""In the order in which a reader meets them: the README starts the gateway for all."""

ELSEWHERE = {
    "git clone https://git.example.com/sse-gateway.git && cd sse-gateway": (".ci/run", "git clone"),
    "make run": ("tests/packaging/test_run.py", '"make", "run"'),
    "pip install '.[embedded]' && sse-gateway dev": (".ci/run", "bin/sse-gateway dev --port 0"),
}
"""Commands that are not run here, with the file that runs them and the words in it that do."""

INSTALLING = ROOT / "systemd" / "README.md"
"""Its blocks are pasted by tests/sidecars/test_systemd_for_real.py, which counts them."""

HERE = ("export ", "sse-gateway ", "redis-cli ", "curl ")
"""How the commands begin that may be run in this checkout, whatever follows."""

UNTIL_STOPPED = ("sse-gateway serve", "curl -N ")
"""How the commands begin that go on while the next ones are typed in a second terminal."""

PUBLISHED = ("step:started", "step:completed", "execution:completed")
"""The events that the README publishes, in their order."""

RUN = ("sh", "console", "python")
"""Languages of blocks that are run here."""

NOT_RUN = (
    "text", "nginx", "haproxy", "caddyfile", "apache", "yaml", "js", "jsx", "ts", "go", "java",
    "php",
)  # fmt: skip
"""Languages of blocks that show something, and those that test_browser, test_types and
tests/languages take."""


class Running:
    """A command of a document that was started."""

    def __init__(self, command: Command, expected: str, outputs: tuple[Path, Path]) -> None:
        self.command = command
        self._expected = expected
        self._outputs = outputs
        self.process: Process

    def output(self) -> list[str]:
        """What it has written so far: standard output, standard error."""
        return [path.read_text() for path in self._outputs]

    def has_shown(self, lines: int | None = None) -> bool:
        """Whether its output begins with (the first *lines* of) what is shown below it; `…` there
        stands for anything."""
        expected = "".join(self._expected.splitlines(keepends=True)[:lines])
        # Not every output ends with a line end.
        pattern = re.escape(expected.removesuffix("\n")).replace("…", ".*?")
        return any(re.match(pattern, said, re.DOTALL) for said in self.output())

    def must_have_shown(self) -> None:
        assert self.has_shown(), f"{self.command}\nprinted {self.output()}"

    async def end(self) -> None:
        """Stop it as Ctrl-C does, if it still runs."""
        if self.process.returncode is None:
            os.killpg(self.process.pid, signal.SIGINT)
        await asyncio.wait_for(self.process.wait(), DEADLINE)


class Terminal:
    """Runs the documents' commands; remembers what was exported."""

    def __init__(self, directory: Path, replaced: dict[str, str], stack: AsyncExitStack) -> None:
        self._directory = directory
        self._replaced = replaced
        self._stack = stack
        self._exports: list[str] = []
        self._numbers = count(1)
        self.running: list[Running] = []

    def written(self, text: str) -> str:
        """*text* of a document with the test's addresses."""
        for theirs, ours in self._replaced.items():
            text = text.replace(theirs, ours)
        return text

    async def paste(self, command: Command) -> None:
        """Run *command*: to its end, or, if it goes on, until its first line is there."""
        if command.text.startswith("export "):
            await self._export(command)
            return
        running = await self._start(command)
        if command.text.startswith("sse-gateway dev"):
            await eventually(lambda: "Ctrl-C" in "".join(running.output()))
            await running.end()
            return
        if command.text.startswith(UNTIL_STOPPED):
            self._stack.push_async_callback(running.end)
            self.running.append(running)
            await eventually(lambda: running.has_shown(lines=1))
            return
        status = await asyncio.wait_for(running.process.wait(), DEADLINE)
        assert status == 0, f"{command}\nended with {status} and printed {running.output()}"
        if command.text.startswith("redis-cli") and not command.shown:
            # It ends with 0 whatever Redis answered.
            assert running.output()[0].strip().isdigit(), running.output()
        running.must_have_shown()

    async def _export(self, command: Command) -> None:
        """Remember the value, which may be what another command prints."""
        name = command.text.removeprefix("export ").partition("=")[0]
        running = await self._start(Command(f'{command.text}\nprintf %s "${name}"'))
        assert await asyncio.wait_for(running.process.wait(), DEADLINE) == 0, running.output()
        self._exports.append(f"export {name}={shlex.quote(running.output()[0])}")

    async def _start(self, command: Command) -> Running:
        number = next(self._numbers)
        outputs = (self._directory / f"{number}.out", self._directory / f"{number}.err")
        running = Running(command, self.written(command.shown), outputs)
        script = "\n".join([*self._exports, self.written(command.text)])
        with outputs[0].open("w") as out, outputs[1].open("w") as err:
            running.process = await asyncio.create_subprocess_exec(
                *(require("sh"), "-c", script),
                cwd=ROOT,
                env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
                stdin=DEVNULL,
                stdout=out,
                stderr=err,
                # Of its own, so that it can be stopped together with what it started.
                start_new_session=True,
            )
        return running

    def snippet(self, block: Block) -> Command:
        """The command that runs a Python *block*."""
        file = self._directory / f"{next(self._numbers)}.py"
        file.write_text(self.written(block.text))
        return Command(f"python {file}")


# Some forty programs, one after the other.
@pytest.mark.timeout(180)
async def test_commands(
    redis_process: Callable[..., RedisProcess], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Every command can be pasted, in order, and prints what is shown below it; every Python
    snippet runs. A command that goes on has shown its lines once all others are through, and the
    stream among them every event that the README publishes."""
    for program in ("curl", "redis-cli"):
        require(program)
    port = free_port()
    monkeypatch.setenv("GATEWAY_PORT", str(port))
    # A reader sets it for the examples of publishing by HTTP.
    monkeypatch.setenv("GATEWAY_PUBLISH", "on")
    admin_port = free_port()
    monkeypatch.setenv("GATEWAY_ADMIN_PORT", str(admin_port))
    replaced = {
        "localhost:6379": f"127.0.0.1:{redis_process().port}",
        "127.0.0.1:8080": f"127.0.0.1:{port}",
        "127.0.0.1:8081": f"127.0.0.1:{admin_port}",
    }
    async with AsyncExitStack() as stack:
        terminal = Terminal(tmp_path, replaced, stack)
        for block in [one for document in SESSION for one in blocks(document, *RUN)]:
            if block.language == "python":
                await terminal.paste(terminal.snippet(block))
                continue
            for command in commands_of(block):
                if command.text.startswith(HERE):
                    await terminal.paste(command)
                if command.text.startswith("sse-gateway serve"):
                    await _healthy(f"http://127.0.0.1:{port}")
        for running in terminal.running:
            running.must_have_shown()
        [stream] = [one for one in terminal.running if one.command.text.startswith("curl")]
        # Of the publisher and of redis-cli, whose event ends the stream.
        assert await asyncio.wait_for(stream.process.wait(), DEADLINE) == 0
        seen = re.findall(r"^id: \d+-(\d+)\nevent: (.*)$", stream.output()[0], re.MULTILINE)
        assert seen == [(str(number), name) for number, name in enumerate(PUBLISHED, start=1)]


async def _healthy(url: str) -> None:
    """A reader takes longer to turn to the second terminal than the gateway to be healthy."""

    async def asked() -> bool:
        async with session.get(f"{url}/api/v1/sse/health") as response:
            return response.status == 200

    async with aiohttp.ClientSession() as session:
        await eventually(asked)


@pytest.mark.parametrize("command", ELSEWHERE)
def test_what_is_run_elsewhere_is(command: str) -> None:
    """It is in the README, and the file that is named here runs it."""
    assert command in [one.text for one in commands(README)]
    file, words = ELSEWHERE[command]
    assert words in (ROOT / file).read_text()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_block_escapes(document: Path) -> None:
    """Every block is in a language that is run (or only shows something), and every command is run
    here or where `ELSEWHERE` says."""
    assert {block.language for block in blocks(document)} <= {*RUN, *NOT_RUN}
    run = document in SESSION
    assert run or not blocks(document, "python", "console")
    if document != INSTALLING:
        known = [one.text for one in commands(document)]
        assert [t for t in known if not (run and t.startswith(HERE)) and t not in ELSEWHERE] == []
