"""Measures network files against each other: the same photographs, the same linear classifier.

    python training/measure.py --data ../shared/data --cache cache \\
        --network pomona-s3.onnx:96 --network ../shared/data/mobilenet_v2_imagenet.onnx:224

prints one JSON object a network and measurement. Any file from ``image`` uint8 [n, h, w, 3] to
``features`` can be measured; the number after the colon is the side of its input. Photographs that
are not square are squeezed. The training of pomona-s3 saw nothing of what is tried here, but for
the train part of ``street``; the classifiers are fitted on photographs that it saw.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from calibrating import calibration, softmax
from engines import in_batches, onnxruntime_engine, openvino_engine
from sources import Source, read_sources
from taxonomy import NOT_FRUIT
from validation import resized

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from data import Pixels
    from engines import Engine, Floats

ROUNDS = 12
"""Measurements of speed, of all networks in turn."""
SECONDS = 0.4
"""Time given to each of them."""
BATCH = 16
COARSE = "grocery at 64 px"
EVERY = {"fruits360": 2, "varieties": 2, "grocery": 1, "tiny": 4, COARSE: 1}
"""Every so many photographs of each data set are used."""


class Measured:
    """Features, logits and labels of the photographs of all data sets under one network.

    Args:
        sources: the photographs.
        engine: the network.
        side: of its input.
        cache: where what the network gives is kept, one file a data set.
    """

    def __init__(self, sources: list[Source], engine: Engine, side: int, cache: Path) -> None:
        self._sources = {source.name: source for source in sources}
        self._outputs: dict[str, tuple[Floats, Floats]] = {}
        cache.mkdir(parents=True, exist_ok=True)
        for source in sources:
            file = cache / f"{source.name}.npz"
            if not file.exists():
                features, logits = _outputs(source, engine, side)
                np.savez(file, features=features, logits=logits)
            with np.load(file) as saved:
                self._outputs[source.name] = saved["features"], saved["logits"]

    def rows(self, name: str, part: str) -> NDArray[np.bool_]:
        """Which photographs of a data set are in "training", "held_out" or "fruit"."""
        return np.array(getattr(self._sources[name], part))[:: EVERY[name]]

    def labels(self, name: str, what: str) -> NDArray[Any]:
        """ "kinds" or "fine" of a data set, as text."""
        return np.array([str(v) for v in getattr(self._sources[name], what)])[:: EVERY[name]]

    def features(self, name: str) -> Floats:
        """float32 [n, d] of a data set."""
        return self._outputs[name][0]

    def logits(self, name: str) -> Floats:
        """float32 [n, classes] of a data set."""
        return self._outputs[name][1]


def _outputs(source: Source, engine: Engine, side: int) -> tuple[Floats, Floats]:
    parts = []
    every = EVERY[source.name]
    for start in range(0, len(source.images), 64 * every):
        some = source.images[start : start + 64 * every : every]
        parts.append(in_batches(engine, np.stack([resized(image, side) for image in some])))
    features, logits = zip(*parts, strict=True)
    return np.concatenate(features), np.concatenate(logits)


def coarse(source: Source) -> Source:
    """Fruit of the held-out photographs, at the 64 pixels of Tiny ImageNet."""
    pairs = zip(source.fruit, source.held_out, strict=True)
    rows = [row for row, (fruit, held_out) in enumerate(pairs) if fruit and held_out]
    return Source(
        COARSE,
        [resized(source.images[row], 64) for row in rows],
        [source.kinds[row] for row in rows],
        [source.fine[row] for row in rows],
        [False] * len(rows),
        [True] * len(rows),
        [True] * len(rows),
    )


def frames(measured: Measured) -> dict[str, Any]:
    """33 classes of Fruits-360, tried on the held-out blocks of frames."""
    training = measured.rows("fruits360", "training")
    testing = measured.rows("fruits360", "held_out")
    return _tried(measured, "fruits360", "fine", training, testing)


def varieties(measured: Measured) -> dict[str, Any]:
    """Apple, cherry or tomato, tried on the ten held-out varieties."""
    training = measured.rows("varieties", "training")
    return _tried(measured, "varieties", "kinds", training, ~training)


def shop_fine(measured: Measured) -> dict[str, Any]:
    """Fruit of Grocery, its finest labels, tried on its val part."""
    fruit, training = measured.rows("grocery", "fruit"), measured.rows("grocery", "training")
    return _tried(measured, "grocery", "fine", fruit & training, fruit & ~training)


def shop_coarse(measured: Measured) -> dict[str, Any]:
    """Fruit of Grocery, its coarse labels, tried on its val part."""
    fruit, training = measured.rows("grocery", "fruit"), measured.rows("grocery", "training")
    return _tried(measured, "grocery", "kinds", fruit & training, fruit & ~training)


def street(measured: Measured) -> dict[str, Any]:
    """Photographs of Grocery, named by a classifier that was fitted on Fruits-360 alone."""
    studio, shop = measured.labels("fruits360", "kinds"), measured.labels("grocery", "kinds")
    shared = set(studio) & set(shop[measured.rows("grocery", "fruit")])
    training = measured.rows("fruits360", "training") & np.isin(studio, list(shared))
    model = classifier().fit(measured.features("fruits360")[training], studio[training])
    testing = np.isin(shop, list(shared)) & measured.rows("grocery", "fruit")
    right = model.predict(measured.features("grocery")) == shop
    val = testing & ~measured.rows("grocery", "training")
    return {
        "fruits": len(shared),
        "val part": share(right[val]),
        # Fair only to a network that was not taught on them.
        "train part": share(right[testing & ~val]),
    }


def not_fruit(measured: Measured) -> dict[str, Any]:
    """AUROC of fruit against classes of Tiny ImageNet that are not fruit and were held out."""
    tiny = measured.labels("tiny", "kinds") == NOT_FRUIT
    sets = {
        name: (
            measured.features(name)[measured.rows(name, "training") & fruit],
            measured.features(name)[measured.rows(name, "held_out") & fruit],
        )
        for name, fruit in (
            ("fruits360", measured.rows("fruits360", "fruit")),
            ("grocery", measured.rows("grocery", "fruit")),
            ("tiny", tiny),
        )
    }
    fitted = [sets["fruits360"][0][::8], sets["grocery"][0], sets["tiny"][0]]
    truth = np.repeat([1, 1, 0], [len(part) for part in fitted])
    model = classifier().fit(np.concatenate(fitted), truth)
    scores = {name: model.decision_function(tested) for name, (_, tested) in sets.items()}
    small = model.decision_function(measured.features(COARSE))
    return {
        "photographs in shops": auroc(scores["grocery"], scores["tiny"]),
        "the same at 64 px, as coarse as the others": auroc(small, scores["tiny"]),
        "held-out frames": auroc(scores["fruits360"], scores["tiny"]),
    }


def own_names(measured: Measured, names: list[str]) -> dict[str, Any]:
    """What the network says by itself: its logits."""
    result: dict[str, Any] = {}
    fruit = {}
    for name in ("fruits360", "varieties", "grocery", "tiny"):
        rows = measured.rows(name, "held_out")
        chances = softmax(measured.logits(name)[rows])
        if NOT_FRUIT in names:
            fruit[name] = 1.0 - chances[:, names.index(NOT_FRUIT)]
        right = np.array(names)[chances.argmax(1)] == measured.labels(name, "kinds")[rows]
        if name == "grocery":
            own = measured.rows(name, "fruit")[rows]
            fruit[name] = fruit[name][own] if name in fruit else np.zeros(0)
            result["grocery fruit"] = share(right[own])
            result["grocery vegetables"] = share(right[~own])
            result["grocery, calibration error"] = round(ece(chances.max(1), right), 4)
        else:
            result[name] = share(right)
    if NOT_FRUIT in names:
        result |= _sureness(measured, names)
        small = 1.0 - softmax(measured.logits(COARSE))[:, names.index(NOT_FRUIT)]
        result["AUROC, photographs in shops"] = auroc(fruit["grocery"], fruit["tiny"])
        result["AUROC, the same at 64 px"] = auroc(small, fruit["tiny"])
    return result


def _sureness(measured: Measured, names: list[str]) -> dict[str, Any]:
    """Calibration chosen on one half of Grocery's val part and tried on the other, both ways."""
    rows = measured.rows("grocery", "held_out")
    logits, kinds = measured.logits("grocery")[rows], measured.labels("grocery", "kinds")[rows]
    numbers = np.array([names.index(kind) for kind in kinds])
    half = np.random.default_rng(0).permutation(len(kinds)) % 2 == 0
    confidence, sure = np.zeros(len(kinds), np.float32), np.zeros(len(kinds), bool)
    for tried in (half, ~half):
        chosen = calibration(logits[~tried], numbers[~tried])
        confidence[tried] = softmax(logits[tried] / chosen["temperature"]).max(1)
        sure[tried] = confidence[tried] >= chosen["sure"]
    right = logits.argmax(1) == numbers
    kept = np.argsort(-confidence)[: round(0.8 * len(right))]
    return {
        "calibrated, calibration error": round(ece(confidence, right), 4),
        "calibrated, sure": share(sure),
        "calibrated, right where sure": share(right[sure]),
        "calibrated, right in the surest 80 %": share(right[kept]),
    }


