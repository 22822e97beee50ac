"""The section of the claims: what was decided stands there, in words and not in color alone."""

import math
from dataclasses import replace

from tl_robust.claims.effects import Finding
from tl_robust.sinks.base import Views
from tl_robust.sinks.report import page as report
from tl_robust.sinks.report.blocks import Fold, Table, Why
from tl_robust.sinks.report.decisions import decisions

OVERALL = Finding(
    "H2", "FineTune is weaker.", "KDD 2020", "", "fgsm linf", "supported", 0.748, 0.71, 0.79, "share", 1e-5, 3, 600,
    "Clear.",
)  # fmt: skip
UNDECIDED = replace(
    OVERALL, claim="H8", decision="undecided", effect=math.nan, low=math.nan, high=math.nan, p=math.nan, seeds=0, n=0,
    reason="No such pair here."
)  # fmt: skip
PAIR = replace(OVERALL, pair="a → b", decision="refuted", effect=-0.5, low=-0.6, high=-0.4, unit="ratio", source="")


def test_no_finding_no_section(tmp_path) -> None:
    assert decisions([]) == []
    page, text = (path.read_text("utf-8") for path in report.write(Views(tmp_path, "bench", [], [])))
    assert ">Claims</h2>" not in page
    assert "## Claims" not in text


def test_a_compact_row_a_claim_with_its_reasons_apart_and_a_fold_for_the_pairs() -> None:
    pgd = replace(OVERALL, attack="pgd linf", decision="refuted")
    text, table, other, fold = decisions([OVERALL, UNDECIDED, pgd, PAIR])
    assert text.text.startswith("fgsm linf: 1 ✔ supported, 1 ◇ undecided. pgd linf: 1 ✖ refuted. ")
    assert isinstance(table, Table)
    assert table.cards
    assert table.title == "Claims over all pairs, fgsm linf"
    assert dict(zip(table.head, table.body[0], strict=True)) == {
        "claim": "H2",
        "what it says": Why("FineTune is weaker.", "Clear. 3 seeds, 600 test images, p < 0.001. Claimed in: KDD 2020."),
        "verdict": "✔ supported", "effect [95 %]": "+74.8 points [71.0, 79.0]",
    }  # fmt: skip
    assert table.body[1][1:] == (
        Why("FineTune is weaker.", "No such pair here. Claimed in: KDD 2020."), "◇ undecided", "-",
    )  # fmt: skip
    assert [row[2] for row in other.body] == ["✖ refuted"]
    assert isinstance(fold, Fold)
    (pair,) = fold.blocks
    assert pair.title == "Claims on a → b, fgsm linf"
    assert pair.body[0][2:] == ("✖ refuted", "-0.50 [-0.60, -0.40]")


def test_the_only_pair_is_not_told_twice() -> None:
    assert len(decisions([OVERALL, replace(OVERALL, pair="a → b")])) == 2
    assert len(decisions([OVERALL, replace(OVERALL, pair="a → b"), replace(OVERALL, pair="c → d", effect=0.1)])) == 3


def test_primary_claims_stand_first() -> None:
    first = replace(OVERALL, claim="H2", family="primary")
    _, table = decisions([replace(OVERALL, claim="H1X"), first, replace(OVERALL, claim="H3")])
    assert [row[0] for row in table.body] == ["H2", "H1X", "H3"]


def test_numbers_of_labels_have_tables_of_their_own_after_that_over_all() -> None:
    few, every = (replace(OVERALL, labels=labels, decision="undecided") for labels in ("50 labels", "all labels"))
    text, *tables = decisions([few, OVERALL, every])
    assert [table.title.removeprefix("Claims over all pairs, ") for table in tables] == [
        "fgsm linf, over all numbers of labels", "fgsm linf, 50 labels", "fgsm linf, all labels",
    ]  # fmt: skip
    assert "fgsm linf, 50 labels: 1 ◇ undecided." in text.text


def test_what_cannot_be_judged_is_one_line() -> None:
    def left(claim: str, reason: str, attack: str = "fgsm linf"):
        return replace(UNDECIDED, claim=claim, decision="not judged", reason=reason, attack=attack)

    objects, seed = "It needs a pair of objects.", "One seed decides nothing: it needs at least two."
    found = [left("H6", objects), left("H6", objects, "pgd linf"), left("H3", seed), left("H4", seed)]
    expected = (
        "Not judged on this bench: H6 needs a pair of objects; H3, H4: One seed decides nothing: it needs at least two."
    )
    assert [block.text for block in decisions(found)] == [expected]
    _, table, line = decisions([*found, OVERALL])
    assert [row[0] for row in table.body] == ["H2"]
    assert line.text == expected


def test_findings_of_pairs_alone_are_not_folded_away() -> None:
    text, table = decisions([PAIR])
    assert text.text.startswith("fgsm linf: 1 ✖ refuted. ")
    assert isinstance(table, Table)
    assert table.brief


def test_reasons_are_folded_on_the_page_and_stand_in_the_text(tmp_path) -> None:
    evil = replace(OVERALL, says="<b>x</b>", reason="a | b <i>")
    page, text = (
        path.read_text("utf-8") for path in report.write(Views(tmp_path, "bench", [], [], findings=[evil, UNDECIDED]))
    )
    assert page.count("<h2>") == 1
    assert '<span class="supported">✔ supported</span>' in page
    assert '<span class="undecided">◇ undecided</span>' in page
    assert "&lt;b&gt;x&lt;/b&gt;<details><summary>Why</summary><p>a | b &lt;i&gt; 3 seeds" in page
    assert (
        "| H2 | \\<b>x\\</b> a \\| b \\<i> 3 seeds, 600 test images, p \\< 0.001. Claimed in: KDD 2020. | ✔ supp"
        in text
    )
