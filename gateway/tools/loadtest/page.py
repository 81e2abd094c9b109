"""The report of a load test as one self-contained page: no script, nothing fetched, no token.

The charts are SVG, drawn here: a plotting library would be larger than the gateway.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from string import Template
from urllib.parse import urlsplit

from gateway.tools.loadtest.findings import Findings, describe_result
from gateway.tools.loadtest.plan import Plan


def render(
    findings: Findings, plan: Plan, url: str | None, histogram: list[tuple[float, int]]
) -> str:
    """The page. *url*: of the gateway, if it is not the load test's own. *histogram*: upper ends in
    ms and counts of the latency."""
    template = Template(files(__package__).joinpath("page.html").read_text(encoding="utf-8"))
    return template.substitute(
        result=escape(describe_result(findings)),
        result_class="good" if findings.ok else "bad",
        title=escape("Load test" if url is None else f"Load test of {_without_credentials(url)}"),
        columns="five" if findings.storm_seconds is not None else "four",
        plan=escape(_plan(plan)),
        tiles="".join(_tile(*one) for one in _tiles(findings)),
        charts="".join(_charts(findings, histogram)),
        tables="".join(_tables(findings)),
    )


def _without_credentials(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl()


def _plan(plan: Plan) -> str:
    parts = [
        f"{plan.tabs:,} tabs on {plan.executions:,} executions",
        f"{plan.rate:g} events published per second",
        f"{plan.events:,} events each",
    ]
    shares = {"slow": plan.slow, "frozen": plan.frozen, "reloaded": plan.reload}
    parts += [f"{share:.0%} {name}" for name, share in shares.items() if share]
    parts += [f"opened over {plan.ramp_up:g} s"] if plan.ramp_up else []
    parts += ["all dropped at once halfway"] if plan.storm else []
    return ", ".join(parts)


def _tiles(findings: Findings) -> Iterable[tuple[str, str, bool | None]]:
    """Name, value, and whether it is good, bad or neither."""
    yield "events received", f"{findings.received:,}", None
    yield "lost", f"{findings.lost:,}", not findings.lost
    yield "duplicated", f"{findings.duplicated:,}", not findings.duplicated
    wrong = findings.out_of_order + findings.foreign + findings.misnumbered
    yield "out of order or foreign", f"{wrong:,}", not wrong
    for name in ("p50", "p95", "p99"):
        met = _objectives(findings, f"{name}=")
        yield f"latency, {name}{_met(met)}", _ms(findings.latency_ms[name]), met
    met = _objectives(findings, "first=")
    yield f"time to first event, p99{_met(met)}", _ms(findings.first_event_ms["p99"]), met
    if findings.storm_seconds is not None:
        yield "all back after the storm", f"{findings.storm_seconds:.1f} s", None
        yield "reconnects", f"{findings.reconnects:,}", None


def _objectives(findings: Findings, name: str) -> bool | None:
    """Whether all objectives of this name were met; None if there are none."""
    found = [met for text, met in findings.objectives.items() if text.startswith(name)]
    return all(found) if found else None


_MET = {True: "met", False: "missed"}


def _met(met: bool | None) -> str:
    return "" if met is None else f": {_MET[met]}"


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
            Line("p99", [one.p99_ms for one in samples]),
            Line("p95", [one.p95_ms for one in samples]),
            Line("median", [one.p50_ms for one in samples]),
        ],
    )
    reconnects = [one.reconnects for one in samples]
    yield line_chart("Reconnects", "", times, [Line("reconnects", reconnects)])
    yield bar_chart("Histogram of the latency", "ms", histogram)


def _tables(findings: Findings) -> Iterable[str]:
    yield _table(
        "Tabs",
        {
            "opened": f"{findings.opened:,} of {findings.tabs:,}",
            "received the end": f"{findings.ended:,} of {findings.tabs - findings.frozen:,}",
            "never read": f"{findings.frozen:,}",
            "reloaded": f"{findings.reloads:,}",
            "reconnects": f"{findings.reconnects:,}",
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
            "trimmed before a reload": f"{findings.trimmed:,}",
        },
    )
    if findings.objectives:
        yield _table("Objectives", {text: _MET[met] for text, met in findings.objectives.items()})
    for name, counts in (
        ("Why streams ended early", findings.interruptions),
        ("Problems", findings.troubles),
    ):
        if counts:
            yield _table(name, {text: f"{count:,}" for text, count in counts.items()})
    yield _table(
        "The load test itself",
        {
            "CPU": f"{findings.own_cpu_seconds:.1f} s",
            "memory per tab": f"{findings.own_kib_per_tab:.1f} KiB",
        },
    )


def _table(name: str, rows: dict[str, str]) -> str:
    lines = "".join(
        f"<tr><th>{escape(one)}</th><td>{escape(value)}</td></tr>" for one, value in rows.items()
    )
    return f"<section><h2>{escape(name)}</h2><table>{lines}</table></section>"


_WIDTH, _HEIGHT = 720, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 14, 14, 30
_LINES = 4
"""Horizontal lines above the axis, approximately."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a chart: a value for each time."""

    name: str
    values: Sequence[float]


