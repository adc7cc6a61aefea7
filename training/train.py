"""Trains the built-in network from random weights on the views that ``views.py`` made.

    python training/train.py --stage first --views views-1 --output out-1 --minutes 74
    python training/train.py --stage second --views views-1 views-2 \\
        --start out-1/checkpoint.pt --output out-2 --minutes 55

Two processes of one thread each work on half a batch and average their gradients: on a busy
machine two threads of one process wait for each other at every operation, these only once a step.
The learning rate and the size of the pictures follow the share of the time that has passed, so
the schedule ends when the time does, however slow the machine is. ``out/checkpoint.pt`` is
written every few minutes; the same command goes on from it.

The first stage learns from nothing, the second goes on from its weights with fresh views, at a
high learning rate again, and makes it harder to know the photographs by heart.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import os
import time
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, distributed, nn
from torch.nn import functional

from bridge import Bridge
from lesson import mixed, read_lesson
from network import DIMENSION, Network
from validation import read_validation

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lesson import Batch, Lesson, Mixed


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
    mixing: float = 0.0
    """Share of the batches of which each picture has a part of another's."""
    bridging: float = 0.0
    """Weight of the loss that draws studio and shop together, in the other batches."""

    def mixes(self, step: int) -> bool:
        """Whether that step's pictures are mixed: the same in all processes."""
        return int((step + 1) * self.mixing) > int(step * self.mixing)


RECIPES = {
    "first": Recipe(),
    "second": Recipe(
        minutes=55.0,
        seed=21,
        rate=0.05,
        smoothing=0.05,
        sizes=((0.5, 80), (1.0, 96)),
        mixing=0.5,
        bridging=0.5,
    ),
}


class Pupil(nn.Module):
    """The network with the heads that are dropped afterwards."""

    def __init__(self, lesson: Lesson, recipe: Recipe) -> None:
        super().__init__()
        self.network = Network(len(lesson.kinds))
        self.fine = nn.Linear(DIMENSION, len(lesson.fines))
        self.listener = nn.Linear(DIMENSION, lesson.taught.shape[1])
        self.bridge = Bridge(len(lesson.kinds))
        self._mask = lesson.mask()
        self._filmed = lesson.filmed()
        self._recipe = recipe

    def losses(self, batch: Batch, mix: Mixed | None) -> dict[str, Tensor]:
        """Loss by task: the kind, the data set's own label, the teacher; maybe the bridge."""
        pictures = batch.pictures if mix is None else mix.pictures
        with torch.autocast("cpu", torch.bfloat16):
            features = self.network.features(pictures)
        named, own = self.network.classifier(features), self.fine(features)
        kinds, fines = self._kinds(named, batch.kind), self._fines(own, batch.source, batch.fine)
        taught, bridged = batch.taught, {}
        if mix is not None:
            kinds = mix.own * kinds + (1 - mix.own) * self._kinds(named, batch.kind[mix.other])
            fines = mix.own * fines + (1 - mix.own) * self._fines(
                own, batch.source[mix.other], batch.fine[mix.other]
            )
            # Features are a mean over the picture, so those of its parts add up by area.
            taught = mix.own * taught + (1 - mix.own) * taught[mix.other]
        elif self._recipe.bridging:
            filmed = self._filmed[batch.source]
            bridged = {"bridge": self.bridge(features, batch.kind, filmed)}
        heard = (self.listener(features) - taught).square().mean()
        return {"kind": kinds, "fine": fines, "teacher": heard} | bridged

    def total(self, losses: dict[str, Tensor]) -> Tensor:
        """What is minimised."""
        recipe = self._recipe
        main = losses["kind"] + losses["fine"] + recipe.teaching * losses["teacher"]
        return main + recipe.bridging * losses.get("bridge", 0.0)

    def _kinds(self, logits: Tensor, kind: Tensor) -> Tensor:
        smoothing = self._recipe.smoothing
        return functional.cross_entropy(logits, kind, ignore_index=-1, label_smoothing=smoothing)

    def _fines(self, logits: Tensor, source: Tensor, fine: Tensor) -> Tensor:
        said = fine >= 0
        smoothing, mask = self._recipe.smoothing, self._mask[source[said]]
        logs = functional.log_softmax(logits[said] + mask, 1)
        own = logs.gather(1, fine[said, None])[:, 0]
        # Smoothed over the labels of the same data set only.
        others = logs.masked_fill(mask < 0, 0.0).sum(1) / (mask == 0).sum(1)
        return -((1 - smoothing) * own + smoothing * others).mean()


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Train the built-in network.")
    parser.add_argument("--stage", choices=sorted(RECIPES), required=True)
    parser.add_argument(
        "--views", type=Path, nargs="+", required=True, help="folders that views.py wrote"
    )
    parser.add_argument("--start", type=Path, help="checkpoint of the stage before")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    recipe = RECIPES[options.stage]
    given = {"minutes": options.minutes, "seed": options.seed}
    recipe = replace(recipe, **{name: v for name, v in given.items() if v is not None})
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
    if options.start and not checkpoint.exists():
        saved = torch.load(options.start, weights_only=True)
        # The bridge begins anew.
        trained = {k: v for k, v in saved["pupil"].items() if not k.startswith("bridge.")}
        pupil.load_state_dict(pupil.state_dict() | trained)
        average.load_state_dict(saved["average"])
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        pupil.load_state_dict(saved["pupil"])
        average.load_state_dict(saved["average"])
        optimizer.load_state_dict(saved["optimizer"])
        step, spent = saved["step"], saved["spent"]
    validation = read_validation(options.views[0], lesson.kinds) if rank == 0 else None
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
        batch = lesson.batch(recipe.batch // options.processes, side, random)
        losses = pupil.losses(batch, mixed(batch, random) if recipe.mixes(step) else None)
        optimizer.zero_grad()
        pupil.total(losses).backward()
        # All processes must agree on the time as well, so it travels with the gradients.
        share = _averaged(parameters, (time.monotonic() - start) / (60.0 * recipe.minutes))
        nn.utils.clip_grad_norm_(parameters, recipe.clip)
        optimizer.step()
        step += 1
        seen += recipe.batch
        if rank == 0:
            _follow(average, pupil.network, min(recipe.average, (1 + step) / (10 + step)))
            for name, loss in losses.items():
                sums.setdefault(name, []).append(loss.item())
            if time.monotonic() - noted > 150 or share >= 1.0:
                assert validation is not None and log is not None
                line: dict[str, Any] = {"step": step, "share": round(share, 4), "side": side}
                line |= {name: round(float(np.mean(some)), 4) for name, some in sums.items()}
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
    return torch.optim.SGD(groups, lr=recipe.rate, momentum=recipe.momentum, nesterov=True)


def _rate(share: float, recipe: Recipe) -> float:
    """Learning rate after a share of the time, as a share of ``recipe.rate``."""
    if share < recipe.warmup:
        return max(share, 0.001) / recipe.warmup
    return 0.5 * (1.0 + math.cos(math.pi * (share - recipe.warmup) / (1.0 - recipe.warmup)))


if __name__ == "__main__":
    main()
