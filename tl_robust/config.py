"""Bench files: YAML and ``key=value`` overrides to frozen objects. The only file that imports omegaconf."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar, cast

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from tl_robust.attacks import ATTACKS
from tl_robust.attacks.fast import check_modes
from tl_robust.attacks.norms import pixel_eps
from tl_robust.bench.options import trainer_options
from tl_robust.bench.plan import CHECKPOINT
from tl_robust.bench.spec import AttackSpec, Axes, Bench
from tl_robust.data.augment import augmentation
from tl_robust.data.domain import DataSettings, get_domain
from tl_robust.data.pair import get_pair
from tl_robust.data.space import SPACES
from tl_robust.entries import (
    checkpoint_of,
    component_of,
    data_settings,
    filled,
    name_and_settings,
    network_of,
    pair_spec,
    parse_number,
    strategy_of,
)
from tl_robust.errors import ConfigError, UnknownNameError
from tl_robust.registry import Component, check_settings, load_plugins
from tl_robust.schema import BenchFile
from tl_robust.sinks.wandb_sink import WandbSettings
from tl_robust.types import Recipe

T = TypeVar("T")
EPS_SCALES = {"pixel": (0.0, 1.0), "kdd20": (-1.0, 1.0)}


@dataclass(frozen=True)
class Config:
    """A bench file with overrides, resolved.

    Attributes:
        bench: What runs.
        wandb: Weights & Biases.
        results: Folder of results.
        workers: Processes that share the work; 0: as many as fit, see :mod:`tl_robust.bench.workers`.
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
    merged = _merge(path.name, _text(path), overrides)
    file = _object(path.name, merged)
    for folder in file.plugins:
        load_plugins(path.parent / folder)
    settings = cast(dict[str, Any], OmegaConf.to_container(merged))
    return Config(_resolve(file), file.wandb, Path(file.results), _workers(file), OmegaConf.to_yaml(merged), settings)


def load_settings(overrides: Sequence[str], path: Path | None, pair: str) -> tuple[DataSettings, Component]:
    """Data settings and space of a bench file, or of ``key=value`` overrides alone.

    Args:
        overrides: ``key=value`` each.
        path: YAML file.
        pair: The space is that of this pair where the file gives it one.

    Raises:
        ConfigError: As in :func:`load`.
    """
    blank = "name: none\naxes: {pair: [], strategy: []}"
    text = blank if path is None else _text(path)
    file = _object("overrides", _merge("overrides" if path is None else path.name, text, overrides))
    for folder in file.plugins if path else ():
        load_plugins(path.parent / folder)  # type: ignore[union-attr]
    space = component_of(SPACES, file.space, "space")
    own = {spec.name: spec.space for spec in (pair_spec(entry, space) for entry in file.axes.pair)}
    return data_settings(file), own.get(pair, space)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the bench file {path} ({getattr(error, 'strerror', 'not UTF-8')}).") from error


def _merge(source: str, text: str, overrides: Sequence[str]) -> DictConfig:
    """Schema, then profile, then the file, then overrides: what comes later replaces what came before."""
    for item in overrides:
        if "=" not in item.lstrip("="):
            raise ConfigError(f"override {item!r} must be key=value, for example data.root=../data or axes.seed=[0,1].")
    try:
        file = OmegaConf.create(text)
        for item in overrides:
            key, _, value = item.partition("=")
            OmegaConf.update(file, key, OmegaConf.from_dotlist([f"value={value}"]).value if value else "")
        schema = OmegaConf.structured(BenchFile)
        chosen = cast(DictConfig, OmegaConf.merge(schema, file))  # checks the file before the profile hides a typo
        name = chosen.space.get("name") if isinstance(chosen.space, DictConfig) else chosen.space
        return cast(DictConfig, OmegaConf.merge(schema, *_profile(chosen.profile, str(name)), file))
    except OmegaConfBaseException as error:
        raise ConfigError(f"{source}: {_sentence(error)}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{source} is not valid YAML: {' '.join(str(error).split())}.") from error
    except (TypeError, AssertionError) as error:  # all that OmegaConf says of these
        raise ConfigError(f"{source}: a list or a value stands where keys with values are expected.") from error


