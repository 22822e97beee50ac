"""A domain in a space: decoded once, mapped into memory from a cache, limited, split."""

from __future__ import annotations

import hashlib
import inspect
from abc import ABC
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from tl_robust.data.cache import cached
from tl_robust.data.domain import DataSettings, Split, get_domain, joined
from tl_robust.data.names import Names
from tl_robust.data.space import get_space, labels_of
from tl_robust.errors import DataError
from tl_robust.registry import Component
from tl_robust.seeding import digest, generator
from tl_robust.types import ImageSet

FEW, ENDS = 64, 1 << 20  # up to so many files, so many bytes at their start and their end are part of a stamp


@dataclass(frozen=True)
class DomainInSpace:
    """A domain mapped into a space: what a training or a test set is made of.

    Attributes:
        domain: Name of the domain.
        space: The space with settings.
        settings: Where the data lie and how much is used.
        classes: The classes of the pair; the domain has these labels if it has any of them, else its own. Empty stands
            for the space's.
        share: Part of the training images that is used: up to 1 a share, above 1 a number.
    """

    domain: str
    space: Component
    settings: DataSettings = field(default_factory=DataSettings)
    classes: Names = ()
    share: float = 1.0

    @property
    def labels(self) -> Names:
        """Names of the classes in label order."""
        return _labels(replace(self, share=1.0))

    def images(self, split: Split) -> ImageSet:
        """The images of one split in the space, at most the limit; kept after the first call."""
        images = _limited(replace(self, share=1.0), split)
        if split == "test":
            return images
        wanted = round(self.share * len(images)) if self.share <= 1 else round(self.share)
        if not 1 <= wanted <= len(images):
            raise DataError(f"target_images asks for {wanted}, but {self.domain} has {len(images)} training images.")
        return images if wanted == len(images) else _taken(self, split, wanted)


@lru_cache(maxsize=32)
def _labels(data: DomainInSpace) -> Names:
    own = get_domain(data.domain, data.settings).class_names(data.settings.folder, data.settings.download)
    return labels_of(own, data.classes or getattr(get_space(data.space), "classes", ()))


@lru_cache(maxsize=32)
def _limited(data: DomainInSpace, split: Split) -> ImageSet:
    limit = data.settings.train_limit if split == "train" else data.settings.test_limit
    images = load_mapped(data, split)
    return stratified(images, limit, data.domain, split) if 0 < limit < len(images) else images


@lru_cache(maxsize=32)
def _taken(data: DomainInSpace, split: Split, count: int) -> ImageSet:
    return stratified(_limited(replace(data, share=1.0), split), count, data.domain, split)


def check_classes(data: DomainInSpace) -> None:
    """Whether the images that are used have two classes at least: one is no task, and nothing could be told of it.

    Raises:
        DataError: A split has images of one class alone.
    """
    splits: tuple[Split, Split] = ("train", "test")
    for split in splits:
        there = data.images(split).labels.unique().tolist()
        if len(there) < 2:
            part = " that are used" if len(data.images(split)) < sum(own_counts(data, split)) else ""
            raise DataError(
                f"{data.domain}: all {len(data.images(split)):,} {split} images{part} are of one class "
                f"({data.labels[there[0]]!r}): at least two classes are needed to learn or to attack anything."
            )


def load_mapped(data: DomainInSpace, split: Split) -> ImageSet:
    """All images of one split in the space, from the cache where the domain names its files.

    Raises:
        DataError: A file is missing or damaged, or no image has a class of the space.
    """
    domain, space, labels = get_domain(data.domain, data.settings), get_space(data.space), data.labels
    root = data.settings.folder
    classes = domain.class_names(root, data.settings.download)

    own, notes = torch.zeros(len(classes), dtype=torch.int64), dict[str, list[int]]()

    def mapped() -> Iterator[ImageSet]:
        some = False
        own.zero_()
        for part in domain.checked(split, root, data.settings.download):
            own.add_(torch.bincount(part.labels, minlength=len(classes)))
            found = space.map(part, classes, labels)
            some = some or found is not None
            if found is not None:
                yield found
        if not some:
            names = f"{', '.join(labels[:7])}{', ...' if len(labels) > 7 else ''}" or "that have a name: it has none"
            raise DataError(f"{data.domain} has no {split} image of the classes {names}.")
        notes["own"] = own.tolist()

    paths = domain.paths(split, root)
    if paths and data.settings.download and not all(path.is_file() for path in paths):
        next(domain.checked(split, root, True))  # fetches them
        paths = domain.paths(split, root)
    if not data.settings.cache or not paths or not all(path.exists() for path in paths):
        images = joined(list(mapped()))
    else:
        code = [_code(domain), domain.VERSION, _code(space)]
        key = digest([data.domain, split, stamps(paths), asdict(data.space), classes, labels, code])
        images = cached(Path(data.settings.cache).expanduser(), key, mapped, notes)
    _own_counts[_unlimited(data), split] = tuple(notes.get("own", ()))
    return images


