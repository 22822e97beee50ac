"""The claim ledger: what the literature says, and what this bench found."""

from __future__ import annotations

from collections.abc import Sequence

from tl_robust.claims.base import Finding
from tl_robust.sinks.blocks import DECISIONS, Block, Fold, Table, Text, grouped
from tl_robust.text import effect_text, p_text

HEAD = ("claim", "decision", "what it says", "attack", "effect [95 %]", "p", "seeds", "n", "reason")
NOTE = (
    "An effect above 0 speaks for the claim, its interval is in brackets; p is two-sided, after Holm's correction. "
    "Undecided is an answer too: what was measured neither shows the claim nor rules it out, and the reason says why."
)


def ledger(findings: Sequence[Finding]) -> list[Block]:
    """One row a claim over all pairs, and the findings of each pair."""
    if not findings:
        return []
    pairs = grouped(findings, lambda finding: finding.pair)
    overall = pairs.pop("", [])
    blocks: list[Block] = [Text(f"{_counts(overall or findings)} {NOTE}")]
    if overall:
        blocks.append(Table("Claims over all pairs", HEAD, [_row(finding) for finding in overall], brief=True))
    tables = [
        Table(f"Claims on {pair}", HEAD, [_row(finding) for finding in found], brief=not overall)
        for pair, found in pairs.items()
    ]
    return [*blocks, *([Fold("Findings of each pair", tables)] if overall and tables else tables)]


def _counts(findings: Sequence[Finding]) -> str:
    decisions = grouped(findings, lambda finding: finding.decision)
    counts = [f"{len(decisions[decision])} {mark}" for decision, mark in DECISIONS.items() if decision in decisions]
    return f"Of {len(findings)} findings: {', '.join(counts)}."


def _row(finding: Finding) -> tuple[str, ...]:
    says = f"{finding.says} ({finding.source})" if finding.source else finding.says
    counts = (str(count) if count else "-" for count in (finding.seeds, finding.n))
    effect = effect_text(finding.effect, finding.low, finding.high, finding.unit)
    place = finding.claim, DECISIONS[finding.decision], says, finding.attack
    return (*place, effect, p_text(finding.p), *counts, finding.reason)
