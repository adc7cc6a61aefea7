"""Small pictures for the page: read from INPUT when it is written, many to a sheet.

A sheet is one WebP of equal squares, row by row, so that hundreds of pictures cost one data URI.
What is read is bounded in number, in bytes of the page and in seconds, and what cannot be read is
counted, with why: INPUT may be gone, or closed to whoever writes the report.
"""

from __future__ import annotations

import base64
import io
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import simplejpeg
from markupsafe import Markup
from PIL import Image

from pomona.errors import PomonaError
from pomona.images.decoding import DecodeLimits, RejectedImage, decode
from pomona.images.finding import Finder
from pomona.images.limits import check_pixels
from pomona.images.listing import open_source
from pomona.schema import Reason
from pomona.storage import Changed, NotFound, NotPermitted, open_store

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from pomona.images.listing import Source
    from pomona.storage import Location, Outcome, Wanted

_COLUMNS = 12
_PER_SHEET = _COLUMNS * _COLUMNS
_QUALITY = 62
_MOST_BYTES = 12 << 20
"""Of a file; a photograph of 24 megapixels has about ten."""
_MOST_READ = 256 << 20
"""Bytes of a bucket in all, which may be far away and charge for what leaves it."""
_LIMITS = DecodeLimits(max_bytes=_MOST_BYTES)

GONE = "gone from INPUT"
CHANGED = "changed since the run"
CLOSED = "not to be read with these rights"
FAILED = "not delivered by the storage"
UNDRAWABLE = "not to be drawn"
LATE = "left out, to keep the reading short"
FULL = "left out, to keep the page small"


class Asked(NamedTuple):
    """A picture that the page would like.

    Attributes:
        path: of the image, as the tables have it.
        etag: its version there.
    """

    path: str
    etag: str


class Place(NamedTuple):
    """Where a picture is: the sheet's number, and column and row on it."""

    sheet: int
    column: int
    row: int


@dataclass(frozen=True)
class Pictures:
    """The pictures that were read.

    Attributes:
        name: tells several collections of one page apart; a CSS identifier.
        side: of a picture, in pixels.
        sheets: data URI and number of rows of each.
        places: path to place.
        asked: pictures that were asked for.
        missing: why a picture is not there, to how many.
        problem: why there is none at all, if INPUT cannot be opened; one sentence.
    """

    name: str
    side: int
    sheets: tuple[tuple[str, int], ...] = ()
    places: Mapping[str, Place] = field(default_factory=dict)
    asked: int = 0
    missing: Counter[str] = field(default_factory=Counter)
    problem: str = ""

    @property
    def columns(self) -> int:
        """Of every sheet."""
        return _COLUMNS

    def css(self) -> Markup:
        """Rules for a ``<style>`` element, which :meth:`show` relies on."""
        rules = [".pic{display:inline-block;background-repeat:no-repeat}"]
        for number, (uri, rows) in enumerate(self.sheets):
            rules.append(
                f".{self.name}{number}{{background-image:url({uri});"
                f"background-size:{100 * _COLUMNS}% {100 * rows}%}}"
            )
        return Markup("\n".join(rules))  # noqa: S704 - base64 and numbers

    def show(self, path: str, text: str) -> Markup:
        """One picture as an element of class ``pic``, or nothing where it is missing.

        Args:
            path: of the image.
            text: what is read out in its place.
        """
        place = self.places.get(path)
        if place is None:
            return Markup("")
        rows = self.sheets[place.sheet][1]
        across = 100 * place.column / (_COLUMNS - 1)
        down = 100 * place.row / (rows - 1) if rows > 1 else 0
        return Markup(
            '<span class="pic {}{}" role="img" aria-label="{}" '
            'style="background-position:{}% {}%"></span>'
        ).format(self.name, place.sheet, text, f"{across:.3f}", f"{down:.3f}")

    def note(self) -> str:
        """One sentence on what is missing; empty where nothing is but for want of room."""
        if self.problem:
            return f"There are no pictures: {self.problem}"
        if set(self.missing) <= {FULL}:
            return ""
        reasons = ", ".join(f"{count:,} {why}" for why, count in self.missing.most_common())
        return f"{len(self.places):,} of {self.asked:,} pictures are shown; {reasons}."


def read_pictures(
    source: str | Location,
    asked: Iterable[Asked],
    *,
    name: str,
    side: int,
    budget: int,
    seconds: float = 12.0,
) -> Pictures:
    """Read pictures from INPUT, the most wanted first.

    Args:
        source: INPUT.
        asked: in order of importance; of several for one path the first counts.
        name: of the collection.
        side: of a picture, in pixels; the middle of an oblong image is shown.
        budget: bytes that the sheets may take in the page, as base64.
        seconds: to spend at most, about.

    Returns:
        What could be read. Nothing that is wrong with INPUT or its images is an error.
    """
    unique = {picture.path: picture for picture in reversed(list(asked))}
    wanted = list(reversed(unique.values()))
    pictures = Pictures(name, side, asked=len(wanted))
    if not wanted:
        return pictures
    try:
        if not str(source):
            raise NotFound
        squares = _Squares(open_source(source), wanted, side, seconds, pictures.missing)
        sheets, places = _sheets(squares, side, budget)
    except PomonaError as error:
        return Pictures(name, side, asked=len(wanted), problem=error.what)
    except NotFound:
        return Pictures(name, side, asked=len(wanted), problem="no run says where INPUT was.")
    full = len(wanted) - len(places) - pictures.missing.total()
    if full:
        pictures.missing[FULL] += full
    return Pictures(name, side, tuple(sheets), places, len(wanted), pictures.missing)