TASKS: tuple[Callable[[Measured], dict[str, Any]], ...] = (
    frames,
    varieties,
    shop_fine,
    shop_coarse,
    street,
    not_fruit,
)


def classifier() -> Any:
    """The linear classifier of all tasks."""
    return make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=300))


def share(right: NDArray[Any]) -> list[float]:
    """Share that is right, in percent, and its 95 % interval after Wilson (1927)."""
    n, z = len(right), 1.96
    p = float(right.mean()) if n else 0.0
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return [round(100 * float(v), 1) for v in (p, middle - half, middle + half)]


def auroc(positive: Floats, negative: Floats) -> float:
    """Chance that a positive has a higher score than a negative."""
    truth = np.repeat([1, 0], [len(positive), len(negative)])
    return round(float(roc_auc_score(truth, np.concatenate([positive, negative]))), 4)


def ece(confidence: Floats, right: NDArray[Any], bins: int = 10) -> float:
    """Expected calibration error over equally wide bins."""
    which = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = [
        (which == b).mean() * abs(confidence[which == b].mean() - right[which == b].mean())
        for b in np.unique(which)
    ]
    return float(np.sum(gaps))


def _tried(
    measured: Measured, name: str, what: str, training: NDArray[Any], testing: NDArray[Any]
) -> dict[str, Any]:
    features, labels = measured.features(name), measured.labels(name, what)
    model = classifier().fit(features[training], labels[training])
    right = model.predict(features[testing]) == labels[testing]
    return {"photographs": int(testing.sum()), "accuracy": share(right)}


