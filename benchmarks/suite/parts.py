"""The parts of the suite: each measures one thing in rounds and returns what goes into the JSON."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
import time
from collections import defaultdict
from functools import partial
from typing import TYPE_CHECKING, Any

from benchmarks.suite import data
from benchmarks.suite.bench import ROOT, Bench, attempt
from benchmarks.suite.measuring import BenchmarkError, middle, ratios

if TYPE_CHECKING:
    from pathlib import Path

_PEER_ROUNDS = 2
"""Rounds that peers take part in, at most: they are slow, and far enough away."""
_COMPONENTS = 256
_DIMENSION = 1_280


def embed100(bench: Bench) -> dict[str, Any]:
    """A MobileNetV2 at 100 px: the chain, the plain loop, the network alone, Daft and Ray Data."""
    count = 2_048 if bench.quick else 22_856
    source = data.repeat(_both(bench), count, bench.work / "both")
    images = str(source)
    network = ["--model", bench.network, "--size", "100"]
    found: dict[str, Any] = {"images": len(data.images_below(source))}
    rates: defaultdict[str, list[float]] = defaultdict(list)
    details: defaultdict[str, list[dict[str, float]]] = defaultdict(list)

    def peer(name: str, environment: str, precision: str) -> None:
        out = bench.fresh("peer-out")
        told = [images, out, *network, "--dimension", str(_DIMENSION), "--precision", precision]
        done = bench.peer(environment, f"with_{environment}.py", *told, limit=240)
        facts = done.json()
        if facts["images"] != found["images"]:
            raise BenchmarkError(f"{facts['images']} of {found['images']} images embedded")
        rates[name].append(facts["images"] / facts["work"])
        details[name].append(_whole(done, facts))

    for number in bench.turns():
        facts = _chain(bench, images, network, rates["chain"], details["chain"])
        precision = facts["network"]["precision"]
        how = ["--engine", facts["network"]["engine"], "--precision", precision]
        for work, name in (("whole", "loop"), ("bare", "bare")):
            alone = bench.python("benchmarks/loops.py", work, images, *network, *how)
            rates[name].append(alone.json()["images"] / alone.json()["seconds"])
        for name in ("daft", "ray") if number < _PEER_ROUNDS else ():
            attempt(found, name, partial(peer, name, name, precision))
            plain = f"{name}_onnxruntime"
            attempt(found, plain, partial(peer, plain, name, "onnxruntime"))
        found |= {"network": facts["network"], "peak_bytes": facts["peak_bytes"]}
        _tell(number, rates)
    found["images_per_second"] = {name: middle(values) for name, values in rates.items()}
    found["of_the_loop"] = ratios(rates["chain"], rates["loop"])
    found["of_the_bare_network"] = ratios(rates["chain"], rates["bare"])
    for name in ("daft", "ray", "daft_onnxruntime", "ray_onnxruntime"):
        if rates[name]:
            found[f"times_{name}"] = ratios(rates["chain"][: len(rates[name])], rates[name])
    found["details"] = details
    found["versions"] = {name: bench.versions(name) for name in ("daft", "ray")}
    return found


def notebook(bench: Bench) -> dict[str, Any]:
    """The students' recipe beside the same network at 224 px, and beside the built-in one."""
    whole = data.unpack(bench.data / "fruits360-33.tar", bench.work)
    counts = (64, 256, 1_024) if bench.quick else (512, 2_048, 1 << 30)
    recipe, large, small = (
        data.sample(whole, count, bench.work / f"of-{count}") for count in counts
    )
    found: dict[str, Any] = {}
    rates: defaultdict[str, list[float]] = defaultdict(list)
    details: defaultdict[str, list[dict[str, float]]] = defaultdict(list)

    def peer() -> None:
        done = bench.peer("notebook", "notebook.py", recipe, bench.fresh("peer-out"), limit=280)
        facts = done.json()
        rates["notebook"].append(facts["images"] / facts["work"])
        details["notebook"].append(_whole(done, facts))

    for number in bench.turns():
        at224 = ["--model", bench.network, "--size", "224"]
        _chain(bench, str(large), at224, rates["at_224"], details["at_224"])
        facts = _chain(bench, str(small), [], rates["built_in"], details["built_in"])
        how = [facts["network"][name] for name in ("engine", "precision")]
        for work in ("whole", "bare"):
            words = (work, small, "--engine", how[0], "--precision", how[1])
            alone = bench.python("benchmarks/loops.py", *words)
            rates[work].append(alone.json()["images"] / alone.json()["seconds"])
        attempt(found, "notebook", peer)
        _tell(number, rates)
    found["images_per_second"] = {name: middle(values) for name, values in rates.items()}
    found["built_in_network"] = facts["network"]
    found["built_in_of_the_loop"] = ratios(rates["built_in"], rates["whole"])
    if rates["notebook"]:
        for name in ("at_224", "built_in"):
            pairs = rates[name][: len(rates["notebook"])]
            found[f"{name}_times_notebook"] = ratios(pairs, rates["notebook"])
    found["details"] = details
    found["versions"] = bench.versions("notebook")
    return found


