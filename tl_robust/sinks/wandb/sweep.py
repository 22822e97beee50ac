"""A W&B sweep over keys of a bench as plain values: every trial is a run of the bench with other values.

The store knows what was computed: a point that is tried again, by another agent or another sweep, costs nothing, and a
trial that was killed goes on where it was.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from tl_robust.errors import ConfigError
from tl_robust.metrics import METRICS
from tl_robust.sinks.wandb.panels import Shown
from tl_robust.sinks.wandb.session import WandbSettings
from tl_robust.sinks.wandb.trial import headline_key

METHODS = ("grid", "random", "bayes")
NAME = r"[A-Za-z_][A-Za-z0-9_.-]*"  # of a parameter, as W&B takes it
RANGE = r"(log:)?([^.\s][^\s]*?)\.\.([^.\s][^\s]*)"
EXAMPLE = "for example --vary axes.strategy --vary recipe.lr=[0.003,0.01] --vary recipe.lr=log:0.001..0.1"
HEAD = """\
# A sweep over the bench {bench}. Start it and as many agents as there are machines:
#   wandb sweep FILE
#   wandb agent ENTITY/PROJECT/ID
# An agent runs: tl-robust run {bench} KEY=VALUE ... What was computed before comes from the store, and a trial that was
# killed goes on where it was. All runs of the trials are in the group sweep-ID.
"""


@dataclass(frozen=True)
class Parameter:
    """What a sweep varies.

    Attributes:
        key: Of the bench file, with dots: ``recipe.lr``.
        values: As they are written on a command line; none of a range.
        low: Lower end of a range.
        high: Upper end of a range.
        log: A range is drawn from evenly in its logarithm.
    """

    key: str
    values: tuple[Any, ...] = ()
    low: float = 0.0
    high: float = 0.0
    log: bool = False

    @property
    def tried(self) -> tuple[str, ...]:
        """Overrides that a trial may have, of a range its ends."""
        return tuple(f"{self.key}={value}" for value in self.values or (self.low, self.high))

    @property
    def entry(self) -> dict[str, Any]:
        """As W&B wants it."""
        if self.values:
            return {"values": list(self.values)}
        whole = isinstance(self.low, int) and isinstance(self.high, int) and not self.log
        kind = "log_uniform_values" if self.log else "int_uniform" if whole else "uniform"
        return {"distribution": kind, "min": self.low, "max": self.high}


def parameter(text: str, axes: Mapping[str, Sequence[Any]]) -> Parameter:
    """Read what is varied: ``KEY``, ``KEY=[VALUE, ...]``, ``KEY=LOW..HIGH`` or ``KEY=log:LOW..HIGH``.

    A value of an axis is one entry of it, so that each trial has one: ``axes.strategy=[scratch, finetune]`` are two.

    Args:
        text: As it was given.
        axes: Values of the bench by the key of an axis (``axes.seed``), for a key alone.

    Raises:
        ConfigError: It is none of these.

    >>> parameter("axes.attack=[fgsm, {name: pgd, steps: 2}]", {}).values
    ('[fgsm]', '[{name: pgd, steps: 2}]')
    >>> parameter("recipe.lr=log:1e-3..0.1", {}).entry
    {'distribution': 'log_uniform_values', 'min': 0.001, 'max': 0.1}
    """
    key, equals, given = text.partition("=")
    if not re.fullmatch(NAME, key) or key.startswith("wandb."):
        raise ConfigError(f"--vary needs a key of the bench file, but none of wandb, got {key!r}: {EXAMPLE}.")
    if not equals:
        if key not in axes:
            raise ConfigError(f"--vary {key} needs values, since it is no axis ({', '.join(axes)}): {EXAMPLE}.")
        return Parameter(key, tuple(_written([value]) for value in axes[key]))
    if limits := re.fullmatch(RANGE, given):
        return _range(key, text, *limits.groups())
    try:
        values = yaml.safe_load(given)
    except yaml.YAMLError:
        values = None
    if not isinstance(values, list) or not values:
        raise ConfigError(f"--vary {text} must be a list of values or a range: {EXAMPLE}.")
    axis = key.startswith("axes.")
    written = [_written([value]) if axis else _plain(value) for value in values]
    return Parameter(key, tuple(dict.fromkeys(written)))


def metrics(shown: Sequence[Shown]) -> dict[str, str]:
    """What a sweep may optimize: keys of the overview run, each ``maximize`` or ``minimize``, as the owner wants it.

    Raises:
        ConfigError: There is nothing, since no threat has a headline.
    """
    goals = dict[str, str]()
    for part in (part for part in shown if part.face.headline in METRICS):
        better_low = METRICS[part.face.headline].higher_is_better is False
        views = (view for view in part.face.views if view in part.views)
        goals |= {headline_key(part.face, view): "minimize" if better_low else "maximize" for view in views}
    if not goals:
        raise ConfigError("a sweep compares trials by the headline of a threat, and no threat of this bench has one.")
    return goals


def spec(
    bench: str,
    settings: WandbSettings,
    parameters: Sequence[Parameter],
    metric: tuple[str, str],
    method: str = "grid",
    trials: int = 0,
    overrides: Sequence[str] = (),
) -> dict[str, Any]:
    """The sweep, as W&B's own schema of sweeps has it.

    Args:
        bench: As ``tl-robust run`` takes it.
        settings: Project and entity.
        parameters: What is varied.
        metric: Key and goal, one of :func:`metrics`.
        method: ``grid`` tries all, ``random`` draws, ``bayes`` draws where it expects more.
        trials: No more than so many; 0 for no bound.
        overrides: For all trials.

    Raises:
        ConfigError: Nothing is varied, a key twice, a grid over a range, or fewer trials than one.
    """
    keys = [each.key for each in parameters]
    if not keys or len(set(keys)) < len(keys):
        raise ConfigError(f"a sweep varies some keys, each given once by --vary, got {keys}: {EXAMPLE}.")
    ranges = [each.key for each in parameters if not each.values]
    if ranges and method == "grid":
        raise ConfigError(f"a grid has no range, and {ranges[0]} is one: list its values, or use --method random.")
    if trials < 0:
        raise ConfigError(f"--trials must be at least 1, or 0 for no bound, got {trials}.")
    own = ["${env}", "${program}", "run", bench, *overrides, "${args_no_hyphens}"]
    return {
        "name": f"{bench} over {', '.join(keys)}",
        "description": f"Each trial is a run of the bench {bench}; repeated points come from the store.",
        "program": "tl-robust",
        "project": settings.project,
        **({"entity": settings.entity} if settings.entity else {}),
        "method": method,
        "metric": {"name": metric[0], "goal": metric[1]},
        **({"run_cap": trials} if trials else {}),
        "parameters": {each.key: each.entry for each in parameters},
        "command": [*own, "wandb.sweep=${envvar:WANDB_SWEEP_ID}", "--plain"],
    }


def text(sweep: Mapping[str, Any], bench: str) -> str:
    """The sweep as a file for ``wandb sweep``."""
    return HEAD.format(bench=bench) + yaml.safe_dump(dict(sweep), sort_keys=False, width=1000, allow_unicode=True)


def _range(key: str, text: str, log: str | None, *ends: str | None) -> Parameter:
    low, high = (_number(end or "") for end in ends)
    if low is None or high is None or not low < high or (log and low <= 0):
        raise ConfigError(f"--vary {text}: a range has two numbers, the lower first, and both above 0 after log:.")
    return Parameter(key, low=low, high=high, log=bool(log))


def _number(text: str) -> int | float | None:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return None


def _plain(value: Any) -> Any:
    """A value of a key that is no axis: numbers stay numbers, what has parts is written as YAML on one line."""
    if isinstance(value, str) and (number := _number(value)) is not None:
        return number
    return value if isinstance(value, str | int | float | bool) else _written(value)


def _written(value: Any) -> str:
    """YAML on one line, as an override has it.

    >>> _written([{"name": "pgd", "steps": 2}]), _written(["fgsm"]), _written(["a, b"])
    ('[{name: pgd, steps: 2}]', '[fgsm]', '["a, b"]')
    """
    return "".join(_parts(value))


def _parts(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        entries = [f"{key}: {_written(item)}" for key, item in value.items()]
        yield f"{{{', '.join(entries)}}}"
    elif isinstance(value, list | tuple):
        yield f"[{', '.join(map(_written, value))}]"
    elif isinstance(value, str) and not re.fullmatch(r"[\w./-][\w./ +-]*", value):
        yield '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    else:
        yield "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
