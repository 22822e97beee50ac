"""What a defense promises: who its attacker is, and that he is as strong as theory says.

Axes: N images.
"""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from tl_robust import attacks, defenses
from tl_robust.attacks import ATTACKS
from tl_robust.attacks.logits import predicted
from tl_robust.attacks.oracle import Oracle
from tl_robust.backdoors import BACKDOORS
from tl_robust.contracts.component import shared
from tl_robust.contracts.contract import Contracts, Named, NotAskedError, demand
from tl_robust.defenses import DEFENSES, Defense
from tl_robust.defenses.base import INFERENCE, TRAINING
from tl_robust.types import ImageSet

VIEWS = ("white", "black")
PLAIN = ("pgd", "fgsm", "ti", "square", "strong")  # attacks that an adaptive one is made of


def cases(named: Named) -> Iterator[tuple[str, str]]:
    """Its name, with which it is made with one setting or another."""
    yield "", named.name


CONTRACTS = Contracts("defense", cases)
shared(CONTRACTS)


def linear() -> nn.Sequential:
    """A linear model of two classes whose boundary lies at gray, in float64."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        network = nn.Sequential(OrderedDict(flat=nn.Flatten(), classifier=nn.Linear(48, 2))).double().eval()
    last = network[1]
    assert isinstance(last, nn.Linear)
    with torch.no_grad():
        last.bias.copy_(-last.weight.sum(1) / 2)
    return network


def images_of() -> tuple[Tensor, Tensor]:
    """Images of 8 bits around gray, and their classes: within eps of 0.2 no clip to [0,1] binds."""
    images = torch.randint(80, 176, (400, 3, 4, 4), generator=torch.Generator().manual_seed(5)).double() / 255
    return images, linear()(images).argmax(1)


def validation() -> ImageSet:
    """The same as a part held out of a training."""
    images, labels = images_of()
    return ImageSet(images.mul(255).round().to(torch.uint8), labels)


def guarded(defense: Defense, network: nn.Module) -> nn.Module:
    """The network with the fitted guard around it."""
    return defense.wrap(network, defense.fit(network, validation(), 7))


def _guards(name: str) -> None:
    if "wrap" not in DEFENSES[name]().acts:
        raise NotAskedError("It guards nothing: its network is attacked as any other.")


@CONTRACTS
def names_an_adaptive_attack_for_each_view(name: str) -> None:
    """White box and black box have an attack of someone who has read the file, or say in a sentence why none exists."""
    for view in VIEWS:
        declared = DEFENSES[name]().against(view)
        todo = "return Adaptive(why, ...) or Adaptive.none(why)"
        demand(declared, f"an adaptive attack of the view {view}", "none", todo)
        for attack in declared:
            demand(attack.why.endswith("."), "a sentence with a full stop as reason", repr(attack.why), todo)


@CONTRACTS
def names_a_backdoor_of_someone_who_knows_it(name: str) -> None:
    """Who poisons knowingly has at least one backdoor that can be built; evasion leaves it out."""
    defense = DEFENSES[name]()
    poisons = [attack for attack in defense.adaptive() if attack.backdoor]
    todo = "return Adaptive(why, backdoor=...), too"
    demand(poisons, "an adaptive backdoor", "none, so that every number of backdoors is red", todo)
    for poison in poisons:
        demand(poison.why.endswith("."), "a sentence with a full stop as reason", repr(poison.why), todo)
        another = "(" in poison.backdoor or "=" not in poison.backdoor
        BACKDOORS.parse(poison.backdoor if another else f"patch({poison.backdoor})")
    demand(not defense.against("white")[0].backdoor, "attacks of evasion without it", "one with a backdoor", todo)


@CONTRACTS
def names_adaptive_attacks_that_can_be_built(name: str) -> None:
    """Each adaptive attack can be made of any attack of a bench, and changes what it says that it changes."""
    todo = "use names and settings that are registered"
    for plain in (ATTACKS.component(attack, {}) for attack in PLAIN):
        for adaptive in DEFENSES[name]().adaptive():
            component = adaptive.made_of(plain)
            attacks.get(component.name, **dict(component.settings))
            if adaptive.attack:
                other = ATTACKS.component(*ATTACKS.written(adaptive.attack))
                demand(component == other, f"the attack {other}", component, todo)
                continue
            demand(component.name == plain.name, f"an attack made of {plain.name}", component.name, todo)
            changes = bool(adaptive.objective or adaptive.tricks)
            demand(component == plain or changes, f"{plain}", component, todo)
            if plain.name == "pgd":  # it has both settings
                demand((component == plain) == (not changes), "a changed attack where it says so", component, todo)


@CONTRACTS
def acts_somewhere_and_names_itself(name: str) -> None:
    """It overrides at least one place, its text builds it again, and it cannot be changed."""
    defense = DEFENSES[name]()
    places = {*TRAINING, *INFERENCE}
    demand(defense.acts, "one of " + ", ".join(sorted(places)), "none", "override the places where it acts")
    demand(str(defense).partition("(")[0] == name, name, str(defense), "leave __str__ to the base class")
    demand(
        defenses.parse(str(defense)) == defense, f"{defense!r} of its text", "another", "write @dataclass(frozen=True)"
    )
    demand(defense.component.name == name, name, defense.component.name, "register it in its own file")
    try:
        defense.ON = "origin"  # type: ignore[misc]
    except dataclasses.FrozenInstanceError:
        return
    demand(False, "a frozen dataclass", "one that can be changed", "write @dataclass(frozen=True)")


@CONTRACTS
def answers_the_same_again_and_in_any_batch(name: str) -> None:
    """A guard gives the same logits again, after another fit at the same seed, and whatever else is in the batch."""
    images, _ = images_of()
    first, second = (guarded(DEFENSES[name](), linear()) for _ in range(2))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        answer = first(images)
        torch.manual_seed(1)
        todo = "draw in fit, by the seed that it is given, or by the image itself"
        demand(torch.equal(answer, first(images)), "the same logits of the same images", "others", todo)
        demand(torch.equal(answer, second(images)), "the same logits after another fit", "others", todo)
        part = first(images[:5])
    todo = "look at one image at a time"
    demand(torch.allclose(part, answer[:5], atol=1e-12), "the same logits in a smaller batch", "others", todo)


@CONTRACTS
def leaves_images_and_weights_alone(name: str) -> None:
    """A guard changes neither the images that it is given nor the network inside, also in fit."""
    _guards(name)
    images, _ = images_of()
    network, held = linear(), validation()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    pixels, kept = held.images.clone(), images.clone()
    defense = DEFENSES[name]()
    defense.wrap(network, defense.fit(network, held, 7))(images)
    todo = "change a clone"
    demand(torch.equal(images, kept), "the images to stay", "changed ones", todo)
    demand(torch.equal(held.images, pixels), "the validation images to stay", "changed ones", todo)
    same = all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    demand(same, "the weights to stay", "changed ones", todo)


@CONTRACTS
def fits_plain_tensors(name: str) -> None:
    """What fit returns is tensors by name, which the store keeps, and a guard made of them again answers the same."""
    _guards(name)
    images, _ = images_of()
    defense = DEFENSES[name]()
    fitted = defense.fit(linear(), validation(), 7)
    plain = isinstance(fitted, dict) and all(isinstance(value, Tensor) for value in fitted.values())
    demand(plain, "tensors by name", fitted if not isinstance(fitted, dict) else "other values", "wrap torch.tensor")
    again = defense.wrap(linear(), {key: value.clone() for key, value in fitted.items()})(images)
    same = torch.equal(defense.wrap(linear(), fitted)(images), again)
    demand(same, "the same logits of a guard that was stored", "others", "keep all that is fitted in what fit returns")


@CONTRACTS
def refuses_with_the_class_minus_one(name: str) -> None:
    """Classes of a guard are those of the network, or -1 where it refuses, by a logit of its own behind the others."""
    _guards(name)
    images, _ = images_of()
    guard = guarded(DEFENSES[name](), linear())
    logits = guard(images)
    refuses = Oracle.of(guard).rejects
    expected = 2 + refuses
    todo = "derive from Detector (defenses/detector.py), which adds the logit of a refusal"
    demand(logits.shape == (400, expected), f"logits {[400, expected]}", list(logits.shape), todo)
    classes = predicted(logits, refuses)
    low, high = int(classes.min()), int(classes.max())
    demand(low >= -1 and high < 2, "classes 0 and 1, or -1 of a refusal", f"{low} to {high}", todo)


@CONTRACTS
def is_as_weak_as_theory_says_where_it_changes_nothing(name: str) -> None:
    """With its neutral settings its adaptive attacks reach the optimum on a linear model, which is known.

    A sample of two classes falls where its margin is below eps times the dual norm.
    """
    _guards(name)
    todo = "set NEUTRAL to the settings with which the guard leaves the network as it is"
    demand(hasattr(DEFENSES[name], "NEUTRAL"), "a class variable NEUTRAL", "none", todo)
    images, labels = images_of()
    network = linear()
    last = network[1]
    assert isinstance(last, nn.Linear)
    difference = (last.weight[1] - last.weight[0]).detach()
    margin = (network(images)[:, 1] - network(images)[:, 0]).abs().detach()
    for norm, eps in (("linf", [0.01, 0.02, 0.05]), ("l2", [0.05, 0.1, 0.3])):
        dual = difference.abs().sum() if norm == "linf" else difference.norm()
        optimum = torch.stack([(margin > size * dual).double().mean() for size in eps])
        defense = DEFENSES[name](**DEFENSES[name].NEUTRAL)
        for adaptive in defense.against("white"):
            plain = ATTACKS.component("pgd", {"steps": 20, "norm": norm})
            component = adaptive.made_of(plain)
            guard = guarded(defense, network)
            adversarial = attacks.get(component.name, **dict(component.settings))(
                guard, images, labels, eps, early=True, through=adaptive.through
            )
            left = torch.stack([(guard(batch).argmax(1) == labels).double().mean() for batch in adversarial])
            far = float((left - optimum).abs().max())
            way = f"through {adaptive.through}" + f" with {adaptive.attack}" * bool(adaptive.attack)
            demand(
                far <= 0.02, f"{norm} accuracies {_shares(optimum)} under the attack {way}", _shares(left),
                "name a way through the guard whose gradient is right, or another attack",
            )  # fmt: skip


@CONTRACTS
def is_the_identity_where_it_changes_nothing(name: str) -> None:
    """With its neutral settings every class and every outcome under attack is that of the network, bit for bit."""
    _guards(name)
    todo = "set NEUTRAL to the settings with which the guard leaves the network as it is"
    demand(hasattr(DEFENSES[name], "NEUTRAL"), "a class variable NEUTRAL", "none", todo)
    images, labels = images_of()
    network = linear().float()
    guard = guarded(DEFENSES[name](**DEFENSES[name].NEUTRAL), linear()).float()
    free, behind = (
        attacks.evaluate(
            attacks.get("pgd"), surrogate=model, victims={"b": model}, images=images.float(), labels=labels,
            eps=[0, 0.02, 0.05],
        )["b"]
        for model in (network, guard)
    )  # fmt: skip
    for column, seen in free.tensors().items():
        other = behind.tensors()[column]
        demand(torch.equal(seen, other), f"{column} of the network with {DEFENSES[name].NEUTRAL}", "another", todo)


def _shares(values: Tensor) -> str:
    return ", ".join(f"{float(value):.2f}" for value in values)
