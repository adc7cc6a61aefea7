"""The mean of the weights of two stages, as a checkpoint that ``export.py`` takes.

    python training/mean.py --checkpoints out-1/checkpoint.pt out-2/checkpoint.pt \\
        --views views-1 views-2 --output out

The second stage begins where the first ends, so that what lies between them computes something
sensible, and by Wortsman et al. 2022, https://arxiv.org/abs/2109.01903, often something better than
both ends: it keeps more of what the first knew. The statistics of the normalisations do not lie
between; they are counted anew over pictures of the training.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import nn

from lesson import read_lesson
from network import SIZE, Network

BATCHES = 60
SEED = 22


@torch.no_grad()
def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Average the weights of checkpoints.")
    parser.add_argument("--checkpoints", type=Path, nargs="+", required=True)
    parser.add_argument("--views", type=Path, nargs="+", required=True)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    lesson = read_lesson(options.views)
    saved = [torch.load(path, weights_only=True) for path in options.checkpoints]
    states = [one["average"] for one in saved]
    network = Network(len(lesson.kinds))
    network.load_state_dict(
        {
            name: torch.stack([state[name] for state in states]).mean(0)
            if value.is_floating_point()
            else value
            for name, value in states[-1].items()
        }
    )
    norms = [part for part in network.modules() if isinstance(part, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # Every batch counts alike.
    random = np.random.default_rng(SEED)
    network.train()
    for _ in range(BATCHES):
        network.features(lesson.batch(128, SIZE, random).pictures)
    options.output.mkdir(parents=True, exist_ok=True)
    mean = {"average": network.state_dict(), "kinds": saved[-1]["kinds"]}
    torch.save(mean, options.output / "checkpoint.pt")


if __name__ == "__main__":
    main()
