"""What a bench found, in words: how far accuracy falls, by how much strategies differ, and what limits the answer.

Pure functions of summary rows and findings; the report shows them first and a run prints them at its end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tl_robust.claims.effects import Finding
from tl_robust.metrics import METRICS
from tl_robust.results.faces import FACES, by_threat, face_of
from tl_robust.results.names import Names, grouped, interval, last_x, measured, method, unit
from tl_robust.results.table import Row
from tl_robust.text import effect_text
from tl_robust.types import Cell, Face

LEAD = 4  # so many pairs with attacks are charted beside the answer of the report
LISTED = 6  # so many strategies are in a sentence, half of them from each end
PRINTED = 3  # so many pairs are answered for in a terminal
Numbers = Mapping[tuple[Cell, float | None, str], Row]  # rows by cell, place on the axis and metric
FEW_SEEDS = "One or two seeds decide nothing about other seeds: axes.seed=[0,1,2,3,4]."


@dataclass(frozen=True)
class Said:
    """What is said of one pair, network, number of labels and attack.

    Attributes:
        face: How its threat reads.
        group: Its name, as charts have it.
        where: Its name in the terminal: what tells it from the others.
        lines: A sentence or two for each view, the black box first.
        rows: The headline metric of its threat, of all its curves.
    """

    face: Face
    group: str
    where: str
    lines: Sequence[str]
    rows: Sequence[Row]


def said(
    summary: Sequence[Row],
    findings: Sequence[Finding] = (),
    names: Names | None = None,
    quoted: bool = False,
    faces: Mapping[str, Face] = FACES,
) -> list[Said]:
    """The answer for every threat, pair and attack, each view where its strategies differ most.

    Args:
        summary: Means over seeds.
        findings: What was found of the claims; only those that could be decided are named.
        names: How cells are named; by default by what differs among the rows.
        quoted: Say what a claim says where it is first named, not its number alone.
        faces: How each threat reads.
    """
    headlines = headline_rows(summary, faces)
    names = names or Names.of(row.cell for row in headlines)
    quotes = _Quotes(findings, quoted)
    threats, numbers = by_threat(headlines, faces), {(row.cell, row.eps, row.metric): row for row in summary}
    return [each for face, rows in threats for each in _said(face, rows, numbers, names, quotes, len(threats) > 1)]


def headline_rows(summary: Sequence[Row], faces: Mapping[str, Face] = FACES) -> list[Row]:
    """The curves that answer: those of the headline metric of each row's threat."""
    return [row for row in summary if row.metric == face_of(row.cell, faces).headline and row.eps is not None]


def beside(face: Face, row: Row, numbers: Numbers) -> list[tuple[str, Row]]:
    """What is told with a row of the headline, each with its name; what was not measured is left out."""
    there = ((words, numbers.get((row.cell, row.eps, metric))) for metric, words in face.beside.items())
    return [(words, other) for words, other in there if other]


def _said(
    face: Face, rows: Sequence[Row], numbers: Numbers, names: Names, quotes: _Quotes, several_threats: bool
) -> list[Said]:
    several_edges = len({_edge(row.cell) for row in rows}) > 1
    labels = _labels(rows, quotes.findings)
    answers = []
    groups: Mapping[str, Sequence[Row]] = grouped(rows, lambda row: names.group(row.cell))
    if face.ranked:  # before anything is said, since what a claim says stands only where it is first named
        unsaid = [Said(face, group, group, (), there) for group, there in groups.items()]
        groups = {each.group: each.rows for each in _ranked(unsaid)}
    for group, members in groups.items():
        cell = members[0].cell
        count = labels.get(_edge(cell), {}).get(cell.target_images, f"{cell.target_images} labels")
        edge = f"{cell.source} → {cell.target}" + f" ({cell.network})" * names.networks
        places = [*[face.name] * several_threats, *[edge] * several_edges, method(cell)]
        where = ", ".join([*places, *[count] * names.images])
        sentences = []
        for view in face.views:
            if sentence := _sentence(face, [row for row in members if row.cell.view == view], numbers, names):
                decisions = quotes.of(cell, count, face.claims.get(view, ()))
                side = face.side(view)
                sentences.append(f"{side[:1].upper()}{side[1:]} {' '.join([sentence, *decisions])}")
        if sentences:
            answers.append(Said(face, group, where, sentences, members))
    return answers


def _ranked(answers: Sequence[Said]) -> list[Said]:
    """Of each pair and view the attack that tells most before all others, which follow by how much they tell."""
    first = _strongest(answers)
    others = sorted(answers, key=lambda each: max(_most(each, view) for view in _views(each)), reverse=True)
    return [*first, *(each for each in others if each not in first)]


