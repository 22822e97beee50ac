"""Four domains, all pairs, all strategies, every C: sixteen trainings a seed."""

from dataclasses import replace
from pathlib import Path

from tl_robust.bench.plan import make_plan
from tl_robust.config import Config, load
from tl_robust.nodes.crafting import CraftGroup

ALL_PAIRS = [f"made_{a}-made_{b}" for a in "abcd" for b in "abcd" if a != b]
EVERY = [
    f"axes.pair=[{','.join(ALL_PAIRS)}]",
    "axes.common=[made_a,made_b,made_c,made_d]",
    "axes.attack=[fgsm]",
    "axes.view=[black]",
]


def _keys(config: Config) -> set[str]:
    return {training.key for training in make_plan(config.bench).trainings}


def test_sixteen_trainings_serve_all_pairs_strategies_and_commons(tiny: Path) -> None:
    plan = make_plan(load(tiny, [*EVERY, "axes.seed=[0]"]).bench)
    settings = {(c.cell.source, c.cell.target, c.cell.strategy, c.cell.common) for c in plan.cells}
    assert len(settings) == len(plan.cells) == 48
    assert len(plan.trainings) == 16
    assert sum(training.parent is None for training in plan.trainings) == 4


def test_seeds_share_no_training(tiny: Path) -> None:
    assert len(make_plan(load(tiny, [*EVERY, "axes.seed=[0,1,2]"]).bench).trainings) == 48


def test_parents_come_before_children(tiny: Path) -> None:
    seen: set[str] = set()
    for training in make_plan(load(tiny, EVERY).bench).trainings:
        assert training.parent is None or training.parent.key in seen
        seen.add(training.key)


def test_common_init_is_finetune_of_another_edge(tiny: Path) -> None:
    common = make_plan(load(tiny, ["axes.strategy=[common_init]"]).bench)
    finetune = make_plan(load(tiny, ["axes.strategy=[finetune]", "axes.pair=[made_c-made_a,made_c-made_b]"]).bench)
    assert {t.key for t in common.trainings} == {t.key for t in finetune.trainings}


def test_scratch_and_finetune_share_the_surrogate_and_its_craft_group(tiny: Path) -> None:
    plan = make_plan(load(tiny, ["axes.strategy=[scratch,finetune]", "axes.attack=[fgsm]", "axes.seed=[0]"]).bench)
    assert len(plan.cells) == 4
    victims = sorted(len(node.victims) for node in plan.nodes if isinstance(node, CraftGroup))
    assert victims == [1, 1, 2]  # two white-box, one shared black-box


def test_whatever_can_change_weights_changes_the_key(tiny: Path) -> None:
    plain = _keys(load(tiny))
    for change in (
        "recipe.lr=0.02",
        "recipe.val_share=0.2",
        "axes.network=[{name: dtn, width: 0.1}]",
        "data.train_limit=60",
        "trainer.precision=bf16-mixed",
        "axes.seed=[5]",
    ):
        assert not plain & _keys(load(tiny, [change])), change


def test_what_cannot_change_weights_leaves_the_key(tiny: Path) -> None:
    plain = _keys(load(tiny))
    for change in (
        "trainer.accelerator=auto",
        "attack_batch=7",
        "eps=[0.5]",
        "data.test_limit=10",
        "results=elsewhere",
    ):
        assert plain == _keys(load(tiny, [change])), change


def test_the_key_of_a_child_contains_its_parents(tiny: Path) -> None:
    plan = make_plan(load(tiny, ["axes.strategy=[finetune]", "axes.seed=[0]"]).bench)
    child = plan.trainings[-1]
    assert child.parent is not None
    other = replace(child, parent=replace(child.parent, seed=9))
    assert other.key != child.key
    assert child.spec["parent"] == child.parent.key


def test_a_recipe_can_differ_for_a_domain(tiny: Path) -> None:
    plan = make_plan(load(tiny, ["recipes.made_a.epochs=7"]).bench)
    assert {t.recipe.epochs for t in plan.trainings if t.data.domain == "made_a"} == {7}
    assert {t.recipe.epochs for t in plan.trainings if t.data.domain != "made_a"} == {2}
