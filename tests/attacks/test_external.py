"""Attacks of other libraries, here a library made for the test; tests/parity runs the real ones."""

import random
import sys
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tl_robust import attacks
from tl_robust.attacks import evaluate
from tl_robust.attacks.named.external import parse_options
from tl_robust.errors import ConfigError, UnknownNameError

EPS = [0.0, 4 / 255, 16 / 255]


class Step:
    """One signed step of size eps. Distance Measure : Linf, L1"""

    def __init__(self, model: nn.Module, eps: float = 0.5, size: float = 1.0, noise: bool = False) -> None:
        self.model, self.eps, self.size, self.noise = model, eps, size, noise

    def set_device(self, device: torch.device) -> None:
        self.device = device

    def __call__(self, images: Tensor, labels: Tensor) -> Tensor:
        images = images.clone().requires_grad_()
        nn.functional.cross_entropy(self.model(images), labels).backward()
        step = images.grad.sign()
        if self.noise:
            step = (torch.rand_like(images) + random.random() + np.random.rand()) / 3
        return images.detach() + self.size * self.eps * step


class Normed(Step):
    """It has the norm as a setting."""

    def __init__(self, model: nn.Module, norm: str = "Linf", eps: float = 0.5) -> None:
        super().__init__(model, eps)
        assert norm == "L2"


class Rude(Step):
    """It changes all it can reach."""

    def __call__(self, images: Tensor, labels: Tensor) -> Tensor:
        self.model.train()
        for parameter in self.model.parameters():
            parameter.requires_grad_(True)
        self.model(images)  # moves the running mean
        with torch.no_grad():
            self.model[0].weight.mul_(2)
        self.model[0].register_forward_hook(lambda *_: None)
        self.model[0].register_full_backward_hook(lambda *_: None)
        return super().__call__(images, labels)


class Broken(Step):
    """It returns what ``kind`` says."""

    def __init__(self, model: nn.Module, eps: float = 0.5, kind: str = "nan") -> None:
        super().__init__(model, eps)
        self.kind = kind

    def __call__(self, images: Tensor, labels: Tensor) -> object:
        images = images.clone()
        images[1, 0, 0, 0] = torch.nan
        return {"nan": images, "short": images[:1], "tuple": (images, labels)}[self.kind]


class Smallest(Step):
    """It takes no eps: moves image i by 0.02 * i."""

    def __init__(self, model: nn.Module, unit: float = 0.02) -> None:
        super().__init__(model)
        self.unit = unit

    def __call__(self, images: Tensor, labels: Tensor) -> Tensor:
        return images + self.unit * torch.arange(len(images)).view(-1, 1, 1, 1)


@pytest.fixture(autouse=True)
def _library(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("torchattacks")
    module.PGD, module.Normed, module.Rude, module.Broken, module.Smallest = Step, Normed, Rude, Broken, Smallest
    monkeypatch.setitem(sys.modules, "torchattacks", module)
    functions = ModuleType("adv_lib.attacks")

    def shift(model: nn.Module, inputs: Tensor, labels: Tensor, ε: float, norm: float, by: float = 1.0) -> Tensor:
        assert norm == {"linf": float("inf"), "l2": 2.0, "l1": 1.0}["linf"]
        return inputs + by * ε

    def free(model: nn.Module, inputs: Tensor, labels: Tensor, eps: float | None = None) -> Tensor:
        assert eps is None
        return inputs + 0.03

    functions.shift, functions.free, functions.walk_l2 = shift, free, free
    monkeypatch.setitem(sys.modules, "adv_lib", ModuleType("adv_lib"))
    monkeypatch.setitem(sys.modules, "adv_lib.attacks", functions)


def net() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 36, 5))


def data() -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(5)
    return torch.rand(6, 3, 8, 8, generator=draw) * 0.4 + 0.3, torch.randint(5, (6,), generator=draw)


def crafted(
    of: str, options: str = "", model: object = None, eps: list[float] | None = None, **named: object
) -> Tensor:
    images, labels = data()
    norm = named.pop("norm", "linf")
    attack = attacks.get("external", of=of, options=options, norm=norm)
    return attack(net() if model is None else model, images, labels, EPS if eps is None else eps, **named)


