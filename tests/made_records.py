"""Records of any threat, made of the declarations of their fields."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor

from tl_robust.seeding import generator
from tl_robust.types import Column, Record

R = TypeVar("R", bound=Record)
LENGTHS = {"N": 60, "K": 3, "P": 4}


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
