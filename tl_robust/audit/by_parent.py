"""Which backbone to start from: audits of many models, grouped by the public parent that they were made of.

A parent is known by the content of its files, whatever it is called. Numbers stand side by side only where they were
measured in the same way: at the same eps and norm, by the same attacks.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from tl_robust.audit.record import Audit, AuditedModel, Finding
from tl_robust.audit.words import short
from tl_robust.metrics.estimate import square_and_add
from tl_robust.results.means import mean_of
from tl_robust.results.names import grouped
from tl_robust.text import eps_text
from tl_robust.trust import worst
from tl_robust.types import Verdict

EVASION, ACCURACY = "evasion", "robust_accuracy"
ALARM = "alarm_p_value"  # (1 + clean models that show a sign of a backdoor as clearly) / (1 + clean models, its n)


@dataclass(frozen=True)
class Mean:
    """A mean over models.

    Attributes:
        value: NaN where no model has the number.
        low: Lower end of its 95 % interval; NaN where there is none.
        high: Upper end.
        n: Models that have the number. With one, the interval is for other images and not for other models.
    """

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Setting:
    """How models were attacked.

    Attributes:
        eps: The size in force, in [0,1] pixel units; NaN where nothing was perturbed.
        norm: Of the perturbation.
        transfer: Attacks from the parent; empty where there were none.
        white: Attack on the model itself.
    """

    eps: float
    norm: str
    transfer: str
    white: str

    @property
    def text(self) -> str:
        """In words: ``eps 8/255 linf; from the parent: worst of fgsm, mi; white box: strong``."""
        size = "" if math.isnan(self.eps) else f"eps {eps_text(self.eps)} {self.norm}".strip()
        sides = (("from the parent", self.transfer), ("white box", self.white))
        return "; ".join(filter(None, (size, *(f"{side}: {attack}" for side, attack in sides if attack))))


@dataclass(frozen=True)
class Line:
    """What was found of the models of one parent.

    Attributes:
        name: Of the parent; empty for models of which none was declared.
        digest: 64 hex digits over its files.
        setting: How its models were attacked.
        models: Their names.
        clean: Accuracy on clean images.
        transfer: Accuracy under the worst of the attacks from the parent.
        least: The least of these accuracies; NaN where there is none.
        white: Accuracy under the attack on the model itself.
        price: Of the parent.
        asked: Of how many of these models the parent was looked for.
        claimed: Of how many of those it was claimed.
        claimed_of_others: Of how many models of others it was claimed.
        watched: At how many of these models signs of a backdoor were compared with those at clean models.
        alarms: At how many of those a sign was clearer than at every clean model.
        trust: The worst of all numbers of the line.
        data: Digests of the images that they were judged on.
    """

    name: str
    digest: str
    setting: Setting
    models: tuple[str, ...]
    clean: Mean
    transfer: Mean
    least: float
    white: Mean
    price: Mean
    asked: int
    claimed: int
    claimed_of_others: int
    watched: int
    alarms: int
    trust: Verdict
    data: frozenset[str]


@dataclass(frozen=True)
class Refused:
    """A model that has no numbers.

    Attributes:
        name: Of the model.
        parent: Name of its parent; empty where none was declared.
        reason: One sentence.
    """

    name: str
    parent: str
    reason: str


ORDER = (
    "The best start stands first: the parent whose models, on average, keep the most right answers under what is "
    "crafted on it (images that are wrong without an attack count as wrong); of equals the one that costs less, then "
    "the one with more right answers on clean images."
)


def lines(audits: Iterable[Audit]) -> list[Line]:
    """The table by parent; audits of one setting stand together, the best start first (:data:`ORDER`).

    Audits in which a lock failed have no numbers and are left out: see :func:`refused`.
    """
    measured = [audit for audit in audits if not audit.failed_locks and audit.measured]
    claims = [claim for audit in measured if (claim := _claim(audit))]
    groups = grouped(measured, lambda audit: (_setting(audit), digest_of(audit.parent)))
    made = [_line(setting, digest, members, claims) for (setting, digest), members in groups.items()]
    together = grouped(_told_apart(made), lambda line: line.setting)
    return [line for members in together.values() for line in sorted(members, key=_rank)]


def refused(audits: Iterable[Audit]) -> list[Refused]:
    """The models of audits that measured nothing, and why."""
    return [
        Refused(audit.model.name, audit.parent.name if audit.parent else "", _why(audit))
        for audit in audits
        if audit.failed_locks or not audit.measured
    ]


def lead(first: Line, second: Line) -> tuple[float, float, float]:
    """How many more right answers the models of the first keep under transfer, with the ends of a 95 % interval.

    From the intervals of both alone, as of independent numbers (:func:`tl_robust.metrics.estimate.square_and_add`);
    where both were judged on the same images, it is rather too wide.
    """
    return square_and_add(second.transfer, first.transfer)


def digest_of(model: AuditedModel | None) -> str:
    """Says which model it is: the SHA-256 of its file, or over those of several; empty for None."""
    if model is None:
        return ""
    digests = sorted({file.sha256 for file in model.files})
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


def mean(findings: Sequence[Finding], least: float = 0.0) -> Mean:
    """The mean over models, each with its own interval; see :func:`tl_robust.results.means.mean_of`.

    Args:
        findings: Of each model one; those whose value is undefined do not count.
        least: What it can be at least; at most it is 1.
    """
    known = [finding for finding in findings if not math.isnan(finding.value)]
    if not known:
        return Mean(math.nan, math.nan, math.nan, 0)
    if len(known) == 1:
        return Mean(known[0].value, known[0].low, known[0].high, 1)
    value, reach = mean_of(known)
    if math.isnan(reach):
        return Mean(value, math.nan, math.nan, len(known))
    return Mean(value, max(least, value - reach), min(1.0, value + reach), len(known))


def _line(setting: Setting, digest: str, audits: Sequence[Audit], claims: Sequence[tuple[str, str]]) -> Line:
    clean, black, white = (_numbers(audits, view) for view in ("", "black", "white"))
    prices = [audit.price.price for audit in audits if audit.price]
    parent = audits[0].parent
    own = [claim for audit in audits if (claim := _claim(audit))]
    hits = [claimed for declared, claimed in claims if claimed == digest != "" and declared != digest]
    return Line(
        name=parent.name if parent else "",
        digest=digest,
        setting=setting,
        models=tuple(audit.model.name for audit in audits),
        clean=mean(clean),
        transfer=mean(black),
        least=min((finding.value for finding in black if not math.isnan(finding.value)), default=math.nan),
        white=mean(white),
        price=mean(prices, least=-1.0),
        asked=len(own) if digest else 0,
        claimed=sum(claimed == digest for _, claimed in own) if digest else 0,
        claimed_of_others=len(hits),
        watched=sum(any(finding.name == ALARM for finding in audit.findings) for audit in audits),
        alarms=sum(any(map(_rings, audit.findings)) for audit in audits),
        trust=worst([finding.trust for finding in (*clean, *black, *white, *prices)]),
        data=frozenset(audit.data.sha256 for audit in audits),
    )


def _numbers(audits: Sequence[Audit], view: str) -> list[Finding]:
    """Of each audit the worst accuracy in a view at the eps in force; on clean images where the view is empty."""
    found = [_accuracies(audit, view) for audit in audits]
    return [max(members, key=lambda finding: finding.badness) for members in found if members]


def _accuracies(audit: Audit, view: str) -> list[Finding]:
    """In the order of the audit, in which the worst of all attacks stands behind each of them."""
    eps = audit.eps if view else 0.0
    return [
        finding
        for finding in audit.findings
        if (finding.threat, finding.name, finding.view) == (EVASION, ACCURACY, view)
        and math.isclose(finding.eps, eps, rel_tol=1e-6)
    ]


def _setting(audit: Audit) -> Setting:
    black, white = (_accuracies(audit, view) for view in ("black", "white"))
    norm = next((finding.norm for finding in (*black, *white)), "")
    last = [found[-1].attack if found else "" for found in (black, white)]
    eps = math.nan if math.isnan(audit.eps) else float(f"{audit.eps:.6g}")  # one NaN, which is the same as itself
    return Setting(eps, norm, *last)


def _claim(audit: Audit) -> tuple[str, str] | None:
    """Digests of the declared parent and of the claimed one (empty where none is); None where none was looked for."""
    if audit.origin is None:
        return None
    known: Mapping[str, str] = {
        model.name: digest_of(model) for model in (*audit.others, *([audit.parent] if audit.parent else []))
    }
    return digest_of(audit.parent), known.get(audit.origin.claimed, "")


def _rings(finding: Finding) -> bool:
    least = 1 / (1 + finding.n)
    return finding.name == ALARM and (finding.value < least or math.isclose(finding.value, least))


def _told_apart(made: Sequence[Line]) -> list[Line]:
    """Lines in which two parents of one name have a part of their digest behind it."""
    known = grouped({(line.name, line.digest) for line in made}, lambda item: item[0])
    return [
        line if len(known[line.name]) == 1 else replace(line, name=f"{line.name} ({short(line.digest)})")
        for line in made
    ]


def _rank(line: Line) -> tuple[float, float, float, str]:
    def last(value: float) -> float:
        return math.inf if math.isnan(value) else value

    return last(-line.transfer.value), last(line.price.value), last(-line.clean.value), line.name


def _why(audit: Audit) -> str:
    failed = [f"{lock.name} failed: {lock.reason}" for lock in audit.failed_locks]
    return " ".join(failed) or next((item.reason for item in audit.not_run), "Nothing was measured.")
