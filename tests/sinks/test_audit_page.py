"""The risk sheet: what stands on it, and that nothing that matters is cut."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

from tests.audit.made_audit import NOTHING, RED, audit, model, price, share
from tl_robust.audit.decisions import Decision, decide
from tl_robust.audit.policy import parse
from tl_robust.audit.record import Audit, Candidate, File, Lock, NotRun, Origin
from tl_robust.sinks.report import audit_page
from tl_robust.sinks.report.blocks import Measured, Table

POLICY = "ci/policy.yaml"
RULES = """rules:
- robust_accuracy[black]@8/255 >= 0.2
- robust_accuracy[white]@8/255 >= 0.4
- parent_price <= 0.25
- tpr_at_1_percent <= 0.9
"""
LONG = "a sentence without an end that goes on and on about what a lock has seen in a file " * 4


def decisions(made: Audit, rules: str = RULES) -> list[Decision]:
    return decide(made, parse(rules, Path(POLICY)), {})


def table(made: Audit, said: list[Decision] | None = None) -> Table:
    found: Table = audit_page.context(made, decisions(made) if said is None else said, POLICY)["table"]
    return found


def words_of(tmp_path: Path, made: Audit, **more: Any) -> str:
    audit_page.write(made, tmp_path / "risk.html", **more)
    page = (tmp_path / "risk.html").read_text()
    body = page[page.index("<body") :]
    return " ".join(unescape(re.sub("<[^>]+>", " ", body)).split())


def full() -> Audit:
    """More than fits: of everything, and long."""
    names = ("robust_accuracy", "error_rate", "fooling_rate", "match_rate")
    kinds = [(view, name) for name in names for view in ("white", "black", "shadow")]
    findings = [
        share(10 + place, view=view, attack=f"a rather long attack(steps={place})", title=f"Accuracy, number {place}",
              name=name, trust=replace(RED, reasons=(f"{place} {LONG}",)))
        for place, (view, name) in enumerate(kinds)
    ]  # fmt: skip
    return audit(
        model=replace(model("n" * 300), files=(File("p/" * 200 + "model.safetensors", "a" * 64, 1),)),
        findings=tuple(findings),
        locks=tuple(Lock(f"lock_{place}", place != 19, f"{place} {LONG}") for place in range(20)),
        not_run=tuple(NotRun(f"threat_{place}", f"what_{place}", LONG) for place in range(20)),
        made={f"versions.package_{place}": "1.2.3" for place in range(40)},
        price=price(trust=RED),
        origin=Origin((Candidate("c" * 300, 0.9, 0.9, "features"),), "c" * 300, LONG),
    )


def full_decisions() -> list[Decision]:
    made = replace(full(), locks=())
    rules = [f"- robust_accuracy[{view}]@8/255 >= 0.{place}" for place in range(1, 9) for view in ("white", "black")]
    return decisions(made, "\n".join(["rules:", *rules, "- parent_price <= 0.1"]))


def test_the_table_has_the_worst_number_of_each_kind_at_the_eps_in_force() -> None:
    other = share(0, attack="at another eps", eps=16 / 255)
    made = audit(findings=(*audit().findings, other))
    rows = [[cell.text if isinstance(cell, Measured) else str(cell) for cell in row] for row in table(made).body]
    assert [(row[1], row[2], row[3]) for row in rows] == [
        ("Accuracy on clean images", "none", "93.0 % [88.5, 96.1]"),
        ("Accuracy under attack", "strong linf, white box, eps 8/255", "1.0 % [0.1, 3.6]"),
        ("Accuracy under attack", "mi linf, black box, eps 8/255", "41.0 % [34.1, 48.2]"),
        ("Members found at 1\xa0% false alarms", "lira, target data", "5.5 % [2.8, 9.6]"),
    ]
    assert [row[-1] for row in rows] == ["○ no rule", "✖ fail", "✔ pass", "✔ pass"]
    assert [row[-2] for row in rows] == ["✔ green", "▲ amber", "✔ green", "✔ green"]


def test_the_verdict_on_a_threat_is_that_of_its_worst_rule() -> None:
    found = audit_page.context(audit(), decisions(audit()), POLICY)["threats"]
    assert found == [("Evasion", "✖ fail"), ("Membership", "✔ pass"), ("Backdoor", "○ not run")]
    unjudged = audit_page.context(audit())["threats"]
    assert unjudged == [("Evasion", "○ no rule"), ("Membership", "○ no rule"), ("Backdoor", "○ not run")]


def test_the_page_says_price_parent_locks_trust_and_what_was_not_run(tmp_path: Path) -> None:
    text = words_of(tmp_path, audit(price=price(trust=RED)), decisions=decisions(audit()), policy=POLICY)
    for part in (
        "Price of the public parent 21.0 points [14.0, 28.0] ◇ undecided ✖ red",
        "what is crafted on it turns 55.0 % of the images, and what is crafted on 3 unrelated models 34.0 %",
        "It comes from imagenet, the closest of 3 candidates by weights, certainty 97.0 %",
        "✔ passed every tensor filled: All 122 tensors",
        "○ not asked preprocessing: No reference output was given.",
        "✖ red Price of the public parent: An attack without a budget leaves",
        "backdoor alarm false positives: Needs clean images",
        "MITRE ATLAS: AML.T0015, AML.T0043",
        f"SHA-256 {audit().model.files[0].sha256}",
        "seed 0",
    ):
        assert part in text
    assert "nan" not in text.lower()


def test_an_audit_that_measured_nothing_says_so(tmp_path: Path) -> None:
    locked = audit(locks=(Lock("every_tensor_filled", False, "fc.weight is missing."),), **NOTHING)
    text = words_of(tmp_path, locked)
    assert "Nothing was measured. This page says nothing of the model." in text
    assert "✖ failed every tensor filled: fc.weight is missing." in text
    assert "Price" not in text


def test_what_fails_is_never_left_out_and_what_is_left_out_is_counted() -> None:
    found = audit_page.context(full(), full_decisions(), POLICY)
    lists = dict(found["lists"])
    assert {mark for mark, _ in lists[f"Policy {POLICY}"][:-1]} == {"▲ review"}
    assert lists[f"Policy {POLICY}"][-1] == ("", "and 12 more in audit.json")
    kept = [f"- robust_accuracy[black]@8/255 >= 0.0{place}" for place in range(1, 9)]
    broken = decisions(audit(), "\n".join(["rules:", *kept, "- robust_accuracy[white]@8/255 >= 0.4"]))
    assert dict(audit_page.context(audit(), broken, POLICY)["lists"])[f"Policy {POLICY}"][0][0] == "✖ fail"
    assert lists["Locks"][0] == ("✖ failed", audit_page.cut(f"lock 19: 19 {LONG}", 95))
    assert lists["Locks"][-1] == ("", "and 15 more in audit.json")
    assert lists["What was not run"][-1] == ("", "and 15 more in audit.json")
    assert "2 more rows stand in audit.json" in found["table"].title
    assert found["table"].body[1][2] == "a rather long attac… linf, black box, eps 8/255"
    lowest = replace(share(1, attack="the last"), name="plain_accuracy", view="white", title="Fails")
    several = audit(findings=(*full().findings, lowest))
    said = decisions(several, "rules: [plain_accuracy@8/255 >= 0.4]")
    assert "✖ fail" in [row[-1] for row in table(several, said).body]


def test_names_of_strangers_are_shown_and_do_nothing(tmp_path: Path) -> None:
    bad = "<script>alert(1)</script>\x1b[2J"
    made = audit(model=model(bad), findings=(share(5, title=bad, attack=bad),))
    audit_page.write(made, tmp_path / "risk.html")
    page = (tmp_path / "risk.html").read_text()
    assert "<script" not in page
    assert "\x1b" not in page
    assert "http" not in page.replace("http-equiv", "")


def test_undefined_numbers_read_as_such(tmp_path: Path) -> None:
    undefined = replace(share(3, kept=False), value=math.nan, low=math.nan, high=math.nan)
    text = words_of(tmp_path, audit(findings=(undefined,), eps=8 / 255))
    assert "n/a" in text