def _profile(name: str, space: str) -> list[DictConfig]:
    """The layers of a profile: what holds for every space, then what holds for this one."""
    folder = Path(__file__).parent / "profiles"
    known = sorted(path.stem for path in folder.glob("*.yaml"))
    if name not in known:
        raise UnknownNameError("profile", name, known)
    profile = cast(DictConfig, OmegaConf.load(folder / f"{name}.yaml"))
    spaces = profile.pop("by_space")
    return [profile, spaces.get(space, spaces.other)]


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
    if file.attack_batch < 0:
        raise ConfigError(f"attack_batch must be at least 1, or 0 to measure, got {file.attack_batch}.")
    if not file.name or Path(file.name).name != file.name:
        raise ConfigError(f"name must be usable as a folder name, got {file.name!r}.")
    scale, data, space = EPS_SCALES[file.eps_scale], data_settings(file), component_of(SPACES, file.space, "space")

    def sizes(values: Any, where: str) -> tuple[float, ...]:
        if not isinstance(values, list):
            raise ConfigError(f"{where} must be a list such as [0, 8/255], got {values!r}.")
        return tuple(sorted(pixel_eps(parse_number(value, where), *scale) for value in values))

    def attack(entry: Any) -> AttackSpec:
        name, settings = name_and_settings(entry, "axes.attack")
        eps = sizes(settings.pop("eps"), "eps in axes.attack") if "eps" in settings else sizes(file.eps, "eps")
        return AttackSpec(ATTACKS.component(name, settings), eps)

    for name in ("common", "view", "seed", "target_images"):  # OmegaConf lets lists in lists pass
        for item in getattr(axes, name):
            if isinstance(item, list | dict):
                raise ConfigError(f"axes.{name} must hold names or numbers, got {item!r}.")
    pairs = [pair_spec(entry, space) for entry in axes.pair]
    spaces = {pair.space for pair in pairs}
    networks = filled([network_of(entry, spaces) for entry in axes.network], "axes.network")
    checkpoints = {
        name: checkpoint_of(name, entry, data, [p.space for p in pairs if p.name.startswith(f"{CHECKPOINT}{name}-")])
        for name, entry in file.checkpoints.items()
    }
    for pair in pairs:
        if not pair.name.startswith(CHECKPOINT):
            get_pair(pair.name, pair.space, data)
    for view in axes.view:
        if view not in ("white", "black"):
            raise UnknownNameError("view", view, ("white", "black"))
    recipes = {domain: check_settings(f"recipes.{domain}", Recipe, more) for domain, more in file.recipes.items()}
    for domain in recipes:
        get_domain(domain, data)
    for recipe in (file.recipe, *(replace(file.recipe, **more) for more in recipes.values())):  # type: ignore[arg-type]
        augmentation(recipe.augment)
    for domain in axes.common:
        if not domain.startswith(CHECKPOINT):
            get_domain(domain, data)
    for part in axes.target_images:
        if not (0 < part <= 1 or (part > 1 and part.is_integer())):
            raise ConfigError(f"axes.target_images must hold shares in (0, 1] or whole numbers, got {part:g}.")
    return Bench(
        name=file.name,
        axes=Axes(
            pair=filled(pairs, "axes.pair", lambda pair: pair.name),  # tables do not show its space
            network=networks,
            strategy=filled([strategy_of(entry, networks, pairs[0].space) for entry in axes.strategy], "axes.strategy"),
            common=filled(axes.common, "axes.common") if axes.common else (),
            attack=filled([attack(entry) for entry in axes.attack], "axes.attack", lambda spec: str(spec.component)),
            view=filled(axes.view, "axes.view"),  # type: ignore[arg-type]
            seed=filled(axes.seed, "axes.seed"),
            target_images=filled(axes.target_images, "axes.target_images"),
        ),
        data=data,
        checkpoints=checkpoints,
        recipe=file.recipe,
        recipes=recipes,
        trainer=trainer_options(file.trainer),
        attack_batch=file.attack_batch,
        fast=check_modes(file.fast),
    )


def _workers(file: BenchFile) -> int:
    if file.workers < 0:
        raise ConfigError(f"workers must be 0 (as many as fit the machine) or more, got {file.workers}.")
    return file.workers
