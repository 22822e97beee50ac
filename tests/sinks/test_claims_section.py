"""The claim ledger as a section: what was found stands there, in words and not in color alone."""

import math
from dataclasses import replace

from tl_robust.claims.base import Finding
from tl_robust.sinks import report
from tl_robust.sinks.blocks import Fold, Table
from tl_robust.sinks.ledger import ledger

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
    assert ledger([]) == []
    page, text = (path.read_text("utf-8") for path in report.write(tmp_path, "bench", [], [], "", findings=[]))
    assert ">Claims</h2>" not in page
    assert "## Claims" not in text


def test_one_row_a_claim_with_effect_in_points_and_a_fold_for_the_pairs() -> None:
    pgd = replace(OVERALL, attack="pgd linf", decision="refuted")
    text, table, other, fold = ledger([OVERALL, UNDECIDED, pgd, PAIR])
    assert text.text.startswith("fgsm linf: 1 ✔ supported, 1 ◇ undecided. pgd linf: 1 ✖ refuted. ")
    assert isinstance(table, Table)
    assert table.title == "Claims over all pairs, fgsm linf"
    assert dict(zip(table.head, table.body[0], strict=True)) == {
        "claim": "H2", "decision": "✔ supported", "what it says": "FineTune is weaker. (KDD 2020)",
        "effect [95 %]": "+74.8 points [71.0, 79.0]", "p": "< 0.001", "seeds": "3", "n": "600", "reason": "Clear.",
    }  # fmt: skip
    assert table.body[1][1:2] + table.body[1][3:7] == ("◇ undecided", "-", "-", "-", "-")
    assert [row[1] for row in other.body] == ["✖ refuted"]
    assert isinstance(fold, Fold)
    (pair,) = fold.blocks
    assert pair.title == "Claims on a → b, fgsm linf"
    assert pair.body[0][1:4] == ("✖ refuted", "FineTune is weaker.", "-0.50 [-0.60, -0.40]")


def test_findings_of_pairs_alone_are_not_folded_away() -> None:
    text, table = ledger([PAIR])
    assert text.text.startswith("fgsm linf: 1 ✖ refuted. ")
    assert isinstance(table, Table)
    assert table.brief


def test_claims_open_the_page_and_the_text(tmp_path) -> None:
    evil = replace(OVERALL, says="<b>x</b>", reason="a | b")
    page, text = (
        path.read_text("utf-8") for path in report.write(tmp_path, "bench", [], [], "", findings=[evil, UNDECIDED])
    )
    assert page.count("<h2>") == 1
    assert '<span class="supported">✔ supported</span>' in page
    assert '<span class="undecided">◇ undecided</span>' in page
    assert "&lt;b&gt;x&lt;/b&gt;" in page
    assert "| H2 | ✔ supported | \\<b>x\\</b> (KDD 2020) |" in text
    assert "| a \\| b |" in text
