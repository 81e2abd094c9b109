"""OPERATIONS.md knows every metric, reason, error code and alert, and nothing that is not."""

import re
from pathlib import Path

import pytest

from gateway.admin.exposition import PREFIX
from gateway.events.reasons import CloseReason
from tests.conftest import StartGateway
from tests.operations.exposition import families

ROOT = Path(__file__).parents[2]
ALERTS = re.findall(r"alert: (\w+)", (ROOT / "config" / "alerts.yml").read_text())
TEXT = (ROOT / "gateway" / "OPERATIONS.md").read_text()


def section(title: str) -> str:
    """What stands under a heading of the second level."""
    found = re.search(rf"\n## {title}\n(.*?)(?=\n## |\Z)", TEXT, re.DOTALL)
    assert found is not None, title
    return found[1]


def first_column(title: str) -> set[str]:
    """The names in the first column of a section's table, without labels."""
    rows = [line for line in section(title).splitlines() if line.startswith("| `")]
    names = {name for row in rows for name in re.findall(r"`(\w+)[`{]", row.split(" | ")[0])}
    assert names, title
    return names


async def test_metrics(start_gateway: StartGateway) -> None:
    """Every metric that a gateway shows stands in the table, and no other."""
    gateway = await start_gateway(ownership="token", admin_port=0)
    shown = set()
    for family in await families(gateway):
        if family.name.startswith(PREFIX):
            total = "_total" if family.type == "counter" else ""
            shown.add(family.name.removeprefix(PREFIX) + total)
    assert len(shown) > 25
    assert first_column("Metrics") == shown


def test_reasons() -> None:
    """Every reason that a stream can end for stands in the table, and no other."""
    assert first_column("Reasons") == {"completed", "gone", *CloseReason}


def test_codes() -> None:
    """Every code that requests are refused with stands in the table, and no other."""
    named = first_column("Refusals") - {"http", "unavailable"}
    sources = "".join(file.read_text() for file in (ROOT / "gateway").rglob("*.py"))
    assert {name for name in named if f'"{name}"' not in sources} == set()
    refused = re.findall(r"^\| [45]\d\d.*", (ROOT / "README.md").read_text(), re.MULTILINE)
    readme = {name for row in refused for name in re.findall(r"`([a-z]+_[a-z_]+)`", row)}
    # Not counted: answered before a request is one, or named after aiohttp's own.
    uncounted = {"headers_too_large", "not_found", "method_not_allowed", "internal_error"}
    assert readme - uncounted - named == set()


@pytest.mark.parametrize(
    "alert", re.findall(r"alert: (\w+)", (ROOT / "config/alerts.yml").read_text())
)
def test_alerts(alert: str) -> None:
    """Every alert has a section that says what to do, step by step."""
    steps = section("Alerts").partition(f"### {alert}\n")[2].partition("###")[0]
    assert re.search(r"^1\. ", steps, re.MULTILINE), alert


def test_no_other_alerts() -> None:
    """No section is about an alert that there is not."""
    assert set(re.findall(r"^### (\w+)$", section("Alerts"), re.MULTILINE)) == set(ALERTS)
