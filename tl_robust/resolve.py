"""From the objects of a bench file to a frozen bench: every name and number is checked, and all errors are found."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, TypeVar

from tl_robust.attacks import ATTACKS
from tl_robust.attacks.fast import check_modes
from tl_robust.attacks.norms import pixel_eps
from tl_robust.bench.options import trainer_options
from tl_robust.bench.plan import CHECKPOINT
from tl_robust.bench.spec import AttackSpec, Axes, Bench, Checkpoint
from tl_robust.data.augment import augmentation
from tl_robust.data.domain import DataSettings, Declared, get_domain
from tl_robust.data.pair import get_pair
from tl_robust.data.space import SPACES
from tl_robust.entries import (
    bench_name,
    checkpoint_of,
    component_of,
    declared_domain,
    filled,
    folder_text,
    name_and_settings,
    network_of,
    pair_spec,
    parse_number,
    strategy_of,
)
from tl_robust.errors import ConfigError, InputError, UnknownNameError
from tl_robust.problems import Problems
from tl_robust.registry import Component, check_settings
from tl_robust.schema import BenchFile
from tl_robust.types import Recipe

T = TypeVar("T")
EPS_SCALES = {"pixel": (0.0, 1.0), "kdd20": (-1.0, 1.0)}


def resolve(file: BenchFile, problems: Problems) -> Bench | None:
    """The bench; None where anything is wrong. Each part is tried alone, so that all errors are found at once."""
    axes, tried = file.axes, problems.tried
    name = tried(("name",), lambda: bench_name(file.name), "")
    scale = tried(("eps_scale",), lambda: _known("eps_scale", file.eps_scale, EPS_SCALES), "pixel")
    if file.attack_batch < 0:
        problems.add(
            ("attack_batch",),
            ConfigError(f"attack_batch must be at least 1, or 0 to measure, got {file.attack_batch}."),
        )
    data = _data(file, problems)
    nothing = Component("", 0)  # stands for what is wrong
    space = tried(("space",), lambda: component_of(SPACES, file.space, "space"), nothing)

    def each(axis: str, make: Callable[[Any], T]) -> list[T]:
        """What the entries of an axis make, those that are wrong left out."""
        made = []
        for place, entry in enumerate(getattr(axes, axis)):
            try:
                made.append(make(entry))
            except InputError as whole:
                before, path = len(problems), ("axes", axis, place)
                for key in entry if isinstance(entry, dict) and len(entry) > 2 else ():  # each setting alone
                    alone = {name: value for name, value in entry.items() if name in ("name", key)}
                    if key != "name":
                        tried((*path, key), lambda alone=alone: make(alone), None)
                if len(problems) == before:  # what is wrong only beside another setting
                    problems.add(path, whole)
        return made

    def full(axis: str, values: list[T], shown: Callable[[T], str] = str) -> tuple[T, ...]:
        whole = values or not problems.at("axes", axis)
        return tried(("axes", axis), lambda: filled(values, f"axes.{axis}", shown), ()) if whole else ()

    pairs = each("pair", lambda entry: pair_spec(entry, space))
    for place, pair in enumerate(pairs):
        if not pair.name.startswith(CHECKPOINT):
            tried(("axes", "pair", place), lambda pair=pair: get_pair(pair.name, pair.space, data), None)
    spaces = {pair.space for pair in pairs} - {nothing}
    networks = full("network", each("network", lambda entry: network_of(entry, spaces)))
    checkpoints: dict[str, Checkpoint] = {}
    for name_, entry in file.checkpoints.items():
        theirs = [pair.space for pair in pairs if pair.name.startswith(f"{CHECKPOINT}{name_}-")]

        def declared(name_: str = name_, entry: Any = entry, theirs: list[Component] = theirs) -> None:
            checkpoints[name_] = checkpoint_of(name_, entry, data, [one for one in theirs if one != nothing])

        tried(("checkpoints", name_), declared, None)
    first = next(iter(spaces), None)
    strategies = each("strategy", lambda entry: strategy_of(entry, networks if first else (), first or nothing))
    sizes = tried(("eps",), lambda: _sizes(file.eps, "eps", scale), (0.0,))
    attacks = each("attack", lambda entry: _attack(entry, sizes, scale))
    common = each("common", lambda entry: _common(entry, data))
    each("seed", lambda entry: _plain(entry, "seed"))  # OmegaConf lets lists in lists pass
    view = each("view", lambda entry: _known("view", _plain(entry, "view"), ("white", "black")))
    each("target_images", _share)
    recipes = _recipes(file, data, problems)
    trainer = tried(("trainer",), lambda: trainer_options(file.trainer), {})
    fast = tried(("fast",), lambda: check_modes(file.fast), ())
    found = Axes(
        pair=full("pair", pairs, lambda pair: pair.name),  # tables do not show its space
        network=networks,
        strategy=full("strategy", strategies),
        common=full("common", common) if axes.common else (),
        attack=full("attack", attacks, lambda spec: str(spec.component)),
        view=full("view", view),  # type: ignore[arg-type]
        seed=full("seed", axes.seed),
        target_images=full("target_images", axes.target_images),
    )
    if problems:
        return None
    return Bench(
        name=name,
        axes=found,
        data=data,
        checkpoints=checkpoints,
        recipe=file.recipe,
        recipes=recipes,
        trainer=trainer,
        attack_batch=file.attack_batch,
        fast=fast,
    )


def _data(file: BenchFile, problems: Problems) -> DataSettings:
    """``data:`` and ``domains:``; a domain that is wrong stays known, so that its pairs are not wrong too."""
    declared = []
    for name, entry in file.domains.items():
        instead = Declared(name, "npz:none")
        path = ("domains", name)
        item = problems.tried(path, lambda name=name, entry=entry: declared_domain(name, entry), instead)
        alone = DataSettings(domains=(item,))
        problems.tried(path, lambda item=item, alone=alone: get_domain(item.name, alone), None)
        declared.append(instead if problems.at(*path) else item)
    for key in ("root", "cache"):
        where = f"data.{key}"
        problems.tried(("data", key), lambda where=where, key=key: folder_text(where, getattr(file.data, key)), "")
    instead = DataSettings(domains=tuple(declared))
    return problems.tried(("data",), lambda: DataSettings(**vars(file.data), domains=tuple(declared)), instead)


def _sizes(values: Any, where: str, scale: str) -> tuple[float, ...]:
    if not isinstance(values, list):
        raise ConfigError(f"{where} must be a list such as [0, 8/255], got {values!r}.")
    return tuple(sorted(pixel_eps(parse_number(value, where), *EPS_SCALES[scale]) for value in values))


def _attack(entry: Any, sizes: tuple[float, ...], scale: str) -> AttackSpec:
    name, settings = name_and_settings(entry, "axes.attack")
    eps = _sizes(settings.pop("eps"), "eps in axes.attack", scale) if "eps" in settings else sizes
    return AttackSpec(ATTACKS.component(name, settings), eps)


def _plain(entry: Any, axis: str) -> Any:
    if isinstance(entry, list | dict):
        raise ConfigError(f"axes.{axis} must hold names or numbers, got {entry!r}.")
    return entry


def _known(kind: str, name: Any, known: Iterable[str]) -> str:
    if name not in known:
        raise UnknownNameError(kind, name, known)
    return str(name)


def _common(entry: Any, data: DataSettings) -> str:
    if not str(_plain(entry, "common")).startswith(CHECKPOINT):
        get_domain(entry, data)
    return str(entry)


def _share(part: Any) -> float:
    number = float(_plain(part, "target_images"))
    if not (0 < number <= 1 or (number > 1 and number.is_integer())):
        raise ConfigError(f"axes.target_images must hold shares in (0, 1] or whole numbers, got {number:g}.")
    return number


def _recipes(file: BenchFile, data: DataSettings, problems: Problems) -> dict[str, dict[str, Any]]:
    """``recipes:``, each tried as a whole recipe."""
    problems.tried(("recipe", "augment"), lambda: augmentation(file.recipe.augment), None)
    found: dict[str, dict[str, Any]] = {}
    for domain, more in file.recipes.items():
        path = ("recipes", domain)
        problems.tried(path, lambda domain=domain: get_domain(domain, data), None)
        for key, value in more.items():
            what = f"recipes.{domain}"
            checked = problems.tried(
                (*path, key), lambda what=what, key=key, value=value: check_settings(what, Recipe, {key: value}), {}
            )
            found.setdefault(domain, {}).update(checked)
        fields = found.setdefault(domain, {})
        recipe = problems.tried(path, lambda fields=fields: replace(file.recipe, **fields), file.recipe)
        problems.tried((*path, "augment"), lambda recipe=recipe: augmentation(recipe.augment), None)
    return found
