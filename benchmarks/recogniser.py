"""The classifier on frozen features: four tasks whose splits do not leak, and refusing what is
no fruit.

    python benchmarks/recogniser.py DATA --model pomona-s3 --model mobilenet.onnx [--cache DIR]

DATA is the folder of fruits360-33.tar, fruits360-varieties.tar, grocery.tar and tiny-imagenet.tar.
Prints a table, and with ``--json`` one object a line. The penalty and the temperature of each
task are chosen on a part of its own training images, as `pomona train` does.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold

from pomona.embedding.catalogue import resolve
from pomona.embedding.runtime import batch_for, open_runtime
from pomona.images.decoding import DecodeLimits, RejectedImage, decode
from pomona.images.fitting import fit_square
from pomona.images.listing import SkippedFiles, list_images, open_source
from pomona.images.reading import read_images
from pomona.recognition.calibration import by_fruit, expected_error
from pomona.recognition.evaluation import wilson
from pomona.recognition.fruits import load_fruits
from pomona.recognition.learning import TRAINS, VALIDATES, Block, learn
from pomona.recognition.linear import Spread
from pomona.recognition.normalising import normalise
from pomona.recognition.novelty import fit_novelty
from pomona.recognition.splitting import Role, Survey, plan_split
from pomona.recognition.statistics import ClassStatistics
from pomona.spark.kept import Kept
from pomona.storage import open_store

if TYPE_CHECKING:
    from collections.abc import Callable

Matrix = NDArray[np.float32]
Names = NDArray[np.str_]

TO_GROCERY = {
    "Apple": "Apple", "Golden": "Apple", "Granny": "Apple", "Braeburn": "Apple",
    "Avocado": "Avocado", "Grapefruit": "Red-Grapefruit", "Kiwi": "Kiwi", "Lemon": "Lemon",
    "Nectarine": "Nectarine", "Orange": "Orange", "Papaya": "Papaya",
    "Passion": "Passion-Fruit", "Peach": "Peach", "Pear": "Pear", "Plum": "Plum",
    "Pomegranate": "Pomegranate",
}  # fmt: skip
"""First word of a Fruits-360 class to the coarse class of Grocery photographs."""
FRUIT_SYNSETS = ("n07747607", "n07749582", "n07753592", "n07768694", "n07720875", "n07734744")
"""Classes of Tiny ImageNet that show fruit, vegetables or mushrooms."""


class Here(Kept[Block]):
    """One block that lies here, for what otherwise runs on Spark."""

    def __init__(self, block: Block) -> None:
        self._block = block

    def reduce(self, work: Callable[[Block], Any], *, describe: str) -> Any:
        """What the work gives for the block."""
        return work(self._block)

    def at_once(self, work: Callable[[list[Block]], Any], *, describe: str) -> Any:
        """Likewise."""
        return work([self._block])


@dataclass(frozen=True)
class Answered:
    """Test images of a task and what was said of them."""

    confidence: Matrix
    right: NDArray[np.bool_]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", action="append", required=True)
    parser.add_argument("--size", type=int, help="side, for networks that take any")
    parser.add_argument("--cache", type=Path, help="keeps the features between calls")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.cache:
        options.cache.mkdir(parents=True, exist_ok=True)
    for model in options.model:
        for task, answered in tasks(options, model):
            tell(Path(model).stem, task, answered, as_json=options.json)
        for kind, area in refusals(options, model):
            told = {"model": Path(model).stem, "fruit against not fruit": kind, "AUROC": area}
            print(json.dumps(told) if options.json else told, flush=True)


def tasks(options: argparse.Namespace, model: str):
    paths, rows = features(options, model, "fruits360-33")
    labels = np.array([path.split("/")[-2] for path in paths])
    roles = roles_of(paths, labels)
    yield (
        "A: 33 classes, held-out blocks of frames",
        train_and_answer(rows, labels, roles != Role.TEST, roles == Role.TEST, roles),
    )
    species_paths, species_rows = features(options, model, "fruits360-varieties")
    species = np.array([path.split("/")[-3] for path in species_paths])
    varieties = np.array([path.split("/")[-2] for path in species_paths])
    for name, target in (("", species), (" (trained on varieties)", varieties)):
        parts = []
        for _, test in GroupKFold(5, shuffle=True, random_state=0).split(species, groups=varieties):
            held = np.zeros(len(species), bool)
            held[test] = True
            parts.append(by_species(species_rows, species, varieties, target, held))
        yield f"B: species of unseen varieties{name}", joined(parts)
    grocery_paths, grocery_rows = features(options, model, "grocery")
    fruit = np.array(["/Fruit/" in path for path in grocery_paths])
    grocery_paths, grocery_rows = grocery_paths[fruit], grocery_rows[fruit]
    held = np.array(["/val/" in path for path in grocery_paths])
    coarse = np.array([path.split("/")[3] for path in grocery_paths])
    fine = np.array([path.split("/")[-2] for path in grocery_paths])
    for name, target in (("fine", fine), ("coarse", coarse)):
        roles = roles_of(grocery_paths, target)
        yield (
            f"C: Grocery fruit, {name}",
            train_and_answer(grocery_rows, target, ~held, held, roles),
        )
    shared = np.array([TO_GROCERY.get(label.split()[0], "") for label in labels])
    both = np.concatenate([shared, coarse])
    studio = np.arange(len(both)) < len(shared)
    street = ~studio & np.isin(both, list(set(TO_GROCERY.values())))
    every = roles_of(np.concatenate([paths, grocery_paths]), both)
    yield (
        "D: Grocery photographs, trained on Fruits-360 alone",
        train_and_answer(
            np.concatenate([rows, grocery_rows]), both, studio & (both != ""), street, every
        ),
    )


def refusals(options: argparse.Namespace, model: str):
    """AUROC of the novelty score, test images against Tiny ImageNet's other classes."""
    strange_paths, strange = features(options, model, "tiny-imagenet")
    strange = strange[[path.split("/")[-2] not in FRUIT_SYNSETS for path in strange_paths]]
    for name, held in (("fruits360-33", None), ("grocery", "/val/")):
        paths, rows = features(options, model, name)
        if held is not None:
            keep = np.array(["/Fruit/" in path for path in paths])
            paths, rows = paths[keep], rows[keep]
        labels = np.array([path.split("/")[-2] for path in paths])
        roles = roles_of(paths, labels)
        test = roles == Role.TEST if held is None else np.array([held in path for path in paths])
        train = (roles == Role.TRAIN) if held is None else ~test
        classes, index = np.unique(labels[train], return_inverse=True)
        statistics = ClassStatistics.of(normalise(rows[train]), index, len(classes))
        novelty = fit_novelty(Spread(statistics))
        scores = [novelty.score(normalise(part)) for part in (rows[test], strange)]
        is_strange = np.repeat([0, 1], [len(part) for part in scores])
        yield name, round(float(roc_auc_score(is_strange, np.concatenate(scores))), 4)


