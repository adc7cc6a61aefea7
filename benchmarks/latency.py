"""What distance costs: the same images from a folder, and from a bucket with latency added.

    python benchmarks/latency.py DIR [--images N] [--rounds N]

The chain runs on one core and the S3 service (tests/servers/objects.py) on another, so that the
service does not take the chain's processor time. Rates are images embedded a second, from the
first task's start to the last commit; rounds are interleaved and the best of each is told.
With --shards the bucket holds the same images packed in tars as well.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.servers.objects import ObjectServer, object_server

_KEYS = {"AWS_ACCESS_KEY_ID": "AKIABENCHMARK", "AWS_SECRET_ACCESS_KEY": "none"}


def main() -> None:
    """Measure and print a table in Markdown."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=8_192)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--shards", action="store_true")
    parser.add_argument("--latencies", type=float, nargs="*", default=[0, 5, 20, 50])
    asked = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as scratch, object_server() as server:
        images = Path(scratch) / "images"
        _take(asked.folder, images, asked.images)
        server.load(images, "bench", "in/")
        cases: list[tuple[str, str, float]] = [("folder", str(images), 0)]
        cases += [(f"s3, {ms:g} ms", "s3://bench/in", ms) for ms in asked.latencies]
        if asked.shards:
            tars = Path(scratch) / "tars"
            _pack(images, tars, 1_000)
            server.load(tars, "bench", "tars/")
            cases += [("folder of tars", str(tars), 0)]
            cases += [(f"s3 tars, {ms:g} ms", "s3://bench/tars", ms) for ms in asked.latencies]
        best: dict[str, dict[str, float]] = {}
        for _ in range(asked.rounds):
            for name, source, ms in cases:
                found = _run(server, source, ms / 1_000, cores[0], Path(scratch) / "out")
                if found["rate"] > best.get(name, {"rate": 0.0})["rate"]:
                    best[name] = found
                print(name, found, file=sys.stderr)
    print("| source | images/s | of the folder's | listing, s | requests |")
    print("|---|---:|---:|---:|---:|")
    for name, found in best.items():
        share = found["rate"] / best["folder"]["rate"]
        print(
            f"| {name} | {found['rate']:,.0f} | {share:.2f} | {found['list']:.1f} "
            f"| {found['requests']:,.0f} |"
        )


def _take(folder: Path, target: Path, count: int) -> None:
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in (".jpg", ".jpeg", ".png"))
    for path in files[:: max(1, len(files) // count)][:count]:
        copy = target / path.relative_to(folder)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)


def _pack(folder: Path, target: Path, members: int) -> None:
    target.mkdir()
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    for at in range(0, len(files), members):
        with tarfile.open(target / f"{at // members:05d}.tar", "w") as archive:
            for path in files[at : at + members]:
                archive.add(path, str(path.relative_to(folder)))


def _run(
    server: ObjectServer, source: str, latency: float, core: int, output: Path
) -> dict[str, float]:
    shutil.rmtree(output, ignore_errors=True)
    server.counts()
    server.latency(latency)
    command = [sys.executable, "-m", "pomona", "embed", source, str(output), "--json", "-q"]
    done = subprocess.run(
        [*command, "--master", "local[1]", "--precision", "fp32", "--engine", "openvino"],
        env={**os.environ, **_KEYS, "AWS_REGION": "us-east-1", "AWS_ENDPOINT_URL": server.url},
        capture_output=True,
        text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    facts = json.loads(done.stdout)
    server.latency(0)
    requests = sum(count for method, count in server.counts().items() if method != "most")
    rate = facts["embedded"] / facts["seconds"]["embed_wall"]
    return {"rate": rate, "list": facts["seconds"]["list"], "requests": requests}


if __name__ == "__main__":
    main()
