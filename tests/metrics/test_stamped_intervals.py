"""How sure numbers of backdoors are: against closed forms, a plain bootstrap, and what is read off a curve by eye."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from torch import Tensor

from tests.stamped_records import stamped
from tl_robust.metrics import METRICS
from tl_robust.metrics.estimate import estimate
from tl_robust.metrics.precision import Assumed, forecast
from tl_robust.metrics.stamped import SAFE, safe_from
from tl_robust.results.difference import contrast
from tl_robust.types import Curve, Stamped

NAN = float("nan")


def rising(counts: Sequence[int], samples: int = 400, target_class: int = 40, **more: object) -> Stamped:
    """The first ``counts[k]`` of ``samples`` images of class 1 are sent to class 0 after epoch k; some are of it."""
    label = [1] * samples + [0] * target_class
    after = [[0] * count + [1] * (samples - count) + [0] * target_class for count in counts]
    return stamped(label, [label] * len(counts), after, **more)


def paired(first: Tensor, second: Tensor) -> tuple[Stamped, Stamped]:
    """A victim and its twin of one epoch, which send these of the images of class 1 to class 0."""
    label = [1] * len(first)
    return tuple(stamped(label, [label], [(~hit).long().tolist()]) for hit in (first, second))


@pytest.mark.parametrize(("both", "only_b", "only_twin"), [(30, 120, 40), (0, 60, 6), (200, 20, 30)])
def test_the_interval_of_lift_is_that_of_a_paired_difference(both: int, only_b: int, only_twin: int) -> None:
    """McNemar's variance: (b + c - (b - c)^2 / N) / N^2 of the discordant pairs b and c (Fleiss, 1981, chapter 8)."""
    n = 600
    place = torch.arange(n)
    first = place < both + only_b
    second = (place < both) | ((place >= both + only_b) & (place < both + only_b + only_twin))
    curve = METRICS["lift"].curve(*paired(first, second))
    change = (only_b - only_twin) / n
    reach = norm.isf(0.025) * math.sqrt(only_b + only_twin - (only_b - only_twin) ** 2 / n) / n
    assert float(curve.value) == pytest.approx(change)
    assert [float(curve.low), float(curve.high)] == pytest.approx([change - reach, change + reach], abs=0.1 * reach)
    unpaired = norm.isf(0.025) * math.sqrt(
        sum(p * (1 - p) / n for p in (float(first.float().mean()), float(second.float().mean())))
    )
    if both:
        assert float(curve.high - curve.low) < 1.9 * unpaired, "what both have in common does not widen it"


def test_the_interval_of_lift_is_that_of_a_plain_bootstrap() -> None:
    """Also where images of class t must be drawn, too: they change the denominator."""
    draw = torch.Generator().manual_seed(0)
    n = 500
    label = (torch.rand(n, generator=draw) < 0.7).long()
    hits = [torch.rand(n, generator=draw) < level for level in (0.5, 0.1)]
    records = [stamped(label.tolist(), [label.tolist()], [(~hit).long().tolist()]) for hit in hits]
    curve = METRICS["lift"].curve(*records)
    draws, gap = np.random.default_rng(1), (hits[0].long() - hits[1].long()).numpy()
    others, values = (label == 1).numpy(), []
    for _ in range(4000):
        picked = draws.integers(n, size=n)
        picked = picked[others[picked]]
        values.append(gap[picked].mean())
    low, high = np.quantile(values, [0.025, 0.975])
    assert [float(curve.low), float(curve.high)] == pytest.approx([low, high], abs=0.08 * (high - low))


def test_a_lift_that_nobody_shows_is_not_0_for_sure() -> None:
    """0 of 540 images on both sides: an upper limit of 0.7 points, as the exact interval of one share has."""
    nobody = torch.zeros(540, dtype=torch.bool)
    curve = METRICS["lift"].curve(*paired(nobody, nobody))
    assert float(curve.value) == 0
    assert float(curve.high) == pytest.approx(1 - 0.025 ** (1 / 540), rel=1e-6)
    assert float(curve.low) == -float(curve.high)


def test_lift_below_0_and_its_bounds() -> None:
    place = torch.arange(100)
    below = METRICS["lift"].curve(*paired(place < 10, place < 90))
    assert float(below.value) == pytest.approx(-0.8)
    least = METRICS["lift"].curve(*paired(place < 0, place < 100))
    assert (float(least.value), float(least.low)) == (-1, -1)
    assert METRICS["lift"].bounds == METRICS["clean_cost"].bounds == (-1, 1)
    assert METRICS["attack_success"].bounds == (0, 1)


