"""Cells of other settings with the same outcome are both named; coincidence and sound design are not blamed."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.trust.answered import answers, labels, made
from tl_robust.bench import runner
from tl_robust.bench.plan import make_plan
from tl_robust.config import load
from tl_robust.nodes.store import Store
from tl_robust.trust import CHECKS
from tl_robust.trust.checks.distinct_outcomes import Placed, twins
from tl_robust.types import Evidence, Outcome, Verdict

LABEL = labels(200, 10)
WEAK = answers(LABEL, 100, 10)  # 100 samples are wrong, each in its own way


def varied(wrong: int = 100) -> Outcome:
    """An outcome of which ``wrong`` samples go their own way when attacked, and lose or gain nothing."""
    adv = answers(LABEL, 200 - wrong, 10, seed=1)
    return made(LABEL, LABEL, torch.stack([LABEL, adv]))


def placed(key: str, outcome: Outcome, **change: object) -> Placed:
    settings = {"surrogate": "a", "attack": "fgsm", "victim": "b", "early": False} | change
    at = {name: value for name, value in settings.items() if name != "early"} | {"seed": key}
    return Placed(at=at, key=key, outcome=outcome, **settings)  # type: ignore[arg-type]


def test_both_cells_are_named_by_what_differs() -> None:
    first, second = placed("1", varied(), victim="b"), placed("2", varied(), victim="c")
    found = twins([first, second])
    assert found == [("victim b, seed 1 and victim c, seed 2",), ("victim c, seed 2 and victim b, seed 1",)]
    verdict = CHECKS["distinct_outcomes"].verdict(Evidence(first.outcome, twins=found[0]))
    assert verdict == Verdict("amber", (
        "Outcomes are equal bit for bit: victim b, seed 1 and victim c, seed 2: what differs there changes nothing, or "
        "results were copied.",
    ))  # fmt: skip


def test_many_twins_are_counted() -> None:
    many = twins([placed(str(seed), varied(), victim=str(seed)) for seed in range(6)])
    assert [len(found) for found in many] == [5] * 6
    (reason,) = CHECKS["distinct_outcomes"].verdict(Evidence(varied(), twins=many[0])).reasons
    assert reason.count(" and victim ") == 3
    assert " and 2 more: " in reason


@pytest.mark.parametrize("field", ["clean_b", "adv_b", "adv_a", "size", "zero_gradient", "loss_rise", "sample_id"])
def test_one_other_bit_is_another_outcome(field: str) -> None:
    changed = getattr(varied(), field).clone()
    last = (..., -1)
    changed[last] = ~changed[last] if changed.dtype == torch.bool else changed[last] + 1
    other = replace(varied(), **{field: changed})
    assert twins([placed("1", varied(), victim="b"), placed("2", other, victim="c")]) == [(), ()]


def test_one_outcome_in_several_cells_is_sound_design() -> None:
    """A craft group is judged once for all cells that share it."""
    assert twins([placed("1", varied(), victim="b"), placed("1", varied(), victim="c")]) == [(), ()]


@pytest.mark.parametrize(("wrong", "level"), [(60, True), (20, False)])
@pytest.mark.parametrize(
    "change", [{"victim": "c"}, {"surrogate": "x"}, {"surrogate": "x", "victim": "c"}, {"attack": "noise"}], ids=str
)
def test_few_samples_of_their_own_may_agree_by_coincidence(change: dict[str, str], wrong: int, level: bool) -> None:
    found = twins([placed("1", varied(wrong)), placed("2", varied(wrong), **change)])
    assert [bool(one) for one in found] == [level, level]


def test_exactly_thirty_tell() -> None:
    """Classes 0 to 9 have 20 samples each, of which the first 17 do as their class does."""
    order = torch.arange(200) // 10
    for usual, told in ((17, True), (18, False)):
        adv = torch.where(order < usual, LABEL, (LABEL + 1 + order - usual) % 10)
        outcome = made(LABEL, LABEL, torch.stack([LABEL, adv]))
        assert bool(twins([placed("1", outcome), placed("2", outcome, victim="c")])[0]) == told


def test_what_all_models_do_tells_nothing() -> None:
    """All right, or all of one class: any two such models agree."""
    for given in (LABEL, torch.zeros_like(LABEL), (LABEL + 1) % 10):
        same = made(LABEL, given)
        assert twins([placed("1", same), placed("2", same, victim="c", surrogate="x")]) == [(), ()]


def test_clean_mistakes_of_one_model_tell_nothing_about_attacks() -> None:
    same = made(LABEL, WEAK)
    assert twins([placed("1", same), placed("2", same, attack="noise")]) == [(), ()]
    assert all(twins([placed("1", same), placed("2", same, victim="c")]))


def test_draws_of_another_seed_may_be_none() -> None:
    """One model attacked by an attack without draws, as a public model is in all seeds; its victim is the same too."""
    assert twins([placed("1", varied()), placed("2", varied())]) == [(), ()]


@pytest.mark.parametrize("early", [False, True])
@pytest.mark.parametrize(("rising", "told"), [(9, False), (10, True)])
def test_losses_agree_to_the_last_bit(early: bool, rising: int, told: bool) -> None:
    """Nothing is fooled; where crafting ends early, only samples that stand to the end had all steps."""
    rise = torch.where(torch.arange(200) < rising, torch.rand(200), 0.0)
    same = made(LABEL, LABEL, loss_rise=rise)
    cells = [placed("1", same, early=early), placed("2", same, early=early, attack="noise")]
    assert bool(twins(cells)[0]) == told


def test_an_attack_that_ended_early_may_be_a_longer_one() -> None:
    """All are fooled in the first steps."""
    adv = answers(LABEL, 0, 10, seed=1)
    same = made(LABEL, LABEL, torch.stack([LABEL, adv]), loss_rise=torch.rand(200))
    cells = [placed("1", same, early=True), placed("2", same, early=True, attack="pgd(steps=40)")]
    assert twins(cells) == [(), ()]
    assert all(twins([replace(cell, early=False) for cell in cells]))


UNUSED = """
from dataclasses import dataclass
from typing import ClassVar
from tl_robust.attacks import ATTACKS, Attack

