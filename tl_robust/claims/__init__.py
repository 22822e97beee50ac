"""What the literature says about transfer learning and robustness, decided on our numbers."""

from tl_robust.claims.claim import CLAIMS, Claim, bench_claim, claim
from tl_robust.claims.comparisons import Comparisons, Place, Side
from tl_robust.claims.effects import Decision, Effect, Finding, MissingError
from tl_robust.claims.ledger import decide

__all__ = [
    "CLAIMS", "Claim", "Comparisons", "Decision", "Effect", "Finding", "MissingError", "Place", "Side", "bench_claim",
    "claim", "decide",
]  # fmt: skip
