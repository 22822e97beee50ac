"""Bench files: YAML and ``key=value`` overrides to frozen objects. The only file that imports omegaconf."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, is_dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, cast, get_type_hints

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from tl_robust.bench.plan import Plan, make_plan
from tl_robust.bench.spec import Bench
from tl_robust.config.entries import component_of, folder_text, pair_spec
from tl_robust.config.problems import Problems
from tl_robust.config.resolve import data_settings, resolve
from tl_robust.config.schema import BenchFile
from tl_robust.config.written import Written
from tl_robust.data.domain import DataSettings
from tl_robust.data.space import SPACES
from tl_robust.engines.base import ENGINES, Engine
from tl_robust.errors import ConfigError, InputError, UnknownNameError
from tl_robust.registry import Component, load_plugins
from tl_robust.sinks.wandb.session import WandbSettings

MISPLACED = "a list or a value stands where keys with values are expected."


@dataclass(frozen=True)
class Config:
    """A bench file with overrides, resolved.

    Attributes:
        bench: What runs.
        wandb: Weights & Biases.
        results: Folder of results.
        workers: Processes of a machine that share the work; 0: as many as fit, see :mod:`tl_robust.bench.workers`.
        engine: Who computes.
        text: The whole configuration as YAML.
        settings: The same as plain values.
    """

    bench: Bench
    wandb: WandbSettings
    results: Path
    workers: int
    engine: Engine
    text: str
    settings: dict[str, Any]

    @cached_property
    def plan(self) -> Plan:
        """What the bench needs, made once."""
        return make_plan(self.bench)


def load(path: Path, overrides: Sequence[str] = ()) -> Config:
    """Read a bench file.

    Args:
        path: YAML file.
        overrides: ``key=value`` each, dots for nested keys.

    Raises:
        ConfigError: Says what is wrong, where, and what to write instead.
    """
    written, problems = Written(BenchFile), Problems(path.name)
    merged = _merge(path.name, _text(path), overrides, written, problems)
    file = _object(merged, problems)
    folders = tuple((path.parent / folder).resolve() for folder in file.plugins)
    for place, folder in enumerate(file.plugins):
        problems.tried(("plugins", place), None, load_plugins, path.parent / folder)
    if problems.at("plugins"):  # else names that the plugin would bring would be called unknown
        problems.end(written.places)
    workers = problems.tried(("workers",), 1, _workers, file)
    engine = problems.tried(("engine",), None, _engine, file)
    results = Path(problems.tried(("results",), "", folder_text, "results", file.results))
    bench = resolve(file, problems)
    problems.end(written.places)
    settings = cast(dict[str, Any], OmegaConf.to_container(merged))
    assert bench is not None
    assert engine is not None
    bench = replace(bench, plugins=folders)
    return Config(bench, file.wandb, results, workers, engine, OmegaConf.to_yaml(merged), settings)


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
    written, problems = Written(BenchFile), Problems("overrides" if path is None else path.name)
    file = _object(_merge(problems.source, text, overrides, written, problems), problems)
    problems.end(written.places)
    for folder in file.plugins if path else ():
        load_plugins(path.parent / folder)  # type: ignore[union-attr]
    space = component_of(SPACES, file.space, "space")
    own = {spec.name: spec.space for spec in (pair_spec(entry, space) for entry in file.axes.pair)}
    data = data_settings(file, problems)
    problems.end(written.places)
    return data, own.get(pair, space)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the bench file {path} ({getattr(error, 'strerror', 'not UTF-8')}).") from error


def _merge(source: str, text: str, overrides: Sequence[str], written: Written, problems: Problems) -> DictConfig:
    """Schema, then profile, then the file, then overrides: what comes later replaces what came before."""
    for item in overrides:
        if "=" not in item.lstrip("="):
            raise ConfigError(f"override {item!r} must be key=value, for example data.root=../data or axes.seed=[0,1].")
    try:
        file = OmegaConf.create({} if (plain := written.read(text)) is None else plain)
        for item in overrides:
            key, _, value = item.partition("=")
            above = key.partition(".")[0]
            if above in ("engine", "space") and above != key and isinstance(name := OmegaConf.select(file, above), str):
                OmegaConf.update(file, above, {"name": name})  # engine=ray was followed by engine.address=auto
            OmegaConf.update(file, key, written.override(key, value))
        if not isinstance(file, DictConfig):
            raise TypeError
        file = _fitting(source, file, problems)
        schema = OmegaConf.structured(BenchFile)
        chosen = cast(DictConfig, OmegaConf.merge(schema, file))  # checks the file before the profile hides a typo
        name = chosen.space.get("name") if isinstance(chosen.space, DictConfig) else chosen.space
        usual = _profile("default", str(name))
        profile = problems.tried(("profile",), usual, _profile, chosen.profile, str(name))
        return cast(DictConfig, OmegaConf.merge(schema, *profile, file))
    except OmegaConfBaseException as error:
        raise ConfigError(f"{source}: {_sentence(error)}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{source} is not valid YAML: {' '.join(str(error).split())}.") from error
    except ConfigError as error:
        raise type(error)(f"{source}: {error}") from error
    except (TypeError, AssertionError) as error:  # all that OmegaConf says of these
        raise ConfigError(f"{source}: {MISPLACED}") from error


def _fitting(source: str, file: DictConfig, problems: Problems) -> DictConfig:
    """The file without the keys and values that the schema does not have; they are added to the problems."""
    schema = OmegaConf.structured(BenchFile)
    try:
        OmegaConf.merge(schema, file)
    except (OmegaConfBaseException, TypeError, AssertionError):
        good = OmegaConf.create({})
        for path, value in _leaves(OmegaConf.to_container(file), BenchFile):
            nested = value
            for key in reversed(path):
                nested = {key: nested}
            try:
                OmegaConf.merge(schema, nested)
                good = cast(DictConfig, OmegaConf.merge(good, nested))
            except (OmegaConfBaseException, TypeError, AssertionError) as error:
                reason = _sentence(error) if isinstance(error, OmegaConfBaseException) else MISPLACED
                problems.add(path, ConfigError(f"{source}: {reason}"))
        if not problems:  # values that are wrong only beside each other
            raise
        return good
    return file


def _leaves(value: Any, schema: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Values by path, as deep as the schema has keys of its own."""
    hints = get_type_hints(schema) if is_dataclass(schema) else {}
    if not hints or not isinstance(value, dict):
        yield path, value
        return
    for key, inner in value.items():
        yield from _leaves(inner, hints.get(key), (*path, key))