def test_it_is_run_for_every_eps_away_from_the_label() -> None:
    images, labels = data()
    assert torch.equal(crafted("torchattacks:PGD"), attacks.get("fgsm")(net(), images, labels, EPS))
    assert torch.equal(crafted("adv-lib:shift", "by=1/2")[2], images + 0.5 * (16 / 255))


def test_without_labels_the_surrogate_s_own_prediction_is_the_label() -> None:
    images, _ = data()
    with torch.no_grad():
        own = net().eval()(images).argmax(1)
    attack = attacks.get("external", of="torchattacks:PGD")
    expected = attacks.get("fgsm")(net(), images, own, EPS)
    assert torch.equal(attack(net(), images, None, EPS), expected)
    prediction = attacks.get("external", of="torchattacks:PGD", objective="prediction")
    assert torch.equal(prediction(net(), images, (own + 1) % 5, EPS), expected)


def test_any_callable_is_given_as_a_module() -> None:
    model = net().eval()
    assert torch.equal(crafted("torchattacks:PGD", model=lambda x: model(x)), crafted("torchattacks:PGD"))


def test_the_norm_is_passed_in_the_library_s_spelling() -> None:
    crafted("torchattacks:Normed", norm="l2")
    crafted("adv-lib:shift")
    with pytest.raises(AssertionError):
        crafted("torchattacks:Normed")


def test_a_smallest_perturbation_runs_once_and_counts_within_eps() -> None:
    images, _ = data()
    found = crafted("torchattacks:Smallest", eps=[0.0, 0.03, 0.09])
    moved = (found - images).abs().flatten(2).amax(2)
    expected = [[0] * 6, [0, 0.02, 0, 0, 0, 0], [0, 0.02, 0.04, 0.06, 0.08, 0]]
    assert torch.allclose(moved, torch.tensor(expected), atol=1e-6)
    assert float((crafted("adv-lib:free")[2] - images).mean()) == pytest.approx(0.03, abs=1e-6)  # its eps is optional


def test_what_leaves_the_budget_is_seen_and_not_clipped() -> None:
    images, labels = data()
    for size, good in ((1.0, True), (1.1, False)):
        attack = attacks.get("external", of="torchattacks:PGD", options=f"size={size}")
        outcome = evaluate(attack, surrogate=net(), victims={"b": net()}, images=images, labels=labels, eps=EPS)["b"]
        assert outcome.valid.all(1).tolist() == [True, good, good]
    assert float((crafted("torchattacks:PGD", "size=1.1")[2] - images).abs().max()) == pytest.approx(1.1 * 16 / 255)


def test_random_numbers_repeat_by_seed_and_ids_and_leave_no_trace() -> None:
    model = net()
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    first = crafted("torchattacks:PGD", "noise=True", model=model, seed=4)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.array_equal(np.random.get_state()[1], states[1])
    assert random.getstate() == states[2]
    torch.rand(3), np.random.rand(), random.random()
    assert torch.equal(crafted("torchattacks:PGD", "noise=True", model=model, seed=4), first)
    alone = crafted("torchattacks:PGD", "noise=True", model=model, seed=4, eps=EPS[2:])[0]
    assert torch.equal(alone, first[2])
    assert not torch.equal(crafted("torchattacks:PGD", "noise=True", model=model, seed=5), first)
    shifted = crafted("torchattacks:PGD", "noise=True", model=model, seed=4, sample_id=torch.arange(6) + 1)
    assert not torch.equal(shifted, first)


def test_what_the_library_does_to_the_model_is_undone() -> None:
    model = net().train()
    model[1].eval()
    model[3].weight.requires_grad_(False)
    calls = []
    handle = model[0].register_forward_hook(lambda *_: calls.append(1))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    first = crafted("torchattacks:Rude", model=model)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert [module.training for module in model] == [True, False, True, True]
    assert [parameter.requires_grad for parameter in model.parameters()] == [True] * 4 + [False, True]
    assert all(parameter.grad is None for parameter in model.parameters())
    assert list(model[0]._forward_hooks) == [handle.id]
    assert not model[0]._backward_hooks
    assert calls
    assert torch.equal(crafted("torchattacks:Rude", model=model), first)


