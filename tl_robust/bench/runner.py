"""Runs a bench and gathers its results."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tl_robust.bench.executor import Executor, Failure
from tl_robust.bench.observer import Observer, Silent
from tl_robust.bench.plan import Plan, PlannedCell
from tl_robust.bench.spec import Bench
from tl_robust.bench.store import Store
from tl_robust.errors import StoreError
from tl_robust.metrics import METRICS
from tl_robust.trust import judge
from tl_robust.types import Outcome, Result


@dataclass(frozen=True)
class Finished:
    """A bench that ran.

    Attributes:
        results: One a cell, in the plan's order; cells that failed or were not run are absent.
        failures: Nodes that failed.
        missing: Cells without a result.
    """

    results: tuple[Result, ...]
    failures: tuple[Failure, ...]
    missing: tuple[PlannedCell, ...]


def run(plan: Plan, bench: Bench, store: Store, observer: Observer | None = None) -> Finished:
    """Compute what the store lacks and gather the results.

    Args:
        plan: The nodes; ``make_plan(bench)``.
        bench: How to run them.
        store: Where entries are.
        observer: Hears of progress.

    Raises:
        InputError: The bench, its data or the folder cannot be used.
    """
    failures = Executor(bench, store, observer or Silent()).run(plan)
    return gather(plan, store, tuple(failures.values()))


def gather(plan: Plan, store: Store, failures: tuple[Failure, ...] = ()) -> Finished:
    """Results of the cells whose outcomes are in the store; nothing is computed."""
    outcomes: dict[str, Outcome] = {}
    found, missing = [], []
    for planned in plan.cells:
        try:
            for judgment in filter(None, (planned.judgment, planned.white)):
                if judgment.key not in outcomes:
                    outcomes[judgment.key] = store.read_outcome(judgment.key)
        except StoreError:
            missing.append(planned)
            continue
        white = outcomes[planned.white.key] if planned.white else None
        found.append(_result(planned, outcomes[planned.judgment.key], white, store))
    return Finished(tuple(found), failures, tuple(missing))


def _result(planned: PlannedCell, outcome: Outcome, white: Outcome | None, store: Store) -> Result:
    metrics = {name: METRICS[name] for name in METRICS.names()}
    curves = {
        name: metric.curve(outcome, white)
        for name, metric in metrics.items()
        if planned.cell.view in metric.views and not (metric.needs_white and white is None)
    }
    made = store.manifest("outcomes", planned.judgment.key)["made"]
    provenance: dict[str, Any] = made | {
        "outcome": planned.judgment.key,
        "surrogate": planned.judgment.group.surrogate.origin(),
        "victim": planned.victim.origin(),
    }
    return Result(planned.key, planned.cell, outcome, white, curves, judge(outcome), provenance)