def speeds(networks: dict[str, tuple[Path, int]]) -> dict[str, dict[str, float]]:
    """Images a second on one thread, batches of 16, by runtime and network.

    All are measured in turn, many times, in processor time, and the best time of each counts:
    other work on the machine disturbs that little, and all alike.
    """
    result = {}
    for runtime in ("openvino bf16", "onnxruntime fp32"):
        best = dict.fromkeys(networks, 0.0)
        engines = {
            name: openvino_engine(path, "bf16")
            if runtime == "openvino bf16"
            else onnxruntime_engine(path)
            for name, (path, _) in networks.items()
        }
        for _ in range(ROUNDS):
            for name, engine in engines.items():
                side = networks[name][1]
                best[name] = max(best[name], speed(engine, np.zeros((BATCH, side, side, 3), "u1")))
        result[runtime] = {name: round(value) for name, value in best.items()}
    return result


def speed(engine: Engine, images: Pixels) -> float:
    """Images a second of processor time in the fastest call of a short while."""
    engine(images)
    times = []
    end = time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        start = time.process_time()
        engine(images)
        times.append(time.process_time() - start)
    return len(images) / min(times, default=np.inf)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Measure network files.")
    parser.add_argument("--network", action="append", required=True, help="FILE:SIDE")
    parser.add_argument("--data", type=Path, required=True, help="folder of the four tars")
    parser.add_argument("--cache", type=Path, required=True, help="folder for features")
    parser.add_argument("--no-speed", action="store_true")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    networks = {}
    for given in options.network:
        file, _, side = given.rpartition(":")
        networks[Path(file).stem] = (Path(file), int(side))
    sources = read_sources(options.data)
    sources.append(coarse(next(source for source in sources if source.name == "grocery")))
    for name, (path, side) in networks.items():
        digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
        cache = options.cache / f"{name}-{digest}-{side}"
        measured = Measured(sources, openvino_engine(path, "f32"), side, cache)
        for task in TASKS:
            print(json.dumps({"network": name, "task": task.__name__} | task(measured)), flush=True)
        about = {p.key: p.value for p in onnx.load(path).metadata_props}
        if "labels" in about:
            labels = json.loads(about["labels"])
            own = own_names(measured, labels)
            print(json.dumps({"network": name, "task": "own_names"} | own), flush=True)
    if not options.no_speed:
        print(json.dumps({"images a second and thread": speeds(networks)}), flush=True)


if __name__ == "__main__":
    main()
