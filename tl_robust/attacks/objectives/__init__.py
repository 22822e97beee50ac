"""What an attack maximizes, one file each; a setting such as ``objective: margin`` names one."""

from tl_robust.attacks.objectives.base import OBJECTIVES, Objective

__all__ = ["OBJECTIVES", "Objective"]
