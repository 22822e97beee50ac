"""``audit.json``: what is written is read back, and what strangers write is refused in one sentence."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tests.audit.made_audit import NOTHING, audit, model, price, share
from tl_robust.audit.audit_file import content, read, write
from tl_robust.audit.record import Audit, Candidate, File, Finding, Origin
from tl_robust.errors import ResultsError

UNDEFINED = replace(
    share(10, kept=False, attack="none"), value=math.nan, low=math.nan, high=math.nan, eps=math.nan, n=0
)


def written(tmp_path: Path, made: Audit) -> dict[str, Any]:
    write(tmp_path / "audit.json", made)
    return json.loads((tmp_path / "audit.json").read_text())


def same(first: object, second: object) -> bool:
    """NaN is equal to itself here."""
    return repr(first) == repr(second)


@pytest.mark.parametrize(
    "made",
    [audit(), audit(**NOTHING), audit(parent=None, others=(), eps=math.nan), audit(findings=(UNDEFINED,))],
    ids=["whole", "nothing", "no parent", "undefined"],
)
def test_what_is_written_is_read_back_and_fits_the_schema(tmp_path: Path, made: Audit) -> None:
    found = written(tmp_path, made)
    schema = json.loads(files("tl_robust.audit").joinpath("audit.schema.json").read_text("utf-8"))
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema).validate(found)
    assert same(read(tmp_path / "audit.json"), made)


def test_nan_is_null_and_samples_are_bits(tmp_path: Path) -> None:
    found = written(tmp_path, audit(findings=(UNDEFINED, share(9, n=10))))
    assert found["findings"][0]["value"] is None
    assert found["findings"][0]["eps"] is None
    (sample,) = found["samples"].values()
    assert sample == {"count": 10, "data": "/4A="}  # nine bits set: ff 80


def test_the_schema_describes_every_field_of_the_record() -> None:
    schema = json.loads(files("tl_robust.audit").joinpath("audit.schema.json").read_text("utf-8"))
    found = content(audit())
    assert set(schema["properties"]) == set(schema["required"]) == set(found)
    definition = schema["$defs"]["finding"]
    assert set(definition["properties"]) == set(definition["required"]) == set(found["findings"][0])


WRONG: dict[str, tuple[Any, str]] = {  # path, value, what the sentence says
    "another kind": (("schema", "tl_robust.card/1"), "it is no audit: expected"),
    "a later version": (("schema", "tl_robust.audit/2"), "this version reads tl_robust.audit/1: use one that knows it"),
    "an unknown field": (("extra", 1), "'extra' was unexpected"),
    "a short digest": (("data.sha256", "ab"), "data.sha256"),
    "a share of 700 %": (("findings.0.value", 7.0), "must hold 7"),
    "all of it 700 %": (("findings.0", {"value": 7.0, "low": 7.0, "high": 7.0}), "a share must be from -1 to 1"),
    "an interval turned round": (("findings.0", {"low": 0.9, "high": 0.1}), "the interval [0.9, 0.1] must hold"),
    "a level of its own": (("findings.0.trust.level", "blue"), "'blue' is not one of"),
    "a control character": (("model.name", "a\x1b[2J"), "control characters"),
    "samples of nobody": (("samples.nobody", {"count": 8, "data": "/w=="}), "belongs to no finding"),
    "too few bits": (("samples.evasion/robust_accuracy/0", {"count": 200, "data": "/w=="}), "has not the bits of 200"),
    "bits of another number": (
        ("samples.evasion/robust_accuracy/0", {"count": 8, "data": "/w=="}),
        "must be the mean of its 8 hits",
    ),
    "a finding twice": (("findings", "twice"), "stands twice"),
    "a candidate out of order": (("origin.candidates", "turned"), "the closest first"),
    "another price": (("price.price.value", 0.2), "must be the difference"),
    "no number": (("seed", "NaN"), "seed"),
    "half a sample": (("findings.0.n", 1.5), "findings[0].n"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_stranger_s_file_is_refused_in_one_sentence(tmp_path: Path, name: str) -> None:
    (path, value), says = WRONG[name]
    found = written(tmp_path, audit())
    *above, last = path.split(".")
    place: Any = found
    for part in above:
        place = place[int(part) if part.isdigit() else part]
    key: Any = int(last) if last.isdigit() and isinstance(place, list) else last
    if isinstance(value, dict) and isinstance(place, list):
        place[key] |= value
    elif value == "twice":
        place[key].append(place[key][0])
    elif value == "turned":
        place[key].reverse()
    else:
        place[key] = value
    file = tmp_path / "stranger.json"
    file.write_text(json.dumps(found))
    with pytest.raises(ResultsError, match="cannot be used") as caught:
        read(file)
    assert says in str(caught.value)
    assert str(caught.value).count("\n") == 0
    assert len(str(caught.value)) < 700


@pytest.mark.parametrize("cut", [0, 1, 100, 3000])
def test_a_truncated_file_is_refused(tmp_path: Path, cut: int) -> None:
    write(tmp_path / "audit.json", audit())
    (tmp_path / "cut.json").write_bytes((tmp_path / "audit.json").read_bytes()[:cut])
    with pytest.raises(ResultsError, match="damaged or no JSON"):
        read(tmp_path / "cut.json")
    with pytest.raises(ResultsError, match="cannot be read"):
        read(tmp_path)


def test_a_whole_number_written_as_a_float_is_a_whole_number(tmp_path: Path) -> None:
    found = written(tmp_path, audit())
    found["findings"][0]["n"] = 200.0
    found["samples"]["evasion/robust_accuracy/0"]["count"] = 200.0
    (tmp_path / "float.json").write_text(json.dumps(found))
    assert same(read(tmp_path / "float.json"), audit())


def test_a_name_that_no_file_can_hold_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="give it another name"):
        write(tmp_path / "audit.json", audit(model=model("a\u202eb")))
    assert not (tmp_path / "audit.json").exists()


def test_records_refuse_what_cannot_be() -> None:
    with pytest.raises(ValueError, match="64 hex digits"):
        File("a", "AB" * 32, 1)
    with pytest.raises(ValueError, match="at least one file"):
        replace(model("a"), files=())
    with pytest.raises(ValueError, match="from 0 to 1"):
        Candidate("a", 1.0, 1.2, "weights")
    with pytest.raises(ValueError, match="only the first"):
        Origin((Candidate("a", 1.0, 0.9, "weights"), Candidate("b", 0.5, 0.1, "weights")), "b", "")
    with pytest.raises(ValueError, match="finite number from 0"):
        replace(share(3), eps=-0.1)
    with pytest.raises(ValueError, match="must be the mean of its 200 hits"):
        replace(share(3), hits=share(4).hits)
    with pytest.raises(ValueError, match="is named parent_price"):
        replace(price(), price=price().parent)
    assert Finding("a", "b", "c", math.nan, math.nan, math.nan, 0, "share").badness == -math.inf
