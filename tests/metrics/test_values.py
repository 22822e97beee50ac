"""Metrics worked out by hand, intervals against scipy and by simulation."""

import pytest
import torch
from scipy.stats import binomtest
from torch import Tensor

from tl_robust import metrics
from tl_robust.metrics.estimate import clopper_pearson
from tl_robust.types import Outcome

NAN = float("nan")
EPS = torch.tensor([0.0, 0.1, 0.4], dtype=torch.float64)


def make(label: list[int], clean_a: list[int], clean_b: list[int], adv_a: list, adv_b: list, eps: Tensor) -> Outcome:
    n, k = len(label), len(eps)
    numbers = [torch.tensor(values) for values in (label, clean_a, clean_b, adv_a, adv_b)]
    return Outcome(
        torch.arange(n), *numbers, size=torch.zeros(k, n), eps=eps, zero_gradient=torch.zeros(n, dtype=torch.bool),
        valid=torch.ones(k, n, dtype=torch.bool), same_labels=torch.ones(n, dtype=torch.bool),
    )  # fmt: skip


# Eight samples. A is right on 0-5 (6 of 8), B on 0-3, 6, 7 (6 of 8), both on 0-3.
LABEL = [0, 1, 2, 0, 1, 2, 0, 1]
CLEAN_A = [0, 1, 2, 0, 1, 2, 1, 2]
CLEAN_B = [0, 1, 2, 0, 2, 0, 0, 1]
ADV_A = [
    CLEAN_A,
    # fooled: 0, 1, 2 of those both had right, and 4; sample 7 becomes right by accident
    [1, 2, 0, 0, 0, 2, 1, 1],
    # fooled: 0-5; 6 becomes right by accident
    [1, 2, 0, 2, 0, 1, 0, 2],
]
ADV_B = [
    CLEAN_B,
    # fooled: 0 (as A), 1 (another class than A: 0 against 2), 6; sample 4 becomes right by accident
    [1, 0, 2, 0, 1, 0, 2, 1],
    # fooled: 0 (as A), 2 (another: 1 against 0), 3 (as A), 6, 7; sample 5 becomes right by accident
    [1, 1, 1, 2, 2, 2, 1, 0],
]
# B under its own attack: right before and after are all 6, then 2 (samples 3, 7), then 0 (5 is right by accident)
OWN_B = [CLEAN_B, [1, 2, 0, 0, 0, 0, 1, 1], [1, 2, 0, 2, 0, 2, 1, 0]]

BY_HAND = {
    # right before and after: 6; then 2, 3, 7 (4 would count if errors on clean images were ignored); then 1 only
    "robust_accuracy": [6 / 8, 3 / 8, 1 / 8],
    # of the 6 right before, not right after: none; 0, 1, 6; 0, 2, 3, 6, 7
    "accuracy_drop": [0, 3 / 8, 5 / 8],
    # wrong after: 4, 5; then 0, 1, 5, 6; then 0, 2, 3, 4, 6, 7
    "error_rate": [2 / 8, 4 / 8, 6 / 8],
    # of the 6 that B had right: none; 0, 1, 6; 0, 2, 3, 6, 7
    "fooling_rate": [0 / 6, 3 / 6, 5 / 6],
    # both right are 0-3. A is fooled on none; 0, 1, 2, of which B on 0, 1; all four, of which B on 0, 2, 3
    "match_rate": [NAN, 2 / 3, 3 / 4],
    # of these both fooled: none; 0 same, 1 other; 0 same, 2 other, 3 same
    "same_mistake": [NAN, 1 / 2, 2 / 3],
    # A right before and after: 6; then 3, 5 (7 by accident does not count); then none
    "surrogate_accuracy": [6 / 8, 2 / 8, 0],
    # (6 - 6) / (6 - 6); (6 - 3) / (6 - 2); (6 - 1) / (6 - 0)
    "transfer_ratio": [NAN, 3 / 4, 5 / 6],
    # (6 - 6) / (6 - 6); (6 - 3) / (6 - 2); (6 - 1) / (6 - 0)
    "surrogate_ratio": [NAN, 3 / 4, 5 / 6],
    # trapezoids: (6 + 3) / 16 * 0.1 + (3 + 1) / 16 * 0.3, over the range 0.4
    "curve_area": [(9 / 16 * 0.1 + 4 / 16 * 0.3) / 0.4],
    # with B's own attack for the plain one, 6 - 6; 2 - 3; 0 - 1
    "adaptive_gap": [0, -1 / 8, -1 / 8],
    # B's own attack stands for the plain one: 6, 2, 0
    "plain_accuracy": [6 / 8, 2 / 8, 0],
    # half of 6/8 is 3/8: reached at 0.1
    "half_eps": [0.1],
}
N_BY_HAND = {
    "fooling_rate": [6, 6, 6], "match_rate": [0, 3, 4], "same_mistake": [0, 2, 3], "curve_area": [8], "half_eps": [8],
}  # fmt: skip


