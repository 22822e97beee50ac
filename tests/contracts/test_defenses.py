"""The contracts of every registered defense, and how defenses are composed."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import pytest
import torch
from asked import ask, every
from torch import Tensor, nn

from tl_robust import attacks, defenses
from tl_robust.attacks import ATTACKS
from tl_robust.attacks.through import THROUGH
from tl_robust.contracts.contract import Contract
from tl_robust.contracts.kinds.defense import images_of as data
from tl_robust.contracts.kinds.defense import linear, validation
from tl_robust.defenses import DEFENSES, Adaptive, Composed, Defense
from tl_robust.errors import ConfigError, UnknownNameError
from tl_robust.models.guard import Guard, Link
from tl_robust.types import ImageSet

VIEWS = ("white", "black", "shadow")


@every("defense")
def test_every_defense_keeps_its_contracts(contract: Contract, case: object) -> None:
    ask(contract, case)


def test_rounding_to_8_bits_is_attacked_as_well_by_going_around_it() -> None:
    """The link itself, which ``bits=8`` leaves out since images have no more."""
    images, labels = data()
    guard = Guard(linear(), [Link(lambda given: given.mul(255).round().div(255))])
    free = attacks.get("pgd")(linear(), images, labels, [0.02], early=True)[0]
    around = attacks.get("pgd")(guard, images, labels, [0.02], early=True, through="straight_through")[0]
    left = [float((guard(adversarial).argmax(1) == labels).double().mean()) for adversarial in (free, around)]
    assert 0.1 < left[1] <= left[0] + 0.02 < 0.9


def test_a_defense_without_an_adaptive_attack_cannot_be_made() -> None:
    @dataclasses.dataclass(frozen=True)
    class Silent(Defense):
        pass

    with pytest.raises(TypeError, match="adaptive"):
        Silent()


def test_a_defense_may_say_that_nobody_attacked_it() -> None:
    (declared,) = Untried().adaptive()
    assert not declared.exists
    assert all(Untried().against(view) == (declared,) for view in VIEWS)


@dataclasses.dataclass(frozen=True)
class Untried(Defense):
    def adaptive(self) -> tuple[Adaptive, ...]:
        return (Adaptive.none("Nobody has found a way yet."),)


@dataclasses.dataclass(frozen=True)
class Trains(Defense):
    factor: float = 2.0

    def loss(self, task: object, batch: object, others: object) -> Tensor:
        return torch.tensor(self.factor)

    def images(self, images: ImageSet, others: Mapping[str, nn.Module]) -> ImageSet:
        return images.take(torch.arange(5))

    def adaptive(self) -> tuple[Adaptive, ...]:
        return (Adaptive("A margin does not fade.", view="white", objective="margin"),)


class Origin(Trains):
    ON = "origin"


@dataclasses.dataclass(frozen=True)
class Shifts(Defense):
    by: float = 0.1

    def fit(self, network: nn.Module, validation: ImageSet, seed: int) -> dict[str, Tensor]:
        mean = network(validation.images.double() / 255).mean()
        return {"mean": mean.detach(), "seed": torch.tensor(seed)}

    def wrap(self, network: nn.Module, fitted: Mapping[str, Tensor]) -> nn.Module:
        return Guard(network, [Link(lambda images: images + self.by * fitted["mean"])])

    def adaptive(self) -> tuple[Adaptive, ...]:
        return (Adaptive("It is known.", "averaged", tricks="scale"), Adaptive("From A.", view="black"))


def test_defenses_compose_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in (Trains, Shifts, Origin, Untried):
        monkeypatch.setattr(kind, "__module__", f"plugins.{kind.__name__.lower()}")
        DEFENSES.register(kind)
    both = defenses.parse("trains(factor=3) + squeeze(bits=2) + shifts")
    assert isinstance(both, Composed)
    assert str(both) == "trains(factor=3.0) + squeeze(bits=2) + shifts"
    assert defenses.parse(str(both)) == both
    assert both.acts == {"loss", "images", "fit", "wrap"}
    assert float(both.loss(None, (), {})) == 3
    assert len(both.images(validation(), {})) == 5
    assert both.score(None, ()) is None

    images, _ = data()
    fitted = both.fit(linear(), validation(), 7)
    assert fitted.keys() == {"2.mean", "2.seed"}
    inner = defenses.parse("squeeze(bits=2)").wrap(linear(), {})
    mean = inner(images).mean()  # it was fitted on the network with the guard inside it
    assert torch.allclose(fitted["2.mean"], mean)
    assert int(fitted["2.seed"]) not in (
        7,
        int(defenses.parse("trains + shifts").fit(linear(), validation(), 7)["1.seed"]),
    )
    assert torch.allclose(both.wrap(linear(), fitted)(images), inner(images + 0.1 * mean))

    white = {(attack.through, attack.objective, attack.tricks, attack.attack) for attack in both.against("white")}
    search = "square(queries=200)"
    assert white == {
        ("exact", "margin", "", ""),
        ("straight_through", "", "", ""),
        ("exact", "", "", search),
        ("averaged", "", "scale", ""),
        ("averaged", "margin", "scale", search),
    }  # 2 ways: no joint, but with the search, which goes any way
    two = defenses.parse("trains + squeeze").against("white")
    assert [(attack.through, attack.objective, attack.attack) for attack in two] == [
        ("exact", "margin", ""),
        ("straight_through", "", ""),
        ("exact", "", "square(queries=200)"),
        ("straight_through", "margin", ""),
        ("exact", "margin", "square(queries=200)"),
    ]
    assert two[3].why.startswith("A margin does not fade. The identity")
    assert not any(attack.exists for attack in defenses.parse("squeeze + untried").against("black")[1:])

    with pytest.raises(ConfigError, match=r"only one defense can set the loss, got trains and trains\(factor=3\.0\)"):
        defenses.parse("trains + trains(factor=3)")
    assert defenses.parse("origin + trains").loss(None, (), {}) is not None  # of two trainings
    with pytest.raises(
        ConfigError, match=r"'trains' changes the training, which comes first.* got 'squeeze \+ trains'"
    ):
        defenses.parse("squeeze + trains")
    with pytest.raises(UnknownNameError, match="unknown defense 'squeze'; did you mean 'squeeze'"):
        defenses.parse("trains + squeze")
    assert defenses.parse("none") is None


def test_an_adaptive_attack_changes_what_the_attack_has() -> None:
    adaptive = Adaptive("It is known.", "averaged(draws=3)", objective="margin", tricks="scale(copies=2)")
    assert THROUGH.parse(adaptive.through).draws == 3
    ti = adaptive.made_of(ATTACKS.component("ti", {"steps": 3}))
    built = attacks.get(ti.name, **dict(ti.settings))
    assert built.objective == "margin"
    assert built.tricks == f"scale(copies=2) + {attacks.get('ti').tricks}"
    assert built.steps == 3
    assert adaptive.made_of(ATTACKS.component("square", {})) == ATTACKS.component("square", {})
    feature = Adaptive("It is known.", objective="feature")
    assert feature.made_of(ATTACKS.component("strong", {})) == ATTACKS.component("strong", {})
    strong = Adaptive("Several look for masking.", attack="strong(steps=20)")
    for norm in ("linf", "l2"):
        instead = strong.made_of(ATTACKS.component("ti", {"steps": 3, "norm": norm}))
        assert instead == ATTACKS.component("strong", {"steps": 20, "norm": norm})
    l1 = ATTACKS.component("pgd", {"norm": "l1"})
    assert strong.made_of(l1) == l1  # it has no such norm
    for wrong in (
        {"why": " "}, {"view": "gray"}, {"through": "under"}, {"objective": "x"}, {"tricks": "x"}, {"attack": "x"},
    ):  # fmt: skip
        with pytest.raises(ConfigError):
            Adaptive(**({"why": "It is known."} | wrong))
