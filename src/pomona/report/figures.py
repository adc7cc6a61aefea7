"""The report's still figures: parts of the page, without script, request or font."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from markupsafe import Markup, escape

from pomona.report.text import shown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

_LEFT, _BOTTOM, _TOP, _RIGHT = 46, 42, 12, 14
_MOST_POINTS = 300
_LETTER, _NARROW = 8.4, 400
_TICKS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000)
_MOST_SPLITS = 4


class _Curve(NamedTuple):
    """Cumulative explained variance, and where it was cut."""

    total: NDArray[np.float64]
    k: int
    name: str
    style: str

    @classmethod
    def of(cls, spectrum: NDArray[np.float64], k: int, name: str = "", style: str = "") -> _Curve:
        return cls(np.cumsum(spectrum) / spectrum.sum(), k, name, style)

    def told(self) -> str:
        """What it says."""
        return f"{self.name}{self.k} component{'' if self.k == 1 else 's'}, {self.kept:.1%}"

    @property
    def kept(self) -> float:
        """Share of the variance that the first k have."""
        return float(self.total[self.k - 1])


def scree(spectrum: NDArray[np.float64], k: int) -> Markup:
    """Cumulative explained variance against the number of components, with the chosen k.

    Drawn twice, for wide and for narrow windows, so that its letters keep their size.

    Args:
        spectrum: variances in falling order.
        k: components that were kept.
    """
    return _both_widths([_Curve.of(spectrum, k)])


def scree_pair(spectra: Sequence[NDArray[np.float64]], chosen: Sequence[int]) -> Markup:
    """The curves of two runs, the first one dashed.

    Args:
        spectra: variances in falling order.
        chosen: components that were kept.
    """
    names, styles = ("before: ", "after: "), (" before", "")
    return _both_widths(
        [_Curve.of(*each) for each in zip(spectra, chosen, names, styles, strict=True)]
    )


def scree_rows(spectrum: NDArray[np.float64], k: int) -> list[tuple[int, float, float]]:
    """The scree curve as rows: components, the last one's share, the share of all of them."""
    shares = spectrum / spectrum.sum()
    total = np.cumsum(shares)
    at = sorted({t for t in (*_TICKS, k, len(total)) if t <= len(total)})
    return [(t, float(shares[t - 1]), float(total[t - 1])) for t in at]


def _both_widths(curves: Sequence[_Curve]) -> Markup:
    return Markup('<div class="wide">{}</div><div class="narrow">{}</div>').format(
        _scree(curves, 640, 280), _scree(curves, 340, 250)
    )


def _scree(curves: Sequence[_Curve], width: int, height: int) -> Markup:
    count = max(len(curve.total) for curve in curves)
    inner_width, inner_height = width - _LEFT - _RIGHT, height - _TOP - _BOTTOM

    def x(component: float) -> float:
        if count == 1:
            return _LEFT + inner_width / 2
        return float(_LEFT + inner_width * np.log(component) / np.log(count))

    def y(share: float) -> float:
        return _TOP + inner_height * (1 - share)

    def drawn(place: int, curve: _Curve) -> str:
        own = len(curve.total)
        at = np.unique(np.round(np.geomspace(1, own, min(own, _MOST_POINTS))).astype(int))
        points = " ".join(f"{x(c):.1f},{y(curve.total[c - 1]):.1f}" for c in at)
        chosen_x, chosen_y = x(curve.k), y(curve.kept)
        # The curve rises from the left, so that the room below it to the right is free.
        room = width - _RIGHT - chosen_x > _LETTER * len(curve.told())
        anchor, shift = ("start", 8) if room else ("end", -8)
        return (
            f'<line class="chosen" x1="{chosen_x:.1f}" x2="{chosen_x:.1f}" y1="{chosen_y:.1f}" '
            f'y2="{height - _BOTTOM}"/><polyline class="line{curve.style}" points="{points}"/>'
            f'<circle class="dot" cx="{chosen_x:.1f}" cy="{chosen_y:.1f}" r="5"/>'
            f'<text class="mark" x="{chosen_x + shift:.1f}" '
            f'y="{chosen_y + 24 + 24 * place:.1f}" text-anchor="{anchor}">{curve.told()}</text>'
        )

    ticks = [t for t in _TICKS if t <= count and (width > _NARROW or str(t)[0] != "2")]
    title = "; ".join(f"{curve.told()} of the variance" for curve in curves)
    parts = [
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}">',
        *(
            f'<line class="grid" x1="{_LEFT}" x2="{width - _RIGHT}" y1="{y(s):.1f}" '
            f'y2="{y(s):.1f}"/><text class="tick" x="{_LEFT - 6}" y="{y(s) + 4:.1f}" '
            f'text-anchor="end">{s:.0%}</text>'
            for s in (0.0, 0.25, 0.5, 0.75, 1.0)
        ),
        *(
            f'<text class="tick" x="{x(t):.1f}" y="{height - _BOTTOM + 16}" '
            f'text-anchor="middle">{t}</text>'
            for t in ticks
        ),
        f'<text class="axis" x="{_LEFT + inner_width / 2:.0f}" y="{height - 6}" '
        f'text-anchor="middle">components kept (logarithmic)</text>',
        *(drawn(place, curve) for place, curve in enumerate(curves)),
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
    rows = [(name, {"": value}) for name, value in values]
    return stacked(rows, [""], unit, digits)


def stacked(
    rows: Sequence[tuple[str, Mapping[str, float]]],
    parts: Sequence[str],
    unit: str,
    digits: int = 0,
) -> Markup:
    """Horizontal bars of several parts, as a table with a column for each.

    Args:
        rows: name, and length by part.
        parts: in the order of drawing; where there are many, the last ones are joined.
        unit: of the lengths.
        digits: after the decimal point.
    """
    named = list(parts[:_MOST_SPLITS]) if len(parts) > _MOST_SPLITS + 1 else list(parts)
    joined = named + ["others"] * (len(named) < len(parts))
    several = len(joined) > 1

    def lengths(row: Mapping[str, float]) -> list[float]:
        found = [row.get(part, 0) for part in named]
        return found + [sum(row.values()) - sum(found)] * (len(joined) > len(named))

    def number(value: float) -> str:
        return f"{value:,.{digits}f}"

    largest = max((sum(row.values()) for _, row in rows), default=0) or 1
    body = Markup("").join(
        Markup(
            '<tr><th scope="row"><bdi>{}</bdi></th><td class="bar" aria-hidden="true">{}</td>{}'
            "<td>{}</td></tr>"
        ).format(
            shown(name) or "(none)",
            Markup("").join(
                Markup('<span class="part part{}" style="width:{}%"></span>').format(
                    place, f"{100 * length / largest:.2f}"
                )
                for place, length in enumerate(lengths(row))
                if length
            ),
            Markup("").join(
                Markup('<td class="split">{}</td>').format(number(length))
                for length in lengths(row)
            )
            if several
            else "",
            number(sum(row.values())),
        )
        for name, row in rows
    )
    heads = (
        Markup("").join(
            Markup(
                '<th scope="col" class="split"><span class="key part{}"></span><bdi>{}</bdi></th>'
            ).format(place, shown(part, 24) or "(no split)")
            for place, part in enumerate(joined)
        )
        if several
        else Markup("")
    )
    return Markup(
        '<table class="bars"><thead><tr><td></td><td></td>{}<th scope="col">{}</th></tr></thead>'
        "<tbody>{}</tbody></table>"
    ).format(heads, unit, body)
