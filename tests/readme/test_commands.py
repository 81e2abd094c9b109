"""Every command and snippet of the README, run from top to bottom as a reader would paste it.

What stands in a block is run here, in one terminal session, against the gateway that the README
itself starts; `ELSEWHERE` lists what CI runs in another place. Only the two addresses differ from
what is written, so that the test meets nobody's Redis and finds its port free.
"""

import asyncio
import os
import re
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
from tests.readme.blocks import ROOT, Block, Command, blocks, commands
from tests.support import DEADLINE, eventually, free_port, require

ELSEWHERE = {
    "make run": ("tests/packaging/test_run.py", '"make", "run"'),
    "make test": (".ci/run", "step make test"),
    "pip install .": (".ci/run", "step proves_install . "),
}
"""Commands that are not run here, with the file that runs them and the words in it that do."""

HERE = ("export ", "sse-gateway ", "redis-cli ", "curl ")
"""How the commands begin that may be run in this checkout, whatever follows."""

UNTIL_STOPPED = ("sse-gateway serve", "curl -N ")
"""How the commands begin that go on while the next ones are typed in a second terminal."""

PUBLISHED = (
    "step:started",
    "step:completed",
    "invoice:sent",
    "execution:paused",
    "step:started",
    "step:completed",
    "execution:completed",
)
"""The events that the README publishes, in their order."""

NOT_RUN = ("text",)
"""Languages of blocks that show something; `js` is run by test_browser."""


class Running:
    """A command of the README that was started."""

    def __init__(self, command: Command, expected: str, outputs: tuple[Path, Path]) -> None:
        self.command = command
        self._expected = expected
        self._outputs = outputs
        self.process: Process

    def output(self) -> list[str]:
        """What it has written so far: standard output, standard error."""
        return [path.read_text() for path in self._outputs]

    def has_shown(self, lines: int | None = None) -> bool:
        """Whether its output begins with (the first *lines* of) what the README shows; `…` there
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
    """Runs the README's commands; remembers what was exported."""

    def __init__(self, directory: Path, replaced: dict[str, str], stack: AsyncExitStack) -> None:
        self._directory = directory
        self._replaced = replaced
        self._stack = stack
        self._exports: list[str] = []
        self._numbers = count(1)
        self.running: list[Running] = []

    def written(self, text: str) -> str:
        """*text* of the README with the test's addresses."""
        for theirs, ours in self._replaced.items():
            text = text.replace(theirs, ours)
        return text

    async def paste(self, command: Command) -> None:
        """Run *command*: to its end, or, if it goes on, until its first line is there."""
        if command.text.startswith("export "):
            self._exports.append(self.written(command.text))
        running = await self._start(command)
        if command.text.startswith(UNTIL_STOPPED):
            self._stack.push_async_callback(running.end)
            self.running.append(running)
            await eventually(lambda: running.has_shown(lines=1))
            return
        status = await asyncio.wait_for(running.process.wait(), DEADLINE)
        assert status == 0, f"{command}\nended with {status} and printed {running.output()}"
        if command.text.startswith("redis-cli"):
            # It ends with 0 whatever Redis answered.
            assert running.output()[0].strip().isdigit(), running.output()
        running.must_have_shown()

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


async def test_commands(
    redis_process: Callable[..., RedisProcess], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Every command of the README can be pasted, in order, and prints what the README shows; every
    Python snippet runs. A command that goes on has shown its lines once all others are through, and
    the stream among them every event that the others published."""
    for program in ("curl", "redis-cli"):
        require(program)
    port = free_port()
    monkeypatch.setenv("GATEWAY_PORT", str(port))
    admin_port = free_port()
    monkeypatch.setenv("GATEWAY_ADMIN_PORT", str(admin_port))
    replaced = {
        "localhost:6379": f"127.0.0.1:{redis_process().port}",
        "127.0.0.1:8080": f"127.0.0.1:{port}",
        "127.0.0.1:8081": f"127.0.0.1:{admin_port}",
    }
    async with AsyncExitStack() as stack:
        terminal = Terminal(tmp_path, replaced, stack)
        for block in blocks("sh", "console", "python"):
            if block.language == "python":
                await terminal.paste(terminal.snippet(block))
                continue
            for command in commands(block):
                if command.text.startswith(HERE):
                    await terminal.paste(command)
                if command.text.startswith("sse-gateway serve"):
                    await _healthy(f"http://127.0.0.1:{port}")
        for running in terminal.running:
            running.must_have_shown()
        [stream] = [one for one in terminal.running if one.command.text.startswith("curl")]
        # Of both publishers, of the command, and of redis-cli, whose event ends the stream.
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
def test_elsewhere(command: str) -> None:
    """What is not run here stands in the README, and is run where this file says."""
    assert command in [one.text for block in blocks("sh", "console") for one in commands(block)]
    file, words = ELSEWHERE[command]
    assert words in (ROOT / file).read_text()


def test_none_escapes() -> None:
    """Every block is in a language that is run (or only shows something), and every command is run
    here or on the list of those that are run elsewhere."""
    unknown = {block.language for block in blocks()} - {"sh", "console", "python", "js", *NOT_RUN}
    assert not unknown
    known = [one.text for block in blocks("sh", "console") for one in commands(block)]
    assert [text for text in known if not text.startswith(HERE) and text not in ELSEWHERE] == []
