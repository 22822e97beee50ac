"""LoRA while training: the network keeps its own weights and names, and changes by products of low rank alone.

A weight is ``W = W0 + s B A`` with ``s = alpha / rank`` (Hu et al., "LoRA: Low-rank adaptation of large language
models", ICLR 2022, section 4.1). The network holds ``W``, so that whoever looks at it or saves it sees a plain network.
By the chain rule ``dL/dB = s G A'`` and ``dL/dA = s B' G``, where G is the gradient of W; after each step W is merged.

Axes: R rank, O outputs, I inputs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from tl_robust.errors import ConfigError
from tl_robust.models.base import network_name

State = Mapping[str, Mapping[str, Tensor]]


def attention_weights(network: nn.Module) -> dict[str, nn.Parameter]:
    """Matrices of the linear layers in a network's attention, by name.

    Attention is a module whose class says so (``MultiheadAttention``, ``WindowAttention``, ``ViTAttention``).

    Raises:
        ConfigError: The network has none.
    """
    inside = {
        part
        for module in network.modules()
        if "Attention" in type(module).__name__
        for part in module.modules()
        if isinstance(part, nn.Linear | nn.MultiheadAttention)
    }
    found = {
        f"{name}.{key}": value
        for name, module in network.named_modules()
        if module in inside
        for key, value in module.named_parameters(recurse=False)
        if key in ("weight", "in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight") and value.ndim == 2
    }
    if not found:
        raise ConfigError(
            f"network {network_name(network)!r} has no linear layer in an attention, so mode 'lora' has nothing to "
            "train: choose another mode, or a network with attention."
        )
    return found


class LowRank:
    """The low-rank parts of a network in training.

    Args:
        network: Where it will be trained; its weights are ``W0``.
        rank: R.
        alpha: What the change is multiplied by, times R.
        start: What :attr:`state` was of a training that goes on; None draws A from torch's global generator of the CPU,
            uniform as a linear layer's own start, and sets B to 0.
    """

    def __init__(self, network: nn.Module, rank: int, alpha: float, start: State | None = None) -> None:
        self.weights = attention_weights(network)
        self.scale = alpha / rank
        self.state: dict[str, dict[str, nn.Parameter]] = {}
        for name, weight in self.weights.items():
            kept = (start or {}).get(name) or self._drawn(weight, rank)
            self.state[name] = {
                key: nn.Parameter(value.detach().to(weight, copy=True), requires_grad=key != "W0")
                for key, value in kept.items()
            }

    @staticmethod
    def _drawn(weight: Tensor, rank: int) -> dict[str, Tensor]:
        a_RI = nn.init.kaiming_uniform_(torch.empty(rank, weight.shape[1]), a=math.sqrt(5))
        return {"A": a_RI, "B": torch.zeros(weight.shape[0], rank), "W0": weight}

    def parameters(self) -> list[nn.Parameter]:
        """All A and B, for an optimizer."""
        return [parts[key] for parts in self.state.values() for key in "AB"]

    @torch.no_grad()
    def take_gradients(self) -> None:
        """Hand the gradients of the weights on to A and B."""
        for name, weight in self.weights.items():
            a_RI, b_OR = self.state[name]["A"], self.state[name]["B"]
            if (gradient_OI := weight.grad) is not None:
                a_RI.grad, b_OR.grad = self.scale * b_OR.T @ gradient_OI, self.scale * gradient_OI @ a_RI.T
            weight.grad = None

    @torch.no_grad()
    def merge(self) -> None:
        """Set every weight to what its parts say."""
        for name, weight in self.weights.items():
            parts = self.state[name]
            weight.copy_(parts["W0"] + self.scale * parts["B"] @ parts["A"])

    def kept(self) -> State:
        """What a later :class:`LowRank` goes on from, on the CPU."""
        return {name: {key: value.detach().cpu() for key, value in parts.items()} for name, parts in self.state.items()}