def pca(bench: Bench) -> dict[str, Any]:
    """PCA of 67,692 x 1,280 features: the chain, scikit-learn in memory, spark.ml."""
    rows = 8_192 if bench.quick else 67_692
    tar = bench.data / "fruits360-33.tar"
    few = data.sample(data.unpack(tar, bench.work), 2_048, bench.work / "of-2048")
    real = bench.fresh("real")
    bench.pomona("embed", few, real, "--model", bench.network, "--size", "100", "--quiet")
    output = data.many_features(real, rows, bench.fresh("features"))
    count = str(_COMPONENTS)
    seconds: defaultdict[str, list[float]] = defaultdict(list)
    found: dict[str, Any] = {"rows": rows, "dimension": _DIMENSION, "components": _COMPONENTS}

    def spark_ml() -> None:
        out = bench.fresh("peer-out")
        done = bench.peer(
            "notebook", "notebook.py", output / "features", out, "--reduce", count, limit=420
        ).json()
        seconds["spark_ml"].append(done["scaler"] + done["pca"])
        found["spark_ml"] = done

    for number in bench.turns():
        for name in ("components", "models"):
            shutil.rmtree(output / name, ignore_errors=True)
        words = ("reduce", output, "--components", count, "--json", "--quiet")
        facts = bench.pomona(*words).json()
        seconds["chain"].append(facts["seconds"]["reduce"])
        seconds["chain_whole_command"].append(facts["seconds"]["total"])
        found["explained"] = facts["explained_variance"]
        place = bench.fresh("components.parquet")
        script = "benchmarks/peers/in_memory.py"
        alone = bench.python(script, output / "features", place, "--components", count).json()
        seconds["scikit_learn"].append(alone["seconds"])
        found["scikit_learn"] = alone
        if number == 0:
            attempt(found, "spark_ml", spark_ml)
        _tell(number, seconds)
    found["seconds"] = {name: middle(values) for name, values in seconds.items()}
    found["of_scikit_learn"] = ratios(seconds["chain"], seconds["scikit_learn"])
    if seconds["spark_ml"]:
        found["times_spark_ml"] = middle(
            [seconds["spark_ml"][0] / value for value in seconds["chain"]]
        )
    shutil.rmtree(output)
    return found


def decoding(bench: Bench) -> dict[str, Any]:
    """Photographs of 12 megapixels, read and decoded to what a network takes, beside Pillow."""
    turns = "3" if bench.quick else "9"
    done = bench.python("benchmarks/decoding.py", "--json", "--turns", turns)
    return done.json()


