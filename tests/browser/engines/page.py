"""What a test needs of any browser; Playwright's `Page` has it for Chromium."""

from pathlib import Path
from typing import Any, Protocol

import orjson

_CALL = """async (given) => {
  const value = (%s);
  const result = typeof value === "function" ? await value(JSON.parse(given)) : await value;
  return JSON.stringify(result) ?? "null";
}"""


def script(expression: str) -> str:
    """A function of one JSON text, as `Page.evaluate` understands *expression*; it returns JSON."""
    return _CALL % expression


class Page(Protocol):
    """One tab."""

    async def goto(self, url: str) -> Any:
        """Go there and wait until it is loaded."""

    async def evaluate(self, expression: str, arg: Any = None) -> Any:
        """What *expression* is in the page; a function is called with *arg*, promises awaited."""

    async def reload(self) -> Any: ...

    async def screenshot(self, *, path: Path) -> Any: ...


class Engine(Protocol):
    """One browser window."""

    name: str

    async def new_page(self) -> Page:
        """A tab; it trusts any certificate."""

    async def hidden_page(self) -> Page:
        """A tab behind another one."""

    async def bring_to_front(self, page: Page) -> None:
        """Show a hidden tab."""

    async def resize(self, page: Page, width: int, height: int) -> None:
        """Give the page this many CSS pixels, or as few as the window can have."""

    async def go_back(self, page: Page) -> None:
        """Go back, without waiting for a page that is loaded again."""

    async def set_offline(self, page: Page, offline: bool) -> None:
        """Take the page's network away, or give it back."""


def encoded(value: Any) -> str:
    """*value* as the argument of `script`."""
    return orjson.dumps(value).decode()
