"""An attack in all its norms, made cheap, and what its contracts measure.

Axes: K eps, N samples.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from torch import Tensor, nn

from tl_robust import attacks
from tl_robust.attacks import Attack
from tl_robust.attacks.norms import NORMS
from tl_robust.attacks.tricks.base import TRICKS
from tl_robust.contracts.contract import Named, NotAskedError
from tl_robust.contracts.networks import net, pixels
from tl_robust.errors import ConfigError
from tl_robust.registry import settings_of

GRID = {
    "linf": [1 / 255, 0.0, 8 / 255, 32 / 255, 1.0],
    "l2": [0.05, 0.0, 0.5, 2.0, 20.0],
    "l1": [0.5, 0.0, 4.0, 20.0, 200.0],
}  # 0 in the middle
CHEAP = {"steps": 4, "queries": 30, "restarts": 2, "targets": 2, "epochs": 2}  # where an attack has such a setting


def cheap(name: str, norm: str) -> Attack:
    """An attack in a norm with few steps, copies and restarts.

    Raises:
        ConfigError: It has no such norm, or a setting that must be given.
    """
    plain = attacks.get(name, norm=norm)
    known = settings_of(type(plain))
    change: dict[str, Any] = {key: value for key, value in CHEAP.items() if key in known}
    if "step_size" in known:
        change["step_size"] = 0.25
    if known.get("restarts") == 1:
        del change["restarts"]
    if tricks := getattr(plain, "tricks", ""):
        change["tricks"] = " + ".join(map(few_copies, tricks.split("+")))
    return dataclasses.replace(plain, **change)


def few_copies(trick: str) -> str:
    """A gradient trick as text, with two copies where it makes several."""
    name, settings = TRICKS.written(trick)
    return f"{name}(copies=2)" if "copies" in settings_of(TRICKS[name]) and not settings else trick.strip()


def cases(named: Named) -> Iterator[tuple[str, Attack]]:
    """The attack in each of its norms."""
    refused = ""
    made = 0
    for norm in NORMS:
        try:
            attack = cheap(named.name, norm)
        except ConfigError as error:
            refused = str(error)
            continue
        made += 1
        yield norm, attack
    if not made:
        raise NotAskedError(f"It cannot be made without more settings ({refused.rstrip('.')}).")


def sizes(adversarial: Tensor, images: Tensor, norm: str) -> Tensor:
    """Norm of every perturbation, ``[K,N]``, in float64."""
    delta = (adversarial.double() - images.double()).flatten(2)
    return {"linf": delta.abs().amax(2), "l2": delta.square().sum(2).sqrt(), "l1": delta.abs().sum(2)}[norm]


@lru_cache
def asks(attack: Attack) -> bool:
    """Whether it looks at the model at all; noise does not."""
    model, calls = net(), list[object]()
    model[0].register_forward_hook(lambda *call: calls.append(call))
    attack(model, *pixels(), GRID[attack.norm])
    return bool(calls)


def pool(attack: Attack, model: nn.Module, images: Tensor, labels: Tensor) -> object:
    """What an attack with a pool learns from all images, so that batches share it."""
    return attack.fitted(model, images, labels, GRID[attack.norm], seed=2) if attack.needs_pool else None


def climbs_the_label(attack: Attack) -> bool:
    """Whether it climbs the loss of the label straight, image by image."""
    tricks = str(getattr(attack, "tricks", ""))
    return not (attack.needs_pool or tricks) and attack.objective == "label" and bool(asks(attack))
