"""Trains the built-in network from random weights and writes it as ONNX.

    python training/train.py --data fruits360-33.tar --output out

writes ``pomona-s1.onnx``, ``pomona-s1.json`` and ``pomona-s1.jsonl``, the log, into ``out``.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from augmentation import augmented, covers
from data import Photographs, Split, read_photographs, split_runs
from export import write_network
from network import DIMENSION, Network
from verify import verify

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TextIO

    from data import Indices

NAME = "pomona-s1"


@dataclass(frozen=True)
class Recipe:
    """What decides the weights, besides the data."""

    epochs: int = 25
    seed: int = 20
    batch: int = 128
    rate: float = 0.1
    """Highest learning rate, reached after ``warmup`` of all steps, then down to 0 by a cosine."""
    warmup: float = 0.1
    momentum: float = 0.9
    decay: float = 5e-4
    """Weight decay of the convolutions and classifiers; not of normalisations and biases."""
    smoothing: float = 0.1
    views: float = 0.5
    """Weight of the loss that asks which part of which run is seen."""
    decorrelation: float = 0.04
    """Weight of the loss that keeps features from repeating each other."""
    bf16: bool = True


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Train the built-in network.")
    parser.add_argument("--data", type=Path, required=True, help="fruits360-33.tar")
    parser.add_argument("--output", type=Path, required=True, help="folder to write to")
    parser.add_argument("--epochs", type=int, default=Recipe.epochs)
    parser.add_argument("--seed", type=int, default=Recipe.seed)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--fp32", action="store_true", help="for CPUs without bf16: slower")
    options = parser.parse_args()
    recipe = Recipe(epochs=options.epochs, seed=options.seed, bf16=not options.fp32)
    torch.set_num_threads(options.threads)
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False

    photographs = read_photographs(options.data)
    split = split_runs(photographs.runs, recipe.seed)
    options.output.mkdir(parents=True, exist_ok=True)
    with (options.output / f"{NAME}.jsonl").open("w") as log:
        network = trained(photographs, split, recipe, log)
    path = options.output / f"{NAME}.onnx"
    write_network(network.folded(), photographs.classes, path)
    difference = verify(network, path, photographs.images[split.validation[::20]])
    print(json.dumps({"file": path.name, "largest_difference": difference}))


def trained(photographs: Photographs, split: Split, recipe: Recipe, log: TextIO) -> Network:
    """A network trained on ``split.training``; one JSON line an epoch goes to ``log``."""
    torch.manual_seed(recipe.seed)
    views = photographs.views()
    network = Network(len(photographs.classes)).to(memory_format=torch.channels_last)
    view_classifier = nn.Linear(DIMENSION, int(views.max()) + 1)
    optimizer = _optimizer(nn.ModuleList([network, view_classifier]), recipe)
    steps = recipe.epochs * (len(split.training) // recipe.batch)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, steps, recipe))

    images = torch.from_numpy(photographs.images)
    cover = torch.from_numpy(covers(photographs.images))
    labels, view_labels = torch.from_numpy(photographs.labels), torch.from_numpy(views)
    start = time.monotonic()
    for epoch in range(1, recipe.epochs + 1):
        network.train()
        losses = []
        for chosen in _batches(torch.from_numpy(split.training), recipe.batch):
            batch = augmented(images[chosen], cover[chosen])
            with torch.autocast("cpu", torch.bfloat16, enabled=recipe.bf16):
                features = network.features(batch.contiguous(memory_format=torch.channels_last))
            named = functional.cross_entropy(
                network.classifier(features), labels[chosen], label_smoothing=recipe.smoothing
            )
            viewed = functional.cross_entropy(
                view_classifier(features), view_labels[chosen], label_smoothing=recipe.smoothing
            )
            loss = named + recipe.views * viewed + recipe.decorrelation * correlation(features)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        line = {
            "epoch": epoch,
            "loss": round(float(np.mean(losses)), 4),
            "validation_accuracy": round(accuracy(network, photographs, split.validation), 4),
            "seed": recipe.seed,
            "seconds": round(time.monotonic() - start, 1),
        }
        print(json.dumps(line), file=log, flush=True)
        print(json.dumps(line), flush=True)
    return network


def correlation(features: Tensor) -> Tensor:
    """Sum of squared correlations of a feature with the others, averaged over the features.

    The off-diagonal term of Barlow Twins, Zbontar et al. 2021, https://arxiv.org/abs/2103.03230,
    within one batch [n, d]. Zero where no two features say the same; d - 1 where all do.
    """
    centred = features - features.mean(0)
    scaled = centred / (centred.norm(dim=0) + 1e-4)
    correlations = scaled.T @ scaled
    off_diagonal = correlations.square().sum() - correlations.diagonal().square().sum()
    return off_diagonal / len(correlations)


@torch.inference_mode()
def accuracy(network: Network, photographs: Photographs, chosen: Indices) -> float:
    """Share of the chosen photographs, as they are, that the network names rightly."""
    network.eval()
    right = 0
    for part in np.array_split(chosen, math.ceil(len(chosen) / 256)):
        logits = network(torch.from_numpy(photographs.images[part])).logits
        right += int((logits.argmax(1).numpy() == photographs.labels[part]).sum())
    return right / len(chosen)


def _batches(indices: Tensor, size: int) -> Iterator[Tensor]:
    """Full batches of shuffled indices; the few left over wait for another epoch."""
    shuffled = indices[torch.randperm(len(indices))]
    yield from shuffled[: len(shuffled) // size * size].split(size)


def _optimizer(modules: nn.Module, recipe: Recipe) -> torch.optim.SGD:
    matrices = [p for p in modules.parameters() if p.ndim > 1]
    vectors = [p for p in modules.parameters() if p.ndim <= 1]
    return torch.optim.SGD(
        [{"params": matrices, "weight_decay": recipe.decay}, {"params": vectors}],
        lr=recipe.rate,
        momentum=recipe.momentum,
        nesterov=True,
    )


def _rate(step: int, steps: int, recipe: Recipe) -> float:
    """Learning rate at a step, as a share of ``recipe.rate``."""
    warm = recipe.warmup * steps
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1.0 + math.cos(math.pi * (step - warm) / (steps - warm)))


if __name__ == "__main__":
    main()
