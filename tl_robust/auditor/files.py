"""Models of an audit: from what a user writes to checkpoints, and what their files say of them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import yaml

from tl_robust.audit.record import File
from tl_robust.auditor.request import Entry
from tl_robust.config.entries import checkpoint_of, network_of
from tl_robust.data.domain import DataSettings
from tl_robust.data.names import Names
from tl_robust.data.space import get_space
from tl_robust.errors import ConfigError, DataError
from tl_robust.models import NETWORKS, build
from tl_robust.models.adapter import CONFIG, TENSORS, Adapter
from tl_robust.models.checkpoint import classes_in
from tl_robust.models.folders import read_folder
from tl_robust.nodes.models import Checkpoint
from tl_robust.registry import Component

HERE = DataSettings(root="", cache="")  # paths are as the user writes them
UNNAMED = re.compile(r"LABEL_\d+")  # what transformers calls classes that nobody named


@dataclass(frozen=True)
class Written:
    """A model as a user wrote it.

    Attributes:
        name: What readers call it: of its file or folder.
        entry: Keys of an entry of ``checkpoints:``.
        number: How many classes it has; 0: as many as the images, since an adapter brings its head.
        classes: Names in the order of its logits; empty where neither its files nor the user name them.
    """

    name: str
    entry: Mapping[str, Any]
    number: int
    classes: Names

    @classmethod
    def of(cls, entry: Entry, network: Entry, space: Component, *, base: Written | None = None) -> Written:
        """What is known of a model before its weights are read.

        Args:
            entry: What the user wrote.
            network: Of files that do not say it; empty where he does not say it either.
            space: Of the images.
            base: The model that an adapter is merged into.

        Raises:
            InputError: There is no such file, or it is not known which network it holds.
        """
        keys = _keys(entry)
        where = str(keys.get("from", ""))
        name = re.sub(r"[/\\\x00-\x1f\x7f]", "_", str(keys.pop("name", ""))) or _name(where)
        path = Path(where)
        if _is_adapter(path):
            if base is None:
                raise ConfigError(f"{where} is a LoRA adapter alone: give the folder of its base by --parent.")
            keys = {**base.entry, "adapter": where} | {key: value for key, value in keys.items() if key != "from"}
            adapter = Adapter.read(path)
            if not adapter.heads and "classes" not in keys:
                return cls(name, keys, base.number, base.classes)
            return cls(name, {key: keys[key] for key in keys if key != "classes"}, 0, _given(keys))
        given = _given(keys)
        if path.is_dir():
            folder = read_folder(path)
            own = () if any(map(UNNAMED.fullmatch, folder.classes)) else folder.classes
            return cls(name, keys, folder.number, given or own)
        if "network" not in keys:
            if not network:
                raise ConfigError(
                    f"{where} holds weights alone: say which network they are of, such as --network resnet18 or "
                    f"--network '{{name: torchvision_backbone, arch: resnet18}}'; "
                    f"known are {', '.join(NETWORKS.names())}."
                )
            keys = {**keys, "network": network}
        number = len(given) or _number(keys, space)
        return cls(name, keys, number, given)

    def checkpoint(self, name: str, classes: Names, space: Component) -> Checkpoint:
        """What a bench file would declare, with these classes.

        Raises:
            InputError: It cannot be used.
        """
        made = checkpoint_of(name, {**self.entry, "classes": list(classes)}, HERE, [space], where=self.name)
        return replace(made, name=self.name)

    @property
    def files(self) -> tuple[File, ...]:
        """What it is read from, the file of its weights first."""
        where, adapter = Path(str(self.entry["from"])), str(self.entry.get("adapter", ""))
        own = [where / read_folder(where).weights, *_beside(where)] if where.is_dir() else [where]
        added = [Path(adapter) / TENSORS, Path(adapter) / CONFIG] if adapter else []
        return tuple(map(_file, [*added, *own]))


def unique(models: Iterable[Written]) -> tuple[Written, ...]:
    """The same models, with a number behind a name that an earlier one has."""
    taken: list[str] = []
    made = []
    for model in models:
        name, place = model.name, 2
        while name in taken:
            name, place = f"{model.name}_{place}", place + 1
        taken.append(name)
        made.append(replace(model, name=name))
    return tuple(made)


def entry_of(entry: Entry) -> Entry:
    """The same; a text with braces is YAML, since a command line has texts alone.

    Raises:
        ConfigError: It is not valid YAML.
    """
    if not (isinstance(entry, str) and entry.lstrip().startswith("{")):
        return entry
    try:
        made: Entry = yaml.safe_load(entry)
    except yaml.YAMLError as error:
        raise ConfigError(f"{entry!r} is not valid YAML: {' '.join(str(error).split())[:200]}.") from error
    return made


def _keys(entry: Entry) -> dict[str, Any]:
    entry = entry_of(entry)
    keys = {"from": entry} if isinstance(entry, str) else dict(entry) if isinstance(entry, Mapping) else {}
    where = keys.get("from")
    if not isinstance(where, str) or not where:
        raise ConfigError(
            f"a model is a file, a folder or a mapping such as {{from: FILE, network: NAME}}, got {entry!r}."
        )
    if not Path(where).exists() and not re.fullmatch(r"\w+_Weights\.\w+", where):
        raise DataError(f"{where} not found: expected the file or the folder of a model.")
    return keys


def _given(keys: Mapping[str, Any]) -> Names:
    names = keys.get("classes", ())
    return tuple(map(str, names)) if isinstance(names, list | tuple) else ()


def _name(where: str) -> str:
    path = Path(where)
    stem = path.stem if path.is_file() else path.resolve().name
    return re.sub(r"[-:,\s\x00-\x1f\x7f]+", "_", stem) or "model"


def _is_adapter(path: Path) -> bool:
    return (path / CONFIG).is_file() and not (path / "config.json").is_file()


def _number(keys: Mapping[str, Any], space: Component) -> int:
    """How many classes a file has, or the user says."""
    if isinstance(number := keys.get("classes"), int):
        return number
    network = network_of(keys["network"], [space], where="--network")
    with torch.device("meta"):  # names alone are looked at
        built = build(network, get_space(space).image_shape, 2)
    return classes_in(str(keys["from"]), HERE.folder, built, keys.get("rename"))


def _beside(folder: Path) -> list[Path]:
    names = ("config.json", "preprocessor_config.json")
    return [folder / name for name in names if (folder / name).is_file()]


def _file(path: Path) -> File:
    if not path.is_file():  # torchvision's name of weights
        return File(str(path), hashlib.sha256(str(path).encode()).hexdigest(), 0)
    with path.open("rb") as file:
        return File(str(path), hashlib.file_digest(file, "sha256").hexdigest(), path.stat().st_size)
