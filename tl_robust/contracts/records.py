"""Records that contracts read: of any threat, made of the declarations of their fields; and outcomes of evasion.

Axes: K eps, N samples.
"""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor

from tl_robust import metrics
from tl_robust.seeding import generator
from tl_robust.types import Column, Outcome, Record

R = TypeVar("R", bound=Record)
LENGTHS = {"N": 60, "K": 3, "P": 4}
EPS = torch.tensor([0, 2, 8, 32], dtype=torch.float64) / 255


def record_of(kind: type[R]) -> R:
    """A record of this class: of 60 samples, classes 0 to 3 and numbers in [0,1] at random, and an axis that rises."""
    draw = generator("record", kind.__name__)

    def values(name: str, declared: Column) -> Tensor:
        shape = tuple(LENGTHS.get(letter, 2) for letter in declared.axes)
        if name == "sample_id":
            return torch.arange(*shape)
        if name == kind.AXIS:
            return torch.linspace(0, 0.5, *shape, dtype=declared.dtype)
        if declared.dtype.is_floating_point:
            return torch.rand(shape, generator=draw, dtype=declared.dtype)
        return torch.randint(2 if declared.dtype == torch.bool else 4, shape, generator=draw).to(declared.dtype)

    return kind.of({name: values(name, declared) for name, declared in kind.columns().items()})


def outcome(samples: int = 60, strength: float = 1.0, seed: int = 0) -> tuple[Outcome, Outcome]:
    """A made test set on which both models are good and fall with eps, and B's own attack is stronger."""
    draw = torch.Generator().manual_seed(seed)

    def flip(classes: Tensor, share: float) -> Tensor:
        hit = torch.rand(samples, generator=draw) < share
        return torch.where(hit, (classes + torch.randint(1, 4, (samples,), generator=draw)) % 4, classes)

    label = torch.randint(4, (samples,), generator=draw)
    clean_a, clean_b = flip(label, 0.15), flip(label, 0.1)
    shares = [0.0, 0.2 * strength, 0.4 * strength, 0.8 * strength]
    adv_a, adv_b, own = (
        torch.stack([flip(clean, share * harm) if share else clean for share in shares])
        for clean, harm in ((clean_a, 1.0), (clean_b, 0.85), (clean_b, 1.0))
    )
    rest = {
        "sample_id": torch.arange(samples), "label": label, "eps": EPS, "size": torch.zeros(4, samples),
        "zero_gradient": torch.zeros(samples, dtype=torch.bool), "valid": torch.ones(4, samples, dtype=torch.bool),
        "same_labels": torch.ones(samples, dtype=torch.bool),
    }  # fmt: skip
    black = Outcome(clean_a=clean_a, clean_b=clean_b, adv_a=adv_a, adv_b=adv_b, **rest)
    return black, Outcome(clean_a=clean_b, clean_b=clean_b, adv_a=own, adv_b=own, **rest)


def outcome_of(name: str, samples: int = 60, strength: float = 1.0, seed: int = 0) -> tuple[Outcome, Outcome]:
    """The record that a metric reads, and the one that it needs beside: a plain outcome and never a worse one."""
    black, white = outcome(samples, strength, seed)
    metric = metrics.get(name)
    record, other = (white.worst(black), black) if "plain" in metric.beside else (black, white)
    return (record if metric.when is None else refusing(record)), other


def refusing(record: Outcome) -> Outcome:
    """The same of a B that refuses every second image which it would get wrong."""
    second = record.sample_id % 2 == 0
    refused = {
        name: classes.masked_fill((classes != record.label) & second, -1)
        for name, classes in (("clean_b", record.clean_b), ("adv_b", record.adv_b))
    }
    return Outcome(**(record.tensors() | refused))
