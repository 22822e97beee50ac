"""Each check: silent on a good outcome, and clear on a made bad one."""

from typing import Any

import pytest
import torch
from torch import Tensor

from tl_robust.contracts.kinds.trust_check import outcome
from tl_robust.trust import CHECKS, judge
from tl_robust.trust.base import measured, worst
from tl_robust.trust.paired import excess, match
from tl_robust.types import Evidence, Examination, Outcome, Verdict

EPS = torch.tensor([0, 2, 8, 32], dtype=torch.float64) / 255
N = 200
OF_EVASION = [name for name in CHECKS.names() if issubclass(Outcome, CHECKS[name].of)]


def seen(eps: Tensor = EPS[1:], **values: Tensor) -> Examination:
    """The examination by one check of the first 64 samples: ``seen(check__name=...)``."""
    return Examination(torch.arange(64), eps, {name.replace("__", "/"): value for name, value in values.items()})


def verdict(name: str, found: Outcome, **evidence: Any) -> Verdict:
    return CHECKS[name].verdict(Evidence(found, **evidence))


def rows(*counts: int, samples: int = 64, last: bool = False) -> Tensor:
    """Bool [K,samples]: the first (or last) ``counts[k]`` in row k."""
    found = torch.stack([torch.arange(samples) < count for count in counts])
    return found.flip(1) if last else found


def first(count: int) -> Tensor:
    return torch.arange(N) < count


def test_all_checks_together_are_silent_on_a_good_outcome() -> None:
    assert judge(Evidence(outcome([190, 150, 80, 10]))) == Verdict()


@pytest.mark.parametrize(
    ("rights", "says"),
    [
        ([190, 100, 160, 10], "rises to 80.0% at eps 0.03137 after 50.0%"),
        ([190, 100, 90, 140], "rises to 70.0% at eps 0.1255 after 45.0%"),
        ([190, 0, 0, 20], "rises to 10.0% at eps 0.1255 after 0.0%"),
        ([190, 100, 110, 120], "rises to 60.0% at eps 0.1255 after 50.0%"),  # bit by bit
        ([100, 140, 10, 190], "rises to 95.0% at eps 0.1255 after 5.0%"),  # the largest rise is told
    ],
)
def test_a_rising_curve_of_the_surrogate_is_amber(rights: list[int], says: str) -> None:
    found = verdict("falling_curve", outcome(rights))
    assert found.level == "amber"
    assert found.reasons == (f"The surrogate's accuracy {says}: the attack is weak there.",)


def test_noise_is_no_rise() -> None:
    """Two standard errors: at 50 % of 200 that is 2 sqrt(0.25 / 200) = 7.07 % = 14 samples; at 0 % it is 2 samples."""
    assert verdict("falling_curve", outcome([190, 100, 114, 10])).level == "green"
    assert verdict("falling_curve", outcome([190, 100, 115, 10])).level == "amber"
    assert verdict("falling_curve", outcome([190, 0, 2, 0])).level == "green"
    assert verdict("falling_curve", outcome([190, 0, 3, 0])).level == "amber"


def test_the_curve_of_the_victim_may_rise() -> None:
    assert judge(Evidence(outcome([190, 150, 80, 10], [190, 20, 180, 190]))) == Verdict()


@pytest.mark.parametrize("bad", [1, 30])
def test_one_image_out_of_its_budget_is_red(bad: int) -> None:
    valid = torch.ones(4, N, dtype=torch.bool)
    valid[2, :bad] = False
    found = verdict("within_budget", outcome([190, 150, 80, 10], valid=valid))
    assert found.level == "red"
    assert found.reasons == (f"{bad} of 800 adversarial images are not finite, leave [0,1] or eps.",)


@pytest.mark.parametrize(
    ("zeros", "level", "share"),
    [(0, "green", ""), (2, "green", ""), (3, "amber", "1.5%"), (20, "amber", "10.0%"), (21, "red", "10.5%")],
)
def test_zero_gradients(zeros: int, level: str, share: str) -> None:
    found = verdict("zero_gradients", outcome([190, 150, 80, 10], zero_gradient=first(zeros)))
    assert found.level == level
    assert found.reasons == ((f"The surrogate's gradient is zero for {share} of samples.",) if share else ())


