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
from tl_robust.data.domain import SPLITS, DataSettings, Split, get_domain, joined
from tl_robust.data.names import Names
from tl_robust.data.space import get_space, labels_of
from tl_robust.data.splits import Draw, Pool, split_validation, stratified
from tl_robust.errors import DataError
from tl_robust.registry import Component
from tl_robust.seeding import digest
from tl_robust.text import first_few
from tl_robust.types import ImageSet

FEW = 64  # files, at most, whose content is part of their stamps: reading thousands of them would take too long
ENDS = 1 << 20  # bytes at the start and at the end of such a file that are read for its stamp


@dataclass(frozen=True)
class DomainInSpace:
    """A domain mapped into a space: what a training or a test set is made of.

    Attributes:
        domain: Name of the domain.
        space: The space with settings.
        settings: Where the data lie and how much is used.
        classes: The classes of the pair. The domain has these labels if it has any of them, else its own. Empty stands
            for the classes of the space.
        share: How many of the training images are used: a share up to 1, a number of images above 1.
        draw: The half of these that is learned from, with the validation part; None where all are.
    """

    domain: str
    space: Component
    settings: DataSettings = field(default_factory=DataSettings)
    classes: Names = ()
    share: float = 1.0
    draw: Draw | None = None

    @property
    def whole(self) -> DomainInSpace:
        """The domain with all its training images."""
        return replace(self, share=1.0, draw=None)

    @property
    def labels(self) -> Names:
        """Names of the classes in label order."""
        return _labels(self.whole)

    def images(self, split: Split) -> ImageSet:
        """The images of one split in the space, at most as many as the limit; kept in memory after the first call."""
        images = _limited(self.whole, split)
        if split == "test":
            return images
        if self.draw:
            return _half(self)[0]
        wanted = round(self.share * len(images)) if self.share <= 1 else round(self.share)
        if not 1 <= wanted <= len(images):
            raise DataError(f"target_images asks for {wanted}, but {self.domain} has {len(images)} training images.")
        return images if wanted == len(images) else _taken(self, split, wanted)

    def parts(self, val_share: float) -> tuple[Tensor, Tensor]:
        """Places in the training images of the part to learn from and of that to choose the epoch with.

        See :func:`tl_robust.data.splits.split_validation`. The halves of a pool have the same second part.
        """
        return _half(self)[1:] if self.draw else split_validation(self.images("train"), val_share)

    def pool(self, val_share: float, canaries: float = 0.0) -> Pool:
        """What halves of the training images are drawn from."""
        return Pool.of(replace(self, draw=None).images("train"), val_share, canaries)

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of the training images."""
        return _fingerprint(self) if self.draw else self.images("train").fingerprint


@lru_cache(maxsize=4)
def _half(data: DomainInSpace) -> tuple[ImageSet, Tensor, Tensor]:
    assert data.draw
    return data.draw.of(replace(data, draw=None).images("train"))


@lru_cache(maxsize=4096)
def _fingerprint(data: DomainInSpace) -> str:
    return data.images("train").fingerprint


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
    return stratified(_limited(data.whole, split), count, data.domain, split)


def check_classes(data: DomainInSpace) -> None:
    """Check that the images that are used have at least two classes, since a single class cannot be told from another.

    Raises:
        DataError: All images of a split are of one class.
    """
    for split in SPLITS:
        images = data.images(split)
        labels = images.labels.unique().tolist()
        if len(labels) < 2:
            which = " that are used" if len(images) < sum(own_counts(data, split)) else ""
            raise DataError(
                f"{data.domain}: all {len(images):,} {split} images{which} are of one class "
                f"({data.labels[labels[0]]!r}): at least two classes are needed to learn or to attack anything."
            )


def load_mapped(data: DomainInSpace, split: Split) -> ImageSet:
    """All images of one split in the space, from the cache where the domain names its files.

    Raises:
        DataError: A file is missing or damaged, or no image has a class of the space.
    """
    domain, space, labels = get_domain(data.domain, data.settings), get_space(data.space), data.labels
    root = data.settings.folder
    classes = domain.class_names(root, data.settings.download)
    notes = dict[str, list[int]]()

    def in_space() -> Iterator[ImageSet]:
        counts, kept = torch.zeros(len(classes), dtype=torch.int64), 0
        for part in domain.checked(split, root, data.settings.download):
            counts += torch.bincount(part.labels, minlength=len(classes))
            if (images := space.map(part, classes, labels)) is not None:
                kept += len(images)
                yield images
        if not kept:
            names = first_few(labels, 7) or "that have a name: it has none"
            raise DataError(f"{data.domain} has no {split} image of the classes {names}.")
        notes["own"] = counts.tolist()

    paths = domain.paths(split, root)
    if paths and data.settings.download and not all(path.is_file() for path in paths):
        next(domain.checked(split, root, True))  # reading the first part fetches the files
        paths = domain.paths(split, root)
    if not data.settings.cache or not paths or not all(path.exists() for path in paths):
        images = joined(in_space())
    else:
        code = [_code(domain), domain.VERSION, _code(space)]
        key = digest([data.domain, split, stamps(paths), asdict(data.space), classes, labels, code])
        images = cached(Path(data.settings.cache).expanduser(), key, in_space, notes)
    _own_counts[_unlimited(data), split] = tuple(notes.get("own", ()))
    return images


# Images of each of a domain's own classes, for sentences about what is left out; a mapped set holds the others alone.
_own_counts: dict[tuple[DomainInSpace, Split], tuple[int, ...]] = {}


def _unlimited(data: DomainInSpace) -> DomainInSpace:
    return replace(data.whole, settings=replace(data.settings, train_limit=0, test_limit=0))


def own_counts(data: DomainInSpace, split: Split) -> tuple[int, ...]:
    """How many images of one split each of the domain's own classes has, also those that the space leaves out."""
    data.images(split)
    if (_unlimited(data), split) not in _own_counts:
        load_mapped(data, split)
    return _own_counts[_unlimited(data), split]


def stamps(paths: Sequence[Path]) -> list[tuple[object, ...]]:
    """For each file, values that differ once its content has changed: its place, size, times and, of few files, ends.

    The time of change (``st_ctime``) cannot be set back as the time of writing can, but not all systems keep one. So
    the first and the last bytes are hashed too, where the files are few enough to open each.
    """
    stats = [(path, path.stat()) for path in paths]
    return [
        (str(path.resolve()), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns,
         _ends(path, stat.st_size) if len(paths) <= FEW else "")
        for path, stat in stats
    ]  # fmt: skip


def _ends(path: Path, size: int) -> str:
    with path.open("rb") as file:
        content = hashlib.sha256(file.read(ENDS))
        if size > ENDS:
            file.seek(max(ENDS, size - ENDS))
            content.update(file.read(ENDS))
    return content.hexdigest()


def _code(reader: object) -> str:
    """Digest of the source files of an object's class and its bases: a changed reader makes another cache entry."""
    files = {inspect.getfile(kind) for kind in type(reader).__mro__ if kind not in (object, ABC)}
    return digest([Path(file).read_text(encoding="utf-8") for file in sorted(files) if Path(file).is_file()])


def spread(count: int, wanted: int) -> Tensor:
    """At most ``wanted`` evenly spaced places among ``count`` samples, ascending, int64."""
    return torch.arange(count)[:: max(1, count // wanted)][:wanted]


def held_out(data: DomainInSpace, share: float) -> ImageSet:
    """The validation part of a domain's training split; see :meth:`DomainInSpace.parts`."""
    images = data.images("train")
    return images.take(data.parts(share)[1])