def planning(bench: Bench) -> dict[str, Any]:
    """Ten million keys, listed to planned."""
    keys = 1_000_000 if bench.quick else 10_000_000
    return bench.python(
        "benchmarks/planning.py", "--keys", str(keys), "--known", str(keys // 2), "--json"
    ).json()


def startup(bench: Bench) -> dict[str, Any]:
    """The help, a run with nothing to do, and the time to the first embedded images."""
    whole = data.unpack(bench.data / "fruits360-33.tar", bench.work)
    few = data.sample(whole, 1_024, bench.work / "of-1024")
    output = bench.fresh("startup")
    bench.pomona("run", few, output, "--quiet")
    seconds: defaultdict[str, list[float]] = defaultdict(list)
    for number in bench.turns():
        seconds["help"].append(bench.pomona("--help").seconds)
        seconds["nothing_to_do"].append(bench.pomona("run", few, output, "--quiet").seconds)
        seconds["first_image"].append(_first_image(bench, whole))
        _tell(number, seconds)
    return {"seconds": {name: middle(values) for name, values in seconds.items()}}


def whole_run(bench: Bench) -> dict[str, Any]:
    """The whole chain over 67,692 images with the built-in network."""
    count = 4_096 if bench.quick else 67_692
    images = data.repeat(_both(bench), count, bench.work / "repeated")
    found: dict[str, Any] = {"images": count}
    seconds: list[float] = []
    processor: list[float] = []
    try:
        for number in bench.turns():
            output = bench.fresh("whole-out")
            done = bench.pomona("run", images, output, "--json", "--quiet", limit=400)
            facts = done.json()
            seconds.append(done.seconds)
            processor.append(done.processor)
            found |= {
                "stages": facts["seconds"],
                "peak_bytes": facts["peak_bytes"],
                "components": facts["components"],
                "classifier": facts["classifier"],
                "verdict": facts["verdict"],
            }
            print(f"  round {number + 1}: {done.seconds:.1f} s", flush=True)
    finally:
        shutil.rmtree(images)
        bench.fresh("whole-out")
    return {**found, "seconds": middle(seconds), "processor_seconds": middle(processor)}


def cores(bench: Bench) -> dict[str, Any]:
    """One worker core against all."""
    whole = data.unpack(bench.data / "fruits360-33.tar", bench.work)
    count = 1_024 if bench.quick else 8_192
    images = str(data.sample(whole, count, bench.work / f"of-{count}"))
    network = ["--model", bench.network, "--size", "100"]
    rates: defaultdict[str, list[float]] = defaultdict(list)
    details: defaultdict[str, list[dict[str, float]]] = defaultdict(list)
    for number in bench.turns():
        for tasks, name in (("1", "one"), ("*", "all")):
            master = ["--master", f"local[{tasks}]"]
            _chain(bench, images, [*network, *master], rates[name], details[name])
        _tell(number, rates)
    return {
        "images_per_second": {name: middle(values) for name, values in rates.items()},
        "gain": ratios(rates["all"], rates["one"]),
        "details": details,
    }


def scale(bench: Bench) -> dict[str, Any]:
    """What the model of scale wants to know of this machine."""
    out = bench.fresh("recorded.json")
    words = ["--data", bench.data, "--work", bench.work, "--out", out]
    words += ["--images", "1024" if bench.quick else "8192"]
    bench.python("benchmarks/scale/record.py", *words)
    found: dict[str, Any] = json.loads(out.read_text())
    return found


def _both(bench: Bench) -> list[Path]:
    """Both sets of Fruits-360, unpacked: 22,856 images."""
    names = ("fruits360-33", "fruits360-varieties")
    return [data.unpack(bench.data / f"{name}.tar", bench.work) for name in names]


def _chain(
    bench: Bench,
    images: str,
    options: list[Any],
    rates: list[float],
    details: list[dict[str, float]],
) -> dict[str, Any]:
    """One `pomona embed`; its rate is counted from the first task's start to the last commit."""
    output = bench.fresh("out")
    done = bench.pomona("embed", images, output, "--json", "--quiet", *options)
    facts = done.json()
    ledger = json.loads(next((output / "runs").glob("*.json")).read_text())
    facts["network"] = ledger["network"]
    rates.append(facts["embedded"] / facts["seconds"]["embed_wall"])
    details.append(
        {
            "command_seconds": done.seconds,
            "processor_us_an_image": 1e6 * done.processor / facts["embedded"],
            **{f"{name}_seconds": value for name, value in facts["seconds"].items() if value},
        }
    )
    bench.fresh("out")
    return facts


def _first_image(bench: Bench, images: Path) -> float:
    """Seconds from the command to the first data file, which holds 32 images."""
    output = bench.fresh("first")
    words = ["embed", images, output, "--task-images", "32", "--quiet"]
    begin = time.perf_counter()
    with bench.log.open("a") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "pomona", *map(str, words)], cwd=ROOT, stdout=log, stderr=log
        )
        try:
            while not any(output.glob("features/part-*.parquet")):
                if process.poll() is not None or time.perf_counter() - begin > 120:
                    raise BenchmarkError("no image was embedded")
                time.sleep(0.01)
            return time.perf_counter() - begin
        finally:
            process.terminate()
            process.wait(timeout=60)


def _whole(done: Any, facts: dict[str, float]) -> dict[str, float]:
    return {
        "command_seconds": done.seconds,
        "execution_seconds": facts["execution"],
        "processor_us_an_image": 1e6 * done.processor / facts["images"],
    }


def _tell(number: int, values: dict[str, list[float]]) -> None:
    shown = ", ".join(f"{name} {_digits(found[-1])}" for name, found in values.items() if found)
    print(f"  round {number + 1}: {shown}", flush=True)


def _digits(value: float) -> str:
    return (
        f"{value:,.0f}"
        if value >= 100 or not value
        else f"{value:.{2 - int(math.log10(max(value, 0.1)))}f}"
    )


PARTS: dict[str, tuple[Any, float]] = {
    "startup": (startup, 60),
    "embed100": (embed100, 660),
    "cores": (cores, 100),
    "notebook": (notebook, 300),
    "pca": (pca, 200),
    "decoding": (decoding, 40),
    "planning": (planning, 90),
    "whole_run": (whole_run, 150),
    "scale": (scale, 60),
}
"""Every part by name, and the seconds that it may take before it begins no further round."""
