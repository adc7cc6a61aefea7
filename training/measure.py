"""Measures a network file: accuracy, speed, bf16 against fp32, and features on other data.

    python training/measure.py --network pomona-s1.onnx --data fruits360-33.tar \\
        --varieties fruits360-varieties.tar --grocery grocery.tar

prints one JSON object a measurement. Any file from ``image`` uint8 [n, h, w, 3] to ``features``
can be measured; ``logits`` are used where they are of the classes of the data.
"""

from __future__ import annotations

import argparse
import io
import json
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from augmentation import augmented, covers
from data import members, read_photographs, split_runs
from engines import in_batches, onnxruntime_engine, openvino_engine
from network import SIZE
from train import Recipe

if TYPE_CHECKING:
    from pathlib import PurePosixPath

    from numpy.typing import NDArray

    from data import Pixels
    from engines import Engine, Floats

SECONDS = 3.0
"""Time given to each measurement of speed."""
BATCHES = (1, 16, 64)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Measure a network file.")
    parser.add_argument("--network", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True, help="fruits360-33.tar")
    parser.add_argument("--seed", type=int, default=Recipe.seed, help="seed of the split")
    parser.add_argument("--varieties", type=Path, help="fruits360-varieties.tar")
    parser.add_argument("--grocery", type=Path, help="grocery.tar")
    options = parser.parse_args()

    photographs = read_photographs(options.data)
    split = split_runs(photographs.runs, options.seed)
    engines = {
        "onnxruntime fp32": onnxruntime_engine(options.network),
        "openvino fp32": openvino_engine(options.network, "f32"),
        "openvino bf16": openvino_engine(options.network, "bf16"),
    }
    fp32 = engines["openvino fp32"]
    for name, engine in engines.items():
        speeds = {size: round(speed(engine, photographs.images[:size])) for size in BATCHES}
        report(f"images a second and thread, {name}, by batch", speeds)

    outputs = {name: in_batches(engine, photographs.images) for name, engine in engines.items()}
    labels = photographs.labels
    for name, (_, logits) in outputs.items():
        engine = engines[name]
        if logits.shape[1] == len(photographs.classes):
            right = logits.argmax(1)[split.validation] == labels[split.validation]
            report(f"accuracy on held-out runs, logits, {name}", round(float(right.mean()), 4))
            changed = changed_images(photographs.images[split.validation])
            right = in_batches(engine, changed)[1].argmax(1) == labels[split.validation]
            report(f"the same, images augmented, {name}", round(float(right.mean()), 4))
    features = outputs["openvino fp32"][0]
    cosines = cosine(features, outputs["openvino bf16"][0])
    centred = cosine(features - features.mean(0), outputs["openvino bf16"][0] - features.mean(0))
    report(
        "cosine of bf16 and fp32 features",
        {"mean": cosines.mean(), "min": cosines.min(), "mean when centred": centred.mean()},
    )
    report("spread of the features", spread(features[split.training]))
    report(
        "accuracy on held-out runs, linear classifier on features",
        probe(features, labels, split.training, split.validation),
    )
    if options.varieties:
        report("species of unseen varieties", unseen_varieties(fp32, options.varieties))
    if options.grocery:
        report("shop photographs of fruit", shop_photographs(fp32, options.grocery))


def report(what: str, value: Any) -> None:
    """Prints one measurement."""
    print(json.dumps({what: value}, default=float), flush=True)


def speed(engine: Engine, images: Pixels) -> float:
    """Images a second in the fastest tenth of the calls, which other work disturbed least."""
    engine(images)
    times = []
    end = time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        start = time.perf_counter()
        engine(images)
        times.append(time.perf_counter() - start)
    return len(images) / float(np.quantile(times, 0.1))


def cosine(a: Floats, b: Floats) -> Floats:
    """Cosine similarity of each row of ``a`` and the same row of ``b``."""
    return (a * b).sum(1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))


def spread(features: Floats) -> dict[str, float]:
    """How many directions the features use.

    The participation ratio of the eigenvalues of the covariance, (sum)^2 / sum of squares, is d
    for d equal directions and 1 for a single one.
    """
    eigenvalues = np.linalg.eigvalsh(np.cov(features, rowvar=False).astype(np.float64))[::-1]
    shares = np.cumsum(eigenvalues) / eigenvalues.sum()
    return {
        "components for 90 %": int(np.searchsorted(shares, 0.90)) + 1,
        "components for 95 %": int(np.searchsorted(shares, 0.95)) + 1,
        "components for 99 %": int(np.searchsorted(shares, 0.99)) + 1,
        "participation ratio": round(eigenvalues.sum() ** 2 / (eigenvalues**2).sum(), 1),
        "constant features": int((features.std(0) < 1e-6).sum()),
    }


def probe(
    features: Floats, labels: NDArray[Any], training: NDArray[Any], testing: NDArray[Any]
) -> float:
    """Accuracy of a linear classifier trained on some rows and tried on others."""
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=300))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(features[training], labels[training])
    return round(float((model.predict(features[testing]) == labels[testing]).mean()), 4)


def changed_images(images: Pixels) -> Pixels:
    """The images as training would show them: turned, zoomed, relit, some off white."""
    torch.manual_seed(1)
    changed = augmented(torch.from_numpy(images), torch.from_numpy(covers(images)))
    pixels: Pixels = changed.round().byte().permute(0, 2, 3, 1).contiguous().numpy()
    return pixels


def unseen_varieties(engine: Engine, tar: Path) -> dict[str, float]:
    """Species, with whole varieties held out in turn: mean accuracy over five folds."""
    paths, images = photographs_of(tar)
    features = in_batches(engine, images)[0]
    species = np.array([path.parts[-3] for path in paths])
    varieties = np.array([path.parts[-2] for path in paths])
    folds = GroupKFold(5, shuffle=True, random_state=0).split(features, species, varieties)
    scores = [probe(features, species, training, testing) for training, testing in folds]
    return {"mean of 5 folds": round(float(np.mean(scores)), 4), "lowest": min(scores)}


def shop_photographs(engine: Engine, tar: Path) -> dict[str, float]:
    """Fruit of the Grocery data set, trained on its train part and tried on its val part."""
    paths, images = photographs_of(tar, part="Fruit")
    features = in_batches(engine, images)[0]
    training = np.array([path.parts[1] == "train" for path in paths])
    fine = np.array([path.parts[-2] for path in paths])
    coarse = np.array([path.parts[3] for path in paths])
    return {
        "fine": probe(features, fine, training, ~training),
        "coarse": probe(features, coarse, training, ~training),
    }


def photographs_of(tar: Path, part: str = "") -> tuple[list[PurePosixPath], Pixels]:
    """Paths and images of a tar, squeezed to the size of the network."""
    paths, images = [], []
    for path, content in members(tar):
        if part and part not in path.parts:
            continue
        with Image.open(io.BytesIO(content)) as picture:
            small = picture.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BOX)
        paths.append(path)
        images.append(np.asarray(small))
    return paths, np.stack(images)


if __name__ == "__main__":
    main()
