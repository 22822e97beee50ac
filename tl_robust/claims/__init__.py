"""What the literature says about transfer learning and robustness, judged on our numbers."""

from tl_robust.claims.base import CLAIMS, Claim, Decision, Effect, Finding, MissingError, bench_claim, claim
from tl_robust.claims.ledger import judge

__all__ = ["CLAIMS", "Claim", "Decision", "Effect", "Finding", "MissingError", "bench_claim", "claim", "judge"]
