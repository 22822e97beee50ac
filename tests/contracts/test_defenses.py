"""What every registered defense promises: who its attacker is, and that he is as strong as theory says."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from collections.abc import Mapping

import pytest
import torch
from torch import Tensor, nn

from tl_robust import attacks, defenses
from tl_robust.attacks import ATTACKS
from tl_robust.attacks.through import THROUGH
from tl_robust.backdoors import BACKDOORS
from tl_robust.defenses import DEFENSES, Adaptive, Composed, Defense
from tl_robust.defenses.base import INFERENCE, TRAINING
from tl_robust.errors import ConfigError, UnknownNameError
from tl_robust.models.guard import Guard, Link
from tl_robust.types import ImageSet

EVERY = pytest.mark.parametrize("name", defenses.names())
VIEWS = ("white", "black", "shadow")


def made(name: str) -> Defense:
    return DEFENSES[name]()


def linear() -> nn.Module:
    torch.manual_seed(3)
    network = nn.Sequential(OrderedDict(flat=nn.Flatten(), classifier=nn.Linear(48, 2))).double().eval()
    with torch.no_grad():
        network[1].bias.copy_(-network[1].weight.sum(1) / 2)
    return network


def data() -> tuple[Tensor, Tensor]:
    """Images of 8 bits around gray, and their classes: within eps of 0.2 no clip to [0,1] binds."""
    images = torch.randint(80, 176, (400, 3, 4, 4), generator=torch.Generator().manual_seed(5)).double() / 255
    return images, linear()(images).argmax(1)


def validation() -> ImageSet:
    images, labels = data()
    return ImageSet(images.mul(255).round().to(torch.uint8), labels)


def guarded(defense: Defense, network: nn.Module) -> nn.Module:
    return defense.wrap(network, defense.fit(network, validation(), 7))


@EVERY
@pytest.mark.parametrize("view", VIEWS[:2])
def test_each_view_has_an_adaptive_attack_or_says_why_not(name: str, view: str) -> None:
    declared = made(name).against(view)
    assert declared
    assert all(attack.why.endswith(".") for attack in declared)


@EVERY
def test_who_poisons_knowingly_has_a_backdoor_that_builds(name: str) -> None:
    """Of at least one: without it every number of the backdoors is red."""
    poisons = [attack for attack in made(name).adaptive() if attack.backdoor]
    assert poisons
    for poison in poisons:
        assert poison.why.endswith(".")
        another = "(" in poison.backdoor or "=" not in poison.backdoor
        kind, settings = BACKDOORS.written(poison.backdoor if another else f"patch({poison.backdoor})")
        BACKDOORS[kind](**settings)
        assert not made(name).against("white")[0].backdoor, "evasion leaves it out"


@EVERY
@pytest.mark.parametrize("attack", ["pgd", "fgsm", "ti", "square", "strong"])
def test_each_adaptive_attack_builds_from_any_attack(name: str, attack: str) -> None:
    plain = ATTACKS.component(attack, {})
    for adaptive in made(name).adaptive():
        component = adaptive.made_of(plain)
        attacks.get(component.name, **dict(component.settings))
        if adaptive.attack:
            assert component == ATTACKS.component(*ATTACKS.written(adaptive.attack))
            continue
        assert component.name == attack
        assert component == plain or adaptive.objective or adaptive.tricks
        if attack == "pgd":  # it has both settings
            assert (component == plain) == (not (adaptive.objective or adaptive.tricks))


@EVERY
def test_it_acts_somewhere_and_names_itself(name: str) -> None:
    defense = made(name)
    assert defense.acts
    assert defense.acts <= {*TRAINING, *INFERENCE}
    assert str(defense).partition("(")[0] == name  # dp says what it claims, even by default
    assert defenses.parse(str(defense)) == defense
    assert defense.component.name == name
    with pytest.raises(dataclasses.FrozenInstanceError):
        defense.ON = "origin"


@EVERY
def test_a_guard_answers_the_same_again_and_whatever_is_in_the_batch(name: str) -> None:
    images, _ = data()
    first, second = (guarded(made(name), linear()) for _ in range(2))
    assert torch.equal(first(images), first(images))
    assert torch.equal(first(images), second(images))  # what it draws is fixed by the seed of the fit
    assert torch.allclose(first(images[:5]), first(images)[:5], atol=1e-12)


@EVERY
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_where_it_changes_nothing_the_adaptive_attack_reaches_the_optimum(name: str, norm: str) -> None:
    """On a linear model of two classes a sample falls where its margin is below eps times the dual norm."""
    if "wrap" not in made(name).acts:
        pytest.skip("it guards nothing: its network is attacked as any other")
    images, labels = data()
    network = linear()
    eps = [0.01, 0.02, 0.05] if norm == "linf" else [0.05, 0.1, 0.3]
    difference = network[1].weight[1] - network[1].weight[0]
    margin = (network(images)[:, 1] - network(images)[:, 0]).abs()
    dual = difference.abs().sum() if norm == "linf" else difference.norm()
    optimum = torch.stack([(margin > size * dual).double().mean() for size in eps])
    assert float(optimum.max() - optimum.min()) > 0.3  # the curve falls here, so the test can fail
    assert hasattr(DEFENSES[name], "NEUTRAL"), "name the settings with which the guard leaves the network as it is"
    defense = DEFENSES[name](**DEFENSES[name].NEUTRAL)
    for adaptive in defense.against("white"):
        plain = ATTACKS.component("pgd", {"steps": 20, "norm": norm})
        component = adaptive.made_of(plain)
        guard = guarded(defense, network)
        adversarial = attacks.get(component.name, **dict(component.settings))(
            guard, images, labels, eps, early=True, through=adaptive.through
        )
        left = torch.stack([(guard(batch).argmax(1) == labels).double().mean() for batch in adversarial])
        assert float((left - optimum).abs().max()) <= 0.02


@EVERY
def test_where_it_changes_nothing_every_outcome_is_that_of_the_network_bit_for_bit(name: str) -> None:
    if "wrap" not in made(name).acts:
        pytest.skip("it guards nothing")
    images, labels = data()
    network = linear().float()
    guard = guarded(DEFENSES[name](**DEFENSES[name].NEUTRAL), linear()).float()
    free, behind = (
        attacks.evaluate(
            attacks.get("pgd"), surrogate=model, victims={"b": model}, images=images.float(), labels=labels,
            eps=[0, 0.02, 0.05],
        )["b"]
        for model in (network, guard)
    )  # fmt: skip
    for kept, seen in free.tensors().items():
        assert torch.equal(seen, behind.tensors()[kept]), kept


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
