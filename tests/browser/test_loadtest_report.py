"""The page that a load test writes, in a real browser."""

import asyncio
import sys
from pathlib import Path

from playwright.async_api import BrowserContext


async def test_report(window: BrowserContext, tmp_path: Path) -> None:
    """A real run writes a page that a browser shows with all its plots, without a message on its
    console and without asking for anything else."""
    file = tmp_path / "report.html"
    options = ["--tabs", "10", "--executions", "2", "--events", "10", "--rate", "40"]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway.cli.main", "loadtest", *options, "--report", str(file)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await process.communicate()
    assert process.returncode == 0, out.decode()
    said: list[str] = []
    asked: list[str] = []
    page = await window.new_page()
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    await page.goto(file.as_uri())
    assert await page.locator("svg").count() == 5
    assert await page.locator("polyline.line").count() == 6
    assert await page.locator("rect.bar").count() > 0
    box = await page.locator("svg").first.bounding_box()
    assert box is not None
    assert box["height"] > 100
    assert await page.locator(".result.good").is_visible()
    overflows = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
    for width in (1280, 390):
        await page.set_viewport_size({"width": width, "height": 800})
        assert not await page.evaluate(overflows), f"too wide at {width}"
    assert said == []
    assert asked == [file.as_uri()]