def by_hand() -> tuple[Outcome, Outcome]:
    return (
        make(LABEL, CLEAN_A, CLEAN_B, ADV_A, ADV_B, EPS),
        make(LABEL, CLEAN_B, CLEAN_B, OWN_B, OWN_B, EPS),
    )


@pytest.mark.parametrize("name", BY_HAND)
def test_values_worked_out_by_hand(name: str) -> None:
    assert metrics.get(name)(*by_hand()).tolist() == pytest.approx(BY_HAND[name], nan_ok=True, rel=1e-12)


@pytest.mark.parametrize("name", BY_HAND)
def test_denominators_worked_out_by_hand(name: str) -> None:
    assert metrics.get(name).curve(*by_hand()).n.tolist() == N_BY_HAND.get(name, [8, 8, 8])


BETTER_HIGH = {  # for the victim's owner
    "robust_accuracy": True, "curve_area": True, "half_eps": True, "accuracy_drop": False, "error_rate": False,
    "fooling_rate": False, "match_rate": False, "surrogate_ratio": False, "transfer_ratio": False,
    "adaptive_gap": False, "plain_accuracy": True, "same_mistake": None, "surrogate_accuracy": None,
}  # fmt: skip


@pytest.mark.parametrize("name", BETTER_HIGH)
def test_which_way_is_better(name: str) -> None:
    assert metrics.get(name).higher_is_better is BETTER_HIGH[name]


def test_the_drop_is_clean_minus_attacked_accuracy() -> None:
    black, _ = by_hand()
    accuracy, drop = metrics.get("robust_accuracy")(black), metrics.get("accuracy_drop")(black)
    assert drop.tolist() == pytest.approx((accuracy[0] - accuracy).tolist())


# no prediction: -1 is no class


def unpredicted() -> tuple[Outcome, Outcome]:
    """Of four samples of class 0 all are right on the clean image but the last of A and B, which give no class.

    Under attack A gives 1, -1, -1, -1, and B 1, 1, -1, -1, under its own attack -1 throughout. The label of the last is
    -1 too, as no data has it.
    """
    label, clean, adv_a, adv_b = [0, 0, 0, -1], [0, 0, 0, -1], [[1, -1, -1, -1]], [[1, 1, -1, -1]]
    own = [[-1] * 4]
    return make(label, clean, clean, adv_a, adv_b, EPS[1:2]), make(label, clean, clean, own, own, EPS[1:2])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("error_rate", 1.0), ("robust_accuracy", 0.0), ("accuracy_drop", 1.0), ("fooling_rate", 1.0),
        ("match_rate", 1.0), ("surrogate_accuracy", 0.0), ("transfer_ratio", 1.0), ("surrogate_ratio", 1.0),
        ("same_mistake", 1 / 3), ("half_eps", 0.1), ("curve_area", NAN),
    ],
)  # fmt: skip
def test_no_prediction_is_no_class(name: str, expected: float) -> None:
    """Of the three that both have right, all are lost, and only the first to the same class."""
    black, white = (outcome.take(torch.arange(3)) for outcome in unpredicted())
    assert metrics.get(name)(black, white).tolist() == pytest.approx([expected], nan_ok=True)


@pytest.mark.parametrize("name", ["surrogate_accuracy", "match_rate", "surrogate_ratio"])
def test_a_surrogate_of_other_labels_without_a_prediction_is_not_right(name: str) -> None:
    black, white = by_hand()
    other = Outcome(**black.tensors() | {"same_labels": torch.zeros(8, dtype=torch.bool)})
    assert (other.clean_a == other.label_a).all()
    none = Outcome(**other.tensors() | {"clean_a": torch.full((8,), -1), "adv_a": torch.full((3, 8), -1)})
    assert not (none.clean_a == none.label_a).any()
    assert not (none.adv_a == none.label_a).any()
    value = metrics.get(name)(none, white)
    assert bool((value == 0).all() if name == "surrogate_accuracy" else value.isnan().all())


