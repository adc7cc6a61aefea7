"""The templates, and what keeps a page to itself: no request, no script but its own."""

from __future__ import annotations

import base64
import hashlib
import json
from functools import cache
from importlib.resources import files
from typing import Any

import jinja2
from markupsafe import Markup

from pomona.report.text import shown
from pomona.report.wording import duration


def policy(script: str = "") -> str:
    """What the page may do: nothing but its own style, pictures in it, and this one script."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    allowed = f"script-src 'sha256-{digest}'; " if script else ""
    return (
        f"default-src 'none'; {allowed}style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def in_script(data: Any) -> Markup:
    """JSON that may stand in a ``<script>`` element, whatever it contains."""
    text = json.dumps(data, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c"))  # noqa: S704 - nothing in it ends the element


@cache
def asset(name: str) -> Markup:
    """A style sheet or script of this package, to be put into a page as it is."""
    text = files("pomona.report").joinpath("templates", name).read_text(encoding="utf-8")
    return Markup(text)  # noqa: S704 - a file of this package


@cache
def environment() -> jinja2.Environment:
    """The templates, with what they say numbers and names by."""
    found = jinja2.Environment(
        loader=jinja2.PackageLoader("pomona.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters["count"] = lambda value: f"{value:,}"
    found.filters["seconds"] = duration
    found.filters["percent"] = lambda value: f"{value:.1%}"
    found.filters["mega"] = lambda value: f"{value / 1e6:,.0f} MB"
    found.filters["moment"] = lambda value: str(value).replace("T", " ").replace("Z", " UTC")
    found.filters["shown"] = shown
    return found
