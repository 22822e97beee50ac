"""A strided convolution whose input gradient is a convolution without stride, for fast attacks on a CPU."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import conv2d, pad, pixel_shuffle

FEW = 4  # input channels up to which this is faster, as in the first layer of a network on images


class Subpixel(nn.Module):
    """Computes what a convolution that :meth:`fits` does with frozen weights, but sums its gradient in another order.

    An input row ``s q + a`` (stride s, phase a) gets ``g[q + d] w[a + p - s d]`` of the output's gradient g for all d:
    each phase is a plain convolution, and the phases are put together as in Shi et al., "Real-time single image and
    video super-resolution using an efficient sub-pixel convolutional neural network", CVPR 2016.
    """

    weight: Tensor
    bias: Tensor | None
    phases: Tensor

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.stride, self.padding = convolution.stride, [int(side) for side in convolution.padding]
        weight = convolution.weight.detach()
        out, channels, *kernel = weight.shape
        self.reach = [
            (-((size - 1 - padding) // stride), (stride - 1 + padding) // stride)
            for stride, padding, size in zip(self.stride, self.padding, kernel, strict=True)
        ]
        (top, bottom), (left, right) = self.reach
        phases = weight.new_zeros(channels, *self.stride, out, bottom - top + 1, right - left + 1)
        for row in range(kernel[0]):
            for column in range(kernel[1]):
                below, y = divmod(row - self.padding[0], self.stride[0])
                beside, x = divmod(column - self.padding[1], self.stride[1])
                phases[:, y, x, :, -below - top, -beside - left] = weight[:, :, row, column].T
        self.register_buffer("weight", weight.clone())
        self.register_buffer("bias", None if convolution.bias is None else convolution.bias.detach().clone())
        self.register_buffer("phases", phases.flatten(0, 2))

    @staticmethod
    def fits(module: nn.Module) -> bool:
        """Whether it is a convolution of few input channels, one stride above 1 both ways, one group, zero padding."""
        return (
            isinstance(module, nn.Conv2d)
            and module.in_channels <= FEW
            and module.stride[0] == module.stride[1] > 1
            and module.dilation == (1, 1)
            and module.groups == 1
            and module.padding_mode == "zeros"
            and not isinstance(module.padding, str)
        )

    def forward(self, images: Tensor) -> Tensor:
        """The output of the convolution."""
        output: Tensor = _Convolution.apply(images, self)
        return output

    def pull_back(self, gradient: Tensor, shape: tuple[int, ...]) -> Tensor:
        """The gradient of an input of ``shape [N,C,H,W]``."""
        edges = []
        for side, size, stride, (low, high) in zip(shape[2:], gradient.shape[2:], self.stride, self.reach, strict=True):
            edges.append((-low, -(-side // stride) + high - size))
        around = [*edges[1], *edges[0]]
        whole = pixel_shuffle(conv2d(pad(gradient, around), self.phases), self.stride[0])
        return whole[:, :, : shape[2], : shape[3]]


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, images: Tensor, module: Subpixel) -> Tensor:
        context.module, context.shape = module, images.shape
        return conv2d(images, module.weight, module.bias, module.stride, module.padding)

    @staticmethod
    @once_differentiable
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return context.module.pull_back(gradient, context.shape), None


def subpixel(network: nn.Module) -> nn.Module:
    """The network after its fitting convolutions were replaced in place; a new module where it is one itself."""
    if Subpixel.fits(network):
        return Subpixel(network)  # type: ignore[arg-type]
    for name, child in network.named_children():
        setattr(network, name, subpixel(child))
    return network