def _profile(name: str, space: str) -> list[DictConfig]:
    """The layers of a profile: what holds for every space, then what holds for this one."""
    folder = Path(__file__).parent / "profiles"
    known = sorted(path.stem for path in folder.glob("*.yaml"))
    if name not in known:
        raise UnknownNameError("profile", name, known)
    profile = cast(DictConfig, OmegaConf.load(folder / f"{name}.yaml"))
    spaces = profile.pop("by_space")
    return [profile, spaces.get(space, spaces.other)]


def _object(merged: DictConfig, problems: Problems) -> BenchFile:
    """The merged layers as objects; what is wrong or missing is added to the problems, a default stands for it."""
    for section in ("recipe", "wandb"):
        _section(merged, section, problems)
    while True:
        try:
            return cast(BenchFile, OmegaConf.to_object(merged))
        except MissingMandatoryValue as error:
            path = tuple(str(error.full_key).split("."))
            if not problems.at(*path):
                problems.add(path, ConfigError(f"{problems.source}: {_sentence(error)}"))
            OmegaConf.update(merged, str(error.full_key), "none" if path == ("name",) else [])
        except OmegaConfBaseException as error:
            raise ConfigError(f"{problems.source}: {_sentence(error)}") from error


def _section(merged: DictConfig, section: str, problems: Problems) -> None:
    """Check a part of the file that is one object: as a whole, and each of its values alone where that fails."""
    try:
        OmegaConf.to_object(merged[section])
    except OmegaConfBaseException:
        return
    except InputError as whole:
        plain = OmegaConf.structured(OmegaConf.get_type(merged[section]))
        for key, value in merged[section].items():
            try:
                OmegaConf.to_object(OmegaConf.merge(plain, {key: value}))
            except InputError as error:
                problems.add((section, str(key)), error)
        if not problems.at(section):
            problems.add((section,), whole)
        merged[section] = plain


def _sentence(error: OmegaConfBaseException) -> str:
    key = getattr(error, "full_key", None)
    first = str(getattr(error, "msg", None) or error).splitlines()[0].rstrip(".?")
    if key and key not in first:
        first = f"{key}: {first}"
    return first + ("?" if "Did you mean" in first else ".")


def _engine(file: BenchFile) -> Engine | None:
    component = component_of(ENGINES, file.engine, "engine")
    return ENGINES[component.name](**dict(component.settings))


def _workers(file: BenchFile) -> int:
    if file.workers < 0:
        raise ConfigError(f"workers must be 0 (as many as fit the machine) or more, got {file.workers}.")
    return file.workers
