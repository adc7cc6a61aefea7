"""Images as a Spark data source: ``spark.read.format("pomona.images").load(uri)``.

The driver lists and plans, executors read. What passes through Java here is the images themselves,
which the chain avoids; docs/python.md says when which is right.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from pyspark.sql.datasource import DataSource, DataSourceReader, InputPartition

from pomona.errors import UsageError
from pomona.images.decoding import decode
from pomona.images.fitting import fit_square
from pomona.images.layout import Layout, LayoutDetector
from pomona.images.limits import DecodeLimits, RejectedImage
from pomona.images.listing import SkippedFiles, list_images, open_source
from pomona.images.planning import PlanLimits, cut_tasks
from pomona.images.reading import read_images
from pomona.schema import (
    ETAG,
    GROUP,
    HEIGHT,
    LABEL,
    MESSAGE,
    PATH,
    REASON,
    SPLIT,
    STAGE,
    WIDTH,
)
from pomona.storage import Location, StorageOptions, open_store

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pyspark.sql.types import StructType

    from pomona.images.listing import Source

NAME = "pomona.images"
CONTENT, PIXELS, REJECT = "content", "pixels", "reject"

_BATCH_BYTES = 8 << 20
"""Of images in one Arrow batch, about."""
_BATCH_ROWS = 1_000
_CHECKED_AT = 64
"""Side that images are decoded to where only whether they can be is asked: cheap for JPEGs."""
_TASK_IMAGES, _TASK_BYTES = 256, 32 << 20
_CONTENTS = ("bytes", "pixels", "none")
_OPTIONS = (
    "path", "layout", "content", "size", "endpoint", "maxBytes", "maxPixels", "partitionImages",
    "partitionBytes",
)  # fmt: skip
_REJECT = pa.struct([(name, pa.string()) for name in (STAGE, REASON, MESSAGE)])


class ImageSource(DataSource):
    """The data source ``pomona.images``: a folder of images, a tar of them, a folder of tars.

    Register it with :func:`pomona.register`; sessions of :func:`pomona.start_session` have it.

    Columns: ``path`` (below what is loaded, as in the tables of the chain), ``etag``, ``label``,
    ``split`` and ``group`` (from the path), ``width`` and ``height`` of the upright image,
    ``content`` (the file), and ``reject``: a struct of stage, reason and message for an image that
    cannot be used, whose width, height and content are null.

    Options:

    - ``layout``: template for label, split and group; detected by default;
    - ``content``: ``bytes`` (default); ``pixels`` for a column ``pixels`` in its place, uint8 RGB
      [size, size, 3] as a network is given it; ``none`` to list and read nothing;
    - ``size``: side of the squares, with ``content=pixels``;
    - ``endpoint``: URL of an S3 service that is not AWS;
    - ``maxBytes``, ``maxPixels``: larger images are rejected;
    - ``partitionImages``, ``partitionBytes``: of a partition, at most.

    Examples:
        >>> photos = spark.read.format("pomona.images").load(images)
        >>> photos.where("split = 'Test'").select("label", "width").first()
        Row(label='Apple Golden', width=100)
        >>> reader = spark.read.format("pomona.images")
        >>> pixels = reader.options(content="pixels", size=32).load(images)
        >>> row = pixels.where("reject is null").first()
        >>> np.frombuffer(row.pixels, np.uint8).reshape(32, 32, 3).shape
        (32, 32, 3)
    """

    @classmethod
    def name(cls) -> str:
        """What ``spark.read.format`` takes."""
        return NAME

    def schema(self) -> str:
        """The columns; what is loaded is looked at, so that a wrong path is told at once.

        Raises:
            UsageError: an unknown option, or a value that it does not take.
            InputError: what is loaded does not exist.
        """
        asked = _Asked.of(self.options)
        open_source(asked.location)
        return (
            "path string not null, etag string not null, label string, split string,"
            f" `group` string, width int, height int, {asked.column} binary,"
            " reject struct<stage: string, reason: string, message: string>"
        )

    def reader(self, schema: StructType) -> DataSourceReader:
        """What lists on the driver and reads on the executors."""
        return ImageReader(_Asked.of(self.options))


@dataclass(frozen=True)
class _Asked:
    """The options of one load.

    Attributes:
        location: what to load.
        layout: template; None detects it.
        content: ``bytes``, ``pixels`` or ``none``.
        size: side of the squares, for ``pixels``.
        limits: what to refuse.
        images: of a partition, at most.
        bytes: of a partition, at most.
    """

    location: Location
    layout: str | None
    content: str
    size: int
    limits: DecodeLimits
    images: int
    bytes: int

    @property
    def column(self) -> str:
        return PIXELS if self.content == "pixels" else CONTENT

    @classmethod
    def of(cls, options: Mapping[str, str]) -> _Asked:
        known = {name.lower() for name in _OPTIONS}
        unknown = [name for name in options if name.lower() not in known]
        if unknown:
            raise UsageError(
                f"{NAME} has no option {unknown[0]}.", f"It has: {', '.join(_OPTIONS)}."
            )
        content = options.get("content", "bytes")
        if content not in _CONTENTS:
            raise UsageError(
                f"The option content is {content!r}.", f"Give one of: {', '.join(_CONTENTS)}."
            )
        if (content == "pixels") != ("size" in options):
            raise UsageError(
                "The options content=pixels and size go together.",
                "Give both, such as content=pixels and size=96.",
            )
        limits = DecodeLimits()
        layout = options.get("layout")
        if layout is not None:
            Layout(layout)
        storage = StorageOptions(endpoint_url=options.get("endpoint"))
        return cls(
            location=Location.parse(options.get("path", ""), storage),
            layout=layout,
            content=content,
            size=_number(options, "size", _CHECKED_AT),
            limits=DecodeLimits(
                _number(options, "maxBytes", limits.max_bytes),
                _number(options, "maxPixels", limits.max_pixels),
            ),
            images=_number(options, "partitionImages", _TASK_IMAGES),
            bytes=_number(options, "partitionBytes", _TASK_BYTES),
        )


class ImagePartition(InputPartition):
    """Some images of the listing; travels to an executor."""

    def __init__(self, root: Location, layout: str, rows: bytes) -> None:
        super().__init__(None)
        self.root = root
        self.layout = layout
        self.rows = rows


class ImageReader(DataSourceReader):
    """Lists and plans on the driver, reads on the executors."""

    def __init__(self, asked: _Asked) -> None:
        self._asked = asked

    def partitions(self) -> Sequence[InputPartition]:
        """Every image of what is loaded, cut into partitions.

        Raises:
            InputError: it does not exist, or cannot be listed.
            LayoutError: the layout fits no path.
        """
        source = open_source(self._asked.location)
        limits = PlanLimits(self._asked.images, self._asked.bytes, 1)
        detector = LayoutDetector()
        tasks = [_packed(rows) for rows in cut_tasks(_listed(source, detector), limits)]
        layout = self._asked.layout or detector.layout().template
        return [ImagePartition(source.root, layout, rows) for rows in tasks]

    def read(self, partition: InputPartition) -> Iterator[pa.RecordBatch]:
        """The rows of a partition, a batch of some megabytes at a time."""
        if not isinstance(partition, ImagePartition):
            return  # an empty folder has one partition of Spark's own
        rows = pa.ipc.open_stream(partition.rows).read_next_batch()
        layout = Layout(partition.layout)
        images: list[_Image] = []
        used = begin = 0
        for image in self._images(partition.root, rows):
            images.append(image)
            used += len(image.content or b"")
            if used >= _BATCH_BYTES or len(images) == _BATCH_ROWS:
                yield self._batch(rows.slice(begin, len(images)), images, layout)
                begin += len(images)
                images, used = [], 0
        if images:
            yield self._batch(rows.slice(begin), images, layout)

    def _images(self, root: Location, rows: pa.RecordBatch) -> Iterator[_Image]:
        if self._asked.content == "none":
            yield from (_Image(None, None, None, None) for _ in range(rows.num_rows))
            return
        paths, listed = rows.column(PATH).to_pylist(), rows.column(REASON).to_pylist()
        blobs = read_images(open_store(root), rows, self._asked.limits)
        for path, reason, blob in zip(paths, listed, blobs, strict=True):
            try:
                if isinstance(blob, RejectedImage):
                    raise blob
                yield self._image(blob, path)
            except RejectedImage as rejected:
                stage = "list" if reason is not None else rejected.reason.stage
                told = {STAGE: stage, REASON: str(rejected.reason), MESSAGE: rejected.message[:300]}
                yield _Image(None, None, None, told)

    def _image(self, blob: bytes, path: str) -> _Image:
        asked = self._asked
        image = decode(blob, wanted=asked.size, limits=asked.limits, path=path)
        if asked.content == "pixels":
            square = np.empty((asked.size, asked.size, 3), np.uint8)
            fit_square(image.pixels, square)
            blob = square.tobytes()
        return _Image(image.width, image.height, blob, None)

    def _batch(self, rows: pa.RecordBatch, images: list[_Image], layout: Layout) -> pa.RecordBatch:
        places = [layout.place(path) for path in rows.column(PATH).to_pylist()]
        beside = rows.column(LABEL).to_pylist()
        labels = [told or place.label for told, place in zip(beside, places, strict=True)]
        columns: dict[str, tuple[Any, pa.DataType]] = {
            LABEL: (labels, pa.string()),
            SPLIT: ([place.split for place in places], pa.string()),
            GROUP: ([place.group for place in places], pa.string()),
            WIDTH: ([image.width for image in images], pa.int32()),
            HEIGHT: ([image.height for image in images], pa.int32()),
            self._asked.column: ([image.content for image in images], pa.binary()),
            REJECT: ([image.reject for image in images], _REJECT),
        }
        return pa.RecordBatch.from_arrays(
            [
                *(rows.column(name) for name in (PATH, ETAG)),
                *(pa.array(values, kind) for values, kind in columns.values()),
            ],
            schema=pa.schema(
                [
                    *(pa.field(name, pa.string(), nullable=False) for name in (PATH, ETAG)),
                    *(pa.field(name, kind) for name, (_, kind) in columns.items()),
                ]
            ),
        )


@dataclass(frozen=True)
class _Image:
    width: int | None
    height: int | None
    content: bytes | None
    reject: dict[str, str] | None


def _listed(source: Source, detector: LayoutDetector) -> Iterator[pa.RecordBatch]:
    for batch in list_images(source, SkippedFiles()):
        detector.see(batch.column(PATH).to_pylist())
        yield batch


def _packed(rows: pa.RecordBatch) -> bytes:
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    with pa.ipc.new_stream(sink, rows.schema, options=options) as writer:
        writer.write_batch(rows)
    return bytes(sink.getvalue())


def _number(options: Mapping[str, str], name: str, default: int) -> int:
    text = options.get(name, str(default))
    if not text.isdecimal() or int(text) < 1:
        raise UsageError(f"The option {name} is {text!r}.", "Give a whole number above 0.")
    return int(text)
