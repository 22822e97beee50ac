"""Runs a bench and gathers its results."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from tl_robust import metrics
from tl_robust.bench.plan import Plan
from tl_robust.bench.spec import Bench
from tl_robust.engines.base import Engine, Failure, Job
from tl_robust.engines.local import Local
from tl_robust.engines.observer import Observer
from tl_robust.errors import StoreError
from tl_robust.nodes.node import Node
from tl_robust.nodes.pictures import Pictured
from tl_robust.nodes.store import Store
from tl_robust.nodes.timing import Timed
from tl_robust.nodes.training import Training
from tl_robust.threats.base import THREATS, PlannedCell, Reading
from tl_robust.types import Pictures, Record, Result, Verdict


@dataclass(frozen=True)
class Finished:
    """What a bench that ran came to.

    Attributes:
        results: One a cell, in the plan's order; cells that failed or were not run are absent.
        failures: Nodes that failed.
        missing: Cells without a result.
        seconds: Time that the nodes of each kind took when they were computed, over all processes.
        pictures: What was crafted or stamped, by key of an outcome (``Result.provenance["outcome"]``), for the first
            seeds.
    """

    results: tuple[Result, ...]
    failures: tuple[Failure, ...]
    missing: tuple[PlannedCell, ...]
    seconds: Mapping[str, float]
    pictures: Mapping[str, Pictures] = field(default_factory=dict)


def run(
    plan: Plan,
    bench: Bench,
    store: Store,
    observer: Observer | None = None,
    engine: Engine | None = None,
    share: int = 1,
) -> Finished:
    """Compute what the store lacks and gather the results.

    Args:
        plan: The nodes; ``make_plan(bench)``.
        bench: How to run them.
        store: Where entries are.
        observer: Hears of progress.
        engine: Who computes; this process where None.
        share: How many processes one machine holds.

    Raises:
        InputError: The bench, its data or the folder cannot be used.
    """
    job = Job(store.root.absolute(), bench.trainer, bench.attack_batch, bench.plugins, share)
    failures = (engine or Local()).run(job, plan.nodes, observer or Observer())
    return gather(plan, store, tuple(failures.values()))


def gather(plan: Plan, store: Store, failures: tuple[Failure, ...] = ()) -> Finished:
    """Results of the cells whose outcomes are in the store; nothing is computed."""
    records: dict[str, Record] = {}
    readings, missing = dict[str, list[Reading]](), []
    for planned in plan.cells:
        try:
            for address in planned.play.addresses:
                if address.key not in records:
                    records[address.key] = store.load(address.kind, address.key)
        except StoreError:
            missing.append(planned)
            continue
        play, threat = planned.play, THREATS[planned.method.threat]
        outcome, beside = threat.gathered(play, records)
        readings.setdefault(planned.method.threat, []).append(Reading(planned, outcome, beside))
    results: dict[str, Result] = {}
    for name, of_threat in readings.items():
        for reading, verdicts in zip(of_threat, THREATS[name].verdicts(of_threat, store), strict=True):
            results[reading.planned.key] = _result(reading, *verdicts, store)
    ordered = tuple(results[planned.key] for planned in plan.cells if planned.key in results)
    return Finished(ordered, failures, tuple(missing), _seconds(plan, store), _pictures(plan, store))


def _result(reading: Reading, verdict: Verdict, doubts: Mapping[str, Verdict], store: Store) -> Result:
    planned = reading.planned
    curves = metrics.curves(reading.outcome, planned.cell.view, reading.beside)
    address = planned.play.outcome[0]
    provenance = store.manifest(address.kind, address.key)["made"] | {
        "outcome": planned.play.key,
        "surrogate": planned.play.surrogate.origin(),
        "victim": planned.victim.origin(),
        **_costs(planned, store),
        **_account(planned, store),
        **_known(planned),
    }
    return Result(planned.key, planned.cell, reading.outcome, reading.beside, curves, verdict, provenance, doubts)


def _known(planned: PlannedCell) -> dict[str, Any]:
    """What the attackers do who know the defense of a cell, a sentence each; empty where nothing is defended."""
    attacks = planned.scene.defense.adaptive() if planned.scene.defense else ()
    return {"adaptive": list(dict.fromkeys(attack.why for attack in attacks))} if attacks else {}


def _account(planned: PlannedCell, store: Store) -> dict[str, Any]:
    """What the last training under B with an account of privacy says of it; empty where none has one."""
    kept: dict[str, Any] = {}
    for node in planned.victim.nodes:
        if (made := _made(node, store)) and "privacy" in made:
            kept |= {"privacy": made["privacy"]}
    return kept


def _costs(planned: PlannedCell, store: Store) -> dict[str, Any]:
    """What B cost: its training, and for a defended B how much longer it takes to answer."""
    made = [_made(node, store) for node in _paid(planned)]
    busy = [facts.get("busy_seconds") if facts else None for facts in made]
    known = [seconds for seconds in busy if seconds is not None]
    costs = {
        "victim_seconds": sum(facts["seconds"] for facts in made if facts),
        "victim_busy_seconds": sum(known) if len(known) == len(busy) else None,
    }
    return costs | ({"inference_ratio": _ratio(planned, store)} if planned.scene.defense else {})


def _paid(planned: PlannedCell) -> list[Node]:
    """All that was trained and fitted for B, each once.

    What is under A is public and free, and what an attacker has learned is his. But a part of A that a defense has
    changed counts, such as a robust origin: it is public afterwards, and the defender has paid for it. A training that
    serves several victims counts for each of them. Where only an early epoch of a training is asked, all of it counts.
    """
    victim, attacked = planned.victim, planned.play.surrogate
    public = [planned.scene.surrogate, *([attacked] if attacked.key != victim.key else [])]  # both: it may be poisoned
    poisons = [node.poison for node in victim.nodes if isinstance(node, Training) and node.poison]
    others = (*(model.nodes for model in public), *(poison.nodes for poison in poisons))
    free = {node.key for nodes in others for node in nodes if not (isinstance(node, Training) and node.defense)}
    return list({node.key: node for node in victim.nodes if node.key not in free}.values())


def _ratio(planned: PlannedCell, store: Store) -> float | None:
    """How many times as long a defended B takes to answer; None where that was not measured."""
    if not (timing := planned.timing):
        return 1.0
    with suppress(StoreError):
        timed: Timed = store.load(timing.KIND, timing.key)
        return timed.ratio
    return None


def _made(node: Node, store: Store) -> Mapping[str, Any] | None:
    """How a node was made; one pass made all its entries. None where it is absent or damaged."""
    with suppress(StoreError):
        made: Mapping[str, Any] = store.manifest(node.KIND, next(iter(node.entries)))["made"]
        return made
    return None


def _seconds(plan: Plan, store: Store) -> dict[str, float]:
    """The seconds of every node in the store, by the folder of its kind."""
    spent: dict[str, float] = {}
    for node in plan.nodes:
        made = _made(node, store)
        spent[node.KIND.folder] = spent.get(node.KIND.folder, 0.0) + (made["seconds"] if made else 0.0)
    return spent


def _pictures(plan: Plan, store: Store) -> dict[str, Pictures]:
    """Pictures by key of an outcome; those that are not in the store are left out, since a report can do without."""
    pictures: dict[str, Pictures] = {}
    for node in plan.nodes:
        if isinstance(node, Pictured):
            with suppress(StoreError):
                pictures |= dict.fromkeys(node.outcomes, store.load(node.KIND, node.key))
    return pictures
