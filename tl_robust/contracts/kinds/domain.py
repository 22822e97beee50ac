"""What a domain promises: images with labels of its classes, the same every time, or a sentence on what is missing.

Axes: N images, C channels.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch

from tl_robust.contracts.component import own_docstring
from tl_robust.contracts.contract import Contracts, Named, NotAskedError, demand
from tl_robust.data.domain import DOMAINS, SPLITS, Domain, GenericDomain, Split
from tl_robust.errors import DataError
from tl_robust.types import ImageSet

MISSING = "Its files were not given: say with --root in which folder they lie."
CARD = ("format", "split", "licens", "paper")  # words of a data card


@dataclass
class Read:
    """A domain and what was read of it.

    Attributes:
        domain: The domain.
        root: Folder of its files; None where none was given.
        known: What was read already, by split.
    """

    domain: Domain
    root: Path | None
    known: dict[str, ImageSet] = field(default_factory=dict)

    def load(self, split: Split) -> ImageSet:
        """A split, read once.

        Raises:
            NotAskedError: The data are not there.
        """
        if split not in self.known:
            try:
                self.known[split] = self.domain.load(split, self.root or Path("no_data_root"))
            except DataError as error:
                if "not found" in str(error):
                    raise NotAskedError(MISSING if self.root is None else str(error)) from error
                raise
        return self.known[split]


def cases(named: Named) -> Iterator[tuple[str, Read]]:
    """The domain with the folder of data sets."""
    kind = DOMAINS[named.name]
    if issubclass(kind, GenericDomain):
        raise NotAskedError(
            f"It is a layout of files: check one of them with tl-robust check-pair {named.name}:NAME-..."
        )
    yield "", Read(kind(), named.root)


CONTRACTS = Contracts("domain", cases)


@CONTRACTS.once
def has_a_data_card(named: Named) -> None:
    """Its docstring says format, splits, license and paper of the data set."""
    card = own_docstring(named.item).lower()
    lacking = [word for word in CARD if word not in card]
    todo = "say in the docstring what it is, its format, splits, sizes, license, paper and known differences"
    demand(not lacking, "a data card with format, splits, license and paper", f"one without {', '.join(lacking)}", todo)


@CONTRACTS.once
def names_its_classes(named: Named) -> None:
    """Class names in label order are at least two, all different, none of them empty."""
    if issubclass(named.item, GenericDomain):
        raise NotAskedError("Its files name its classes.")
    classes = getattr(named.item, "classes", ())
    right = isinstance(classes, tuple) and len(set(classes)) == len(classes) > 1
    right = right and all(isinstance(name, str) and name for name in classes)
    demand(
        right, "a tuple of two or more different names", repr(classes)[:60], "set classes to the names in label order"
    )


@CONTRACTS
def says_which_files_are_missing(read: Read) -> None:
    """In an empty folder it is one sentence that names the files, the folder and what to do, and nothing is written."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "none"
        for split in SPLITS:
            try:
                read.domain.load(split, root)
            except DataError as error:
                said = str(error)
            else:
                demand(not read.domain.paths(split, root), "no paths of data that need no file", "some", "remove paths")
                continue
            files = read.domain.files
            todo = "set files to the names that it reads, and let FileNotFoundError pass"
            right = files and files in said and "not found in" in said and said.endswith(".") and "\n" not in said
            demand(right, "a sentence with the files that it needs", repr(said)[:120], todo)
            demand(not root.exists(), "nothing written", "a folder", "write nothing under root while reading")


@CONTRACTS
def gives_bytes_with_labels_in_range(read: Read) -> None:
    """Images are uint8 ``[N,C,H,W]`` of 1 or 3 channels over the range of bytes; labels are int64 from 0."""
    for split in SPLITS:
        images = read.load(split)
        pixels, labels = images.images, images.labels
        right = pixels.dtype == torch.uint8 and pixels.ndim == 4 and pixels.shape[1] in (1, 3)
        todo = "scale to 0 to 255, convert to uint8, and put channels behind N"
        demand(right, f"uint8 [N,C,H,W] of {split} images", f"{pixels.dtype} {list(pixels.shape)}", todo)
        low, high = (int(end) for end in pixels.aminmax())
        demand(high - low > 127, f"{split} pixels over 0 to 255", f"{low} to {high}", "multiply by 255 before uint8")
        form = f"{labels.dtype} {list(labels.shape)}"
        right = labels.dtype == torch.int64 and labels.shape == (len(pixels),)
        demand(right, f"int64 [{len(pixels)}] as labels", form, "write labels.long()")


@CONTRACTS
def has_every_class_in_both_splits(read: Read) -> None:
    """Each class has an image in either split: labels that are off by one leave one class without any."""
    count = len(read.domain.names(read.root or Path()))
    for split in SPLITS:
        seen = read.load(split).labels.unique().tolist()
        lone = [place for place in range(count) if place not in seen]
        todo = "give labels from 0, in the order of classes"
        demand(not lone, f"images of all {count} classes in {split}", f"none with label {lone[:5]}", todo)


@CONTRACTS
def keeps_its_splits_apart(read: Read) -> None:
    """No image of the training split is in the test split, by content."""
    train, test = (_hashes(read.load(split)) for split in SPLITS)
    shared = len(train & test)
    demand(
        not shared, "no image in both splits", f"{shared} in both", "read other files, or other places, for each split"
    )


@CONTRACTS
def reads_the_same_again(read: Read) -> None:
    """A second reading gives the same images and labels in the same order."""
    for split in SPLITS:
        first = read.load(split).fingerprint
        again = type(read.domain)().load(split, read.root or Path("no_data_root")).fingerprint
        demand(first == again, f"the same {split} images again", "others", "sort file names, and draw by a fixed seed")


def _hashes(images: ImageSet) -> set[bytes]:
    return {hashlib.sha256(image.numpy().tobytes()).digest() for image in images.images}
