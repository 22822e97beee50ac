"""The record of an audit: what was audited, which locks it passed, what was found, how surely, and what was not run.

Numbers are as the metrics give them: shares from 0 to 1 (differences of two from -1 to 1), eps in [0,1] pixel units.
NaN stands for what is undefined or was not measured. Whatever tells a reader something is a function of this record.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from tl_robust.audit.numbers import ONLY_IN_AUDITS, Better
from tl_robust.audit.numbers import PRICE as PRICE
from tl_robust.text import eps_text
from tl_robust.types import Verdict

SHA256 = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class File:
    """A file that was read.

    Attributes:
        path: As the user wrote it.
        sha256: 64 hex digits of its content.
        size: Bytes.
    """

    path: str
    sha256: str
    size: int

    def __post_init__(self) -> None:
        if not SHA256.fullmatch(self.sha256):
            raise ValueError(f"the SHA-256 of {self.path} must be 64 hex digits, got {self.sha256[:70]!r}")


@dataclass(frozen=True)
class AuditedModel:
    """A model as it was loaded.

    Attributes:
        name: What readers call it.
        network: Its architecture, such as ``resnet18``.
        classes: Names in the order of its logits; empty where they are not known.
        files: What it was read from, at least one; the first is the one that a finding points to.
    """

    name: str
    network: str
    classes: tuple[str, ...]
    files: tuple[File, ...]

    def __post_init__(self) -> None:
        if not self.files:
            raise ValueError(f"model {self.name} needs at least one file")


@dataclass(frozen=True)
class AuditedData:
    """The images that the models were judged on.

    Attributes:
        name: What readers call them.
        images: How many, at least 1.
        sha256: 64 hex digits over images and labels in their order, so that numbers of two audits can be paired.
    """

    name: str
    images: int
    sha256: str

    def __post_init__(self) -> None:
        if not SHA256.fullmatch(self.sha256):
            raise ValueError(f"the SHA-256 of data {self.name} must be 64 hex digits, got {self.sha256[:70]!r}")


@dataclass(frozen=True)
class Lock:
    """A question that can stop an audit before anything is attacked.

    Attributes:
        name: Registered name, such as ``every_tensor_filled``.
        passed: None where it could not be asked, for example for want of a reference output.
        reason: One sentence: what was seen, or why it was not asked.
    """

    name: str
    passed: bool | None
    reason: str


@dataclass(frozen=True)
class Finding:
    """A number with its interval, and how far it is to be trusted.

    Attributes:
        threat: Registered name of the threat.
        name: Registered name of the metric, or of a number that only audits know (:mod:`tl_robust.audit.numbers`).
        title: What the number says, as a noun: ``Accuracy under attack``.
        value: NaN where it is undefined.
        low: Lower end of its 95 % interval; NaN where there is none. A number that is known exactly has itself.
        high: Upper end.
        n: Samples in the denominator.
        unit: ``share``, ``ratio``, ``eps``, ``epochs``, ``images``.
        better: What is better for the owner of the model; empty where neither is.
        view: What the attacker has, such as ``white`` (the model itself) or ``black`` (its public parent).
        attack: The attack with its settings.
        norm: Of the perturbation: ``linf``, ``l2``.
        eps: Allowed norm in [0,1] pixel units; NaN where the number has none.
        trust: Green, amber or red, with a sentence for all that is not green.
        terms: What others call it, by who does: ``NIST AI 100-2``, ``MITRE ATLAS``; several with commas between them.
        hits: Of each of the n samples in their order whether it counts, so that ``value`` is their mean; empty where
            it is not kept. With it, numbers of two audits on the same data are compared sample by sample.
    """

    threat: str
    name: str
    title: str
    value: float
    low: float
    high: float
    n: int
    unit: str
    better: Better = ""
    view: str = ""
    attack: str = ""
    norm: str = ""
    eps: float = math.nan
    trust: Verdict = field(default_factory=Verdict)
    terms: Mapping[str, str] = field(default_factory=dict)
    hits: tuple[bool, ...] = ()

    def __post_init__(self) -> None:
        if self.low > self.high or self.value < self.low or self.value > self.high:
            raise ValueError(f"{self.key}: the interval [{self.low:g}, {self.high:g}] must hold {self.value:g}")
        if self.unit == "share" and max(map(_size, (self.value, self.low, self.high))) > 1:
            raise ValueError(
                f"{self.key}: a share must be from -1 to 1, got {self.value:g} [{self.low:g}, {self.high:g}]"
            )
        facts = ONLY_IN_AUDITS.get(self.name)
        if facts and (self.unit, self.better) != (facts.unit, facts.better):
            raise ValueError(
                f"{self.key} must be in {facts.unit} and better where {facts.better}, got {self.unit} and "
                f"{self.better or 'neither'}"
            )
        if self.eps < 0 or math.isinf(self.eps):
            raise ValueError(f"{self.key}: eps must be a finite number from 0, got {self.eps:g}")
        if self.hits and (len(self.hits) != self.n or not math.isclose(sum(self.hits) / self.n, self.value)):
            raise ValueError(f"{self.key}: the value must be the mean of its {len(self.hits)} hits over n = {self.n}")

    @cached_property
    def key(self) -> str:
        """Says which number it is, whatever its value: ``evasion/robust_accuracy/white/pgd/linf/8/255``."""
        size = "" if math.isnan(self.eps) else eps_text(self.eps)
        return "/".join(filter(None, (self.threat, self.name, self.view, self.attack, self.norm, size)))

    @property
    def badness(self) -> float:
        """Larger is worse for the owner; -inf where the value is undefined or neither is better."""
        sign = {"higher": -1.0, "lower": 1.0, "": math.nan}[self.better]
        return -math.inf if math.isnan(sign * self.value) else sign * self.value


def _size(value: float) -> float:
    return 0.0 if math.isnan(value) else abs(value)


@dataclass(frozen=True)
class Price:
    """What the public parent costs: success of transfer from it, less that from unrelated models of the same kind.

    Attributes:
        price: The difference, named ``parent_price``; above 0 the parent helps the attacker.
        parent: Share of the samples that examples crafted on the parent turn.
        unrelated: The same with unrelated models, their mean.
        models: How many unrelated models, at least 1.
    """

    price: Finding
    parent: Finding
    unrelated: Finding
    models: int

    def __post_init__(self) -> None:
        if self.price.name != PRICE:
            raise ValueError(f"a price is named {PRICE}, got {self.price.name}")
        if not math.isclose(self.price.value, self.parent.value - self.unrelated.value, abs_tol=1e-6):
            raise ValueError(f"{PRICE} must be the difference of the two numbers beside it, got {self.price.value:g}")


@dataclass(frozen=True)
class Candidate:
    """A model that may be the parent.

    Attributes:
        name: Of the model.
        score: How close it is, larger is closer; of all candidates by the same evidence.
        certainty: From 0 to 1; NaN where it was not told.
        evidence: What was compared: ``weights``, ``features``, ``decisions``.
    """

    name: str
    score: float
    certainty: float
    evidence: str

    def __post_init__(self) -> None:
        if not (math.isnan(self.certainty) or 0 <= self.certainty <= 1):
            raise ValueError(f"candidate {self.name}: a certainty is from 0 to 1, got {self.certainty:g}")


@dataclass(frozen=True)
class Origin:
    """Which of the candidates the model comes from, and so what an attacker could find out, too.

    Attributes:
        candidates: The closest first.
        claimed: The name of the first, or empty where none is claimed.
        reason: One sentence.
        trust: As of a finding.
        terms: As of a finding.
    """

    candidates: tuple[Candidate, ...]
    claimed: str
    reason: str
    trust: Verdict = field(default_factory=Verdict)
    terms: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        scores = [candidate.score for candidate in self.candidates]
        if scores != sorted(scores, reverse=True):
            raise ValueError("candidates must stand with the closest first")
        if self.claimed and self.claimed != next((candidate.name for candidate in self.candidates), ""):
            raise ValueError(f"only the first candidate can be claimed, got {self.claimed}")


@dataclass(frozen=True)
class NotRun:
    """What a reader may have expected and will not find.

    Attributes:
        threat: Registered name of the threat; empty where it is of none.
        name: What was not run: a metric, an attack, a view.
        reason: One sentence.
        terms: As of a finding.
    """

    threat: str
    name: str
    reason: str
    terms: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Audit:
    """An audit of one model.

    Attributes:
        model: What was audited.
        parent: Its public parent; None where none was declared.
        others: Decoys and candidates.
        data: Images that it was judged on.
        eps: The size in force, at which the risk sheet speaks, in [0,1] pixel units; NaN where nothing was perturbed.
        locks: In the order in which they were asked.
        findings: In the order of the sheet; each key once.
        price: None where it was not measured.
        origin: None where no candidates were given.
        not_run: What was left out, and why.
        made: Versions, device and commit by name.
        seed: Of all draws.
        date: When, as ``2026-11-30T12:00:00Z``.
    """

    model: AuditedModel
    parent: AuditedModel | None
    others: tuple[AuditedModel, ...]
    data: AuditedData
    eps: float
    locks: tuple[Lock, ...]
    findings: tuple[Finding, ...]
    price: Price | None
    origin: Origin | None
    not_run: tuple[NotRun, ...]
    made: Mapping[str, str]
    seed: int
    date: str

    def __post_init__(self) -> None:
        keys = [finding.key for finding in self.measured]
        if twice := next((key for key in keys if keys.count(key) > 1), ""):
            raise ValueError(f"{twice} stands twice")

    @cached_property
    def measured(self) -> tuple[Finding, ...]:
        """All findings, the price of the parent behind them."""
        return (*self.findings, self.price.price) if self.price else self.findings

    @property
    def failed_locks(self) -> tuple[Lock, ...]:
        """The locks that stop it."""
        return tuple(lock for lock in self.locks if lock.passed is False)
