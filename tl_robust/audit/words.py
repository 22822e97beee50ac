"""How the numbers of an audit read, wherever they are shown."""

from __future__ import annotations

import math

from tl_robust.audit.record import Audit, Finding, Origin, Price
from tl_robust.results.faces import FACES
from tl_robust.results.names import grouped, measured, number
from tl_robust.text import eps_text

DECIDED = {
    "pass": "✔ pass",
    "fail": "✖ fail",
    "undecided": "◇ undecided",
    "review": "▲ review",
    "": "○ no rule",
}
LOCKED = {True: "✔ passed", False: "✖ failed", None: "○ not asked"}
NOT_RUN = "○ not run"
CLASSES = {
    **{mark: name or "quiet" for name, mark in DECIDED.items()},
    LOCKED[True]: "pass",
    LOCKED[False]: "fail",
    LOCKED[None]: "quiet",
    NOT_RUN: "quiet",
}
"""How each mark is drawn, by the name of its class in style sheets."""
SHORT = 12  # digits of a digest that tell files apart for a reader


def interval_text(finding: Finding) -> str:
    """A value with its interval: ``41.0 % [34.1, 48.2]``; ``n/a`` where undefined."""
    return " ".join(filter(None, (value_text(finding), ends_text(finding))))


def value_text(finding: Finding) -> str:
    """A value with its unit: ``41.0 %``; ``n/a`` where undefined."""
    return measured(finding.value, finding.unit)


def ends_text(finding: Finding) -> str:
    """The interval of a value: ``[34.1, 48.2]``; empty where there is none."""
    if math.isnan(finding.value + finding.low + finding.high):
        return ""
    return f"[{', '.join(number(end, finding.unit) for end in (finding.low, finding.high))}]"


def attack_text(finding: Finding) -> str:
    """What the attacker does and has: ``strong linf, white box, eps 8/255``; empty where there is none."""
    face = FACES.get(finding.threat)
    view = face.side(finding.view) if face else finding.view
    size = "" if math.isnan(finding.eps) or finding.eps == 0 else f"eps {eps_text(finding.eps)}"
    return ", ".join(filter(None, (f"{finding.attack} {finding.norm}".strip() if finding.attack else "", view, size)))


def place_text(finding: Finding) -> str:
    """The same in parentheses behind a number; nothing where there is nothing to say."""
    return f" ({text})" if (text := attack_text(finding)) else ""


def threat_text(threat: str) -> str:
    """A threat as a title names it: ``Evasion``."""
    return threat.replace("_", " ").capitalize()


def in_force(audit: Audit) -> list[Finding]:
    """The worst finding of each number and view at the eps in force, and those that have no eps.

    The price of the parent is left out: it stands alone.
    """
    shown = [
        finding
        for finding in audit.findings
        if math.isnan(finding.eps) or finding.eps == 0 or math.isclose(finding.eps, audit.eps, rel_tol=1e-6)
    ]
    groups = grouped(shown, lambda finding: (finding.threat, finding.name, finding.view, finding.eps == 0))
    return [max(members, key=lambda finding: finding.badness) for members in groups.values()]


def short(digest: str) -> str:
    """The first digits of a digest."""
    return digest[:SHORT]


def origin_text(origin: Origin) -> str:
    """Which parent, and how surely, in one or two sentences."""
    if not origin.claimed:
        count = len(origin.candidates)
        which = f"None of {count} candidates" if count > 1 else "The only candidate"
        return f"{which} is {'not ' if count == 1 else ''}claimed as its parent. {origin.reason}"
    first = origin.candidates[0]
    share = first.certainty
    number = "above 99.9 %" if share > 0.999 else measured(share, "share")
    sure = "" if math.isnan(share) else f", certainty {number}"
    which = (
        f"the closest of {len(origin.candidates)} candidates" if len(origin.candidates) > 1 else "the only candidate"
    )
    return f"It comes from {origin.claimed}, {which} by {first.evidence}{sure}. {origin.reason}"


def price_text(price: Price) -> str:
    """What the public parent costs, in one sentence without its end."""
    models = f"{price.models} unrelated models" if price.models > 1 else "an unrelated model"
    return (
        f"The public parent costs {interval_text(price.price).replace(' %', ' points')}: what is crafted on it turns "
        f"{value_text(price.parent)} of the images, and what is crafted on {models} {value_text(price.unrelated)}"
    )


def version_of(audit: Audit) -> dict[str, str]:
    """The version that made the audit, as a field of SARIF and CycloneDX; nothing where it is not known."""
    version = audit.made.get("versions.tl_robust")
    return {"version": version} if version else {}
