"""What a person types and sees: ``tl-robust``."""

from tl_robust.cli.program import main

__all__ = ["main"]
