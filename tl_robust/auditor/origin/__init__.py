"""Which of several models an audited one comes from, and how surely."""

from tl_robust.auditor.origin.parent import KINDS, evidence_of, origin

__all__ = ["KINDS", "evidence_of", "origin"]
