"""Is a pair fit for a benchmark? Each check is one line of a sheet."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from tl_robust.data.domain import DOMAINS, DomainInSpace, split_validation
from tl_robust.data.pair import DomainPair
from tl_robust.data.space import SPACES
from tl_robust.types import ImageSet


@dataclass(frozen=True)
class Line:
    """One check: what, whether it passed, what was found."""

    check: str
    passed: bool
    found: str


def check_pair(pair: DomainPair) -> list[Line]:
    """The sheet of a pair."""
    return [line for role in ("source", "target") for line in _check_side(role, pair.side(role), pair.recipe.val_share)]


def _check_side(role: str, data: DomainInSpace, val_share: float) -> Iterator[Line]:
    train, test = data.images("train"), data.images("test")
    space = SPACES[data.space]
    name = f"{role} {data.domain}"
    yield Line(f"{name}: sizes", True, f"{len(train)} train, {len(test)} test")
    for split, images in (("train", train), ("test", test)):
        shape = tuple(images.images.shape[1:])
        yield Line(f"{name}: {split} shape", shape == space.image_shape, f"{shape}, expected {space.image_shape}")
        low, high = (int(end) for end in images.images.aminmax())
        yield Line(f"{name}: {split} range", high - low > 127, f"{low} to {high} of 0 to 255")
        counts = torch.bincount(images.labels, minlength=len(space.classes))
        least, most = int(counts.min()), int(counts.max())
        yield Line(
            f"{name}: {split} classes", least > 0, f"{least} to {most} images a class, {len(space.classes)} classes"
        )
    learn, held = split_validation(train, val_share)
    parts = {"train": _hashes(train.take(learn)), "validation": _hashes(train.take(held)), "test": _hashes(test)}
    for one, other in (("train", "validation"), ("train", "test"), ("validation", "test")):
        shared = len(parts[one] & parts[other])
        yield Line(f"{name}: {one} and {other} disjoint", not shared, f"{shared} images in both")
    again = DOMAINS[data.domain]
    yield Line(f"{name}: data card", bool(again.__doc__), (again.__doc__ or "no docstring").strip().splitlines()[0])


def _hashes(images: ImageSet) -> set[bytes]:
    return {hashlib.sha256(image.numpy().tobytes()).digest() for image in images.images}
