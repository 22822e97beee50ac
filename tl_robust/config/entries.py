"""Entries of a bench file, one function each: plain values to frozen objects, or one clear sentence."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from fractions import Fraction
from typing import Any, TypeVar

import torch

from tl_robust.bench.spec import PairSpec
from tl_robust.data.domain import DOMAINS, DataSettings, Declared, below_root
from tl_robust.data.names import Names, checked_names, class_file, clean_name
from tl_robust.data.space import SPACES, get_space
from tl_robust.errors import ConfigError, UnknownNameError
from tl_robust.models import NETWORKS, build
from tl_robust.models.folders import read_folder
from tl_robust.nodes.models import Checkpoint
from tl_robust.registry import Component, Registry
from tl_robust.strategies import STRATEGIES
from tl_robust.types import Recipe

T = TypeVar("T")
RESERVED = ("store", "cache")  # the folder of results has these beside those of benches
LONGEST = 200  # bytes of a folder's name; file systems have 255, and temporary files get longer ones


def parse_number(value: Any, where: str) -> float:
    """A number, or a fraction written as text: ``8/255``.

    Raises:
        ConfigError: Neither.
    """
    try:
        if isinstance(value, bool):
            raise ValueError
        return float(Fraction(value)) if isinstance(value, str) else float(value)
    except (ValueError, TypeError, ArithmeticError) as error:
        raise ConfigError(f"{where} must hold numbers such as 0.03 or 8/255, got {value!r}.") from error


def filled(values: list[T], where: str, name: Callable[[T], str] = str) -> tuple[T, ...]:
    """The entries as a tuple; ConfigError where there is none, or where two have the same name."""
    if not values:
        raise ConfigError(f"{where} is an empty list: expected at least one entry.")
    names = [name(value) for value in values]
    twice = {text for text in names if names.count(text) > 1}
    if twice:
        raise ConfigError(f"{where} has {min(twice)} twice.")
    return tuple(values)


def name_and_settings(entry: Any, where: str) -> tuple[str, dict[str, Any]]:
    """A name, or a mapping with a name and settings."""
    if isinstance(entry, str):
        return entry, {}
    if isinstance(entry, dict) and isinstance(entry.get("name"), str):
        return entry["name"], {key: value for key, value in entry.items() if key != "name"}
    raise ConfigError(f"an entry of {where} must be a name or a mapping with a name, got {entry!r}.")


def component_of(registry: Registry[Any], entry: Any, where: str) -> Component:
    """The component of an entry, its settings checked."""
    name, settings = name_and_settings(entry, where)
    return registry.component(name, settings)


def pair_spec(entry: Any, space: Component) -> PairSpec:
    """An entry of ``axes.pair``; ``space`` is that of the bench."""
    name, settings = name_and_settings(entry, "axes.pair")
    if "space" in settings:
        space = component_of(SPACES, settings.pop("space"), f"space of pair {name}")
    for setting in settings:
        raise UnknownNameError(f"setting of pair {name}", setting, ["space"])
    return PairSpec(name, space)


def network_of(entry: Any, spaces: Iterable[Component], classes: int = 2, where: str = "axes.network") -> Component:
    """An entry of ``axes.network``, built once on the meta device for every space."""
    component = component_of(NETWORKS, entry, where)
    for space in spaces:
        with torch.device("meta"):  # shows wrong settings before anything runs
            build(component, get_space(space).image_shape, classes)
    return component


def strategy_of(entry: Any, networks: Iterable[Component], space: Component) -> Component:
    """An entry of ``axes.strategy``, tried on every network."""
    component = component_of(STRATEGIES, entry, "axes.strategy")
    for network in networks if component.settings else ():  # shows wrong settings before anything runs
        with torch.device("meta"):
            built = build(network, get_space(space).image_shape, 2)
            STRATEGIES[component.name](built, Recipe(), 2, **dict(component.settings))
    return component


def declared_domain(name: str, entry: Any) -> Declared:
    """An entry of ``domains:``."""
    origin, more = _declaration(f"domains.{name}", entry, "npz:FILES", {"classes"})
    if name in DOMAINS or re.search(r"[-:,/\\\x00-\x1f\x7f]|^$", name):
        raise ConfigError(f"domains.{name} needs a name of its own, without dash, colon, comma and slash.")
    return Declared(name, origin, _classes(more.get("classes", ()), f"domains.{name}.classes"))


def bench_name(name: str) -> str:
    """The name of a bench: that of a folder, beside the folders that results have already.

    Raises:
        ConfigError: It cannot be one.
    """
    if name in ("", ".", "..") or re.search(r"[/\\\x00-\x1f\x7f]", name) or len(name.encode()) > LONGEST:
        raise ConfigError(f"name must be usable as a folder name, got {name!r}.")
    if name.casefold() in RESERVED:
        raise ConfigError(f"name cannot be {name!r}: results= has a folder of this name already; choose another one.")
    return name


def folder_text(where: str, text: str) -> str:
    """The text, if it can name a folder; ConfigError where it cannot."""
    if (not text and where != "data.cache") or re.search(r"[\x00-\x1f\x7f]", text):
        raise ConfigError(f"{where} must be a folder, got {text!r}.")
    return text


def checkpoint_of(
    name: str, entry: Any, data: DataSettings, spaces: Iterable[Component], where: str = ""
) -> Checkpoint:
    """An entry of ``checkpoints:``, its network built once on the meta device for every space.

    Args:
        name: Of the entry.
        entry: A mapping.
        data: Where files lie.
        spaces: Of the images.
        where: How errors call the entry; empty: by its place in a bench file.
    """
    where = where or f"checkpoints.{name}"
    origin, more = _declaration(where, entry, "FILE", {"network", "classes", "rename", "adapter"})
    if re.search(r"[-:,]|^$", name):
        raise ConfigError(f"{where} needs a name without dash, colon and comma.")
    if (data.folder / origin).is_dir():
        origin, more = _published(origin, more, data, where)
    if not {"network", "classes"} <= more.keys():
        raise ConfigError(f"{where} needs network: and classes: beside from:.")
    known = more["classes"]
    if isinstance(known, str) and known in SPACES:
        classes = get_space(SPACES.component(known)).classes
    elif isinstance(known, int) and not isinstance(known, bool):
        classes = tuple(f"{name} {place}" for place in range(known))
    else:
        listed = _classes(known, f"{where}.classes")
        here = data.folder / below_root(listed, f"{where}.classes") if isinstance(listed, str) else None
        classes = class_file(here) if here else tuple(listed)
    if len(classes) < 2:
        raise ConfigError(f"{where}.classes must be 2 or more names, or their number, got {known!r}.")
    network = network_of(more["network"], spaces, len(classes), f"{where}.network")
    rename = _renaming(more["rename"], f"{where}.rename") if "rename" in more else None
    adapter = more.get("adapter", "")
    if not isinstance(adapter, str):
        raise ConfigError(f"{where}.adapter must be a folder with an adapter_config.json, got {adapter!r}.")
    checkpoint = Checkpoint(name, origin, network, classes, data.folder, rename, adapter)
    _ = checkpoint.change  # shows one that cannot be merged before anything runs
    return checkpoint


def _published(origin: str, more: dict[str, Any], data: DataSettings, where: str) -> tuple[str, dict[str, Any]]:
    """The file of weights in a published folder, and the entries that the folder fills.

    Raises:
        ConfigError: The entry says what the folder says.
        DataError: The folder cannot be used.
    """
    if given := {"network", "rename"} & more.keys():
        raise ConfigError(f"{where} has {min(given)}: beside a folder, whose config.json says that: remove it.")
    folder = read_folder(data.folder / origin)
    listed: list[str] | int = folder.number
    if folder.classes:  # of which ImageNet's have two cranes
        cleaned = [clean_name(name) for name in folder.classes]
        listed = [f"{name} ({place})" if cleaned.count(name) > 1 else name for place, name in enumerate(cleaned)]
    filled_in = {"network": {"name": folder.network, **folder.settings}, "classes": listed}
    return f"{origin.rstrip('/')}/{folder.weights}", filled_in | more


def _renaming(prefixes: Any, where: str) -> tuple[tuple[str, str], ...]:
    """Prefixes of a file's names and what they are in the network, sorted; numbers are names, as of a list's parts."""
    if isinstance(prefixes, dict):
        pairs = [(str(key), str(value)) for key, value in prefixes.items() if _is_name(key) and _is_name(value)]
        if len(pairs) == len(prefixes):
            return tuple(sorted(pairs))
    raise ConfigError(
        f"{where} must map prefixes of the file's names to the network's, such as {{encoder.0: features}}, with '' for "
        f"none, got {prefixes!r}."
    )


def _is_name(value: Any) -> bool:
    return isinstance(value, str | int) and not isinstance(value, bool)


def _declaration(where: str, entry: Any, example: str, known: set[str]) -> tuple[str, dict[str, Any]]:
    entry = {"from": entry} if isinstance(entry, str) else entry
    if not isinstance(entry, dict) or not isinstance(entry.get("from"), str):
        raise ConfigError(f"{where} must say where it comes from, for example {{from: {example}}}, got {entry!r}.")
    more = {key: value for key, value in entry.items() if key != "from"}
    for key in more:
        if key not in known:
            raise UnknownNameError(f"key of {where}", key, {"from", *known})
    return entry["from"], more


def _classes(names: Any, where: str) -> Names | str:
    """The names of classes, or the text file that has them."""
    if isinstance(names, str) and names:
        return names
    if not isinstance(names, list | tuple) or any(isinstance(name, dict | list) for name in names):
        raise ConfigError(f"{where} must be a list of names, or a text file (one a line), got {names!r}.")
    return checked_names(("" if name is None else str(name) for name in names), where)