def test_accuracy_under_attack_counts_right_before_and_after() -> None:
    """Wrong, then right by accident, is no success of the defense; right, then wrong, is none either."""
    label = [0, 0, 0, 0]
    outcome = make(label, label, [0, 0, 1, 1], [label], [[0, 1, 0, 1]], EPS[1:2])
    assert metrics.get("robust_accuracy")(outcome).tolist() == [1 / 4]
    assert metrics.get("error_rate")(outcome).tolist() == [2 / 4]
    assert metrics.get("fooling_rate")(outcome).tolist() == [1 / 2]
    mirrored = make(label, [0, 0, 1, 1], label, [[0, 1, 0, 1]], [label], EPS[1:2])
    assert metrics.get("surrogate_accuracy")(mirrored).tolist() == [1 / 4]


def grown(rights: dict[str, list[int]], samples: int, eps: Tensor) -> tuple[Outcome, Outcome]:
    """Outcomes with given numbers of right samples: ``a`` clean, ``b`` clean, and under attack."""

    def classes(count: int) -> list[int]:
        return [int(place >= count) for place in range(samples)]

    adv_a, adv_b, own = ([classes(count) for count in rights[key]] for key in ("adv_a", "adv_b", "own_b"))
    label, a, b = classes(samples), classes(rights["a"][0]), classes(rights["b"][0])
    return make(label, a, b, adv_a, adv_b, eps), make(label, b, b, own, own, eps)


def test_ratios_equal_the_formula_from_accuracies() -> None:
    rights = {"a": [90], "b": [95], "adv_a": [90, 50, 20], "adv_b": [95, 80, 99], "own_b": [95, 60, 40]}
    black, white = grown(rights, 100, EPS)
    acc = metrics.get("robust_accuracy")
    acc_b, acc_b_a, acc_b_b = 0.95, acc(black), acc(white)
    acc_a, acc_a_a = 0.90, metrics.get("surrogate_accuracy")(black)
    assert acc_b_a.tolist() == pytest.approx([0.95, 0.80, 0.95])  # 99 were right, 4 of them by accident
    transfer, surrogate = metrics.get("transfer_ratio")(black, white), metrics.get("surrogate_ratio")(black)
    assert transfer[1:].tolist() == pytest.approx(((acc_b - acc_b_a) / (acc_b - acc_b_b))[1:].tolist())
    assert transfer[1:].tolist() == pytest.approx([15 / 35, 0])
    assert surrogate[1:].tolist() == pytest.approx(((acc_b - acc_b_a) / (acc_a - acc_a_a))[1:].tolist())
    assert surrogate[1:].tolist() == pytest.approx([15 / 40, 0])
    assert transfer[0].isnan()
    assert surrogate[0].isnan()


@pytest.mark.parametrize("rows", [[100, 80, 60, 40], [0, 0, 0, 0]])
def test_a_transfer_ratio_above_1_is_kept(rows: list[int]) -> None:
    """A's examples harm more than B's own: gradient masking. It is not cut off at 1."""
    eps = torch.tensor([0, 0.1, 0.2, 0.3], dtype=torch.float64)
    rights = {"a": [100], "b": [100], "adv_a": rows, "adv_b": [100, 50, 20, 0], "own_b": [100, 75, 60, 50]}
    assert metrics.get("transfer_ratio")(*grown(rights, 100, eps))[1:].tolist() == pytest.approx([2, 2, 2])


@pytest.mark.parametrize(
    ("rights", "expected"),
    [
        ([100, 80, 60, 40], 0.3 + 0.3 * 0.5),  # 50 between 60 at 0.3 and 40 at 0.6
        ([100, 50, 20, 0], 0.1),  # exactly at a grid point
        ([100, 50, 50, 0], 0.1),  # at most half, not below
        ([100, 60, 20, 0], 0.1 + 0.2 * 0.25),  # a quarter of the way from 60 to 20
        ([100, 90, 80, 70], 0.6),  # never: the largest
        ([100, 20, 90, 0], 0.1 * 50 / 80),  # the first time counts
        ([40, 30, 20, 10], 0.0),  # fallen at the first eps of the grid
    ],
)
def test_half_eps(rights: list[int], expected: float) -> None:
    eps = torch.tensor([0.0, 0.1, 0.3, 0.6], dtype=torch.float64)
    rows = {"a": [100], "b": [100], "adv_a": rights, "adv_b": rights, "own_b": rights}
    assert metrics.get("half_eps")(grown(rows, 100, eps)[0]).tolist() == pytest.approx([expected])


