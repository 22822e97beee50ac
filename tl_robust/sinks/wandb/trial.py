"""One run of a bench as a trial of a W&B sweep: what its agent says of the trial, for the runs that are published.

An agent names the trial in the environment. That is believed only where the bench was told the same sweep by
``wandb.sweep``: a bench that happens to run inside a sweep of another program has nothing to do with it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml

from tl_robust.sinks.wandb.limits import LONGEST_NAME
from tl_robust.sinks.wandb.session import WandbSettings


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


def _values() -> dict[str, Any]:
    try:
        content = yaml.safe_load(Path(os.environ.get("WANDB_SWEEP_PARAM_PATH", "")).read_text("utf-8"))
        return {str(name): entry["value"] for name, entry in content.items() if name != "wandb_version"}
    except (OSError, ValueError, AttributeError, TypeError, KeyError, yaml.YAMLError):
        return {}
