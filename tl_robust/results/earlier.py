"""Results of other settings are kept: a report never replaces another one silently."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from tl_robust.errors import ResultsError
from tl_robust.files import write_atomically

CONFIG = "config.yaml"
HOW = {"results", "engine", "workers", "wandb", "plugins", "attack_batch", "data.root", "data.cache", "data.download"}
HOW |= {"trainer.accelerator", "trainer.devices"}  # where and how it is computed, not what is asked
SHOWN = 4  # settings that the sentence names


def keep(folder: Path, text: str, files: Sequence[str], defaults: Mapping[str, Any]) -> str:
    """Move a report and tables of other settings away, and remember the settings of those that will be written.

    Settings that only add values to an axis, as more seeds do, ask for all that was there and more: nothing is moved.

    Args:
        folder: Of the bench.
        text: The whole configuration as YAML.
        files: Names of what is moved: all that the sinks write.
        defaults: What a setting was that an earlier version of the program did not have yet.

    Returns:
        A sentence about what was moved where; empty where nothing was.

    Raises:
        ResultsError: The folder cannot be read or written.
    """
    known, sentence = folder / CONFIG, ""
    try:
        changed = _changed(_read(known), yaml.safe_load(text), defaults) if known.is_file() else []
        there = [folder / name for name in files if (folder / name).is_file()]
        if changed and there:
            home = _new_folder(folder, there[0])
            for path in (*there, known):  # it last: while it is there, an interrupted move goes on at the next report
                path.rename(home / path.name)
            more = ", ..." * (len(changed) > SHOWN)
            sentence = (
                f"{folder} held a report of other settings ({', '.join(changed[:SHOWN])}{more}): moved to {home}. "
                "name=NAME keeps both beside each other."
            )
    except OSError as error:
        raise ResultsError(
            f"cannot keep the earlier report in {folder} ({error.strerror or error}): free the disk, or set name=NAME."
        ) from error
    write_atomically(known, text.encode())
    return sentence


def _new_folder(folder: Path, file: Path) -> Path:
    """``earlier/DATE`` with the day on which a file was written, and a number that is not taken."""
    day = time.strftime("%Y-%m-%d", time.localtime(file.stat().st_mtime))
    count = 1
    while (home := folder / "earlier" / f"{day}-{count}").exists():
        count += 1
    home.mkdir(parents=True)
    return home


def _read(path: Path) -> Mapping[str, Any]:
    """An earlier configuration; one that cannot be read counts as another one than today's."""
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError):
        return {}
    return config if isinstance(config, dict) else {}


def _changed(old: Mapping[str, Any], new: Mapping[str, Any], defaults: Mapping[str, Any]) -> list[str]:
    """Names of settings that ask for something else, or for less."""
    before, after = dict(flat(old)), dict(flat(new))
    if before:  # the whole configuration of a run, so what it lacks was no setting then
        before = {name: value for name, value in flat(defaults) if name in after} | before
    names = [name for name in dict.fromkeys([*before, *after]) if not among(name, HOW)]
    return [name for name in names if not _covers(name, before.get(name), after.get(name))]


def among(name: str, settings: Iterable[str]) -> bool:
    """Whether a name with dots is that of one of these settings, or of a part of one."""
    return any(name == setting or name.startswith(f"{setting}.") for setting in settings)


def _covers(name: str, before: Any, after: Any) -> bool:
    """Whether the report of the new value holds what that of the old one held."""
    if name.startswith("axes.") and isinstance(before, list) and isinstance(after, list):
        return all(item in after for item in before)
    return bool(before == after)


def flat(item: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Values of nested mappings by names with dots; an empty mapping has none."""
    for name, value in item.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
