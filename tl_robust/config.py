"""Bench files: YAML and ``key=value`` overrides to frozen objects. The only file that imports omegaconf."""

from __future__ import annotations

import inspect
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
import yaml
from lightning import Trainer
from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from tl_robust.attacks import ATTACKS
from tl_robust.attacks.norms import pixel_eps
from tl_robust.bench.spec import AttackSpec, Axes, Bench
from tl_robust.data.domain import DOMAINS, DataSettings
from tl_robust.data.pair import get_pair
from tl_robust.data.space import SPACES
from tl_robust.errors import ConfigError, UnknownNameError
from tl_robust.models import NETWORKS, build
from tl_robust.registry import Component, Registry, Scalar, check_settings, load_plugins
from tl_robust.sinks.wandb_sink import WandbSettings
from tl_robust.strategies import STRATEGIES
from tl_robust.types import Recipe

T = TypeVar("T")
EPS_SCALES = {"pixel": (0.0, 1.0), "kdd20": (-1.0, 1.0)}
OWN_TRAINER_OPTIONS = {
    "max_epochs": "recipe.epochs",
    "min_epochs": "recipe.epochs",
    "logger": "wandb",
    "callbacks": "a plugin strategy",
    "inference_mode": "nothing: attacks need gradients",
    "enable_checkpointing": "nothing: the store keeps weights",
    "enable_progress_bar": "--plain",
    "enable_model_summary": "nothing",
    "num_sanity_val_steps": "nothing",
    "default_root_dir": "results",
}


@dataclass
class AxesFile:
    """The ``axes:`` of a bench file; an entry with settings is a mapping: ``{name: pgd, steps: 20}``.

    Attributes:
        pair: ``source-target``, or a registered pair.
        network: Networks.
        strategy: Strategies.
        common: Common domains, for the strategies that have one.
        attack: Attacks; ``eps`` among the settings replaces the bench's.
        view: ``white`` (A is B), ``black`` (crafted on A, judged on B).
        seed: Seeds of training and attack.
    """

    pair: list[str] = MISSING
    network: list[Any] = field(default_factory=lambda: ["dtn"])
    strategy: list[str] = MISSING
    common: list[str] = field(default_factory=list)
    attack: list[Any] = MISSING
    view: list[str] = field(default_factory=lambda: ["white", "black"])
    seed: list[int] = field(default_factory=lambda: [0])


@dataclass
class BenchFile:
    """A bench file.

    Attributes:
        name: Name of the bench and of its results folder.
        space: Space of the pairs.
        eps: Sizes; ``8/255`` may be written.
        axes: The grid.
        eps_scale: ``pixel``: eps are in [0,1] pixel units; ``kdd20``: for inputs in [-1,1], as in the paper's code.
        data: Where data lie and how much is used.
        recipe: Recipe of trainings.
        recipes: Fields of the recipe that differ for a domain.
        attack_batch: Images an attack works on at a time.
        workers: Processes that share the work; 0 is one a CPU core (at most 4), and 1 with a CUDA device.
        trainer: Options of the Lightning Trainer (accelerator, devices, precision, strategy, ...).
        wandb: Weights & Biases.
        plugins: Folders of plugin files, relative to the bench file.
        results: Folder of results.
    """

    name: str = MISSING
    space: str = "digits"
    eps: list[Any] = MISSING
    axes: AxesFile = field(default_factory=AxesFile)
    eps_scale: str = "pixel"
    data: DataSettings = field(default_factory=DataSettings)
    recipe: Recipe = field(default_factory=Recipe)
    recipes: dict[str, dict[str, Any]] = field(default_factory=dict)
    attack_batch: int = 250
    workers: int = 0
    trainer: dict[str, Any] = field(default_factory=dict)
    wandb: WandbSettings = field(default_factory=WandbSettings)
    plugins: list[str] = field(default_factory=list)
    results: str = "results"


