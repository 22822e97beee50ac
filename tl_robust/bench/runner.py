"""Runs a bench and gathers its results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from tl_robust import metrics
from tl_robust.bench.executor import Executor, Failure
from tl_robust.bench.observer import Observer, Silent
from tl_robust.bench.plan import Plan, PlannedCell
from tl_robust.bench.spec import Bench
from tl_robust.bench.store import Kind, Store
from tl_robust.errors import StoreError
from tl_robust.trust import judge, worst
from tl_robust.trust.checks.distinct_outcomes import Placed, twins
from tl_robust.types import Evidence, Examination, Outcome, Pictures, Result, Verdict


@dataclass(frozen=True)
class Finished:
    """A bench that ran.

    Attributes:
        results: One a cell, in the plan's order; cells that failed or were not run are absent.
        failures: Nodes that failed.
        missing: Cells without a result.
        seconds: Time that the nodes of each stage took when they were computed, over all processes.
        pictures: What was crafted, by key of an outcome (``Result.provenance["outcome"]``), for the first seeds.
    """

    results: tuple[Result, ...]
    failures: tuple[Failure, ...]
    missing: tuple[PlannedCell, ...]
    seconds: Mapping[str, float]
    pictures: Mapping[str, Pictures] = field(default_factory=dict)


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
        found.append(planned)
    same = twins([_placed(planned, outcomes[planned.judgment.key]) for planned in found])
    examinations = _examinations(found, store)
    results = tuple(
        _result(planned, outcomes, examinations, others, store) for planned, others in zip(found, same, strict=True)
    )
    return Finished(results, failures, tuple(missing), _seconds(plan, store), _pictures(plan, store))


def _seconds(plan: Plan, store: Store) -> dict[str, float]:
    """The seconds of every node in the store, by stage."""
    nodes: dict[Kind, list[str]] = {
        "weights": [training.key for training in plan.trainings],
        "outcomes": [judgments[0].key for _, judgments in plan.groups],  # one pass made them all
        "examinations": [examinee.key for examinee in plan.examinees],
        "pictures": [pictured.key for pictured in plan.pictures],
    }
    spent: dict[str, float] = dict.fromkeys(nodes, 0.0)
    for kind, keys in nodes.items():
        for key in keys:
            with suppress(StoreError):  # absent, or damaged
                spent[kind] += store.manifest(kind, key)["made"]["seconds"]
    return spent


def _pictures(plan: Plan, store: Store) -> dict[str, Pictures]:
    """Those in the store; a store of an older version has none, and a report can do without."""
    found: dict[str, Pictures] = {}
    for pictured in plan.pictures:
        with suppress(StoreError):
            pictures = store.read_pictures(pictured.key)
            found |= dict.fromkeys((judgment.key for judgment in pictured.judgments), pictures)
    return found


def _examinations(cells: Sequence[PlannedCell], store: Store) -> dict[str, Examination]:
    """Those in the store that cells need, by key; several cells share one."""
    found: dict[str, Examination] = {}
    for key in dict.fromkeys(examinee.key for planned in cells for examinee in planned.examinees):
        with suppress(StoreError):
            found[key] = store.read_examination(key)
    return found


def _placed(planned: PlannedCell, outcome: Outcome) -> Placed:
    group = planned.judgment.group
    attack = str(group.attack), group.eps, group.fast, group.test.images("test").fingerprint
    at = {name: value for name, value in vars(planned.cell).items() if name != "bench"}
    return Placed(at, planned.judgment.key, group.surrogate.key, attack, planned.victim.key, group.early, outcome)


def _result(
    planned: PlannedCell,
    outcomes: Mapping[str, Outcome],
    examinations: Mapping[str, Examination],
    others: tuple[str, ...],
    store: Store,
) -> Result:
    outcome = outcomes[planned.judgment.key]
    beside = {"white": outcomes[planned.white.key]} if planned.white else {}
    curves = metrics.curves(outcome, planned.cell.view, beside)
    made = store.manifest("outcomes", planned.judgment.key)["made"]
    provenance: dict[str, Any] = made | {
        "outcome": planned.judgment.key,
        "surrogate": planned.judgment.group.surrogate.origin(),
        "victim": planned.victim.origin(),
    }
    a, b = (examinations.get(examinee.key) for examinee in planned.examinees)
    verdict = judge(Evidence(outcome, beside, a, b, planned.judgment.group.built.ITERATES, others))
    if a is None or b is None:
        verdict = worst([verdict, Verdict("amber", ("The trust checks could not examine both models.",))])
    return Result(planned.key, planned.cell, outcome, beside, curves, verdict, provenance)
