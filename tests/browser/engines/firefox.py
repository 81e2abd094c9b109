"""Firefox by WebDriver BiDi, which it speaks without a driver."""

import asyncio
import base64
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from tests.browser.engines.page import Page, encoded, script
from tests.browser.process import BrowserProcess
from tests.support import DEADLINE


class FirefoxProcess(BrowserProcess):
    """Firefox; its endpoint is for WebDriver BiDi."""

    def __init__(self) -> None:
        options = "--headless", "--no-remote", "--remote-debugging-port=0", "--profile"
        super().__init__(
            "firefox-esr",
            lambda profile: (*options, profile),
            r"WebDriver BiDi listening on (\S+)",
        )


class FirefoxPage:
    """One tab."""

    def __init__(self, firefox: "Firefox", context: str) -> None:
        self._firefox = firefox
        self.context = context

    async def _call(self, method: str, **given: Any) -> Any:
        return await self._firefox.call(method, context=self.context, **given)

    async def goto(self, url: str) -> None:
        await self._call("browsingContext.navigate", url=url, wait="complete")

    async def evaluate(self, expression: str, arg: Any = None) -> Any:
        done = await self._firefox.call(
            "script.callFunction",
            functionDeclaration=script(expression),
            target={"context": self.context},
            arguments=[{"type": "string", "value": encoded(arg)}],
            awaitPromise=True,
        )
        assert done["type"] == "success", done
        return orjson.loads(done["result"]["value"])

    async def reload(self) -> None:
        await self._call("browsingContext.reload", wait="complete")

    async def screenshot(self, *, path: Path) -> None:
        taken = await self._call("browsingContext.captureScreenshot")
        path.write_bytes(base64.b64decode(taken["data"]))


class Firefox:
    """The window of a test's own, without tabs of other tests."""

    name = "firefox"

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._one_at_a_time = asyncio.Lock()
        self.contexts: list[str] = []

    async def call(self, method: str, **params: Any) -> Any:
        """Call a command of WebDriver BiDi: its result."""
        async with self._one_at_a_time, asyncio.timeout(2 * DEADLINE):
            number = next(self._numbers)
            await self._socket.send_json({"id": number, "method": method, "params": params})
            while (answer := await self._socket.receive_json()).get("id") != number:
                pass
        assert answer["type"] == "success", answer
        return answer["result"]

    async def new_page(self) -> Page:
        context = (await self.call("browsingContext.create", type="tab"))["context"]
        self.contexts.append(context)
        return FirefoxPage(self, context)

    async def hidden_page(self) -> Page:
        page = await self.new_page()
        await self.new_page()
        return page

    async def bring_to_front(self, page: Page) -> None:
        assert isinstance(page, FirefoxPage)
        await self.call("browsingContext.activate", context=page.context)

    async def resize(self, page: Page, width: int, height: int) -> None:
        assert isinstance(page, FirefoxPage)
        size = {"width": width, "height": height}
        await self.call("browsingContext.setViewport", context=page.context, viewport=size)

    async def go_back(self, page: Page) -> None:
        assert isinstance(page, FirefoxPage)
        await self.call("browsingContext.traverseHistory", context=page.context, delta=-1)

    async def set_offline(self, page: Page, offline: bool) -> None:
        assert isinstance(page, FirefoxPage)
        await self.call(
            "emulation.setNetworkConditions",
            networkConditions={"type": "offline"} if offline else None,
            contexts=[page.context],
        )


@asynccontextmanager
async def firefox_window(process: FirefoxProcess) -> AsyncIterator[Firefox]:
    """A session with the browser; its tabs are closed at the end."""
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{process.endpoint}/session", max_msg_size=0) as socket,
    ):
        firefox = Firefox(socket)
        await firefox.call(
            "session.new", capabilities={"alwaysMatch": {"acceptInsecureCerts": True}}
        )
        try:
            yield firefox
        finally:
            for context in firefox.contexts:
                await firefox.call("browsingContext.close", context=context)
            await firefox.call("session.end")