@pytest.mark.parametrize("name", ["lift", "clean_cost", "implanted", "retention", "half_life", "alarm_auroc"])
def test_means_over_seeds_are_means_with_intervals_of_seeds(name: str) -> None:
    """Seeds that differ widely give a wider interval than a single seed has."""

    def seed(shift: int) -> tuple[Stamped, dict[str, Stamped]]:
        carrier = {"carrier": [0] * 440, "carrier_target": 0}
        origin, taken = {"origin_label": [1] * 50, "origin_clean": [1] * 50}, 40 + shift // 20
        first = rising(
            [380, 300 + shift, 100 + shift], **carrier, **origin, origin_stamped=[0] * taken + [1] * (50 - taken),
            suspicion_clean=torch.rand(3, 440), suspicion_stamped=torch.rand(3, 440) + 0.5 + shift / 300,
        )  # fmt: skip
        first = Stamped.of(
            first.tensors() | {"clean": torch.where(torch.arange(440) < 20 + shift // 2, 1 - first.label, first.clean)}
        )
        twin = rising([10, 5, 0], carrier=[1] * 440, carrier_target=0, **origin, origin_stamped=[1] * 50)
        return first, {"twin": twin}

    torch.manual_seed(0)
    seeds = [seed(shift) for shift in (-80, 0, 80)]
    metric = METRICS[name]
    mean, single = metric.mean_curve(seeds), metric.curve(*seeds[1])
    values = torch.stack([metric(*one) for one in seeds])
    assert mean.value.tolist() == pytest.approx(values.mean(0).tolist())
    assert bool((mean.low <= mean.value).all())
    assert bool((mean.value <= mean.high).all())
    assert mean.n.tolist() == (3 * single.n).tolist()
    moved = values.std(0) > 0.01
    assert bool(moved.any())
    assert bool(((mean.high - mean.low) > (single.high - single.low))[moved].all())
    draws = metric.draws(seeds)
    assert draws.value.tolist() == values.tolist()
    assert draws.again.shape == (3, 1000, values.shape[1])


def test_two_recipes_are_compared_in_pairs() -> None:
    """As ``compare`` does: a change of lift on the same images, and no interval of what has no draws."""
    twin = {"twin": rising([0, 0])}
    first, second = [(rising([200, 100]), twin)], [(rising([200, 20]), twin)]
    change = contrast(METRICS["lift"], first, second, ["0", "1"])
    assert change.value.tolist() == pytest.approx([0, -0.2])
    # 80 of 400 images of 440: the variance of a mean of zeros and ones that all have one sign
    assert float(change.error[1]) == pytest.approx(math.sqrt(0.2 * 0.8 / 400), rel=0.05)
    read = contrast(METRICS["safe_after"], [(rising([200, 0]), twin)], [(rising([0, 0]), twin)], [""])
    assert read.value.tolist() == [-1]
    assert read.error.tolist() == [0]


def curve_of(high: list[float]) -> Curve:
    epochs, values = torch.arange(len(high)).double(), torch.tensor(high, dtype=torch.float64)
    return Curve(epochs, values, values, values, torch.ones(len(high), dtype=torch.int64))


@given(st.lists(st.sampled_from([0.0, 0.049, 0.05, 0.2, NAN]), min_size=1, max_size=6))
@settings(max_examples=300, deadline=None)
def test_safe_is_where_no_later_limit_reaches_it(high: list[float]) -> None:
    """Of all epochs the first after which, and at which, every limit is below; an unknown one is not."""
    safe = [place for place in range(len(high)) if all(limit < SAFE for limit in high[place:])]
    assert safe_from(curve_of(high)) == (safe[0] if safe else None)


@pytest.mark.parametrize(
    ("counts", "after", "accuracy"),
    [
        ([400, 100, 4, 0], 2, 1 - 40 / 440),  # epochs 0, 1, 2, 4
        ([400, 0, 100, 0], 4, 1 - 60 / 440),  # it comes back after the first
        ([0, 0, 0, 0], 0, 1.0),
        ([400, 100, 4, 16], NAN, NAN),  # 4 %: the limit is above
    ],
)
def test_safe_after(counts: list[int], after: float, accuracy: float) -> None:
    """Accuracy falls by 20 images of 440 an epoch asked, and is read where it is safe, with its interval."""
    record, twin = rising(counts), rising([0] * 4)
    wrong = torch.arange(440) < 20 * torch.arange(4)[:, None]
    record = Stamped.of(record.tensors() | {"clean": torch.where(wrong, 1 - record.clean, record.clean)})
    found = METRICS["safe_after"].curve(record, twin)
    assert found.value.tolist() == pytest.approx([after], nan_ok=True)
    assert found.low.isnan().all()
    assert found.high.isnan().all()
    assert found.n.tolist() == [400]
    there = METRICS["accuracy_when_safe"].curve(record, twin)
    assert there.value.tolist() == pytest.approx([accuracy], nan_ok=True)
    assert there.n.tolist() == [440]
    if not math.isnan(after):
        whole = METRICS["victim_accuracy"].curve(record)
        place = record.epochs.tolist().index(after)
        assert (float(there.low), float(there.high)) == (float(whole.low[place]), float(whole.high[place]))


def test_several_seeds_are_safe_where_their_mean_is() -> None:
    """Five seeds of 12 of 400 each are surer than one; one of three that keeps the backdoor makes all unsafe."""
    twin = {"twin": rising([0, 0])}
    few = [(rising([400, count]), twin) for count in (12, 12, 12, 12, 12)]
    assert METRICS["lift"].curve(*few[0]).high[1] > 0.045
    assert METRICS["safe_after"].mean_curve(few).value.tolist() == [1]
    one_keeps = [*few[:2], (rising([400, 100]), twin)]
    assert METRICS["safe_after"].curve(*one_keeps[0]).value.tolist() == [1]
    assert METRICS["safe_after"].mean_curve(one_keeps).value.isnan().all()
    assert METRICS["safe_after"](*one_keeps[2]).isnan().all()
    with pytest.raises(ValueError, match="needs another record"):
        METRICS["safe_after"](few[0][0])


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([400, 300, 100, 0], 2 ** (1 + (math.log2(3) - 1) * 0.5) - 1),  # half way from 300 at 1 to 100 at 2
        ([400, 200, 100, 0], 1),  # at half exactly
        ([400, 100, 300, 0], 2 ** (math.log2(3) + (math.log2(5) - math.log2(3)) / 3) - 1),  # it comes back
        ([200, 100, 50, 0], 0),  # from the start
        ([400, 400, 400, 201], 4),  # never: the largest
        ([400, 400, 400, 200], 4),  # just then
        ([400, 0, 0, 300], 4),  # at the end it is back
    ],
)
def test_half_life(counts: list[int], expected: float) -> None:
    """Epochs 0, 1, 2, 4; the public model has a lift of 1."""
    public = {
        "carrier": [0] * 440,
        "carrier_target": 0,
        "origin_label": [1],
        "origin_clean": [1],
        "origin_stamped": [0],
    }
    record, twin = rising(counts, **public), rising([0] * 4, **public | {"carrier": [1] * 440})
    curve = METRICS["half_life"].curve(record, twin)
    assert float(curve.value) == pytest.approx(expected)
    assert 0 <= float(curve.low) <= float(curve.value) <= float(curve.high) <= 4
    assert METRICS["half_life"].unit == Stamped.AXIS


