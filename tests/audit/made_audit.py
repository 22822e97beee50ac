"""Made audits, whose numbers are known."""

from __future__ import annotations

import math
from dataclasses import replace
from hashlib import sha256
from typing import Any

import torch

from tl_robust.audit.record import (
    Audit,
    AuditedData,
    AuditedModel,
    Candidate,
    File,
    Finding,
    Lock,
    NotRun,
    Origin,
    Price,
)
from tl_robust.audit.terms import terms_of
from tl_robust.metrics.estimate import clopper_pearson
from tl_robust.types import Verdict

EPS = 8 / 255
RED = Verdict("red", ("An attack without a budget leaves 40 of 200 samples right: its gradients are masked.",))
AMBER = Verdict("amber", ("Only one attack was run from the parent.",))


def model(name: str, network: str = "resnet18", classes: tuple[str, ...] = ("cat", "dog")) -> AuditedModel:
    digest = sha256(name.encode()).hexdigest()
    return AuditedModel(name, network, classes, (File(f"models/{name}.safetensors", digest, 44_000_000),))


def share(right: int, n: int = 200, kept: bool = True, **coordinates: Any) -> Finding:
    """Accuracy under attack of ``right`` of n images, the first ones, in the white box at eps 8/255."""
    low, high = (float(end) for end in clopper_pearson(torch.tensor([float(right)]), torch.tensor([n])))
    known: dict[str, Any] = {
        "threat": "evasion",
        "name": "robust_accuracy",
        "title": "Accuracy under attack",
        "unit": "share",
        "better": "higher",
        "view": "white",
        "attack": "strong",
        "norm": "linf",
        "eps": EPS,
    }
    known |= coordinates
    known.setdefault("terms", terms_of(known["threat"], known["view"], known["name"]))
    hits = tuple(place < right for place in range(n)) if kept else ()
    return Finding(value=right / n, low=low, high=high, n=n, hits=hits, **known)


def price(value: float = 0.21, low: float = 0.14, high: float = 0.28, trust: Verdict | None = None) -> Price:
    """Of 200 images, 0.34 + value are turned from the parent, 0.34 from three unrelated models."""
    where: dict[str, Any] = {"view": "black", "attack": "strong", "norm": "linf", "eps": EPS}
    terms = terms_of("evasion", "black", "parent_price")
    parent, unrelated = (
        Finding("evasion", name, title, number, *ends, 200, "share", "lower", **where, terms=terms)
        for name, title, number, ends in (
            ("transfer", "Turned by transfer from the parent", 0.34 + value, (0.3, 0.9)),
            ("transfer_unrelated", "Turned by transfer from unrelated models", 0.34, (0.3, 0.38)),
        )
    )
    told = Finding(
        "evasion", "parent_price", "Price of the public parent", value, low, high, 200, "share", "lower",
        **where, trust=trust or Verdict(), terms=terms,
    )  # fmt: skip
    return Price(told, parent, unrelated, models=3)


FINDINGS = (
    share(186, view="", attack="", norm="", eps=0.0, title="Accuracy on clean images"),
    share(2, trust=AMBER),
    share(82, view="black", attack="mi"),
    share(96, view="black", attack="strong"),
    share(11, threat="membership", name="tpr_at_1_percent", title="Members found at 1 % false alarms", better="lower",
          view="target", attack="lira", norm="", eps=math.nan),
)  # fmt: skip


def audit(**changes: Any) -> Audit:
    """An audit in which something of each kind stands."""
    made = Audit(
        model=model("flowers"),
        parent=model("imagenet", classes=tuple(f"class {place}" for place in range(10))),
        others=(model("places"), model("textures")),
        data=AuditedData("flowers, test split", 200, sha256(b"data").hexdigest()),
        eps=EPS,
        locks=(
            Lock("every_tensor_filled", True, "All 122 tensors of resnet18 stand in the file."),
            Lock("stated_accuracy", True, "93.0 % [88.5, 96.1] hold the 93.0 % that the owner states."),
            Lock("preprocessing", None, "No reference output was given."),
        ),
        findings=FINDINGS,
        price=price(),
        origin=Origin(
            (
                Candidate("imagenet", 0.98, 0.97, "weights"),
                Candidate("places", 0.41, 0.02, "weights"),
                Candidate("textures", 0.39, 0.01, "weights"),
            ),
            "imagenet",
            "108 of 122 tensors are closer to imagenet than to any other candidate.",
            terms=terms_of("evasion", "", "which_parent"),
        ),
        not_run=(
            NotRun("backdoor", "alarm_false_positives", "Needs clean images of every class: give --clean FOLDER."),
            NotRun("evasion", "shadow", "Needs training data of the task: give --train FOLDER."),
        ),
        made={"versions.tl_robust": "0.9", "versions.torch": "2.9.1", "device": "cpu", "commit": "0123abcd"},
        seed=0,
        date="2026-11-30T12:00:00Z",
    )
    return replace(made, **changes)


NOTHING: dict[str, Any] = {"findings": (), "price": None, "origin": None, "not_run": ()}
"""Changes after which an audit has found nothing."""
