"""What a task was made with, in plain values that its checkpoint keeps; and what those values build again."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from torch import nn

from tl_robust.defenses import DEFENSES, Defense, parse
from tl_robust.errors import ConfigError, UnknownNameError
from tl_robust.models.base import rebuilt
from tl_robust.types import Recipe


def arguments_of(module: nn.Module) -> dict[str, Any]:
    """What the class of a module was called with, settings of subclasses included, by name.

    Lightning's own search takes the first module that it meets on the stack, so that it would take the settings of an
    outer module, whose ``__init__`` makes this one, for those of this one.
    """
    code = type(module).__init__.__code__
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    frame = inspect.currentframe()
    while frame is not None and not (frame.f_code is code and frame.f_locals[names[0]] is module):
        frame = frame.f_back
    return {name: frame.f_locals[name] for name in names[1:]} if frame is not None else {}


def network_of(network: nn.Module | Mapping[str, Any] | None) -> nn.Module:
    """The network itself, or the one that a checkpoint describes.

    Raises:
        ConfigError: The checkpoint describes none, since its network was made by something else.
    """
    if isinstance(network, nn.Module):
        return network
    if network is None:
        raise ConfigError(
            "this checkpoint does not say how its network is built, since that was not made by "
            "tl_robust.models.get: give it, as in load_from_checkpoint(path, network=...)."
        )
    return rebuilt(network)


def recipe_of(recipe: Recipe | Mapping[str, Any]) -> Recipe:
    """The recipe itself, or the one of these fields.

    Raises:
        UnknownNameError: A recipe has no such field.
    """
    if isinstance(recipe, Recipe):
        return recipe
    known = [item.name for item in fields(Recipe)]
    for name in recipe:
        if name not in known:
            raise UnknownNameError("setting of recipe", name, known)
    return Recipe(**recipe)


def text_of(defense: Defense) -> str:
    """A defense as tables and loggers name it, ``name(setting=1)``; one that is not registered as its class is."""
    registered = {DEFENSES[name] for name in DEFENSES.names()}
    return str(defense) if {type(part) for part in defense.parts} <= registered else repr(defense)


def defense_of(text: str) -> Defense | None:
    """The defense that :func:`text_of` named; None where no such one is registered, so that only its author has it."""
    try:
        return parse(text)
    except ConfigError:
        return None
