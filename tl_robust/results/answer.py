"""What a bench found, in words: how far accuracy falls, by how much strategies differ, and what limits the answer.

Pure functions of summary rows and findings; the report shows them first and a run prints them at its end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tl_robust.claims.effects import Finding
from tl_robust.results.names import VIEWS, Names, grouped, interval
from tl_robust.results.table import Row
from tl_robust.text import effect_text, eps_text
from tl_robust.types import Cell, View

LEAD = 4  # pairs with attacks that the report charts beside the answer
PRINTED = 3  # of them in a terminal
SIDES: Mapping[View, tuple[str, ...]] = {"black": ("H2", "H13"), "white": ("H1",)}  # what is claimed of each view
WORDS = (
    "A is the public source model, B the victim made for the target. White box: the attacker has B itself. "
    "Black box: the attacker has A alone, and what was crafted on A is tried on B. Eps: how much an image is changed. "
    "Effects of claims are means over eps."
)
FEW_SEEDS = "One or two seeds decide nothing about other seeds: axes.seed=[0,1,2,3,4]."


@dataclass(frozen=True)
class Said:
    """What is said of one pair, network, number of labels and attack.

    Attributes:
        group: Its name, as charts have it.
        where: Its name in the terminal: what tells it from the others.
        lines: A sentence or two for each view, the black box first.
        rows: Accuracy under attack of all its curves.
    """

    group: str
    where: str
    lines: Sequence[str]
    rows: Sequence[Row]


def said(
    summary: Sequence[Row], findings: Sequence[Finding] = (), names: Names | None = None, quoted: bool = False
) -> list[Said]:
    """The answer for every pair and attack, each view at the eps where its strategies differ most.

    Args:
        summary: Means over seeds.
        findings: What was found of the claims; only those that could be decided are named.
        names: How cells are named; by default by what differs among the rows.
        quoted: Say what a claim says where it is first named, not its number alone.
    """
    rows = [row for row in summary if row.metric == "robust_accuracy" and row.eps is not None]
    names = names or Names.of(row.cell for row in rows)
    several = len({_edge(row.cell) for row in rows}) > 1
    labels, known = _labels(rows, findings), set[str]()
    answers = []
    for group, members in grouped(rows, lambda row: names.group(row.cell)).items():
        cell = members[0].cell
        more = labels.get(_edge(cell), {}).get(cell.target_images, f"{cell.target_images} labels")
        parts = [f"{cell.source} → {cell.target}" + f" ({cell.network})" * names.networks] * several
        where = ", ".join([*parts, f"{cell.attack} {cell.norm}", *[more] * names.images])
        lines = []
        for view in VIEWS:
            if sentence := _sentence([row for row in members if row.cell.view == view], names):
                nearest = _nearest(findings, cell, more, SIDES.get(view, ()))
                decisions = [_decision(finding, quoted and finding.claim not in known) for finding in nearest]
                known |= {finding.claim for finding in nearest}
                lines.append(f"{view.capitalize()} box {' '.join([sentence, *decisions])}")
        if lines:
            answers.append(Said(group, where, lines, members))
    return answers


def lines(summary: Sequence[Row], findings: Sequence[Finding] = (), seeds: int = 0) -> list[str]:
    """The answer in at most nine lines, for the end of a run: the first attack, and what limits it.

    Args:
        summary: Means over seeds.
        findings: What was found of the claims.
        seeds: How many seeds there are; 0 where it is not known.
    """
    answers = said(summary, findings)
    first = [answer for answer in answers if answer.rows[0].cell.attack == answers[0].rows[0].cell.attack][:PRINTED]
    printed = [f"{answer.where}, {line[:1].lower()}{line[1:]}" for answer in first for line in answer.lines]
    left = len(answers) - len(first)
    more = f"{left} more pairs, attacks or numbers of labels: see the report." if left > 1 else ""
    more = "One more pair, attack or number of labels: see the report." if left == 1 else more
    return [*overall(findings), *printed, *[more] * bool(more), *caveats(summary, findings, seeds)]


def overall(findings: Sequence[Finding]) -> list[str]:
    """What the primary claims come to over several pairs, a line for each attack; none where there is one pair."""
    if len({finding.pair for finding in findings if finding.pair}) < 2:
        return []
    everywhere = [finding for finding in findings if not finding.pair and not finding.labels and _known(finding)]
    whole = [finding for finding in everywhere if finding.family == "primary"]
    return [
        f"Over all pairs, {attack}: {' '.join(_decision(finding, False) for finding in members)}"
        for attack, members in grouped(whole, lambda finding: finding.attack).items()
    ]


def caveats(summary: Sequence[Row], findings: Sequence[Finding], seeds: int) -> list[str]:
    """What a reader must know before believing it: numbers that are not green, too few seeds."""
    levels = {row.trust for row in summary if row.metric == "robust_accuracy"} - {"green"}
    sentences = [f"Some of these numbers are {' or '.join(sorted(levels))}: see Trust."] if levels else []
    return sentences + [FEW_SEEDS] * (seeds in (1, 2) and bool(summary) and not any(map(_known, findings)))


def _edge(cell: Cell) -> tuple[str, str, str]:
    return cell.source, cell.target, cell.network


def _labels(rows: Sequence[Row], findings: Sequence[Finding]) -> dict[tuple[str, str, str], dict[int, str]]:
    """How findings name each pair's numbers of labels that are shares of them; both are in the order of the axis."""
    words = list(dict.fromkeys(finding.labels for finding in findings if finding.labels))
    labels = {}
    for edge, members in grouped(rows, lambda row: _edge(row.cell)).items():
        numbers = {f"{row.cell.target_images} labels": row.cell.target_images for row in members}
        rest = [number for word, number in numbers.items() if word not in words]
        shares = [word for word in words if word not in numbers and not word.removesuffix(" labels").isdigit()]
        if len(rest) == len(shares):
            labels[edge] = dict(zip(rest, shares, strict=True))
    return labels


