"""A domain: one data set with its official splits, read from its official files."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import ClassVar, Literal
from urllib.error import URLError

import torch

from tl_robust.data.space import SPACES
from tl_robust.errors import ConfigError, DataError
from tl_robust.registry import Registry
from tl_robust.seeding import generator
from tl_robust.types import ImageSet

Split = Literal["train", "test"]


class Domain(ABC):
    """One data set. The docstring of a subclass is its data card: format, splits, size, license, paper, differences.

    Attributes:
        classes: Names of the classes, in label order.
        files: The files it reads, relative to the root, as errors name them; empty where it reads none.
        by_hand: Where the files come from, if nothing here can fetch them.
    """

    VERSION: ClassVar[int] = 1
    classes: ClassVar[tuple[str, ...]]
    files: ClassVar[str] = ""
    by_hand: ClassVar[str] = ""

    @abstractmethod
    def read(self, split: Split, root: Path, download: bool) -> ImageSet:
        """Read one official split; whatever is raised here becomes one sentence in :meth:`load`.

        Args:
            split: ``train`` or ``test``.
            root: Folder that holds the data sets; domains that are made or come with a library ignore it.
            download: Fetch missing files, where that is possible.
        """

    def load(self, split: Split, root: Path, download: bool = False) -> ImageSet:
        """One official split, checked.

        Args:
            split: ``train`` or ``test``.
            root: Folder that holds the data sets.
            download: Fetch missing files, where that is possible.

        Raises:
            DataError: A file is missing or damaged; says where it was looked for and what to do.
        """
        try:
            images = self.read(split, root, download)
            low, high = int(images.labels.min()), int(images.labels.max())
            if low < 0 or high >= len(self.classes):
                raise DataError(f"label {low if low < 0 else high}, expected 0 to {len(self.classes) - 1}")
        except Exception as error:  # readers raise anything on a damaged file; the cause stays attached
            raise DataError(self._sentence(error, root)) from error
        return images

    def _sentence(self, error: Exception, root: Path) -> str:
        name = type(self).__module__.rpartition(".")[2]
        text = (str(error).splitlines() or [""])[0].rstrip(".")
        cause = text if isinstance(error, DataError) else f"{type(error).__name__}: {text}" if text else "other content"
        if isinstance(error, FileNotFoundError | NotADirectoryError) or text.startswith("Dataset not found"):
            todo = f"get them from {self.by_hand}, or set data.root" if self.by_hand else FETCH
            return f"{name} not found in {root}: expected {self.files}; {todo}."
        if isinstance(error, URLError) or "downloading" in text:
            return f"{name} cannot be fetched ({cause}): check the network, or put {self.files} into {root} by hand."
        if not self.files:
            return f"{name} cannot be made: {cause}."
        return (
            f"{name} in {root} cannot be read ({cause}): expected {self.files} in their official format; "
            "replace the damaged file."
        )


FETCH = "set data.root, or run with data.download=true"
DOMAINS: Registry[type[Domain]] = Registry("domain", "tl_robust.data.domains")


@dataclass(frozen=True)
class DataSettings:
    """Where data lie and how much of them is used.

    Attributes:
        root: Folder with the data sets in their official layouts.
        download: Fetch missing sets where torchvision can.
        train_limit: At most so many training images of each domain (a fixed random subset; smaller ones are inside
            larger ones); 0 means all.
        test_limit: The same for test images.
    """

    root: str = "data"
    download: bool = False
    train_limit: int = 0
    test_limit: int = 0

    def __post_init__(self) -> None:
        for name in ("train_limit", "test_limit"):
            if getattr(self, name) < 0:
                raise ConfigError(f"data.{name} must be 0 (all) or more, got {getattr(self, name)}.")


@dataclass(frozen=True)
class DomainInSpace:
    """A domain mapped into a space: what a training or a test set is made of.

    Attributes:
        domain: Name of the domain.
        space: Name of the space.
        settings: Where the data lie and how much is used.
    """

    domain: str
    space: str
    settings: DataSettings = DataSettings()

    def images(self, split: Split) -> ImageSet:
        """The images of one split in the space, at most the limit; kept in memory after the first call."""
        return _mapped(self, split)


@lru_cache(maxsize=32)
def _mapped(data: DomainInSpace, split: Split) -> ImageSet:
    domain = DOMAINS[data.domain]()
    root = Path(data.settings.root).expanduser()
    images = domain.load(split, root, data.settings.download)
    images = SPACES[data.space]().map(images, domain.classes, data.domain)
    limit = data.settings.train_limit if split == "train" else data.settings.test_limit
    if 0 < limit < len(images):
        order = torch.randperm(len(images), generator=generator("limit", data.domain, split))
        images = images.take(order[:limit].sort().values)
    return images


def split_validation(images: ImageSet, share: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Split training samples into a part to learn from and a part to choose the epoch with.

    Each class gives its share. The split depends on the images alone: every training on them has the same one.

    Args:
        images: A training split.
        share: Share of the validation part, in (0, 0.5].

    Returns:
        Two sorted int64 index tensors, disjoint, together all samples.

    Raises:
        DataError: A part would be empty.
    """
    order = torch.randperm(len(images), generator=generator("validation", images.fingerprint))
    held = torch.zeros(len(images), dtype=torch.bool)
    for label in images.labels.unique():
        of_class = order[images.labels[order] == label]
        held[of_class[: round(share * len(of_class))]] = True
    if not bool(held.any()) or bool(held.all()):
        raise DataError(
            f"{len(images)} training images are too few to hold out {share:.0%} of each class for validation: "
            "raise data.train_limit or recipe.val_share."
        )
    return (~held).nonzero().squeeze(1), held.nonzero().squeeze(1)