@ATTACKS.register
@dataclass(frozen=True)
class Unused(Attack):
    ITERATES: ClassVar[bool] = False
    strength: float = 1.0

    def perturb(self, problem, eps):
        for size in eps:
            yield problem.clean + size * problem.gradient(problem.clean).gradient.sign()
"""
BENCH = [
    "axes.network=[{name: dtn, width: 0.1}]", "recipe.epochs=3", "eps=[0,8/255,32/255]",
    "axes.strategy=[scratch,finetune]", "axes.seed=[0,1]",
]  # fmt: skip


def amber(tiny: Path, *overrides: str) -> list[str]:
    """Reasons of this check in a bench, of all cells."""
    config = load(tiny, [*BENCH, *overrides])
    finished = runner.run(make_plan(config.bench), config.bench, Store(tiny.parent / "r" / "store"))
    assert not finished.failures
    assert not finished.missing
    reasons = [reason for result in finished.results for reason in result.verdict.reasons]
    return [reason for reason in reasons if reason.startswith("Outcomes are equal")]


def test_a_bench_names_an_option_that_is_not_used(tiny: Path) -> None:
    (tiny.parent / "plugins" / "unused.py").write_text(UNUSED)
    reasons = amber(tiny, "axes.attack=[unused,{name: unused, strength: 2.0}]")
    assert {"attack unused and attack unused(strength=2.0)", "attack unused(strength=2.0) and attack unused"} == {
        reason.split(": ")[1] for reason in reasons
    }
    assert len(reasons) >= 4  # where 80 images say enough


def test_a_bench_of_attacks_seeds_and_strategies_raises_no_false_alarm(tiny: Path) -> None:
    assert amber(tiny, "axes.attack=[fgsm,{name: fgsm, objective: margin},pgd,{name: pgd, steps: 11}]") == []
