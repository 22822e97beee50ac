"""How sure means over seeds are: worked out by hand, and where nothing varies."""

import math

import pytest
import torch
from scipy.stats import beta, binomtest
from scipy.stats import t as student
from torch import Tensor

from tl_robust import metrics
from tl_robust.contracts.records import outcome
from tl_robust.metrics.estimate import (
    LEAST_NOISE,
    LEAST_SHARED,
    SEED_SD,
    Draws,
    Estimate,
    crossed,
    estimate,
    korn_graubard,
    percentiles,
    pooled,
    unseen_share,
)
from tl_robust.types import Outcome

KINDS = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0], [1.0, 1.0]], dtype=torch.float64)


def f64(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def accuracy(hit_SN: Tensor) -> Draws:
    """The accuracy of each seed."""
    return Draws.of(hit_SN.double()[:, None], lambda means: means, KINDS[:2, :1])


def same_everywhere(seeds: int, samples: int, share: float = 1.0) -> Draws:
    """One model right on a share of the samples and another on none, at every seed."""
    right = (torch.arange(samples) < round(share * samples)).expand(seeds, samples)
    return accuracy(right) - accuracy(torch.zeros_like(right))


def crossed_by_hand(shared: float, single: float, between: float, luck: float, seeds: int, samples: int) -> list[float]:
    parts = [f64(value) for value in (shared, single, between, luck)]
    return [float(value) for value in crossed(*parts, torch.tensor([seeds]), samples)]  # type: ignore[arg-type]


def test_the_parts_of_the_variance_add_up() -> None:
    # noise (9 - 3) / 2 = 3; 3 + 8 - 3 = 8; freedom 8**2 / (8**2 / 2 + 3**2 / 10)
    assert crossed_by_hand(3, 9, 8, 0, 3, 11) == pytest.approx([8, 64 / (64 / 2 + 9 / 10)])
    # three seeds nearly agree: 3 + 1 - 3 = 1 is under 0.7 * 3, and the freedom counts the spread as it is
    assert crossed_by_hand(3, 9, 1, 0, 3, 11) == pytest.approx([2.1, 2.1**2 / (1 / 2 + 9 / 10)])
    # they agree: a tenth of the noise
    assert crossed_by_hand(3, 9, 0, 0, 3, 11) == pytest.approx([2.1, 2.1**2 / (0.3**2 / 2 + 9 / 10)])
    # the least luck, of three seeds
    assert crossed_by_hand(3, 9, 0, 6, 3, 11) == pytest.approx([4.1, 4.1**2 / (2**2 / 2 + 9 / 10)])
    # one seed says nothing of others
    assert crossed_by_hand(3, 3, 0, 6, 1, 11) == pytest.approx([3, 10])
    assert (LEAST_SHARED, LEAST_NOISE, SEED_SD) == (0.7, 0.1, 0.003), "docs/statistics.md is of these"


@pytest.mark.parametrize("samples", [1, 2, 10, 500])
def test_what_no_sample_shows_may_be_so_in_as_many_as_the_exact_interval_of_none_says(samples: int) -> None:
    assert unseen_share(samples) == pytest.approx(binomtest(0, samples).proportion_ci().high)


@pytest.mark.parametrize("samples", range(1, 12))
def test_samples_that_all_speak_for_one_are_the_sign_test(samples: int) -> None:
    low, high = estimate(same_everywhere(1, samples)).interval()
    assert bool(low > 0) == (2 * 0.5**samples < 0.05)
    assert bool(high > 1)


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
@pytest.mark.parametrize(("seeds", "samples"), [(1, 1), (2, 1), (2, 4), (2, 1000), (3, 8), (5, 40), (5, 5_000)])
def test_nothing_that_varies_is_not_no_variance(seeds: int, samples: int, share: float) -> None:
    found = estimate(same_everywhere(seeds, samples, share))
    assert float(found.error) > 0
    assert 1 <= float(found.freedom) < math.inf
    low, high = found.interval()
    assert bool(low < found.value)
    assert bool(found.value < high)
    assert 0 < float(found.above()) < 1


def test_few_seeds_that_agree_on_many_samples_are_few() -> None:
    """The images are sure; the freedom is that of the seeds, and the error that of the least luck."""
    found = estimate(same_everywhere(3, 20_000))
    assert float(found.freedom) == pytest.approx(2, abs=0.2)
    assert float(found.error) == pytest.approx(2 * SEED_SD / math.sqrt(3), rel=0.03)
    assert float(found.above()) > 1e-6


def test_what_one_rises_by_the_difference_falls_by() -> None:
    first, second = (accuracy(torch.tensor([[1, 1, 1, 0]])), accuracy(torch.tensor([[0, 0, 0, 1]])))
    share = unseen_share(4)
    assert first.unseen.flatten().tolist() == pytest.approx([0.75 * share, 0.25 * share])
    assert (first - second).unseen.flatten().tolist() == pytest.approx([1.5 * share, 0.5 * share])
    assert (-first).unseen.flatten().tolist() == pytest.approx([0.25 * share, 0.75 * share])
    both = Draws.average([first, second])
    assert both.unseen.flatten().tolist() == pytest.approx([0.5 * share, 0.5 * share])
    assert both.at(torch.tensor([0])).mean().unseen.shape == (1, 2, 1)


def test_an_error_of_nothing_says_nothing() -> None:
    nothing = Estimate(f64(0.5, 0), f64(0, 0), f64(3, 3), 3, 10)
    assert nothing.above().tolist() == [0.5, 0.5]


@pytest.mark.parametrize(("share", "low", "high"), [(1.0, 0.025 ** (1 / 40), 1.0), (0.0, 0.0, 1 - 0.025 ** (1 / 40))])
def test_a_mean_of_nothing_but_right_or_wrong_has_the_exact_interval_of_one_seed(
    share: float, low: float, high: float
) -> None:
    right = torch.full((3, 40), share)
    found = korn_graubard(estimate(accuracy(right), floors=False), f64(40))
    assert [float(end) for end in found] == pytest.approx([low, high])


def test_a_mean_of_shares_has_the_interval_of_the_number_that_would_be_as_sure() -> None:
    found = Estimate(f64(0.25), f64(0.05), f64(4), 5, 200)
    n = 0.25 * 0.75 / 0.05**2 * (student.isf(0.025, 199) / student.isf(0.025, 4)) ** 2
    low, high = korn_graubard(found, f64(200))
    assert n == pytest.approx(37.8, abs=0.1)
    assert float(low) == pytest.approx(beta.isf(0.975, n / 4, 0.75 * n + 1))
    assert float(high) == pytest.approx(beta.isf(0.025, n / 4 + 1, 0.75 * n))
    sure = Estimate(f64(0.25), f64(1e-9), f64(4), 5, 200)
    exact = binomtest(250, 1000).proportion_ci()
    assert [float(end) for end in korn_graubard(sure, f64(200))] == pytest.approx([exact.low, exact.high])


def test_pooled_estimates_weigh_as_many_places_as_they_are_of() -> None:
    parts = [Estimate(f64(0.1), f64(0.03), f64(4), 5, 100), Estimate(f64(0.4), f64(0.06), f64(8), 3, 50)]
    found = pooled(parts, [2, 1])
    error = (4 * 0.03**2 + 0.06**2) / 9
    assert float(found.value) == pytest.approx(0.2)
    assert float(found.error) == pytest.approx(math.sqrt(error))
    assert float(found.freedom) == pytest.approx(error**2 / ((4 * 0.03**2 / 9) ** 2 / 4 + (0.06**2 / 9) ** 2 / 8))
    assert (found.seeds, found.samples) == (3, 50)


# metrics of outcomes where nothing varies


def still(samples: int, right: bool) -> Outcome:
    """B right on every clean image, and on every adversarial one or none; A lost throughout."""
    black, _ = outcome(samples)
    label = black.label.expand(4, -1)
    wrong = torch.cat([label[:1], (label[1:] + 1) % 4])
    clean = {"clean_a": black.label, "clean_b": black.label, "adv_a": wrong, "adv_b": label if right else wrong}
    return Outcome(**black.tensors() | clean)


@pytest.mark.parametrize("samples", [2, 60])
@pytest.mark.parametrize("right", [True, False])
@pytest.mark.parametrize("seeds", [1, 2, 5])
@pytest.mark.parametrize("name", [name for name in metrics.names(Outcome) if name not in ("half_eps", "same_mistake")])
def test_an_interval_has_a_width_where_nothing_varies(name: str, seeds: int, right: bool, samples: int) -> None:
    metric, black, white = metrics.get(name), still(samples, right), still(samples, False)
    if "plain" in metric.beside:  # which is never worse than the worst case
        black, white = white, black
    curve = metric.mean_curve([(black, white)] * seeds)
    defined = ~curve.value.isnan()
    assert bool(defined.any())
    assert bool((curve.low < curve.high)[defined].all())
    assert bool(((curve.low <= curve.value) & (curve.value <= curve.high))[defined].all())
    if metric.unit == "share":
        assert 0 <= float(curve.low[defined].min()) <= float(curve.high[defined].max()) <= 1


def test_the_interval_of_one_seed_reaches_as_far_as_the_unseen() -> None:
    draws = metrics.get("curve_area").draws([(still(60, True), None)])
    low, high = percentiles(draws)
    assert float(low) == pytest.approx(1 - unseen_share(60))
    assert float(high) == pytest.approx(1)
    assert metrics.get("curve_area").mean_curve([(still(60, True), None)] * 3).high.tolist() == [1]


@pytest.mark.parametrize(("seeds", "samples"), [(1, 3), (2, 100), (5, 100)])
def test_no_p_value_is_below_that_of_samples_that_all_say_the_same(seeds: int, samples: int) -> None:
    """Student's t of 100 samples would say 1e-47 of two seeds."""
    found = estimate(same_everywhere(seeds, samples))
    assert float(found.above()) >= binomtest(samples, samples, alternative="greater").pvalue
    assert float(found.above()) < 0.2, "and it still tells"