def test_curve_area() -> None:
    area = metrics.get("curve_area")
    rows = {"a": [100], "b": [100], "adv_a": [100] * 3, "adv_b": [80] * 3, "own_b": [100] * 3}
    assert area(grown(rows, 100, EPS)[0]).tolist() == pytest.approx([0.8])  # a flat curve: its height
    assert area(grown(rows, 100, EPS * 10)[0]).tolist() == pytest.approx([0.8])  # whatever the unit of eps
    assert area(grown(rows, 100, EPS + 1)[0]).tolist() == pytest.approx([0.8])  # and where the grid begins
    one = {"a": [100], "b": [100], "adv_a": [100], "adv_b": [80], "own_b": [100]}
    assert area(grown(one, 100, EPS[:1])[0]).isnan().tolist() == [True]


@pytest.mark.parametrize("name", ["curve_area", "half_eps"])
def test_the_order_of_the_eps_grid_does_not_matter(name: str) -> None:
    straight = grown({"a": [9], "b": [9], "adv_a": [9, 5, 1], "adv_b": [9, 5, 1], "own_b": [9, 5, 1]}, 10, EPS)[0]
    back = grown({"a": [9], "b": [9], "adv_a": [1, 5, 9], "adv_b": [1, 5, 9], "own_b": [1, 5, 9]}, 10, EPS.flip(0))[0]
    assert metrics.get(name)(back).tolist() == pytest.approx(metrics.get(name)(straight).tolist())


def test_clopper_pearson_equals_scipy() -> None:
    n = torch.tensor([1, 1, 7, 7, 7, 50, 200, 200, 10000, 10000])
    hits = torch.tensor([0, 1, 0, 3, 7, 25, 199, 13, 10000, 9731])
    low, high = clopper_pearson(hits.double(), n)
    for place, (count, total) in enumerate(zip(hits.tolist(), n.tolist(), strict=True)):
        exact = binomtest(count, total).proportion_ci(0.95, method="exact")
        assert (float(low[place]), float(high[place])) == pytest.approx((exact.low, exact.high), abs=1e-12)
    low, high = clopper_pearson(torch.tensor([NAN], dtype=torch.float64), torch.tensor([0]))
    assert bool(low.isnan())
    assert bool(high.isnan())


@pytest.mark.parametrize("name", ["robust_accuracy", "error_rate", "fooling_rate", "match_rate", "same_mistake"])
def test_shares_have_the_exact_interval(name: str) -> None:
    black, white = by_hand()
    curve = metrics.get(name).curve(black, white)
    for value, low, high, n in zip(curve.value.tolist(), curve.low.tolist(), curve.high.tolist(), curve.n, strict=True):
        if n:
            exact = binomtest(round(value * int(n)), int(n)).proportion_ci(0.95, method="exact")
            assert (low, high) == pytest.approx((exact.low, exact.high), abs=1e-12)


def simulated(draw: torch.Generator, samples: int, levels: list[float] | None = None) -> tuple[Outcome, Outcome]:
    """Every sample has a difficulty; A, B under A's, B under its own attack fall where it is below a level."""
    difficulty = torch.rand(samples, generator=draw)
    noise = [torch.rand(samples, generator=draw) for _ in range(3)]
    level_a, level_b, level_own = levels or [0.6, 0.3, 0.5]
    label = torch.zeros(samples, dtype=torch.int64)

    def fallen(level: float, own: Tensor) -> list[list[int]]:
        return [label.tolist(), ((0.5 * difficulty + 0.5 * own) < level).long().tolist()]

    adv_a, adv_b, own_b = (fallen(level, own) for level, own in zip((level_a, level_b, level_own), noise, strict=True))
    black = make(label.tolist(), label.tolist(), label.tolist(), adv_a, adv_b, EPS[:2])
    return black, make(label.tolist(), label.tolist(), label.tolist(), own_b, own_b, EPS[:2])


def triangular(level: float) -> float:
    """P(mean of two uniform numbers < level)."""
    return 2 * level**2 if level < 0.5 else 1 - 2 * (1 - level) ** 2


@pytest.mark.parametrize(
    ("name", "truth"),
    [
        ("robust_accuracy", 1 - triangular(0.3)),
        ("surrogate_ratio", triangular(0.3) / triangular(0.6)),
        ("transfer_ratio", triangular(0.3) / triangular(0.5)),
        ("curve_area", 1 - triangular(0.3) / 2),
    ],
)
def test_intervals_cover_what_they_promise(name: str, truth: float) -> None:
    """200 simulated test sets of 200 samples: 95 %, within what 200 sets can tell; and on both sides."""
    draw = torch.Generator().manual_seed(1)
    curves = [metrics.get(name).curve(*simulated(draw, 200)) for _ in range(200)]
    low, high = (torch.stack([getattr(curve, end)[-1] for curve in curves]) for end in ("low", "high"))
    covered = float(((low <= truth) & (truth <= high)).double().mean())
    assert 0.88 <= covered <= 0.99
    assert 0 < float((truth < low).double().mean()) < 0.08
    assert 0 < float((truth > high).double().mean()) < 0.08


