"""One of `followers/`: a library in use as its own documentation tells, and what it has said."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import orjson
from playwright.async_api import BrowserContext

from gateway.access.tokens import issue
from tests.browser.servers import pages
from tests.clients import compiled
from tests.clients.recorder import Recorder
from tests.npm import MODULES, NODE
from tests.support import SECRET, require, served

HERE = Path(__file__).parent / "followers"
_PACKAGES = {"fetch-event-source": "@microsoft/fetch-event-source"}


class Follower:
    """What the follower with the library *name* has said, and what its relay has seen."""

    def __init__(self, name: str, runs_in: str, recorder: Recorder) -> None:
        self.name = name
        self.runs_in = runs_in
        self.recorder = recorder
        self.events: list[dict[str, Any]] = []
        self.calls_again = 0
        """How often the program, and not the library, has connected again."""
        self.over = ""
        """Who noticed that nothing will follow: `library`, `program`, or an `error`."""

    def hear(self, line: str) -> None:
        """Take in a *line* that it said."""
        said = orjson.loads(line)
        self.calls_again += "again" in said
        self.over = said.get("over", self.over)
        if "type" in said:
            self.events.append(said)

    @property
    def numbers(self) -> list[int]:
        """Of the events, as they came."""
        return [event["data"]["number"] for event in self.events]

    @property
    def given(self) -> dict[str, str]:
        """The stream's address, through the relay, and a token."""
        path = "api/v1/sse/executions/run-1/stream"
        url = f"http://127.0.0.1:{self.recorder.port}/{path}"
        return {"url": url, "token": issue(SECRET, organization_id="acme")}


@asynccontextmanager
async def running(follower: Follower, *command: str, cwd: Path) -> AsyncIterator[None]:
    """The follower as a program, for as long as the block runs."""
    given = {"STREAM_URL": follower.given["url"], "TOKEN": follower.given["token"]}
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=cwd,
        env={**os.environ, **given},
        stdout=subprocess.PIPE,
        # A shell's programs end with it.
        start_new_session=True,
    )

    async def listen() -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            follower.hear(line.decode())

    listening = asyncio.create_task(listen())
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await listening
        await process.wait()


@asynccontextmanager
async def open_in(
    window: BrowserContext, follower: Follower, directory: Path
) -> AsyncIterator[None]:
    """The follower as a page of an application that is served from *directory*."""
    async with served(pages(directory)) as origin:
        page = await window.new_page()
        page.on("console", lambda said: follower.hear(said.text) if said.type == "log" else None)
        given = orjson.dumps(follower.given).decode()
        await page.add_init_script(f"globalThis.given = {given}")
        await page.goto(f"{origin}/static/{follower.name}.html")
        yield


def prepare(directory: Path, *bundled: str) -> None:
    """Lay the followers out in *directory* as a project whose dependencies are installed, and make
    a page of each of those that are *bundled*."""
    shutil.copytree(HERE, directory, dirs_exist_ok=True)
    (directory / "node_modules").symlink_to(MODULES)
    for name in bundled:
        esbuild = str(MODULES / "esbuild" / "bin" / "esbuild")
        made = [f"--outfile={name}.js", "--bundle", "--format=esm", "--log-level=error"]
        subprocess.run([NODE, esbuild, f"{name}.mjs", *made], cwd=directory, check=True, timeout=60)
        script = f'<!doctype html><script type="module" src="{name}.js"></script>'
        (directory / f"{name}.html").write_text(script)


def version_of(name: str, runs_in: str) -> str:
    """The version of the library, where the project says which one is installed."""
    if runs_in == "Python":
        return version(name)
    if runs_in == "shell":
        return ""
    if runs_in in compiled.LANGUAGES:
        return compiled.version_of(name)
    package = orjson.loads((MODULES / _PACKAGES.get(name, name) / "package.json").read_bytes())
    return str(package["version"])


def command_of(name: str, runs_in: str) -> tuple[str, ...]:
    """What runs the follower with the library *name*."""
    if runs_in == "Node":
        return NODE, f"{name}.mjs"
    if runs_in == "Python":
        return sys.executable, f"{name.replace('-', '_')}_.py"
    return require("sh"), f"{name}.sh"
