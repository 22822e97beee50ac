"""FGSM and PGD beside other libraries, bit for bit, and the libraries' own attacks by name."""

import copy
import inspect
import random
from functools import lru_cache

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tl_robust import attacks
from tl_robust.attacks import Attack, evaluate
from tl_robust.attacks.named.external import LIBRARIES
from tl_robust.errors import ConfigError, UnknownNameError

EPS = [1 / 255, 2 / 255, 4 / 255, 8 / 255, 16 / 255, 32 / 255, 64 / 255]
EPS_L2 = [0.05, 0.3, 1.0, 3.0, 10.0]
STEPS, SHARE, SAMPLES = 10, 0.25, 12


@lru_cache
def _net() -> nn.Module:
    torch.manual_seed(7)
    module = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout(0.5),
        nn.Conv2d(6, 8, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 49, 5),
    )  # fmt: skip
    with torch.no_grad():
        for _ in range(20):
            module(torch.rand(32, 3, 16, 16) * 0.5)
    return module.eval()


def net() -> nn.Module:
    return copy.deepcopy(_net())


def data(samples: int = SAMPLES) -> tuple[Tensor, Tensor]:
    """Pixels at 0 and 1 included; the labels are those that the net gives, so that there is something to fool."""
    draw = torch.Generator().manual_seed(5)
    images = torch.rand(samples, 3, 16, 16, generator=draw).mul(1.4).sub(0.2).clamp(0, 1)
    with torch.no_grad():
        return images, _net()(images).argmax(1)


def theirs(library: str, name: str, eps: float, norm: str = "linf") -> Tensor:
    """As the library's own user would call it."""
    images, labels = data()
    model, step = net(), SHARE * eps
    module = pytest.importorskip(library)
    if library == "foolbox":
        step_of = {"rel_stepsize": SHARE, "steps": STEPS, "random_start": False}
        kind, settings = {
            ("fgsm", "linf"): (module.attacks.FGSM, {}),
            ("fgsm", "l2"): (module.attacks.FGM, {}),
            ("pgd", "linf"): (module.attacks.LinfPGD, step_of),
            ("pgd", "l2"): (module.attacks.L2PGD, step_of),
        }[name, norm]
        wrapped = module.PyTorchModel(model, bounds=(0, 1), device="cpu")
        return kind(**settings)(wrapped, images, labels, epsilons=eps)[0]
    if name == "fgsm":
        return module.FGSM(model, eps=eps)(images, labels)
    kind = module.PGDL2 if norm == "l2" else module.PGD
    return kind(model, eps=eps, alpha=step, steps=STEPS, random_start=False)(images, labels)


def ours(name: str, norm: str = "linf") -> Attack:
    settings = {"steps": STEPS, "step_size": SHARE, "random_start": False} if name == "pgd" else {}
    return attacks.get(name, norm=norm, **settings)


def crafted(attack: Attack, eps: list[float], **settings: object) -> Tensor:
    images, labels = data()
    return attack(net(), images, labels, eps, **settings)


@pytest.mark.parametrize("library", ["torchattacks", "foolbox"])
@pytest.mark.parametrize("name", ["fgsm", "pgd"])
def test_linf_is_the_same_bit_for_bit_at_every_eps(library: str, name: str) -> None:
    found = crafted(ours(name), EPS)
    assert not torch.equal(found[0], found[1])
    for size, adversarial in zip(EPS, found, strict=True):
        assert torch.equal(adversarial, theirs(library, name, size)), f"at eps {size}"


@pytest.mark.parametrize(("library", "name"), [("foolbox", "fgsm"), ("foolbox", "pgd"), ("torchattacks", "pgd")])
def test_l2_is_the_same_but_for_rounding(library: str, name: str) -> None:
    found = crafted(ours(name, "l2"), EPS_L2)
    for size, adversarial in zip(EPS_L2, found, strict=True):
        assert float((adversarial - theirs(library, name, size, "l2")).abs().max()) <= 1e-6, f"at eps {size}"


@pytest.mark.parametrize(
    ("of", "options"),
    [
        ("torchattacks:FGSM", ""),
        ("torchattacks:PGD", f"steps={STEPS}, random_start=False, alpha="),
        ("foolbox:FGSM", ""),
        ("foolbox:LinfPGD", f"steps={STEPS}, random_start=False, rel_stepsize={SHARE}"),
    ],
)
def test_the_same_by_name_is_what_the_library_gives_and_what_ours_gives(of: str, options: str) -> None:
    name = "pgd" if "PGD" in of else "fgsm"
    expected = crafted(ours(name), EPS)
    for size, own in zip(EPS, expected, strict=True):
        full = f"{options}{SHARE * size!r}" if options.endswith("=") else options
        found = crafted(attacks.get("external", of=of, options=full), [size])[0]
        assert torch.equal(found, theirs(of.partition(":")[0], name, size))
        assert torch.equal(found, own)


