"""What distance costs: the same images from a folder, from a bucket, and packed in tars.

    python benchmarks/latency.py DIR [--images N] [--rounds N] [--latencies MS ...]

One task of the chain (read, decode, embed, write), as a Spark worker runs it, on one core, with the
engine and precision that the chain itself chooses here; the S3 service
(tests/servers/objects.py) has the other cores and answers later by the latency. Rounds are
interleaved. Told are the best round's rate and the least processor time an image; the second
also stands on a busy machine.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))

import pyarrow as pa

from pomona.embedding.catalogue import DEFAULT_MODEL, resolve
from pomona.embedding.choosing import choose
from pomona.embedding.task import EmbedJob, embed_rows
from pomona.images.decoding import DecodeLimits
from pomona.images.listing import SkippedFiles, list_images, open_source
from pomona.images.manifest import Manifest
from pomona.images.sampling import sample_pixels
from pomona.storage import Location, open_store
from tests.servers.objects import object_server

_LIMITS = DecodeLimits(64 << 20, 50_000_000)


class _Case(NamedTuple):
    name: str
    root: Location
    rows: pa.RecordBatch
    latency: float


def main() -> None:
    """Measure and print a table in Markdown."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=2_048)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--latencies", type=float, nargs="*", default=[0, 5, 20, 50])
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, object_server() as server:
        os.environ |= {
            "AWS_ACCESS_KEY_ID": "AKIABENCHMARK",
            "AWS_SECRET_ACCESS_KEY": "none",
            "AWS_ENDPOINT_URL": server.url,
        }
        images, tars = Path(scratch) / "images", Path(scratch) / "tars"
        _take(asked.folder, images, asked.images)
        _pack(images, tars)
        server.load(images, "bench", "in/")
        server.load(tars, "bench", "tars/")
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        cases = [_case("folder", str(images), 0), _case("folder of tars", str(tars), 0)]
        for ms in asked.latencies:
            cases.append(_case(f"bucket, {ms:g} ms", "s3://bench/in", ms))
            cases.append(_case(f"tars in a bucket, {ms:g} ms", "s3://bench/tars", ms))
        network = resolve(DEFAULT_MODEL)
        manifest = Manifest.write(
            list_images(open_source(str(images)), SkippedFiles()), Path(scratch) / "manifest"
        )
        pixels = sample_pixels(
            open_store(images), manifest, count=32, size=network.spec.size, limits=_LIMITS
        )
        choice = choose(network, pixels)
        best: dict[str, tuple[float, float, int]] = {}
        for _ in range(asked.rounds):
            for case in cases:
                job = EmbedJob(
                    run="benchmark",
                    root=case.root,
                    features=Location.parse(Path(scratch) / "features"),
                    layout="{label}/{name}",
                    limits=_LIMITS,
                    spec=network.spec,
                    model="benchmark",
                    engine=choice.engine,
                    precision=choice.precision,
                    threads=1,
                )
                server.latency(case.latency / 1_000)
                server.counts()
                begin, cpu = time.perf_counter(), time.process_time()
                embed_rows(case.rows, job, network)
                used = (time.process_time() - cpu) / case.rows.num_rows * 1e6
                rate = case.rows.num_rows / (time.perf_counter() - begin)
                server.latency(0)
                rate_before, used_before, _ = best.get(case.name, (0.0, 1e9, 0))
                best[case.name] = (
                    max(rate, rate_before),
                    min(used, used_before),
                    server.counts().get("GET", 0),
                )
    print(f"{choice.engine}, {choice.precision}, tasks of {cases[0].rows.num_rows} images\n")
    print("| source | images/s | of the folder's | us of processor an image | requests |")
    print("|---|---:|---:|---:|---:|")
    for name, (rate, used, requests) in best.items():
        share = rate / best["folder"][0]
        print(f"| {name} | {rate:,.0f} | {share:.2f} | {used:,.0f} | {requests:,} |")


def _case(name: str, source: str, latency: float) -> _Case:
    found = open_source(source)
    rows = pa.concat_batches(list(list_images(found, SkippedFiles())))
    return _Case(name, found.root, rows.slice(0, 1_024), latency)


def _take(folder: Path, target: Path, count: int) -> None:
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in (".jpg", ".jpeg", ".png"))
    for path in files[:: max(1, len(files) // count)][:count]:
        copy = target / path.relative_to(folder)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)


def _pack(folder: Path, target: Path) -> None:
    target.mkdir()
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    for at in range(0, len(files), 1_024):
        with tarfile.open(target / f"{at // 1_024:05d}.tar", "w") as archive:
            for path in files[at : at + 1_024]:
                archive.add(path, str(path.relative_to(folder)))


if __name__ == "__main__":
    main()