class _Squares:
    """Path and square of what can be read, in order; counts what cannot."""

    def __init__(
        self,
        source: Source,
        wanted: Sequence[Asked],
        side: int,
        seconds: float,
        missing: Counter[str],
    ) -> None:
        self._source, self._wanted, self._side = source, wanted, side
        self._until = time.monotonic() + seconds
        self._room = _MOST_READ if source.root.scheme == "s3" else 1 << 62
        self._missing = missing

    def __iter__(self) -> Iterator[tuple[str, Image.Image]]:
        found = self._found()
        outcomes = open_store(self._source.root).read_many(read for _, read in found)
        for number, ((path, _), outcome) in enumerate(zip(found, outcomes, strict=True)):
            if time.monotonic() > self._until or self._room < 0:
                self._missing[LATE] += len(found) - number
                return
            if not isinstance(outcome, bytes):
                self._missing[_why(outcome)] += 1
                continue
            self._room -= len(outcome)
            square = _square(outcome, self._side, path)
            if square is None:
                self._missing[UNDRAWABLE] += 1
            else:
                yield path, square

    def _found(self) -> list[tuple[str, Wanted]]:
        finder, found = Finder(self._source, _MOST_BYTES), []
        for path, etag in self._wanted:
            try:
                found.append((path, finder.find(path, etag)))
            except NotFound:
                self._missing[GONE] += 1
        return found


def _why(outcome: Outcome) -> str:
    if isinstance(outcome, NotFound):
        return GONE
    if isinstance(outcome, Changed):
        return CHANGED
    return CLOSED if isinstance(outcome, NotPermitted) else FAILED


def _square(data: bytes, side: int, path: str) -> Image.Image | None:
    """The middle of an image, scaled; None where nothing of it can be decoded."""
    try:
        pixels = decode(data, wanted=2 * side, limits=_LIMITS, path=path).pixels
    except RejectedImage as rejected:
        rest = _upper_part(data, side) if rejected.reason is Reason.TRUNCATED else None
        if rest is None:
            return None
        pixels = rest
    image = Image.fromarray(pixels)
    edge = min(image.size)
    left, top = (image.width - edge) // 2, (image.height - edge) // 2
    box = (left, top, left + edge, top + edge)
    return image.resize((side, side), Image.Resampling.LANCZOS, box=box)


def _upper_part(data: bytes, side: int) -> NDArray[np.uint8] | None:
    """What there is of a JPEG that was cut off; None where even its header is incomplete."""
    try:
        height, width, _, _ = simplejpeg.decode_jpeg_header(data)
        check_pixels(width, height, _LIMITS)
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(
            data, "RGB", min_height=min(height, side), min_width=min(width, side), strict=False
        )
    except (ValueError, KeyError, RejectedImage):  # KeyError: of an unknown colour space
        return None
    return pixels


def _sheets(
    squares: Iterable[tuple[str, Image.Image]], side: int, budget: int
) -> tuple[list[tuple[str, int]], dict[str, Place]]:
    """Sheets within the budget; the last one is cut where it would not fit."""
    sheets: list[tuple[str, int]] = []
    places: dict[str, Place] = {}
    page: list[tuple[str, Image.Image]] = []

    def close() -> bool:
        """Add the sheet; whether there is room for another."""
        nonlocal budget
        room = True
        uri = _drawn([square for _, square in page], side)
        while page and len(uri) > budget:
            room = False
            del page[min(len(page) - 1, int(0.9 * len(page) * budget / len(uri))) :]
            uri = _drawn([square for _, square in page], side) if page else ""
        for at, (path, _) in enumerate(page):
            places[path] = Place(len(sheets), at % _COLUMNS, at // _COLUMNS)
        if page:
            sheets.append((uri, -(-len(page) // _COLUMNS)))
            budget -= len(uri)
            page.clear()
        return room

    for square in squares:
        page.append(square)
        if len(page) == _PER_SHEET and not close():
            return sheets, places
    if page:
        close()
    return sheets, places


def _drawn(squares: Sequence[Image.Image], side: int) -> str:
    rows = -(-len(squares) // _COLUMNS)
    sheet = Image.new("RGB", (_COLUMNS * side, rows * side), "white")
    for at, square in enumerate(squares):
        sheet.paste(square, (at % _COLUMNS * side, at // _COLUMNS * side))
    sink = io.BytesIO()
    sheet.save(sink, "WEBP", quality=_QUALITY, method=4)
    return "data:image/webp;base64," + base64.b64encode(sink.getvalue()).decode()
