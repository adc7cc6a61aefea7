"""Trains the built-in network from random weights on the views that ``views.py`` made.

    python training/train.py --views views --output out --minutes 80

Two processes of one thread each work on half a batch and average their gradients: on a busy
machine two threads of one process wait for each other at every operation, these only once a step.
The learning rate and the size of the pictures follow the share of the time that has passed, so
the schedule ends when the time does, however slow the machine is. ``out/checkpoint.pt`` is
written every few minutes; the same command goes on from it.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import os
import time
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, distributed, nn
from torch.nn import functional

from lesson import read_lesson
from network import DIMENSION, Network
from validation import read_validation

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lesson import Batch, Lesson


@dataclass(frozen=True)
class Recipe:
    """What decides the weights, besides the data and the speed of the machine."""

    minutes: float = 80.0
    seed: int = 20
    batch: int = 128
    rate: float = 0.1
    """Highest learning rate, reached after ``warmup`` of the time, then down to 0 by a cosine."""
    warmup: float = 0.04
    momentum: float = 0.9
    decay: float = 2e-4
    """Weight decay of the convolutions and classifiers; not of normalisations and biases."""
    smoothing: float = 0.1
    teaching: float = 10.0
    """Weight of the squared difference to the teacher's components."""
    clip: float = 4.0
    average: float = 0.998
    """Of the weights that ship: a running mean with this decay a step."""
    sizes: tuple[tuple[float, int], ...] = ((0.5, 64), (0.75, 80), (1.0, 96))
    """Side of the pictures until which share of the time."""
    optimizer: str = "sgd"


class Pupil(nn.Module):
    """The network with the heads that are dropped afterwards."""

    def __init__(self, lesson: Lesson, recipe: Recipe) -> None:
        super().__init__()
        self.network = Network(len(lesson.kinds))
        self.fine = nn.Linear(DIMENSION, len(lesson.fines))
        self.listener = nn.Linear(DIMENSION, lesson.taught.shape[1])
        self._mask = lesson.mask()
        self._recipe = recipe

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Loss by task: the kind, the data set's own label, the teacher."""
        with torch.autocast("cpu", torch.bfloat16):
            features = self.network.features(batch.pictures)
        smoothing = self._recipe.smoothing
        kinds = functional.cross_entropy(
            self.network.classifier(features),
            batch.kind,
            ignore_index=-1,
            label_smoothing=smoothing,
        )
        mask = self._mask[batch.source]
        logs = functional.log_softmax(self.fine(features) + mask, 1)
        own = logs.gather(1, batch.fine[:, None])[:, 0]
        # Smoothed over the labels of the same data set only.
        others = logs.masked_fill(mask < 0, 0.0).sum(1) / (mask == 0).sum(1)
        fine = -((1 - smoothing) * own + smoothing * others).mean()
        taught = (self.listener(features) - batch.taught).square().mean()
        return {"kind": kinds, "fine": fine, "teacher": taught}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Train the built-in network.")
    parser.add_argument("--views", type=Path, required=True, help="what views.py wrote")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=Recipe.minutes)
    parser.add_argument("--seed", type=int, default=Recipe.seed)
    parser.add_argument("--optimizer", default=Recipe.optimizer)
    parser.add_argument("--rate", type=float, default=Recipe.rate)
    parser.add_argument("--decay", type=float, default=Recipe.decay)
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    recipe = Recipe(
        minutes=options.minutes,
        seed=options.seed,
        optimizer=options.optimizer,
        rate=options.rate,
        decay=options.decay,
    )
    options.output.mkdir(parents=True, exist_ok=True)
    meeting = options.output / "meeting"
    meeting.unlink(missing_ok=True)
    torch.multiprocessing.spawn(work, (options, recipe), nprocs=options.processes)


