"""What is done to gradients so that they transfer, one file each; ``tricks: diverse + translation`` names several."""

from tl_robust.attacks.tricks.base import TRICKS, Query, Trick, parse_tricks, pull_back

__all__ = ["TRICKS", "Query", "Trick", "parse_tricks", "pull_back"]
