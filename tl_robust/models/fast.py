"""Faster forms of a network with nearly the same logits; a gate measures whether they are near enough to be used."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.fx.experimental.optimization import fuse

from tl_robust.errors import UnknownNameError
from tl_robust.models.guard import Guard
from tl_robust.models.subpixel import subpixel

BATCHES = (125, 250, 500, 1000)


class _Cast(nn.Module):
    """Runs a network in another type or memory layout; images, logits and gradients keep their own."""

    def __init__(self, inner: nn.Module, dtype: torch.dtype | None, layout: torch.memory_format | None) -> None:
        super().__init__()
        self.inner, self.dtype, self.layout = inner, dtype, layout
        if dtype is not None:
            inner.to(dtype)
        if layout is not None:
            for module in (inner, *inner.modules()):
                module.to(memory_format=layout)

    def forward(self, images: Tensor) -> Tensor:
        cast = images if self.dtype is None else images.to(self.dtype)
        cast = cast if self.layout is None else cast.contiguous(memory_format=self.layout)
        logits: Tensor = self.inner(cast)
        return logits.to(images.dtype)


MODES: dict[str, Callable[[nn.Module], nn.Module]] = {
    "fold": lambda network: fuse(network, no_trace=isinstance(network, torch.fx.GraphModule)),
    "subpixel": subpixel,
    "bf16": lambda network: _Cast(network, torch.bfloat16, None),
    "channels_last": lambda network: _Cast(network, None, torch.channels_last),
    "compile": lambda network: torch.compile(network),  # type: ignore[dict-item, return-value]
}


def accelerate(network: nn.Module, modes: Sequence[str]) -> nn.Module:
    """A faster copy in eval mode; the network is left as it is. Of a guard only the network inside becomes faster.

    Args:
        network: Images in [0,1] to logits.
        modes: In this order: ``fold`` BatchNorm into the convolution before it, ``subpixel`` gradients of
            strided first layers, ``bf16`` weights and activations in bfloat16, ``channels_last`` memory layout,
            ``compile`` by ``torch.compile``.

    Raises:
        UnknownNameError: No such mode.
        Exception: Whatever torch raises where a network cannot be changed so; the caller uses the network itself.
    """
    fast = copy.deepcopy(network).eval()
    if isinstance(fast, Guard):  # tracing would turn its random draws into constants and its refusals into logits
        fast.network = accelerate(fast.network, modes)
        return fast
    for mode in check_modes(modes):
        fast = MODES[mode](fast)
    return fast


def check_modes(modes: Sequence[str]) -> tuple[str, ...]:
    """The modes in the order in which they are applied, each once.

    Raises:
        UnknownNameError: No such mode.
    """
    for mode in modes:
        if mode not in MODES:
            raise UnknownNameError("fast mode", mode, MODES)
    return tuple(mode for mode in MODES if mode in modes)


def best_batch(network: Callable[[Tensor], Tensor], images: Tensor) -> int:
    """The batch size, of 125, 250, 500 and 1000, that needs the least time an image for a forward and backward pass.

    The batches are made of ``images`` ``[N,C,H,W]``, which are repeated where they are too few.
    """

    def seconds(size: int) -> float:
        batch = images[torch.arange(size, device=images.device) % len(images)]
        times = []
        for _ in range(3):
            start = time.perf_counter()
            inputs = batch.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(network(inputs).logsumexp(1).sum(), inputs)
            float(gradient[0, 0, 0, 0])  # waits until the device has computed it
            times.append(time.perf_counter() - start)
        return min(times[1:]) / size  # the first pass also sets the device up

    return min(BATCHES, key=seconds)
