"""What a policy says of an audit: each rule is kept, broken, undecided, or for a human to look at."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tl_robust.audit.audit_file import read
from tl_robust.audit.changes import Change, changes
from tl_robust.audit.policy import NotWorse, Policy, Rule
from tl_robust.audit.record import Audit, Finding
from tl_robust.audit.words import interval_text, place_text
from tl_robust.errors import ConfigError, UnknownNameError
from tl_robust.text import eps_text, first_few

Kind = Literal["pass", "undecided", "review", "fail"]
KINDS: tuple[Kind, ...] = ("pass", "undecided", "review", "fail")  # the worst last
PASSED, FAILED, ERROR, UNDECIDED = 0, 1, 2, 3  # exit codes


@dataclass(frozen=True)
class Decision:
    """What becomes of a rule.

    Attributes:
        rule: Of the policy.
        kind: ``pass``, ``fail``; ``undecided`` where an interval holds the bound or there is no number; ``review``
            where a number that it rests on has red trust.
        reason: One sentence.
        findings: Those that it rests on.
    """

    rule: Rule | NotWorse
    kind: Kind
    reason: str
    findings: tuple[Finding, ...] = ()


def earlier_of(policy: Policy) -> dict[Path, Audit]:
    """The earlier audits that a policy names, read.

    Raises:
        ResultsError: One cannot be read.
    """
    return {rule.path: read(rule.path) for rule in policy.rules if isinstance(rule, NotWorse)}


def decide(audit: Audit, policy: Policy, earlier: Mapping[Path, Audit]) -> list[Decision]:
    """Decide every rule.

    Args:
        audit: What was found.
        policy: What must be kept to.
        earlier: As :func:`earlier_of` reads them.

    Raises:
        ConfigError: A rule names an eps or a view at which nothing was measured, or an audit without a common number.
    """
    if audit.failed_locks:
        reason = f"Nothing was measured: {first_few([lock.name for lock in audit.failed_locks], 3)} failed."
        return [Decision(rule, "undecided", reason) for rule in policy.rules]
    made = []
    for rule in policy.rules:
        try:
            made.append(
                _bounded(audit, rule) if isinstance(rule, Rule) else _not_worse(audit, rule, earlier[rule.path])
            )
        except ConfigError as error:
            raise ConfigError(f"{policy.path}, line {rule.line}: {error}") from error
    return made


def exit_code(audit: Audit, decisions: Sequence[Decision], strict: bool = False) -> int:
    """0 pass, 1 a rule is broken, 2 a lock failed, 3 under ``strict``: something is undecided or to be looked at.

    Under ``strict`` an audit that measured nothing is undecided, too, whatever the policy says.
    """
    kinds = {decision.kind for decision in decisions}
    if audit.failed_locks:
        return ERROR
    if "fail" in kinds:
        return FAILED
    open_ends = kinds & {"undecided", "review"} or not audit.measured
    return UNDECIDED if strict and open_ends else PASSED


def worst(decisions: Sequence[Decision]) -> Decision | None:
    """The worst of several, the first of equals; None of none."""
    return max(decisions, key=lambda decision: KINDS.index(decision.kind), default=None)


def _bounded(audit: Audit, rule: Rule) -> Decision:
    """Every number that a rule names must keep to it: all views and attacks, so that the worst decides."""
    named = [finding for finding in audit.measured if finding.name == rule.name]
    if not named:
        why = next((f": {item.reason}" for item in audit.not_run if item.name == rule.name), ".")
        return Decision(rule, "undecided", f"{rule.name} was not measured{why}")
    seen = [finding for finding in named if rule.view in ("", finding.view)]
    if not seen:
        views = {finding.view for finding in named} - {""}
        raise UnknownNameError(f"view of {rule.name} in this audit", rule.view, views)
    asked = [finding for finding in seen if math.isnan(rule.eps) or math.isclose(finding.eps, rule.eps, rel_tol=1e-6)]
    if not asked:
        sizes = ", ".join(eps_text(eps) for eps in sorted({finding.eps for finding in seen}))
        raise ConfigError(f"{rule.name} is measured at eps {sizes} in this audit, and not at {eps_text(rule.eps)}.")
    kinds = [_kind(finding, rule) for finding in asked]
    kind = max(kinds, key=KINDS.index)
    telling = [finding for finding, own in zip(asked, kinds, strict=True) if own == kind]
    first = max(telling, key=lambda finding: finding.badness)
    return Decision(rule, kind, _sentence(first, rule, kind, len(asked)), tuple(asked))


def _kind(finding: Finding, rule: Rule) -> Kind:
    low, high, bound = finding.low, finding.high, rule.bound
    if finding.trust.level == "red":
        return "review"
    if math.isnan(finding.value + low + high):
        return "undecided"
    kept, broken = {
        ">=": (low >= bound, high < bound),
        ">": (low > bound, high <= bound),
        "<=": (high <= bound, low > bound),
        "<": (high < bound, low >= bound),
    }[rule.operator]
    return "pass" if kept else "fail" if broken else "undecided"


def _sentence(finding: Finding, rule: Rule, kind: Kind, count: int) -> str:
    number = f"{finding.title} is {interval_text(finding)}{place_text(finding)}"
    if count > 1:
        number += f", the worst of {count}" if kind != "review" else f", one of {count}"
    trust = f" Trust is amber: {' '.join(finding.trust.reasons)}" if finding.trust.level == "amber" else ""
    if kind == "review":
        return f"{number}, and its trust is red: {' '.join(finding.trust.reasons)}"
    if math.isnan(finding.value + finding.low + finding.high):
        return f"{number}: without an interval nothing is decided.{trust}"
    says = {"pass": "keeps to", "fail": "breaks", "undecided": "may lie on either side of"}[kind]
    return f"{number}, which {says} {rule.operator} {rule.bound:.4g}.{trust}"


def _not_worse(audit: Audit, rule: NotWorse, then: Audit) -> Decision:
    found = changes(audit, then, rule.margin)
    if not found:
        raise ConfigError(f"{rule.path} has no number in common with this audit: give one of the same attacks and eps.")
    kinds = [_changed(change, rule.margin) for change in found]
    now = {finding.key for finding in audit.measured}
    gone = [finding.key for finding in then.measured if finding.better and finding.key not in now]
    lost: list[Kind] = ["undecided"] * bool(gone)
    kind = max([*kinds, *lost], key=KINDS.index)
    telling = [change for change, own in zip(found, kinds, strict=True) if own == kind]
    sentences = list(_about(telling, kind, rule.margin))
    if gone:
        sentences.append(f"Not measured any more: {first_few(gone, 2, count=True)}.")
    return Decision(rule, kind, " ".join(sentences), tuple(change.now for change in found))


def _changed(change: Change, margin: float) -> Kind:
    if "red" in (change.now.trust.level, change.then.trust.level):
        return "review"
    return "fail" if change.worse else "pass" if change.not_worse(margin) else "undecided"


def _about(telling: Sequence[Change], kind: Kind, margin: float) -> Iterator[str]:
    if not telling:
        return
    says = {
        "pass": "is not worse",
        "fail": "is worse",
        "undecided": "may be worse or not",
        "review": "rests on a number whose trust is red",
    }[kind]
    first = min(telling, key=lambda change: math.inf if math.isnan(change.gain) else change.gain)
    how = "sample by sample" if first.paired else "by the intervals of both"
    scale, word = (100, " points") if first.now.unit == "share" else (1, "")
    ends = "" if math.isnan(first.low) else f" [{scale * first.low:.1f}, {scale * first.high:.1f}]"
    beyond = f" by more than {margin:g}" if margin else ""
    more = f" (of {len(telling)} such numbers the one that lost most)" if len(telling) > 1 else ""
    yield (
        f"{first.now.title}{place_text(first.now)} {says}{beyond}: it gained {scale * first.gain:+.1f}{word}{ends}, "
        f"{how}{more}."
    )
