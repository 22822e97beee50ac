"""The worst case over attacks, sample by sample; what the plain attack says too much; and the check that tells it."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as drawn
from torch import Tensor

from tl_robust import metrics
from tl_robust.defenses import parse
from tl_robust.trust import CHECKS
from tl_robust.types import Evidence, Outcome, Verdict

EPS = torch.tensor([0.0, 0.1], dtype=torch.float64)


def outcome(label: list[int], clean_b: list[int], adv_b: list[list[int]], number: int = 0) -> Outcome:
    """Every other value tells which outcome it is from."""
    n, k = len(label), len(adv_b)
    return Outcome(
        sample_id=torch.arange(n), label=torch.tensor(label), clean_a=torch.full((n,), number),
        clean_b=torch.tensor(clean_b), adv_a=torch.full((k, n), number), adv_b=torch.tensor(adv_b).view(k, n),
        size=torch.full((k, n), float(number)), eps=EPS[:k], zero_gradient=torch.tensor([number == 0] * n),
        valid=torch.full((k, n), number < 2), same_labels=torch.ones(n, dtype=torch.bool),
        loss_rise=torch.full((n,), float(number)),
    )  # fmt: skip


def robust(outcome: Outcome) -> Tensor:
    return (outcome.adv_b == outcome.label) & (outcome.clean_b == outcome.label)


def test_the_first_that_fools_then_the_first_that_is_refused_then_the_first() -> None:
    """Sample by sample: all right; fooled by the third; refused by the second; refused before fooled; two fooled."""
    label, clean = [0] * 5, [0] * 5
    outcomes = [
        outcome(label, clean, [[0, 0, 0, -1, 2]], 0),
        outcome(label, clean, [[0, 0, -1, 3, 1]], 1),
        outcome(label, clean, [[0, 4, -1, 2, 1]], 2),
    ]
    worst = Outcome.worst(*outcomes)
    assert worst.adv_b.tolist() == [[0, 4, -1, 3, 2]]
    assert worst.adv_a.tolist() == [[0, 2, 1, 1, 0]]  # what belongs to the same image comes from the same attack
    assert worst.size.tolist() == [[0, 2, 1, 1, 0]]
    assert worst.valid.tolist() == [[True, False, True, True, True]]
    assert worst.clean_a.tolist() == [0] * 5
    assert not worst.zero_gradient.any()
    assert worst.loss_rise.tolist() == [2.0] * 5
    assert outcomes[0].worst().tensors().keys() == worst.tensors().keys()
    assert all(torch.equal(value, outcomes[0].tensors()[name]) for name, value in outcomes[0].worst().tensors().items())


CLASSES = drawn.integers(-1, 2)


@given(drawn.data(), drawn.integers(1, 6), drawn.integers(1, 4))
@settings(max_examples=150, deadline=None)
def test_it_is_never_above_any_attack_at_any_sample(data, n: int, count: int) -> None:
    label = data.draw(drawn.lists(drawn.integers(0, 2), min_size=n, max_size=n))
    several = [
        outcome(
            label,
            data.draw(drawn.lists(CLASSES, min_size=n, max_size=n)),
            [data.draw(drawn.lists(CLASSES, min_size=n, max_size=n)) for _ in range(2)],
            number,
        )
        for number in range(count)
    ]
    worst = Outcome.worst(*several)
    others = torch.stack([robust(one) for one in several])
    assert not (robust(worst) & ~others.all(0)).any()
    classes = torch.stack([one.adv_b for one in several])
    fooled = (classes != worst.label) & (classes >= 0)
    assert torch.equal((worst.adv_b != worst.label) & (worst.adv_b >= 0), fooled.any(0))  # a refusal hides no success
    assert torch.equal(worst.adv_b == -1, ~fooled.any(0) & (classes == -1).any(0))
    place = worst.adv_a  # the number of the attack that was chosen
    assert torch.equal(classes.gather(0, place[None])[0], worst.adv_b)
    again = worst.worst(*several)
    assert torch.equal(again.adv_b, worst.adv_b)


def test_only_outcomes_of_the_same_samples_and_eps_have_a_worst_case() -> None:
    one = outcome([0, 1], [0, 1], [[0, 1]])
    other = outcome([0, 1, 1], [0, 1, 1], [[0, 1, 1]])
    with pytest.raises(ValueError, match="of the same samples and eps"):
        one.worst(other)
    with pytest.raises(ValueError, match="of the same samples and eps"):
        one.worst(outcome([0, 1], [0, 1], [[0, 1], [0, 1]]))


def masked(hidden: int, samples: int = 100) -> tuple[Outcome, Outcome]:
    """The worst case and the plain outcome: at the larger eps ``hidden`` samples fall to the adaptive attack alone."""
    label = [0] * samples
    clean = [0] * (samples - 4) + [1] * 4
    adaptive = [1] * hidden + [0] * (samples - 4 - hidden) + [1] * 4
    plain = outcome(label, clean, [clean, clean])
    return plain.worst(outcome(label, clean, [clean, adaptive], 1)), plain


def test_the_gap_is_plain_minus_worst_accuracy_with_an_interval() -> None:
    worst, plain = masked(90)
    metric = metrics.get("adaptive_gap")
    assert metric(worst, {"plain": plain}).tolist() == pytest.approx([0, 0.9])
    curve = metric.curve(worst, {"plain": plain})
    assert 0.8 < float(curve.low[1]) < 0.9 < float(curve.high[1]) < 1
    assert not metric.applies(worst, "white", {"white": plain})  # no defended cell: no such row in a table
    assert metric.applies(worst, "white", {"plain": plain})


def test_refused_images_are_counted_at_each_eps_in_the_worst_case() -> None:
    """A clean image is refused; of the attacked ones one that no attack brings past B, and not one that one does."""
    label, clean = [0] * 4, [0, 0, 0, -1]
    plain = outcome(label, clean, [clean, [-1, -1, 0, -1]])
    worst = plain.worst(outcome(label, clean, [clean, [1, -1, 0, -1]], 1))
    metric = metrics.get("refused")
    assert metric(worst, {"plain": plain}).tolist() == [1 / 4, 2 / 4]
    assert metric(plain, {"plain": plain}).tolist() == [1 / 4, 3 / 4]
    assert metric.curve(worst, {"plain": plain}).n.tolist() == [4, 4]


@pytest.mark.parametrize(
    ("clean", "attacked", "applies"),
    [([0, -1], [0, 0], True), ([0, 0], [0, -1], True), ([0, 1], [1, 1], False)],
)
def test_only_a_guard_that_refuses_has_a_share_of_refused_images(
    clean: list[int], attacked: list[int], applies: bool
) -> None:
    record = outcome([0, 0], clean, [[0, 0], attacked])
    found = metrics.curves(record, "white", {"plain": record})
    assert ("refused" in found) == applies
    assert "refused" not in metrics.curves(record, "white", {"white": record}), "nothing is defended"


def adapted(hidden: int, **change: object) -> Verdict:
    worst, plain = masked(hidden)
    return CHECKS["adapted"].verdict(Evidence(plain, beside={"worst": worst}, **change))


def test_a_plain_number_far_from_the_worst_case_is_red() -> None:
    assert adapted(0) == adapted(5) == Verdict()
    verdict = adapted(6)
    assert verdict.level == "red"
    assert verdict.reasons == (
        "At eps 0.1 the plain attack leaves 96.0% right and the worst case over attacks that know the defense 90.0%: "
        "the plain number says nothing of the defense.",
    )  # fmt: skip
    worst, _ = masked(90)
    assert CHECKS["adapted"].verdict(Evidence(worst)) == Verdict()  # nothing is defended
    assert CHECKS["adapted"].verdict(Evidence(worst, beside={"worst": worst})) == Verdict()  # knowing it helps nobody


def test_a_defense_that_nobody_attacked_by_knowing_it_is_red() -> None:
    verdict = adapted(0, untried="Nobody has found a way yet.")
    assert verdict.level == "red"
    assert verdict.reasons[0].endswith("proves nothing for it: Nobody has found a way yet.")
    squeeze = parse("squeeze")
    assert [squeeze.untried(view) for view in ("white", "black", "shadow")] == ["", "", ""]
