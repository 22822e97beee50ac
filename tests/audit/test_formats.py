"""What other programs read of an audit: SARIF, CycloneDX and the metadata of a model card."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import ValidationError

from tests.audit.made_audit import NOTHING, RED, audit, model, price, share
from tests.audit.sarif_parts import BOM, SARIF, fits, official_bom, official_sarif
from tl_robust.audit.bom import bom
from tl_robust.audit.decisions import Decision, decide
from tl_robust.audit.model_card import model_card
from tl_robust.audit.policy import parse
from tl_robust.audit.record import Audit, Candidate, File, Finding, Lock, Origin
from tl_robust.audit.sarif import FINGERPRINT, sarif, uri

POLICY = "ci/policy.yaml"
RULES = """rules:
- robust_accuracy[black]@8/255 >= 0.2
- robust_accuracy[white]@8/255 >= 0.4
- robust_accuracy[black]@8/255 >= 0.4
- parent_price <= 0.9
- tpr_at_1_percent <= 0.9
"""
UNDEFINED = replace(share(3, kept=False, attack="x"), value=math.nan, low=math.nan, high=math.nan)
LOCKED = audit(locks=(Lock("every_tensor_filled", False, "fc.weight is missing."),), **NOTHING)
HOSTILE = "a b](http://x) {0} <b>|`\u202e"


def made() -> Audit:
    return audit(price=price(trust=RED))


def decisions(of: Audit) -> list[Decision]:
    return decide(of, parse(RULES, Path(POLICY)), {})


def hostile() -> Audit:
    bad = replace(model("m"), name=HOSTILE, files=(File("C:\\a b#?.pt", "0" * 64, 1), File("/abs/%41", "1" * 64, 2)))
    return audit(model=bad, parent=bad, findings=(share(5, title=HOSTILE, attack=HOSTILE),))


AUDITS = {
    "whole": made(),
    "nothing": audit(**NOTHING),
    "locked": LOCKED,
    "undefined": audit(findings=(UNDEFINED,), parent=None),
    "hostile": hostile(),
}


def results(log: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = log["runs"][0]["results"]
    return found


def kinds(log: dict[str, Any]) -> dict[str, list[str]]:
    by: dict[str, list[str]] = {}
    for result in results(log):
        by.setdefault(result["ruleId"], []).append(result["kind"])
    return by


@pytest.mark.parametrize("name", AUDITS)
def test_sarif_fits_the_parts_of_the_standard_that_are_used(name: str) -> None:
    fits(SARIF, sarif(AUDITS[name]))
    fits(SARIF, sarif(made(), decisions(made()), POLICY))


@pytest.mark.parametrize("name", AUDITS)
def test_sarif_fits_the_official_schema(name: str) -> None:
    official_sarif().validate(sarif(AUDITS[name]))
    official_sarif().validate(sarif(made(), decisions(made()), POLICY, strict=True))


@pytest.mark.parametrize("name", AUDITS)
def test_the_bill_of_materials_fits_the_parts_of_the_standard_that_are_used(name: str) -> None:
    fits(BOM, bom(AUDITS[name]))


@pytest.mark.parametrize("name", AUDITS)
def test_the_bill_of_materials_fits_the_official_schema(name: str) -> None:
    official_bom().validate(bom(AUDITS[name]))


def test_the_schemas_of_these_tests_refuse_what_the_standards_refuse() -> None:
    log = sarif(made(), decisions(made()), POLICY)
    for path, value in {
        ("version",): "2.0.0",
        ("runs", 0, "results", 0, "kind"): "passed",
        ("runs", 0, "results", 0, "level"): "error",  # it passed
        ("runs", 0, "results", 0, "message"): "text",
        ("runs", 0, "results", 0, "extra"): 1,
        ("runs", 0, "results"): [],
    }.items():
        broken = copy.deepcopy(log)
        _at(broken, path[:-1])[path[-1]] = value
        with pytest.raises(ValidationError):
            fits(SARIF, broken)
    entry = bom(made())
    for path, value in {
        ("specVersion",): "1.4",
        ("components", 0, "type"): "library",
        ("components", 0, "modelCard", "quantitativeAnalysis", "performanceMetrics", 0, "value"): 0.4,
        ("components", 0, "extra"): 1,
    }.items():
        broken = copy.deepcopy(entry)
        _at(broken, path[:-1])[path[-1]] = value
        with pytest.raises(ValidationError):
            fits(BOM, broken)


def _at(document: Any, path: tuple[Any, ...]) -> Any:
    for part in path:
        document = document[part]
    return document


def test_every_check_has_its_kind_and_only_failures_a_level() -> None:
    log = sarif(made(), decisions(made()), POLICY)
    found = kinds(log)
    assert found["lock/every_tensor_filled"] == ["pass"]
    assert found["lock/preprocessing"] == ["notApplicable"]
    assert found["policy/robust_accuracy/black/8/255"] == ["pass", "open"]
    assert found["policy/robust_accuracy/white/8/255"] == ["fail"]
    assert found["policy/parent_price"] == ["review"]
    assert found["evasion/robust_accuracy/white"] == ["informational"]
    assert found["evasion/parent_price/black"] == ["review"]
    assert found["not_run/evasion/shadow"] == ["notApplicable"]
    assert {result["level"] for result in results(log) if result["kind"] != "fail"} == {"none"}
    assert {result["level"] for result in results(log) if result["kind"] == "fail"} == {"error"}
    rules = log["runs"][0]["tool"]["driver"]["rules"]
    assert all(rules[result["ruleIndex"]]["id"] == result["ruleId"] for result in results(log))
    assert len({rule["id"] for rule in rules}) == len(rules)


def test_a_result_points_to_the_model_or_to_the_line_of_the_policy() -> None:
    log = sarif(made(), decisions(made()), POLICY)
    failed = next(result for result in results(log) if result["kind"] == "fail")
    place = failed["locations"][0]["physicalLocation"]
    assert place == {"artifactLocation": {"uri": POLICY}, "region": {"startLine": 3}}
    lock = results(log)[0]["locations"][0]["physicalLocation"]
    assert lock == {"artifactLocation": {"uri": "models/flowers.safetensors"}}
    assert failed["relatedLocations"][0]["physicalLocation"] == lock


def test_fingerprints_are_unique_and_the_same_whatever_was_measured() -> None:
    def marks(of: Audit) -> list[str]:
        return [result["partialFingerprints"][FINGERPRINT] for result in results(sarif(of, decisions(of), POLICY))]

    now, later = marks(made()), audit(
        findings=(replace(made().findings[0], value=0.9, low=0.8, high=0.95, hits=()), *made().findings[1:]),
        model=replace(model("flowers"), files=(File("models/flowers.safetensors", "0" * 64, 1),)),
        date="2027-01-01T00:00:00Z",
    )  # fmt: skip
    assert len(set(now)) == len(now)
    assert marks(later) == now
    other = replace(model("flowers"), files=(File("models/other.safetensors", "0" * 64, 1),))
    assert not set(marks(audit(model=other))) & {mark for mark in now if mark not in marks(audit(model=other))}
    assert marks(audit(model=other)) != now


def test_an_audit_without_findings_says_so() -> None:
    (said,) = [result for result in results(sarif(audit(**NOTHING))) if result["ruleId"] == "audit/nothing_measured"]
    assert said["kind"] == "open"
    assert said["message"]["text"] == "Nothing was measured: this file says nothing of the model."
    log = sarif(LOCKED)
    assert kinds(log) == {"lock/every_tensor_filled": ["fail"], "audit/nothing_measured": ["open"]}
    assert log["runs"][0]["invocations"][0]["executionSuccessful"] is False
    assert log["runs"][0]["invocations"][0]["exitCode"] == 2
    assert "audit/nothing_measured" not in kinds(sarif(made()))


def test_terms_stand_as_taxonomies_that_rules_point_to() -> None:
    run = sarif(made())["runs"][0]
    taxa = {part["name"]: [item["id"] for item in part["taxa"]] for part in run["taxonomies"]}
    assert {"NIST AI 100-2", "MITRE ATLAS"} <= set(taxa)
    rule = next(rule for rule in run["tool"]["driver"]["rules"] if rule["id"] == "evasion/robust_accuracy/white")
    named = [(item["target"]["toolComponent"]["name"], item["target"]["id"]) for item in rule["relationships"]]
    assert ("MITRE ATLAS", "AML.T0015") in named
    assert ("MITRE ATLAS", "AML.T0043.000") in named
    for item in rule["relationships"]:
        target = item["target"]
        part = run["taxonomies"][target["toolComponent"]["index"]]
        assert part["name"] == target["toolComponent"]["name"]
        assert part["taxa"][target["index"]]["id"] == target["id"]


def test_texts_of_strangers_are_texts_in_sarif() -> None:
    text = next(r for r in results(sarif(hostile())) if r["ruleId"].startswith("evasion/"))["message"]["text"]
    assert "](" not in text
    assert "{{0}}" in text
    assert "\u202e" not in text
    assert uri("C:\\a b#?.pt") == "C%3A%5Ca%20b%23%3F.pt"
    assert uri("/abs/%41") == "file:///abs/%2541"


def test_the_bill_of_materials_has_intervals_and_the_parent() -> None:
    (entry,) = bom(made())["components"]
    assert entry["type"] == "machine-learning-model"
    assert entry["hashes"] == [{"alg": "SHA-256", "content": made().model.files[0].sha256}]
    (ancestor,) = entry["pedigree"]["ancestors"]
    assert ancestor["name"] == "imagenet"
    assert "108 of 122" in entry["pedigree"]["notes"]
    metrics = entry["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]
    told = next(metric for metric in metrics if metric["type"] == "parent_price")
    assert told["value"] == "0.21"
    assert told["confidenceInterval"] == {"lowerBound": "0.14", "upperBound": "0.28"}
    assert any("backdoor" in limit for limit in entry["modelCard"]["considerations"]["technicalLimitations"])
    assert bom(made()) == bom(made())
    refs = [entry["bom-ref"], ancestor["bom-ref"]]
    assert len(set(refs)) == 2
    undefined = bom(AUDITS["undefined"])["components"][0]["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]
    assert [metric["type"] for metric in undefined] == ["parent_price"]
    assert "quantitativeAnalysis" not in bom(LOCKED)["components"][0]["modelCard"]


def front(text: str) -> dict[str, Any]:
    _, metadata, _ = text.split("---\n", 2)
    found: dict[str, Any] = yaml.safe_load(metadata)
    return found


def test_the_model_card_has_metadata_that_read_back() -> None:
    found = front(model_card(made()))
    assert found["base_model"] == "imagenet"
    (entry,) = found["model-index"]
    (result,) = entry["results"]
    assert result["task"] == {"type": "image-classification"}
    assert result["dataset"]["revision"] == made().data.sha256
    white = result["metrics"][1]
    assert (white["type"], white["value"], white["args"]["eps"]) == ("robust_accuracy", 0.01, "8/255")
    low, high = white["args"]["interval"]
    assert low < 0.01 < high
    assert "model-index" not in front(model_card(LOCKED))
    assert "base_model" not in front(model_card(AUDITS["undefined"]))


def test_the_model_card_says_everything_in_words() -> None:
    text = model_card(made(), decisions(made()))
    for part in (
        "The public parent costs 21.0 points \\[14.0, 28.0\\]", "turns 55.0 % of the images", "✖ fail", "✖ red",
        "Not run:", "It comes from imagenet", "certainty 97.0 %", "| evasion | Accuracy under attack |", "▲ amber",
    ):  # fmt: skip
        assert part in text
    assert "Nothing was measured." in model_card(LOCKED)
    assert "fc.weight is missing" in model_card(LOCKED)
    rows = [line for line in model_card(hostile()).splitlines() if line.startswith("| ")]
    assert len({line.replace("\\|", "").count("|") for line in rows}) == 1
    assert "<b>" not in model_card(hostile()).split("---\n", 2)[2].replace("\\<b", "")
    assert front(model_card(hostile()))["model-index"][0]["name"] == HOSTILE


def test_an_origin_that_is_not_claimed_is_no_parent_in_any_file() -> None:
    unclear = Origin((Candidate("imagenet", 0.5, math.nan, "decisions"),), "", "Unrelated models look as close.")
    for text in (model_card(audit(origin=unclear)), str(sarif(audit(origin=unclear))), str(bom(audit(origin=unclear)))):
        assert "The only candidate is not claimed as its parent" in text
        assert "It comes from" not in text


def test_numbers_of_sarif_are_those_of_the_record() -> None:
    finding: Finding = made().findings[1]
    (told,) = [r for r in results(sarif(made())) if r["ruleId"] == "evasion/robust_accuracy/white"]
    assert told["properties"]["value"] == finding.value
    assert (told["properties"]["low"], told["properties"]["high"]) == (finding.low, finding.high)
    assert "1.0 % [0.1, 3.6] (strong linf, white box, eps 8/255), n = 200" in told["message"]["text"]
    undefined = next(r for r in results(sarif(AUDITS["undefined"])) if r["ruleId"] == "evasion/robust_accuracy/white")
    assert "value" not in undefined["properties"]