def roles_of(paths: Names, labels: Names) -> NDArray[np.int8]:
    """Blocks of frames for validation and for the test, whatever the folders say."""
    nothing = [None] * len(paths)
    survey = Survey().see(paths, labels, nothing, nothing)
    return plan_split(survey).roles(list(paths), list(labels), nothing, nothing)


def train_and_answer(
    rows: Matrix,
    labels: Names,
    train: NDArray[np.bool_],
    test: NDArray[np.bool_],
    roles: NDArray[np.int8],
) -> Answered:
    """Choose on the validation blocks of the training images, then train on both."""
    probabilities, classes = learned(rows, labels, train, test, roles)
    known = np.isin(labels[test], classes)
    right = classes[probabilities.argmax(axis=1)] == labels[test]
    return Answered(probabilities.max(axis=1)[known], right[known])


def learned(
    rows: Matrix,
    labels: Names,
    train: NDArray[np.bool_],
    test: NDArray[np.bool_],
    roles: NDArray[np.int8],
) -> tuple[Matrix, Names]:
    rows = normalise(rows)
    fitting = train & np.isin(roles, (Role.TRAIN, Role.VALIDATE))
    classes, numbers = np.unique(labels[fitting], return_inverse=True)
    folds = np.where(roles[fitting] == Role.VALIDATE, VALIDATES, TRAINS).astype(np.int8)
    found = learn(
        Here(Block(rows[fitting], numbers, folds)),
        tuple(classes.tolist()),
        load_fruits(),
        penalty=None,
        risk=0.02,
        refuse=0.02,
    )
    print(f"  penalty {found.penalty}, validation {found.validation}", file=sys.stderr)
    return found.recogniser.recognise_normalised(rows[test])[0], np.array(
        found.recogniser.naming.classes
    )