def test_the_worst_level_wins_and_every_reason_is_kept_once() -> None:
    green, amber, red = Verdict(), Verdict("amber", ("a", "both")), Verdict("red", ("both", "r"))
    assert worst([]) == green
    assert worst([green, green]) == green
    assert worst([green, amber]) == amber
    assert worst([red, green, amber]) == Verdict("red", ("both", "r", "a"))
    assert worst([amber, red]).level == worst([red, amber]).level == "red"
    assert worst([amber, amber]) == amber


def test_the_judge_runs_every_check() -> None:
    valid = torch.ones(4, N, dtype=torch.bool)
    valid[1, 0] = False
    bad = outcome([190, 100, 160, 10], valid=valid, zero_gradient=first(10))
    found = judge(Evidence(bad))
    assert found.level == "red"
    assert set(found.reasons) >= {reason for name in OF_EVASION for reason in verdict(name, bad).reasons}
    assert len(found.reasons) == 3


GOOD = outcome([190, 150, 80, 10])
BLACK = outcome([190, 150, 80, 10], [190, 180, 150, 80])


@pytest.mark.parametrize("over", [0, 1, 5])
def test_rounding_may_add_half_a_gray_level_and_no_more(over: int) -> None:
    allowed = EPS[:, None].float() + 0.5 / 255
    size = allowed.repeat(1, N)
    size[1, :over] += 0.1 / 255
    examined = seen(within_budget__rounding=torch.tensor([0.5 / 255], dtype=torch.float64))
    found = verdict("within_budget", outcome([190, 150, 80, 10], size=size), surrogate=examined)
    assert found.level == ("red" if over else "green")
    assert all(reason.startswith(f"{over} of 800 adversarial images exceed") for reason in found.reasons)


@pytest.mark.parametrize(("alone", "level"), [(0, "green"), (6, "green"), (7, "amber"), (15, "amber"), (16, "red")])
def test_excess_by_the_standard_errors_of_mcnemar(alone: int, level: str) -> None:
    """With no sample for the second alone, n for the first are sqrt(n) standard errors: 7 for 2.5, 16 for 4."""
    assert excess(rows(20, 30 + alone), rows(25, 30)).level == level
    assert excess(rows(30), rows(30 + alone)).level == "green"


def test_excess_weighs_both_sides_and_shares() -> None:
    """30 against 10 alone: 20 / sqrt(40) = 3.2 standard errors; 20 of 1000 samples are 2 %, too few in any case."""
    first, second = rows(30), rows(10, last=True)
    found = excess(first, second)
    assert (found.level, found.first, found.second) == ("amber", 30 / 64, 10 / 64)
    assert excess(rows(20), rows(20, last=True)).level == "green"
    assert excess(rows(20, samples=1000), rows(0, samples=1000)).level == "green"  # 4.5 standard errors, 2.0 %
    assert excess(rows(21, samples=1000), rows(0, samples=1000)).level == "amber"
    assert excess(rows(30), rows(0), 0.5, 0.9).level == "green"
    assert excess(rows(3, 40, 5), rows(0, 0, 0)).index == 1


def test_match_finds_what_both_hold() -> None:
    here, there = match(torch.tensor([7, 3, 9, 1]), torch.tensor([1, 2, 7]))
    assert here.tolist() == [3, 0]
    assert there.tolist() == [0, 2]


def test_one_step_may_be_weaker_but_not_stronger() -> None:
    def level(fgsm: Tensor, pgd: Tensor) -> str:
        examined = seen(beats_one_step__fgsm=fgsm, beats_one_step__pgd=pgd)
        assert verdict("beats_one_step", GOOD, victim=examined).level == "green"  # crafting is the surrogate's
        single = verdict("beats_one_step", GOOD, surrogate=examined, iterates=False)
        assert single == verdict("beats_one_step", GOOD, surrogate=examined)
        return single.level

    assert level(rows(5, 10, 20), rows(5, 60, 64)) == "green"
    assert level(rows(5, 60, 64), rows(5, 54, 64)) == "green"
    assert level(rows(5, 30, 64), rows(5, 20, 64)) == "amber"
    assert level(rows(5, 30, 64), rows(5, 60, 20)) == "red"


