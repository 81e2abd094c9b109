"""Pictures for the documents, of the real page, the real terminal and a real load test."""

import asyncio
import io
import os
import re
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from playwright.async_api import Browser, Page, async_playwright
from rich.console import Console
from rich.text import Text

from tests.harness.gateway_process import COMMAND, environment
from tests.harness.program import Program, running
from tests.harness.redis_process import RedisProcess
from tests.support import free_port, require

COLOUR_SCHEMES = ("light", "dark")
TAIL = ("tail", "contract-7", "--organization", "acme")

_COLUMNS = 72
_STEPS_SHOWN = 4
"""Of a run, when the page's picture is taken."""

LOAD = ("--tabs", "200", "--rate", "100", "--duration", "8", "--storm")


async def draw(directory: Path, *, pace: float = 4, load: tuple[str, ...] = LOAD) -> None:
    """All pictures, into *directory*: of runs that are *pace* times as fast as real ones, and of a
    load test with the options *load*."""
    directory.mkdir(parents=True, exist_ok=True)
    redis = RedisProcess()
    redis.start()
    try:
        async with _chromium() as browser:
            await _runs(directory, browser, redis.url, pace)
            # Alone: it measures.
            await _report(directory / "loadtest.png", browser, load)
    finally:
        redis.clean_up()


@asynccontextmanager
async def _chromium() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=require("chromium"), args=["--no-sandbox"]
        )
        yield browser
        await browser.close()


async def _runs(directory: Path, browser: Browser, redis_url: str, pace: float) -> None:
    port = free_port()
    options = ("--port", str(port), "--redis-url", redis_url, "--pace", str(pace))
    given = environment(REDIS_URL=redis_url, GATEWAY_PORT=str(port))
    async with running(Program(*COMMAND, "dev", *options, environment=given)) as dev:
        await dev.says("Ctrl-C")
        url = f"http://127.0.0.1:{port}"
        await _terminal(directory / "tail.svg", url, given, pace)
        # One after the other: a page says how fast events arrive.
        for scheme in COLOUR_SCHEMES:
            await _page(directory / f"page-{scheme}.png", browser, url, scheme)


async def _page(file: Path, browser: Browser, url: str, scheme: str) -> None:
    """The page, some steps into a run that it has started: it has seen all of it live."""
    page = await _tab(browser, scheme, height=760)
    await page.goto(url)
    # Loaded and at rest: what arrives meanwhile would wait for it.
    await page.locator("#timeline > *").first.wait_for()
    before = await page.locator("#chosen-id").inner_text()
    await page.locator("#start button").click()
    await page.locator("#chosen-id", has_not_text=before).wait_for()
    await page.locator("#timeline > *").nth(_STEPS_SHOWN - 1).wait_for()
    await page.locator("#latency-note", has_text="p99").wait_for()
    await page.screenshot(path=file)
    await page.close()


async def _report(file: Path, browser: Browser, load: tuple[str, ...]) -> None:
    report = file.with_suffix(".html")
    test = Program(*COMMAND, "loadtest", *load, "--report", str(report), environment=environment())
    async with running(test):
        assert await test.ended(60) == 0, test.said
    page = await _tab(browser, "light", height=900)
    await page.goto(report.as_uri())
    await page.screenshot(path=file)
    report.unlink()


async def _tab(browser: Browser, scheme: str, *, height: int) -> Page:
    return await browser.new_page(
        color_scheme="dark" if scheme == "dark" else "light",
        viewport={"width": 1180, "height": height},
        device_scale_factor=1.5,
    )


async def _terminal(file: Path, url: str, given: dict[str, str], pace: float) -> None:
    """What `sse-gateway tail` leaves in a terminal, as SVG."""
    simulate = ("--simulate", "completed", "--organization", "acme", "--pace", str(pace))
    publish = Program(*COMMAND, "publish", TAIL[1], *simulate, environment=given)
    async with running(publish):
        said = await _in_a_terminal(*COMMAND, *TAIL, "--url", url, environment=given)
        assert await publish.ended() == 0, publish.said
    # Each redraw erases the lines of the one before: what follows the last one is what stays.
    shown = Text.from_ansi(said.rpartition("\x1b[2K")[2])
    console = Console(record=True, width=_COLUMNS, file=io.StringIO())
    console.print(Text.assemble(("$ ", "dim"), f"sse-gateway {' '.join(TAIL)}\n", shown))
    svg = console.export_svg(title="sse-gateway tail")
    # The reader's own font: none is loaded from another host.
    file.write_text(re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL))


async def _in_a_terminal(*command: str, environment: dict[str, str]) -> str:
    """All that *command* writes to a terminal until its end."""
    ours, theirs = os.openpty()
    size = {"COLUMNS": str(_COLUMNS), "LINES": "40", "TERM": "xterm-256color"}
    process = await asyncio.create_subprocess_exec(
        *command, env={**environment, **size}, stdin=DEVNULL, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    said = await asyncio.to_thread(_read_all, ours)
    os.close(ours)
    assert await process.wait() == 0, said
    return said


def _read_all(terminal: int) -> str:
    said = b""
    # At the end of the program Linux answers with an error, not with nothing.
    try:
        while piece := os.read(terminal, 65536):
            said += piece
    except OSError:
        pass
    return said.decode().replace("\r\n", "\n")
