"""Cells of a tiny bench with a backdoor, and what is found in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from tl_robust.bench import runner
from tl_robust.bench.plan import Plan, PlannedCell, make_plan
from tl_robust.config import load
from tl_robust.nodes.hands import Hands
from tl_robust.nodes.models import Model
from tl_robust.nodes.stamping import Stamping
from tl_robust.nodes.store import Store
from tl_robust.nodes.training import Snapshot, Training
from tl_robust.threats.backdoor import BackdoorPlay

PATCH = "{name: patch, side: 2, rate: 0.2, target: '3'}"
QUICK = ["axes.seed=[0]", "workers=1", "recipe.epochs=2"]


def planned(bench: Path, *overrides: str, attack: str = PATCH, strategy: str = "finetune") -> Plan:
    own = [f"axes.attack=[{attack}]", f"axes.strategy=[{strategy}]"]
    return make_plan(load(bench, [*QUICK, *own, *overrides]).bench)


def cell_of(bench: Path, *overrides: str, attack: str = PATCH, strategy: str = "finetune") -> PlannedCell:
    (cell,) = planned(bench, *overrides, attack=attack, strategy=strategy).cells
    return cell


def run(bench: Path, *overrides: str, attack: str = PATCH) -> tuple[runner.Finished, Plan, Store]:
    own = [f"axes.attack=[{attack}]", "axes.strategy=[finetune]"]
    config = load(bench, [*QUICK, *own, *overrides])
    plan, store = make_plan(config.bench), Store(bench.parent / "store")
    return runner.run(plan, config.bench, store), plan, store


def play_of(cell: PlannedCell) -> BackdoorPlay:
    assert isinstance(cell.play, BackdoorPlay)
    return cell.play


def stamping_of(cell: PlannedCell, beside: str = "") -> Stamping:
    """The first of the cell's own stampings, or of those beside it."""
    (address, *_) = play_of(cell).beside[beside] if beside else play_of(cell).outcome
    (found,) = {node.key: node for node in cell.play.nodes if node.key == address.key}.values()
    assert isinstance(found, Stamping)
    return found


def trainings(model: Model) -> list[Training]:
    return [node for node in model.nodes if isinstance(node, Training)]


def trained(model: Model) -> Training:
    training = model.trained
    assert isinstance(training, Training)
    return training


def poisoned(model: Model) -> set[str]:
    """Domains whose training under a model is poisoned."""
    return {training.data.domain for training in trainings(model) if training.poison}


def weights_of(training: Training, store: Store, epochs: Sequence[int]) -> dict[int, dict[str, Tensor]]:
    node = replace(training, snapshots=tuple(epochs))
    records, _ = node.make(Hands({"accelerator": "cpu"}, 16), store)
    return {epoch: records[Snapshot(training, epoch).key] for epoch in epochs}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    assert one.keys() == other.keys()
    return all(torch.equal(value, other[name]) for name, value in one.items())