@pytest.mark.parametrize(
    ("right", "fooled", "classes", "level"),
    [(64, 64, 10, "green"), (64, 63, 10, "green"), (64, 61, 10, "amber"), (64, 50, 10, "red"), (64, 0, 1, "amber"),
     (0, 0, 10, "green"), (5, 5, 2, "green"), (1, 0, 2, "green"), (5, 2, 2, "red")],
)  # fmt: skip
def test_an_attack_without_a_budget_leaves_nothing(right: int, fooled: int, classes: int, level: str) -> None:
    examined = seen(
        unbounded__right=rows(right)[0], unbounded__fooled=rows(fooled)[0], unbounded__classes=torch.tensor([classes])
    )
    assert verdict("unbounded", GOOD, surrogate=examined).level == level


@pytest.mark.parametrize(
    ("noise", "pgd", "level"),
    [([0, 0, 0], [0, 0, 0], "green"), ([0, 1, 60], [3, 59, 64], "green"), ([60, 60, 60], [62, 63, 64], "green"),
     ([0, 20, 20], [0, 41, 64], "green"), ([0, 22, 22], [0, 41, 64], "amber"), ([0, 12, 30], [0, 1, 2], "red"),
     ([0, 3, 3], [0, 0, 0], "green")],
)  # fmt: skip
def test_noise_does_less(noise: list[int], pgd: list[int], level: str) -> None:
    examined = seen(beats_noise__noise=rows(*noise), beats_noise__pgd=rows(*pgd), beats_noise__right=rows(64)[0])
    assert verdict("beats_noise", GOOD, surrogate=examined).level == level


@pytest.mark.parametrize(("found", "level"), [(0, "green"), (3, "green"), (4, "amber"), (12, "amber"), (13, "red")])
def test_search_finds_little(found: int, level: str) -> None:
    examined = seen(beats_search__found=rows(found)[0], beats_search__right=rows(62)[0])
    assert verdict("beats_search", GOOD, surrogate=examined).level == level


def longer(pgd: int, more: int) -> Examination:
    return seen(
        enough_steps__right=rows(64)[0], enough_steps__pgd=rows(pgd), enough_steps__longer=rows(more),
        enough_steps__place=torch.tensor([1]),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("pgd", "more", "level"),
    [(30, 36, "green"), (30, 37, "amber"), (30, 46, "amber"), (30, 47, "red"), (30, 60, "red"), (64, 0, "green")],
)  # of 64 samples 6 and 16 are 9.4 % and 25.0 %
def test_more_steps_change_little(pgd: int, more: int, level: str) -> None:
    broken = outcome([64, 0, 0, 0])
    assert verdict("enough_steps", broken, surrogate=longer(pgd, more)).level == level
    assert verdict("enough_steps", broken, surrogate=longer(pgd, more), iterates=False).level == "green"
    assert verdict("enough_steps", BLACK, surrogate=longer(pgd, more)).level == level


def test_the_attack_itself_is_compared_with_more_steps_on_the_same_samples() -> None:
    """At eps 8/255 the attack leaves the first 40 of the examined 64 right: it fools 24, the longer one all."""
    weak = outcome([190, 50, 40, 40])
    found = verdict("enough_steps", weak, surrogate=longer(62, 64))
    assert found.level == "red"
    assert "100% of samples but the attack on 38% at eps 0.03137" in found.reasons[0]
    assert verdict("enough_steps", outcome([190, 50, 5, 0]), surrogate=longer(62, 64)).level == "green"
    transferred = outcome([190, 50, 40, 40], [190, 180, 150, 80])
    assert verdict("enough_steps", transferred, surrogate=longer(62, 64)).level == "green"


