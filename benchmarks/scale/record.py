"""Records on this machine what the model of scale wants to know; about three minutes.

    python benchmarks/scale/record.py --data ../shared/data --out benchmarks/scale/recorded.json

One image: stage times of a real run on one core. One task: what Spark takes for tasks that do
nothing. Commits: to a real table that grows. Planning: the chain's own, over keys that are made up.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.suite.data import images_below, sample, unpack
from benchmarks.suite.measuring import machine

from pomona.schema import FEATURES_TABLE
from pomona.spark.jobs import run_chunks
from pomona.spark.session import java_process, start_spark
from pomona.storage import Location
from pomona.storage.datafile import DataFile
from pomona.storage.table import Table

TASKS, CHUNK, CHUNKS = 64, 1_024, 12
_STAGES = ("read", "decode", "embed", "write")


def _nothing(_: int) -> None:
    return None


def embedding(images: Path, network: Path, folder: Path, cores: int) -> dict[str, Any]:
    """The facts of one run."""
    command = [sys.executable, "-m", "pomona", "embed", str(images), str(folder / f"o{cores}")]
    command += ["--model", str(network), "--size", "100", "--json", "--quiet"]
    command += ["--master", f"local[{cores}]"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    facts: dict[str, Any] = json.loads(done.stdout)
    return facts


def launching(folder: Path) -> tuple[float, float]:
    """Seconds of a slot for a task that does nothing, and of the driver for any task.

    The driver's are processor time of its Python and of its Java, which is the executor as well: an
    upper bound. The least of a few rounds, the first of which finds Java cold.
    """
    context = start_spark("local[1]", scratch=folder, log=folder / "spark.log")
    java = java_process(context)
    rounds = []
    for _ in range(8):
        begin, used = time.perf_counter(), time.process_time() + _processor(java)
        list(run_chunks(context, [[0] * TASKS] * 3, _nothing, describe="doing nothing"))
        took = time.perf_counter() - begin
        used = time.process_time() + _processor(java) - used
        rounds.append((took / (3 * TASKS), used / (3 * TASKS)))
    context.stop()
    slot, driver = (min(column) for column in zip(*rounds, strict=True))
    return slot, driver


def _processor(process: int) -> float:
    """Seconds of processor time of a running process."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def committing(folder: Path) -> tuple[float, float, float]:
    """Seconds of a commit, of a file in it, and of a file that the table has already."""
    table = Table(Location.parse(folder / "table"), FEATURES_TABLE)
    table.create()
    stats = json.dumps(
        {
            "numRecords": 1_024,
            "minValues": {
                "path": "Training/Apple Braeburn/0_100.jpg",
                "model": "network@100px-bf16",
            },
            "maxValues": {"path": "Training/Walnut/r_99_100.jpg", "model": "network@100px-bf16"},
            "nullCount": {"path": 0, "model": 0},
        }
    )
    small = []
    for number in range(5):
        begin = time.perf_counter()
        table.commit([DataFile(f"small-{number}.parquet", 5_000_000, 1_024, stats)])
        small.append(time.perf_counter() - begin)
    large = []
    for number in range(CHUNKS):
        names = [f"part-20260101T000000Z-{number}-{at:032x}.parquet" for at in range(CHUNK)]
        files = [DataFile(name, 5_000_000, 1_024, stats) for name in names]
        begin = time.perf_counter()
        table.commit(files)
        large.append(time.perf_counter() - begin)
    one = statistics.median(small)
    known = [CHUNK * number for number in range(CHUNKS)]
    slope, level = statistics.linear_regression(known, large)
    return one, max(0.0, level - one) / CHUNK, max(0.0, slope)


def planning() -> float:
    """Seconds of the driver for a key."""
    script = Path(__file__).parents[1] / "planning.py"
    command = [sys.executable, str(script), "--keys", "1000000", "--known", "0", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    return float(found["seconds"]) / float(found["keys"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path(".bench"))
    parser.add_argument("--images", type=int, default=8_192)
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    asked.work.mkdir(exist_ok=True)
    whole = unpack(asked.data / "fruits360-33.tar", asked.work)
    images = sample(whole, asked.images, asked.work / f"of-{asked.images}")
    network = asked.data / "mobilenet_v2_imagenet.onnx"
    with tempfile.TemporaryDirectory(dir=asked.work) as name:
        folder = Path(name)
        runs = {cores: embedding(images, network, folder, cores) for cores in (1, 2)}
        task, launch = launching(folder)
        commit, commit_file, commit_known = committing(folder)
    one = runs[1]["seconds"]
    work = sum(one[stage] for stage in _STAGES)
    count = runs[1]["embedded"]
    recorded = {
        "machine": machine(),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "network": "MobileNetV2 at 100 px",
        "costs": {
            "image": work / count,
            "task": task,
            "launch": launch,
            "commit": commit,
            "commit_file": commit_file,
            "commit_known": commit_known,
            "plan": planning(),
            "start": one["total"] - one["embed_wall"] - one["list"],
            "image_bytes": statistics.fmean(f.stat().st_size for f in images_below(images)),
        },
        "measured": {
            str(cores): {"images": facts["embedded"], "seconds": facts["seconds"]["embed_wall"]}
            for cores, facts in runs.items()
        },
    }
    asked.out.write_text(json.dumps(recorded, indent=1) + "\n")
    print(json.dumps(recorded["costs"], indent=1))


if __name__ == "__main__":
    main()
