"""What every registered attack promises, in every norm, on a small convolutional net with BatchNorm and dropout."""

import contextlib
import copy
import dataclasses
import itertools
from collections.abc import Callable
from functools import lru_cache

import pytest
import torch
from torch import Tensor, nn

from tl_robust import attacks
from tl_robust.attacks import Attack
from tl_robust.attacks.named.ascent import Ascent
from tl_robust.errors import ConfigError, UnknownNameError

GRID = {
    "linf": [1 / 255, 0.0, 8 / 255, 32 / 255, 1.0],
    "l2": [0.05, 0.0, 0.5, 2.0, 20.0],
    "l1": [0.5, 0.0, 4.0, 20.0, 200.0],
}  # 0 in the middle
SAMPLES, CLASSES = 9, 5
CHEAP = {"steps": 4, "queries": 30, "restarts": 2, "targets": 2, "epochs": 2}
FEW = {"variance": "variance(copies=2)", "flat": "flat(copies=2)", "admix + scale": "admix(copies=2) + scale(copies=2)"}
BASIC = {"fgsm", "pgd"}  # these with their own settings, and what they alone promise


def _all() -> list[Attack]:
    """Every attack in every norm it has, with fewer steps; one that needs a setting without a default, not at all."""
    found = []
    for name, norm in itertools.product(attacks.names(), GRID):
        with contextlib.suppress(ConfigError):
            plain = attacks.get(name, norm=norm)
            known = {item.name for item in dataclasses.fields(plain)}
            change = {} if name in BASIC else {key: value for key, value in CHEAP.items() if key in known}
            if name not in BASIC and "step_size" in known:
                change["step_size"] = 0.25
            if change.get("restarts") and plain.restarts == 1:
                del change["restarts"]
            if (tricks := getattr(plain, "tricks", "")) in FEW:
                change["tricks"] = FEW[tricks]
            found.append(dataclasses.replace(plain, **change))
    return found


def label_ascent(attack: Attack) -> bool:
    """Whether it climbs the loss of the label straight, image by image."""
    return not (attack.needs_pool or getattr(attack, "tricks", "")) and attack.objective == "label" and asks(attack)


EVERY = pytest.mark.parametrize(
    "attack",
    [attack for attack in _all() if attack.norm == "linf" or attack.title in (*BASIC, "square", "apgd_ce")],
    ids=lambda attack: f"{attack.title}-{attack.norm}",
)
CORE = pytest.mark.parametrize(
    "attack", [attack for attack in _all() if attack.title in BASIC], ids=lambda attack: f"{attack.title}-{attack.norm}"
)