def work(rank: int, options: argparse.Namespace, recipe: Recipe) -> None:
    """One of the processes."""
    torch.set_num_threads(1)
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    distributed.init_process_group(
        "gloo",
        init_method=f"file://{(options.output / 'meeting').resolve()}",
        rank=rank,
        world_size=options.processes,
        timeout=timedelta(hours=3),
    )
    torch.manual_seed(recipe.seed)
    lesson = read_lesson(options.views)
    pupil = Pupil(lesson, recipe).to(memory_format=torch.channels_last)
    average = copy.deepcopy(pupil.network)
    optimizer = _optimizer(pupil, recipe)
    step, spent = 0, 0.0
    checkpoint = options.output / "checkpoint.pt"
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        pupil.load_state_dict(saved["pupil"])
        average.load_state_dict(saved["average"])
        optimizer.load_state_dict(saved["optimizer"])
        step, spent = saved["step"], saved["spent"]
    validation = read_validation(options.views, lesson.kinds) if rank == 0 else None
    log = (options.output / "log.jsonl").open("a") if rank == 0 else None
    random = np.random.default_rng([recipe.seed, rank, step])
    parameters = list(pupil.parameters())
    start, noted, sums, seen = time.monotonic() - spent, time.monotonic(), {}, 0
    if log and step == 0:
        print(json.dumps(asdict(recipe)), file=log, flush=True)
    share = spent / (60.0 * recipe.minutes)
    while share < 1.0:
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate * _rate(share, recipe)
        side = next(side for until, side in recipe.sizes if share < until or until == 1.0)
        pupil.train()
        losses = pupil.losses(lesson.batch(recipe.batch // options.processes, side, random))
        optimizer.zero_grad()
        (losses["kind"] + losses["fine"] + recipe.teaching * losses["teacher"]).backward()
        # All processes must agree on the time as well, so it travels with the gradients.
        share = _averaged(parameters, (time.monotonic() - start) / (60.0 * recipe.minutes))
        nn.utils.clip_grad_norm_(parameters, recipe.clip)
        optimizer.step()
        step += 1
        seen += recipe.batch
        if rank == 0:
            _follow(average, pupil.network, min(recipe.average, (1 + step) / (10 + step)))
            for name, loss in losses.items():
                sums[name] = sums.get(name, 0.0) + loss.item()
            if time.monotonic() - noted > 150 or share >= 1.0:
                assert validation is not None and log is not None
                steps = seen // recipe.batch
                line: dict[str, Any] = {"step": step, "share": round(share, 4), "side": side}
                line |= {name: round(total / steps, 4) for name, total in sums.items()}
                line["images_per_second"] = round(seen / (time.monotonic() - noted))
                line |= validation.accuracies(average)
                line |= {"seconds": round(time.monotonic() - start), "seed": recipe.seed}
                print(json.dumps(line), file=log, flush=True)
                saved = {
                    "pupil": pupil.state_dict(),
                    "average": average.state_dict(),
                    "optimizer": optimizer.state_dict(),
                    "step": step,
                    "spent": time.monotonic() - start,
                    "kinds": list(lesson.kinds),
                }
                torch.save(saved, checkpoint.with_suffix(".tmp"))
                checkpoint.with_suffix(".tmp").replace(checkpoint)
                noted, sums, seen = time.monotonic(), {}, 0
    distributed.destroy_process_group()


def _averaged(parameters: list[nn.Parameter], share: float) -> float:
    """Averages the gradients over the processes, in place, and ``share``, which is returned."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([*(g.flatten() for g in gradients), torch.tensor([share])])
    distributed.all_reduce(flat)
    flat /= distributed.get_world_size()
    start = 0
    for gradient in gradients:
        gradient.copy_(flat[start : start + gradient.numel()].view_as(gradient))
        start += gradient.numel()
    return float(flat[-1])


@torch.no_grad()
def _follow(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Moves the running mean of weights and statistics towards the network's."""
    own, new = average.state_dict(), network.state_dict()
    for name, value in own.items():
        if value.is_floating_point():
            value.lerp_(new[name], 1.0 - decay)


def _optimizer(pupil: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    matrices = [p for p in pupil.parameters() if p.ndim > 1]
    vectors: Iterable[nn.Parameter] = [p for p in pupil.parameters() if p.ndim <= 1]
    groups = [
        {"params": matrices, "weight_decay": recipe.decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=recipe.rate, betas=(0.9, 0.98))
    return torch.optim.SGD(groups, lr=recipe.rate, momentum=recipe.momentum, nesterov=True)


def _rate(share: float, recipe: Recipe) -> float:
    """Learning rate after a share of the time, as a share of ``recipe.rate``."""
    if share < recipe.warmup:
        return max(share, 0.001) / recipe.warmup
    return 0.5 * (1.0 + math.cos(math.pi * (share - recipe.warmup) / (1.0 - recipe.warmup)))


if __name__ == "__main__":
    main()
