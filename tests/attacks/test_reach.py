"""Networks behind functions and objects are found, put in eval mode, frozen and restored; nothing is executed."""

import functools
import sys
import types
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tl_robust import attacks
from tl_robust.attacks import evaluate
from tl_robust.attacks.reach import modules_behind
from tl_robust.metrics import METRICS

Wrap = Callable[[nn.Module], Callable[[Tensor], Tensor]]


def network() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(), nn.Linear(512, 10)
    )


class Wrapper:
    """An object with a network."""

    def __init__(self, net: nn.Module) -> None:
        self.net = net

    def __call__(self, images: Tensor) -> Tensor:
        return self.net(images)

    def predict(self, images: Tensor) -> Tensor:
        return self.net(images)


class Slotted:
    __slots__ = ("net",)

    def __init__(self, net: nn.Module) -> None:
        self.net = net

    def __call__(self, images: Tensor) -> Tensor:
        return self.net(images)


class Listed(nn.Module):
    """A module that keeps another one in a list, where eval() does not see it."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.nets = [{"net": net}]

    def forward(self, images: Tensor) -> Tensor:
        return self.nets[0]["net"](images)


def forwarded(net: nn.Module) -> nn.Module:
    """A module whose forward was replaced by a closure."""
    outer = nn.Identity()
    outer.forward = lambda images: net(images)  # type: ignore[method-assign]
    return outer


def decorated(net: nn.Module) -> Callable[[Tensor], Tensor]:
    def plain(images: Tensor) -> Tensor:
        return net(images)

    @functools.wraps(plain)
    def outer(*given: Any) -> Tensor:
        return plain(*given)

    return torch.enable_grad()(outer)


HERE: dict[str, nn.Module] = {}
GLOBAL: Any = None


def by_global_name(net: nn.Module) -> Callable[[Tensor], Tensor]:
    globals()["GLOBAL"] = net
    return lambda images: GLOBAL(images)


def by_global_helper(net: nn.Module) -> Callable[[Tensor], Tensor]:
    HERE["net"] = net
    return lambda images: _helper(images)


def _helper(images: Tensor) -> Tensor:
    return HERE["net"](images)


def by_imported_module(net: nn.Module) -> Callable[[Tensor], Tensor]:
    zoo = types.ModuleType("zoo")
    zoo.net = net  # type: ignore[attr-defined]
    return eval("lambda images: zoo.net(images)", {"zoo": zoo, "__name__": "elsewhere"})  # type: ignore[no-any-return]


WRAPS: dict[str, Wrap] = {
    "itself": lambda net: net,
    "bound method": lambda net: net.forward,
    "method of an object": lambda net: Wrapper(net).predict,
    "object": lambda net: Wrapper(net),
    "slots": lambda net: Slotted(net),
    "partial": lambda net: functools.partial(net),
    "partial of a function": lambda net: functools.partial(lambda net, images: net(images), net),
    "keyword of a partial": lambda net: functools.partial(lambda images, net: net(images), net=net),
    "lambda": lambda net: lambda images: net(images),
    "nested": lambda net: lambda images: (lambda inner: net(inner))(images),
    "closure of a closure": lambda net: (lambda one: lambda images: one(images))(lambda images: net(images)),
    "default": lambda net: lambda images, net=net: net(images),
    "list": lambda net: (lambda nets: lambda images: nets[0](images))([net]),
    "dictionary": lambda net: (lambda nets: lambda images: nets["a"][0](images))({"a": (net,)}),
    "object in a closure": lambda net: (lambda thing: lambda images: thing.net(images))(Wrapper(net)),
    "decorated": decorated,
    "global": by_global_name,
    "global helper": by_global_helper,
    "imported module": by_imported_module,
    "plain list of a module": Listed,
    "replaced forward": forwarded,
}


@pytest.mark.parametrize("name", WRAPS)
def test_a_hidden_network_is_attacked_in_eval_mode_and_left_as_it_was(name: str) -> None:
    images = torch.rand(16, 3, 16, 16, generator=torch.Generator().manual_seed(2))
    labels = network().eval()(images).argmax(1)
    net, other = network().train(), network().train()
    net[3].eval()  # a mode inside that differs
    net[0].weight.requires_grad_(False)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    seen = set()
    net[5].register_forward_hook(lambda module, *_: seen.add((module.training, module.weight.requires_grad)))
    for surrogate, victim in ((WRAPS[name](net), other), (other, WRAPS[name](net))):
        outcome = evaluate(
            attacks.get("pgd", steps=2), surrogate=surrogate, victims={"b": victim}, images=images, labels=labels,
            eps=[0, 0.03],
        )["b"]  # fmt: skip
        assert METRICS["robust_accuracy"](outcome)[0] == 1
    assert seen == {(False, False)}
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert [part.training for part in net] == [True, True, True, False, True, True]
    assert [parameter.requires_grad for parameter in net.parameters()] == [False] + [True] * 5
    if name != "plain list of a module" and name != "replaced forward":
        assert modules_behind(WRAPS[name](net))[0] is net


def test_nothing_is_executed() -> None:
    class Trap:
        @property
        def net(self) -> nn.Module:
            raise AssertionError("a property was asked")

        def __getattr__(self, name: str) -> Any:
            raise AssertionError(f"{name} was asked")

        def __len__(self) -> int:
            raise AssertionError("its length was asked")

        def __call__(self, images: Tensor) -> Tensor:
            raise AssertionError("it was called")

    assert modules_behind(Trap()) == []
    trap = Trap()
    assert modules_behind(lambda images: trap(images)) == []


def test_large_and_circular_things_end() -> None:
    loop: list[Any] = [torch.rand(3), "text", range(10)]
    loop.append(loop)
    loop.extend(object() for _ in range(100_000))
    net = network()
    assert modules_behind(lambda images: (loop, net(images))) == [net]
    assert modules_behind(len) == []
    assert modules_behind(sys) == []
    unfilled: Any

    def early(images: Tensor) -> Tensor:
        return unfilled(images)

    assert modules_behind(early) == []
    unfilled = net
    assert modules_behind(early) == [net]


def test_a_part_is_not_named_beside_the_whole() -> None:
    net = network()
    assert modules_behind(functools.partial(net, net[0])) == [net]
