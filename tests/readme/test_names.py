"""The names in the documents: what the README speaks of exists, and every link leads somewhere."""

import re
from pathlib import Path

import pytest

from gateway import __version__
from gateway.cli.main import COMMANDS
from gateway.events.sse_encoder import CloseReason
from gateway.settings import CONFIG_VARIABLE, Settings, variable
from tests.readme.blocks import README, ROOT, code

CONTRACT = ROOT / "gateway" / "CONTRACT.md"

DOCUMENTS = [
    path.relative_to(ROOT)
    for pattern in ("*.md", "gateway/**/*.md", "nginx/*.md", "systemd/*.md")
    for path in sorted(ROOT.glob(pattern))
]


def _named(pattern: str) -> set[str]:
    found = set(re.findall(pattern, code()))
    assert found, f"the README names nothing like {pattern}"
    return found


def test_settings() -> None:
    """Every setting that the README names is one."""
    known = {CONFIG_VARIABLE, *map(variable, Settings.model_fields)}
    assert _named(r"\b(?:GATEWAY_[A-Z_]+|REDIS_URL)\b") <= known


def test_subcommands() -> None:
    """Every subcommand of `sse-gateway` that the README names is one."""
    assert _named(r"\bsse-gateway ([a-z]\w*)") <= set(COMMANDS)


def test_make_targets() -> None:
    """Every target of make that the README names is one."""
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert _named(r"\bmake ([a-z]+)") <= set(targets)


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


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_links(document: Path) -> None:
    """Every link to a file or a heading leads there."""
    text = (ROOT / document).read_text()
    for target in re.findall(r"\]\(([^)]+)\)", text):
        path, _, anchor = target.partition("#")
        if "://" in path:
            continue
        file = (ROOT / document).parent / path if path else ROOT / document
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