def line_chart(title: str, unit: str, times: Sequence[float], lines: Sequence[Line]) -> str:
    """*lines* over *times* (seconds) from the beginning of the run, where all are zero."""
    top = _ceiling(max((max(line.values, default=0) for line in lines), default=0))
    end = max(times, default=0) or 1
    body = [_grid(top), _seconds(end)]
    for number, line in enumerate(lines):
        points = " ".join(
            f"{_x(time / end):.1f},{_y(value / top):.1f}"
            for time, value in zip((0.0, *times), (0.0, *line.values), strict=True)
        )
        body.append(f'<polyline class="line s{number}" points="{points}"/>')
    legend = "".join(
        f'<span><i class="s{number}"></i>{escape(line.name)}</span>'
        for number, line in enumerate(lines)
    )
    return _figure(title, unit, body, legend if len(lines) > 1 else "")


def bar_chart(title: str, unit: str, bars: Sequence[tuple[float, int]]) -> str:
    """*bars*: the upper end of each and its count, on a logarithmic scale of ends."""
    if not bars:
        return ""
    top = _ceiling(max(count for _, count in bars))
    width = (_WIDTH - _LEFT - _RIGHT) / len(bars)
    body = [_grid(top)]
    for number, (end, count) in enumerate(bars):
        y = _y(count / top)
        body.append(
            f'<rect class="bar" x="{_LEFT + number * width:.1f}" y="{y:.1f}" '
            f'width="{max(width - 1, 1):.1f}" height="{_y(0) - y:.1f}">'
            f"<title>up to {_number(end)} {escape(unit)}: {count:,}</title></rect>"
        )
    body += [
        _below((number + 1) / len(bars), f"{bars[number][0]:.2g}")
        for number in range(0, len(bars), max(1, len(bars) // 8))
    ]
    return _figure(title, f"{unit}, logarithmic", body, "")


def _figure(title: str, unit: str, body: list[str], legend: str) -> str:
    shown = f"{escape(title)} <small>{escape(unit)}</small>" if unit else escape(title)
    return (
        f'<figure><figcaption>{shown}<span class="legend">{legend}</span></figcaption>'
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)}">'
        f"{''.join(body)}</svg></figure>"
    )


def _grid(top: float) -> str:
    """Horizontal lines with their values, from zero to *top*."""
    step = _step(top)
    count = round(top / step)
    return "".join(
        f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{_y(n / count):.1f}" '
        f'y2="{_y(n / count):.1f}"/><text class="left" x="{_LEFT - 8}" '
        f'y="{_y(n / count) + 4:.1f}">{_number(n * step)}</text>'
        for n in range(count + 1)
    )


def _seconds(end: float) -> str:
    step = _step(end, 8)
    return "".join(
        _below(n * step / end, f"{_number(n * step)} s") for n in range(math.floor(end / step) + 1)
    )


def _below(share: float, text: str) -> str:
    return f'<text class="below" x="{_x(share):.1f}" y="{_HEIGHT - 8}">{text}</text>'


def _x(share: float) -> float:
    return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)


def _y(share: float) -> float:
    return _HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM)


def _step(top: float, lines: int = _LINES) -> float:
    """1, 2 or 5 times a power of ten, so that about *lines* of it make *top*."""
    rough = top / lines
    power = float(10 ** math.floor(math.log10(rough)))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)


def _ceiling(top: float) -> float:
    """*top* rounded up to a whole number of steps; never zero."""
    top = top or 1
    step = _step(top)
    return math.ceil(top / step - 1e-9) * step


def _number(value: float) -> str:
    if value >= 10_000:
        return f"{value / 1000:,.4g}k"
    return f"{value:,.4g}" if value < 1000 else f"{value:,.0f}"
