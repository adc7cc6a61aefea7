"""What the report says of the recogniser: its evaluation, drawn and in plain words."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

from pomona.recognition.saving import EVALUATION, FOLDER
from pomona.storage import NotFound, NotPermitted, ReadFailed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pomona.storage import Store

_SIDE = 300
_LEFT, _BOTTOM, _TOP, _RIGHT = 44, 40, 10, 26
_PAIRS, _WORST, _LOOKALIKES, _CLASSES = 12, 8, 4, 200
_MUCH = 0.05
"""Share of seen test images from which the report says that the test flatters."""


def recogniser_facts(store: Store) -> dict[str, Any] | None:
    """What the template needs; None where OUTPUT has no evaluation that can be read."""
    try:
        found = json.loads(store.read(FOLDER + EVALUATION))
        return _facts(found)
    except (NotFound, NotPermitted, ReadFailed, ValueError, KeyError, TypeError):
        return None


def _facts(found: dict[str, Any]) -> dict[str, Any]:
    duplicates, count = found["duplicates"], found["images"]
    seen = duplicates["exact"] + duplicates["near"]
    classes = sorted(
        (row for row in found["classes"] if row["recall"]["images"]),
        key=lambda row: (row["recall"]["share"], row["label"]),
    )
    confusions, worst = found["confusions"][:_PAIRS], found["worst"][:_WORST]
    lookalikes = duplicates["pairs"][:_LOOKALIKES]
    return {
        **found,
        "pictured": _pictured(confusions, worst, lookalikes),
        "lookalikes": lookalikes,
        "seen": seen,
        "flatters": seen > _MUCH * count,
        "tested": classes[:_CLASSES],
        "tested_left": max(0, len(classes) - _CLASSES),
        "confusions": confusions,
        "worst": worst,
        "reliability_chart": reliability(found["reliability"]),
        "coverage_chart": coverage(found["risk_coverage"]),
    }


def _pictured(
    confusions: Sequence[dict[str, Any]],
    worst: Sequence[dict[str, Any]],
    lookalikes: Sequence[dict[str, Any]],
) -> list[str]:
    """Paths of the images that the template shows, the most important first."""
    paths = [path for row in confusions for path in (row["path"], row["answer_path"])]
    paths += [row["path"] for row in worst]
    paths += [path for row in lookalikes for path in (row["path"], row["training"])]
    return list(dict.fromkeys(path for path in paths if path))


def reliability(bins: Sequence[dict[str, Any]]) -> Markup:
    """Share of right answers against the confidence they were given with, with intervals."""
    marks = []
    for row in bins:
        x, y = _x(row["confidence"]), _y(row["share"])
        marks.append(
            f'<line class="line" x1="{x:.1f}" x2="{x:.1f}" y1="{_y(row["low"]):.1f}" '
            f'y2="{_y(row["high"]):.1f}"/><circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="4">'
            f"<title>{row['images']} images: {row['confidence']:.0%} confident, "
            f"{row['share']:.0%} right</title></circle>"
        )
    diagonal = f'<line class="chosen" x1="{_x(0)}" y1="{_y(0)}" x2="{_x(1)}" y2="{_y(1)}"/>'
    return _chart("how sure it was", "how often it was right", diagonal + "".join(marks))


def coverage(points: Sequence[dict[str, Any]]) -> Markup:
    """Share of right answers among the surest, against how many of the images these are."""
    line = " ".join(f"{_x(p['coverage']):.1f},{_y(p['accuracy']):.1f}" for p in points)
    dots = "".join(
        f'<circle class="dot" cx="{_x(p["coverage"]):.1f}" cy="{_y(p["accuracy"]):.1f}" r="4">'
        f"<title>the surest {p['coverage']:.0%}: {p['accuracy']:.1%} right</title></circle>"
        for p in points
    )
    drawn = f'<polyline class="line" points="{line}"/>{dots}'
    return _chart("share of the images that it answers", "how often it is right", drawn)


def _x(share: float) -> float:
    return _LEFT + (_SIDE - _LEFT - _RIGHT) * share


def _y(share: float) -> float:
    return _TOP + (_SIDE - _TOP - _BOTTOM) * (1 - share)


def _chart(across: str, up: str, drawn: str) -> Markup:
    ticks = (0.0, 0.25, 0.5, 0.75, 1.0)
    parts = [
        f'<svg viewBox="0 0 {_SIDE} {_SIDE}" role="img" '
        f'aria-label="{escape(up)} against {escape(across)}">',
        *(
            f'<line class="grid" x1="{_LEFT}" x2="{_SIDE - _RIGHT}" y1="{_y(t):.1f}" '
            f'y2="{_y(t):.1f}"/><text class="tick" x="{_LEFT - 6}" y="{_y(t) + 4:.1f}" '
            f'text-anchor="end">{t:.0%}</text><text class="tick" x="{_x(t):.1f}" '
            f'y="{_SIDE - _BOTTOM + 16}" text-anchor="middle">{t:.0%}</text>'
            for t in ticks
        ),
        drawn,
        f'<text class="axis" x="{_x(0.5):.0f}" y="{_SIDE - 6}" text-anchor="middle">{across}'
        "</text></svg>",
    ]
    return Markup("".join(parts))  # noqa: S704 - numbers, and words of this module
