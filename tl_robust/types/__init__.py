"""What layers hand to each other. All is frozen; tensors inside are never modified."""

from tl_robust.types.corrupted import Corrupted
from tl_robust.types.data import ImageSet, Recipe
from tl_robust.types.exposure import Exposure
from tl_robust.types.face import Face
from tl_robust.types.outcome import Evidence, Examination, Level, Outcome, Pictures, R, Verdict
from tl_robust.types.record import Column, Record, column
from tl_robust.types.results import Cell, Curve, Result, View
from tl_robust.types.signals import Signals
from tl_robust.types.stamped import Stamped

__all__ = [
    "Cell",
    "Column",
    "Corrupted",
    "Curve",
    "Evidence",
    "Examination",
    "Exposure",
    "Face",
    "ImageSet",
    "Level",
    "Outcome",
    "Pictures",
    "R",
    "Recipe",
    "Record",
    "Result",
    "Signals",
    "Stamped",
    "Verdict",
    "View",
    "column",
]
