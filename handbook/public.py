"""What a public name of tl_robust is: the one definition that the pages of the API and their test share.

Public are the names that the modules below export (those in ``__all__``, or without one all that the module itself
defines and that have no underscore), the public methods of such classes, which an author of a plugin calls or
overrides, and everything that is registered under a name.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from tl_robust.registry import kinds, registry

# Pages of the API, each with the modules whose names it has.
PAGES: dict[str, tuple[str, ...]] = {
    "tl_robust": ("tl_robust",),
    "attacks": ("tl_robust.attacks",),
    "backdoors": ("tl_robust.backdoors", "tl_robust.backdoors.judge"),
    "inference": ("tl_robust.inference", "tl_robust.inference.given"),
    "defenses": ("tl_robust.defenses", "tl_robust.defenses.sifting"),
    "metrics": ("tl_robust.metrics",),
    "models": ("tl_robust.models",),
    "data": ("tl_robust.data.pair", "tl_robust.data.domain", "tl_robust.data.space"),
    "strategies": (
        "tl_robust.strategies", "tl_robust.strategies.scratch", "tl_robust.strategies.finetune",
        "tl_robust.strategies.common_init",
    ),
    "callbacks": ("tl_robust.callbacks",),
    "trust": ("tl_robust.trust",),
    "claims": ("tl_robust.claims",),
    "threats": ("tl_robust.threats.base",),
    "auditor": ("tl_robust.auditor", "tl_robust.auditor.locks.base"),
    "audit": ("tl_robust.audit.record",),
    "results": ("tl_robust.results.table", "tl_robust.results.leaderboard", "tl_robust.results.difference"),
    "types": ("tl_robust.types",),
    "registry": ("tl_robust.registry",),
    "errors": ("tl_robust.errors",),
    "nodes": ("tl_robust.nodes.node", "tl_robust.nodes.kind"),
    "engines": ("tl_robust.engines.base", "tl_robust.engines.loop"),
    "sinks": ("tl_robust.sinks.base",),
    "config": ("tl_robust.config",),
    "seeding": ("tl_robust.seeding",),
    "files": ("tl_robust.files",),
}  # fmt: skip


@dataclass(frozen=True)
class Public:
    """A public name.

    Attributes:
        path: As it is imported: ``tl_robust.attacks.Attack``.
        page: The page of the API that documents it.
        value: What it stands for.
    """

    path: str
    page: str
    value: Any

    @property
    def documented(self) -> bool:
        """Whether it has a docstring of its own: a class, a function or a module, and no value."""
        ours = str(getattr(self.value, "__module__", "")).startswith("tl_robust")
        return inspect.ismodule(self.value) or (ours and (self.is_class or inspect.isroutine(self.value)))

    @property
    def is_class(self) -> bool:
        """Whether it is a class of ours, and no name for one of Python's."""
        return isinstance(self.value, type) and self.value.__module__.startswith("tl_robust")


def exported(module: str) -> list[str]:
    """The public names of a module, in the order in which it has them."""
    here = import_module(module)
    if hasattr(here, "__all__"):
        return list(here.__all__)
    makes = set(re.findall(r"^([A-Z]+)\b.*= Registry\b", inspect.getsource(here), flags=re.MULTILINE))
    own = [name for name, value in vars(here).items() if getattr(value, "__module__", "") == module or name in makes]
    return [name for name in own if not name.startswith("_") and not _is_variable(vars(here)[name])]


def names() -> list[Public]:
    """All names that modules export, each once for every module."""
    return [
        Public(f"{module}.{name}", page, getattr(import_module(module), name))
        for page, modules in PAGES.items()
        for module in modules
        for name in exported(module)
        if not _is_variable(getattr(import_module(module), name))
    ]


def homes() -> dict[str, Public]:
    """The names that have a place of their own in the API, by path.

    Of several names for one object it is the first that is not in ``tl_robust`` itself. Modules have their own pages.
    """
    places: dict[int, Public] = {}
    for public in sorted(names(), key=lambda public: public.page == "tl_robust"):
        if not inspect.ismodule(public.value):
            places.setdefault(id(public.value), public)
    return {public.path: public for public in places.values()}


def methods(kind: type) -> Iterator[tuple[str, Any]]:
    """Methods and properties of a class, its own and without an underscore, with the functions behind them."""
    for name, value in vars(kind).items():
        function = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
        if not name.startswith("_") and inspect.isfunction(function) and function.__module__ == kind.__module__:
            yield name, function


def registered() -> Iterator[tuple[str, str, Any]]:
    """Kind, name and object of everything that is registered in this package."""
    for kind in kinds():
        known = registry(kind)
        for name in known.names():
            if str(known._modules[name]).find("tl_robust_plugins") < 0:
                yield kind, name, known[name]


def _is_variable(value: object) -> bool:
    return type(value).__name__ in ("TypeVar", "ParamSpec")
