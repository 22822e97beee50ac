"""Which models a cell of membership is computed from, and what each of them really learned."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tl_robust.bench import runner
from tl_robust.bench.plan import make_plan
from tl_robust.config import load
from tl_robust.data.batches import Batches
from tl_robust.data.pair import DomainModule
from tl_robust.errors import ConfigError
from tl_robust.inference import get
from tl_robust.inference.scoring import _others
from tl_robust.nodes.exposing import Exposing
from tl_robust.nodes.hands import Hands
from tl_robust.nodes.models import Model
from tl_robust.nodes.store import Store
from tl_robust.nodes.training import Training
from tl_robust.threats.base import PlannedCell
from tl_robust.threats.membership import MembershipPlay
from tl_robust.types import Exposure, ImageSet

QUICK = ["axes.seed=[0]", "recipe.select=last", "axes.common=[made_c]", "recipe.epochs=2"]


def cells(tiny: Path, attack: str, strategy: str, *overrides: str) -> tuple[PlannedCell, ...]:
    own = [f"axes.attack=[{attack}]", f"axes.strategy=[{strategy}]"]
    return make_plan(load(tiny, [*QUICK, *own, *overrides]).bench).cells


def play_of(tiny: Path, attack: str, strategy: str = "finetune", *overrides: str) -> MembershipPlay:
    (cell,) = cells(tiny, attack, strategy, *overrides)
    assert isinstance(cell.play, MembershipPlay)
    return cell.play


def trainings(model: Model | None) -> dict[str, list[Training]]:
    found: dict[str, list[Training]] = {}
    for node in model.nodes if model else ():
        if isinstance(node, Training):
            found.setdefault(node.data.domain, []).append(node)
    return found


def learned(play: MembershipPlay, shadows: bool = False) -> list[Model]:
    exposing = play.exposings[0]
    return [signal.models[-1] for signal in (exposing.shadows if shadows else exposing.victims)]


def contents(images: ImageSet) -> set[bytes]:
    return {image.numpy().tobytes() for image in images.images}


@pytest.mark.parametrize(("side", "domain"), [("target", "made_b"), ("source", "made_a")])
def test_members_are_by_content_the_images_that_each_training_is_given(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, side: str, domain: str
) -> None:
    own = [f"axes.attack=[{{name: rmia, side: {side}, pairs: 2}}]", "axes.strategy=[finetune]", "engine=local"]
    bench = load(tiny, [*QUICK, *own]).bench
    plan, store = make_plan(bench), Store(tiny.parent / "store")
    play = plan.cells[0].play
    assert isinstance(play, MembershipPlay)
    seen: dict[str, set[bytes]] = {}
    running: list[Training] = []
    loader, make = DomainModule.train_dataloader, Training.make

    def watched(module: DomainModule) -> Batches:
        batches = loader(module)
        images = module.data.images("train")
        for _, _, sample_id in batches:
            seen.setdefault(running[-1].key, set()).update(contents(images.take(sample_id)))
        return batches

    def noted(training: Training, hands: Hands, store: Store) -> Any:
        running.append(training)
        return make(training, hands, store)

    monkeypatch.setattr(DomainModule, "train_dataloader", watched)
    monkeypatch.setattr(Training, "make", noted)
    runner.run(plan, bench, store)
    exposing = play.exposings[0]
    record = store.load(exposing.KIND, exposing.key)
    pool = exposing.halves.pool
    for member, model in zip(record.member, learned(play), strict=True):
        (training,) = trainings(model)[domain]
        assert seen[training.key] == contents(pool.images.take(record.sample_id[member])), str(training)
    assert torch.equal(record.member[0::2], ~record.member[1::2])


def test_a_shadow_is_never_the_victim_or_its_partner() -> None:
    heads = torch.rand(4, 30, generator=torch.Generator().manual_seed(0)) < 0.5
    member = torch.stack([heads, ~heads], 1).flatten(0, 1)
    for wanted in (0, 2):
        inference = get("rmia", pairs=4, shadows=wanted)
        for model in range(8):
            others = _others(inference, model, member, None).tolist()
            assert {other // 2 for other in others}.isdisjoint({model // 2})
            assert len(set(others)) == len(others) == (wanted or 6)
            assert sum(other % 2 for other in others) == len(others) // 2, "as many of both halves"


def test_shadows_by_lineage_are_the_victims_and_by_recipe_those_of_scratch(tiny: Path) -> None:
    lineage = play_of(tiny, "{name: rmia, pairs: 2}")
    assert lineage.exposings[0].shadows == lineage.exposings[0].victims
    recipe = play_of(tiny, "{name: rmia, pairs: 2, knowledge: recipe}")
    scratch = play_of(tiny, "{name: rmia, pairs: 2}", "scratch")
    assert recipe.exposings[0].victims == lineage.exposings[0].victims
    assert [each.key for each in recipe.exposings[0].shadows] == [each.key for each in scratch.exposings[0].victims]
    assert recipe.beside["lineage"] == lineage.outcome


def test_shadows_of_another_parent_learn_the_same_halves_from_a_second_draw_of_it(tiny: Path) -> None:
    play = play_of(tiny, "{name: rmia, pairs: 2, knowledge: other_parent}")
    for victim, shadow in zip(learned(play), learned(play, True), strict=True):
        (own,), (other,) = trainings(victim)["made_a"], trainings(shadow)["made_a"]
        assert own.data == other.data
        assert own.key != other.key
        assert trainings(victim)["made_b"][0].data == trainings(shadow)["made_b"][0].data
    assert len({trainings(shadow)["made_a"][0].key for shadow in learned(play, True)}) == 1


@pytest.mark.parametrize("strategy", ["finetune", "{name: finetune, mode: probe}", "common_init"])
def test_strategies_share_coins_and_parent(tiny: Path, strategy: str) -> None:
    scratch, other = (play_of(tiny, "{name: rmia, pairs: 2}", name) for name in ("scratch", strategy))
    assert scratch.exposings[0].draws == other.exposings[0].draws
    halves = [[trainings(model)["made_b"][-1].data for model in learned(play)] for play in (scratch, other)]
    assert halves[0] == halves[1]
    roots = {trainings(model)["made_a" if "finetune" in strategy else "made_c"][0].key for model in learned(other)}
    assert len(roots) == 1


def test_of_the_source_whole_lineages_learn_halves_of_the_source_and_all_of_the_target(tiny: Path) -> None:
    play = play_of(tiny, "{name: rmia, pairs: 2, side: source}")
    found = [trainings(model) for model in learned(play)]
    assert len({each["made_a"][0].key for each in found}) == 4
    assert {each["made_b"][0].data.draw for each in found} == {None}
    assert play.exposings[0].victims[0].epochs == (0, 1, 2)


@pytest.mark.parametrize("strategy", ["scratch", "common_init"])
def test_a_model_that_does_not_descend_from_the_source_has_no_source_side(tiny: Path, strategy: str) -> None:
    attacks = "{name: rmia, pairs: 2}, {name: rmia, pairs: 2, side: source}"
    assert [cell.cell.view for cell in cells(tiny, attacks, f"finetune, {strategy}")].count("source") == 1
    with pytest.raises(ConfigError, match="needs a strategy whose B starts from a source that is trained here"):
        cells(tiny, attacks, strategy)


def test_without_a_parent_there_is_no_cell_of_shadows_by_recipe(tiny: Path) -> None:
    found = cells(tiny, "{name: rmia, pairs: 2, knowledge: recipe}", "scratch, finetune")
    assert [cell.cell.strategy for cell in found] == ["finetune"]
    with pytest.raises(ConfigError, match="starts from a parent"):
        cells(tiny, "{name: rmia, pairs: 2, knowledge: recipe}", "scratch")


DEFENSES = ["distill", "fine_pruning", "squeeze", "distill + squeeze"]


@pytest.mark.parametrize("defense", DEFENSES)
def test_under_a_defense_every_training_on_target_data_learns_the_half_alone(tiny: Path, defense: str) -> None:
    play = play_of(tiny, "{name: rmia, pairs: 2}", "finetune", f"axes.defense=['{defense}']")
    for draw, model in zip(play.exposings[0].draws, learned(play), strict=True):
        found = trainings(model)["made_b"]
        assert {training.data.draw for training in found} == {draw}
        assert len(found) == 1 + ("distill" in defense or "pruning" in defense)
    recipe = play_of(tiny, "{name: rmia, pairs: 2, knowledge: recipe}", "finetune", f"axes.defense=['{defense}']")
    for victim, shadow in zip(learned(recipe), learned(recipe, True), strict=True):
        assert "made_a" in trainings(victim)
        assert "made_a" not in trainings(shadow)
        assert len(trainings(shadow)["made_b"]) == len(trainings(victim)["made_b"])


def test_a_defense_that_chooses_what_is_learned_is_refused(tiny: Path) -> None:
    with pytest.raises(ConfigError, match=r"chooses what .* learns from, so its members are not known"):
        cells(tiny, "{name: rmia, pairs: 2}", "finetune", "axes.defense=[activation_clusters]")


def test_an_inference_is_keyed_by_scores_and_not_by_how_many_pairs_a_plan_names(tiny: Path) -> None:
    play = play_of(tiny, "{name: rmia, pairs: 3}")
    exposing = play.exposings[0]
    assert isinstance(exposing, Exposing)
    assert "pairs" not in dict(exposing.inference.settings)
    fewer = play_of(tiny, "{name: rmia, pairs: 2}")
    assert [each.key for each in fewer.exposings[0].victims] == [each.key for each in exposing.victims[:4]]
    assert replace(exposing, draws=exposing.draws[:4]).key != exposing.key


def test_a_cell_is_computed_and_its_start_is_the_parent_bit_for_bit(tiny: Path, tmp_path: Path) -> None:
    attacks = "{name: rmia, pairs: 2, side: source},{name: rmia, pairs: 2},{name: parent_gap, pairs: 2}"
    config = load(tiny, [*QUICK, f"axes.attack=[{attacks}]", "axes.strategy=[finetune]"])
    plan, store = make_plan(config.bench), Store(tmp_path / "store")
    done = runner.run(plan, config.bench, store)
    assert not done.failures
    by_side = {result.cell.view: result for result in done.results}
    assert {"auc", "tpr_at_1_percent", "train_gap", "cohort_accuracy", "null_auc"} <= by_side["target"].curves.keys()
    assert "retention_of_source" in by_side["source"].curves
    record = by_side["source"].outcome
    assert isinstance(record, Exposure)
    assert torch.equal(record.member[0::2], ~record.member[1::2])
    play = next(cell.play for cell in plan.cells if cell.cell.view == "source")
    assert isinstance(play, MembershipPlay)
    victim = play.exposings[0].victims[0]
    (parent,) = trainings(victim.models[-1])["made_a"]
    started = victim.models[0].load(store).state_dict()
    public = parent.load(store).state_dict()
    assert all(torch.equal(started[name], public[name]) for name in public)
    again = runner.run(plan, config.bench, store)
    assert [result.key for result in again.results] == [result.key for result in done.results]
