"""The network: a chain of plain convolutions on CPUs, with identity branches while it is trained.

Where input and output have the same shape a convolution is trained with the identity beside it
and folded with it into one convolution with a bias before export, as in RepVGG, Ding et al. 2021,
https://arxiv.org/abs/2101.03697. Their 1x1 branches are left out: they cost a third of the time
of a step. What runs in the end has no branches, which is what CPU kernels like best.
"""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

SIZE = 96
"""Height and width of the input, in pixels."""
DIMENSION = 512
"""Length of a feature vector."""


class Stage(NamedTuple):
    """Channels out, kernel and stride of one convolution."""

    channels: int
    kernel: int
    stride: int


STAGES = (
    Stage(32, 6, 4),  # 96 -> 24
    Stage(32, 3, 1),
    Stage(96, 3, 2),  # 24 -> 12
    Stage(96, 3, 1),
    Stage(160, 3, 2),  # 12 -> 6
    Stage(160, 3, 1),
    Stage(160, 3, 1),
    Stage(DIMENSION, 1, 1),
)


class Outputs(NamedTuple):
    """What the network returns: features [n, 512] and logits [n, classes], both float32."""

    features: Tensor
    logits: Tensor


class Block(nn.Module):
    """relu(normalised convolution), plus the input where shapes allow."""

    def __init__(self, inputs: int, stage: Stage) -> None:
        super().__init__()
        channels, kernel, stride = stage
        pad = (kernel - 1) // 2
        self.convolution = nn.Conv2d(inputs, channels, kernel, stride, pad, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.identity = inputs == channels and stride == 1

    def forward(self, x: Tensor) -> Tensor:
        """Maps [n, inputs, h, w] to [n, channels, h / stride, w / stride]."""
        y = self.norm(self.convolution(x))
        return functional.relu(y + x if self.identity else y)

    def folded(self) -> nn.Sequential:
        """The same function, in evaluation mode, as one convolution with a bias and a ReLU."""
        mean, variance = self.norm.running_mean, self.norm.running_var
        assert mean is not None and variance is not None
        scale = self.norm.weight.detach() / torch.sqrt(variance + self.norm.eps)
        weight = self.convolution.weight.detach() * scale[:, None, None, None]
        bias = self.norm.bias.detach() - mean * scale
        channels, inputs, kernel, _ = weight.shape
        if self.identity:
            weight[:, :, kernel // 2, kernel // 2] += torch.eye(channels)
        stride = cast("tuple[int, int]", self.convolution.stride)
        convolution = nn.Conv2d(inputs, channels, kernel, stride, (kernel - 1) // 2)
        assert convolution.bias is not None
        with torch.no_grad():
            convolution.weight.copy_(weight)
            convolution.bias.copy_(bias)
        return nn.Sequential(convolution, nn.ReLU())


class Network(nn.Module):
    """Images to features and logits.

    Args:
        classes: how many classes the classifier names.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        inputs = [3, *(stage.channels for stage in STAGES)]
        self.body = nn.Sequential(*(Block(n, s) for n, s in zip(inputs, STAGES, strict=False)))
        self.classifier = nn.Linear(DIMENSION, classes)

    def features(self, images: Tensor) -> Tensor:
        """Features float32 [n, 512] of images [n, 3, h, w] with values 0 to 255.

        White becomes zero, so that the zero padding of the convolutions continues the white
        background on which the fruits were photographed.
        """
        maps = self.body((255.0 - images) * (1.0 / 64.0))
        return maps.float().mean((2, 3))

    def forward(self, image: Tensor) -> Outputs:
        """The exported function: uint8 [n, 96, 96, 3] RGB to features and logits."""
        features = self.features(image.permute(0, 3, 1, 2).float())
        return Outputs(features, self.classifier(features))

    def folded(self) -> Network:
        """A copy for inference, identities and normalisations folded into the convolutions."""
        copy = Network(self.classifier.out_features)
        copy.classifier.load_state_dict(self.classifier.state_dict())
        copy.body = nn.Sequential(*(cast("Block", block).folded() for block in self.body))
        return copy.eval()
