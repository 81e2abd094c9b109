"""The report as a page: complete in itself, readable, and without what must not be shown."""

import re

import pytest
from click.testing import CliRunner

from gateway.cli.loadtest import loadtest
from gateway.tools.loadtest.findings import Findings, RunStats, sum_up
from gateway.tools.loadtest.ledger import Account, Ledger, Sighting
from gateway.tools.loadtest.page import Line, bar_chart, line_chart, render
from gateway.tools.loadtest.plan import Plan, Slo

PLAN = Plan(tabs=2, executions=1, events=3, rate=10, slow=0.5, storm=True)


def findings(lost: bool = False) -> Findings:
    accounts = [Account("own", 3, opened=True, ended=True) for _ in range(2)]
    ledger = Ledger(accounts)
    ledger.interruptions["<script>alert(1)</script>"] += 1
    for number in (1, 2, 3):
        for account in accounts:
            if not (lost and number == 2):
                ledger.note(account, Sighting("own", number, 0), number * 10**6)
        ledger.timeline.close(float(number), open_tabs=2)
    course = RunStats(3, 0, 0.5, 3.0, storm_seconds=2.5)
    return sum_up(ledger, course, [Slo.parse("p99=250ms")])


def test_says_what_was_found() -> None:
    """Verdict, counts, plan and objectives stand in the page; nothing of a stranger is markup, and
    the address is without its credentials."""
    page = render(findings(), PLAN, "https://user:hush@app.example.com/x?token=hush", [(1.0, 3)])
    for words in (
        "Every tab got each of its events once and in order.", "https://app.example.com/x",
        "2 tabs on 1 executions", "50% slow", "all dropped at once halfway", "p99=250ms",
        "met", "2.5 s", "&lt;script&gt;",
    ):  # fmt: skip
        assert words in page
    assert "hush" not in page
    for name in ("p50", "p95", "p99: met"):
        assert f"<span>latency, {name}</span>" in page
    assert 'class="tiles five"' in page
    assert len(re.findall('<div class="tile[ "]', page)) == 10
    own = render(findings(), PLAN, None, [])
    assert "<title>Load test</title>" in own
    assert "<script" not in page
    bad = render(findings(lost=True), PLAN, "http://x", [])
    assert "Not every tab got each of its events once and in order." in bad
    assert '<div class="tile bad"><b>2</b><span>lost</span>' in bad


def test_lines_are_where_the_values_are() -> None:
    """The highest value touches the highest line, zero the axis, and time runs to the right."""
    chart = line_chart("Tabs", "", [1.0, 2.0], [Line("open", [0, 100])])
    begin, *points = chart.partition('points="')[2].partition('"')[0].split()
    assert begin.partition(",")[0] == "62.0"
    (x1, y1), (x2, y2) = (map(float, point.split(",")) for point in points)
    assert x1 < x2
    assert y2 < y1
    assert f'y1="{y1:.1f}"' in chart
    assert f'y1="{y2:.1f}"' in chart


def test_nothing_to_show_is_no_trouble() -> None:
    """A run in which nothing happened has a page too."""
    assert bar_chart("latency", "ms", []) == ""
    assert "<svg" in line_chart("Tabs", "", [], [Line("open", [])])
    nothing = sum_up(Ledger([]), RunStats(0, 0, 0.0, 0.0))
    assert "<svg" in render(nothing, PLAN, "http://x", [])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--slo", "p98=1ms"], "p99=250ms"),
        (["--slow", "101"], "--slow"),
        (["--slow", "60", "--frozen", "60"], "more than all tabs"),
        (["--report", "/nowhere/at/all.html"], "--report"),
    ],
)
def test_wrong_usage(options: list[str], words: str) -> None:
    """What cannot be done as asked is said before anything is started."""
    result = CliRunner().invoke(loadtest, options)
    assert result.exit_code == 2, result.output
    assert words in result.output
