"""What differential privacy claims is what the accountant counts, and its batches are Poisson samples."""

from __future__ import annotations

import pytest
import torch
from opacus.accountants import PRVAccountant

from tl_robust.data.batches import Batches
from tl_robust.defenses import parse
from tl_robust.defenses.dp import Dp
from tl_robust.errors import ConfigError
from tl_robust.types import ImageSet

IMAGES = ImageSet(torch.zeros(500, 1, 2, 2, dtype=torch.uint8), torch.zeros(500, dtype=torch.long))


@pytest.mark.parametrize(("noise", "steps"), [(1.0, 10), (0.82, 20), (3.2, 20)])
def test_epsilon_is_that_of_the_accountant(noise: float, steps: int) -> None:
    accountant = PRVAccountant()
    for _ in range(steps):
        accountant.step(noise_multiplier=noise, sample_rate=0.2)
    counted = accountant.get_epsilon(1e-4, eps_error=0.01, delta_error=1e-7)
    assert Dp(noise=noise).spent(steps) == pytest.approx(counted, abs=1e-6)


@pytest.mark.parametrize(("epsilon", "noise"), [(1.0, 3.20), (3.0, 1.45), (8.0, 0.82)])
def test_noise_follows_from_epsilon_which_is_never_exceeded(epsilon: float, noise: float) -> None:
    defense = Dp(epsilon=epsilon)
    assert defense.multiplier(20) == pytest.approx(noise, abs=0.01)
    assert epsilon - 0.02 < defense.spent(20) <= epsilon
    assert defense.privacy == (epsilon, 1e-4)


@pytest.mark.parametrize(("epsilon", "noise"), [(1.0, 3.52), (3.0, 1.58), (8.0, 0.89)])
def test_renyi_orders_ask_for_more_noise(epsilon: float, noise: float) -> None:
    assert Dp(epsilon=epsilon, accountant="rdp").multiplier(20) == pytest.approx(noise, abs=0.02)


def test_an_account_is_of_the_steps_of_all_epochs() -> None:
    told = Dp(epsilon=3.0, sampling=0.3).account(8, 500)
    assert (told["steps"], told["images"]) == (24, 500), "an epoch has 3 batches of 0.3"
    assert (told["noise"], told["spent"]) == (
        Dp(epsilon=3.0, sampling=0.3).multiplier(24),
        Dp(epsilon=3.0, sampling=0.3).spent(24),
    )
    control = Dp(noise=0).account(8, 500)
    assert (control["epsilon"], control["spent"], control["noise"]) == (None, None, 0)
    composed = parse("dp(epsilon=3, sampling=0.3) + squeeze")
    assert composed is not None
    assert composed.account(8, 500) == told
    assert parse("squeeze").account(8, 500) == {}  # type: ignore[union-attr]


def test_a_noise_that_is_given_claims_nothing() -> None:
    assert Dp(noise=0).privacy is None
    assert Dp(noise=0).spent(20) == float("inf")
    assert str(Dp(noise=0.5)) == "dp(noise=0.5)"


def test_a_claim_is_never_named_without_epsilon_and_delta() -> None:
    assert str(parse("dp")) == "dp(delta=0.0001, epsilon=8.0)"
    assert parse(str(Dp(epsilon=3.0, clip=2.0))) == Dp(epsilon=3.0, clip=2.0)
    assert parse("dp(epsilon=3)") == Dp(epsilon=3.0)


def test_batches_are_poisson_samples_with_keyed_draws() -> None:
    def batches(seed: int = 1) -> list[list[int]]:
        loader = Batches(IMAGES, 7, seed=seed, sampling=0.1)
        return [ids.tolist() for _ in range(100) for _, _, ids in loader]

    drawn = batches()
    assert len(drawn) == 1000
    sizes = torch.tensor([len(ids) for ids in drawn], dtype=torch.float64)
    assert abs(float(sizes.mean()) - 50) < 0.85  # four deviations of the mean
    assert 0.82 < float(sizes.var()) / 45 < 1.18
    count = torch.bincount(torch.tensor([each for ids in drawn for each in ids]), minlength=500).double()
    assert 0.75 < float(count.var()) / 90 < 1.25  # shuffled epochs would have 0
    assert drawn == batches() != batches(2)


def test_a_loader_goes_on_within_an_epoch() -> None:
    whole, begun = (Batches(IMAGES, 7, seed=1, sampling=0.1) for _ in range(2))
    every = [ids.tolist() for _, _, ids in whole]
    begun.load_state_dict({"epoch": 0, "batch": 4})
    assert [ids.tolist() for _, _, ids in begun] == every[4:]


@pytest.mark.parametrize(
    "wrong",
    [
        {"epsilon": 0},
        {"epsilon": 101},
        {"delta": 0},
        {"delta": 1.0},
        {"clip": 0},
        {"sampling": 1.1},
        {"lr": -1},
        {"noise": -2},
    ],
)
def test_settings_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=f"setting '{next(iter(wrong))}' of defense 'dp'"):
        Dp(**wrong)
