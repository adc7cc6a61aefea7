"""The report's figures as SVG that is part of the page: no script, no request, no font."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup, escape

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_WIDTH, _HEIGHT = 640, 260
_LEFT, _BOTTOM, _TOP, _RIGHT = 46, 40, 12, 12
_MOST_POINTS = 300
_MARK_WIDTH = 170


def scree(spectrum: NDArray[np.float64], k: int) -> Markup:
    """Cumulative explained variance against the number of components, with the chosen k.

    Args:
        spectrum: variances in falling order.
        k: components that were kept.
    """
    total = np.cumsum(spectrum) / spectrum.sum()
    count = len(total)
    at = np.unique(np.round(np.geomspace(1, count, min(count, _MOST_POINTS))).astype(int))
    inner_width, inner_height = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM

    def x(component: float) -> float:
        if count == 1:
            return _LEFT + inner_width / 2
        return float(_LEFT + inner_width * np.log(component) / np.log(count))

    def y(share: float) -> float:
        return _TOP + inner_height * (1 - share)

    points = " ".join(f"{x(c):.1f},{y(total[c - 1]):.1f}" for c in at)
    chosen_x, chosen_y = x(k), y(total[k - 1])
    # The curve rises from the left, so that the room below it to the right is free.
    room = _WIDTH - _RIGHT - chosen_x > _MARK_WIDTH
    anchor, shift = ("start", 8) if room else ("end", -8)
    ticks = [t for t in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000) if t <= count]
    title = f"{k} of {count} components keep {total[k - 1]:.1%} of the variance"
    parts = [
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)}">',
        *(
            f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y(s):.1f}" '
            f'y2="{y(s):.1f}"/><text class="tick" x="{_LEFT - 6}" y="{y(s) + 4:.1f}" '
            f'text-anchor="end">{s:.0%}</text>'
            for s in (0.0, 0.25, 0.5, 0.75, 1.0)
        ),
        *(
            f'<text class="tick" x="{x(t):.1f}" y="{_HEIGHT - _BOTTOM + 16}" '
            f'text-anchor="middle">{t}</text>'
            for t in ticks
        ),
        f'<text class="axis" x="{_LEFT + inner_width / 2:.0f}" y="{_HEIGHT - 6}" '
        f'text-anchor="middle">components (logarithmic)</text>',
        f'<line class="chosen" x1="{chosen_x:.1f}" x2="{chosen_x:.1f}" y1="{chosen_y:.1f}" '
        f'y2="{_HEIGHT - _BOTTOM}"/>',
        f'<polyline class="line" points="{points}"/>',
        f'<circle class="dot" cx="{chosen_x:.1f}" cy="{chosen_y:.1f}" r="5"/>',
        f'<text class="mark" x="{chosen_x + shift:.1f}" y="{chosen_y + 22:.1f}" '
        f'text-anchor="{anchor}">{k} components, {total[k - 1]:.1%}</text>',
        "</svg>",
    ]
    return Markup("".join(parts))  # noqa: S704 - numbers, and a title that is escaped


def bars(values: Sequence[tuple[str, float]], unit: str, digits: int = 0) -> Markup:
    """Horizontal bars as a table that reads well without its bars.

    Args:
        values: name and length.
        unit: of the lengths.
        digits: after the decimal point.
    """
    largest = max((value for _, value in values), default=0) or 1
    rows = Markup("").join(
        Markup(
            '<tr><th scope="row">{}</th><td class="bar"><span style="width:{}%"></span></td>'
            "<td>{}</td></tr>"
        ).format(name or "(none)", f"{100 * value / largest:.1f}", f"{value:,.{digits}f}")
        for name, value in values
    )
    return Markup(
        '<table class="bars"><thead><tr><th></th><th></th><th>{}</th></tr></thead>'
        "<tbody>{}</tbody></table>"
    ).format(unit, rows)
