"""Whether a pair is fit for a benchmark: a sheet with one line for each check, which ``check-pair`` prints."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from tl_robust.data.domain import SPLITS, Split, get_domain
from tl_robust.data.mapped import DomainInSpace, check_classes, load_mapped
from tl_robust.data.pair import DomainModule, DomainPair
from tl_robust.data.space import get_space
from tl_robust.data.splits import split_validation
from tl_robust.files import scratch_folder
from tl_robust.text import first_few
from tl_robust.types import ImageSet, Recipe


@dataclass(frozen=True)
class Line:
    """One check: what was checked, whether the pair passed it, and what was found."""

    check: str
    passed: bool
    found: str


def check_pair(pair: DomainPair) -> list[Line]:
    """All checks of a pair, in the order in which they are printed.

    Raises:
        DataError: A domain cannot be read at all, or all its images are of one class.
    """
    source, target = pair.side("source"), pair.side("target")
    for data in (source, target):
        check_classes(data)
    sheet = [
        Line(f"{role} {data.domain}: {check}", passed, found)
        for role, data in (("source", source), ("target", target))
        for check, passed, found in _side(data, pair.recipe)
    ]
    sides_agree = (
        f"the same {len(target.labels)} labels in the same order"
        if source.labels == target.labels
        else f"{len(source.labels)} and {len(target.labels)} labels: B gets a new classifier, attacks on A use A's own "
        "prediction"
    )
    return [*sheet, Line("labels of source and target", True, sides_agree)]


def _side(data: DomainInSpace, recipe: Recipe) -> Iterator[tuple[str, bool, str]]:
    domain, space, labels = get_domain(data.domain, data.settings), get_space(data.space), data.labels
    splits = {split: data.images(split) for split in SPLITS}
    yield "sizes", True, ", ".join(f"{len(images)} {split}" for split, images in splits.items())
    own = [name for name in domain.class_names(data.settings.folder) if name]
    kept = [name for name in own if name in labels]
    yield "class names", True, f"{len(kept)} of its {len(own)} classes are used, matched by name: {first_few(kept, 7)}"
    counts = {split: torch.bincount(images.labels, minlength=len(labels)) for split, images in splits.items()}
    for split, images in splits.items():
        shape, low, high = tuple(images.images.shape[1:]), *(int(end) for end in images.images.aminmax())
        fits = shape == space.image_shape and high - low > 127  # a smaller range hints at pixels scaled twice
        yield f"{split} images", fits, f"uint8 {list(shape)} of {list(space.image_shape)}, {low} to {high} of 0 to 255"
        seen = counts[split][counts[split] > 0]
        yield f"{split} balance", True, f"{int(seen.min())} to {int(seen.max())} images a class, {len(seen)} classes"
    lone = [labels[place] for place in ((counts["train"] > 0) != (counts["test"] > 0)).nonzero().flatten().tolist()]
    yield "classes in both splits", not lone, f"in one split alone: {first_few(lone, 7)}" if lone else "all"
    learn, held = split_validation(splits["train"], recipe.val_share)
    parts = {"train": splits["train"].take(learn), "validation": splits["train"].take(held), "test": splits["test"]}
    hashes = {name: _hashes(images) for name, images in parts.items()}
    for left, right in (("train", "validation"), ("train", "test"), ("validation", "test")):
        shared = len(hashes[left] & hashes[right])
        yield f"{left} and {right} disjoint", not shared, f"{shared} images in both, by content"
    for split in SPLITS:
        first, second = load_mapped(data, split).fingerprint, _again(data, split)
        yield f"{split} read again", first == second, f"fingerprints {first[:12]} and {second[:12]}"
    attacked = DomainModule(data, replace(recipe, augment="crop_flip")).test_dataloader()
    clean = splits["test"].images
    plain = all(torch.equal(images, clean[ids].float() / 255) for images, _, ids in attacked)
    what = "attacked images are the test images" if plain else "attacked images differ"
    yield "no augmentation in attacks", plain, what
    card = (type(domain).__doc__ or "").strip().splitlines()
    yield "data card", bool(card), card[0] if card else "no docstring"


def _again(data: DomainInSpace, split: Split) -> str:
    """The fingerprint of a second decoding into an empty cache, so that it cannot be what the first one left."""
    domain = get_domain(data.domain, data.settings)
    if not data.settings.cache or not domain.paths(split, data.settings.folder):
        return load_mapped(data, split).fingerprint
    folder = Path(data.settings.cache).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    with scratch_folder(".check-", folder) as empty:
        return load_mapped(replace(data, settings=replace(data.settings, cache=str(empty))), split).fingerprint


def _hashes(images: ImageSet) -> set[bytes]:
    return {hashlib.sha256(image.numpy().tobytes()).digest() for image in images.images}
