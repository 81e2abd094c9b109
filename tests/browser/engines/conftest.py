"""Each test here runs in Chromium, and by `make browsers` in Firefox and in WebKit too."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.browser.conftest import window_of
from tests.browser.engines.chromium import Chromium
from tests.browser.engines.firefox import FirefoxProcess, firefox_window
from tests.browser.engines.page import Engine
from tests.browser.engines.room import Room, room_for
from tests.browser.engines.webkit import WebKitDriver, webkit_window
from tests.browser.react.conftest import built, react_origin
from tests.tools.dev.conftest import start_viewer

__all__ = ["built", "react_origin", "start_viewer"]


@pytest.fixture(scope="session")
def firefox_process() -> Iterator[FirefoxProcess]:
    process = FirefoxProcess()
    yield process
    process.stop()


@pytest.fixture(scope="session")
def webkit_driver() -> Iterator[WebKitDriver]:
    driver = WebKitDriver()
    yield driver
    driver.stop()


_OTHERS = [pytest.param(name, marks=pytest.mark.long) for name in ("firefox", "webkit")]


@pytest.fixture(params=["chromium", *_OTHERS])
async def engine(request: pytest.FixtureRequest) -> AsyncIterator[Engine]:
    """A browser's window."""
    if request.param == "chromium":
        async with window_of(request.getfixturevalue("chromium")) as window:
            yield Chromium(window)
    elif request.param == "firefox":
        async with firefox_window(request.getfixturevalue("firefox_process")) as firefox:
            yield firefox
    else:
        async with webkit_window(request.getfixturevalue("webkit_driver")) as webkit:
            yield webkit


@pytest.fixture
async def room(react_origin: str, redis_url: str) -> AsyncIterator[Room]:
    """A gateway to be started, for the pages of an application."""
    async with room_for(react_origin, redis_url) as room:
        yield room
