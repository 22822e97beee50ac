"""The view ``shadow``: the attacker has A and the victim's recipe, and trains a B of his own."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tl_robust.bench.plan import Plan, PlannedCell, make_plan
from tl_robust.bench.runner import run
from tl_robust.config import load
from tl_robust.nodes.examination import Examinee
from tl_robust.nodes.models import WEIGHTS
from tl_robust.nodes.store import Store
from tl_robust.nodes.training import Training

FEW = ["axes.seed=[0]", "axes.attack=[fgsm]", "recipe.epochs=1"]


def planned(bench: Path, *overrides: str) -> Plan:
    return make_plan(load(bench, [*FEW, *overrides]).bench)


def cells(plan: Plan, view: str) -> list[PlannedCell]:
    return [cell for cell in plan.cells if cell.cell.view == view]


@pytest.mark.parametrize("strategy", ["scratch", "finetune", "common_init"])
def test_the_surrogate_is_another_draw_of_b_from_the_same_parent(tiny: Path, strategy: str) -> None:
    (cell,) = planned(tiny, f"axes.strategy=[{strategy}]", "axes.view=[shadow]").cells
    surrogate, victim = cell.play.surrogate, cell.scene.victim
    assert isinstance(surrogate, Training)
    assert surrogate.key != victim.key
    assert surrogate == replace(victim, salt="shadow")
    assert surrogate.parent == victim.parent
    assert cell.play.group.surrogate == surrogate
    assert cell.play.group.victims == (victim,)
    assert not cell.play.group.white
    assert [one.model for one in cell.play.examinees] == [surrogate, victim]


def test_it_changes_nothing_of_the_other_views(tiny: Path) -> None:
    without, with_it = planned(tiny, "axes.view=[white,black]"), planned(tiny, "axes.view=[white,black,shadow]")
    for view in ("white", "black"):
        assert [cell.key for cell in cells(without, view)] == [cell.key for cell in cells(with_it, view)]
    assert len(cells(with_it, "shadow")) == len(cells(with_it, "black"))
    more = {node.key for node in with_it.nodes} - {node.key for node in without.nodes}
    draws = [node for node in with_it.trainings if isinstance(node, Training) and node.salt]
    assert len(draws) == 3
    assert {node.key for node in draws} < more
    assert {node.model.key for node in with_it.nodes if isinstance(node, Examinee) and node.key in more} == {
        node.key for node in draws
    }


def test_a_run_has_results_of_it(tiny: Path, tmp_path: Path) -> None:
    config = load(tiny, [*FEW, "axes.view=[white,black,shadow]", "axes.strategy=[finetune]"])
    store = Store(tmp_path / "store")
    finished = run(config.plan, config.bench, store)
    assert not finished.failures
    result = next(result for result in finished.results if result.cell.view == "shadow")
    origin = result.provenance["surrogate"]
    assert (origin["draw"], origin["domain"]) == ("shadow", "made_b")
    assert origin["parent"] == result.provenance["victim"]["parent"]
    assert "draw" not in result.provenance["victim"]
    own, theirs = (store.load(WEIGHTS, result.provenance[side]["key"]) for side in ("surrogate", "victim"))
    assert not torch.equal(own["classifier.weight"], theirs["classifier.weight"])
    white = next(result for result in finished.results if result.cell.view == "white").outcome
    assert torch.equal(result.outcome.clean_b, white.clean_b), "judged on the same B"
    assert torch.equal(result.beside["white"].adv_b, white.adv_b)
    assert {"robust_accuracy", "transfer_ratio"} <= result.curves.keys()
    assert result.verdict.level in ("green", "amber", "red")
