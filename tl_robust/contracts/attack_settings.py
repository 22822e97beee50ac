"""What an attack promises of its settings and of what it is given."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch

from tl_robust import attacks
from tl_robust.attacks import Attack
from tl_robust.contracts.attack_cases import GRID, cases
from tl_robust.contracts.contract import Named, NotAskedError, demand
from tl_robust.contracts.networks import CLASSES, net, pixels
from tl_robust.errors import ConfigError, UnknownNameError
from tl_robust.registry import settings_of


def is_frozen_and_shows_all_settings(attack: Attack) -> None:
    """It cannot be changed, keeps nothing between calls, and its text has every setting."""
    try:
        attack.norm = "l2"  # type: ignore[misc]
    except dataclasses.FrozenInstanceError:
        pass
    else:
        demand(False, "a frozen dataclass", "one that can be changed", "write @dataclass(frozen=True)")
    shown, own = repr(attack), {field.name for field in dataclasses.fields(attack)}
    for name in own:
        said = f"{name}={getattr(attack, name)!r}"
        demand(said in shown, f"{said} in its text", shown, "write no __repr__, and @dataclass(frozen=True)")
    equal = hash(attack) == hash(dataclasses.replace(attack))
    demand(equal, "equal attacks to have the same hash", "another", "write neither __hash__ nor __eq__")
    attack(net(), *pixels(), GRID[attack.norm])
    more = {name for name in vars(attack) if not name.startswith("_")} - own
    demand(not more, "nothing kept in the object", sorted(more), "keep it in local variables, or in fit's answer")
    demand(repr(attack) == shown, "the same text after a call", repr(attack), "keep settings as they are")


BAD_INPUT: dict[str, dict[str, Any]] = {
    "an eps below 0": {"eps": [0.1, -0.1]},
    "an eps of NaN": {"eps": [float("nan")]},
    "an infinite eps": {"eps": [float("inf")]},
    "no eps": {"eps": []},
    "an eps twice": {"eps": [0.1, 0.2, 0.1]},
    "images above 1": {"images": torch.full((2, 3, 8, 8), 1.01)},
    "images below 0": {"images": torch.full((2, 3, 8, 8), -0.01)},
    "images of NaN": {"images": torch.full((2, 3, 8, 8), torch.nan)},
    "images of uint8": {"images": torch.zeros(2, 3, 8, 8, dtype=torch.uint8)},
    "images [2, 192]": {"images": torch.zeros(2, 192)},
    "labels [3] for 2 images": {"labels": torch.zeros(3, dtype=torch.int64)},
    "labels of float32": {"labels": torch.zeros(2)},
    "labels [2, 5]": {"labels": torch.zeros(2, CLASSES, dtype=torch.int64)},
}


def refuses_bad_input_in_one_sentence(attack: Attack) -> None:
    """Sizes, images and labels of another form, type or range are a ConfigError before the model is asked."""
    for what, change in BAD_INPUT.items():
        good: dict[str, Any] = {
            "images": torch.zeros(2, 3, 8, 8), "labels": torch.zeros(2, dtype=torch.int64), "eps": [0.1],
        }  # fmt: skip
        said = ""
        try:
            attack(net(), **(good | change))
        except ConfigError as error:
            said = str(error)
        demand(
            said and "\n" not in said and any(f"{name} " in said for name in change), f"a sentence about {what}",
            repr(said) if said else "an attack", "override perturb, and leave __call__ and craft to the base class",
        )  # fmt: skip


def refuses_unknown_settings_by_the_closest_name(named: Named) -> None:
    """A wrong norm or setting is one sentence with the name that was probably meant."""
    tried: tuple[tuple[dict[str, object], str], ...] = (
        ({"norm": "l_2"}, "unknown norm 'l_2'; did you mean 'l2'"),
        ({"nrm": "l2"}, f"unknown setting of attack {named.name!r} 'nrm'; did you mean 'norm'"),
        ({"norm": 2}, "must be str, got 2"),
    )
    if named.name == "external":
        raise NotAskedError("It is a frame for attacks of other libraries, one of which must be named first.")
    for settings, expected in tried:
        said = ""
        try:
            attacks.get(named.name, **settings)  # type: ignore[arg-type]
        except (ConfigError, UnknownNameError) as error:
            said = str(error)
        demand(expected in said, repr(expected), repr(said), "call super().__post_init__() in __post_init__")


def gives_other_images_with_another_setting(named: Named) -> None:
    """Where a number or truth value among the settings of its own file changes, so do the images."""
    title, attack = next(cases(named))
    images, labels = pixels(torch.float64)
    eps = [GRID[title][2]]
    fixed = attack(net(torch.float64), images, labels, eps)
    own = vars(type(attack)).get("__annotations__", {})
    for name, default in settings_of(type(attack)).items():
        if name not in own or not isinstance(default, bool | int | float):
            continue
        value = getattr(attack, name)
        others = (not value,) if isinstance(value, bool) else (value * 2, value + 1, value / 2, value * 0.1, 0)
        tried = False
        for other in others:
            try:
                change: dict[str, Any] = {name: type(default)(other)}
                changed = dataclasses.replace(attack, **change)
                moved = not torch.equal(changed(net(torch.float64), images, labels, eps), fixed)
            except ConfigError:
                continue
            tried = tried or changed != attack
            if moved:
                break
        else:
            if tried:
                raise NotAskedError(
                    f"No other images were seen where {name} is not {value}: is it used as it is meant?"
                )
