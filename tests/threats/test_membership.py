"""Cells of the threat membership: who learned what, and whose models are shadows."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tl_robust.bench import runner
from tl_robust.bench.plan import Plan, PlannedCell, make_plan
from tl_robust.cli import main
from tl_robust.config import load
from tl_robust.data.pair import DomainModule
from tl_robust.errors import ConfigError
from tl_robust.nodes.exposing import Exposing, _others
from tl_robust.nodes.signaling import Signaling
from tl_robust.nodes.store import Store
from tl_robust.nodes.training import Training
from tl_robust.threats.membership import MembershipPlay
from tl_robust.types import Exposure

pytestmark = pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")
OWN = ["axes.seed=[0]", "axes.common=[]", "workers=1", "recipe.epochs=2", "recipe.select=last"]


def planned(bench: Path, attack: str, *overrides: str, strategy: str = "finetune") -> Plan:
    own = [f"axes.attack=[{attack}]", f"axes.strategy=[{strategy}]"]
    return make_plan(load(bench, [*OWN, *own, *overrides]).bench)


def exposing(cell: PlannedCell, place: int = 0) -> Exposing:
    assert isinstance(cell.play, MembershipPlay)
    return cell.play.exposings[place]


def learned(signaling: Signaling) -> Training:
    trained = signaling.models[-1].trained
    assert isinstance(trained, Training)
    return trained


@pytest.mark.parametrize("strategy", ["scratch", "finetune", "{name: finetune, mode: probe}"])
def test_members_are_what_a_training_is_given(tiny: Path, strategy: str) -> None:
    (cell,) = planned(tiny, "{name: loss, pairs: 2}", strategy=strategy).cells
    node = exposing(cell)
    pool = node.halves.pool
    whole = pool.images.take(pool.learn)
    for victim, draw in zip(node.victims, node.draws, strict=True):
        training = learned(victim)
        loader = DomainModule(training.data, training.recipe, 0).train_dataloader()
        given = {image.numpy().tobytes() for batch in loader for image in (batch[0] * 255).round().byte()}
        member = draw.members(pool)
        assert given == {image.numpy().tobytes() for image in whole.images[member]}
        assert 0 < int(member.sum()) < len(member)


def test_strategies_share_coins_the_parent_and_the_shadows_of_the_recipe(tiny: Path) -> None:
    plan = planned(
        tiny, "{name: rmia, pairs: 3, knowledge: recipe}, {name: rmia, pairs: 3}", strategy="scratch,finetune"
    )
    scratch, recipe, lineage = (
        next(exposing(cell) for cell in plan.cells if (cell.cell.strategy, cell.cell.attack) == which)
        for which in (
            ("scratch", "rmia(pairs=3)"), ("finetune", "rmia(knowledge=recipe, pairs=3)"),
            ("finetune", "rmia(pairs=3)"),
        )
    )  # fmt: skip
    assert scratch.draws == lineage.draws
    assert [node.key for node in recipe.shadows] == [node.key for node in scratch.victims]
    assert lineage.shadows == lineage.victims == recipe.victims
    assert len({learned(victim).parent for victim in lineage.victims}) == 1
    assert ("scratch", "rmia(knowledge=recipe, pairs=3)") not in {(c.cell.strategy, c.cell.attack) for c in plan.cells}
    assert len(plan.trainings) == 6 + 6 + 1


def test_another_pair_trains_two_models_and_another_inference_none(tiny: Path) -> None:
    def trainings(attack: str) -> set[str]:
        return {model.key for model in planned(tiny, attack).trainings}

    three, four = trainings("{name: rmia, pairs: 3}"), trainings("{name: rmia, pairs: 4}")
    assert three < four
    assert len(four - three) == 2
    assert trainings("{name: loss, pairs: 3},{name: lira, pairs: 3},{name: calibrated, pairs: 3}") == three


def test_another_parent_is_another_draw_of_the_same_source(tiny: Path) -> None:
    (cell,) = planned(tiny, "{name: rmia, pairs: 2, knowledge: other_parent}").cells
    node = exposing(cell)
    own, other = learned(node.victims[0]).parent, learned(node.shadows[0]).parent
    assert own
    assert other
    assert (own.title, own.key) != (other.title, other.key)
    assert own.title == other.title
    assert "lineage" in cell.play.beside


def test_on_the_source_side_the_parent_learned_a_half_and_the_start_is_the_parent_itself(tiny: Path) -> None:
    (cell,) = planned(tiny, "{name: rmia, pairs: 2, side: source}").cells
    assert cell.cell.view == "source"
    node = exposing(cell)
    assert node.victims[0].epochs == (0, 1, 2)
    for victim, draw in zip(node.victims, node.draws, strict=True):
        training = learned(victim)
        assert training.data.draw is None
        assert isinstance(training.parent, Training)
        assert training.parent.data.draw == draw


def test_shadows_are_of_other_pairs_and_as_many_of_both_halves(tiny: Path) -> None:
    (cell,) = planned(tiny, "{name: rmia, pairs: 4, shadows: 4}").cells
    inference = runner.THREATS["membership"].METHODS["rmia"](pairs=4, shadows=4)
    for model in range(8):
        others = _others(inference, model, 8)
        assert len(others) == 4
        assert not set((others // 2).tolist()) & {model // 2}
        assert sorted((others % 2).tolist()) == [0, 0, 1, 1]
    assert cell.cell.attack == "rmia(pairs=4, shadows=4)"


def test_a_cell_is_computed_and_its_start_is_the_parent_bit_for_bit(tiny: Path, tmp_path: Path) -> None:
    attacks = "{name: rmia, pairs: 2, side: source},{name: rmia, pairs: 2},{name: parent_gap, pairs: 2}"
    config = load(tiny, [*OWN, f"axes.attack=[{attacks}]", "axes.strategy=[finetune]"])
    plan, store = make_plan(config.bench), Store(tmp_path / "store")
    done = runner.run(plan, config.bench, store)
    assert not done.failures
    by_side = {result.cell.view: result for result in done.results}
    assert {"auc", "tpr_at_1_percent", "train_gap", "cohort_accuracy", "null_auc"} <= by_side["target"].curves.keys()
    assert "retention_of_source" in by_side["source"].curves
    record = by_side["source"].outcome
    assert isinstance(record, Exposure)
    assert torch.equal(record.member[0::2], ~record.member[1::2])
    node = exposing(next(cell for cell in plan.cells if cell.cell.view == "source"))
    victim = node.victims[0]
    parent = learned(victim).parent
    assert parent
    started = victim.models[0].load(store).state_dict()
    public = parent.load(store).state_dict()
    assert all(torch.equal(started[name], public[name]) for name in public)
    again = runner.run(plan, config.bench, store)
    assert [result.key for result in again.results] == [result.key for result in done.results]


BAD = [
    ("recipe.select=test", "{name: loss, pairs: 2}", "use select: last"),
    ("data.train_limit=30", "{name: loss, pairs: 12}", "training images has none of class"),
    ("epochs=[9]", "{name: loss, pairs: 2}", "there is no snapshot after epoch 9"),
    (
        "axes.strategy=[scratch]",
        "{name: loss, pairs: 2, side: source}",
        "needs a strategy whose B starts from a source",
    ),
    ("axes.strategy=[scratch]", "{name: rmia, pairs: 2, knowledge: recipe}", "needs a B that starts from a parent"),
    ("eps=[0]", "{name: loss, pairs: 1}", "'pairs' of loss must be at least 2"),
    ("eps=[0]", "{name: rmia, knowlege: recipe}", "did you mean 'knowledge'?"),
    ("eps=[0]", "{name: lyra}", "did you mean 'lira'?"),
    ("axes.defense=[random_removal]", "{name: loss, pairs: 2}", "its members are not known"),
]


@pytest.mark.parametrize(("override", "attack", "expected"), BAD, ids=[expected for *_, expected in BAD])
def test_bad_input_is_one_sentence(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], override: str, attack: str, expected: str
) -> None:
    own = [f"axes.attack=[{attack}]", "axes.strategy=[finetune]", f"results={tmp_path / 'r'}"]
    assert main(["plan", str(tiny), *OWN, *own, override]) == 2
    error = capsys.readouterr().err
    assert expected in error
    assert error.startswith("error: ")
    assert error.count("\n") == 1


def test_a_wrong_epoch_is_told(tiny: Path) -> None:
    with pytest.raises(ConfigError, match="no snapshot"):
        planned(tiny, "{name: loss, pairs: 2, epochs: [7]}")
