"""One page with every client of a stream; each follows an execution of its own."""

from pathlib import Path
from typing import Any

from gateway.access.tokens import issue
from tests.browser.dev_page import ARTEFACTS
from tests.browser.engines.page import Page
from tests.readme.blocks import CLIENT, blocks
from tests.support import SECRET, eventually

NAMES = ("native", "fetch", "event-source", "polling", "react")
_SCRIPT = Path(__file__).with_name("clients.js").read_text()


def snippet() -> str:
    """The function for a native EventSource, as the documents have it."""
    shown = blocks(CLIENT, "js")
    [found] = [block.text for block in shown if "function followExecution" in block.text]
    return found


class Clients:
    """The clients of one page."""

    def __init__(self, page: Page, origin: str, *names: str) -> None:
        """With *names*, these clients only."""
        self.page = page
        self.names = names or NAMES
        self._origin = origin

    async def follow(self, base: str, swallowing: str) -> None:
        """Open the page and follow; the gateway is at *base* and behind a proxy that swallows."""
        await self.page.goto(self._origin)
        await self.run(base, swallowing)

    async def run(self, base: str, swallowing: str) -> None:
        """The same in the page that is open."""
        # Globally: `evaluate` calls a function, and this declares one.
        text = f"{snippet()}\nwindow.followExecution = followExecution;\n{_SCRIPT}"
        await self.page.evaluate("text => void (0, eval)(text)", text)
        token = issue(SECRET, organization_id="acme")
        given = {"base": base, "swallowing": swallowing, "token": token, "names": self.names}
        await self.page.evaluate("given => follow(given)", given)

    async def _look(self) -> dict[str, Any]:
        seen: dict[str, Any] = await self.page.evaluate("look()")
        return seen

    async def see(self, *numbers: int) -> None:
        """Wait until each has seen these, in order, and nothing else."""

        async def all_have() -> bool:
            seen = (await self._look())["seen"]
            return all(seen[name] == list(numbers) for name in self.names)

        await self._wait(all_have)

    async def are(self, connection: str) -> None:
        """Wait until each that has a connection to show has this one; what polls is not `live`
        but `polling`."""
        wanted = dict.fromkeys(set(self.names) - {"native"}, connection)
        if connection == "live" and "polling" in wanted:
            wanted["polling"] = "polling"

        async def all_are() -> bool:
            return bool((await self._look())["connections"] == wanted)

        await self._wait(all_are)

    async def _wait(self, condition: Any) -> None:
        try:
            await eventually(condition)
        except AssertionError as error:
            error.add_note(str(await self._look()))
            raise

    async def keep(self, name: str) -> None:
        """Keep a picture, to look at."""
        ARTEFACTS.mkdir(exist_ok=True)
        await self.page.screenshot(path=ARTEFACTS / f"{name}.png")
