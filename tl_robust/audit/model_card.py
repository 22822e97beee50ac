"""A section for a model card: Markdown for people, with the metadata that model hubs index (``model-index``) above it.

The metadata have no place for an interval: it stands among the arguments of a metric, and in the text.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from typing import Any

import yaml

from tl_robust.audit.decisions import Decision
from tl_robust.audit.record import Audit, Finding
from tl_robust.audit.words import (
    DECIDED,
    attack_text,
    ends_text,
    origin_text,
    price_text,
    short,
    value_text,
)
from tl_robust.results.names import MARKS
from tl_robust.text import eps_text, plain

HEADS = ("threat", "number", "attacker", "value", "95 % interval", "n", "trust")


def model_card(audit: Audit, decisions: Sequence[Decision] = ()) -> str:
    """The section, metadata first, as the top of a file ``README.md`` has them."""
    metadata = yaml.safe_dump(_metadata(audit), sort_keys=False, allow_unicode=True, width=1000)
    return f"---\n{metadata}---\n\n{plain(chr(10).join(_section(audit, decisions)))}\n"


def _metadata(audit: Audit) -> dict[str, Any]:
    lineage = {"base_model": audit.parent.name} if audit.parent else {}
    metrics = [_metric(finding) for finding in audit.measured if not math.isnan(finding.value)]
    if not metrics:
        return {**lineage, "tags": ["security-audit"]}
    dataset = {"type": "custom", "name": audit.data.name, "revision": audit.data.sha256}
    result = {"task": {"type": "image-classification"}, "dataset": dataset, "metrics": metrics}
    return {**lineage, "model-index": [{"name": audit.model.name, "results": [result]}]}


def _metric(finding: Finding) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        name: text for name in ("threat", "view", "attack", "norm") if (text := getattr(finding, name))
    }
    if not math.isnan(finding.eps):
        arguments["eps"] = eps_text(finding.eps)
    if not math.isnan(finding.low + finding.high):
        arguments["interval"] = [round(finding.low, 6), round(finding.high, 6)]
    arguments |= {"n": finding.n, "trust": finding.trust.level}
    value = round(finding.value, 6)
    return {"type": finding.name, "name": finding.title, "value": value, "args": arguments}


def _section(audit: Audit, decisions: Sequence[Decision]) -> Iterator[str]:
    yield "## Security audit"
    yield ""
    parent = f" against its public parent {audit.parent.name}" if audit.parent else ""
    model = f"{audit.model.name} ({audit.model.network}, SHA-256 {short(audit.model.files[0].sha256)})"
    yield _line(
        f"{model} was audited{parent} on {audit.data.images} images of {audit.data.name}, {audit.date[:10]}, seed "
        f"{audit.seed}. Evasion is an attack with images that were changed a little; eps is how far a pixel may move, "
        "of a range from 0 to 1."
    )
    yield ""
    for lock in audit.failed_locks:
        yield f"- {_line(f'Lock {lock.name} failed, and nothing was measured: {lock.reason}')}"
    for decision in decisions:
        yield f"- {_line(f'{DECIDED[decision.kind]}: {decision.rule.text}. {decision.reason}')}"
    if audit.price:
        told = audit.price.price
        trust = f" {MARKS[told.trust.level]}: {' '.join(told.trust.reasons)}" if told.trust.reasons else ""
        yield f"- {_line(f'{price_text(audit.price)} ({attack_text(told)}).{trust}')}"
    if audit.origin:
        yield f"- {_line(origin_text(audit.origin))}"
    yield ""
    if audit.findings:
        yield f"| {' | '.join(HEADS)} |"
        yield f"|{' --- |' * len(HEADS)}"
        for finding in audit.findings:
            trust = " ".join((MARKS[finding.trust.level], *finding.trust.reasons))
            row = (finding.threat, finding.title, attack_text(finding), value_text(finding), ends_text(finding))
            yield f"| {' | '.join(_line(text) for text in (*row, str(finding.n), trust))} |"
    else:
        yield "Nothing was measured."
    if audit.not_run:
        yield ""
        yield "Not run:"
        yield ""
        for item in audit.not_run:
            yield f"- {_line(f'{item.threat} {item.name}'.strip() + f': {item.reason}')}"


def _line(text: str) -> str:
    """No Markdown or HTML of its own, on one line."""
    return re.sub(r"([\\`*_<>|\[\]#])", r"\\\1", " ".join(text.split()))
