"""One run of a bench as a trial of a W&B sweep: what its agent says of the trial, for the runs that are published.

An agent names the trial in the environment. That is believed only where the bench was told the same sweep by
``wandb.sweep``: a bench that happens to run inside a sweep of another program has nothing to do with it.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from tl_robust.results.answer import headline_rows
from tl_robust.results.faces import FACES, by_threat
from tl_robust.results.names import grouped
from tl_robust.results.table import Row
from tl_robust.sinks.wandb.keys import side_key
from tl_robust.sinks.wandb.limits import LONGEST_NAME
from tl_robust.sinks.wandb.session import WandbSettings
from tl_robust.types import Face


def group_of(bench: str, settings: WandbSettings) -> str:
    """The group of all runs of a bench: the sweep of which it is a trial, else the bench itself."""
    return f"sweep-{settings.sweep}" if settings.sweep else bench[:LONGEST_NAME]


def trial_id(settings: WandbSettings) -> str:
    """The id that the agent gave the run of this trial; empty where this is no trial."""
    ours = settings.sweep and os.environ.get("WANDB_SWEEP_ID") == settings.sweep
    return os.environ.get("WANDB_RUN_ID", "") if ours else ""


def trial_config(settings: WandbSettings) -> dict[str, Any]:
    """What the configuration of every run of a trial has more: the sweep, the trial, and the values that it tries.

    The agent leaves the values in a file, under the names of the sweep's parameters (``recipe.lr``). Where it cannot be
    read they are left out: ``bench_config`` has them too.
    """
    if not settings.sweep:
        return {}
    trial = trial_id(settings)
    return {"sweep": settings.sweep, **({"trial": trial, **_values()} if trial else {})}


def headlines(summary: Sequence[Row], faces: Mapping[str, Face] = FACES) -> dict[str, float]:
    """The headline of each threat and view as one number, for the overview run: what a sweep compares its trials by.

    It is the mean over all cells of the view, of the last value of their axis where the threat is told there, else of
    all values of the axis but the baseline. Views of which nothing is defined are left out.

    Args:
        summary: Means over seeds.
        faces: How each threat reads.

    Returns:
        By key: ``headline/accuracy/black_box``.
    """
    numbers = dict[str, float]()
    for face, rows in by_threat(headline_rows(summary, faces), faces):
        for view, members in grouped(rows, lambda row: row.cell.view).items():
            values = [row.value for row in _told(face, members) if math.isfinite(row.value)]
            if values:
                numbers[headline_key(face, view)] = sum(values) / len(values)
    return numbers


def headline_key(face: Face, view: str) -> str:
    """The key of such a number."""
    return f"headline/{side_key(face, view)}"


def _told(face: Face, rows: Sequence[Row]) -> list[Row]:
    if face.told == "last":
        return [max(curve, key=lambda row: row.eps or 0.0) for curve in grouped(rows, lambda row: row.cell).values()]
    return [row for row in rows if row.eps != face.baseline]


def _values() -> dict[str, Any]:
    try:
        content = yaml.safe_load(Path(os.environ.get("WANDB_SWEEP_PARAM_PATH", "")).read_text("utf-8"))
        return {str(name): entry["value"] for name, entry in content.items() if name != "wandb_version"}
    except (OSError, ValueError, AttributeError, TypeError, KeyError, yaml.YAMLError):
        return {}
