"""How robust is a model made by transfer learning, and how much does its public origin help an attacker?"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tl_robust import attacks, metrics
    from tl_robust.attacks import evaluate

__version__ = "0.1.0"  # the only place: pyproject.toml reads it
__all__ = ["attacks", "evaluate", "metrics"]


def __getattr__(name: str) -> Any:
    """What is exported, imported on first use: the command line shows its help without torch."""
    if name == "evaluate":
        return import_module("tl_robust.attacks").evaluate
    if name in __all__:
        return import_module(f"tl_robust.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
