"""`make cluster`: all of SCALING.md's "Set up a cluster" on one machine, as a newcomer calls it."""

import os
import re
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest
from redis.crc import key_slot

from gateway.contract.keys import meta_key
from tests.harness.program import Program, running
from tests.packaging.checkout import ROOT, require_installed, without_make
from tests.readme.blocks import blocks
from tests.support import eventually, free_port, require

SCRIPT = ROOT / "config" / "cluster.sh"

STARTED_WITHIN = 60.0
"""Seconds; it takes four on two cores that do nothing else."""

BACK_WITHIN = 40.0
"""Seconds until a replica has taken over, which takes the node timeout of five and an election."""


def test_the_document_sets_up_what_the_script_does() -> None:
    """Each line of the settings that it shows is in the script as it is."""
    document = ROOT / "gateway" / "SCALING.md"
    section = document.read_text().partition("### Set up a cluster\n")[2].partition("\n## ")[0]
    texts = [block.text for block in blocks(document, "text") if block.text in section]
    shown = "".join(texts).splitlines()
    assert len(shown) > 6
    written = SCRIPT.read_text().splitlines()
    command = "redis-cli --cluster create redis1:6379 … redis6:6379 --cluster-replicas 1"
    assert [line for line in shown if line not in written] == [command]
    assert any(
        re.search("redis-cli --cluster create .*--cluster-replicas 1", line) for line in written
    )


@pytest.mark.parametrize(
    ("programs", "said"),
    [
        ({}, "make cluster needs redis-server. On Debian and Ubuntu: apt-get install redis-server"),
        (
            {"redis-server": "echo Redis server v=6.2.1 sha=0", "redis-cli": ""},
            "make cluster needs Redis 7 or newer; redis-server here is version 6.",
        ),
    ],
)
async def test_what_is_missing_gets_one_line(
    tmp_path: Path, programs: dict[str, str], said: str
) -> None:
    for name in ("sed", "nginx", "curl"):
        (tmp_path / name).symlink_to(require(name))
    for name, script in programs.items():
        (tmp_path / name).write_text(f"#!{require('bash')}\n{script}\n")
        (tmp_path / name).chmod(0o755)
    program = Program(require("bash"), str(SCRIPT), environment={"PATH": str(tmp_path)}, cwd=ROOT)
    async with running(program):
        assert await program.ended() == 1
    assert program.lines == [f"{said}\n"]


@pytest.fixture
async def look(tmp_path: Path) -> AsyncIterator[Program]:
    """`make cluster`, which has said all; its files are below *tmp_path*."""
    require_installed()
    for name in ("nginx", "redis-server", "redis-cli", "curl"):
        require(name)
    environment = {
        **without_make(),
        "TMPDIR": str(tmp_path),
        "PORT": str(free_port()),
        "ADMIN_PORT": str(free_port()),
        # Beside those of other tests, and so are the ports of the nodes' own links.
        "REDIS_PORT": "7101",
    }
    program = Program(
        require("make"), "cluster", environment=environment, cwd=ROOT, start_new_session=True
    )
    async with running(program):
        try:
            await program.says("Ctrl-C", STARTED_WITHIN)
            yield program
        finally:
            if program.process.returncode is None:
                os.killpg(program.pid, signal.SIGTERM)
                await program.ended()


@pytest.mark.long
@pytest.mark.timeout(180)
async def test_make_cluster(look: Program, tmp_path: Path) -> None:
    """Its lines work when pasted, each stream is at another gateway, a primary that is killed ends
    neither, and Ctrl-C leaves nothing behind."""
    said = look.said
    async with AsyncExitStack() as stack, aiohttp.ClientSession() as session:
        tail, curl = [
            await stack.enter_async_context(running(_pasted(line)))
            for line in (r"^ *(SSE_.* tail demo .*)$", r"^ *(curl -N .*)$")
            for line in re.findall(line, said, re.MULTILINE)
        ]
        await tail.says("step:started")
        await curl.says("event: connected")
        first_id = await curl.says("id: ")
        await curl.says("event: step:started")
        [url] = re.findall(r"^ *(http://\S+)/$", said, re.MULTILINE)
        async with session.get(f"{url}/") as page:
            assert "sse-gateway" in await page.text()
        admins = re.search(r"operators: (\S+) and (\S+) ", said)
        assert admins is not None
        for admin in admins.groups():
            async with session.get(f"http://{admin}/streams") as streams:
                assert (await streams.json())["open"] == 1

        _kill_primary_of("bare", said, tmp_path)
        epoch = first_id.partition("-")[0]
        # The new primary gives ids of its own.
        await eventually(
            lambda: any(
                line.startswith("id: ") and not line.startswith(f"{epoch}-") for line in curl.lines
            ),
            BACK_WITHIN,
        )
        after = len(tail.lines)
        await eventually(lambda: len(tail.lines) > after, BACK_WITHIN)

        # What a terminal does with Ctrl-C: make gets it too.
        os.killpg(look.pid, signal.SIGINT)
        status = await look.ended()
    # So ends what Ctrl-C has ended: make itself is not asked.
    assert status in (0, -signal.SIGINT)
    assert look.said == said
    assert list(tmp_path.iterdir()) == []
    assert _processes_in(tmp_path) == []


def _pasted(line: str) -> Program:
    return Program("bash", "-c", f"exec env {line}", environment=os.environ)


def _kill_primary_of(execution_id: str, said: str, directory: Path) -> None:
    [primaries] = re.findall(r"^ *Redis +primaries (.*);", said, re.MULTILINE)
    at = key_slot(meta_key(execution_id).encode()) * 3 // 16384
    port = urlsplit(f"//{primaries.split()[at]}").port
    [file] = directory.glob(f"*/redis-{port}/redis.pid")
    os.kill(int(file.read_text()), signal.SIGKILL)


def _processes_in(directory: Path) -> list[str]:
    """Those that run there."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            where = (process / "cwd").readlink()
        except OSError:
            # Another user's, or it has just ended.
            continue
        # One that was removed has a word after its name.
        if str(where).startswith(str(directory)):
            found.append((process / "cmdline").read_text())
    return found
