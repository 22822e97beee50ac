"""The channels of a network's last convolution: what activates them, and the network without some of them.

Axes: N images, C channels of the convolution, H height, W width.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from tl_robust.errors import ConfigError
from tl_robust.models.base import network_name
from tl_robust.models.features import logits


@dataclass(frozen=True)
class Channels:
    """The channels of the convolution that a network asks last, with the BatchNorm behind it.

    Attributes:
        network: The network.
        convolution: Its last convolution.
        norm: The BatchNorm that is given what the convolution says; None without one.
    """

    network: nn.Module
    convolution: nn.Conv2d
    norm: _BatchNorm | None

    @classmethod
    def last(cls, network: nn.Module, images: Tensor) -> Channels:
        """The channels of the last convolution.

        Args:
            network: Any network; modules and modes stay as they are.
            images: uint8 ``[N,C,H,W]``; it is asked about the first.

        Raises:
            ConfigError: It has no convolution.
        """
        asked: list[tuple[nn.Module, Tensor, Tensor]] = []

        def note(module: nn.Module, given: tuple[Tensor, ...], answer: Tensor) -> None:
            asked.append((module, given[0], answer))

        hooks = [
            module.register_forward_hook(note)
            for module in network.modules()
            if isinstance(module, nn.Conv2d | _BatchNorm)
        ]
        try:
            logits(network, images[:1])
        finally:
            for hook in hooks:
                hook.remove()
        found = [(module, answer) for module, _, answer in asked if isinstance(module, nn.Conv2d)]
        if not found:
            raise ConfigError(
                f"network {network_name(network)!r} has no convolution whose channels could be pruned: choose another "
                "network or defense."
            )
        last, said = found[-1]
        norm = next((module for module, given, _ in asked if isinstance(module, _BatchNorm) and given is said), None)
        return cls(network, last, norm)

    @property
    def _end(self) -> nn.Module:
        return self.norm or self.convolution

    def activations(self, images: Tensor) -> Tensor:
        """Mean over images and places of the positive part of what a channel says, float64 ``[C]``.

        Args:
            images: uint8 ``[N,C,H,W]``.
        """
        sums: list[Tensor] = []

        def note(_: nn.Module, __: tuple[Tensor, ...], answer: Tensor) -> None:
            sums.append(answer.double().relu().mean((2, 3)).sum(0))

        hook = self._end.register_forward_hook(note)
        try:
            logits(self.network, images)
        finally:
            hook.remove()
        return torch.stack(sums).sum(0) / len(images)

    @contextmanager
    def silenced(self, dead: Tensor) -> Iterator[None]:
        """Here the channels of bool ``[C]`` say 0."""
        hook = self._end.register_forward_hook(partial(_silence, dead))
        try:
            yield
        finally:
            hook.remove()

    @torch.no_grad()
    def prune(self, dead: Tensor) -> None:
        """Set the weights of these channels, bool ``[C]``, to 0, and keep them there while the network is trained.

        What a dead channel says is multiplied by 0, so that no gradient reaches its weights.
        """
        for module in (self.convolution, self.norm) if self.norm else (self.convolution,):
            for weight in module.parameters(recurse=False):
                weight[dead] = 0
        if self.norm is not None and self.norm.running_mean is not None:
            self.norm.running_mean[dead] = 0  # a BatchNorm without weights would else say something of nothing
        self._end.register_forward_hook(partial(_silence, dead))


def _silence(dead: Tensor, _: nn.Module, __: tuple[Tensor, ...], answer: Tensor) -> Tensor:
    return answer * (~dead).to(answer.device, answer.dtype)[:, None, None]
