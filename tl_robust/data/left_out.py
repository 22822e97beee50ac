"""Sentences about classes and images of a domain that a bench does not use: nothing is left out in silence."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import torch

from tl_robust.data.domain import SPLITS, Split, get_domain
from tl_robust.data.mapped import DomainInSpace, own_counts
from tl_robust.text import first_few

MOST = 7  # names that one sentence lists: a thousand of them would hide the sentence


def left_out(sides: Iterable[DomainInSpace]) -> list[str]:
    """Sentences about classes and images that are not used; none where all are.

    The images of all ``sides`` are loaded as training and attack load them; nothing is decoded a second time.

    Raises:
        DataError: A domain cannot be read.
    """
    return list(dict.fromkeys(sentence for data in sides for sentence in _of(data)))


def _of(data: DomainInSpace) -> Iterator[str]:
    domain = get_domain(data.domain, data.settings)
    names, labels = domain.class_names(data.settings.folder, data.settings.download), data.labels
    counts = {split: own_counts(data, split) or (0,) * len(names) for split in SPLITS}
    unused = [place for place, name in enumerate(names) if name and name not in labels]
    unnamed = [place for place, name in enumerate(names) if not name]
    if unused:
        of = f"{len(unused)} of its {sum(map(bool, names))} classes"
        which = first_few([names[place] for place in unused], MOST, count=True)
        yield f"{data.domain}: {of} are not used ({which}; {_images(counts, unused)})."
    if unnamed and any(counts[split][place] for split in SPLITS for place in unnamed):
        yield f"{data.domain}: images without a class are not used (labels without a name; {_images(counts, unnamed)})."
    for split in SPLITS:
        images, kept = data.images(split), sum(counts[split][place] for place in range(len(names)))
        kept -= sum(counts[split][place] for place in (*unused, *unnamed))
        if kept > len(images):
            yield f"{data.domain}: data.{split}_limit uses {len(images):,} of {kept:,} images."
        images_of_class = torch.bincount(images.labels, minlength=len(labels))
        absent = [labels[place] for place in (images_of_class == 0).nonzero().flatten().tolist()]
        if absent:
            yield f"{data.domain}: no {split} image has the class {first_few(absent, MOST, count=True)}."
        for sentence in domain.passed_over(split, data.settings.folder):
            yield f"{data.domain}: {sentence}."


def _images(counts: dict[Split, tuple[int, ...]], places: Sequence[int]) -> str:
    train, test = (sum(counts[split][place] for place in places) for split in SPLITS)
    return f"{train:,} training and {test:,} test images"
