"""WebKit: WebKitGTK's MiniBrowser by its WebDriver, on a screen in memory."""

import asyncio
import base64
import os
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from tests.browser.engines.page import Page, encoded, script
from tests.support import DEADLINE, eventually, free_port, missing, require

NARROWEST = 500
PHONE = 768
"""A page that is less wide is drawn for a phone, in CSS pixels."""
_RUN = """const done = arguments[1];
(%s)(arguments[0]).then((value) => done({ value }), (error) => done({ error: `${error}` }));"""


@cache
def _mini_browser() -> str:
    """Its path: it is not among the programs of PATH."""
    found = [
        path
        for directory in ("/usr/lib", "/usr/libexec")
        for path in Path(directory).glob("**/webkit2gtk-4.*/MiniBrowser")
    ]
    if not found:
        missing("WebKitGTK's MiniBrowser is not installed: .ci/run installs it")
    return str(found[-1])


class WebKitDriver:
    """The driver process, and its screen; each session starts a browser of its own."""

    def __init__(self) -> None:
        self._read_from, write_to = os.pipe()
        self._screen = subprocess.Popen(
            [
                *(require("Xvfb"), "-displayfd", str(write_to), "-nolisten", "tcp"),
                *("-screen", "0", "1280x1024x24"),
            ],
            pass_fds=[write_to],
            stderr=subprocess.DEVNULL,
        )
        os.close(write_to)
        with os.fdopen(self._read_from) as announced:
            display = announced.readline().strip()
        assert display, "Xvfb did not start"
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.browser = _mini_browser()
        self._driver = subprocess.Popen(
            [require("WebKitWebDriver"), "--host=127.0.0.1", f"--port={port}"],
            # Drawn by the processor: such a screen has no graphics card.
            env={**os.environ, "DISPLAY": f":{display}", "LIBGL_ALWAYS_SOFTWARE": "1"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def stop(self) -> None:
        """End both."""
        for process in (self._driver, self._screen):
            process.terminate()
            process.wait(DEADLINE)


class WebKitPage:
    """One tab."""

    def __init__(self, webkit: "WebKit", handle: str) -> None:
        self._webkit = webkit
        self.handle = handle

    async def _call(self, method: str, path: str, **given: Any) -> Any:
        return await self._webkit.call_in(self.handle, method, path, **given)

    async def goto(self, url: str) -> None:
        await self._call("POST", "/url", url=url)

    async def evaluate(self, expression: str, arg: Any = None) -> Any:
        done = await self._call(
            "POST", "/execute/async", script=_RUN % script(expression), args=[encoded(arg)]
        )
        assert "value" in done, done
        return orjson.loads(done["value"])

    async def reload(self) -> None:
        await self._call("POST", "/refresh")

    async def screenshot(self, *, path: Path) -> None:
        path.write_bytes(base64.b64decode(await self._call("GET", "/screenshot")))


class WebKit:
    """A browser of a test's own."""

    name = "webkit"

    def __init__(self, session: aiohttp.ClientSession, path: str) -> None:
        self._session = session
        self._path = path
        self._one_at_a_time = asyncio.Lock()
        self._front: WebKitPage | None = None

    async def call(self, method: str, path: str, **given: Any) -> Any:
        """Call a command of WebDriver: its value."""
        body = given if method == "POST" else None
        async with self._session.request(method, self._path + path, json=body) as response:
            value = (await response.json())["value"]
            assert response.status == 200, value
            return value

    async def call_in(self, handle: str, method: str, path: str, **given: Any) -> Any:
        """The same, in the tab *handle*."""
        async with self._one_at_a_time:
            await self.call("POST", "/window", handle=handle)
            return await self.call(method, path, **given)

    async def new_page(self) -> Page:
        """The first one is in front, and stays there."""
        if self._front is None:
            self._front = WebKitPage(self, await self.call("GET", "/window"))
            return self._front
        return await self.hidden_page()

    async def hidden_page(self) -> Page:
        if self._front is None:
            await self.new_page()
        made = await self.call("POST", "/window/new", type="tab")
        return WebKitPage(self, made["handle"])

    async def bring_to_front(self, page: Page) -> None:
        """The driver can only close the tab that is in front."""
        assert self._front is not None
        await self.call_in(self._front.handle, "DELETE", "/window")
        assert isinstance(page, WebKitPage)
        self._front = page

    async def resize(self, page: Page, width: int, height: int) -> None:
        """The window has bars too, which make it wider than the narrowest phone."""
        assert isinstance(page, WebKitPage)
        inner = await page.evaluate("[innerWidth, innerHeight]")
        rect = await self.call_in(page.handle, "GET", "/window/rect")
        size = {
            "width": rect["width"] + width - inner[0],
            "height": rect["height"] + height - inner[1],
        }
        await self.call_in(page.handle, "POST", "/window/rect", **size)

        async def is_so_wide() -> bool:
            seen: int = await page.evaluate("innerWidth")
            return seen == width or (width < NARROWEST and seen < PHONE)

        await eventually(is_so_wide)

    async def go_back(self, page: Page) -> None:
        assert isinstance(page, WebKitPage)
        await self.call_in(page.handle, "POST", "/back")

    async def set_offline(self, page: Page, offline: bool) -> None:
        """The driver cannot; a test cuts the network elsewhere, and the page hears of it."""
        name = "offline" if offline else "online"
        await page.evaluate(f"void dispatchEvent(new Event('{name}'))")


@asynccontextmanager
async def webkit_window(driver: WebKitDriver) -> AsyncIterator[WebKit]:
    """A browser that ends with the block."""
    capabilities = {
        "acceptInsecureCerts": True,
        "timeouts": {"script": 2000 * DEADLINE},
        "webkitgtk:browserOptions": {"binary": driver.browser, "args": ["--automation"]},
    }
    async with aiohttp.ClientSession(driver.url) as session:

        async def listens() -> bool:
            try:
                async with session.get("/status") as response:
                    return response.status == 200
            except aiohttp.ClientConnectionError:
                return False

        await eventually(listens)
        made = await WebKit(session, "").call(
            "POST", "/session", capabilities={"alwaysMatch": capabilities}
        )
        webkit = WebKit(session, f"/session/{made['sessionId']}")
        try:
            yield webkit
        finally:
            await webkit.call("DELETE", "")
