"""``risk.html``: what an audit found, on one page that opens without a network and prints on one sheet of A4.

What does not fit is counted, and stands in ``audit.json``: the page is for a meeting, the file for the record.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tl_robust.audit import words
from tl_robust.audit.decisions import KINDS, Decision, worst
from tl_robust.audit.record import PRICE, Audit, Finding, Price
from tl_robust.files import write_atomically
from tl_robust.results.names import MARKS
from tl_robust.sinks.report import rendering
from tl_robust.sinks.report.blocks import Measured, Table
from tl_robust.text import eps_text, plain

ROWS, LINES = 10, 5  # of the table of threats, and of each list below it
LETTERS, ROW = 3800, 190  # of all lists together, and what a row of the table takes of it
LEAST, LONG, NAME = 90, 260, 40  # letters of a sentence in a full and in a short list, and of a name
HEADS = ("threat", "number", "attacker", "value [95 % interval]", "n", "trust", "policy")


def write(audit: Audit, path: Path, decisions: Sequence[Decision] = (), policy: str = "") -> None:
    """Write the page.

    Args:
        audit: What was found.
        path: Of the page.
        decisions: What a policy says of it.
        policy: The file of the policy, as the user wrote it; empty where there is none.

    Raises:
        ResultsError: It cannot be written.
    """
    write_atomically(path, rendering.page(context(audit, decisions, policy), "risk.html.j2").encode())


def context(audit: Audit, decisions: Sequence[Decision] = (), policy: str = "") -> dict[str, Any]:
    """What the template names; see :func:`write`."""
    made = audit.made.items()
    return {
        "title": cut(audit.model.name, NAME),
        "facts": _facts(audit),
        "threats": _threats(audit, decisions),
        "table": _table(audit, decisions),
        "price": audit.price and _price(audit.price, decisions),
        "origin": cut(words.origin_text(audit.origin), LONG) if audit.origin else "",
        "lists": [item for item in _lists(audit, decisions, policy) if item[1]],
        "files": _files(audit),
        "made": cut("; ".join(" ".join((name.removeprefix("versions."), text)) for name, text in made), LONG),
        "seed": audit.seed,
    }


def cut(text: str, most: int) -> str:
    """A text with at most so many letters."""
    text = " ".join(plain(text).split()).replace(" %", "\xa0%")
    return text if len(text) <= most else f"{text[: most - 1].rstrip()}…"


def _facts(audit: Audit) -> list[str]:
    parent = f"its public parent {cut(audit.parent.name, NAME)}" if audit.parent else "no declared parent"
    size = "" if math.isnan(audit.eps) else f" Evasion is read at eps {eps_text(audit.eps)} (pixels in [0, 1])."
    network, data = cut(audit.model.network, NAME), cut(audit.data.name, NAME)
    return [
        f"A {network} against {parent}, on {audit.data.images} images of {data}, {audit.date[:10]}.{size}",
    ]


def _threats(audit: Audit, decisions: Sequence[Decision]) -> list[tuple[str, str]]:
    """The verdict on each threat: the worst of all rules that rest on a number of it."""
    measured = [finding.threat for finding in audit.findings]
    told = []
    for threat in dict.fromkeys([*measured, *(item.threat for item in audit.not_run if item.threat)]):
        of_it = [item for item in decisions if any(finding.threat == threat for finding in item.findings)]
        found = worst(of_it)
        mark = words.DECIDED[found.kind if found else ""] if threat in measured else words.NOT_RUN
        told.append((cut(words.threat_text(threat), NAME), mark))
    return told[: LINES + 1]


def _table(audit: Audit, decisions: Sequence[Decision]) -> Table | None:
    shown = words.in_force(audit)
    if not shown:
        return None
    rows = [
        (finding, worst([item for item in decisions if any(_alike(finding, other) for other in item.findings)]))
        for finding in shown
    ]
    kept = sorted(range(len(rows)), key=lambda place: -_severity(rows[place][1]))[:ROWS]  # what fails is never left out
    body: list[tuple[str | Measured, ...]] = []
    for finding, found in (rows[place] for place in sorted(kept)):
        body.append(
            (
                words.threat_text(finding.threat),
                cut(finding.title, NAME),
                _attacker(finding),
                Measured(words.value_text(finding), words.ends_text(finding)),
                str(finding.n),
                MARKS[finding.trust.level],
                words.DECIDED[found.kind if found else ""],
            )
        )
    more = f"; {len(shown) - ROWS} more rows stand in audit.json" * (len(shown) > ROWS)
    title = f"The worst number of each kind and attacker at the eps in force{more}"
    return Table(title, HEADS, body, cards=True)


def _attacker(finding: Finding) -> str:
    """What the attacker does and has; settings of an attack are cut before its view and eps are."""
    return words.attack_text(replace(finding, attack=cut(finding.attack, NAME // 2), hits=())) or "none"


def _severity(decision: Decision | None) -> int:
    return KINDS.index(decision.kind) if decision else -1


def _alike(finding: Finding, other: Finding) -> bool:
    """Whether both are of one row of the table."""
    same = (finding.threat, finding.name, finding.view) == (other.threat, other.name, other.view)
    return same and (finding.eps == other.eps or (math.isnan(finding.eps) and math.isnan(other.eps)))


def _price(price: Price, decisions: Sequence[Decision]) -> dict[str, str]:
    found = worst([item for item in decisions if any(finding.name == PRICE for finding in item.findings)])
    told = price.price
    return {
        "value": words.value_text(told).replace(" %", " points"),
        "ends": words.ends_text(told),
        "decision": words.DECIDED[found.kind if found else ""],
        "trust": "" if told.trust.level == "green" else MARKS[told.trust.level],
        "text": cut(f"{words.price_text(price)} ({_attacker(told)}).", LONG),
    }


def _lists(audit: Audit, decisions: Sequence[Decision], policy: str) -> list[tuple[str, list[tuple[str, str]]]]:
    """Title, then marks and sentences, of each list below the table."""
    ordered = sorted(decisions, key=_severity, reverse=True)
    rules = [(words.DECIDED[item.kind], f"{item.rule.text}: {item.reason}") for item in ordered]
    locks = [(words.LOCKED[lock.passed], f"{lock.name.replace('_', ' ')}: {lock.reason}") for lock in audit.locks]
    verdicts = [(finding.title, finding.trust) for finding in audit.measured]
    if audit.origin:
        verdicts.append(("Which parent", audit.origin.trust))
    doubts = [(trust.level, f"{title}: {reason}") for title, trust in verdicts for reason in trust.reasons]
    doubts.sort(key=lambda doubt: -list(MARKS).index(doubt[0]))
    missing = [
        ("", f"{item.threat} {item.name}".replace("_", " ").strip() + f": {item.reason}") for item in audit.not_run
    ]
    terms = {who: text for finding in audit.measured for who, text in finding.terms.items()}
    named = {who: _union(audit, who) for who in terms}
    lists = [
        (f"Policy {cut(policy, NAME)}".strip(), rules),
        ("Locks", sorted(locks, key=lambda lock: lock[0] != words.LOCKED[False])),
        ("Why trust is not green", [(MARKS[level], text) for level, text in dict.fromkeys(doubts)]),
        ("What was not run", missing),
    ]
    count = sum(min(len(items), LINES) for _, items in lists)
    letters = LETTERS - ROW * min(len(words.in_force(audit)), ROWS)
    most = max(LEAST, min(LONG, letters // max(count, 1)))  # so that all of it is one page
    others = [("", f"{who}: {text}") for who, text in named.items()]
    return [*((title, _few(items, most)) for title, items in lists), ("What others call this", _few(others, LONG))]


def _union(audit: Audit, who: str) -> str:
    texts = [part.strip() for finding in audit.measured for part in finding.terms.get(who, "").split(",")]
    return ", ".join(filter(None, dict.fromkeys(texts)))


def _few(items: Sequence[tuple[str, str]], most: int) -> list[tuple[str, str]]:
    shown = [(mark, cut(text, most)) for mark, text in items[:LINES]]
    return [*shown, ("", f"and {len(items) - LINES} more in audit.json")] if len(items) > LINES else shown


def _files(audit: Audit) -> list[tuple[str, str]]:
    """Paths and digests of the model and its parent, the first of each."""
    models = [audit.model, *([audit.parent] if audit.parent else [])]
    return [(cut(model.files[0].path, 2 * NAME), model.files[0].sha256) for model in models]
