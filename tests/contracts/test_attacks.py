"""The contracts of every registered attack, and what the basic ones alone promise."""

import itertools
from contextlib import suppress

import pytest
import torch
from asked import ask, every
from torch import Tensor

from tl_robust import attacks
from tl_robust.attacks import Attack
from tl_robust.attacks.named.ascent import Ascent
from tl_robust.contracts.attack_cases import GRID, asks, cheap, sizes
from tl_robust.contracts.contract import Contract
from tl_robust.contracts.networks import linear, net
from tl_robust.contracts.networks import pixels as data
from tl_robust.errors import ConfigError, UnknownNameError

SAMPLES = 9
BASIC = ("fgsm", "pgd")
ALL_NORMS = (*BASIC, "square", "apgd_ce")  # the others in linf alone, since norms are one part of theirs
CORE = pytest.mark.parametrize(
    "attack", [attacks.get(name, norm=norm) for name in BASIC for norm in GRID],
    ids=lambda attack: f"{attack.title}-{attack.norm}",
)  # fmt: skip


@every("attack", keep=lambda contract, title, case: title == "linf" or case.title in ALL_NORMS)
def test_every_attack_keeps_its_contracts(contract: Contract, case: Attack) -> None:
    ask(contract, case)


def test_attacks_that_take_gradients_look_at_the_model() -> None:
    for name, norm in itertools.product(attacks.names(), GRID):
        with suppress(ConfigError):
            attack = cheap(name, norm)
            assert asks(attack) or not (isinstance(attack, Ascent) or name in BASIC)


@CORE
def test_small_budgets_are_used_up(attack: Attack) -> None:
    images, labels = data()
    eps = torch.tensor(GRID[attack.norm], dtype=torch.float64)
    used = sizes(attack(net(), images, labels, eps.tolist()), images, attack.norm)[[0, 2]] / eps[[0, 2], None]
    assert float(used.mean()) > (0.99 if attack.norm == "linf" else 0.5)


@CORE
def test_what_the_batch_size_leaves_in_float32(attack: Attack) -> None:
    """Float rounding of sums whose order follows the batch.

    Measured on one core: with this net 0 for linf and 2.4e-7 (two steps of float32 at 1) for l2 at every batch size.
    DTN of width 0.25, 250 images, 3 eps: the same in batches of 32 and 100; in batches of 1, where the convolution is
    another one, PGD goes another way for 4 of 750 images (4e-3 of the pixels in l2, 5e-4 in linf, no class differs).
    So one pixel in a thousand may move by up to 2 eps here; draws that followed the batch would move most pixels.
    """
    images, labels = data(torch.float32, 64)
    ids, eps = (
        torch.arange(64),
        {"linf": [2 / 255, 8 / 255, 32 / 255], "l2": [0.1, 0.5, 2.0], "l1": [1, 5, 20]}[attack.norm],
    )
    model = net()
    whole = attack(model, images, labels, eps, sample_id=ids)
    for batch_size in (1, 7, 32):
        parts = [attack(model, images[i], labels[i], eps, sample_id=i) for i in ids.split(batch_size)]
        moved = (torch.cat(parts, 1) - whole).abs()
        assert float((moved > 1e-6).double().mean()) <= 1e-3
        assert float(moved.max()) <= 2 * max(eps)


@CORE
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_model_without_gradient_stays_finite_and_is_counted(attack: Attack, dtype: torch.dtype) -> None:
    images, labels = data(dtype)
    flat = torch.arange(SAMPLES) % 3 == 0

    def model(x: Tensor) -> Tensor:
        """Constant for every third image."""
        return linear(dtype)(x * (~flat).to(dtype).view(-1, 1, 1, 1))

    crafted = attack.craft(model, images, labels, GRID[attack.norm])
    assert bool(crafted.images.isfinite().all())
    assert bool(((crafted.images >= 0) & (crafted.images <= 1)).all())
    assert crafted.notes.zero.tolist() == flat.tolist()
    assert not attack.craft(linear(dtype), images, labels, [0.1]).notes.zero.any()


@CORE
def test_a_gradient_that_is_zero_in_some_pixels_is_not_counted(attack: Attack) -> None:
    images, labels = data(torch.float64)
    images = images * 0.5 + 0.25
    mask = torch.zeros(3, 8, 8, dtype=torch.float64)
    mask[1, 2, 3] = 1
    crafted = attack.craft(lambda x: linear()(x * mask), images, labels, [0.1])
    assert not crafted.notes.zero.any()
    assert bool((crafted.images[0, :, 1, 2, 3] != images[:, 1, 2, 3]).all())


@CORE
@pytest.mark.parametrize("first", [True, False])
def test_the_first_gradient_is_the_one_that_is_counted(attack: Attack, first: bool) -> None:
    images, labels = data(torch.float64)
    calls = []

    def model(x: Tensor) -> Tensor:
        """Blind at the first call, or at every other one."""
        calls.append(len(x))
        return linear()(x) * float((len(calls) == 1) != first)

    assert attack.craft(model, images, labels, [0.05, 0.1]).notes.zero.tolist() == [first] * SAMPLES


@CORE
def test_any_callable_can_be_attacked(attack: Attack) -> None:
    images, labels = data()
    model = net()
    calls = []

    def function(x: Tensor) -> Tensor:
        calls.append(x.dtype)
        return model(x)

    expected = attack(model, images, labels, GRID[attack.norm])
    assert torch.equal(attack(function, images, labels, GRID[attack.norm]), expected)
    assert set(calls) == {torch.float32}
    assert all(parameter.grad is None for parameter in model.parameters())  # not frozen: the attack cannot see them


@CORE
def test_an_eps_above_1_makes_no_sense_in_linf(attack: Attack) -> None:
    images, labels = data()
    if attack.norm != "linf":
        assert attack(net(), images, labels, [1.5]).isfinite().all()
    else:
        with pytest.raises(
            ConfigError, match=r"eps must be 0 to 1 in \[0,1\] pixel units for linf, got 8; write 8/255"
        ):
            attack(net(), images, labels, [8])


def test_a_typo_in_a_name_shows_the_closest() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown attack 'fgms'; did you mean 'fgsm'"):
        attacks.get("fgms")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 0}, r"steps of attack 'pgd' must be at least 1, got 0"),
        ({"steps": 1.5}, r"setting 'steps' of attack 'pgd' must be int, got 1\.5"),
        ({"step_size": 0.0}, r"step_size of attack 'pgd' must be above 0"),
        ({"step_size": float("nan")}, r"step_size of attack 'pgd' must be above 0"),
        ({"random_start": 1}, r"setting 'random_start' of attack 'pgd' must be bool, got 1"),
    ],
)
def test_bad_settings_of_pgd(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        attacks.get("pgd", **settings)