class Net(nn.Sequential):
    """Says what its last layer and its blocks are, as the package's networks do."""

    @property
    def classifier(self) -> nn.Module:
        return self[-1]

    @property
    def blocks(self) -> list[nn.Module]:
        return [self[: len(self) // 2], self[len(self) // 2 : -1]]


def pool(attack: Attack, model: nn.Module, images: Tensor, labels: Tensor) -> object:
    """What an attack with a pool learns from all images, so that batches share it."""
    return attack.fitted(model, images, labels, GRID[attack.norm], seed=2) if attack.needs_pool else None


def net(dtype: torch.dtype = torch.float32) -> nn.Module:
    """A new copy each; its BatchNorm has seen other images, so that eval mode and train mode differ."""
    return copy.deepcopy(_net()).to(dtype)


@lru_cache
def _net() -> nn.Module:
    torch.manual_seed(7)
    module = Net(
        nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout(0.5),
        nn.Conv2d(6, 8, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 9, CLASSES),
    )  # fmt: skip
    with torch.no_grad():
        for _ in range(20):
            module(torch.rand(32, 3, 8, 8) * 0.5)
        module[-1].weight.mul_(10)
    return module.eval()


def linear(dtype: torch.dtype = torch.float64) -> nn.Module:
    torch.manual_seed(3)
    return Net(nn.Flatten(), nn.Linear(3 * 8 * 8, CLASSES)).to(dtype)


def data(dtype: torch.dtype = torch.float32, samples: int = SAMPLES) -> tuple[Tensor, Tensor]:
    """Pixels at 0 and 1 included: most steps leave the range there."""
    draw = torch.Generator().manual_seed(5)
    images = torch.rand(samples, 3, 8, 8, generator=draw, dtype=torch.float64).mul(1.4).sub(0.2).clamp(0, 1)
    return images.to(dtype), torch.randint(CLASSES, (samples,), generator=draw)


def sizes(adversarial: Tensor, images: Tensor, norm: str) -> Tensor:
    """Norm of every perturbation, [K,N], in float64."""
    delta = (adversarial.double() - images.double()).flatten(2)
    return {"linf": delta.abs().amax(2), "l2": delta.square().sum(2).sqrt(), "l1": delta.abs().sum(2)}[norm]


@lru_cache
def asks(attack: Attack) -> bool:
    """Whether it looks at the model at all; noise does not."""
    model, calls = net(), list[object]()
    model[0].register_forward_hook(lambda *call: calls.append(call))
    attack(model, *data(), GRID[attack.norm])
    return bool(calls)


def test_attacks_that_take_gradients_look_at_the_model() -> None:
    assert all(asks(attack) for attack in _all() if isinstance(attack, Ascent) or attack.title in BASIC)


@EVERY
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_range_budget_and_type_at_every_eps(attack: Attack, dtype: torch.dtype) -> None:
    images, labels = data(dtype)
    eps = GRID[attack.norm]
    adversarial = attack(net(dtype), images, labels, eps)
    assert adversarial.shape == (len(eps), *images.shape)
    assert adversarial.dtype == dtype
    assert float(adversarial.min()) >= 0.0
    assert float(adversarial.max()) <= 1.0
    size, allowed = sizes(adversarial, images, attack.norm), torch.tensor(eps, dtype=torch.float64)[:, None]
    assert bool((size <= allowed * (1 + 1e-6) + 1e-7).all())
    uses = (size / allowed)[[0, 2]]  # small budgets are used, not only kept
    assert float(uses.mean()) > (0.99 if attack.norm == "linf" and attack.title in BASIC else 0.5)


@EVERY
def test_eps_zero_is_the_identity_bit_for_bit(attack: Attack) -> None:
    images, labels = data()
    assert torch.equal(attack(net(), images, labels, [0.0])[0], images)
    in_a_grid = attack(net(), images, labels, GRID[attack.norm])
    assert torch.equal(in_a_grid[1], images)
    assert not torch.equal(in_a_grid[0], images)


@EVERY
def test_an_eps_gives_the_same_alone_and_in_any_grid(attack: Attack) -> None:
    images, labels = data()
    eps = GRID[attack.norm]
    together = attack(net(), images, labels, eps)
    backwards = attack(net(), images, labels, eps[::-1]).flip(0)
    assert torch.equal(together, backwards)
    for size, expected in zip(eps, together, strict=True):
        assert torch.equal(attack(net(), images, labels, [size])[0], expected)


@EVERY
def test_it_raises_the_loss_more_than_noise_does(attack: Attack) -> None:
    images, labels = data(torch.float64, 32)
    if not label_ascent(attack):
        pytest.skip("it does not climb this loss straight")
    model, eps = net(torch.float64), {"linf": 8 / 255, "l2": 0.5, "l1": 4.0}[attack.norm]
    adversarial = attack(model, images, labels, [eps])[0]
    spread = {"linf": 1, "l2": 192**0.5, "l1": 192}[attack.norm]
    noise = torch.randn(images.shape, dtype=torch.float64).sign() * eps / spread
    clean, noisy, found = (
        nn.functional.cross_entropy(model(x), labels, reduction="none") for x in (images, images + noise, adversarial)
    )
    assert bool((found > clean).all())
    assert float((found - clean).detach().mean()) > 3 * float((noisy - clean).detach().mean().abs())


@EVERY
def test_same_seed_same_result_and_calls_leave_no_trace(attack: Attack) -> None:
    images, labels = data()
    eps = GRID[attack.norm]
    before = torch.get_rng_state()
    first = attack(net(), images, labels, eps, seed=4)
    model = net()
    state = torch.get_rng_state()
    attack(model, 1 - images, labels, [0.3], seed=9)  # another call of the same object in between
    assert torch.equal(torch.get_rng_state(), state)  # the global generator is not used
    torch.set_rng_state(before)
    torch.rand(3)
    assert torch.equal(attack(model, images, labels, eps, seed=4), first)
    assert torch.equal(dataclasses.replace(attack)(net(), images, labels, eps, seed=4), first)


@EVERY
@pytest.mark.parametrize("batch_size", [1, 2, 7])
def test_random_draws_do_not_depend_on_the_batch(attack: Attack, batch_size: int) -> None:
    images, labels = data(torch.float64, 20)
    ids, eps = torch.arange(20) * 31 + 5, GRID[attack.norm]
    fitted = pool(attack, linear(), images, labels)
    whole = attack(linear(), images, labels, eps, sample_id=ids, seed=2, fitted=fitted)
    parts = [
        attack(linear(), images[part], labels[part], eps, sample_id=ids[part], seed=2, fitted=fitted)
        for part in torch.arange(20).split(batch_size)
    ]
    # L2 draws are float32, their length is summed in another order in another batch: 1e-7 of eps, not 1e-16
    assert float((torch.cat(parts, 1) - whole).abs().max()) <= (1e-9 if attack.norm == "linf" else 1e-4)


@EVERY
def test_random_draws_do_not_depend_on_the_order(attack: Attack) -> None:
    images, labels = data(torch.float64, 20)
    order, eps = torch.randperm(20), GRID[attack.norm]
    fitted = pool(attack, linear(), images, labels)
    straight = attack(linear(), images, labels, eps, seed=2, fitted=fitted)  # without ids the places are the ids
    shuffled = attack(linear(), images[order], labels[order], eps, sample_id=order, seed=2, fitted=fitted)
    assert float((shuffled - straight[:, order]).abs().max()) <= (1e-9 if attack.norm == "linf" else 1e-4)


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


@EVERY
@pytest.mark.parametrize("training", [False, True])
def test_the_model_is_left_as_it_was(attack: Attack, training: bool) -> None:
    images, labels = data()
    model = net().train(training)
    model[1].eval()  # a mode that differs inside, as with frozen BatchNorm
    model[0].weight.requires_grad_(False)
    model[4].weight.grad = torch.full_like(model[4].weight, 3.0)
    before = copy.deepcopy(model.state_dict())
    modes = [module.training for module in model.modules()]
    needs = [parameter.requires_grad for parameter in model.parameters()]
    attack(model, images, labels, GRID[attack.norm])
    after = model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert [module.training for module in model.modules()] == modes
    assert [parameter.requires_grad for parameter in model.parameters()] == needs
    assert all(parameter.grad is None for parameter in model.parameters() if parameter is not model[4].weight)
    assert torch.equal(model[4].weight.grad, torch.full_like(model[4].weight, 3.0))


@EVERY
def test_the_model_is_attacked_in_eval_mode_and_frozen(attack: Attack) -> None:
    images, labels = data()
    expected = attack(net(), images, labels, GRID[attack.norm])
    model, seen = net().train(), set()
    model[4].register_forward_hook(lambda module, *_: seen.add((module.training, module.weight.requires_grad)))
    assert torch.equal(attack(model, images, labels, GRID[attack.norm]), expected)
    assert seen == ({(False, False)} if asks(attack) else set())


@EVERY
def test_the_model_is_restored_after_an_error(attack: Attack) -> None:
    images, labels = data()
    model = net().train()
    model[-1] = nn.Linear(7, CLASSES)  # does not fit
    stops = (
        pytest.raises(RuntimeError, match="shapes cannot be multiplied") if asks(attack) else contextlib.nullcontext()
    )
    with stops:
        attack(model, images, labels, [0.1])
    assert all(module.training for module in model.modules())
    assert all(parameter.requires_grad for parameter in model.parameters())


@EVERY
def test_inputs_are_not_modified(attack: Attack) -> None:
    images, labels = data()
    ids, eps = torch.arange(SAMPLES), list(GRID[attack.norm])
    kept = [tensor.clone() for tensor in (images, labels, ids)]
    result = attack(net(), images, labels, eps, sample_id=ids)
    assert all(torch.equal(now, was) for now, was in zip((images, labels, ids), kept, strict=True))
    assert not images.requires_grad
    assert not result.requires_grad
    assert eps == GRID[attack.norm]
    result.zero_()  # the result shares no memory with the input
    assert torch.equal(images, kept[0])


@EVERY
def test_images_that_require_grad_are_taken_and_left_alone(attack: Attack) -> None:
    images, labels = data()
    expected = attack(net(), images, labels, GRID[attack.norm])
    images.requires_grad_()
    torch.set_warn_always(True)
    try:
        result = attack(net(), images, labels, GRID[attack.norm])
    finally:
        torch.set_warn_always(False)
    assert torch.equal(result, expected)
    assert images.requires_grad
    assert images.grad is None
    assert not result.requires_grad


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


@EVERY
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_any_gradient_mode_of_the_caller(attack: Attack, mode: Callable[[], torch.no_grad]) -> None:
    images, labels = data()
    expected = attack(net(), images, labels, GRID[attack.norm])
    model = net()
    with mode():
        modes = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
        inside, inside_labels, ids = images.clone(), labels.clone(), torch.arange(SAMPLES)  # inference tensors there
        result = attack(model, inside, inside_labels, GRID[attack.norm], sample_id=ids)
        assert (torch.is_grad_enabled(), torch.is_inference_mode_enabled()) == modes
    assert torch.equal(result, expected)


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


@EVERY
def test_attacks_are_frozen_and_show_all_settings(attack: Attack) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        attack.norm = "l2"
    shown = repr(attack)
    assert shown.startswith(f"{type(attack).__name__}(")
    for field in dataclasses.fields(attack):
        assert f"{field.name}={getattr(attack, field.name)!r}" in shown
    assert hash(attack) == hash(dataclasses.replace(attack))
    fields = {field.name for field in dataclasses.fields(attack)}
    assert {name for name in attack.__dict__ if not name.startswith("_")} == fields
    attack(net(), *data(), GRID[attack.norm])
    assert repr(attack) == shown


@EVERY
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"eps": [0.1, -0.1]}, r"eps must be 0 .* got -0\.1; write 8/255, not 8"),
        ({"eps": [float("nan")]}, r"eps must be 0 .* got nan"),
        ({"eps": [float("inf")]}, r"eps must be 0 .* got inf"),
        ({"eps": []}, r"eps is an empty list: expected at least one size"),
        ({"eps": [0.1, 0.2, 0.1]}, r"eps has a value twice: 0\.1, 0\.2, 0\.1"),
        ({"images": torch.full((2, 3, 8, 8), 1.01)}, r"images must be in \[0, 1\], got 1\.01 to 1\.01; put normaliz"),
        ({"images": torch.full((2, 3, 8, 8), -0.01)}, r"images must be in \[0, 1\], got -0\.01"),
        ({"images": torch.full((2, 3, 8, 8), torch.nan)}, r"images must be in \[0, 1\], got nan"),
        ({"images": torch.zeros(2, 3, 8, 8, dtype=torch.uint8)}, r"images must be floating point .* got torch\.uint8"),
        ({"images": torch.zeros(2, 192)}, r"images must be floating point \[N,C,H,W\], got torch\.float32 \[2, 192\]"),
        ({"labels": torch.zeros(3, dtype=torch.int64)}, r"labels must be int64 \[2\], got torch\.int64 \[3\]"),
        ({"labels": torch.zeros(2)}, r"labels must be int64 \[2\], got torch\.float32 \[2\]"),
        (
            {"labels": torch.zeros(2, CLASSES, dtype=torch.int64)},
            r"labels must be int64 \[2\], got torch\.int64 \[2, 5",
        ),
    ],
)
def test_bad_input_is_refused(attack: Attack, change: dict[str, object], message: str) -> None:
    good = {"images": torch.zeros(2, 3, 8, 8), "labels": torch.zeros(2, dtype=torch.int64), "eps": [0.1]}
    with pytest.raises(ConfigError, match=message):
        attack(net(), **(good | change))


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


@pytest.mark.parametrize("name", sorted(set(attacks.names()) - {"external"}))
def test_unknown_norms_and_settings_are_refused(name: str) -> None:
    with pytest.raises(UnknownNameError, match=r"unknown norm 'l_2'; did you mean 'l2'\? Known: l1, l2, linf"):
        attacks.get(name, norm="l_2")
    with pytest.raises(UnknownNameError, match=rf"unknown setting of attack '{name}' 'nrm'; did you mean 'norm'"):
        attacks.get(name, nrm="l2")
    with pytest.raises(ConfigError, match="must be str, got 2"):
        attacks.get(name, norm=2)


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
