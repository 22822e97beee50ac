"""What all classes with settings promise, whatever their kind: a docstring, plain settings, each of them used."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from functools import lru_cache
from pathlib import Path
from typing import Any

from tl_robust.contracts.contract import Contracts, Named, NotAskedError, demand
from tl_robust.errors import ConfigError
from tl_robust.registry import Registry, registry, settings_of

PLAIN = (bool, int, float, str, type(None))


def has_a_docstring(named: Named) -> None:
    """Its docstring says what it is: ``tl-robust list``, the documentation and readers show it."""
    text = own_docstring(named.item)
    demand(text, "a docstring of its own", "none", "say in one sentence what it is, and name the paper")


def is_registered_under_a_name_that_a_bench_can_hold(named: Named) -> None:
    """The name of its file is its name in bench files: letters, digits and underscores."""
    demand(
        re.fullmatch(r"[A-Za-z]\w*", named.name), "a name of letters, digits and underscores", repr(named.name),
        "rename the file",
    )  # fmt: skip


def has_plain_settings(named: Named) -> None:
    """The default of each setting is a truth value, a number, a text or None, as bench files and keys hold them."""
    for name, default in settings_of(named.item).items():
        demand(
            isinstance(default, PLAIN), f"a plain value as default of setting {name!r}", _kind_of(default),
            "give a bool, int, float, str or None, and make the object of it inside",
        )  # fmt: skip


def has_settings_that_come_back_from_text(named: Named) -> None:
    """What a table shows of it, ``name(setting=1)``, builds the same component again."""
    known = _known(named.kind)
    for name, default in settings_of(named.item).items():
        other = _other(default)
        if other is None:
            continue
        try:
            component = known.component(named.name, {name: other})
        except ConfigError as error:
            demand(
                "must be" not in str(error), f"setting {name!r} to take a {type(other).__name__} as its default is",
                f"an error ({error})", "annotate the setting with the type of its default",
            )  # fmt: skip
            continue
        again = known.component(*known.written(str(component)))
        demand(again == component, str(component), again, "use plain settings without brackets and commas in them")


def uses_every_setting(named: Named) -> None:
    """Each setting is read somewhere in its class, so that what a user sets is not ignored in silence."""
    names = [name for name in settings_of(named.item) if name in _own_settings(named.item)]
    source = _source(named.item)
    if not names:
        return
    if not source:
        raise NotAskedError("Its source cannot be read.")
    for name in names:
        demand(
            name in source, f"setting {name!r} to be used", "no line that reads it", f"use self.{name}, or remove it"
        )


SHARED = (
    has_a_docstring,
    is_registered_under_a_name_that_a_bench_can_hold,
    has_plain_settings,
    has_settings_that_come_back_from_text,
    uses_every_setting,
)


@lru_cache
def _known(kind: str) -> Registry[Any]:
    return registry(kind)  # which reads sources


def own_docstring(item: object) -> str:
    """The docstring that its author wrote; the one that ``dataclass`` makes up of the fields is none."""
    text = str(vars(item).get("__doc__") or "") if inspect.isclass(item) else str(getattr(item, "__doc__", "") or "")
    made_up = inspect.isclass(item) and text.startswith(f"{item.__name__}(")
    return "" if made_up else text.strip()


def _own_settings(item: object) -> set[str]:
    """Settings that the class itself or a class of the same file declares."""
    if not inspect.isclass(item):
        return set()
    found: set[str] = set()
    for kind in (kind for kind in item.__mro__ if kind.__module__ == item.__module__):
        found |= set(vars(kind).get("__annotations__", {}))
        if "__init__" in vars(kind) and "__dataclass_fields__" not in vars(kind):
            found |= set(inspect.signature(vars(kind)["__init__"]).parameters)
    return found


def _source(item: object) -> set[str]:
    """Names and attributes that the file of a class reads."""
    module = inspect.getmodule(item)
    path = getattr(module, "__file__", None)
    if not path:
        return set()
    tree = ast.parse(textwrap.dedent(Path(path).read_text(encoding="utf-8")))
    nodes = [node for node in ast.walk(tree) if isinstance(getattr(node, "ctx", None), ast.Load)]
    attributes = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    variables = {node.id for node in nodes if isinstance(node, ast.Name)}
    inherited = {name for kind in getattr(item, "__mro__", ())[1:] for name in vars(kind).get("__annotations__", {})}
    return attributes | variables | inherited


def _other(default: object) -> bool | int | float | str | None:
    """Another plain value of the type of a default."""
    if isinstance(default, bool):
        return not default
    if isinstance(default, int):
        return default + 1
    if isinstance(default, float):
        return default / 2 if default else 0.5
    return None


def _kind_of(value: object) -> str:
    name = getattr(value, "__name__", "")
    return "a lambda" if name == "<lambda>" else f"{type(value).__name__} {value!r:.60}"


def shared(contracts: Contracts) -> None:
    """Add what all classes with settings promise to the contracts of a kind."""
    for function in SHARED:
        contracts.once(function)