def _strongest(answers: Sequence[Said]) -> list[Said]:
    """The attack that tells most of each pair and view, each once; pairs as they come, views as the face has them."""
    found = list[Said]()
    for members in grouped(answers, _edge_of).values():
        for view in members[0].face.views:
            there = [each for each in members if view in _views(each)]
            found += [max(there, key=lambda each: _most(each, view))] if there else []
    return [each for place, each in enumerate(found) if each not in found[:place]]


def _views(answer: Said) -> set[str]:
    return {row.cell.view for row in answer.rows}


def _most(answer: Said, view: str) -> float:
    """The highest value of a view where the answer is told; -1 where nothing is defined."""
    rows = [row for row in answer.rows if row.cell.view == view]
    last = telling(rows, answer.face)
    return max((row.value for row in rows if row.eps == last and row.value == row.value), default=-1.0)


def _edge_of(answer: Said) -> tuple[object, ...]:
    cell = answer.rows[0].cell
    return *_edge(cell), cell.target_images


def lines(
    summary: Sequence[Row], findings: Sequence[Finding] = (), seeds: int = 0, faces: Mapping[str, Face] = FACES
) -> list[str]:
    """The answer in at most nine lines, for the end of a run: the first attack, and what limits it.

    Args:
        summary: Means over seeds.
        findings: What was found of the claims.
        seeds: How many seeds there are; 0 where it is not known.
        faces: How each threat reads.
    """
    answers = said(summary, findings, faces=faces)
    threats = grouped(answers, lambda each: each.face.threat).values()
    limit = PRINTED if len(threats) == 1 else 1
    first = [each for members in threats for each in of_first_attack(members)[:limit]]
    sentences = [f"{each.where}, {line[:1].lower()}{line[1:]}" for each in first for line in each.lines]
    left = len(answers) - len(first)
    more = f"{left} more pairs, attacks or numbers of labels: see the report." if left > 1 else ""
    more = "One more pair, attack or number of labels: see the report." if left == 1 else more
    return [*overall(findings), *sentences, *[more] * bool(more), *caveats(summary, findings, seeds, faces)]


def of_first_attack(answers: Sequence[Said]) -> list[Said]:
    """Those of the first attack, or of each pair and view the first where they are ranked."""
    if answers[0].face.ranked:
        return _strongest(answers)
    attacks = [each.rows[0].cell.attack for each in answers]
    return [each for each, attack in zip(answers, attacks, strict=True) if attack == attacks[0]]


def overall(findings: Sequence[Finding]) -> list[str]:
    """What the primary claims come to over several pairs, a line for each attack; none where there is one pair."""
    if _pairs(findings) < 2:
        return []
    whole = [
        finding
        for finding in findings
        if not finding.pair and not finding.labels and _known(finding) and finding.family == "primary"
    ]
    return [
        f"Over all pairs, {attack}: {' '.join(_decision(finding, False) for finding in members)}"
        for attack, members in grouped(whole, lambda finding: finding.attack).items()
    ]


def caveats(
    summary: Sequence[Row], findings: Sequence[Finding], seeds: int, faces: Mapping[str, Face] = FACES
) -> list[str]:
    """What a reader must know before believing it: numbers that are not green, too few seeds."""
    levels = {row.trust for row in headline_rows(summary, faces)} - {"green"}
    sentences = [f"Some of these numbers are {' or '.join(sorted(levels))}: see Trust."] if levels else []
    by_seeds = any(faces[row.cell.threat].units == "seeds" for row in summary)
    return sentences + [FEW_SEEDS] * (seeds in (1, 2) and by_seeds and not any(map(_known, findings)))


def _edge(cell: Cell) -> tuple[str, str, str]:
    return cell.source, cell.target, cell.network


def _pairs(findings: Sequence[Finding]) -> int:
    return len({finding.pair for finding in findings if finding.pair})


def _labels(rows: Sequence[Row], findings: Sequence[Finding]) -> dict[tuple[str, str, str], dict[int, str]]:
    """How findings name each pair's numbers of labels that are shares of them; both are in the order of the axis."""
    words = list(dict.fromkeys(finding.labels for finding in findings if finding.labels))
    names = {}
    for edge, members in grouped(rows, lambda row: _edge(row.cell)).items():
        numbers = {f"{row.cell.target_images} labels": row.cell.target_images for row in members}
        rest = [count for word, count in numbers.items() if word not in words]
        shares = [word for word in words if word not in numbers and not word.removesuffix(" labels").isdigit()]
        if len(rest) == len(shares):
            names[edge] = dict(zip(rest, shares, strict=True))
    return names


def telling(rows: Sequence[Row], face: Face) -> float | None:
    """Where on the axis the answer is told.

    Where the strategies differ most, the larger of equals, the baseline only where nothing else is defined; or the last
    value that all of them have.
    """
    defined = [row for row in rows if row.value == row.value and row.eps is not None]
    if face.told == "last":
        return last_x(defined)
    at = grouped(defined, lambda row: row.eps or 0.0)
    spread = {x: max(row.value for row in members) - min(row.value for row in members) for x, members in at.items()}
    return max(spread, key=lambda x: (x != face.baseline, round(spread[x], 9), x), default=None)


