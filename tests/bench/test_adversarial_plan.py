"""Adversarial training in a bench: its eps and beta, whom it changes, and what is refused before anything runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tl_robust.bench import runner
from tl_robust.bench.plan import Plan, make_plan
from tl_robust.config import load
from tl_robust.errors import ConfigError
from tl_robust.nodes.models import WEIGHTS
from tl_robust.nodes.store import Store
from tl_robust.nodes.training import Training
from tl_robust.registry import Component
from tl_robust.threats.evasion import EvasionPlay

SMALL = ("axes.strategy=[finetune]", "axes.attack=[fgsm]", "axes.seed=[0]", "axes.view=[black]")


def plan_of(path: Path, *changes: str) -> Plan:
    return make_plan(load(path, [*SMALL, *changes]).bench)


def trained(plan: Plan) -> tuple[Training, Training]:
    (cell,) = plan.cells
    a, b = cell.scene.surrogate, cell.scene.victim
    assert isinstance(a, Training)
    assert isinstance(b, Training)
    return a, b


def settings(component: Component) -> dict[str, Any]:
    return dict(component.settings)


@pytest.mark.parametrize(
    ("grid", "middle", "largest"),
    [("0, 4/255, 16/255", 4, 16), ("0, 4/255, 8/255, 16/255, 32/255, 64/255", 16, 64), ("8/255", 8, 8)],
)
def test_the_eps_is_that_of_the_bench(tiny: Path, grid: str, middle: int, largest: int) -> None:
    for name, eps in (("pgd_at", middle), ("fgsm_rs", middle), ("trades", middle), ("origin_at", largest)):
        plan = plan_of(tiny, f"eps=[{grid}]", f"axes.defense=[{name}]")
        assert plan.cells[0].cell.defense == name, "as it is written"
        (part,) = trained(plan)[1].defense
        assert settings(part)["eps"] == pytest.approx(eps / 255)
    a, _ = trained(plan_of(tiny, f"eps=[{grid}]", "axes.defense=[robust_origin]"))
    assert settings(a.defense[0]) == {"eps": pytest.approx(middle / 255)}


def test_an_eps_may_be_a_fraction_and_is_the_same_training_as_the_benchs(tiny: Path) -> None:
    own = trained(plan_of(tiny, "axes.defense=[pgd_at]"))[1]
    assert trained(plan_of(tiny, "axes.defense=[{name: pgd_at, eps: 4/255}]"))[1].key == own.key
    assert trained(plan_of(tiny, "axes.defense=['pgd_at(eps=4/255)']"))[1].key == own.key
    assert str(own).endswith("(pgd_at(eps=4/255))")
    other = trained(plan_of(tiny, "axes.defense=[{name: pgd_at, eps: 16/255}]"))[1]
    assert other.key != own.key
    scaled = trained(plan_of(tiny, "eps_scale=kdd20", "axes.defense=[{name: pgd_at, eps: 4/255}]"))[1]
    assert settings(scaled.defense[0])["eps"] == pytest.approx(2 / 255), "in the scale of the file"


def test_the_weight_of_trades_follows_the_space(tiny: Path) -> None:
    changes = {"digits": 1.0, "square": 6.0}
    for space, beta in changes.items():
        plan = plan_of(tiny, f"space={space}", "axes.defense=[trades, {name: robust_origin, by: trades}]")
        first, second = (cell.scene for cell in plan.cells)
        assert settings(first.victim.defense[0])["beta"] == beta  # type: ignore[attr-defined]
        assert settings(second.surrogate.defense[0])["beta"] == beta  # type: ignore[attr-defined]
    plan = plan_of(tiny, "axes.defense=[{name: trades, beta: 3.0}]")
    assert settings(trained(plan)[1].defense[0])["beta"] == 3.0


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            ["axes.defense=[{name: pgd_at, eps: 32/255}]"],
            r"^defense 'pgd_at' trains at eps 32/255, and the bench attacks at 4/255 to 16/255: take one of these, or "
            r"add it to eps\.$",
        ),
        (["axes.defense=[{name: robust_origin, eps: 2/255}]"], r"^defense 'pgd_at' trains at eps 2/255, and the bench"),
        (
            ["axes.attack=[{name: fgsm, norm: l2}]", "axes.defense=[trades]"],
            r"^defense 'trades' takes its eps from the attacks of the bench, and none has one in the norm linf: give",
        ),
        (["axes.defense=[pgd_at]", "recipe.select=test"], r"^defense 'pgd_at' needs recipe\.select=best or last, got"),
        (
            ["axes.defense=[robust_origin]", "recipes.made_a.select=test"],
            r"^defense 'pgd_at' needs recipe\.select=best or last, got 'test'",
        ),
        (
            ["axes.defense=[robust_origin]", "axes.strategy=[scratch]"],
            r"^robust_origin changes nothing of scratch made_b, seed 0, which does not start from A: use finetune\.$",
        ),
        (
            ["axes.defense=[robust_origin]", "axes.strategy=[common_init]"],
            r"^robust_origin changes nothing of finetune made_b from made_c, seed 0, which does not start from A",
        ),
        (["axes.defense=[pgd_at + trades]"], r"only one defense can set the loss, got pgd_at and trades"),
        (["axes.defense=[squeeze + pgd_at]"], r"'pgd_at' changes the training, which comes first"),
        (["axes.defense=[dp + pgd_at]"], r"pgd_at looks at training images outside the account of dp"),
    ],
)
def test_what_cannot_be_is_one_sentence_before_anything_runs(tiny: Path, changes: list[str], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        plan_of(tiny, *changes)


def test_the_images_of_a_reach_b_under_every_strategy(tiny: Path) -> None:
    for strategy in ("scratch", "finetune", "common_init"):
        plan = plan_of(
            tiny, f"axes.strategy=[{strategy}]", "axes.defense=[none, origin_at]", "axes.view=[black,shadow]"
        )
        plain, _, defended, shadowed = (cell.scene for cell in plan.cells)
        a, b = defended.surrogate, defended.victim
        assert a.key == plain.surrogate.key
        assert isinstance(b, Training)
        assert b.others == (("origin", a),)
        assert b.parent == plain.victim.parent
        assert a in b.nodes
        shadow = b.again("shadow")
        assert shadow.key != b.key
        assert shadow.others == b.others, "A is public: the attacker has the very same one"
    assert shadowed.victim.key == b.key


def test_an_a_of_other_classes_is_not_asked(tiny: Path) -> None:
    folder = tiny.parent / "plugins"
    text = (folder / "made_a.py").read_text().replace('tuple("0123456789")', 'tuple("abcdefghij")')
    (folder / "letters.py").write_text(text)
    changes = ["axes.pair=[letters-made_b]", "axes.strategy=[scratch]"]
    plan_of(tiny, *changes, "axes.defense=[pgd_at]")
    with pytest.raises(
        ConfigError, match=r"^defense origin_at.* asks scratch letters, seed 0 for .* knows other class"
    ):
        plan_of(tiny, *changes, "axes.defense=[origin_at]")


def test_who_has_read_the_file_attacks_more_than_one_way(tiny: Path) -> None:
    expected = {
        "pgd_at": {"white": ["fgsm", "strong"], "black": ["fgsm"], "shadow": ["fgsm"]},
        "fgsm_rs": {"white": ["fgsm", "strong"], "black": ["fgsm"], "shadow": ["fgsm"]},
        "trades": {"white": ["fgsm", "fgsm(objective=margin)"], "black": ["fgsm"], "shadow": ["fgsm"]},
        "origin_at": {"white": ["fgsm"], "black": ["fgsm"], "shadow": ["fgsm"]},
        "robust_origin": {"white": ["fgsm"], "black": ["fgsm"], "shadow": ["fgsm"]},
    }
    for cell in plan_of(tiny, f"axes.defense=[{', '.join(expected)}]", "axes.view=[white,black,shadow]").cells:
        assert isinstance(cell.play, EvasionPlay)
        found = [str(group.attack).replace("strong(queries=200, steps=20, targets=3)", "strong")
                 for group in cell.play.groups]  # fmt: skip
        assert found == expected[cell.cell.defense][cell.cell.view]


def test_b_starts_from_the_robust_a_which_is_what_is_public(tiny: Path) -> None:
    defenses = "axes.defense=[none, robust_origin, robust_origin + pgd_at, {name: robust_origin, epochs: 5}]"
    plan = plan_of(tiny, defenses, "axes.view=[black]")
    plain, robust, both, longer = (cell.scene for cell in plan.cells)
    a = robust.surrogate
    assert isinstance(a, Training)
    assert a.parent == plain.surrogate, "warm"
    assert a.data == plain.surrogate.data  # type: ignore[attr-defined]
    assert robust.victim.parent == a
    assert not robust.victim.defense  # type: ignore[attr-defined]
    assert both.surrogate == a
    assert [part.name for part in both.victim.defense] == ["pgd_at"]  # type: ignore[attr-defined]
    assert both.victim.parent == a
    assert "from made_a (robust_origin(eps=4/255)) from made_a" in str(robust.victim)
    assert a.recipe.epochs == 2
    assert longer.surrogate.recipe.epochs == 5  # type: ignore[attr-defined]


@pytest.mark.slow
def test_a_bench_trains_and_judges_all_of_them(tiny: Path, tmp_path: Path) -> None:
    names = "pgd_at, fgsm_rs, trades, origin_at, robust_origin"
    config = load(tiny, [*SMALL, f"axes.defense=[none, {names}]", "axes.view=[white,black]",
                         "recipe.epochs=2", "eps=[8/255]"])  # fmt: skip
    plan, store = make_plan(config.bench), Store(tmp_path / "store")
    assert not runner.run(plan, config.bench, store).failures
    keys = {cell.scene.victim.key for cell in plan.cells}
    assert len(keys) == 6
    for planned in plan.cells:
        victim = planned.scene.victim
        assert isinstance(victim, Training)
        said = store.manifest(WEIGHTS, victim.key)["made"]
        scores = any(part.name in ("pgd_at", "fgsm_rs", "trades") for part in victim.defense)
        assert said.get("remark", "").startswith("under attack ") == scores
        assert ("under attack " in victim.note(said)) == scores
    again = Store(tmp_path / "again")
    alone = load(tiny, [*SMALL, "axes.defense=[pgd_at]", "recipe.epochs=2", "eps=[8/255]"])
    assert not runner.run(make_plan(alone.bench), alone.bench, again).failures
    (pgd,) = make_plan(alone.bench).cells
    first, second = (each.load(WEIGHTS, pgd.scene.victim.key) for each in (store, again))
    assert all(torch.equal(first[name], second[name]) for name in first), "draws follow from the key alone"


def test_poison_among_the_images_of_a_robust_origin_is_refused(tiny: Path) -> None:
    poisoned = ["epochs=[0,1]", "axes.attack=[{name: patch, into: source, rate: 0.5, side: 2, margin: 0}]"]
    says = r"defense robust_origin.* needs clean images of made_a, and into: source poisons them: use into: target, or"
    with pytest.raises(ConfigError, match=says):
        plan_of(tiny, "axes.defense=[{name: robust_origin, eps: 8/255}]", *poisoned)


def test_a_model_that_nothing_was_trained_for_the_target_has_no_defense_to_join_in(tiny: Path) -> None:
    for name, says in (("origin_at", "is not trained for the target"), ("pgd_at", "changes nothing with strategy")):
        with pytest.raises(ConfigError, match=says):
            plan_of(tiny, f"axes.defense=[{name}]", "axes.strategy=[as_is]")
