"""A file that names many models and their parents, and the audit of each that it asks for."""

from __future__ import annotations

import filecmp
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tl_robust.auditor.files import entry_of
from tl_robust.auditor.options import OPTIONS, request_of
from tl_robust.auditor.request import Entry, Request
from tl_robust.config.entries import bench_name, name_and_settings
from tl_robust.config.written import Written
from tl_robust.errors import ConfigError, InputError, UnknownNameError
from tl_robust.models.folders import read_folder

OF_A_MODEL = {"from", "rename", "adapter", "network", "classes"}  # keys of an entry below ``checkpoints:``
OWN = ("data", "train", "stated", "reference", "space", "parent", "decoys")  # options that each model may have
SHARED = tuple(option for option in OPTIONS if option not in ("model", "parent", "stated", "reference"))


@dataclass(frozen=True)
class Asked:
    """An audit of one of many models.

    Attributes:
        name: Of the model, as the file has it.
        parent: Name of its parent; empty where it has none.
        request: What is asked for.
    """

    name: str
    parent: str
    request: Request


TEXTS = {"from": str, "parent": str, "classes": list[str], "data": str, "train": str, "reference": str, "network": Any}


@dataclass(frozen=True)
class _File:
    """Which values of the file are texts, whatever they look like."""

    data: str
    train: str
    root: str
    results: str
    norm: str
    classes: list[str]
    parents: dict[str, Any] = field(metadata={"entries": TEXTS})
    models: dict[str, Any] = field(metadata={"entries": TEXTS})


def read(path: Path) -> tuple[Asked, ...]:
    """The audits that a file asks for, in its order.

    The file has ``models:`` and ``parents:``, each a mapping from names to files, folders or entries as below
    ``checkpoints:`` of a bench file; an entry of a model has also ``parent: NAME`` and options of its own. Beside them
    stand options of all audits. ``decoys`` are names of parents, or models; where there are none, the other parents
    with the same network. Paths are as on the command line: from the folder of the process.

    Raises:
        ConfigError: It cannot be read, or has an unknown key or name, or a value of another kind; says where.
    """
    try:
        plain = Written(_File).read(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {path} ({getattr(error, 'strerror', 'not UTF-8')}).") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not valid YAML: {' '.join(str(error).split())[:300]}.") from error
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    try:
        return _asked(plain)
    except InputError as error:
        raise ConfigError(f"{path}: {error}") from error


def _asked(plain: Any) -> tuple[Asked, ...]:
    if not isinstance(plain, dict):
        raise ConfigError("expected keys with values, among them models: and data:.")
    _known(plain, ("models", "parents", *SHARED), "key")
    models, parents = (_entries(plain.get(section, {}), section) for section in ("models", "parents"))
    if not models:
        raise ConfigError("models: names none: expected a mapping such as {mine: {from: FILE, parent: NAME}}.")
    for name, entry in parents.items():
        _known(entry, OF_A_MODEL, f"key of parents.{name}")
    shared = {key: value for key, value in plain.items() if key in SHARED}
    if shared.get("decoys") is not None:
        _decoys(shared["decoys"], parents, "")
    told = {key: value for key, value in shared.items() if key != "decoys"}
    request_of({"data": "of each model", **told, "model": "each"})  # so that what is wrong for all is told as such
    return tuple(_one(name, entry, parents, shared) for name, entry in models.items())


def _one(
    name: str, entry: Mapping[str, Any], parents: Mapping[str, Mapping[str, Any]], shared: Mapping[str, Any]
) -> Asked:
    where = f"models.{name}"
    _known(entry, (*OF_A_MODEL, *OWN), f"key of {where}")
    parent = entry.get("parent") or ""
    if parent and parent not in parents:
        raise UnknownNameError(f"parent of {where}", parent, parents)
    options = {**shared, **{key: value for key, value in entry.items() if key in OWN}}
    if options.get("decoys") is None:
        options["decoys"] = _alike(parent, parents, options.get("network", ""))
    else:
        options["decoys"] = [
            decoy for decoy in _decoys(options["decoys"], parents, f"{where}.") if decoy.get("name") != parent
        ]
    options["model"] = {"name": name} | {key: value for key, value in entry.items() if key in OF_A_MODEL}
    options["parent"] = {"name": parent} | dict(parents[parent]) if parent else ""
    return Asked(name, parent, request_of(options, f"{where}."))


def _entries(section: Any, title: str) -> dict[str, dict[str, Any]]:
    """Models by name; a path alone is the ``from`` of one."""
    if not isinstance(section, dict):
        raise ConfigError(f"{title} must be a mapping from names to models, such as {{mine: FILE}}, got {section!r}.")
    made = {}
    for name, entry in section.items():
        entry = {"from": entry} if isinstance(entry, str) else entry
        if not isinstance(entry, dict) or not isinstance(entry.get("from"), str):
            raise ConfigError(f"{title}.{name} must be a file, a folder, or a mapping with from: FILE, got {entry!r}.")
        try:
            made[bench_name(str(name))] = entry
        except ConfigError as error:
            raise ConfigError(f"{title}.{name}: {error}") from error
    return made


def _decoys(given: Any, parents: Mapping[str, Mapping[str, Any]], where: str) -> list[dict[str, Any]]:
    """Decoys as entries: a text may be the name of a parent."""
    made = []
    for decoy in given if isinstance(given, list) else [given]:
        if isinstance(decoy, str) and decoy in parents:
            made.append({"name": decoy, **parents[decoy]})
        elif isinstance(decoy, dict):
            made.append(decoy)
        elif isinstance(decoy, str) and Path(decoy).exists():
            made.append({"from": decoy})
        else:
            raise UnknownNameError(f"model among {where}decoys (no file either)", str(decoy), parents)
    return made


def _alike(parent: str, parents: Mapping[str, Mapping[str, Any]], network: Entry) -> list[dict[str, Any]]:
    """The other parents with the same network, for a model that has a parent."""
    if not parent:
        return []
    kinds = {name: _kind(entry, network) for name, entry in parents.items()}
    own = parents[parent]
    return [
        {"name": name, **entry}
        for name, entry in parents.items()
        if kinds[name] == kinds[parent] and name != parent and not _same(Path(entry["from"]), Path(own["from"]))
    ]


def _same(first: Path, second: Path) -> bool:
    """Whether two paths are of the same weights."""
    files = first.is_file() and second.is_file()
    return first == second or (files and filecmp.cmp(first, second, shallow=False))


def _kind(entry: Mapping[str, Any], network: Entry) -> object:
    """Which network an entry is of, to be compared; None where that is not known yet."""
    folder = Path(entry["from"])
    try:
        if folder.is_dir():
            read = read_folder(folder)
            return read.network, sorted(read.settings.items(), key=str)
        return name_and_settings(entry_of(entry.get("network", network)), "network")
    except InputError:  # is told of the audit that needs it
        return None


def _known(keys: Iterable[Any], known: Iterable[str], kind: str) -> None:
    for key in keys:
        if key not in (names := tuple(known)):
            raise UnknownNameError(kind, str(key), names)
