"""From the objects of a bench file to a frozen bench: every name and number is checked, and all errors are found."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from tl_robust.attacks.norms import pixel_eps
from tl_robust.bench.options import trainer_options
from tl_robust.bench.plan import CHECKPOINT
from tl_robust.bench.spec import Axes, Bench
from tl_robust.config.entries import (
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
from tl_robust.config.problems import Problems
from tl_robust.config.schema import BenchFile
from tl_robust.data.augment import augmentation
from tl_robust.data.domain import DataSettings, Declared, get_domain
from tl_robust.data.pair import get_pair
from tl_robust.data.space import SPACES
from tl_robust.defenses import DEFENSES, Defense
from tl_robust.defenses import parse as parse_defense
from tl_robust.errors import ConfigError, InputError, UnknownNameError
from tl_robust.inference import INFERENCES
from tl_robust.models.fast import check_modes
from tl_robust.nodes.models import Checkpoint
from tl_robust.registry import Component, Scalar, check_settings
from tl_robust.threats.base import THREATS, Method, threat_of
from tl_robust.types import Recipe, View

T = TypeVar("T")
EPS_SCALES = {"pixel": (0.0, 1.0), "kdd20": (-1.0, 1.0)}


def resolve(file: BenchFile, problems: Problems) -> Bench | None:
    """The bench; None where anything is wrong. Each part is tried alone, so that all errors are found at once."""
    axes, tried = file.axes, problems.tried
    name = tried(("name",), "", bench_name, file.name)
    scale = tried(("eps_scale",), "pixel", _known, "eps_scale", file.eps_scale, EPS_SCALES)
    if file.attack_batch < 0:
        problems.add(
            ("attack_batch",),
            ConfigError(f"attack_batch must be at least 1, or 0 to measure, got {file.attack_batch}."),
        )
    data = data_settings(file, problems)
    nothing = Component("", 0)  # stands for a component that is wrong
    space = tried(("space",), nothing, component_of, SPACES, file.space, "space")

    def full(axis: str, values: list[T], name_of: Callable[[T], str] = str) -> tuple[T, ...]:
        whole = values or not problems.at("axes", axis)
        return tried(("axes", axis), (), filled, values, f"axes.{axis}", name_of) if whole else ()

    pairs = _each(problems, "pair", axes.pair, pair_spec, space)
    for place, pair in enumerate(pairs):
        if not pair.name.startswith(CHECKPOINT):
            tried(("axes", "pair", place), None, get_pair, pair.name, pair.space, data)
    spaces = {pair.space: None for pair in pairs if pair.space != nothing}
    networks = full("network", _each(problems, "network", axes.network, network_of, spaces))
    victims = [entry.get("victim") for entry in axes.strategy if isinstance(entry, dict)]
    checkpoints: dict[str, Checkpoint] = {}
    for title, entry in file.checkpoints.items():
        attacked = f"{CHECKPOINT}{title}" in victims
        begun = [pair for pair in pairs if attacked or pair.name.startswith(f"{CHECKPOINT}{title}-")]
        theirs = [pair.space for pair in begun if pair.space in spaces]
        if checkpoint := tried(("checkpoints", title), None, checkpoint_of, title, entry, data, theirs):
            checkpoints[title] = checkpoint
    first = next(iter(spaces), nothing)
    strategies = _each(problems, "strategy", axes.strategy, strategy_of, networks if spaces else (), first)
    usual: tuple[float, ...] = (0.0,)
    grids = {"eps": tried(("eps",), usual, _sizes, file.eps, "eps", scale)}
    grids["epochs"] = tried(("epochs",), (), _epochs, file.epochs, "epochs", scale)
    attacks = _each(problems, "attack", axes.attack, _method, grids, scale, file.pairs)
    common = _each(problems, "common", axes.common, _common, data)
    view = _each(problems, "view", axes.view, _view)
    _each(problems, "seed", axes.seed, _plain, "seed")
    _each(problems, "target_images", axes.target_images, _share)
    recipes = _recipes(file, data, problems)
    no_options, no_modes = dict[str, Scalar](), tuple[str, ...]()
    trainer = tried(("trainer",), no_options, trainer_options, file.trainer)
    fast = tried(("fast",), no_modes, check_modes, file.fast)
    grid = Axes(
        pair=full("pair", pairs, lambda pair: pair.name),  # tables do not show the space, so that the name must do
        network=networks,
        strategy=full("strategy", strategies),
        common=full("common", common) if axes.common else (),
        defense=full(
            "defense", _each(problems, "defense", axes.defense, _defense, scale), lambda defense: str(defense or "none")
        ),
        attack=full("attack", attacks, lambda spec: str(spec.component)),
        view=full("view", view),
        seed=full("seed", axes.seed),
        target_images=full("target_images", axes.target_images),
    )
    if problems:
        return None
    return Bench(
        name=name,
        axes=grid,
        data=data,
        checkpoints=checkpoints,
        recipe=file.recipe,
        recipes=recipes,
        trainer=trainer,
        attack_batch=file.attack_batch,
        fast=fast,
    )


def _each(problems: Problems, axis: str, entries: list[Any], make: Callable[..., T], *arguments: Any) -> list[T]:
    """What ``make`` makes of each entry of an axis, those that are wrong left out."""
    values = []
    for place, entry in enumerate(entries):
        try:
            values.append(make(entry, *arguments))
        except InputError as whole:
            before, path = len(problems), ("axes", axis, place)
            for key in entry if isinstance(entry, dict) and len(entry) > 2 else ():  # which settings are wrong alone
                alone = {name: value for name, value in entry.items() if name in ("name", key)}
                if key != "name":
                    problems.tried((*path, key), None, make, alone, *arguments)
            if len(problems) == before:  # each setting is right alone, and wrong beside another one
                problems.add(path, whole)
    return values


def data_settings(file: BenchFile, problems: Problems) -> DataSettings:
    """``data:`` and ``domains:``; a domain that is wrong stays known, so that its pairs are not wrong too."""
    declared = []
    for name, entry in file.domains.items():
        path, instead = ("domains", name), Declared(name, "npz:none")
        item = problems.tried(path, instead, declared_domain, name, entry)
        problems.tried(path, None, get_domain, name, DataSettings(domains=(item,)))
        declared.append(instead if problems.at(*path) else item)
    for key in ("root", "cache"):
        problems.tried(("data", key), "", folder_text, f"data.{key}", getattr(file.data, key))
    domains = tuple(declared)
    return problems.tried(
        ("data",), DataSettings(domains=domains), lambda: DataSettings(**vars(file.data), domains=domains)
    )


def _sizes(values: Any, where: str, scale: str) -> tuple[float, ...]:
    if not isinstance(values, list):
        raise ConfigError(f"{where} must be a list such as [0, 8/255], got {values!r}.")
    return tuple(sorted(pixel_eps(parse_number(value, where), *EPS_SCALES[scale]) for value in values))


def _defense(entry: Any, scale: str) -> Defense | None:
    if isinstance(entry, dict):
        name, settings = name_and_settings(entry, "axes.defense")
        if "eps" in settings:
            (settings["eps"],) = _sizes([settings["eps"]], "eps in axes.defense", scale)
        return DEFENSES[name](**dict(DEFENSES.component(name, settings).settings))
    return parse_defense(str(_plain(entry, "defense")))


def _epochs(values: Any, where: str, scale: str) -> tuple[float, ...]:
    numbers = [parse_number(value, where) for value in values] if isinstance(values, list) else [-1.0]
    if any(number < 0 or not number.is_integer() for number in numbers):
        raise ConfigError(f"{where} must be a list of whole numbers from 0, such as [0, 1, 10], got {values!r}.")
    return tuple(sorted(set(numbers)))


def _method(entry: Any, grids: Mapping[str, tuple[float, ...]], scale: str, pairs: int) -> Method:
    name, settings = name_and_settings(entry, "axes.attack")
    threat = THREATS[threat_of(name)]
    axis = threat.face.axis
    read = _epochs if axis == "epochs" else _sizes
    own = grids.get(axis, grids["eps"])
    if axis in settings:
        own = read(settings.pop(axis), f"{axis} in axes.attack", scale)
    if pairs and name in INFERENCES:
        settings["pairs"] = pairs
    return threat.method(threat.METHODS.component(name, settings, (axis,)), own)


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


def _share(entry: Any) -> float:
    number = float(_plain(entry, "target_images"))
    if not (0 < number <= 1 or (number > 1 and number.is_integer())):
        raise ConfigError(f"axes.target_images must hold shares in (0, 1] or whole numbers, got {number:g}.")
    return number


def _view(entry: Any) -> View:
    return _known(
        "view", _plain(entry, "view"), {view for name in THREATS.names() for view in THREATS[name].face.views}
    )


def _recipes(file: BenchFile, data: DataSettings, problems: Problems) -> dict[str, dict[str, Any]]:
    """``recipes:``, each tried as a whole recipe."""
    tried = problems.tried
    tried(("recipe", "augment"), None, augmentation, file.recipe.augment)
    recipes: dict[str, dict[str, Any]] = {}
    for domain, more in file.recipes.items():
        path, what = ("recipes", domain), f"recipes.{domain}"
        tried(path, None, get_domain, domain, data)
        recipes[domain] = {}
        for key, value in more.items():
            recipes[domain].update(tried((*path, key), dict[str, Any](), check_settings, what, Recipe, {key: value}))
        recipe = tried(path, file.recipe, partial(replace, file.recipe, **recipes[domain]))
        tried((*path, "augment"), None, augmentation, recipe.augment)
    return recipes