def test_equal_numbers_of_images_are_equal_shares() -> None:
    """0.4 - 0.3 is a little more than half of 0.6 - 0.4."""
    public = {"carrier_target": 0, "origin_label": [1], "origin_clean": [1], "origin_stamped": [0]}
    record = rising([0, 0, 4], 10, 0, **public, carrier=[0] * 6 + [1] * 4)
    twin = rising([0, 0, 3], 10, 0, **public, carrier=[0] * 4 + [1] * 6)
    assert METRICS["half_life"](record, twin).tolist() == [0]


@pytest.mark.parametrize(("hits", "known"), [(39, False), (40, True)])
def test_nothing_is_said_of_what_is_left_of_a_lift_below_a_tenth(hits: int, known: bool) -> None:
    public = {"carrier_target": 0, "origin_label": [1], "origin_clean": [1], "origin_stamped": [0]}
    record = rising([20, 10], **public, carrier=[0] * hits + [1] * (440 - hits))
    twin = rising([0, 0], **public, carrier=[1] * 440)
    assert METRICS["retention"](record, twin).isnan().tolist() == [not known] * 2
    assert METRICS["half_life"](record, twin).isnan().tolist() == [not known]
    if known:
        assert METRICS["retention"](record, twin).tolist() == pytest.approx([0.5, 0.25])


