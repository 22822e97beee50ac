"""What no leaderboard file of ours can say: found in a file that others wrote, it is named in half a sentence."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

from tl_robust.text import plain

DEPTH, LENGTH = 20, 10_000  # levels of nesting, and letters of a text that holds no samples
COUNT = 2**53  # most readers of JSON cannot hold whole numbers beyond it
SAMPLES = 10**8  # of a number that is over other images than those of the record, as over epochs it may be
EPS = 1e6  # in [0,1] pixel units; even l1 sizes of large images stay below


def fault(content: object) -> str:
    """What is wrong with the parts of a file, whatever they mean; empty if nothing."""
    return next(_faults(content, "", 0), "")


def _faults(value: object, where: str, depth: int) -> Iterator[str]:
    if depth > DEPTH:
        yield f"it is nested deeper than {DEPTH} levels"
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield from _text(str(name), f"a name in {where or 'it'}")
            yield from _faults(item, f"{where}.{plain(str(name))[:60]}".lstrip("."), depth + 1)
    elif isinstance(value, list):
        for item in value:
            yield from _faults(item, where, depth + 1)
    elif isinstance(value, str):
        yield from _text(value, where, long=where.startswith("samples.") and where.endswith(".data"))
    elif isinstance(value, bool):
        pass
    elif isinstance(value, float) and not math.isfinite(value):
        yield f"{where} has a number that is not finite"
    elif isinstance(value, int) and abs(value) > COUNT:
        yield f"{where} has a whole number beyond 2**53"


def _text(text: str, where: str, long: bool = False) -> Iterator[str]:
    if len(text) > LENGTH and not long:
        yield f"{where} has a text of more than {LENGTH} letters"
    elif plain(text) != text or "\n" in text or "\t" in text:
        yield f"{where} has control characters, which no name has: {plain(text)[:60]!r}"


def absurd(content: Mapping[str, Any]) -> str:
    """What is wrong with the numbers of a file that fits the schema; empty if nothing."""
    eps, images = content["eps"], content["data"]["test_images"]
    if any(size > EPS for size in eps):
        return f"eps must be at most {EPS:g}"
    if any(after <= before for before, after in pairwise(eps)):
        return "eps must rise, each once"
    if content["data"]["target_images"] != content["cell"]["target_images"]:
        return "data.target_images and cell.target_images must be the same"
    for name, metric in content["metrics"].items():
        elsewhere = metric["whole_curve"] or content.get("axis", "eps") != "eps"
        most, which = (SAMPLES, "") if elsewhere else (images, " test images")
        if any(isinstance(count, float) or count > most for count in metric["n"]):
            return f"metrics.{name}.n must be whole numbers of at most {most}{which}"
    provenance = content["provenance"]
    for role in ("surrogate", "victim"):
        if problem := _model(provenance[role], role, 0):
            return problem
    return _fast(provenance)


def _model(model: Mapping[str, Any], where: str, depth: int) -> str:
    """What a reader of lineages relies on: texts where it shows names, and ``by`` where something was trained."""
    for name in ("key", "domain", "by", "network", "checkpoint"):
        if name in model and not isinstance(model[name], str | None):
            return f"provenance.{where}.{name} must be a text"
    if "epochs" in model and not ("by" in model and "domain" in model):
        return f"provenance.{where} was trained and lacks 'by' or 'domain'"
    parent = model.get("parent")
    if parent is None:
        return ""
    if not isinstance(parent, Mapping) or not isinstance(parent.get("key"), str):
        return f"provenance.{where}.parent must be a model with a key, or null"
    return _model(parent, f"{where}.parent", depth + 1)


def _fast(provenance: Mapping[str, Any]) -> str:
    fast, gate = provenance.get("fast", []), provenance.get("gate")
    if not isinstance(fast, list) or not all(isinstance(mode, str) for mode in fast):
        return "provenance.fast must be a list of texts"
    if not isinstance(provenance.get("refused", ""), str):
        return "provenance.refused must be a text"
    if gate is None:
        return ""
    parts = ("samples", "accuracy", "predictions", "tolerance")
    if not isinstance(gate, Mapping) or (fast and not all(_number(gate.get(name)) for name in parts)):
        return f"provenance.gate must have the numbers {', '.join(parts)}"
    return ""


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
