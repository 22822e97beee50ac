"""The claim ledger: what the literature says, and what this bench found."""

from __future__ import annotations

from collections.abc import Sequence

from tl_robust.claims.base import Finding
from tl_robust.sinks.blocks import DECISIONS, Block, Fold, Table, Text, grouped
from tl_robust.text import effect_text, p_text

HEAD = ("claim", "decision", "what it says", "effect [95 %]", "p", "seeds", "n", "reason")
NOTE = (
    "An effect above 0 speaks for the claim, its interval is in brackets; p is two-sided, after Holm's correction. "
    "Undecided is an answer too: what was measured neither shows the claim nor rules it out, and the reason says why."
)


def ledger(findings: Sequence[Finding]) -> list[Block]:
    """A table for each attack with one row a claim over all pairs, and the findings of each pair."""
    if not findings:
        return []
    pairs = grouped(findings, lambda finding: finding.pair)
    overall = pairs.pop("", [])
    counts = [f"{attack}: {_counts(found)}." for attack, found in _attacks(overall or findings).items()]
    tables = [table for pair, found in pairs.items() for table in _tables(f"Claims on {pair}", found, not overall)]
    rest: list[Block] = [Fold("Findings of each pair", tables)] if overall and tables else [*tables]
    return [Text(" ".join([*counts, NOTE])), *_tables("Claims over all pairs", overall, True), *rest]


def _attacks(findings: Sequence[Finding]) -> dict[str, list[Finding]]:
    return grouped(findings, lambda finding: finding.attack)


def _counts(findings: Sequence[Finding]) -> str:
    decisions = grouped(findings, lambda finding: finding.decision)
    return ", ".join(f"{len(decisions[name])} {mark}" for name, mark in DECISIONS.items() if name in decisions)


def _tables(title: str, findings: Sequence[Finding], brief: bool) -> list[Table]:
    return [
        Table(f"{title}, {attack}", HEAD, [_row(finding) for finding in found], brief=brief)
        for attack, found in _attacks(findings).items()
    ]


def _row(finding: Finding) -> tuple[str, ...]:
    says = finding.says.replace("`", "") + (f" ({finding.source})" if finding.source else "")
    counts = (str(count) if count else "-" for count in (finding.seeds, finding.n))
    effect = effect_text(finding.effect, finding.low, finding.high, finding.unit)
    return (finding.claim, DECISIONS[finding.decision], says, effect, p_text(finding.p), *counts, finding.reason)
