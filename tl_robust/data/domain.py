"""A domain: one data set with its official splits, read from its official files."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal
from urllib.error import URLError

import torch

from tl_robust.data.names import Names, checked_names, class_file
from tl_robust.errors import ConfigError, DataError, UnknownNameError
from tl_robust.registry import Registry, plugin_hint
from tl_robust.types import ImageSet

Split = Literal["train", "test"]
SPLITS: tuple[Split, Split] = ("train", "test")


class Domain(ABC):
    """One data set. The docstring of a subclass is its data card: format, splits, size, license, paper, differences.

    Attributes:
        name: As it is called in a bench file: the file's name, and for a generic one what follows the colon.
        classes: Names of the classes, in label order.
        files: The files it reads, relative to the root, as errors name them; empty where it reads none.
        by_hand: Where the files come from, if nothing here can fetch them.
        repair: The end of the sentence about a file that cannot be read.
    """

    VERSION: ClassVar[int] = 1
    classes: Names
    files: str = ""
    by_hand: str = ""
    repair: ClassVar[str] = "in their official format; replace the damaged file"

    def __init__(self) -> None:
        self.name = type(self).__module__.rpartition(".")[2]

    def read(self, split: Split, root: Path, download: bool) -> ImageSet:
        """Read one official split. A subclass writes this method or :meth:`parts`.

        It may raise anything: :meth:`load` makes one sentence of it that says which files were expected where.

        Args:
            split: ``train`` or ``test``.
            root: Folder that holds the data sets; domains that are made or come with a library ignore it.
            download: Fetch missing files, where that is possible.
        """
        return joined(self.parts(split, root, download))

    def parts(self, split: Split, root: Path, download: bool) -> Iterator[ImageSet]:
        """The split in parts, so that a set may be larger than memory; one part unless a subclass gives more."""
        yield self.read(split, root, download)

    def paths(self, split: Split, root: Path) -> Sequence[Path]:
        """The files of a split. A domain that names them is decoded once and then kept in a cache until they change."""
        return ()

    def names(self, root: Path) -> Names:
        """Names of the classes in label order; a domain whose names stand in its files reads them here."""
        return self.classes

    def passed_over(self, split: Split, root: Path) -> Iterator[str]:
        """Sentences, without a full stop, about files of a split that are not read; most domains read all of them."""
        return iter(())

    def load(self, split: Split, root: Path, download: bool = False) -> ImageSet:
        """One official split, checked, in memory.

        Args:
            split: ``train`` or ``test``.
            root: Folder that holds the data sets.
            download: Fetch missing files, where that is possible.

        Raises:
            DataError: A file is missing or damaged; says where it was looked for and what to do.
        """
        return joined(self.checked(split, root, download))

    def checked(self, split: Split, root: Path, download: bool = False) -> Iterator[ImageSet]:
        """The parts of one split, checked; arguments as in :meth:`load`, and so DataError."""
        try:
            classes = None
            for part in self.parts(split, root, download):
                classes = checked_names(self.names(root), self.name) if classes is None else classes
                low, high = int(part.labels.min()), int(part.labels.max())
                if low < 0 or high >= len(classes):
                    raise DataError(f"label {low if low < 0 else high}, expected 0 to {len(classes) - 1}")
                yield part
            if classes is None:
                raise DataError("no image")
        except Exception as error:  # on a damaged file readers raise anything; the cause stays attached
            raise DataError(self._sentence(error, root)) from error

    def class_names(self, root: Path, download: bool = False) -> Names:
        """The class names of :meth:`names`, cleaned and checked to differ; DataError as of :meth:`load`."""
        try:
            return checked_names(self.names(root), self.name)
        except FileNotFoundError:
            next(self.checked("train", root, download))  # says what is missing, or fetches it
            return self.class_names(root)
        except Exception as error:
            raise DataError(self._sentence(error, root)) from error

    def _sentence(self, error: Exception, root: Path) -> str:
        """What went wrong, which files were expected, and what to do about it, for the person who runs a bench."""
        text = (str(error).splitlines() or [""])[0].rstrip(".")
        cause = text if isinstance(error, DataError) else f"{type(error).__name__}: {text}" if text else "other content"
        if isinstance(error, FileNotFoundError | NotADirectoryError) or text.startswith("Dataset not found"):
            todo = f"get them from {self.by_hand}, or set data.root" if self.by_hand else FETCH
            return f"{self.name} not found in {root}: expected {self.files}; {todo}."
        if isinstance(error, URLError) or "downloading" in text:
            return (
                f"{self.name} cannot be fetched ({cause}): check the network, or put {self.files} into {root} by hand."
            )
        if not self.files:
            return f"{self.name} cannot be made: {cause}."
        return f"{self.name} in {root} cannot be read ({cause}): expected {self.files} {self.repair}."


class GenericDomain(Domain):
    """A layout of files rather than one data set: ``npz:photos`` are the files named ``photos`` in the layout ``npz``.

    Args:
        argument: What follows the colon.
        classes: Class names in label order, or a text file under the root with one name a line. Empty where the data
            files themselves name their classes.
    """

    repair = "in the layout that docs/own-pair.md describes, with labels that have names; correct or replace the file"

    def __init__(self, argument: str, classes: Names | str = ()) -> None:
        super().__init__()
        if not argument:
            raise ConfigError(f"domain {self.name!r} needs a name of files: write {self.name}:NAME.")
        below_root(argument, f"domain {self.name}:{argument}")
        if isinstance(classes, str) and classes:
            below_root(classes, f"the file of class names of domain {self.name}:{argument}")
        self.argument = argument
        self.given = classes
        self.name = f"{self.name}:{argument}"

    def names(self, root: Path) -> Names:
        """The class names that the bench file gives, else those that the data files have."""
        if isinstance(self.given, str):
            return class_file(root / self.given)
        return self.given or self.found_names(root)

    @abstractmethod
    def found_names(self, root: Path) -> Names:
        """Class names as the data files have them, in label order."""


def below_root(name: str, what: str) -> str:
    """The name itself, after checking that it leads to a place below the root: a bench file comes from strangers.

    Raises:
        ConfigError: The name leads out of the root.
    """
    parts = Path(name).parts
    if Path(name).is_absolute() or ".." in parts or not parts or any(ord(letter) < 32 for letter in name):
        raise ConfigError(f"{what} must lie in data.root: write a name without '..' and leading slash, got {name!r}.")
    return name


def check_md5(path: Path, md5: str) -> None:
    """Check that a file has its published checksum.

    Raises:
        FileNotFoundError: The file is missing.
        ValueError: The file has another checksum.
    """
    with path.open("rb") as file:
        checksum = hashlib.file_digest(file, "md5").hexdigest()
    if checksum != md5:
        raise ValueError(f"{path.name} does not have its published MD5 checksum {md5}")


def joined(parts: Iterable[ImageSet]) -> ImageSet:
    """All parts as one set, in order; a single part is not copied."""
    first, *others = parts
    if not others:
        return first
    return ImageSet(*(torch.cat([getattr(part, name) for part in (first, *others)]) for name in ("images", "labels")))


FETCH = "set data.root, or run with data.download=true"
DOMAINS: Registry[type[Domain]] = Registry("domain", "tl_robust.data.domains")


@dataclass(frozen=True)
class Declared:
    """A domain that a bench file declares: files in a generic layout, under a name that pairs and tables then use.

    Attributes:
        name: The domain's name in pairs and tables.
        origin: Layout and files, for example ``npz:photos``.
        classes: Class names in label order, or a text file under the root with one name a line. Images whose class has
            an empty name are left out.
    """

    name: str
    origin: str
    classes: Names | str = ()


@dataclass(frozen=True)
class DataSettings:
    """Where data lie and how much of them is used.

    Attributes:
        root: Folder with the data sets in their official layouts.
        download: Fetch missing sets where torchvision can.
        train_limit: At most so many training images of each domain; 0 means all. They are a fixed random subset with
            the same share of each class, and a smaller subset lies inside every larger one.
        test_limit: The same limit for test images.
        cache: Folder where decoded sets are kept and mapped into memory from; empty keeps them in memory alone.
        domains: Domains that the bench file declares.
    """

    root: str = "data"
    download: bool = False
    train_limit: int = 0
    test_limit: int = 0
    cache: str = "results/cache"
    domains: tuple[Declared, ...] = ()

    def __post_init__(self) -> None:
        for name in ("train_limit", "test_limit"):
            if getattr(self, name) < 0:
                raise ConfigError(f"data.{name} must be 0 (all) or more, got {getattr(self, name)}.")

    @property
    def folder(self) -> Path:
        """The root as a path."""
        return Path(self.root).expanduser()


def get_domain(name: str, settings: DataSettings) -> Domain:
    """The domain of a name: a registered one, a declared one, or a generic one with what follows the colon.

    Raises:
        UnknownNameError: No such domain.
        ConfigError: One with files and classes of its own is declared under another name.
    """
    declared = {item.name: item for item in settings.domains}
    item = declared.get(name, Declared(name, name))
    layout, colon, files = item.origin.partition(":")
    if not colon and name not in declared and name not in DOMAINS:
        raise UnknownNameError("domain", name, [*DOMAINS.names(), *declared], plugin_hint("domain"))
    domain_class = DOMAINS[layout]
    if issubclass(domain_class, GenericDomain):
        domain: Domain = domain_class(files, item.classes)
        domain.name = name if name in declared else domain.name
        return domain
    if name in declared:
        raise ConfigError(
            f"domain {name!r} cannot be declared from {item.origin!r}: {layout} has files and classes of its own, "
            f"so write {layout} in pairs."
        )
    if colon:
        raise ConfigError(f"domain {layout!r} has files and classes of its own: write {layout}, not {name}.")
    return domain_class()
