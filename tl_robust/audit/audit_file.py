"""``audit.json``: an audit as other programs read it, described by ``audit.schema.json`` beside this file."""

from __future__ import annotations

import base64
import json
import math
import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

import numpy as np

from tl_robust.audit.record import Audit, Finding
from tl_robust.errors import ResultsError
from tl_robust.files import write_atomically
from tl_robust.results import strangers
from tl_robust.results.shared import Form, as_json, fitting, refuse

FAMILY, VERSION = "tl_robust.audit", 1
FORM = Form(
    f"{FAMILY}/{VERSION}", __package__, "audit.schema.json", "audit", "tl-robust audit", limit=50_000_000
)  # of 100 findings with the hits of 1,000,000 images each are 17 MB


def content(audit: Audit) -> dict[str, Any]:
    """An audit in the form of JSON: null stands for a number that is undefined or was not measured.

    Which samples count (:attr:`Finding.hits`) stands apart under ``samples``, by the key of the finding: base64 of
    bytes of 8 samples each, the first in the highest bit.
    """
    samples = {
        finding.key: {"count": finding.n, "data": base64.b64encode(np.packbits(finding.hits).tobytes()).decode()}
        for finding in audit.measured
        if finding.hits
    }
    return {"schema": FORM.schema, **as_json(_fields(audit)), "samples": samples}


def write(path: Path, audit: Audit) -> None:
    """Write ``audit.json``; see :func:`content`.

    Raises:
        ResultsError: The file cannot be written, or a name in the record is none that it can hold.
    """
    made = content(audit)
    if fault := strangers.fault(made):
        raise ResultsError(f"{path} cannot be written: {fault}; give it another name.")
    write_atomically(path, f"{json.dumps(made, indent=1, allow_nan=False)}\n".encode())


def read(path: Path) -> Audit:
    """The audit that a file holds, whoever wrote it.

    Raises:
        ResultsError: It cannot be read, is damaged, of another kind or version, or says what no audit can say.
    """
    found = fitting(path, FORM)
    samples = found.pop("samples")
    del found["schema"]
    try:
        hits = {key: _unpacked(key, item) for key, item in samples.items()}
        audit: Audit = _made(Audit, found, hits)
    except ValueError as error:
        refuse(path, str(error))
    if lost := hits.keys() - {finding.key for finding in audit.measured}:
        refuse(path, f"samples.{min(lost)[:100]} belongs to no finding")
    return audit


def _fields(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_fields(item) for item in value]
    if not is_dataclass(value):
        return value
    return {item.name: _fields(getattr(value, item.name)) for item in fields(value) if item.name != "hits"}


def _unpacked(key: str, item: Mapping[str, Any]) -> tuple[bool, ...]:
    data, count = base64.b64decode(item["data"], validate=True), int(item["count"])
    if len(data) != -(-count // 8):
        raise ValueError(f"samples.{key[:100]} has not the bits of {count} samples")
    return tuple(np.unpackbits(np.frombuffer(data, np.uint8), count=count).astype(bool).tolist())


def _made(hint: Any, value: Any, hits: Mapping[str, tuple[bool, ...]]) -> Any:
    """The value that a hint asks for, of one that fits the schema: null is NaN where a number is expected."""
    if hint is float:
        return math.nan if value is None else float(value)
    if hint is int:
        return int(value)  # JSON Schema takes 200.0 for an integer, too
    kind, inside = get_origin(hint), get_args(hint)
    if kind in (Union, types.UnionType):
        return None if value is None else _made(inside[0], value, hits)
    if kind is tuple:
        return tuple(_made(inside[0], item, hits) for item in value)
    if not is_dataclass(hint):
        return value
    hints = get_type_hints(hint)
    made: Any = hint(**{name: _made(hints[name], item, hits) for name, item in value.items()})  # type: ignore[operator]
    if isinstance(made, Finding) and made.key in hits:
        made = replace(made, hits=hits[made.key])
    return made
