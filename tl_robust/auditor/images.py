"""The images of an audit: a folder of a user's, or a domain, whose classes are named as the model's are.

Two names are the same class where they differ in case, blanks, dashes and underlines alone: folders cannot have all
letters that class names have.
"""

from __future__ import annotations

import re
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
    """

    name: str
    split: Split
    settings: DataSettings

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
            made = cls(name, split, DataSettings(str(request.root), cache=cache, test_limit=limit, domains=own))
            made.check(origin)
            return made
        folder = folder.resolve()
        splits = any((folder / part).is_dir() for part in ("train", "test"))
        name = _plain(folder.name) or "images"
        own = (Declared(name, f"folder:{folder.name}", names),)
        settings = DataSettings(str(folder.parent), cache=cache, test_limit=limit, domains=own)
        return cls(name, split if splits else "test", settings)

    def check(self, origin: str) -> None:
        """Check that there is such a domain.

        Raises:
            ConfigError: There is none.
        """
        try:
            get_domain(self.name, self.settings)
        except UnknownNameError as error:
            raise ConfigError(f"{origin!r} is no folder, and no domain either: {error}") from error

    @property
    def classes(self) -> Names:
        """Names of its classes in the order of its labels."""
        domain, root = get_domain(self.name, self.settings), self.settings.folder
        try:
            return domain.class_names(root)
        except DataError:
            next(domain.checked(self.split, root))  # may know better what is missing
            raise

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of its first images, in pixels."""
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
        return self.within(space, classes).images(self.split)


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


def _plain(name: str) -> str:
    """A name that a domain may have."""
    return re.sub(r"[-:,/\\\x00-\x1f\x7f]", "_", name)


def _folded(name: str) -> str:
    """A name without what a folder's name may lack: ``Border_collie`` and ``border collie`` are the same."""
    return " ".join(re.sub(r"[\s_-]+", " ", name).casefold().split())
