"""The images of an audit: a folder of a user's, or a domain, whose classes are named as the model's are.

Two names are the same class where they differ in case, blanks, dashes and underlines alone: folders cannot have all
letters that class names have.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from tl_robust.auditor.files import entry_of
from tl_robust.auditor.request import Entry, Request
from tl_robust.data.domain import DataSettings, Declared, GenericDomain, Split, get_domain
from tl_robust.data.mapped import DomainInSpace
from tl_robust.data.names import Names, checked_names
from tl_robust.errors import ConfigError, DataError, UnknownNameError
from tl_robust.registry import Component
from tl_robust.text import first_few
from tl_robust.types import ImageSet


@dataclass(frozen=True)
class Images:
    """Where images come from.

    Attributes:
        name: Of their domain.
        split: Which of its splits.
        settings: Where they lie, and how many are used.
        written: The folder or the domain as the user wrote it.
    """

    name: str
    split: Split
    settings: DataSettings
    written: str

    @classmethod
    def of(cls, entry: Entry, request: Request, split: Split) -> Images:
        """The images that a user names, as :class:`Request` describes ``data``.

        Args:
            entry: Folder or domain; or a mapping with it as ``from`` and the names of its ``classes`` in label order,
                where its files do not say them; an empty name is no class.
            request: The audit.
            split: That is wanted; a folder without splits is all of one.

        Raises:
            InputError: There is no such folder or domain.
        """
        origin, names = _origin(entry_of(entry))
        cache, limit = str(request.results / "cache"), request.images if split == "test" else 0
        folder = Path(origin).expanduser()
        if not folder.is_dir():
            name = _plain(origin.partition(":")[2]) if names else origin
            own = (Declared(name, origin, names),) if names else ()
            made = cls(name, split, DataSettings(str(request.root), cache=cache, test_limit=limit, domains=own), origin)
            made.check()
            return made
        folder = folder.resolve()
        splits = any((folder / part).is_dir() for part in ("train", "test"))
        name = _plain(folder.name) or "images"
        own = (Declared(name, f"folder:{folder.name}", names),)
        settings = DataSettings(str(folder.parent), cache=cache, test_limit=limit, domains=own)
        return cls(name, split if splits else "test", settings, origin)

    def check(self) -> None:
        """Check that there is such a domain.

        Raises:
            ConfigError: There is none.
        """
        try:
            get_domain(self.name, self.settings)
        except UnknownNameError as error:
            hint = " Of files NAME_train.npz and NAME_test.npz write npz:NAME, and their folder as --root."
            more = hint if self.written.endswith(".npz") else ""
            raise ConfigError(f"{self.written!r} is no folder, and no domain either: {error}{more}") from error

    @property
    def classes(self) -> Names:
        """Names of its classes in the order of its labels."""
        domain, root = get_domain(self.name, self.settings), self.settings.folder
        with self._told():
            try:
                return domain.class_names(root)
            except DataError:
                next(domain.checked(self.split, root))  # may know better what is missing
                raise

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of its first images, in pixels."""
        with self._told():
            first = next(get_domain(self.name, self.settings).checked(self.split, self.settings.folder))
        return int(first.images.shape[2]), int(first.images.shape[3])

    def named(self, model: Names, whose: str) -> Images:
        """The same images, with classes named as those of a model.

        Args:
            model: Names of the model's classes.
            whose: Name of the model, for errors.

        Raises:
            ConfigError: They share no class, or their names cannot be changed.
        """
        own, known = self.classes, {_folded(name): name for name in model if name}
        renamed = tuple(known.get(_folded(name), name) for name in own)
        if not set(renamed) & set(model):
            raise ConfigError(
                f"{whose} and {self.name} share no class ({whose}: {first_few(model, 4)}; {self.name}: "
                f"{first_few(own, 4)}): name the images' folders as the model's classes, or give its classes in the "
                "order of its logits by --classes."
            )
        if renamed == own:
            return self
        if not issubclass(type(get_domain(self.name, self.settings)), GenericDomain):
            raise ConfigError(f"the classes of {self.name} are {first_few(own, 12)}: write those of {whose} likewise.")
        origin = next((item.origin for item in self.settings.domains if item.name == self.name), self.name)
        name = _plain(self.name)
        return replace(
            self, name=name, settings=replace(self.settings, domains=(Declared(name, origin, classes=renamed),))
        )

    def within(self, space: Component, classes: Names) -> DomainInSpace:
        """These images in a space, with the labels of a model."""
        return DomainInSpace(self.name, space, self.settings, classes)

    def read(self, space: Component, classes: Names) -> ImageSet:
        """Pixels and labels.

        Raises:
            DataError: They cannot be read, or none has one of the classes.
        """
        with self._told():
            return self.within(space, classes).images(self.split)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Errors of benches in the words of an audit: the path that the user wrote, and options of this command."""
        try:
            yield
        except DataError as error:
            cause = error.__cause__
            if not Path(self.written).expanduser().is_dir() or cause is None:
                raise DataError(_options(str(error))) from error
            what = str(cause) if isinstance(cause, DataError) else f"{type(cause).__name__}: {cause}"
            raise DataError(
                f"the images {self.written} cannot be read ({what.splitlines()[0].rstrip('.')}): expected "
                "CLASS/IMAGE in this folder, or test/CLASS/IMAGE and perhaps train/CLASS/IMAGE; correct or remove what "
                "is not readable."
            ) from error


def _origin(entry: Entry) -> tuple[str, Names]:
    """Where images come from, and the names that the user gives their classes."""
    if isinstance(entry, str):
        return entry, ()
    given = {"from": "", "classes": ()} | dict(entry)
    for key in given.keys() - {"from", "classes"}:
        raise UnknownNameError("key of --data", key, ["from", "classes"])
    if not isinstance(given["from"], str) or not isinstance(given["classes"], list | tuple):
        raise ConfigError(
            f"--data must be a folder, a domain, or {{from: DOMAIN, classes: [NAME, ...]}}, got {entry!r}."
        )
    return given["from"], checked_names(map(str, given["classes"]), "classes of --data")


def _options(sentence: str) -> str:
    """A sentence with this command's options in place of a bench file's keys; nothing is fetched for an audit."""
    sentence = sentence.replace(", or run with data.download=true", "").replace("set data.root", "give it by --root")
    return sentence.replace("or give it by --root", "or give their folder by --root")


def _plain(name: str) -> str:
    """A name that a domain may have."""
    return re.sub(r"[-:,/\\\x00-\x1f\x7f]", "_", name)


def _folded(name: str) -> str:
    """A name without what a folder's name may lack: ``Border_collie`` and ``border collie`` are the same."""
    return " ".join(re.sub(r"[\s_-]+", " ", name).casefold().split())
