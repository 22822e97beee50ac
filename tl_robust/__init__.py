"""How robust is a model made by transfer learning, and how much does its public origin help an attacker?"""

from tl_robust import attacks, metrics
from tl_robust.attacks import evaluate

__version__ = "0.1.0"
__all__ = ["attacks", "evaluate", "metrics"]
