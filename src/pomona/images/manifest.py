"""The listing of one run, spilled to disk so that its length does not matter."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from pomona.images.layout import LayoutDetector
from pomona.schema import MANIFEST, PATH, SIZE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from pomona.images.layout import Layout

_SHOWN_TO_DETECTOR = 1_000
"""About as many paths of each batch vote for the layout, evenly spread over it."""


class Manifest:
    """An Arrow file of :data:`pomona.schema.MANIFEST` batches, written once, read many times.

    Attributes:
        rows: number of images.
        bytes: their sizes added up.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._detector = LayoutDetector()
        self.rows = 0
        self.bytes = 0

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
                sizes = batch.column(SIZE).to_numpy()
                manifest.bytes += int(sizes[sizes > 0].sum())
                step = max(1, batch.num_rows // _SHOWN_TO_DETECTOR)
                shown = batch.column(PATH).take(np.arange(0, batch.num_rows, step))
                manifest._detector.see(shown.to_pylist())
        return manifest

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        with pa.OSFile(str(self._file), "rb") as source:
            yield from pa.ipc.open_stream(source)

    def detect_layout(self) -> Layout:
        """The layout that most of the paths vote for."""
        return self._detector.layout()
