"""The widths forecast before a run, beside what simulated runs find."""

import itertools
import math
from statistics import fmean, stdev

import pytest
import torch
from scipy.stats import binomtest
from torch import Tensor

from tl_robust.errors import ConfigError
from tl_robust.metrics.estimate import Draws, estimate
from tl_robust.metrics.precision import Assumed, forecast


def hits(models: int, images: int, share: float, assumed: Assumed, draw: torch.Generator) -> Tensor:
    """Hits ``[models, images]`` under the assumptions: some take the answer that all share for an image."""
    alike = math.sqrt(assumed.correlation)
    common = torch.rand(images, generator=draw) < share
    deviation = assumed.seed_sd * torch.randn(models, 1, generator=draw, dtype=torch.float64) / (1 - alike)
    own = torch.rand(models, images, generator=draw) < share + deviation
    return torch.where(torch.rand(models, images, generator=draw) < alike, common, own).double()


def draws(hit_SN: Tensor) -> Draws:
    right_or_wrong = torch.tensor([[1.0], [0.0]], dtype=torch.float64)
    return Draws.of(hit_SN[:, None], lambda means: means, right_or_wrong)


def reach(found: Draws) -> float:
    low, high = estimate(found).interval()
    return float(high - low) / 2


SETTINGS = [(0.5, 200, 3, 0.02, 0.5), (0.9, 300, 5, 0.01, 0.7), (0.5, 400, 8, 0.05, 0.0), (0.7, 100, 1, 0.02, 0.6)]


@pytest.mark.parametrize(("share", "images", "seeds", "seed_sd", "correlation"), SETTINGS)
def test_forecasts_are_what_simulated_runs_find(
    share: float, images: int, seeds: int, seed_sd: float, correlation: float
) -> None:
    assumed = Assumed(seed_sd, correlation)
    planned = forecast(images, seeds, share, assumed)
    draw = torch.Generator().manual_seed(1)
    found = []
    for _ in range(1500):
        first, second = hits(2 * seeds, images, share, assumed, draw).split(seeds)
        found.append((float(first.mean()), float((second - first).mean())))
    means, differences = zip(*found, strict=True)
    # with one seed the interval speaks of the samples: what seeds add is not in it
    seed_part = 2 * seed_sd**2 if seeds == 1 else 0.0
    assert stdev(differences) == pytest.approx(math.sqrt(planned.difference.error**2 + seed_part), rel=0.06)
    if planned.mean:
        assert stdev(means) == pytest.approx(planned.mean.error, rel=0.06)


@pytest.mark.parametrize(("share", "images", "seeds", "seed_sd", "correlation"), SETTINGS)
def test_intervals_after_a_run_are_as_wide_and_find_as_often_as_forecast(
    share: float, images: int, seeds: int, seed_sd: float, correlation: float
) -> None:
    assumed = Assumed(seed_sd, correlation)
    planned = forecast(images, seeds, share, assumed)
    draw = torch.Generator().manual_seed(2)
    apart, mean, power = [], [], []
    for _ in range(400):
        first, second = (draws(part) for part in hits(2 * seeds, images, share, assumed, draw).split(seeds))
        mean.append(reach(first))
        apart.append(reach(second - first))
        power.append(float(second.value.mean() - first.value.mean()) + planned.difference.detectable > apart[-1])
    assert fmean(apart) == pytest.approx(planned.difference.half, rel=0.06)
    if planned.mean:
        assert fmean(mean) == pytest.approx(planned.mean.half, rel=0.06)
        assert fmean(power) == pytest.approx(0.8, abs=0.05)


def test_one_cell_is_clopper_and_pearsons_interval() -> None:
    for share, images in itertools.product((0.5, 0.9, 1.0), (20, 600)):
        exact = binomtest(round(share * images), images).proportion_ci(method="exact")
        assert forecast(images, 2, share, Assumed()).cell == pytest.approx((exact.high - exact.low) / 2)


def test_textbook_cases() -> None:
    """Without spread of seeds and correlation, S seeds are S times as many images; quantiles are then normal ones."""
    alone = Assumed(seed_sd=0, correlation=0)
    planned = forecast(10000, 4, 0.5, alone)
    assert planned.mean is not None
    assert planned.mean.error == pytest.approx(0.5 / math.sqrt(40000))
    assert planned.difference.error == pytest.approx(math.sqrt(2) * 0.5 / math.sqrt(40000))
    one = forecast(10000, 1, 0.5, Assumed(seed_sd=0.3, correlation=0.75))
    assert one.mean is None
    assert one.difference.error == pytest.approx(math.sqrt(2 * 0.25 / 10000 * 0.25)), "seeds are not in it"
    assert one.difference.half / one.difference.error == pytest.approx(1.96, abs=0.002)
    assert one.difference.detectable / one.difference.error == pytest.approx(2.802, abs=0.002), "Bloom's 2.8"
    few = forecast(10**8, 3, 0.5, Assumed(seed_sd=0.02)).difference
    mean_of_chi = math.sqrt(math.pi) / 2  # of the square root of chi square with 2 degrees of freedom, over its freedom
    assert few.half == pytest.approx(4.303 * mean_of_chi * 0.02 * math.sqrt(2 / 3), rel=0.01), "only seeds are left"


def test_more_helps_and_images_alone_do_not_beat_the_spread_of_seeds() -> None:
    base, seeds, images, endless = (
        forecast(*size, 0.5, Assumed()).difference.error for size in ((600, 3), (600, 6), (1200, 3), (10**9, 3))
    )
    assert seeds < images < base
    assert endless == pytest.approx(0.02 * math.sqrt(2 / 3), rel=1e-3)


@pytest.mark.parametrize(("settings", "said"), [((2, 0.5), "--seed-sd must be a share"), ((0.02, 1), "--correlation")])
def test_assumptions_that_make_no_sense_are_refused(settings: tuple[float, float], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Assumed(*settings)
