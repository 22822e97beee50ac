"""How robust is a model made by transfer learning, and how much does its public origin help an attacker?

Names are imported when they are first asked for, so that ``import tl_robust`` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tl_robust import attacks, auditor, backdoors, inference, metrics, models, strategies, trust
    from tl_robust.attacks import evaluate
    from tl_robust.backdoors.judge import stamp_evaluate
    from tl_robust.callbacks import BackdoorTest, TransferAttack
    from tl_robust.data.pair import pair
    from tl_robust.inference.given import exposure
    from tl_robust.strategies.common_init import CommonInit
    from tl_robust.strategies.finetune import FineTune
    from tl_robust.strategies.scratch import Scratch
    from tl_robust.types import Recipe

__version__ = "0.1.0"  # the only place: pyproject.toml reads it
__all__ = [
    "BackdoorTest",
    "CommonInit",
    "FineTune",
    "Recipe",
    "Scratch",
    "TransferAttack",
    "attacks",
    "auditor",
    "backdoors",
    "evaluate",
    "exposure",
    "inference",
    "metrics",
    "models",
    "pair",
    "stamp_evaluate",
    "strategies",
    "trust",
]
_HOMES = {
    "BackdoorTest": "callbacks",
    "CommonInit": "strategies.common_init",
    "FineTune": "strategies.finetune",
    "Recipe": "types",
    "Scratch": "strategies.scratch",
    "TransferAttack": "callbacks",
    "evaluate": "attacks",
    "exposure": "inference.given",
    "pair": "data.pair",
    "stamp_evaluate": "backdoors.judge",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"tl_robust.{_HOMES[name]}"), name)
    if name in __all__:
        return import_module(f"tl_robust.{name}")
    raise AttributeError(f"module 'tl_robust' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
