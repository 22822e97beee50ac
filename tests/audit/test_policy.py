"""A policy: what it says, one sentence for every mistake in it, and what becomes of each rule."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest

from tests.audit.made_audit import AMBER, EPS, NOTHING, RED, audit, model, price, share
from tl_robust.audit.audit_file import write
from tl_robust.audit.changes import changes
from tl_robust.audit.decisions import Decision, decide, earlier_of, exit_code
from tl_robust.audit.policy import LIMIT, NotWorse, Policy, Rule, load, parse
from tl_robust.audit.record import Audit, Finding, Lock, NotRun
from tl_robust.errors import ConfigError, ResultsError

HERE = Path("ci/policy.yaml")
WHOLE = """# what a release must keep to
rules:
  - robust_accuracy@8/255 >= 0.4
  - robust_accuracy[black]@0.03137 > .3

  - "parent_price <= 1/10"
  - not_worse_than: last.json
  - {not_worse_than: older.json, margin: 0.02}
"""


def rules(*lines: str) -> Policy:
    return parse("\n".join(["rules:", *(f"- {line}" for line in lines)]), HERE)


def decided(made: Audit, *lines: str, earlier: Audit | None = None) -> list[Decision]:
    return decide(made, rules(*lines), {HERE.parent / "last.json": earlier} if earlier else {})


def test_a_policy_is_read_with_the_lines_of_its_rules() -> None:
    policy = parse(WHOLE, HERE)
    first, second, third, fourth, fifth = policy.rules
    assert first == Rule("robust_accuracy@8/255 >= 0.4", 3, "robust_accuracy", "", EPS, ">=", 0.4)
    assert isinstance(second, Rule)
    assert (second.line, second.view, second.operator, second.bound) == (4, "black", ">", 0.3)
    assert isinstance(third, Rule)
    assert (third.line, third.name, third.bound) == (6, "parent_price", 0.1)
    assert math.isnan(third.eps)
    assert fourth == NotWorse("not_worse_than: last.json", 7, Path("ci/last.json"))
    assert isinstance(fifth, NotWorse)
    assert (fifth.line, fifth.margin) == (8, 0.02)


MISTAKES = {
    "robust_acuracy@8/255 >= 0.4": "unknown metric 'robust_acuracy'; did you mean 'robust_accuracy'?",
    "parent_prise <= 0.1": "did you mean 'parent_price'?",
    "robust_accuracy >= 0.4": "depends on the size of the perturbation: write it with eps, as robust_accuracy@8/255",
    "robust_accuracy@ >= 0.4": "eps of robust_accuracy must be a number such as 0.4 or 8/255, got ''",
    "robust_accuracy@8/0 >= 0.4": "must be a number such as 0.4 or 8/255, got '8/0'",
    "robust_accuracy@-0.1 >= 0.4": "must be a number from 0, got -0.1",
    "robust_accuracy@8/255 => 0.4": "operator '=>' is none of >=, <=, >, <; did you mean '>='?",
    "robust_accuracy@8/255 == 0.4": "operator '==' is none of",
    "robust_accuracy@8/255 \u2265 0.4": "did you mean '>='?",
    "robust_accuracy@8/255 <= 0.4": "asks for a weaker model, since higher is better: write robust_accuracy >=",
    "parent_price > 0.1": "since lower is better: write parent_price <=",
    "robust_accuracy@8/255 >= 40": "is a share from 0 to 1, and the bound is 40",
    "robust_accuracy@8/255 >= 40 %": "the bound must be a number such as 0.4 or 8/255, got '40 %'",
    "robust_accuracy@8/255 >=": "the bound must be a number",
    "robust_accuracy@8/255 >= nan": "the bound must be a number",
    "robust_accuracy@8/255 >= 1e999999999": "the bound must be a number",
    "robust_accuracy[]@8/255 >= 0.4": "no view between the brackets",
    "robust_accuracy@8/255": "is no bound: write a metric, an operator and a number",
    "half_eps@8/255 >= 0.1": "half_eps has no eps: write it without @8/255",
    "attack_success@8/255 <= 0.1": "attack_success has no eps",
    "not_worse_then: last.json": "unknown rule 'not_worse_then'; did you mean 'not_worse_than'?",
    "robust_accuracy@8/255: 0.4": "a bound is one text without a colon",
    "not_worse_than:": "must name the file of an earlier audit once",
    "not_worse_than: [a, b]": "must name the file of an earlier audit once",
    "margin: 0.1": "must name the file of an earlier audit once",
    "{not_worse_than: a, margin: -1}": "the margin must be at least 0 and below 1, got -1",
    "{not_worse_than: a, margin: x}": "the margin must be a number",
    "[a, b]": "rule 'a list or mapping' is no bound",
}


@pytest.mark.parametrize("line", MISTAKES)
def test_every_mistake_has_one_sentence_with_its_line(line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        rules("parent_price <= 0.9", line)
    assert str(caught.value).startswith("ci/policy.yaml, line 3: ")
    assert MISTAKES[line] in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "must have rules: and below it one rule a line"),
        ("rules: []", "there is none"),
        ("rules: parent_price <= 0.1", "there is none"),
        ("- parent_price <= 0.1", "must have rules:"),
        ("rule:\n- parent_price <= 0.1", "unknown key 'rule'; did you mean 'rules'?"),
        ("rules: [", "is not valid YAML"),
        (
            "rules:\n- parent_price <= 0.1\n- parent_price<=0.1",
            "line 3: rule 'parent_price<=0.1' stands in line 2 already",
        ),
        ("[" * 5000, "stand too deep inside each other"),
        ("rules:\n- !!python/object/apply:os.system [echo]", "is no bound"),
        ("&a rules:\n- *a", "is no bound"),
    ],
)
def test_what_is_no_policy_is_refused(text: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text, HERE)
    assert says in str(caught.value)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read the policy"):
        load(tmp_path / "none.yaml")
    (tmp_path / "large.yaml").write_text("#" * (LIMIT + 1))
    with pytest.raises(ConfigError, match="more than"):
        load(tmp_path / "large.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"\xe9")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load(tmp_path / "latin.yaml")


def interval(value: float, low: float, high: float, **changes: Any) -> Audit:
    return audit(findings=(replace(share(100, kept=False), value=value, low=low, high=high, **changes),))


@pytest.mark.parametrize(
    ("operator", "low", "high", "kind"),
    [
        (">=", 0.40, 0.50, "pass"),
        (">=", 0.39, 0.50, "undecided"),
        (">=", 0.30, 0.40, "undecided"),
        (">=", 0.30, 0.39, "fail"),
        (">", 0.40, 0.50, "undecided"),
        (">", 0.41, 0.50, "pass"),
        (">", 0.30, 0.40, "fail"),
    ],
)
def test_a_rule_is_decided_by_the_interval(operator: str, low: float, high: float, kind: str) -> None:
    (decision,) = decided(interval((low + high) / 2, low, high), f"robust_accuracy@8/255 {operator} 0.4")
    assert decision.kind == kind


@pytest.mark.parametrize(
    ("operator", "low", "high", "kind"),
    [
        ("<=", 0.02, 0.10, "pass"),
        ("<=", 0.02, 0.11, "undecided"),
        ("<=", 0.10, 0.20, "undecided"),
        ("<=", 0.11, 0.20, "fail"),
        ("<", 0.02, 0.10, "undecided"),
        ("<", 0.02, 0.09, "pass"),
        ("<", 0.10, 0.20, "fail"),
    ],
)
def test_where_lower_is_better_the_other_end_decides(operator: str, low: float, high: float, kind: str) -> None:
    (decision,) = decided(audit(price=price((low + high) / 2, low, high)), f"parent_price {operator} 0.1")
    assert decision.kind == kind


def test_red_trust_is_for_a_human_and_no_interval_is_undecided() -> None:
    rule = "robust_accuracy@8/255 >= 0.4"
    assert decided(interval(0.9, 0.8, 0.95, trust=RED), rule)[0].kind == "review"
    assert "its gradients are masked" in decided(interval(0.9, 0.8, 0.95, trust=RED), rule)[0].reason
    assert decided(interval(0.9, 0.8, 0.95, trust=AMBER), rule)[0].kind == "pass"
    assert "Trust is amber" in decided(interval(0.9, 0.8, 0.95, trust=AMBER), rule)[0].reason
    assert decided(interval(0.9, math.nan, math.nan), rule)[0].kind == "undecided"
    assert decided(interval(math.nan, math.nan, math.nan), rule)[0].kind == "undecided"


def test_the_worst_of_all_views_and_attacks_decides() -> None:
    good, bad, masked = share(190, view="black"), share(2), replace(share(150, attack="apgd"), trust=RED)
    rule = "robust_accuracy@8/255 >= 0.4"
    assert decided(audit(findings=(good,)), rule)[0].kind == "pass"
    assert decided(audit(findings=(good, masked)), rule)[0].kind == "review"
    (decision,) = decided(audit(findings=(good, bad, masked)), rule)
    assert decision.kind == "fail"
    assert "1.0 %" in decision.reason
    assert "the worst of 3" in decision.reason
    assert decided(audit(findings=(good, bad)), "robust_accuracy[black]@8/255 >= 0.4")[0].kind == "pass"


def test_a_rule_about_what_was_not_measured_never_passes() -> None:
    (decision,) = decided(audit(price=None), "parent_price <= 0.1")
    assert (decision.kind, decision.reason) == ("undecided", "parent_price was not measured.")
    why = NotRun("evasion", "parent_price", "No unrelated model was given.")
    assert "No unrelated model" in decided(audit(price=None, not_run=(why,)), "parent_price <= 0.1")[0].reason
    with pytest.raises(ConfigError, match="line 2: robust_accuracy is measured at eps 0, 8/255 in this audit"):
        decided(audit(), "robust_accuracy@4/255 >= 0.4")
    with pytest.raises(ConfigError, match="unknown view of robust_accuracy in this audit 'blck'; did you mean"):
        decided(audit(), "robust_accuracy[blck]@8/255 >= 0.4")


def test_exit_codes() -> None:
    kinds = {
        "pass": decided(audit(), "robust_accuracy[black]@8/255 >= 0.2"),
        "fail": decided(audit(), "robust_accuracy@8/255 >= 0.4"),
        "undecided": decided(audit(), "robust_accuracy[black]@8/255 >= 0.4"),
        "review": decided(audit(price=price(trust=RED)), "parent_price <= 0.9"),
    }
    assert {kind: decisions[0].kind for kind, decisions in kinds.items()} == {kind: kind for kind in kinds}
    codes = {kind: exit_code(audit(), decisions) for kind, decisions in kinds.items()}
    assert codes == {"pass": 0, "fail": 1, "undecided": 0, "review": 0}
    strict = {kind: exit_code(audit(), decisions, strict=True) for kind, decisions in kinds.items()}
    assert strict == {"pass": 0, "fail": 1, "undecided": 3, "review": 3}
    assert exit_code(audit(), [*kinds["undecided"], *kinds["fail"]], strict=True) == 1
    locked = audit(locks=(Lock("every_tensor_filled", False, "fc.weight is missing."),), **NOTHING)
    decisions = decided(locked, "robust_accuracy@8/255 >= 0.4")
    assert decisions[0].reason == "Nothing was measured: every_tensor_filled failed."
    assert exit_code(locked, decisions) == 2
    assert exit_code(audit(**NOTHING), []) == 0
    assert exit_code(audit(**NOTHING), [], strict=True) == 3


def random_hits(right: int, seed: int, n: int = 200) -> tuple[bool, ...]:
    place = np.random.default_rng(seed).permutation(n)
    return tuple(bool(item < right) for item in place)


def of_hits(hits: tuple[bool, ...], **coordinates: Any) -> Finding:
    return replace(share(sum(hits), len(hits), kept=False, **coordinates), hits=hits)


def against(now: Finding, then: Finding, margin: str = "", **changes: Any) -> Decision:
    line = f"{{not_worse_than: last.json{margin}}}"
    earlier = audit(findings=(then,), price=None, **changes)
    return decided(audit(model=model("retrained"), findings=(now,), price=None), line, earlier=earlier)[0]


def test_pairs_decide_what_two_intervals_cannot() -> None:
    then = of_hits(random_hits(120, 0))
    worse = of_hits(tuple(hit and place % 8 != 0 for place, hit in enumerate(then.hits)))  # loses some, wins none
    decision = against(worse, then)
    assert decision.kind == "fail"
    assert "sample by sample" in decision.reason
    apart = against(replace(worse, hits=()), then)
    assert (apart.kind, "by the intervals of both" in apart.reason) == ("undecided", True)
    assert against(then, worse).kind == "pass"
    other = replace(audit().data, sha256="0" * 64)
    assert against(worse, then, data=other).kind == "undecided"


def test_the_p_value_of_pairs_is_that_of_the_sign_test_or_more() -> None:
    then = of_hits((True,) * 100 + (False,) * 100)
    for lost in (1, 3, 4, 5, 6, 8, 20):
        now = of_hits((False,) * lost + (True,) * (100 - lost) + (False,) * 100)
        (change,) = changes(audit(model=model("b"), findings=(now,), price=None), audit(findings=(then,), price=None))
        exact = binomtest(lost, lost, 0.5, alternative="greater").pvalue
        assert change.gain == pytest.approx(-lost / 200)
        assert exact <= change.p + 1e-12
        assert change.worse == (exact < 0.025) == (lost > 5)


def test_the_same_model_is_not_worse_than_itself_and_a_margin_lets_others_pass() -> None:
    same = decided(audit(), "not_worse_than: last.json", earlier=audit())
    assert same[0].kind == "pass"
    others = audit(others=(model("lakes"),))
    assert decided(others, "not_worse_than: last.json", earlier=audit())[0].kind == "undecided"  # another price
    assert against(share(150), share(150)).kind == "undecided"  # another model that is right on the same images
    then, now = of_hits(random_hits(150, 1)), of_hits(random_hits(150, 2))
    assert against(now, then).kind == "undecided"
    assert against(now, then, margin=", margin: 0.2").kind == "pass"
    assert against(replace(now, trust=RED), then, margin=", margin: 0.2").kind == "review"


def test_lower_is_better_where_it_is() -> None:
    then = of_hits(random_hits(20, 3), better="lower", name="attack_success", threat="backdoor", eps=math.nan)
    more = of_hits(tuple(place % 2 == 0 or hit for place, hit in enumerate(then.hits)), better="lower",
                   name="attack_success", threat="backdoor", eps=math.nan)  # fmt: skip
    assert against(more, then).kind == "fail"
    assert against(then, more).kind == "pass"


def test_many_numbers_are_corrected_for() -> None:
    """One of 60 numbers that falls as chance may let it fall proves nothing, and alone it does."""
    then = of_hits((True,) * 100 + (False,) * 100)
    fallen = of_hits((False,) * 8 + (True,) * 92 + (False,) * 100)
    others = [of_hits(random_hits(100, seed), attack=f"a{seed}") for seed in range(59)]
    line = "not_worse_than: last.json"
    assert against(fallen, then).kind == "fail"
    now = audit(model=model("b"), findings=(fallen, *others), price=None)
    (decision,) = decided(now, line, earlier=audit(findings=(then, *others), price=None))
    assert decision.kind == "undecided"


def test_what_was_measured_before_and_is_not_any_more_is_undecided() -> None:
    then = audit(price=None)
    now = audit(price=None, findings=then.findings[1:])
    (decision,) = decided(now, "not_worse_than: last.json", earlier=then)
    assert decision.kind == "undecided"
    assert "Not measured any more: evasion/robust_accuracy/0." in decision.reason
    with pytest.raises(ConfigError, match="has no number in common"):
        decided(audit(price=None), "not_worse_than: last.json", earlier=audit(**NOTHING))


def test_the_earlier_audit_is_read_beside_the_policy(tmp_path: Path) -> None:
    write(tmp_path / "last.json", audit())
    policy = parse("rules: [{not_worse_than: last.json}]", tmp_path / "policy.yaml")
    assert list(earlier_of(policy)) == [tmp_path / "last.json"]
    with pytest.raises(ResultsError, match="no such file"):
        earlier_of(parse("rules: [{not_worse_than: none.json}]", tmp_path / "policy.yaml"))


def test_the_same_inputs_give_the_same_price_and_other_decoys_do_not() -> None:
    """Its interval is of other decoys, too, so that an equal price of the same files alone is sure to be no worse."""
    then = audit()
    (same,) = (change for change in changes(then, then) if change.now.name == "parent_price")
    assert (same.gain, same.low, same.high, same.paired) == (0.0, 0.0, 0.0, True)
    others = replace(then, others=(model("lakes"), model("textures")))
    (other,) = (change for change in changes(others, then) if change.now.name == "parent_price")
    assert other.low < 0 < other.high
