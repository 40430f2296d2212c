"""Figures of a report as SVG, which needs no script and no library on the page."""

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#bbbbbb", "#000000")
"""Paul Tol's bright scheme, which colour-blind readers can tell apart."""

VERDICT_COLOURS = {"holds": "#228833", "contradicted": "#cc3311", "not resolved": "#666666"}


def forest(rows: Sequence[tuple[str, float, tuple[float, float], str]], unit: str) -> str:
    """Names, differences, their intervals and a word that gives the colour, around a line at zero."""
    if not rows:
        return ""
    ends = [end for _, _, interval, _ in rows for end in interval if np.isfinite(end)]
    reach = 1.1 * max([abs(value) for _, value, _, _ in rows] + [abs(end) for end in ends] + [1e-9])
    left, width, height = 230, 480, 26

    def x(value: float) -> float:
        return left + width * (min(max(value, -reach), reach) + reach) / (2 * reach)

    bottom = height * len(rows) + 8
    parts = [f'<line class="zero" x1="{x(0)}" x2="{x(0)}" y1="0" y2="{bottom}"/>']
    for place, (name, value, (low, high), word) in enumerate(rows):
        y, colour = height * place + 18, VERDICT_COLOURS.get(word, "#4477aa")
        parts += [
            f'<text x="{left - 10}" y="{y + 4}" text-anchor="end">{escape(name)}</text>',
            f'<line x1="{x(low):.1f}" x2="{x(high):.1f}" y1="{y}" y2="{y}" stroke="{colour}" '
            f'stroke-width="2"/>',
            f'<circle cx="{x(value):.1f}" cy="{y}" r="4.5" fill="{colour}"/>',
        ]
    step = _round_step(reach)
    parts += _axis(
        [n * step for n in range(-int(reach / step), int(reach / step) + 1)], x, bottom, unit
    )
    return _svg(left + width + 60, bottom + 40, parts)


def _round_step(reach: float) -> float:
    """1, 2 or 5 times a power of ten, two to five of which reach as far."""
    power = 10.0 ** np.floor(np.log10(reach / 2))
    return float(max(step for step in (power, 2 * power, 5 * power) if 2 * step <= reach))


def curves(series: Mapping[str, Sequence[tuple[Sequence[float], Sequence[float]]]]) -> str:
    """One line per arm, the mean over its runs, in the band from the least to the largest run."""
    points = {name: _over_runs(runs) for name, runs in series.items() if runs}
    if not points:
        return ""
    last = max(float(epochs[-1]) for epochs, _ in points.values())
    top = max(float(values.max()) for _, values in points.values())
    low = min(float(values.min()) for _, values in points.values())
    left, width, height = 60, 560, 300

    def x(epoch: float) -> float:
        return left + width * epoch / max(last, 1e-9)

    def y(value: float) -> float:
        return 10 + height * (top - value) / max(top - low, 1e-9)

    parts = []
    for number, (name, (epochs, values)) in enumerate(points.items()):
        colour = COLOURS[number % len(COLOURS)]
        dash = ' stroke-dasharray="5 3"' if number >= len(COLOURS) else ""
        band = [*zip(epochs, values.max(0), strict=True)]
        band += [*zip(epochs, values.min(0), strict=True)][::-1]
        line = zip(epochs, values.mean(0), strict=True)
        parts += [
            f'<polygon points="{_points(band, x, y)}" fill="{colour}" opacity="0.12"/>',
            f'<polyline points="{_points(line, x, y)}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>',
            f'<text x="{left + width + 20}" y="{20 + 20 * number}" fill="{colour}">{escape(name)}</text>',
        ]
    for value in np.linspace(low, top, 5):
        parts.append(
            f'<text x="{left - 8}" y="{y(value) + 4:.1f}" text-anchor="end">{value:.2f}</text>'
        )
    parts += _axis([*np.linspace(0, last, 5)], x, height + 10, "epoch")
    return _svg(left + width + 260, height + 50, parts)


def _over_runs(
    runs: Sequence[tuple[Sequence[float], Sequence[float]]],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Epochs, and values [runs, epochs] up to the shortest run's end."""
    shortest = min(len(epochs) for epochs, _ in runs)
    values = np.array([values[:shortest] for _, values in runs], np.float64)
    return np.array(runs[0][0][:shortest], np.float64), values


def confusion(counts: NDArray[np.integer], names: Sequence[str]) -> str:
    """Rows are labels, columns predictions; a cell's shade is its fraction of the row."""
    side, left, top = 44, 120, 110
    fractions = counts / counts.sum(1, keepdims=True).clip(min=1)
    parts = []
    for i, name in enumerate(names):
        x, y = left + side * i + side / 2, top + side * i + side / 2
        parts += [
            f'<text x="{left - 8}" y="{y + 4}" text-anchor="end">{escape(name)}</text>',
            f'<text transform="translate({x + 4} {top - 8}) rotate(-60)">{escape(name)}</text>',
        ]
        for j, fraction in enumerate(fractions[i]):
            dark = "#fff" if fraction > 0.5 else "#222"
            parts.append(
                f'<rect x="{left + side * j}" y="{top + side * i}" width="{side}" height="{side}" '
                f'fill="#4477aa" fill-opacity="{fraction:.3f}"/>'
                f'<text x="{left + side * j + side / 2}" y="{y + 4}" text-anchor="middle" '
                f'fill="{dark}">{100 * fraction:.0f}</text>'
            )
    size = side * len(names)
    return _svg(left + size + 40, top + size + 10, parts)


def _points(points, x, y) -> str:  # type: ignore[no-untyped-def]
    return " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in points)


def _axis(values, x, bottom: float, unit: str) -> list[str]:  # type: ignore[no-untyped-def]
    ticks = [
        f'<text x="{x(v):.1f}" y="{bottom + 16}" text-anchor="middle">{v:.3g}</text>'
        for v in values
    ]
    middle = (x(values[0]) + x(values[-1])) / 2
    return [
        *ticks,
        f'<text x="{middle}" y="{bottom + 34}" text-anchor="middle">{escape(unit)}</text>',
    ]


def _svg(width: float, height: float, parts: Sequence[str]) -> str:
    head = f'<svg viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" role="img">'
    return head + "".join(parts) + "</svg>"
