"""An entry for a bill of materials: CycloneDX 1.6, with the parent as ancestor and every number with its interval.

The format has a place for confidence intervals, and none for the state of trust or for terms: these are properties.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from tl_robust.audit.record import Audit, AuditedModel, Finding
from tl_robust.audit.words import attack_text, origin_text, version_of
from tl_robust.seeding import digest

SCHEMA = "http://cyclonedx.org/schema/bom-1.6.schema.json"
PREFIX = "tl_robust"


def bom(audit: Audit) -> dict[str, Any]:
    """The document, with the model as its one component.

    Its serial number follows from what was audited and when, so that it is the same whenever it is written.
    """
    entry = _audited(audit)
    identity = digest([audit.date, audit.data.sha256, [file.sha256 for file in audit.model.files]])
    tool = {"type": "application", "name": "tl_robust", **version_of(audit)}
    return {
        "$schema": SCHEMA,
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.UUID(identity[:32], version=5)}",
        "version": 1,
        "metadata": {"timestamp": audit.date, "tools": {"components": [tool]}},
        "components": [entry],
    }


def _audited(audit: Audit) -> dict[str, Any]:
    entry = _model(audit.model, "audited") | {"modelCard": _card(audit)}
    if audit.parent:
        entry["pedigree"] = {"ancestors": [_model(audit.parent, "parent")]}
        if audit.origin:
            entry["pedigree"]["notes"] = origin_text(audit.origin)
    return entry


def _model(model: AuditedModel, role: str) -> dict[str, Any]:
    """A model and its files: the digest of one file is its own, several are components of it."""
    files = [
        {
            "type": "file",
            "bom-ref": f"{role}-file-{place}-{file.sha256[:16]}",
            "name": PurePosixPath(file.path).name or file.path,
            "hashes": [{"alg": "SHA-256", "content": file.sha256}],
        }
        for place, file in enumerate(model.files)
    ]
    entry: dict[str, Any] = {
        "type": "machine-learning-model",
        "bom-ref": f"{role}-{digest([file.sha256 for file in model.files])[:16]}",
        "name": model.name,
        "properties": [_property("network", model.network)],
    }
    return entry | ({"hashes": files[0]["hashes"]} if len(files) == 1 else {"components": files})


def _card(audit: Audit) -> dict[str, Any]:
    parameters = {
        "approach": {"type": "supervised"},
        "task": "image-classification",
        "modelArchitecture": audit.model.network,
        "datasets": [{"type": "dataset", "name": audit.data.name}],
    }
    limits = [
        *(f"{item.threat or 'audit'}, {item.name}: not run. {item.reason}" for item in audit.not_run),
        *(f"lock {lock.name} failed: {lock.reason}" for lock in audit.failed_locks),
    ]
    card: dict[str, Any] = {"modelParameters": parameters}
    if metrics := [_metric(finding) for finding in audit.measured if not math.isnan(finding.value)]:
        card["quantitativeAnalysis"] = {"performanceMetrics": metrics}
    if limits:
        card["considerations"] = {"technicalLimitations": limits}
    return card | {"properties": list(_properties(audit))}


def _metric(finding: Finding) -> dict[str, Any]:
    where = ", ".join(filter(None, (finding.threat, attack_text(finding), f"n = {finding.n}")))
    metric: dict[str, Any] = {"type": finding.name, "value": f"{finding.value:.6g}", "slice": where}
    if not math.isnan(finding.low + finding.high):
        metric["confidenceInterval"] = {"lowerBound": f"{finding.low:.6g}", "upperBound": f"{finding.high:.6g}"}
    return metric


def _properties(audit: Audit) -> Iterator[dict[str, str]]:
    yield _property("data.sha256", audit.data.sha256)
    yield _property("seed", str(audit.seed))
    for name, value in audit.made.items():
        yield _property(f"made.{name}", value)
    for finding in audit.measured:
        yield _property(f"trust.{finding.key}", " ".join((finding.trust.level, *finding.trust.reasons)))
        for who, words in finding.terms.items():
            yield _property(f"terms.{finding.key}", f"{who}: {words}")


def _property(name: str, value: str) -> dict[str, str]:
    return {"name": f"{PREFIX}:{name}", "value": value}
