"""Draws together what the same fruit looks like filmed on white and photographed in a shop."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from network import DIMENSION

TEMPERATURE = 0.1
PACE = 0.05
"""How far a prototype moves towards the pictures of a batch."""


class Bridge(nn.Module):
    """Names a picture of one world by the prototypes of the other.

    A classifier fitted on studio frames alone finds its classes in a shop only if features of one
    kind lie in one place whatever the world. A prototype is the running mean direction of the
    features of a kind in a world: 1 is the studio, where fruits were filmed, 0 everywhere else.
    Each picture is to be nearer to the other world's prototype of its kind than to those of other
    kinds; kinds that the other world lacks ask nothing.

    Args:
        kinds: how many kinds there are.
    """

    centre: Tensor
    places: Tensor
    known: Tensor

    def __init__(self, kinds: int) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(DIMENSION))
        self.register_buffer("places", torch.zeros(2, kinds, DIMENSION))
        self.register_buffer("known", torch.zeros(2, kinds, dtype=torch.bool))

    def forward(self, features: Tensor, kind: Tensor, filmed: Tensor) -> Tensor:
        """Mean cross-entropy of a batch, and moves the prototypes.

        Args:
            features: float32 [n, 512].
            kind: int64 [n], -1 where nothing is said.
            filmed: int64 [n], the world of each.
        """
        directions = functional.normalize(features - self.centre, dim=1)
        asked = (kind >= 0) & self.known[1 - filmed, kind]
        loss = features.new_zeros(())
        if asked.any():
            places = functional.normalize(self.places, dim=2)[1 - filmed[asked]]
            likeness = (places @ directions[asked, :, None])[..., 0] / TEMPERATURE
            likeness = likeness.masked_fill(~self.known[1 - filmed[asked]], -torch.inf)
            loss = functional.cross_entropy(likeness, kind[asked])
        self._move(features.detach(), directions.detach(), kind, filmed)
        return loss

    def _move(self, features: Tensor, directions: Tensor, kind: Tensor, filmed: Tensor) -> None:
        self.centre.lerp_(features.mean(0), 0.01 if self.known.any() else 1.0)
        named = kind >= 0
        for world, number in torch.stack([filmed[named], kind[named]], 1).unique(dim=0).tolist():
            mean = directions[(filmed == world) & (kind == number)].mean(0)
            pace = PACE if self.known[world, number] else 1.0
            self.places[world, number].lerp_(mean, pace)
            self.known[world, number] = True
