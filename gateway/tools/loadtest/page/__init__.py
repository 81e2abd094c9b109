"""The report of a load test as one self-contained page: no script, nothing fetched, no token.

It is read in any browser, light or dark, and printed. It shows what the findings say and judges
nothing: that is `gateway.tools.loadtest.findings`.
"""

from collections.abc import Iterable
from html import escape
from importlib.resources import files
from string import Template
from urllib.parse import urlsplit

from gateway.tools.loadtest.findings import Findings
from gateway.tools.loadtest.page.charts import Line, bar_chart, line_chart
from gateway.tools.loadtest.plan import Plan


def render(findings: Findings, plan: Plan, url: str, histogram: list[tuple[float, int]]) -> str:
    """The page. *histogram*: upper ends in ms and counts of the latency."""
    template = Template(files(__name__).joinpath("page.html").read_text(encoding="utf-8"))
    return template.substitute(
        verdict=_verdict(findings),
        verdict_class="good" if findings.ok else "bad",
        where=escape(_without_credentials(url)),
        plan=escape(_plan(plan)),
        tiles="".join(_tile(*one) for one in _tiles(findings)),
        charts="".join(_charts(findings, histogram)),
        tables="".join(_tables(findings)),
    )


def _verdict(findings: Findings) -> str:
    if findings.ok:
        return "Every tab got each of its events once and in order."
    if not all(findings.objectives.values()):
        missed = [text for text, met in findings.objectives.items() if not met]
        return f"Missed: {escape(', '.join(missed))}."
    return "Not every tab got each of its events once and in order."


def _without_credentials(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl()


def _plan(plan: Plan) -> str:
    words = [
        f"{plan.tabs:,} tabs on {plan.executions:,} executions",
        f"{plan.rate:g} events published per second",
        f"{plan.events:,} events each",
    ]
    shares = {"slow": plan.slow, "frozen": plan.frozen, "loaded anew": plan.reload}
    words += [f"{share:.0%} {name}" for name, share in shares.items() if share]
    words += [f"opened over {plan.ramp_up:g} s"] if plan.ramp_up else []
    words += ["all dropped at once halfway"] if plan.storm else []
    return ", ".join(words)


def _tiles(findings: Findings) -> Iterable[tuple[str, str, bool | None]]:
    """Name, value, and whether it is good, bad or neither."""
    yield "events received", f"{findings.received:,}", None
    yield "lost", f"{findings.lost:,}", not findings.lost
    yield "duplicated", f"{findings.duplicated:,}", not findings.duplicated
    wrong = findings.out_of_order + findings.foreign + findings.misnumbered
    yield "out of order or foreign", f"{wrong:,}", not wrong
    yield "latency, 99 of 100", _ms(findings.latency_ms["p99"]), None
    yield "time to first event, 99 of 100", _ms(findings.first_event_ms["p99"]), None
    yield "reconnects", f"{findings.reconnects:,}", None
    if findings.storm_seconds is not None:
        yield "all back after the storm", f"{findings.storm_seconds:.1f} s", None


def _ms(milliseconds: float) -> str:
    if milliseconds >= 1000:
        return f"{milliseconds / 1000:.2f} s"
    return f"{milliseconds:.1f} ms" if milliseconds >= 1 else f"{milliseconds:.2f} ms"


def _tile(name: str, value: str, good: bool | None) -> str:
    kind = "" if good is None else " good" if good else " bad"
    return f'<div class="tile{kind}"><b>{escape(value)}</b><span>{escape(name)}</span></div>'


def _charts(findings: Findings, histogram: list[tuple[float, int]]) -> Iterable[str]:
    samples = findings.timeline
    times = [one.seconds for one in samples]
    yield line_chart("Tabs open", "", times, [Line("open", [one.open_tabs for one in samples])])
    rates = [one.events_per_second for one in samples]
    yield line_chart("Events received", "per second", times, [Line("events", rates)])
    yield line_chart(
        "Latency from PUBLISH to the tab",
        "ms",
        times,
        [
            Line("99 of 100", [one.p99_ms for one in samples]),
            Line("95 of 100", [one.p95_ms for one in samples]),
            Line("half", [one.p50_ms for one in samples]),
        ],
    )
    comebacks = [one.reconnects for one in samples]
    yield line_chart("Streams that came back", "", times, [Line("reconnects", comebacks)])
    yield bar_chart("How often which latency", "ms", histogram)


def _tables(findings: Findings) -> Iterable[str]:
    yield _table(
        "Tabs",
        {
            "opened": f"{findings.opened:,} of {findings.tabs:,}",
            "saw the end": f"{findings.ended:,} of {findings.tabs - findings.frozen:,}",
            "never read": f"{findings.frozen:,}",
            "loaded anew": f"{findings.reloads:,}",
            "opening took": f"{findings.opening_seconds:.1f} s",
        },
    )
    yield _table("Latency", {name: _ms(one) for name, one in findings.latency_ms.items()})
    yield _table(
        "Time to first event", {name: _ms(one) for name, one in findings.first_event_ms.items()}
    )
    yield _table(
        "Events",
        {
            "published": f"{findings.published:,} in {findings.publishing_seconds:.1f} s",
            "reached no subscription": f"{findings.unheard:,}",
            "expected at tabs": f"{findings.expected:,}",
            "not kept any more for a new page": f"{findings.trimmed:,}",
        },
    )
    if findings.objectives:
        words = {True: "kept to", False: "missed"}
        yield _table("Objectives", {text: words[met] for text, met in findings.objectives.items()})
    for name, counts in (
        ("Why streams ended early", findings.interruptions),
        ("What went wrong", findings.troubles),
    ):
        if counts:
            yield _table(name, {text: f"{count:,}" for text, count in counts.items()})
    yield _table(
        "The load test itself",
        {
            "CPU": f"{findings.own_cpu_seconds:.1f} s",
            "memory of a tab": f"{findings.own_kib_per_tab:.1f} KiB",
        },
    )


def _table(name: str, rows: dict[str, str]) -> str:
    lines = "".join(
        f"<tr><th>{escape(one)}</th><td>{escape(value)}</td></tr>" for one, value in rows.items()
    )
    return f"<section><h2>{escape(name)}</h2><table>{lines}</table></section>"