def by_species(
    rows: Matrix, species: Names, varieties: Names, target: Names, held: NDArray[np.bool_]
) -> Answered:
    """Whole varieties validate, others test; varieties are summed up to their species."""
    names = np.unique(varieties[~held])
    roles = np.where(np.isin(varieties, names[::6]), Role.VALIDATE, Role.TRAIN).astype(np.int8)
    if target is varieties:
        # A held-out variety is no class: blocks of frames of the known ones validate.
        numbers = np.arange(len(rows)) % 150
        roles = np.where(numbers < 22, Role.VALIDATE, Role.TRAIN).astype(np.int8)
    probabilities, classes = learned(rows, target, ~held, held, roles)
    species_of = dict(zip(target, species, strict=True))
    kinds, index = np.unique([species_of[name] for name in classes], return_inverse=True)
    summed = by_fruit(probabilities, index)
    return Answered(summed.max(axis=1), kinds[summed.argmax(axis=1)] == species[held])


def joined(parts: list[Answered]) -> Answered:
    return Answered(
        np.concatenate([part.confidence for part in parts]),
        np.concatenate([part.right for part in parts]),
    )


def tell(model: str, task: str, found: Answered, *, as_json: bool) -> None:
    count, right = len(found.right), int(found.right.sum())
    low, high = wilson(right, count)
    order = np.argsort(-found.confidence, kind="stable")[: round(0.8 * count)]
    facts = {
        "model": model,
        "task": task,
        "images": count,
        "accuracy": round(right / count, 4),
        "interval": [round(low, 4), round(high, 4)],
        "ece": round(expected_error(found.confidence, found.right), 4),
        "accuracy at 80 % coverage": round(float(found.right[order].mean()), 4),
    }
    if as_json:
        print(json.dumps(facts), flush=True)
    else:
        print(
            f"{model:12} {task:54} {right / count:6.1%} ({low:.1%} to {high:.1%}), "
            f"ECE {facts['ece']:.1%}, the surest 80 %: {facts['accuracy at 80 % coverage']:.1%}",
            flush=True,
        )


def features(options: argparse.Namespace, model: str, name: str) -> tuple[Names, Matrix]:
    """Paths and features of a tar, in the order of paths."""
    kept = options.cache / f"{Path(model).stem}-{name}.npz" if options.cache else None
    if kept is not None and kept.exists():
        with np.load(kept, allow_pickle=False) as arrays:
            return arrays["p"], arrays["x"]
    network = resolve(model, size=options.size)
    runtime = open_runtime(network, engine="openvino", precision="fp32", threads=1)
    size, limits = network.spec.size, DecodeLimits()
    pixels = np.empty((batch_for(size), size, size, 3), np.uint8)
    paths: list[str] = []
    found: list[Matrix] = []
    filled = 0
    source = open_source(str(options.data / f"{name}.tar"))
    for batch in list_images(source, SkippedFiles()):
        names = batch.column("path").to_pylist()
        for path, blob in zip(
            names, read_images(open_store(source.root), batch, limits), strict=True
        ):
            if isinstance(blob, RejectedImage):
                continue
            fit_square(decode(blob, wanted=size, limits=limits).pixels, pixels[filled])
            paths.append(path)
            filled += 1
            if filled == len(pixels):
                found.append(runtime.embed(pixels))
                filled = 0
    if filled:
        found.append(runtime.embed(np.ascontiguousarray(pixels[:filled])))
    order = np.argsort(np.array(paths), kind="stable")
    names, rows = np.array(paths)[order], np.concatenate(found)[order]
    if kept is not None:
        np.savez(kept, p=names, x=rows)
    return names, rows


if __name__ == "__main__":
    main()