@pytest.mark.parametrize(("own", "level"), [(0, "green"), (80, "green"), (90, "amber"), (150, "red")])
def test_the_same_attack_on_the_victim_does_what_transfer_does(own: int, level: str) -> None:
    white = outcome([190, own, 20, 0])
    transfer = outcome([190, 150, 80, 10], [190, 78, 90, 20])
    found = verdict("beats_transfer", transfer, beside={"white": white})
    assert found.level == level
    assert verdict("beats_transfer", transfer, beside={"white": white}, iterates=False).level == "green"
    order = torch.randperm(N, generator=torch.Generator().manual_seed(0))
    assert verdict("beats_transfer", transfer, beside={"white": white.take(order)}) == found
    assert verdict("beats_transfer", white).level == "green"


@pytest.mark.parametrize(("pgd", "level"), [(64, "green"), (40, "green"), (30, "amber"), (10, "red")])
def test_pgd_on_the_victim_does_what_transfer_does(pgd: int, level: str) -> None:
    """The last 40 of the 64 examined are fooled by transfer at 8/255."""
    transfer = outcome([190, 150, 80, 10], [190, 60, 24, 20])
    examined = seen(EPS[2:3], beats_transfer__pgd=rows(pgd, last=True), beats_transfer__right=rows(64)[0])
    assert verdict("beats_transfer", transfer, victim=examined, iterates=False).level == level
    assert verdict("beats_transfer", transfer, surrogate=examined).level == "green"


@pytest.mark.parametrize(("falls", "level"), [(0, "green"), (2, "green"), (3, "amber"), (5, "amber"), (6, "red")])
def test_the_loss_rises(falls: int, level: str) -> None:
    """Ten samples stand at every eps."""
    rise = torch.where(first(falls), -1.0, 0.0)
    made = outcome([190, 150, 80, 10], loss_rise=rise)
    assert verdict("rising_loss", made).level == level
    assert verdict("rising_loss", made, iterates=False).level == "green"
    assert verdict("rising_loss", outcome([190, 150, 80, 9], loss_rise=-torch.ones(N))).level == "green"


@pytest.mark.parametrize("name", ["repeatable__change", "batch_free__change", "eval_mode__training"])
def test_what_speaks_of_the_judging_looks_at_the_victim_too(name: str) -> None:
    def sample(value: int) -> Examination:
        return seen(**{name: torch.tensor([value]), "batch_free__again": torch.zeros(1)})

    check, good, bad = name.partition("__")[0], sample(0), sample(1)
    assert verdict(check, BLACK, surrogate=good, victim=bad).level == "red"
    assert verdict(check, BLACK, surrogate=good, victim=bad).reasons[0].startswith("The victim")
    assert verdict(check, BLACK, surrogate=bad, victim=good).reasons[0].startswith("The surrogate")
    assert len(verdict(check, GOOD, surrogate=bad, victim=bad).reasons) == 1
    assert len(verdict(check, BLACK, surrogate=bad, victim=sample(1)).reasons) == 2


@pytest.mark.parametrize(
    ("lowest", "total", "level"),
    [(0.0, 1.0, "red"), (0.02, 1.0, "red"), (-0.5, 1.0, "green"), (-1e-3, 1.0, "green"), (0.0, 1.01, "green"),
     (0.0, 0.0, "green")],
)  # fmt: skip
def test_probabilities_are_not_negative_and_sum_to_one(lowest: float, total: float, level: str) -> None:
    """Logits may sum to 1 by chance, or all be positive, and are logits still."""
    lows, sums = torch.full((64,), lowest).double(), torch.full((64,), total).double()
    assert verdict("logits", GOOD, surrogate=seen(logits__lowest=lows, logits__sum=sums)).level == level
    lows[5], sums[9] = 0.0 if lowest < 0 else -0.1, 1.0  # one other sample is enough to tell logits
    assert verdict("logits", GOOD, surrogate=seen(logits__lowest=lows, logits__sum=sums)).level == "green"


def test_an_examination_without_a_check_s_measurements_is_silent() -> None:
    assert list(measured(Evidence(GOOD, surrogate=seen(other__x=torch.ones(1))), "repeatable")) == []
    assert judge(Evidence(GOOD, surrogate=seen(), victim=seen())) == Verdict()