def test_the_bootstrap_agrees_with_the_normal_interval_of_a_mean() -> None:
    """The area of a curve that starts at 1 is a mean of (1 + right) / 2: half of the accuracy's interval."""
    black, white = simulated(torch.Generator().manual_seed(4), 2000)
    curve = metrics.get("curve_area").curve(black, white)
    share = float(metrics.get("robust_accuracy")(black)[1])
    half = 1.96 * (share * (1 - share) / 2000) ** 0.5 / 2
    assert float(curve.high - curve.value) == pytest.approx(half, rel=0.1)
    assert float(curve.value - curve.low) == pytest.approx(half, rel=0.1)


@pytest.mark.parametrize("name", metrics.names(Outcome))
def test_the_mean_over_seeds_is_the_mean(name: str) -> None:
    draw = torch.Generator().manual_seed(2)
    seeds = [simulated(draw, 300, [level * 2, level, level * 1.5]) for level in (0.2, 0.3, 0.4)]
    curve = metrics.get(name).mean_curve(seeds)
    values = torch.stack([metrics.get(name)(*seed) for seed in seeds])
    assert torch.allclose(curve.value, values.mean(0), rtol=1e-12, equal_nan=True)
    alone = [metrics.get(name).curve(*seed) for seed in seeds]
    assert curve.n.tolist() == sum(part.n for part in alone).tolist()
    defined = ~curve.value.isnan()
    assert bool((curve.low <= curve.value)[defined].all())
    assert bool((curve.value <= curve.high)[defined].all())


@pytest.mark.parametrize("name", ["robust_accuracy", "curve_area", "surrogate_ratio"])
def test_seeds_that_differ_widen_the_interval(name: str) -> None:
    """Three seeds on the same 300 samples; equal seeds tell no more than one seed."""
    draw = torch.Generator().manual_seed(2)
    metric = metrics.get(name)
    apart = [simulated(torch.Generator().manual_seed(2), 300, [0.8, level, 0.5]) for level in (0.1, 0.4, 0.7)]
    mean, middle = metric.mean_curve(apart), metric.curve(*apart[1])
    assert float((mean.high - mean.low)[-1]) > 2 * float((middle.high - middle.low)[-1])
    equal = [simulated(draw, 300)] * 3
    width, single = (
        float((curve.high - curve.low)[-1]) for curve in (metric.mean_curve(equal), metric.curve(*equal[0]))
    )
    assert width == pytest.approx(single, rel=0.12)  # and no narrower: the samples are the same ones


def test_the_interval_over_many_seeds_is_that_of_a_mean() -> None:
    """Eight seeds of known accuracy on many samples: Student's t with 7 degrees of freedom, a little more or less."""
    rights = torch.tensor([1000, 1100, 1150, 1200, 1250, 1300, 1350, 1500])
    black = [
        grown({"a": [2000], "b": [2000], "adv_a": [count], "adv_b": [count], "own_b": [count]}, 2000, EPS[1:2])
        for count in rights.tolist()
    ]
    curve = metrics.get("robust_accuracy").mean_curve(black)
    share = rights.double() / 2000
    mean = float(share.mean())
    seeds, samples = float(share.var()) / 8, mean * (1 - mean) / 2000
    assert float(curve.value) == pytest.approx(mean)
    # samples that are right for one seed are right for most: their part of the variance is nearly whole
    assert 2.2 * seeds**0.5 < float(curve.high - curve.low) / 2 < 2.4 * (seeds + samples) ** 0.5


def test_undefined_seeds_are_left_out_of_a_mean() -> None:
    """A's attack harms A in the first seed only: 3 of 10 B lost, of 6 that A lost."""
    harmed = grown({"a": [10], "b": [10], "adv_a": [4], "adv_b": [7], "own_b": [7]}, 10, EPS[1:2])
    unharmed = grown({"a": [10], "b": [10], "adv_a": [10], "adv_b": [7], "own_b": [7]}, 10, EPS[1:2])
    assert metrics.get("surrogate_ratio").mean_curve([harmed, unharmed]).value.tolist() == pytest.approx([0.5])
    assert metrics.get("surrogate_ratio").mean_curve([unharmed, unharmed]).value.isnan().tolist() == [True]
