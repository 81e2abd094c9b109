"""ARCHITECTURE.md against the code."""

import re

from gateway.components import Components
from gateway.http.connection import Connections
from gateway.settings import load
from tests.readme.blocks import ROOT

_TABLE = r"^\| {} \| .*\n\|---.*\n((?:\|.*\n)+)"
_SETTINGS = {
    "redis_url": "redis+sentinel://localhost/events",
    "jwks_url": "https://issuer.example/keys",
    "jwt_algorithms": "RS256",
}
"""Under which everything that runs regularly exists."""


def rows(first: str) -> list[list[str]]:
    """The cells of the table whose first column is called *first*."""
    text = (ROOT / "gateway" / "ARCHITECTURE.md").read_text()
    table = re.search(_TABLE.format(first), text, re.MULTILINE)
    assert table is not None
    cells = [row.removeprefix("| ").split(" | ") for row in table[1].splitlines()]
    return [[name.split(",")[0], *others] for name, *others in cells]


async def test_every_background_task_is_described_in_start_order() -> None:
    """The watchdog is started elsewhere, under systemd."""
    described = [name for name, *_ in rows("Task")]
    assert described == [*Components(load(None, **_SETTINGS)).tasks(), "watchdog"]


async def test_every_regular_function_is_described_with_its_period() -> None:
    """In the order in which they are registered; the header watch with the runner."""
    # With all that there may be.
    watches = {"subscription": "execution", "record_bare_events": "off"}
    cluster = {"redis_url": "redis+cluster://localhost:6379"}
    components = Components(load(None, **{**_SETTINGS, **watches, **cluster}))
    functions = {name: float(every.removesuffix(" s")) for name, every, _ in rows("Function")}
    assert functions.pop("header watch") == Connections(10).tick_seconds
    registered = {name: seconds for name, (seconds, _) in components.ticker.functions.items()}
    assert list(functions.items()) == list(registered.items())
    described = [name for name, *_ in rows("Question")]
    # Each is of one kind of subscription.
    hears_all = Components(load(None, **{**_SETTINGS, **cluster}))
    for one, other in ((components, "agreed node"), (hears_all, "moving slots")):
        assert [name for name in described if name != other] == list(one.questions.askers)
