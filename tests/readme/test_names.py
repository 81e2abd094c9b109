"""The names in the documents: what they speak of exists, and every link leads somewhere."""

import re
from pathlib import Path

import pytest

from gateway import __version__
from gateway.cli.main import COMMANDS
from gateway.events.sse_encoder import CloseReason
from gateway.settings import CONFIG_VARIABLE, Settings, variable
from tests.delivery.scenarios import SCENARIOS
from tests.readme.blocks import DOCUMENTS, README, ROOT, code

CONTRACT = ROOT / "gateway" / "CONTRACT.md"

MOST_LINES = 130
"""Of the README: what a reader takes in who has not decided yet."""


def _named(pattern: str) -> set[str]:
    """What the documents name, except for the changelog: it speaks of former names too."""
    texts = [code(document) for document in DOCUMENTS if document.name != "CHANGELOG.md"]
    found = set(re.findall(pattern, "\n".join(texts)))
    assert found, f"no document names anything like {pattern}"
    return found


def test_the_readme_is_short_and_reads_downwards() -> None:
    """No step sends the reader to another part of the page."""
    text = README.read_text()
    assert len(text.splitlines()) <= MOST_LINES
    assert not re.search(r"\b(below|above)\b", text)


def test_the_readme_counts_the_scenarios_of_make_delivery() -> None:
    assert f"{len(SCENARIOS)} kinds of failure" in README.read_text()


@pytest.mark.parametrize("scenario", ["delivery", "memory"])
def test_the_readme_rounds_what_was_measured(scenario: str) -> None:
    """Its figures beside other servers are those of the bench's table."""
    bench = (ROOT / "tests" / "bench" / "README.md").read_text()
    [row] = re.findall(rf"^\| `{scenario}`: .*$", bench, re.MULTILINE)
    cells = [re.search(r"[\d.]+", cell) for cell in row.split(" | ")[1:5]]
    gateway, mercure, centrifugo, nchan = (round(float(cell[0])) for cell in cells if cell)
    [claim] = [row for row in README.read_text().splitlines() if f"--only {scenario}'" in row]
    assert f" {gateway} " in claim
    assert f"nchan took {nchan}, Mercure {mercure}, Centrifugo {centrifugo} " in claim


def test_settings() -> None:
    """Every setting that a document names is one."""
    known = {CONFIG_VARIABLE, *map(variable, Settings.model_fields)}
    assert _named(r"\b(?:GATEWAY_[A-Z_]+|REDIS_URL)\b") <= known


def test_subcommands() -> None:
    """Every subcommand of `sse-gateway` that a document names is one."""
    assert _named(r"\bsse-gateway ([a-z]\w*)") <= set(COMMANDS)


def test_make_targets() -> None:
    """Every target of make that a document names is one."""
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert _named(r"\bmake ([a-z-]+)") <= set(targets)


def _rows(header: str) -> list[str]:
    """The rows of the contract's table with this *header*."""
    table = CONTRACT.read_text().partition(f"\n{header}\n")[2].partition("\n\n")[0]
    assert table, f"the contract has no table {header}"
    return table.splitlines()[1:]


def test_close_reasons() -> None:
    """Every reason in the contract's table is one of the closed list."""
    first_column = " ".join(row.split("|")[1] for row in _rows("| Reason | Meaning |"))
    named = re.findall(r"`(\w+)`", first_column)
    assert named
    assert set(named) <= set(CloseReason)


def test_error_codes() -> None:
    """Every error code in the contract's table is one that the gateway sends."""
    sources = "".join(path.read_text() for path in (ROOT / "gateway").rglob("*.py"))
    for row in _rows("| Status | `error` | |"):
        for name in re.findall(r"`([a-z_]+)`", row.split("|")[2]):
            # aiohttp's own errors are named after their reason.
            assert f'"{name}"' in sources or name in ("not_found", "method_not_allowed")


def test_heading_of_the_404() -> None:
    """The section that the gateway's 404 refers to exists under that very name."""
    assert "\n## Connect your own workers\n" in README.read_text()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links(document: Path) -> None:
    """Every link to a file or a heading leads there; so does every picture."""
    text = document.read_text()
    for target in re.findall(r"\]\(([^)]+)\)|(?:src|srcset)=\"([^\"]+)\"", text):
        path, _, anchor = "".join(target).partition("#")
        if "://" in path:
            continue
        file = document.parent / path if path else document
        assert file.exists(), target
        if anchor:
            assert anchor in _anchors(file), target


def _anchors(document: Path) -> set[str]:
    """The anchors that GitHub gives the headings."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_changelog() -> None:
    """The changelog begins with what is unreleased, then one dated section a version."""
    headings = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == "[Unreleased]"
    for heading in headings[1:]:
        assert re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", heading)
    assert re.fullmatch(r"\d+\.\d+\.\d+", __version__)