def _sentence(face: Face, rows: Sequence[Row], numbers: Numbers, names: Names) -> str:
    """How far each strategy falls, the one that loses most first; empty where nothing is defined."""
    x = telling(rows, face)
    clean = {row.cell: row.value for row in rows if row.eps == face.baseline and row.value == row.value}
    here = [row for row in rows if row.eps == x and row.value == row.value]
    here.sort(key=lambda row: _gain(row.value - clean.get(row.cell, 1.0), row))
    between = max(0, len(here) - LISTED)
    items, verb_before = list[str](), ""
    for row in [*here[: LISTED // 2], *here[LISTED // 2 + between :]]:
        verb, change = _change(face, row, clean.get(row.cell))
        notes = _notes(face, row, numbers)
        items.append(" ".join(filter(None, [names.strategy(row.cell), verb * (verb != verb_before), change, notes])))
        verb_before = verb
    if x is None or not items:
        return ""
    listed = ", ".join(items[:-1]) + (", and " if len(items) > 2 else " and ") * (len(items) > 1) + items[-1]
    measure = f", {face.measure[:1].lower()}{face.measure[1:]}" * (face.baseline is None and bool(face.measure))
    more = f"; {between} more lie{'s' * (between == 1)} between" if between else ""
    return f"at {face.at(x)}{measure}: {listed}{more}."


def _gain(change: float, row: Row) -> float:
    """A change as the owner of the victim sees it: below 0 where the model became worse."""
    return -change if METRICS[row.metric].higher_is_better is False else change


def _change(face: Face, row: Row, clean: float | None) -> tuple[str, str]:
    """How a number changes from its baseline: a verb, and from what to what; no verb where there is no baseline."""
    if face.baseline is None:
        return "", interval(row)
    if clean is None or row.eps == face.baseline:
        return "keeps", interval(row)
    if _gain(row.value - clean, row) < 0:
        return "falls" if row.value < clean else "rises", f"from {measured(clean, unit(row.metric))} to {interval(row)}"
    return "stays", f"at {interval(row)}"


def _notes(face: Face, row: Row, numbers: Numbers) -> str:
    """What a reader needs beside a number, in brackets: how far it is trusted, and what is never left out."""
    doubt = [row.trust] * (row.trust != "green")
    told = [(words, measured(other.value, unit(other.metric))) for words, other in beside(face, row, numbers)]
    others = [f"{words}{':' * words.endswith('%')} {value}" for words, value in told]
    return f"({'; '.join(filter(None, [*doubt, ', '.join(others)]))})" if doubt or others else ""


class _Quotes:
    """The findings that are named beside the answer; what a claim says stands only where it is first named."""

    def __init__(self, findings: Sequence[Finding], quoted: bool) -> None:
        self.findings, self._quoted = findings, quoted
        self._named = set[str]()

    def of(self, cell: Cell, labels: str, claims: Sequence[str]) -> list[str]:
        """What is decided of some claims at the place of a cell."""
        nearest = self._nearest(cell, labels, claims)
        decisions = [_decision(finding, self._quoted and finding.claim not in self._named) for finding in nearest]
        self._named |= {finding.claim for finding in nearest}
        return decisions

    def _nearest(self, cell: Cell, labels: str, claims: Sequence[str]) -> list[Finding]:
        """What is decided at the place of a cell, or over more of its bench where nothing is nearer."""
        attack, pair = method(cell), f"{cell.source} → {cell.target}"
        pairs = (f"{pair} ({cell.network})", pair)
        nearest = list[Finding]()
        same_attack = [finding for finding in self.findings if finding.attack.rstrip() == attack and _known(finding)]
        here = [finding for finding in same_attack if finding.threat == cell.threat]
        for claim in claims:
            same = [finding for finding in here if finding.claim == claim]
            near = [
                [finding for finding in same if finding.pair in pairs and finding.labels == labels],
                [finding for finding in same if finding.pair in pairs and not finding.labels],
            ]
            if _pairs(self.findings) < 2:
                near.insert(1, [finding for finding in same if not finding.pair and finding.labels == labels])
                near.append([finding for finding in same if not finding.pair and not finding.labels])
            nearest += [candidates[0] for candidates in near if candidates][:1]
        return nearest


def _known(finding: Finding) -> bool:
    """Whether the claim could be decided."""
    return finding.decision != "not judged" and finding.effect == finding.effect


def _decision(finding: Finding, quoted: bool) -> str:
    effect = effect_text(finding.effect, finding.low, finding.high, finding.unit)
    claim = finding.claim + f' ("{finding.says.replace("`", "").rstrip(".")}")' * quoted
    return f"{claim} is {finding.decision}: {effect}."
