"""The answer in words: what it says are the numbers of the rows and findings, for any bench."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from tl_robust.claims.effects import Finding
from tl_robust.results import answer
from tl_robust.results.table import Row
from tl_robust.sinks.base import Views
from tl_robust.sinks.report import page as report
from tl_robust.types import Cell, View

CELL = Cell("bench", "src", "tgt", "dtn", "scratch", "", "none", "fgsm", "linf", "black", -1, 50)
FOUND = Finding(
    "H2", "Black-box accuracy is lower with FineTune.", "KDD 2020", "", "fgsm linf", "supported", 0.214, 0.169, 0.259,
    "share", 1e-5, 5, 600, "Clear.", "primary",
)  # fmt: skip
EPS = (0.0, 8 / 255, 32 / 255)


def rows(
    strategy: str, values: tuple[float, ...], view: View = "black", trust: str = "green", **cell: object
) -> list[Row]:
    """A curve with intervals of two points to each side."""
    place = replace(CELL, strategy=strategy, view=view, **cell)  # type: ignore[arg-type]
    return [
        Row(place, eps, "robust_accuracy", value, 100, value - 0.02, value + 0.02, trust, "")
        for eps, value in zip(EPS, values, strict=False)
    ]


BLACK = [*rows("scratch", (0.6, 0.58, 0.54)), *rows("finetune", (0.81, 0.7, 0.04))]
WHITE = [*rows("scratch", (0.6, 0.3, 0.0), "white"), *rows("finetune", (0.81, 0.6, 0.01), "white")]


def test_both_views_each_at_the_eps_where_strategies_differ_most() -> None:
    (one,) = answer.said([*WHITE, *BLACK])
    assert one.group == "src → tgt, fgsm linf"
    assert one.lines == [
        "Black box at eps 32/255: finetune falls from 81.0 % to 4.0 % [2.0, 6.0] and scratch from 60.0 % to 54.0 % "
        "[52.0, 56.0].",
        "White box at eps 8/255: scratch falls from 60.0 % to 30.0 % [28.0, 32.0] and finetune from 81.0 % to 60.0 % "
        "[58.0, 62.0].",
    ]


def test_findings_stand_beside_the_view_they_are_about() -> None:
    white = replace(FOUND, claim="H1", decision="undecided", effect=0.02, low=-0.02, high=0.06)
    other = replace(FOUND, attack="pgd linf", effect=0.99)
    (one,) = answer.said([*BLACK, *WHITE], [FOUND, white, other])
    assert one.lines[0].endswith("H2 is supported: +21.4 points [16.9, 25.9].")
    assert one.lines[1].endswith("H1 is undecided: +2.0 points [-2.0, 6.0].")
    (one,) = answer.said(BLACK, [FOUND], quoted=True)
    assert one.lines[0].endswith(
        'H2 ("Black-box accuracy is lower with FineTune") is supported: +21.4 points [16.9, 25.9].'
    )


def test_each_number_of_labels_has_its_own_finding() -> None:
    many = [replace(row, cell=replace(row.cell, target_images=1197)) for row in BLACK]
    pair = "src → tgt"
    found = [
        replace(FOUND, effect=0.9),
        replace(FOUND, pair=pair, effect=0.8),
        replace(FOUND, pair=pair, labels="50 labels", effect=0.5),
        replace(FOUND, pair=pair, labels="all labels", effect=0.1, decision="refuted"),
    ]
    first, second = answer.said([*BLACK, *many], found)
    assert "+50.0 points" in first.lines[0]
    assert "H2 is refuted: +10.0 points" in second.lines[0]
    printed = answer.lines([*BLACK, *many], found, 5)
    assert printed[0].startswith("fgsm linf, 50 labels, black box at eps 32/255: finetune falls")
    assert printed[1].startswith("fgsm linf, all labels, black box at eps 32/255: finetune falls")
    assert answer.lines([*BLACK, *many], [], 5)[1].startswith("fgsm linf, 1197 labels, black box")


def test_several_pairs_are_named_and_summed_up() -> None:
    other = [replace(row, cell=replace(row.cell, source="svhn")) for row in BLACK]
    pairs = [replace(FOUND, pair="src → tgt"), replace(FOUND, pair="svhn → tgt", effect=0.1), FOUND]
    secondary = replace(FOUND, claim="H3", family="secondary")
    printed = answer.lines([*BLACK, *other], [*pairs, secondary], 5)
    assert printed[0] == "Over all pairs, fgsm linf: H2 is supported: +21.4 points [16.9, 25.9]."
    assert printed[1].startswith("src → tgt, fgsm linf, black box at")
    assert "+10.0 points" in printed[2]
    assert len(printed) == 3


def test_a_finding_over_several_pairs_does_not_speak_for_one() -> None:
    other = [replace(row, cell=replace(row.cell, source="svhn")) for row in BLACK]
    found = [FOUND, replace(FOUND, claim="H3", pair="src → tgt"), replace(FOUND, claim="H3", pair="svhn → tgt")]
    assert not any("H2" in line for one in answer.said([*BLACK, *other], found) for line in one.lines)


@pytest.mark.parametrize(
    "finding", [replace(FOUND, decision="not judged", effect=math.nan), replace(FOUND, effect=math.nan)]
)
def test_what_could_not_be_judged_is_not_told_as_found(finding: Finding) -> None:
    printed = answer.lines(BLACK, [finding], 1)
    assert not any("H2" in line for line in printed)
    assert printed[-1] == answer.FEW_SEEDS
    assert "axes.seed=[0,1,2,3,4]" in answer.FEW_SEEDS
    assert answer.FEW_SEEDS not in answer.lines(BLACK, [finding], 3)
    assert answer.FEW_SEEDS not in answer.lines(BLACK, [FOUND], 1)  # judged all the same: its reason is another


def test_numbers_that_are_not_green_say_so() -> None:
    red = [*BLACK[:3], *rows("finetune", (0.81, 0.7, 0.04), trust="red")]
    printed = answer.lines(red, [], 2)
    assert "finetune falls from 81.0 % to 4.0 % [2.0, 6.0] (red) and scratch" in printed[0]
    assert printed[1] == "Some of these numbers are red: see Trust."


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ((0.6, 0.58, 0.54), "Black box at eps 32/255: scratch falls from 60.0 % to 54.0 % [52.0, 56.0]."),
        ((0.6, 0.6, 0.6), "Black box at eps 32/255: scratch stays at 60.0 % [58.0, 62.0]."),
        ((0.6,), "Black box at eps 0: scratch keeps 60.0 % [58.0, 62.0]."),
        ((math.nan, 0.5, 0.4), "Black box at eps 32/255: scratch keeps 40.0 % [38.0, 42.0]."),
        ((0.6, 0.5, math.nan), "Black box at eps 8/255: scratch falls from 60.0 % to 50.0 % [48.0, 52.0]."),
    ],
)
def test_one_strategy_and_odd_curves(values: tuple[float, ...], text: str) -> None:
    (one,) = answer.said(rows("scratch", values))
    assert one.lines == [text]


def test_an_interval_that_is_not_known_is_not_invented() -> None:
    unknown = [replace(row, low=math.nan, high=math.nan) for row in rows("scratch", (0.6, 0.5, 0.4))]
    assert answer.said(unknown)[0].lines == ["Black box at eps 32/255: scratch falls from 60.0 % to 40.0 % [n/a]."]


def test_nothing_to_say() -> None:
    assert answer.lines([], [], 1) == []
    assert answer.said(rows("scratch", (math.nan,) * 3)) == []
    assert answer.lines(rows("scratch", (math.nan,) * 3), [], 3) == []


def test_a_large_bench_is_told_in_nine_lines() -> None:
    many = [
        replace(row, trust="amber", cell=replace(row.cell, source=f"s{i}", attack=attack))
        for attack in ("fgsm", "pgd")
        for i in range(9)
        for row in [*BLACK, *WHITE]
    ]
    printed = answer.lines(many, [replace(FOUND, pair=f"s{i} → tgt") for i in range(9)] + [FOUND], 1)
    assert len(printed) == 9
    assert printed[-2] == "15 more pairs, attacks or numbers of labels: see the report."


def test_the_report_opens_with_it(tmp_path) -> None:
    page, text = (
        path.read_text("utf-8")
        for path in report.write(Views(
            tmp_path, "bench", [], [*BLACK, *WHITE], failures=[{"node": "b", "cause": "x"}], findings=[FOUND],
            notes=["The classes <x> are left out."], when="2026-11-26",
        ))
    )  # fmt: skip
    order = [
        "Bench bench, run of 2026-11-26.", ">The answer</h2>", "finetune falls from 81.0 %",
        "A is the public source model", "since they failed: see Failures", "The classes &lt;x&gt; are left out.",
        'data-panel="0"', ">Failures</h2>", ">Claims</h2>",
    ]  # fmt: skip
    places = [page.index(part) for part in order]
    assert places == sorted(places)
    assert ">Accuracy under attack</h2>" not in page  # its charts stand beside the answer
    assert page.count('data-panel="') == 2
    assert "- The classes \\<x> are left out." in text
    assert (
        text.index("finetune falls from")
        < text.index("![Accuracy under attack over eps](curves.svg)")
        < text.index("## Claims")
    )
    assert (tmp_path / "curves.svg").read_bytes().startswith(b"<svg")


def test_of_many_strategies_the_ends_are_told() -> None:
    many = [rows(f"finetune(blocks={count})", (0.9, 0.8, 0.1 * count)) for count in range(8)]
    (one,) = answer.said([row for curve in many for row in curve])
    (line,) = one.lines
    assert [count for count in range(8) if f"finetune(blocks={count})" in line] == [0, 1, 2, 5, 6, 7]
    assert line.endswith("; 2 more lie between.")
    (one,) = answer.said([row for curve in many[:7] for row in curve])
    assert one.lines[0].endswith("; 1 more lies between.")
    (one,) = answer.said([row for curve in many[:6] for row in curve])
    assert "between" not in one.lines[0]
