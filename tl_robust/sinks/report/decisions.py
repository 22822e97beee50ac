"""The section of the claims: what the literature says, and what was decided of it on this bench."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tl_robust.claims.effects import Finding
from tl_robust.results.names import DECISIONS, grouped
from tl_robust.sinks.report.blocks import Block, Fold, Table, Text, Why
from tl_robust.text import effect_text, p_text

HEAD = ("claim", "what it says", "verdict", "effect [95 %]")
NOTE = (
    "The primary claims stand first. An effect above 0 speaks for the claim, its interval is in brackets; p is "
    "two-sided, after Holm's correction over the claims of its family. Undecided is an answer too: what was measured "
    "neither shows the claim nor rules it out, and the reason says why."
)


def decisions(findings: Sequence[Finding]) -> list[Block]:
    """A table for each attack and number of labels, one row a claim over all pairs; then the findings of each pair.

    What cannot be judged on the bench is one paragraph.
    """
    judged = [finding for finding in findings if finding.decision != "not judged"]
    judged.sort(key=lambda finding: finding.family != "primary")
    pairs = grouped(judged, lambda finding: finding.pair)
    overall = pairs.pop("", [])
    pairs = {pair: members for pair, members in pairs.items() if not _same(members, overall)}
    counts = [f"{where}: {_counts(members)}." for where, members in _places(overall or judged).items()]
    tables = [table for pair, members in pairs.items() for table in _tables(f"Claims on {pair}", members, not overall)]
    rest: list[Block] = [Fold("Findings of each pair", tables)] if overall and tables else [*tables]
    blocks: list[Block] = [Text(" ".join([*counts, NOTE])), *_tables("Claims over all pairs", overall, True), *rest]
    return [*(blocks if judged else []), *_not_judged(findings)]


def _same(members: Sequence[Finding], overall: Sequence[Finding]) -> bool:
    """Whether the findings of a pair, the only one, are those over all pairs."""
    return {replace(finding, pair="") for finding in members} <= set(overall)


def _places(findings: Sequence[Finding]) -> dict[str, list[Finding]]:
    """Findings by attack and number of labels, those over all numbers of labels first."""
    several = any(finding.labels for finding in findings)
    attacks = list(dict.fromkeys(finding.attack for finding in findings))
    ranked = sorted(findings, key=lambda finding: (attacks.index(finding.attack), bool(finding.labels)))
    over = {"": ["over all numbers of labels"] * several}
    return grouped(ranked, lambda finding: ", ".join([finding.attack, *over.get(finding.labels, [finding.labels])]))


def _counts(findings: Sequence[Finding]) -> str:
    kinds = grouped(findings, lambda finding: finding.decision)
    return ", ".join(f"{len(kinds[name])} {mark}" for name, mark in DECISIONS.items() if name in kinds)


def _tables(title: str, findings: Sequence[Finding], brief: bool) -> list[Table]:
    return [
        Table(f"{title}, {where}", HEAD, [_row(finding) for finding in members], brief=brief, cards=True)
        for where, members in _places(findings).items()
    ]


def _row(finding: Finding) -> tuple[str | Why, ...]:
    judged_on = ((finding.seeds, finding.units), (finding.n, finding.judged))
    counts = [f"{count} {word}" for count, word in judged_on if count]
    facts = ", ".join([*counts, *[f"p {p_text(finding.p)}"] * (finding.p == finding.p)])
    source = f"Claimed in: {finding.source}." if finding.source else ""
    more = " ".join(filter(None, [finding.reason, f"{facts}." * bool(facts), source]))
    effect = effect_text(finding.effect, finding.low, finding.high, finding.unit)
    return finding.claim, Why(finding.says.replace("`", ""), more), DECISIONS[finding.decision], effect


def _not_judged(findings: Sequence[Finding]) -> list[Block]:
    """What each claim needs that this bench has not, those that need the same together."""
    left = [finding for finding in findings if finding.decision == "not judged"]
    texts = []
    for reason, members in grouped(left, lambda finding: finding.reason).items():
        claims = ", ".join(dict.fromkeys(finding.claim for finding in members))
        needs = reason.removeprefix("It needs ")
        texts.append(
            f"{claims} {'need' if ', ' in claims else 'needs'} {needs}" if needs != reason else f"{claims}: {reason}"
        )
    return [Text(f"Not judged on this bench: {'; '.join(text.rstrip('.') for text in texts)}.")] if texts else []
