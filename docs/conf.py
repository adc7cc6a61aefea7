"""How Sphinx builds these pages; nothing is fetched while it does."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pomona

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "Pomona"
author = "The Pomona authors"
copyright = author  # noqa: A001 - Sphinx's name
version = release = pomona.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
source_suffix = {".md": "markdown"}

myst_heading_anchors = 3
highlight_language = "none"
suppress_warnings = ["myst.header"]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
python_maximum_signature_line_length = 88
autodoc_type_aliases = {"NDArray": "numpy.ndarray"}
napoleon_numpy_docstring = False
napoleon_use_ivar = True

html_theme = "pydata_sphinx_theme"
html_title = "Pomona"
templates_path = ["_templates"]
html_static_path = ["_static"]
html_css_files = ["pomona.css"]
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "show_prev_next": False,
    "navbar_center": [],
    "footer_start": ["copyright"],
    "footer_end": [],
    "secondary_sidebar_items": ["page-toc"],
}
html_sidebars = {"**": ["pages"]}

_OUTSIDE = re.compile(r"\[([^\]]+)\]\(\.\./([^)#]+)[^)]*\)")


def _name_files_outside(app: Sphinx, page: str, source: list[str]) -> None:
    """A link to a file of the repository that is no page becomes its name."""
    here = (Path(app.srcdir) / page).parent

    def named(match: re.Match[str]) -> str:
        file = (here / ".." / match[2]).resolve()
        inside = file.is_relative_to(Path(app.srcdir).resolve())
        if inside or not file.exists():
            return match[0]
        return f"{match[1]} (`{file.relative_to(Path(app.srcdir).resolve().parent)}`)"

    source[0] = _OUTSIDE.sub(named, source[0])


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", _name_files_outside)