@dataclass(frozen=True)
class Config:
    """A bench file with overrides, resolved.

    Attributes:
        bench: What runs.
        wandb: Weights & Biases.
        results: Folder of results.
        workers: Processes that share the work.
        text: The whole configuration as YAML.
        settings: The same as plain values.
    """

    bench: Bench
    wandb: WandbSettings
    results: Path
    workers: int
    text: str
    settings: dict[str, Any]


def load(path: Path, overrides: Sequence[str] = ()) -> Config:
    """Read a bench file.

    Args:
        path: YAML file.
        overrides: ``key=value`` each, dots for nested keys.

    Raises:
        ConfigError: Says what is wrong, where, and what to write instead.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the bench file {path} ({getattr(error, 'strerror', 'not UTF-8')}).") from error
    merged = _merge(path.name, text, overrides)
    file = _object(path.name, merged)
    for folder in file.plugins:
        load_plugins(path.parent / folder)
    settings = cast(dict[str, Any], OmegaConf.to_container(merged))
    return Config(_resolve(file), file.wandb, Path(file.results), _workers(file), OmegaConf.to_yaml(merged), settings)


def load_data(overrides: Sequence[str]) -> DataSettings:
    """Data settings from ``data.key=value`` overrides alone.

    Raises:
        ConfigError: As in :func:`load`.
    """
    blank = "name: none\neps: []\naxes: {pair: [], strategy: [], attack: []}"
    return _object("overrides", _merge("overrides", blank, overrides)).data


def _merge(source: str, text: str, overrides: Sequence[str]) -> DictConfig:
    for item in overrides:
        if "=" not in item.lstrip("="):
            raise ConfigError(f"override {item!r} must be key=value, for example data.root=../data or axes.seed=[0,1].")
    try:
        file = OmegaConf.create(text)
        for item in overrides:
            key, _, value = item.partition("=")
            OmegaConf.update(file, key, OmegaConf.from_dotlist([f"value={value}"]).value)
        return cast(DictConfig, OmegaConf.merge(OmegaConf.structured(BenchFile), file))
    except OmegaConfBaseException as error:
        raise ConfigError(f"{source}: {_sentence(error)}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{source} is not valid YAML: {' '.join(str(error).split())}.") from error


def _object(source: str, merged: DictConfig) -> BenchFile:
    try:
        return cast(BenchFile, OmegaConf.to_object(merged))
    except OmegaConfBaseException as error:
        raise ConfigError(f"{source}: {_sentence(error)}") from error


def _sentence(error: OmegaConfBaseException) -> str:
    key = getattr(error, "full_key", None)
    first = str(getattr(error, "msg", None) or error).splitlines()[0].rstrip(".?")
    if key and key not in first:
        first = f"{key}: {first}"
    return first + ("?" if "Did you mean" in first else ".")


def _resolve(file: BenchFile) -> Bench:
    axes = file.axes
    if file.eps_scale not in EPS_SCALES:
        raise UnknownNameError("eps_scale", file.eps_scale, EPS_SCALES)
    if file.attack_batch < 1:
        raise ConfigError(f"attack_batch must be at least 1, got {file.attack_batch}.")
    if not file.name or Path(file.name).name != file.name:
        raise ConfigError(f"name must be usable as a folder name, got {file.name!r}.")
    scale = EPS_SCALES[file.eps_scale]

    def sizes(values: Any, where: str) -> tuple[float, ...]:
        if not isinstance(values, list):
            raise ConfigError(f"{where} must be a list such as [0, 8/255], got {values!r}.")
        return tuple(sorted(pixel_eps(parse_number(value, where), *scale) for value in values))

    def attack(entry: Any) -> AttackSpec:
        name, settings = _entry(entry, "axes.attack")
        eps = sizes(settings.pop("eps"), "eps in axes.attack") if "eps" in settings else sizes(file.eps, "eps")
        return AttackSpec(ATTACKS.component(name, settings), eps)

    for pair in _filled(axes.pair, "axes.pair"):
        get_pair(pair, file.space)
    for view in axes.view:
        if view not in ("white", "black"):
            raise UnknownNameError("view", view, ("white", "black"))
    for domain, changes in file.recipes.items():
        DOMAINS[domain]
        replace(file.recipe, **check_settings(f"recipes.{domain}", Recipe, changes))  # type: ignore[arg-type]
    for domain in axes.common:
        DOMAINS[domain]
    SPACES[file.space]
    return Bench(
        name=file.name,
        space=file.space,
        axes=Axes(
            pair=_filled(axes.pair, "axes.pair"),
            network=tuple(_network(entry, file.space) for entry in _filled(axes.network, "axes.network")),
            strategy=tuple(_known(STRATEGIES, name) for name in _filled(axes.strategy, "axes.strategy")),
            common=tuple(axes.common),
            attack=tuple(attack(entry) for entry in _filled(axes.attack, "axes.attack")),
            view=_filled(axes.view, "axes.view"),  # type: ignore[arg-type]
            seed=_filled(axes.seed, "axes.seed"),
        ),
        data=file.data,
        recipe=file.recipe,
        recipes=file.recipes,
        trainer=_trainer_options(file.trainer),
        attack_batch=file.attack_batch,
    )


def _workers(file: BenchFile) -> int:
    if file.workers < 0:
        raise ConfigError(f"workers must be 0 (one a CPU core) or more, got {file.workers}.")
    if file.workers:
        return file.workers
    on_cpu = file.trainer.get("accelerator") == "cpu" or not torch.cuda.is_available()
    return (
        min(4, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
        if on_cpu
        else 1
    )


def parse_number(value: Any, where: str) -> float:
    """A number, or a fraction written as text: ``8/255``.

    Raises:
        ConfigError: Neither.
    """
    try:
        if isinstance(value, bool):
            raise ValueError
        return float(Fraction(value)) if isinstance(value, str) else float(value)
    except (ValueError, TypeError, ZeroDivisionError) as error:
        raise ConfigError(f"{where} must hold numbers such as 0.03 or 8/255, got {value!r}.") from error


def _filled(values: list[T], where: str) -> tuple[T, ...]:
    if not values:
        raise ConfigError(f"{where} is an empty list: expected at least one entry.")
    seen = [str(value) for value in values]
    twice = {value for value in seen if seen.count(value) > 1}
    if twice:
        raise ConfigError(f"{where} has {min(twice)} twice.")
    return tuple(values)


def _entry(entry: Any, where: str) -> tuple[str, dict[str, Any]]:
    if isinstance(entry, str):
        return entry, {}
    if isinstance(entry, dict) and isinstance(entry.get("name"), str):
        return entry["name"], {key: value for key, value in entry.items() if key != "name"}
    raise ConfigError(f"an entry of {where} must be a name or a mapping with a name, got {entry!r}.")


def _component(registry: Registry[Any], entry: Any, where: str) -> Component:
    name, settings = _entry(entry, where)
    return registry.component(name, settings)


def _network(entry: Any, space: str) -> Component:
    component = _component(NETWORKS, entry, "axes.network")
    with torch.device("meta"):  # shows wrong settings before anything runs
        build(component, SPACES[space].image_shape, len(SPACES[space].classes))
    return component


def _known(registry: Registry[Any], name: str) -> str:
    registry[name]
    return name


def _trainer_options(options: dict[str, Any]) -> dict[str, Scalar]:
    known = set(inspect.signature(Trainer.__init__).parameters) - {"self"}
    for name in options:
        if name in OWN_TRAINER_OPTIONS:
            raise ConfigError(f"trainer.{name} is set by the suite; use {OWN_TRAINER_OPTIONS[name]}.")
        if name not in known:
            raise UnknownNameError("option of trainer", name, known - OWN_TRAINER_OPTIONS.keys())
    return options
