"""How fast this machine does the work, measured on 200 images of INPUT."""

from __future__ import annotations

import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pomona.cloud.quote import SAMPLE
from pomona.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa

    from pomona.embedding.network import Network
    from pomona.embedding.task import EmbedJob
    from pomona.images.manifest import Manifest
    from pomona.settings import Settings

_WARM = 32
"""Images that are embedded before the clock starts: the network is compiled meanwhile."""
_TRIAL = 32


@dataclass(frozen=True)
class Calibration:
    """What was measured.

    Attributes:
        images: in INPUT.
        bytes: of them.
        labels: whether they have labels, so that a classifier is trained.
        list_seconds: that listing INPUT took.
        choose_seconds: that choosing engine and precision took.
        core_seconds: for an image, with every core of this machine at work.
        core_seconds_fp32: likewise in fp32, which every processor computes in.
        unit: core-seconds for an image of the built-in network alone: how fast this machine is.
        cores: of this machine.
        precision: that was chosen here.
    """

    images: int
    bytes: int
    labels: bool
    list_seconds: float
    choose_seconds: float
    core_seconds: float
    core_seconds_fp32: float
    unit: float
    cores: int
    precision: str


def calibrate(text: str, settings: Settings, cores: int) -> Calibration:
    """List INPUT and embed 200 of its images, on every core at once, as workers do.

    Args:
        text: INPUT.
        settings: network, precision, layout.
        cores: of this machine.

    Raises:
        PomonaError: INPUT has no images, or the network does not run here.
    """
    from pomona.embedding.catalogue import DEFAULT_MODEL, resolve
    from pomona.embedding.choosing import choose
    from pomona.embedding.task import EmbedJob
    from pomona.images.decoding import DecodeLimits
    from pomona.images.layout import Layout
    from pomona.images.listing import SkippedFiles, list_images, open_source
    from pomona.images.manifest import Manifest
    from pomona.images.sampling import sample_pixels
    from pomona.schema import PATH, SIZE
    from pomona.storage import Location, open_store

    limits = DecodeLimits(settings.max_bytes, settings.max_pixels)
    with tempfile.TemporaryDirectory(prefix="pomona-quote-") as scratch:
        begin = time.perf_counter()
        source = open_source(Location.parse(text, settings.storage))
        manifest = Manifest.write(
            list_images(source, SkippedFiles()), Path(scratch) / "manifest.arrow"
        )
        list_seconds = time.perf_counter() - begin
        if not manifest.rows:
            raise InputError(f"INPUT has no images: {source.location}", "Name another one.")
        rows, total = _sample(manifest, SIZE)
        layout = settings.layout or manifest.detect_layout().template
        place = Layout(layout).place(rows.column(PATH)[0].as_py())
        network = resolve(
            settings.model, size=settings.size, mean=settings.mean, scale=settings.scale,
            storage=settings.storage,
        )  # fmt: skip
        pixels = sample_pixels(
            open_store(source.root), manifest, count=_TRIAL, size=network.spec.size, limits=limits
        )
        begin = time.perf_counter()
        # An int8 network is made from the run's own images; fp32 stands for it here.
        asked = "auto" if settings.precision == "int8" else settings.precision
        choice = choose(network, pixels, engine=settings.engine, precision=asked)
        choose_seconds = time.perf_counter() - begin
        plain = choose(network, pixels, engine=settings.engine, precision="fp32")
        seconds = {}
        for one in {choice.precision: choice, "fp32": plain}.values():
            job = EmbedJob(
                run="quote", root=source.root, features=Location.parse(f"{scratch}/features"),
                layout=layout, limits=limits, spec=network.spec, model="quote",
                engine=one.engine, precision=one.precision, threads=1,
            )  # fmt: skip
            seconds[one.precision] = _core_seconds(rows, job, network, cores)
        unit = 1 / choice.rate
        if settings.model != DEFAULT_MODEL:
            built_in = resolve(DEFAULT_MODEL)
            noise = np.zeros((_TRIAL, built_in.spec.size, built_in.spec.size, 3), np.uint8)
            unit = 1 / choose(built_in, noise).rate
    return Calibration(
        images=manifest.rows,
        bytes=total,
        labels=bool(place.label),
        list_seconds=list_seconds,
        choose_seconds=choose_seconds,
        core_seconds=seconds[choice.precision],
        core_seconds_fp32=seconds["fp32"],
        unit=unit,
        cores=cores,
        precision=choice.precision,
    )


def _sample(manifest: Manifest, size: str) -> tuple[pa.RecordBatch, int]:
    """Rows spread evenly over INPUT, and the bytes of all."""
    import pyarrow as pa
    import pyarrow.compute as pc

    wanted = set(np.linspace(0, manifest.rows - 1, min(SAMPLE, manifest.rows)).astype(int).tolist())
    chosen, begin, total = [], 0, 0
    for batch in manifest:
        rows = sorted(row - begin for row in wanted if begin <= row < begin + batch.num_rows)
        begin += batch.num_rows
        total += pc.sum(batch.column(size)).as_py() or 0
        if rows:
            chosen.append(batch.take(pa.array(rows)))
    return pa.concat_batches(chosen), total


def _core_seconds(rows: pa.RecordBatch, job: EmbedJob, network: Network, cores: int) -> float:
    """Core-seconds for an image while every core does the same."""
    import multiprocessing

    # A fresh interpreter each: what computes here already must not be copied half-way.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(cores, mp_context=context) as pool:
        # Every process is there and warm before one of them is measured.
        list(pool.map(_embed, [(rows.slice(0, _WARM), job, network)] * cores))
        found = list(pool.map(_embed, [(rows, job, network)] * cores))
    return float(sum(found)) / len(found) / int(rows.num_rows)


def _embed(work: tuple[pa.RecordBatch, EmbedJob, Network]) -> float:
    from pomona.embedding.task import embed_rows

    rows, job, network = work
    embed_rows(rows.slice(0, 1), job, network)
    begin = time.perf_counter()
    embed_rows(rows, job, network)
    return time.perf_counter() - begin