EXAMPLES = [
    ("torchattacks:MIFGSM", "steps=4", "linf"),
    ("torchattacks:PGD", "steps=4", "linf"),
    ("torchattacks:APGD", "steps=4", "l2"),
    ("torchattacks:PIFGSM", "num_iter_set=4", "linf"),
    ("torchattacks:Square", "n_queries=30", "linf"),
    ("foolbox:LinfPGD", "steps=4", "linf"),
    ("foolbox:L2AdditiveGaussianNoiseAttack", "", "l2"),
    ("torchattack:MIFGSM", "steps=4", "linf"),
    ("torchattack:PGD", "steps=4", "linf"),
    ("torchattack:PGDL2", "steps=4", "l2"),
    ("torchattack:L2T", "steps=2, num_scale=1", "linf"),
    ("adv-lib:apgd", "n_iter=4, loss_function=ce", "linf"),
    ("adv-lib:pgd_linf", "steps=4", "linf"),
    ("torchattacks:DeepFool", "steps=20", "l2"),  # it leaves some images short of the boundary
]
SMALLEST = [
    ("foolbox:L2FMNAttack", "steps=20", "l2"),
    ("foolbox:LinfDeepFoolAttack", "steps=20", "linf"),
    ("adv-lib:fmn", "steps=20", "linf"),
    ("adv-lib:ddn", "steps=20", "l2"),
    ("torchattack:DeepFool", "steps=20, num_classes=5", "l2"),
]


@pytest.mark.parametrize(("of", "options", "norm"), EXAMPLES + SMALLEST)
def test_attacks_by_name_are_within_the_budget_repeat_and_leave_no_trace(of: str, options: str, norm: str) -> None:
    images, labels = data()
    attack = attacks.get("external", of=of, options=options, norm=norm)
    eps = [0.0, *(EPS[3:5] if norm == "linf" else EPS_L2[1:3])]
    model = net().train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    first = attack(model, images, labels, eps, seed=3)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.array_equal(np.random.get_state()[1], states[1])
    assert random.getstate() == states[2]
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert all(module.training for module in model.modules())
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())
    assert not any(module._forward_hooks or module._backward_hooks for module in model.modules())
    torch.rand(5)
    assert torch.equal(attack(net(), images, labels, eps, seed=3), first)
    assert torch.equal(attack(net(), images, labels, eps[2:], seed=3)[0], first[2])
    assert torch.equal(first[0], images)
    outcome = evaluate(attack, surrogate=net(), victims={"b": net()}, images=images, labels=labels, eps=eps, seed=3)[
        "b"
    ]
    assert bool(outcome.valid.all())
    assert int((outcome.adv_a[2] != labels).sum()) > int((outcome.clean_a != labels).sum()) or "Noise" in of


@pytest.mark.parametrize(("of", "options", "norm"), SMALLEST)
def test_smallest_perturbations_count_where_they_fit_and_fool(of: str, options: str, norm: str) -> None:
    images, labels = data()
    eps = [1e-4, *(EPS if norm == "linf" else EPS_L2)]
    found = attacks.get("external", of=of, options=options, norm=norm)(net(), images, labels, eps)
    with torch.no_grad():
        wrong = torch.stack([net()(adversarial).argmax(1) != labels for adversarial in found])
    moved = (found != images).flatten(2).any(2)
    assert not bool(moved[0].any())  # nothing is that small
    assert bool(moved[-1].all())
    assert bool(wrong[moved].float().mean() > 0.9)
    assert bool((moved.int().diff(dim=0) >= 0).all())


def test_a_smallest_perturbation_is_the_library_s_own_within_eps_and_none_beyond() -> None:
    images, labels = data()
    raw = pytest.importorskip("torchattacks").DeepFool(net(), steps=20)(images, labels)
    size = (raw - images).flatten(1).norm(dim=1)
    attack = attacks.get("external", of="torchattacks:DeepFool", options="steps=20", norm="l2")
    eps = [0.05, float(size.median()) + 1e-3, 10.0]
    for limit, found in zip(eps, attack(net(), images, labels, eps), strict=True):
        for one, own, clean, length in zip(found, raw, images, size, strict=True):
            assert torch.equal(one, own if length <= limit else clean)


def test_random_starts_differ_by_seed_and_not_by_eps() -> None:
    attack = attacks.get("external", of="torchattacks:PGD", options="steps=1, alpha=0")
    images, _ = data()
    first, other = (crafted(attack, EPS[:2], seed=seed) for seed in (0, 1))
    assert not torch.equal(first, other)
    inside = (images > 0.02) & (images < 0.98)
    assert float(((first[1] - images) - 2 * (first[0] - images))[inside].abs().max()) < 1e-6


def test_what_the_libraries_state_is_checked() -> None:
    for of, norm in (
        ("torchattacks:PGD", "l2"), ("torchattacks:PGDL2", "linf"), ("foolbox:LinfPGD", "l2"),
        ("foolbox:L2PGD", "linf"), ("torchattack:PGDL2", "linf"), ("adv-lib:carlini_wagner_l2", "linf"),
        ("torchattacks:APGD", "l1"),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=rf"{of} is an attack in .*, got norm '{norm}'"):
            attacks.get("external", of=of, norm=norm)
    for of, close in (("torchattacks:PDG", "PGD"), ("foolbox:LinfPDG", "LinfPGD"), ("adv-lib:fmm", "fmn")):
        with pytest.raises(UnknownNameError, match=f"did you mean '{close}'"):
            attacks.get("external", of=of)
    with pytest.raises(UnknownNameError, match=r"unknown option of torchattacks:PGD 'step'; did you mean 'steps'"):
        attacks.get("external", of="torchattacks:PGD", options="step=3")


def test_the_settings_that_are_passed_exist_in_these_releases() -> None:
    torchattacks, adv = pytest.importorskip("torchattacks"), pytest.importorskip("adv_lib.attacks")
    assert "eps" in inspect.signature(torchattacks.PGD).parameters
    assert "max_epsilon" in inspect.signature(torchattacks.PIFGSM).parameters
    assert "ε" in inspect.signature(adv.pgd_linf).parameters
    assert set(LIBRARIES) == {"torchattacks", "foolbox", "torchattack", "adv-lib"}
