"""What others call every component, in the form that their lists have, and where a finding has it from."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, fields
from typing import Any

import pytest

from tl_robust import defenses
from tl_robust.attacks import ATTACKS, Attack
from tl_robust.audit.numbers import ONLY_IN_AUDITS, known, names
from tl_robust.audit.terms import terms_of
from tl_robust.backdoors.base import BACKDOORS
from tl_robust.cli import main
from tl_robust.defenses import DEFENSES
from tl_robust.errors import UnknownNameError
from tl_robust.inference.base import INFERENCES
from tl_robust.metrics import METRICS
from tl_robust.results.faces import FACES
from tl_robust.types.terms import ATLAS, NIST, Terms, joined, words

KINDS: dict[str, Any] = {"attack": ATTACKS, "backdoor": BACKDOORS, "inference": INFERENCES, "defense": DEFENSES}
COMPONENTS = [(kind, name) for kind, known_here in KINDS.items() for name in known_here.names()]
TECHNIQUE, MITIGATION = re.compile(r"AML\.T\d{4}(\.\d{3})?"), re.compile(r"AML\.M\d{4}")
CLASSES = {
    "attack": "evasion", "backdoor": "backdoor poisoning", "inference": "membership inference", "defense": "mitigation",
}  # fmt: skip
OF_ATLAS = {  # the ids of the project's page of words that are used, with their names in ATLAS
    "AML.M0001": "Limit Model Artifact Release", "AML.M0003": "Model Hardening", "AML.M0006": "Use Ensemble Methods",
    "AML.M0007": "Sanitize Training Data", "AML.M0008": "Validate AI Model", "AML.M0010": "Input Restoration",
    "AML.M0015": "Adversarial Input Detection",
}  # fmt: skip


def of_form(terms: Terms, ids: re.Pattern[str]) -> None:
    assert set(terms) <= {NIST, ATLAS}
    for text in terms.values():
        assert words(text)
        assert ", ".join(words(text)) == text
        assert len(set(words(text))) == len(words(text))
    assert all(ids.fullmatch(word) for word in words(terms.get(ATLAS, "")))
    assert not re.search("comply|complian|certif|conform", " ".join(terms.values()).lower())


@pytest.mark.parametrize(("kind", "name"), COMPONENTS)
def test_every_component_says_what_others_call_it(kind: str, name: str) -> None:
    terms = KINDS[kind][name].TERMS
    of_form(terms, MITIGATION if kind == "defense" else TECHNIQUE)
    assert words(terms[NIST])[0] == CLASSES[kind]
    if kind == "defense":
        assert set(words(terms.get(ATLAS, ""))) <= OF_ATLAS.keys()


@pytest.mark.parametrize(
    ("name", "words_of_atlas", "word_of_nist"),
    [
        ("pgd_at", "AML.M0003", "adversarial training"),
        ("ensemble", "AML.M0006", "mitigation"),
        ("spectral", "AML.M0007", "training data sanitization"),
        ("neural_cleanse", "AML.M0008", "trigger reconstruction"),
        ("squeeze", "AML.M0010", "mitigation"),
        ("mahalanobis", "AML.M0015", "mitigation"),
        ("strip", "AML.M0015", "mitigation"),
        ("dp", "", "differential privacy"),
    ],
)
def test_defenses_have_the_words_of_what_they_do(name: str, words_of_atlas: str, word_of_nist: str) -> None:
    terms = DEFENSES[name].TERMS
    assert terms.get(ATLAS, "") == words_of_atlas
    assert word_of_nist in words(terms[NIST])


def test_what_is_composed_has_the_words_of_its_parts() -> None:
    both = defenses.parse("squeeze(bits=1) + strip(overlays=3)")
    assert both.terms == {NIST: "mitigation", ATLAS: "AML.M0010, AML.M0015"}
    assert defenses.parse("strip").terms == DEFENSES["strip"].TERMS


def test_metrics_and_threats_keep_to_the_form() -> None:
    for name in METRICS.names():
        of_form(METRICS[name].terms, re.compile(r"AML\.[TM]\d{4}(\.\d{3})?"))
    for face in FACES.values():
        for terms in (face.terms, *face.terms_of_view.values()):
            of_form({who: text for who, text in terms.items() if who != "OWASP"}, TECHNIQUE)
    assert METRICS["alarm_false_positives"].terms == {ATLAS: "AML.M0015"}


def test_a_plugin_that_says_nothing_has_the_words_of_its_base() -> None:
    @dataclass(frozen=True)
    class Mine(Attack):
        strength: float = 1.0

    assert Mine.TERMS == {NIST: "evasion", ATLAS: "AML.T0043"}
    assert [item.name for item in fields(Mine)] == ["norm", "objective", "strength"]  # it is no setting


@pytest.mark.parametrize(("kind", "name"), COMPONENTS)
def test_no_setting_and_so_no_key_has_it(kind: str, name: str) -> None:
    item = KINDS[kind][name]
    assert "TERMS" not in {each.name for each in fields(item)}
    assert "terms" not in str(KINDS[kind].component(name)).lower()


def test_a_finding_has_the_words_of_its_threat_view_attack_and_number() -> None:
    plain = terms_of("evasion", "white", "robust_accuracy")
    assert plain == {NIST: "evasion, white-box evasion", ATLAS: "AML.T0015, AML.T0043, AML.T0043.000"}
    assert terms_of("evasion", "white", "robust_accuracy", "pgd(steps=3)") == plain
    square = terms_of("evasion", "black", "robust_accuracy", "square(queries=3)")
    assert set(words(square[ATLAS])) == {
        "AML.T0015", "AML.T0043", "AML.T0043.001", "AML.T0043.002", "AML.T0005.002", "AML.T0002",
    }  # fmt: skip
    assert "score-based attack" in words(square[NIST])
    assert "AML.T0005" in words(terms_of("membership", "target", "auc", "rmia")[ATLAS])
    alarm = terms_of("backdoor", "", "anomaly_index", "neural_cleanse(batch=4, steps=50)")
    assert "AML.M0008" in words(alarm[ATLAS])
    assert "trigger reconstruction" in words(alarm[NIST])
    assert "AML.M0015" in words(terms_of("backdoor", "", "alarm_false_positives")[ATLAS])
    both = terms_of("evasion", "", "", "pgd + strip(overlays=3)")
    assert "AML.M0015" in words(both[ATLAS])
    assert terms_of("evasion", "white", "", "unheard of (3)") == plain
    assert terms_of("unheard of", "white", "nothing", "pgd") == {}


def test_an_attack_is_looked_for_among_those_of_its_threat(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ATTACKS["pgd"], "TERMS", {NIST: "evasion, changed", ATLAS: "AML.T9999"})
    assert "AML.T9999" in words(terms_of("evasion", "white", "", "pgd")[ATLAS])
    assert "AML.T9999" not in terms_of("membership", "target", "", "pgd")[ATLAS]


def test_words_are_joined_once_and_in_order() -> None:
    assert joined({"A": "one, two"}, {"B": ""}, {"A": "two , three"}) == {"A": "one, two, three"}


def test_what_only_audits_know_has_no_name_of_a_metric() -> None:
    assert not ONLY_IN_AUDITS.keys() & set(METRICS.names())
    assert names() == sorted(set(names()))
    assert (known("robust_accuracy").better, known("robust_accuracy").sized) == ("higher", "always")
    assert (known("auc").better, known("auc").sized) == ("lower", "never")
    assert (known("parent_price").better, known("parent_price").sized) == ("lower", "perhaps")
    with pytest.raises(UnknownNameError, match="did you mean 'anomaly_index'"):
        known("anomaly_indx")


@pytest.mark.parametrize(("kind", "name", "word"), [("defense", "strip", "AML.M0015"), ("attack", "pgd", "AML.T0043")])
def test_the_list_shows_it(kind: str, name: str, word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", kind, "--json"]) == 0
    assert word in json.loads(capsys.readouterr().out)[name]["terms"][ATLAS]
    assert main(["list", kind]) == 0
    assert word in capsys.readouterr().out.replace("\n", "")
    assert main(["list", "threat", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["evasion"]["terms"][NIST] == "evasion"