_own_counts: dict[tuple[DomainInSpace, Split], tuple[int, ...]] = {}


def _unlimited(data: DomainInSpace) -> DomainInSpace:
    return replace(data, share=1.0, settings=replace(data.settings, train_limit=0, test_limit=0))


def own_counts(data: DomainInSpace, split: Split) -> tuple[int, ...]:
    """Images of each of the domain's own classes in one split, those that the space leaves out too; loads it once."""
    data.images(split)
    if (_unlimited(data), split) not in _own_counts:
        load_mapped(data, split)
    return _own_counts[_unlimited(data), split]


def stamps(paths: Sequence[Path]) -> list[tuple[object, ...]]:
    """What tells that a file is another one: place, size, times of writing and of change, and for few files content.

    The time of change (``st_ctime``) cannot be set back as the time of writing can. Not all systems keep one, so the
    first and the last bytes are hashed too, where there are few files.
    """
    found: list[tuple[object, ...]] = []
    for path in paths:
        stat = path.stat()
        content = _ends(path, stat.st_size) if len(paths) <= FEW else ""
        found.append((str(path.resolve()), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, content))
    return found


def _ends(path: Path, size: int) -> str:
    with path.open("rb") as file:
        content = hashlib.sha256(file.read(ENDS))
        if size > ENDS:
            file.seek(max(ENDS, size - ENDS))
            content.update(file.read(ENDS))
    return content.hexdigest()


def _code(made: object) -> str:
    """Digest of the source files of an object's class and its bases: a changed reader makes another cache entry."""
    files = {inspect.getfile(kind) for kind in type(made).__mro__ if kind not in (object, ABC)}
    return digest([Path(file).read_text(encoding="utf-8") for file in sorted(files) if Path(file).is_file()])


def stratified(images: ImageSet, count: int, domain: str, split: Split) -> ImageSet:
    """A fixed random subset with the same share of each class, in the order of the set.

    The subset of a smaller count lies inside that of a larger one.

    Args:
        images: A split.
        count: Images wanted, 1 to the number there are.
        domain: Name of the domain: the choice depends on it, on the split and on the labels.
        split: ``train`` or ``test``.
    """
    order = torch.randperm(len(images), generator=generator("limit", domain, split))
    rank, size = _rank_in_class(images.labels, order)
    chosen = order[((rank[order] + 0.5) / size[order]).argsort(stable=True)[:count]]
    return images.take(chosen.sort().values)


def spread(count: int, wanted: int) -> Tensor:
    """Places of some of ``count`` samples, evenly spaced, at most ``wanted``: int64 ascending."""
    return torch.arange(count)[:: max(1, count // wanted)][:wanted]


def _rank_in_class(labels: Tensor, order: Tensor) -> tuple[Tensor, Tensor]:
    """For each sample: its place among those of its class in ``order``, and how many these are; float64 ``[N]``."""
    count = torch.bincount(labels)
    by_class = order[labels[order].argsort(stable=True)]
    start = count.cumsum(0) - count
    rank = torch.empty(len(labels), dtype=torch.float64)
    rank[by_class] = (torch.arange(len(labels)) - start[labels[by_class]]).double()
    return rank, count[labels].double()


def split_validation(images: ImageSet, share: float) -> tuple[Tensor, Tensor]:
    """Split training samples into a part to learn from and a part to choose the epoch with.

    Each class gives its share, and one image at least where it has two or more. The split depends on the images alone:
    every training on them has the same one.

    Args:
        images: A training split.
        share: Share of the validation part, in (0, 0.5].

    Returns:
        Two sorted int64 index tensors, disjoint, together all samples.

    Raises:
        DataError: A part would be empty.
    """
    order = torch.randperm(len(images), generator=generator("validation", images.fingerprint))
    rank, size = _rank_in_class(images.labels, order)
    held = rank < (share * size).round().maximum((size - 1).clamp(max=1))
    if not bool(held.any()) or bool(held.all()):
        raise DataError(
            f"{len(images)} training images are too few to hold out {share:.0%} of each class for validation: "
            "raise data.train_limit, target_images or recipe.val_share."
        )
    return (~held).nonzero().squeeze(1), held.nonzero().squeeze(1)
