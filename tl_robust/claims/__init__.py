"""What the literature says about transfer learning and robustness, judged on our numbers."""

from tl_robust.claims.claim import CLAIMS, Claim, bench_claim, claim
from tl_robust.claims.effects import Decision, Effect, Finding, MissingError
from tl_robust.claims.ledger import judge

__all__ = ["CLAIMS", "Claim", "Decision", "Effect", "Finding", "MissingError", "bench_claim", "claim", "judge"]