def telling(rows: Sequence[Row]) -> float | None:
    """The eps above 0 at which the strategies differ most, the larger of equals; None where nothing is defined."""
    values = grouped((row for row in rows if row.value == row.value), lambda row: row.eps or 0.0)
    spread = {eps: max(row.value for row in at) - min(row.value for row in at) for eps, at in values.items()}
    return max(spread, key=lambda eps: (eps > 0, round(spread[eps], 9), eps), default=None)


def _sentence(rows: Sequence[Row], names: Names) -> str:
    """How far each strategy falls, the one that loses most first; empty where nothing is defined."""
    eps = telling(rows)
    clean = {row.cell: row.value for row in rows if row.eps == 0 and row.value == row.value}
    here = [row for row in rows if row.eps == eps and row.value == row.value]
    here.sort(key=lambda row: row.value - clean.get(row.cell, 1.0))
    items, before = list[str](), ""
    for row in here:
        verb, text = _fall(row, clean.get(row.cell))
        items.append(" ".join(filter(None, [names.strategy(row.cell), verb * (verb != before), text])))
        before = verb
    if eps is None or not items:
        return ""
    text = ", ".join(items[:-1]) + (", and " if len(items) > 2 else " and ") * (len(items) > 1) + items[-1]
    return f"at eps {eps_text(eps)}: {text}."


def _fall(row: Row, clean: float | None) -> tuple[str, str]:
    """A verb, and from what to what."""
    doubt = f" ({row.trust})" * (row.trust != "green")
    if clean is None or row.eps == 0:
        return "keeps", f"{interval(row)}{doubt}"
    if row.value < clean:
        return "falls", f"from {100 * clean:.1f} % to {interval(row)}{doubt}"
    return "stays", f"at {interval(row)}{doubt}"


def _nearest(findings: Sequence[Finding], cell: Cell, labels: str, claims: Sequence[str]) -> list[Finding]:
    """What is decided of some claims at the place of a cell, or over more of its bench where nothing is nearer."""
    attack = f"{cell.attack} {cell.norm}"
    pair = f"{cell.source} → {cell.target}"
    pairs = (f"{pair} ({cell.network})", pair)
    nearest = list[Finding]()
    decided = [finding for finding in findings if finding.attack == attack and _known(finding)]
    for claim in claims:
        same = [finding for finding in decided if finding.claim == claim]
        near = [
            [finding for finding in same if finding.pair in pairs and finding.labels == labels],
            [finding for finding in same if finding.pair in pairs and not finding.labels],
        ]
        if len({finding.pair for finding in findings if finding.pair}) < 2:
            near.insert(1, [finding for finding in same if not finding.pair and finding.labels == labels])
            near.append([finding for finding in same if not finding.pair and not finding.labels])
        nearest += [candidates[0] for candidates in near if candidates][:1]
    return nearest


def _known(finding: Finding) -> bool:
    """Whether it could be decided."""
    return finding.decision != "not judged" and finding.effect == finding.effect


def _decision(finding: Finding, quoted: bool) -> str:
    effect = effect_text(finding.effect, finding.low, finding.high, finding.unit)
    claim = finding.claim + f' ("{finding.says.replace("`", "").rstrip(".")}")' * quoted
    return f"{claim} is {finding.decision}: {effect}."