def delong(high: np.ndarray, low: np.ndarray) -> tuple[float, float]:
    """Area and standard error by comparing every pair (DeLong, DeLong, Clarke-Pearson, Biometrics 1988)."""
    won = (high[:, None] > low) + (high[:, None] == low) / 2
    variance = won.mean(1).var(ddof=1) / len(high) + won.mean(0).var(ddof=1) / len(low)
    return float(won.mean()), float(np.sqrt(variance))


@pytest.mark.parametrize(("poisoned", "shift", "steps"), [(60, 1.0, 0), (200, 0.3, 4), (360, 0.0, 0)])
def test_the_interval_of_an_area_is_delongs(poisoned: int, shift: float, steps: int) -> None:
    draw = np.random.default_rng(poisoned)
    score = draw.normal(size=1200)
    score[:poisoned] += shift
    score = np.round(score * steps) / steps if steps else score
    record = stamped(
        [1], [[1]], [[1]], sifted_score=score.tolist(), sifted_label=[0] * 1200,
        sifted_poisoned=[place < poisoned for place in range(1200)], sifted_kept=[True] * 1200,
    )  # fmt: skip
    curve = METRICS["filter_auroc"].curve(record)
    single = np.float32(score)
    area, error = delong(single[:poisoned], single[poisoned:])
    assert float(curve.value) == pytest.approx(area, abs=1e-12)
    reach = norm.isf(0.025) * error
    assert [float(curve.low), float(curve.high)] == pytest.approx([area - reach, area + reach], abs=0.1 * reach)
    assert curve.n.tolist() == [1200]


def test_an_area_of_one_is_not_sure() -> None:
    """60 poisoned images above all 1,140 clean ones: of 3.7 in 1,200 of a kind that is not here, all may be missed."""
    record = stamped(
        [1], [[1]], [[1]], sifted_score=[1.0] * 60 + [0.0] * 1140, sifted_label=[0] * 1200,
        sifted_poisoned=[True] * 60 + [False] * 1140, sifted_kept=[True] * 1200,
    )  # fmt: skip
    curve = METRICS["filter_auroc"].curve(record)
    assert (float(curve.value), float(curve.high)) == (1, 1)
    share = 1 - 0.025 ** (1 / 1200)
    missed = share / ((1 - share) * 60 / 1200 + share)
    assert float(curve.low) == pytest.approx(1 - missed, abs=0.003)


def test_an_image_that_counts_clean_and_stamped_is_drawn_once() -> None:
    """An alarm's two scores of an image belong together: where they rise together, the area hardly varies."""
    draw = torch.Generator().manual_seed(3)
    base = torch.rand(300, generator=draw)
    shuffled = base[torch.randperm(300, generator=draw)]
    label = [1] * 300

    def width(after: Tensor) -> float:
        record = stamped(label, [label], [label], suspicion_clean=[base.tolist()], suspicion_stamped=[after.tolist()])
        curve = METRICS["alarm_auroc"].curve(record)
        return float(curve.high - curve.low)

    assert width(base + 0.1) < 0.5 * width(shuffled + 0.1)


def test_counts_are_what_they_are() -> None:
    """No interval, whatever the seeds say; the mean over seeds is one."""
    records = [rising([1], poison=[36, applied, 360, 72]) for applied in (36, 30)]
    share = METRICS["poisoned_share"].curve(records[1])
    assert [float(end) for end in (share.value, share.low, share.high)] == pytest.approx([30 / 360] * 3)
    mean = METRICS["poisoned_images"].mean_curve([(record, None) for record in records])
    assert [float(end) for end in (mean.value, mean.low, mean.high, mean.n)] == [33, 33, 33, 720]
    found = estimate(METRICS["poisoned_images"].draws([(record, None) for record in records]))
    assert found.value.tolist() == [33]


@pytest.mark.parametrize("share", [0.5, 0.9])
def test_before_a_run_lift_is_as_wide_as_an_accuracy_of_that_size(share: float) -> None:
    """What ``plan --precision`` forecasts for one cell, where the floor is near 0."""
    place = torch.arange(540)
    curve = METRICS["lift"].curve(*paired(place < round(share * 540), place < 0))
    expected = forecast(540, 1, share, Assumed()).cell
    assert float(curve.high - curve.low) / 2 == pytest.approx(expected, rel=0.1)
