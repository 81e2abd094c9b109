"""ARCHITECTURE.md: the table of tasks is the list of components, and every file it names exists."""

import re
from pathlib import Path

from gateway.app import Components
from tests.conftest import MakeSettings

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "gateway" / "ARCHITECTURE.md").read_text()
_BESIDE_THE_LIST = ["header watch", "watchdog"]
"""Started by whoever listens: `gateway.http.runner` and `gateway.server`."""


async def test_the_table_of_tasks(make_settings: MakeSettings) -> None:
    """It has every background task, in the order in which they are started."""
    settings = make_settings(
        redis_url="redis+sentinel://127.0.0.1:26379/main",
        ownership="registry",
        jwt_secret=None,
        jwks_url="https://issuer.example/keys",
        jwt_algorithms=("RS256",),
    )
    components = Components(settings)
    table = TEXT.partition("| Task | Does |")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| ([^|]+) \| ", table, re.MULTILINE)
    assert rows == [*components.components(), *_BESIDE_THE_LIST]
    await components.stop()


def test_links() -> None:
    """Every file that it links to is there."""
    for link in re.findall(r"\]\(([^)#]+)\)", TEXT):
        if "://" not in link:
            assert (ROOT / "gateway" / link).exists(), link
