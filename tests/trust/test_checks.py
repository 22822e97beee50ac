"""Each check: silent on a good outcome, and clear on a made bad one."""

import pytest
import torch
from torch import Tensor

from tl_robust.trust import CHECKS, judge
from tl_robust.trust.base import worst
from tl_robust.types import Outcome, Verdict

EPS = torch.tensor([0, 2, 8, 32], dtype=torch.float64) / 255
N = 200


def outcome(right_a: list[int], right_b: list[int] | None = None, **change: Tensor) -> Outcome:
    """Of N samples the first ``right[k]`` are right at each eps; class 0 is right."""
    place = torch.arange(N)

    def classes(right: list[int]) -> Tensor:
        return torch.stack([(place >= count).long() for count in right])

    fields = {
        "sample_id": place, "label": torch.zeros(N, dtype=torch.int64), "clean_a": classes(right_a)[0],
        "clean_b": classes(right_a)[0], "adv_a": classes(right_a), "adv_b": classes(right_b or right_a),
        "size": torch.zeros(4, N), "eps": EPS, "zero_gradient": torch.zeros(N, dtype=torch.bool),
        "valid": torch.ones(4, N, dtype=torch.bool), "same_labels": torch.ones(N, dtype=torch.bool),
    }  # fmt: skip
    return Outcome(**fields | change)


def first(count: int) -> Tensor:
    return torch.arange(N) < count


@pytest.mark.parametrize("name", CHECKS.names())
def test_every_check_is_green_and_silent_on_a_good_outcome(name: str) -> None:
    assert CHECKS[name](outcome([190, 150, 80, 10])) == Verdict("green", ())
    assert judge(outcome([190, 150, 80, 10])) == Verdict()


@pytest.mark.parametrize("name", CHECKS.names())
def test_every_check_works_on_one_eps_and_one_sample(name: str) -> None:
    one = outcome([190, 150, 80, 10])
    single = Outcome(
        **one.tensors()
        | {key: getattr(one, key)[:1] for key in ("adv_a", "adv_b", "size", "eps", "valid")}
    )  # fmt: skip
    assert CHECKS[name](single) == Verdict()
    assert CHECKS[name](single.take(torch.tensor([3]))) == Verdict()


@pytest.mark.parametrize("name", CHECKS.names())
def test_every_check_says_what_it_is_for(name: str) -> None:
    assert CHECKS[name].__doc__
    assert any(level in CHECKS[name].__doc__.lower() for level in ("amber", "red"))


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
    verdict = CHECKS["falling_curve"](outcome(rights))
    assert verdict.level == "amber"
    assert verdict.reasons == (f"The surrogate's accuracy {says}: the attack is weak there.",)


def test_noise_is_no_rise() -> None:
    """Two standard errors: at 50 % of 200 that is 2 sqrt(0.25 / 200) = 7.07 % = 14 samples; at 0 % it is 2 samples."""
    check = CHECKS["falling_curve"]
    assert check(outcome([190, 100, 114, 10])).level == "green"
    assert check(outcome([190, 100, 115, 10])).level == "amber"
    assert check(outcome([190, 0, 2, 0])).level == "green"
    assert check(outcome([190, 0, 3, 0])).level == "amber"


def test_the_curve_of_the_victim_may_rise() -> None:
    assert judge(outcome([190, 150, 80, 10], [190, 20, 180, 190])) == Verdict()


@pytest.mark.parametrize("bad", [1, 30])
def test_one_image_out_of_its_budget_is_red(bad: int) -> None:
    valid = torch.ones(4, N, dtype=torch.bool)
    valid[2, :bad] = False
    verdict = CHECKS["within_budget"](outcome([190, 150, 80, 10], valid=valid))
    assert verdict.level == "red"
    assert verdict.reasons == (f"{bad} of 800 adversarial images are not finite, leave [0,1] or eps.",)


@pytest.mark.parametrize(
    ("zeros", "level", "share"),
    [(0, "green", ""), (2, "green", ""), (3, "amber", "1.5%"), (20, "amber", "10.0%"), (21, "red", "10.5%")],
)
def test_zero_gradients(zeros: int, level: str, share: str) -> None:
    verdict = CHECKS["zero_gradients"](outcome([190, 150, 80, 10], zero_gradient=first(zeros)))
    assert verdict.level == level
    assert verdict.reasons == ((f"The surrogate's gradient is zero for {share} of samples.",) if share else ())


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
    verdict = judge(bad)
    assert verdict.level == "red"
    assert set(verdict.reasons) >= {reason for name in CHECKS.names() for reason in CHECKS[name](bad).reasons}
    assert len(verdict.reasons) == 3
