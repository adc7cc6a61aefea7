"""The listing of one run, spilled to disk so that its length does not matter."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from pomona.errors import LayoutError
from pomona.images.layout import LayoutDetector
from pomona.schema import MANIFEST, PATH, REASON, SIZE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from pomona.images.layout import Layout

_SHOWN_TO_DETECTOR = 1_000
"""About as many paths of each batch vote for the layout, evenly spread over it."""
_KEPT, _KEPT_IN_ALL = 50, 10_000
"""Some of these are kept, of a batch and of all, to try a layout of the user's on."""


class Manifest:
    """An Arrow file of :data:`pomona.schema.MANIFEST` batches, written once, read many times.

    Attributes:
        rows: number of images.
        bytes: their sizes added up.
        unlisted: rows that the listing itself rejected: a tar that could not be read whole, whose
            images are then missing from the manifest.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._detector = LayoutDetector()
        self._examples: list[str] = []
        self.rows = 0
        self.bytes = 0
        self.unlisted = 0

    @classmethod
    def write(cls, batches: Iterable[pa.RecordBatch], file: Path) -> Manifest:
        """Spill ``batches`` to ``file`` as they come; one batch at a time is in memory."""
        manifest = cls(file)
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        with (
            pa.OSFile(str(file), "wb") as sink,
            pa.ipc.new_stream(sink, MANIFEST, options=options) as writer,
        ):
            for batch in batches:
                writer.write_batch(batch)
                manifest.rows += batch.num_rows
                manifest.unlisted += batch.num_rows - batch.column(REASON).null_count
                sizes = batch.column(SIZE).to_numpy()
                manifest.bytes += int(sizes[sizes > 0].sum())
                step = max(1, batch.num_rows // _SHOWN_TO_DETECTOR)
                shown = batch.column(PATH).take(np.arange(0, batch.num_rows, step)).to_pylist()
                manifest._detector.see(shown)
                if len(manifest._examples) < _KEPT_IN_ALL:
                    manifest._examples += shown[:: max(1, len(shown) // _KEPT)]
        return manifest

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        with pa.OSFile(str(self._file), "rb") as source:
            yield from pa.ipc.open_stream(source)

    def detect_layout(self) -> Layout:
        """The layout that most of the paths vote for."""
        return self._detector.layout()

    def check_layout(self, layout: Layout) -> None:
        """Refuse a layout that says nothing of any path, before hours are spent with it.

        Raises:
            LayoutError: it fits none of some paths that are spread evenly over the listing.
        """
        if self._examples and not any(map(layout.fits, self._examples)):
            raise LayoutError(
                f"The layout {layout.template!r} fits no path of INPUT, "
                f"such as {self._examples[0]!r}.",
                f"Without --layout it would be {self.detect_layout().template!r}.",
            )
