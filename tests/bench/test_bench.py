"""The bench: what it counts is there, and what it writes can be read. No speed is judged here."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench.figures import Figure, percentile, ratios, to_json
from tests.bench.processes import ROOT, CannotMeasure, cores
from tests.bench.scenarios import SCENARIOS
from tests.support import missing

QUICK = ["delivery", "unwatched", "opening", "churn"]


def test_quick_run(tmp_path: Path) -> None:
    """A short run of some scenarios yields their figures, as JSON, and compares with it; a scenario
    ends only when every event it published has arrived."""
    try:
        cores()
    except CannotMeasure as error:
        missing(str(error))
    before = tmp_path / "before.json"
    first = Figure("opening", 1.0, "streams/s", least=4000)
    before.write_text(json.dumps(to_json([first], {})))
    after = tmp_path / "after.json"
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench", "--quick", "--only", *QUICK,
         "--json", str(after), "--compare", str(before)],
        cwd=ROOT, capture_output=True, text=True, timeout=50, check=False,
        env={"COLUMNS": "200", "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    written = json.loads(after.read_text())
    values = {one["name"]: one["value"] for one in written["figures"]}
    assert values["delivery / floor"] > 0
    assert values["unwatched events with ids, as they came through"] > 0
    assert "x before" in done.stdout
    assert f"{values['opening']:.2f}" in done.stdout, "compared with 1 stream/s before"
    assert written["machine"]["python"].startswith("3.")


def test_figures_and_targets() -> None:
    """A figure reaches its target or does not, in either direction, or has none."""
    assert Figure("a", 1.5, "x", most=1.5).met is True
    assert Figure("a", 1.6, "x", most=1.5).met is False
    assert Figure("a", 4000, "x", least=4000).met is True
    assert Figure("a", 3999, "x", least=4000).met is False
    assert Figure("a", 1, "x").met is None


@pytest.mark.parametrize(("share", "expected"), [(0.5, 500), (0.99, 990), (0.999, 999), (1, 1000)])
def test_percentile(share: float, expected: int) -> None:
    """The nearest rank, whatever the order."""
    values = [float(n) for n in range(1000, 0, -1)]
    assert percentile(values, share) == expected
    assert percentile([7.0], share) == 7.0


def test_ratios() -> None:
    """A figure is compared with the one of its name; one that was 0 or is new, with nothing."""
    before = to_json([Figure("a", 2, "x"), Figure("zero", 0, "x")], {})
    after = [Figure("a", 3, "x"), Figure("zero", 1, "x"), Figure("new", 1, "x")]
    assert ratios(after, before) == {"a": 1.5}


def test_all_scenarios_are_played() -> None:
    """Each scenario's module is in the list."""
    modules = {one.stem for one in Path(__file__).with_name("scenarios").glob("[a-z]*.py")}
    assert {play.__module__.rpartition(".")[2] for play in SCENARIOS.values()} == modules
