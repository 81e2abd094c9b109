"""Line and bar charts as SVG, drawn here: a plotting library is larger than the gateway.

Pure text; colours are the page's, by class.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_WIDTH, _HEIGHT = 720, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 14, 14, 30
_LINES = 4
"""Horizontal lines above the axis, about so many."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a chart: a value for each moment."""

    name: str
    values: Sequence[float]


def line_chart(title: str, unit: str, times: Sequence[float], lines: Sequence[Line]) -> str:
    """*lines* over *times* (seconds), from zero up."""
    top = _ceiling(max((max(line.values, default=0) for line in lines), default=0))
    end = max(times, default=0) or 1
    body = [_grid(top), _seconds(end)]
    for number, line in enumerate(lines):
        points = " ".join(
            f"{_x(time / end):.1f},{_y(value / top):.1f}"
            for time, value in zip(times, line.values, strict=True)
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
    for number in range(0, len(bars), max(1, len(bars) // 8)):
        place = (number + 1) / len(bars)
        body.append(_below(place, f"{bars[number][0]:.2g}"))
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
