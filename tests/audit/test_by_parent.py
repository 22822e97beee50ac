"""The table by parent against numbers that were worked out by hand, and what it says in words."""

from __future__ import annotations

import csv
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from scipy.stats import t as student

from tests.audit.made_audit import AMBER, NOTHING, audit, model, price, share
from tl_robust.audit import parent_words as words
from tl_robust.audit.by_parent import digest_of, lead, lines, mean, refused
from tl_robust.audit.record import Audit, AuditedData, Candidate, File, Lock, NotRun, Origin
from tl_robust.cli.parent_tables import parent_tables
from tl_robust.metrics.estimate import clopper_pearson
from tl_robust.sinks.report import parents_page


def found(name: str, parent: str, right: int, cost: float, **changes: Any) -> Audit:
    """An audit whose model keeps ``right`` of 200 under the worst of two attacks from its parent."""
    findings = (
        share(190, view="", attack="", norm="", eps=0.0, title="Accuracy on clean images"),
        share(right + 20, view="black", attack="fgsm", eps=4 / 255),
        share(right + 10, view="black", attack="fgsm"),
        share(right + 4, view="black", attack="mi"),
        share(right, view="black", attack="worst of fgsm, mi"),
        share(right // 2, attack="strong"),
    )
    known = {
        "model": model(name),
        "parent": model(parent),
        "others": (model("elm" if parent == "oak" else "oak"),),
        "findings": findings,
        "price": price(cost, cost - 0.07, cost + 0.07),
        "origin": None,
    }
    return audit(**{**known, **changes})


def three() -> list[Audit]:
    return [found("a", "elm", 96, 0.05), found("b", "oak", 100, 0.2), found("c", "oak", 120, 0.1)]


def by_hand(values: list[float], ends: list[tuple[float, float]]) -> tuple[float, float]:
    """Mean and reach: variance of samples and of models, and Satterthwaite's degrees of freedom, as a loop."""
    count = len(values)
    middle = sum(values) / count
    samples = sum(((high - low) / (2 * 1.959963985)) ** 2 for low, high in ends) / count
    models = sum((value - middle) ** 2 for value in values) / (count - 1) / count
    freedom = (count - 1) * ((samples + models) / max(models, 0.1 * samples)) ** 2
    return middle, math.sqrt(samples + models) * float(student.ppf(0.975, freedom))


def test_the_numbers_are_those_worked_out_by_hand() -> None:
    oak, elm = lines(three())
    assert (oak.name, oak.models, elm.name, elm.models) == ("oak", ("b", "c"), "elm", ("a",))
    assert oak.digest == model("oak").files[0].sha256
    cases = (
        (oak.transfer, [100 / 200, 120 / 200], [share(100), share(120)]),
        (oak.white, [50 / 200, 60 / 200], [share(50), share(60)]),
        (oak.clean, [190 / 200] * 2, [share(190)] * 2),
    )
    for got, values, kept in cases:
        middle, reach = by_hand(values, [(finding.low, finding.high) for finding in kept])
        expected = (middle, max(0.0, middle - reach), min(1.0, middle + reach))
        assert (got.value, got.low, got.high) == pytest.approx(expected, abs=1e-6)
        assert got.n == 2
    middle, reach = by_hand([0.2, 0.1], [(0.13, 0.27), (0.03, 0.17)])
    assert (oak.price.value, oak.price.low, oak.price.high) == pytest.approx(
        (0.15, middle - reach, middle + reach), abs=1e-6
    )
    assert oak.least == 0.5
    only = share(96)
    assert (elm.transfer.value, elm.transfer.low, elm.transfer.high, elm.transfer.n) == (0.48, only.low, only.high, 1)
    assert (elm.price.value, elm.price.low, elm.price.high, elm.price.n) == pytest.approx((0.05, -0.02, 0.12, 1))


def test_the_interval_of_three_models_holds_the_mean_of_all_models() -> None:
    draw = np.random.default_rng(0)
    held, rounds, truth = 0, 400, 0.6
    for _ in range(rounds):
        right = draw.binomial(200, np.clip(draw.normal(truth, 0.06, 3), 0, 1))
        got = mean([share(int(count), kept=False) for count in right])
        held += got.low <= truth <= got.high
    assert held / rounds > 0.92


def test_the_best_start_stands_first_whatever_the_order_of_audits() -> None:
    for audits in (three(), three()[::-1]):
        assert [line.name for line in lines(audits)] == ["oak", "elm"]
    same = [found("a", "elm", 100, 0.3), found("b", "oak", 100, 0.2)]
    assert [line.name for line in lines(same)] == ["oak", "elm"], "of equals the one that costs less"
    better = share(195, view="", attack="", norm="", eps=0.0)
    righter = replace(same[0], findings=(better, *same[0].findings[1:]))
    assert [line.name for line in lines([righter, same[1]])] == ["oak", "elm"], "cost comes before clean accuracy"
    alike = [found("a", "elm", 100, 0.2), found("b", "ash", 100, 0.2)]
    alike[0] = replace(alike[0], findings=(better, *alike[0].findings[1:]))
    assert [line.name for line in lines(alike)] == ["elm", "ash"], "then the one that is right more often"
    plain = found("n", "yew", 0, 0.0)
    nothing: dict[str, Any] = {"value": math.nan, "low": math.nan, "high": math.nan, "hits": ()}
    black = [replace(finding, **nothing) for finding in plain.findings[1:5]]
    unknown = replace(plain, findings=(plain.findings[0], *black, plain.findings[5]), price=None)
    assert [line.name for line in lines([unknown, *three()])][-1] == "yew", "without a number it stands last"


def test_a_parent_is_known_by_its_files_and_not_by_its_name() -> None:
    renamed = replace(three()[1], parent=replace(model("oak"), name="quercus"))
    assert [line.models for line in lines([renamed, three()[2]])] == [("b", "c")]
    other = replace(three()[1], parent=replace(model("elsewhere"), name="oak"))
    first, second = lines([other, three()[2]])
    assert {first.name, second.name} == {f"oak ({line.digest[:12]})" for line in (first, second)}
    several = replace(model("oak"), files=(*model("oak").files, File("config.json", "a" * 64, 1)))
    assert digest_of(several) not in ("", digest_of(model("oak")))
    assert digest_of(several) == digest_of(replace(several, files=several.files[::-1]))


def test_models_that_were_attacked_otherwise_stand_in_a_table_of_their_own() -> None:
    small = replace(three()[0], eps=4 / 255)
    undone = replace(three()[0], findings=three()[0].findings[:1], eps=math.nan, price=None)
    kinds = words.by_setting(lines([*three(), small, undone, undone]))
    assert [[line.name for line in members] for members in kinds.values()] == [["oak", "elm"], ["elm"], ["elm"]]
    assert [setting.text for setting in kinds] == [
        "eps 8/255 linf; from the parent: worst of fgsm, mi; white box: strong",
        "eps 4/255 linf; from the parent: fgsm",
        "",
    ]
    assert next(iter(kinds.values()))[1].models == ("a",)


def test_claims_and_alarms_are_counted_by_the_files_of_a_parent() -> None:
    def origin(*names: str, claimed: bool = True) -> Origin:
        scores = range(len(names), 0, -1)
        made = tuple(Candidate(name, score, 0.9, "weights") for name, score in zip(names, scores, strict=True))
        return Origin(made, names[0] if claimed else "", "They are close.")

    rings = replace(
        three()[1].findings[0], name="alarm_p_value", threat="backdoor", value=0.25, n=3, low=0, high=1, hits=()
    )
    quiet = replace(rings, value=0.5)
    audits = [
        replace(three()[0], origin=origin("oak", "elm")),
        replace(three()[1], origin=origin("oak", "elm"), findings=(*three()[1].findings, rings)),
        replace(three()[2], origin=origin("oak", "elm", claimed=False), findings=(*three()[2].findings, quiet)),
        replace(three()[2], origin=None),
    ]
    oak, elm = lines(audits)
    assert (oak.claimed, oak.asked, oak.claimed_of_others, oak.alarms) == (1, 2, 1, 1)
    assert (oak.watched, words.alarms_text(oak), words.alarms_text(elm)) == (2, "1 of 2", "not asked")
    assert (elm.claimed, elm.asked, elm.claimed_of_others, elm.alarms) == (0, 1, 0, 0)
    assert words.claimed_text(oak) == "1 of 2, and 1 of others"
    none = replace(audits[1], parent=None, others=(model("oak"), model("elm")))
    undeclared = next(line for line in lines([*audits, none]) if not line.digest)
    assert (words.name(undeclared), undeclared.claimed, undeclared.asked) == ("none declared", 0, 0)
    assert lines([*audits, none])[0].claimed_of_others == 2


def test_models_without_numbers_are_listed_and_counted_nowhere() -> None:
    failed = replace(three()[1], locks=(Lock("head_is_trained", False, "It is not."),), **NOTHING)
    lazy = replace(three()[2], **{**NOTHING, "not_run": (NotRun("", "all", "Nobody asked."),)})
    assert [line.models for line in lines([three()[0], failed, lazy])] == [("a",)]
    assert [(item.name, item.parent, item.reason) for item in refused([three()[0], failed, lazy])] == [
        ("b", "oak", "head_is_trained failed: It is not."),
        ("c", "oak", "Nobody asked."),
    ]


def test_the_answer_says_how_sure_it_is() -> None:
    (said,) = words.answers(lines(three()))
    change, low, high = lead(*lines(three()))
    assert low < 0 < change < high
    assert said == (
        "Start from oak: its 2 models keep 55.0 % under what is crafted on it, "
        f"+7.0 points [{100 * low:.1f}, {100 * high:.1f}] beside elm, but the choice of images explains as much. "
        "Of elm there is one model, and another may say otherwise: audit more."
    )
    clear = [found("a", "elm", 20, 0.2), found("d", "elm", 22, 0.2), *three()[1:]]
    (said,) = words.answers(lines(clear))
    assert "beside elm, which is more than the choice of images and of models explains." in said
    moved = [replace(clear[0], data=AuditedData("other", 200, "a" * 64)), *clear[1:]]
    assert words.answers(lines(moved))[0].endswith("their tasks may differ and not the parents.")
    assert words.answers(lines(three()[1:]))[0].startswith("Only models of oak were attacked from their parent")
    none = [replace(found("n", "oak", 9, 0.0), parent=None, price=None, findings=three()[0].findings[:1])]
    assert words.answers(lines(none)) == ["No parent stands before another: nothing was crafted on one."]
    assert words.answers(lines([])) == []


def test_a_lead_is_that_of_two_independent_numbers() -> None:
    oak, elm = lines(three())
    below = math.hypot(oak.transfer.value - oak.transfer.low, elm.transfer.high - elm.transfer.value)
    assert lead(oak, elm)[:2] == pytest.approx((0.07, 0.07 - below))


def test_the_table_stands_in_a_file_a_page_and_a_terminal(tmp_path: Path) -> None:
    doubtful = replace(three()[0], findings=(*three()[0].findings[:5], replace(three()[0].findings[5], trust=AMBER)))
    hostile = replace(doubtful, parent=replace(model("elm"), name="=1+1<b>"))
    made = lines([hostile, *three()[1:]])
    failed = refused([replace(three()[1], locks=(Lock("head_is_trained", False, "It is not."),), **NOTHING)])
    words.write(tmp_path / "by_parent.csv", made)
    rows = list(csv.DictReader((tmp_path / "by_parent.csv").read_text().splitlines()))
    assert tuple(rows[0]) == words.COLUMNS
    assert [(row["parent"], row["models"], row["trust"]) for row in rows] == [
        ("oak", "2", "green"), ("'=1+1<b>", "1", "amber"),
    ]  # fmt: skip
    assert (rows[0]["transfer"], rows[0]["transfer_n"], rows[0]["transfer_least"]) == ("0.55", "2", "0.5")
    assert (rows[1]["price"], rows[1]["price_low"], rows[1]["price_high"]) == ("0.05", "-0.02", "0.12")
    assert (rows[0]["eps"], rows[0]["norm"], rows[0]["transfer_attack"]) == ("0.0313725", "linf", "worst of fgsm, mi")

    parents_page.write(made, failed, tmp_path / "by_parent.html")
    page = (tmp_path / "by_parent.html").read_text()
    assert page.index("oak") < page.index("=1+1&lt;b&gt;")
    assert "<b>" not in page
    assert "15.0 points" in page
    assert "head_is_trained failed: It is not." in page
    assert AMBER.reasons[0] in page

    console = Console(width=130, record=True)
    for item in parent_tables(made, failed):
        console.print(item, markup=False)
    text = console.export_text()
    cells = text.split("oak", 1)[1].split()
    assert cells[:3] == ["2", "95.0", "55.0"]
    assert "✖ b (parent: oak) has no numbers: head_is_trained failed: It is not." in " ".join(text.split())


def test_a_mean_of_what_is_not_known_is_not_known() -> None:
    assert mean([]).n == 0
    assert math.isnan(mean([]).value)
    low, high = (float(end) for end in clopper_pearson(torch.tensor([3.0]), torch.tensor([200.0])))
    known = share(3)
    got = mean([replace(known, value=math.nan, low=math.nan, high=math.nan, hits=()), known])
    assert (got.value, got.low, got.high, got.n) == (0.015, low, high, 1)
