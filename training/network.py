"""The network: a chain of 3x3 convolutions on CPUs, with side branches while it is trained.

Each inner convolution is trained as a sum of a 3x3, a 1x1 and (where shapes allow) an identity
branch, each with its own batch normalisation, and folded into one 3x3 convolution with a bias
before export: RepVGG, Ding et al. 2021, https://arxiv.org/abs/2101.03697. What runs in the end
has no branches and no additions, which is what CPU kernels like best.
"""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

SIZE = 100
"""Height and width of the input, in pixels."""
DIMENSION = 256
"""Length of a feature vector."""


class Stage(NamedTuple):
    """Channels out and stride of one convolution."""

    channels: int
    stride: int


STAGES = (
    Stage(16, 2),  # 100 -> 50
    Stage(32, 2),  # 50 -> 25
    Stage(32, 1),
    Stage(64, 2),  # 25 -> 13
    Stage(64, 1),
    Stage(128, 2),  # 13 -> 7
    Stage(128, 1),
)


class Outputs(NamedTuple):
    """What the network returns: features [n, 256] and logits [n, classes], both float32."""

    features: Tensor
    logits: Tensor


class Branched(nn.Module):
    """One convolution in its training form: relu(3x3 + 1x1 + identity), each normalised."""

    def __init__(self, inputs: int, channels: int, stride: int) -> None:
        super().__init__()
        self.wide = nn.Conv2d(inputs, channels, 3, stride, 1, bias=False)
        self.wide_norm = nn.BatchNorm2d(channels)
        self.point = nn.Conv2d(inputs, channels, 1, stride, bias=False)
        self.point_norm = nn.BatchNorm2d(channels)
        same = inputs == channels and stride == 1
        self.identity_norm = nn.BatchNorm2d(channels) if same else None

    def forward(self, x: Tensor) -> Tensor:
        """Maps [n, inputs, h, w] to [n, channels, h / stride, w / stride]."""
        total = self.wide_norm(self.wide(x)) + self.point_norm(self.point(x))
        if self.identity_norm is not None:
            total = total + self.identity_norm(x)
        return functional.relu(total)

    def folded(self) -> nn.Sequential:
        """The same function, in evaluation mode, as one convolution with a bias and a ReLU."""
        weight, bias = _folded(self.wide.weight, self.wide_norm)
        point_weight, point_bias = _folded(self.point.weight, self.point_norm)
        weight = weight + functional.pad(point_weight, (1, 1, 1, 1))
        bias = bias + point_bias
        if self.identity_norm is not None:
            identity = torch.eye(weight.shape[0])[:, :, None, None]
            identity_weight, identity_bias = _folded(identity, self.identity_norm)
            weight = weight + functional.pad(identity_weight, (1, 1, 1, 1))
            bias = bias + identity_bias
        return _convolution(weight, bias, self.wide.stride)


class Plain(nn.Module):
    """One convolution without side branches, normalised: relu(convolution)."""

    def __init__(self, inputs: int, channels: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(inputs, channels, kernel, stride, kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Maps [n, inputs, h, w] to [n, channels, h / stride, w / stride]."""
        return functional.relu(self.norm(self.convolution(x)))

    def folded(self) -> nn.Sequential:
        """The same function, in evaluation mode, as one convolution with a bias and a ReLU."""
        return _convolution(*_folded(self.convolution.weight, self.norm), self.convolution.stride)


class Network(nn.Module):
    """Images to features and logits.

    Args:
        classes: how many classes the classifier names.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        widths = [stage.channels for stage in STAGES]
        # The first one has no side branches: with torch 2.13 the gradient of a 1x1 convolution of
        # stride 2 on three channels in channels-last order writes out of bounds on CPUs.
        self.body = nn.Sequential(
            Plain(3, widths[0], 3, STAGES[0].stride),
            *(Branched(n, *stage) for n, stage in zip(widths, STAGES[1:], strict=False)),
            Plain(widths[-1], DIMENSION, 1, 1),
        )
        self.classifier = nn.Linear(DIMENSION, classes)

    def features(self, images: Tensor) -> Tensor:
        """Features float32 [n, 256] of images [n, 3, 100, 100] with values 0 to 255.

        White becomes zero, so that the zero padding of the convolutions continues the white
        background on which the fruits were photographed.
        """
        maps = self.body((255.0 - images) * (1.0 / 64.0))
        return maps.float().mean((2, 3))

    def forward(self, image: Tensor) -> Outputs:
        """The exported function: uint8 [n, 100, 100, 3] RGB to features and logits."""
        features = self.features(image.permute(0, 3, 1, 2).float())
        return Outputs(features, self.classifier(features))

    def folded(self) -> Network:
        """A copy for inference, every branch and normalisation folded into its convolution."""
        copy = Network(self.classifier.out_features)
        copy.classifier.load_state_dict(self.classifier.state_dict())
        copy.body = nn.Sequential(
            *(cast("Branched | Plain", block).folded() for block in self.body)
        )
        return copy.eval()


def _folded(weight: Tensor, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Weight and bias of the convolution that also does what ``norm`` does after it."""
    mean, variance = norm.running_mean, norm.running_var
    assert mean is not None and variance is not None
    scale = norm.weight.detach() / torch.sqrt(variance + norm.eps)
    return weight.detach() * scale[:, None, None, None], norm.bias.detach() - mean * scale


def _convolution(weight: Tensor, bias: Tensor, stride: tuple[int, ...]) -> nn.Sequential:
    """A convolution with these values, padded to keep its map's size, and a ReLU."""
    channels, inputs, kernel, _ = weight.shape
    convolution = nn.Conv2d(inputs, channels, kernel, cast("tuple[int, int]", stride), kernel // 2)
    assert convolution.bias is not None
    with torch.no_grad():
        convolution.weight.copy_(weight)
        convolution.bias.copy_(bias)
    return nn.Sequential(convolution, nn.ReLU())