def test_it_is_undone_after_an_error_too() -> None:
    model = net().eval()
    model[3] = nn.Linear(7, 5)
    before, state = model[0].weight.clone(), torch.get_rng_state()
    attack = attacks.get("external", of="torchattacks:Rude")
    with pytest.raises(RuntimeError):
        attack(model, *data(), EPS)
    assert torch.equal(model[0].weight, before)
    assert torch.equal(torch.get_rng_state(), state)
    assert not model[0]._forward_hooks


def test_the_first_gradient_is_taken_down() -> None:
    images, labels = data()
    flat = torch.arange(6) % 2 == 0
    inner = net().eval()
    attack = attacks.get("external", of="torchattacks:PGD")
    notes = attack.craft(lambda x: inner(x * (~flat).view(-1, 1, 1, 1)), images, labels, EPS).notes
    assert notes.zero.tolist() == flat.tolist()
    rise = notes.last_loss - notes.first_loss
    assert rise[flat].tolist() == [0, 0, 0]
    assert bool((rise[~flat] > 0).all())


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("nan", r"must return finite images, got 1 of 6 that are not"),
        ("short", r"must return images \[6, 3, 8, 8\], got \[1, 3, 8, 8\]"),
        ("tuple", r"must return images \[6, 3, 8, 8\], got tuple"),
    ],
)
def test_what_is_no_images_is_refused(kind: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        crafted("torchattacks:Broken", f"kind={kind}")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, r"setting 'of' must be library:attack, such as torchattacks:PGD, got ''"),
        ({"of": "torchattacks"}, r"must be library:attack"),
        ({"of": "torchatacks:PGD"}, r"unknown attack library 'torchatacks'; did you mean 'torchattacks'"),
        ({"of": "torchattacks:PDG"}, r"unknown attack of torchattacks 'PDG'; did you mean 'PGD'"),
        ({"of": "torchattacks:PGD", "options": "sise=2"}, r"unknown option of torchattacks:PGD 'sise'; .* 'size'"),
        ({"of": "torchattacks:PGD", "options": "eps=2"}, r"option 'eps' of torchattacks:PGD is not to be set"),
        ({"of": "torchattacks:PGD", "options": "model=2"}, r"option 'model' of torchattacks:PGD is not to be set"),
        ({"of": "torchattacks:Normed", "options": "norm=L2"}, r"option 'norm' of .* is not to be set"),
        ({"of": "torchattacks:PGD", "norm": "l2"}, r"is an attack in l1 or linf, got norm 'l2'"),
        ({"of": "adv-lib:walk_l2"}, r"is an attack in l2, got norm 'linf'"),
        ({"of": "torchattacks:PGD", "options": "size"}, r"options must be name=value, .* got 'size'"),
        ({"of": "torchattacks:PGD", "options": "size=[1"}, r"options must be name=value"),
        ({"of": "torchattacks:PGD", "options": "size=1/0"}, r"options must be name=value"),
        ({"of": "torchattacks:PGD", "options": "size=1, size=2"}, r"options must be name=value, .* each once"),
        ({"of": "torchattacks:PGD", "options": "size=open('x')"}, r"options must be name=value"),
        ({"of": "torchattacks:PGD", "options": "**{}"}, r"options must be name=value"),
        ({"of": "torchattacks:PGD", "objective": "margin"}, r"has the library's own loss, got objective 'margin'"),
    ],
)
def test_bad_settings(settings: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        attacks.get("external", **settings)


def test_a_missing_library_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchattack", None)
    with pytest.raises(ConfigError, match=r"needs torchattack, which cannot be imported .*pip install torchattack"):
        attacks.get("external", of="torchattack:PGD")
    with pytest.raises(UnknownNameError):
        attacks.get("external", of="foolboks:PGD")


def test_options_are_plain_values() -> None:
    text = "steps=10, alpha=2/255, low=-1.5, loss=ce, name='a, b', on=True, off=false, none=None, pair=(1, 2)"
    assert parse_options(text) == {
        "steps": 10, "alpha": 2 / 255, "low": -1.5, "loss": "ce", "name": "a, b", "on": True, "off": False,
        "none": None, "pair": (1, 2),
    }  # fmt: skip
    assert parse_options("") == {}
