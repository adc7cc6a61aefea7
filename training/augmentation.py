"""Random changes to a batch of photographs, so that the network is not bound to a white table.

Everything is drawn for the whole batch at once from torch's global generator, so a seeded run
repeats exactly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from data import Pixels

DEGREES = 30.0
ZOOM = (0.65, 1.25)
STRETCH = 0.1
SHIFT = 0.15
GRAINS = (1, 2, 5, 13, 34)
"""Backgrounds are this many random colours across, blended: flat, a gradient, blobs, texture."""


def covers(images: Pixels) -> Pixels:
    """How much of each pixel is fruit rather than white background: uint8 [n, h, w], 0 to 255.

    A bright spot inside the fruit counts as fruit: a pixel is background only if it can be
    reached from an edge of the picture, straight along its row or column, without meeting fruit.
    """
    red, green, blue = (images[..., channel] for channel in range(3))
    darkness = 255 - np.minimum(np.minimum(red, green), blue).astype(np.int16)
    cover = np.clip((darkness - 6) * 4, 0, 255).astype(np.uint8)
    return np.minimum.reduce([_swept(cover, axis, step) for axis in (1, 2) for step in (1, -1)])


def _swept(cover: Pixels, axis: int, step: int) -> NDArray[np.uint8]:
    """Running maximum along an axis, from its start (step 1) or from its end (step -1)."""
    way = (slice(None),) * axis + (slice(None, None, step),)
    swept: Pixels = np.maximum.accumulate(cover[way], axis=axis)[way]
    return swept


def augmented(images: Tensor, cover: Tensor) -> Tensor:
    """A changed copy of a batch.

    Args:
        images: uint8 [n, h, w, 3].
        cover: uint8 [n, h, w], from :func:`covers`.

    Returns:
        float32 [n, 3, h, w], values 0 to 255.
    """
    darkness = 255.0 - images.permute(0, 3, 1, 2).float()
    moved = _moved(torch.cat([darkness, cover[:, None].float()], 1))
    pictures = 255.0 - moved[:, :3] * _around_one(len(images), 1, 0.15)
    some = _chosen(len(images), 0.4)
    pictures[some] = _on_backgrounds(pictures[some], moved[some, 3:] / 255.0)
    for change, share in ((_relit, 0.7), (_blurred, 0.2), (_grainy, 0.3)):
        some = _chosen(len(images), share)
        pictures[some] = change(pictures[some])
    return pictures.clamp_(0.0, 255.0)


def _chosen(n: int, share: float) -> Tensor:
    """Indices of the pictures to change, each with probability ``share``."""
    return torch.nonzero(torch.rand(n) < share)[:, 0]


def _around_one(n: int, channels: int, spread: float) -> Tensor:
    """float32 [n, channels, 1, 1], uniform in 1 - spread to 1 + spread."""
    return 1.0 + spread * (2.0 * torch.rand(n, channels, 1, 1) - 1.0)


def _moved(planes: Tensor) -> Tensor:
    """Mirrored, turned, zoomed, stretched and shifted; what comes in from outside is zero."""
    n = len(planes)
    angle = torch.deg2rad(DEGREES * (2.0 * torch.rand(n) - 1.0))
    zoom = ZOOM[0] * (ZOOM[1] / ZOOM[0]) ** torch.rand(n)
    wide = (1.0 + STRETCH * (2.0 * torch.rand(n) - 1.0)) / zoom
    high = 1.0 / zoom
    mirror = 1.0 - 2.0 * (torch.rand(n) < 0.5).float()
    shift = SHIFT * (2.0 * torch.rand(n, 2) - 1.0)
    rows = torch.stack([mirror * wide * angle.cos(), -high * angle.sin(), shift[:, 0]], 1)
    columns = torch.stack([mirror * wide * angle.sin(), high * angle.cos(), shift[:, 1]], 1)
    grid = functional.affine_grid(
        torch.stack([rows, columns], 1), list(planes.shape), align_corners=False
    )
    return functional.grid_sample(planes, grid, align_corners=False)


def _on_backgrounds(pictures: Tensor, cover: Tensor) -> Tensor:
    """On random colours instead of white."""
    n, _, height, width = pictures.shape
    grains = torch.randint(len(GRAINS), (n,))
    backgrounds = torch.empty_like(pictures)
    for kind, grain in enumerate(GRAINS):
        own = torch.nonzero(grains == kind)[:, 0]
        colours = 255.0 * torch.rand(len(own), 3, grain, grain)
        backgrounds[own] = functional.interpolate(colours, (height, width), mode="bilinear")
    # Subtracting, rather than pasting, keeps the soft shadow around the fruit.
    return pictures - (1.0 - cover) * (255.0 - backgrounds)


def _relit(pictures: Tensor) -> Tensor:
    """With other contrast, brightness and white balance."""
    n = len(pictures)
    middle = pictures.mean((1, 2, 3), keepdim=True)
    gain = _around_one(n, 1, 0.3) * _around_one(n, 3, 0.08)
    return torch.lerp(middle, pictures, _around_one(n, 1, 0.2)) * gain


def _blurred(pictures: Tensor) -> Tensor:
    """Out of focus, by up to two passes of a 3x3 mean."""
    padded = functional.pad(pictures, (2, 2, 2, 2), mode="replicate")
    twice = functional.avg_pool2d(functional.avg_pool2d(padded, 3, 1), 3, 1)
    return torch.lerp(pictures, twice, torch.rand(len(pictures), 1, 1, 1))


def _grainy(pictures: Tensor) -> Tensor:
    """With sensor noise of up to 12 grey levels."""
    strength = 12.0 * torch.rand(len(pictures), 1, 1, 1)
    return pictures + strength * torch.randn_like(pictures)
