"""Claims about defenses on made records: each is supported, refuted, undecided and not judged somewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from tests.claims.made import EPS, SAMPLES, Counts, around, outcome
from tl_robust.claims import Comparisons, Finding, decide
from tl_robust.claims.defended import LINEAGE, removed
from tl_robust.types import Cell, Level, Result, Verdict, View

BARE = [190, 120, 80]  # of 200 right on clean images and at two eps: 45 % lost on the mean
KEPT, HALFWAY, LOST = [190, 180, 170], [190, 160, 130], [190, 130, 90]  # 7.5, 22.5 and 40 % lost
FALLING, RISING = [[190, 175, 165], [190, 160, 130], [190, 145, 95]], [[190, 145, 95], [190, 160, 130], [190, 175, 165]]


def ran(
    view: View,
    counts: Mapping[str, Sequence[int] | Counts],
    *,
    strategy: str = "finetune",
    attack: str = "pgd",
    pair: str = "mnist-usps",
    levels: Mapping[tuple[str, int], Level] | None = None,
) -> list[Result]:
    """One result for each defense and seed; single counts are those of the middle of three seeds."""
    source, target = pair.split("-")
    found = []
    for defense, given in counts.items():
        by_seed: Counts = given if isinstance(given[0], Sequence) else around(given)  # type: ignore[assignment,arg-type]
        for seed, right in enumerate(by_seed):
            key = f"{pair}{strategy}{defense}{attack}{view}{seed}"
            cell = Cell("b", source, target, "dtn", strategy, "", defense, attack, "linf", view, seed, 100)
            verdict = Verdict((levels or {}).get((defense, seed), "green"))
            made = {"victim": {"key": key, "space": "digits"}}
            found.append(Result(key, cell, outcome(right, [190, 20, 20], EPS), {}, {}, verdict, made))
    return found


def said(finds: Sequence[Result], attack: str = "pgd linf") -> dict[str, Finding]:
    """Findings over all pairs."""
    return {one.claim: one for one in decide(finds) if not one.pair and one.attack == attack}


def lost(right: Sequence[int]) -> float:
    """Mean over eps of the accuracy that an attack costs."""
    return sum(right[0] - count for count in right[1:]) / (len(right) - 1) / SAMPLES


def lineage(others: Sequence[int], **changed: Sequence[int] | Counts) -> dict[str, Sequence[int] | Counts]:
    """The undefended victim, and all four defenses that break the lineage."""
    return {"none": BARE} | dict.fromkeys(LINEAGE, others) | changed


# D1 and D2: the lineage is broken

BROKEN: list[tuple[str, View]] = [("D1", "black"), ("D2", "shadow")]


@pytest.mark.parametrize(("claim", "view"), BROKEN)
@pytest.mark.parametrize("worst", LINEAGE)
def test_a_broken_lineage_must_save_more_than_half_of_what_is_lost(claim: str, view: View, worst: str) -> None:
    for right, decision in ((KEPT, "supported"), (LOST, "refuted")):
        one = said(ran(view, lineage(KEPT, **{worst: right})))[claim]
        assert one.decision == decision
        assert one.effect == pytest.approx(lost(BARE) / 2 - lost(right))
        assert (one.unit, one.seeds, one.n, one.family) == ("share", 3, SAMPLES, "secondary")
    name = f"half of what finetune loses in the view {view} less what finetune with defense {worst} loses"
    assert one.reason.startswith(f"The weakest of 4 parts, {name}")


@pytest.mark.parametrize(("claim", "view"), BROKEN)
def test_half_of_it_decides_nothing(claim: str, view: View) -> None:
    one = said(ran(view, lineage(KEPT, reset=HALFWAY)))[claim]
    assert one.decision == "undecided"
    assert one.effect == pytest.approx(0)
    one = said(ran(view, lineage(KEPT, reset=FALLING)))[claim]
    assert one.decision == "undecided", "seeds that disagree"


def test_each_view_decides_its_own_claim() -> None:
    ledger = said([*ran("black", lineage(KEPT)), *ran("shadow", lineage(LOST))])
    assert (ledger["D1"].decision, ledger["D2"].decision) == ("supported", "refuted")


def test_what_is_lost_counts_and_not_what_is_left() -> None:
    """A clean accuracy that is 50 points lower is no weakness against A."""
    one = said(ran("black", lineage(KEPT, distill=[90, 80, 70])))["D1"]
    assert one.decision == "supported"
    assert one.effect == pytest.approx(lost(BARE) / 2 - lost(KEPT))


def test_samples_and_seeds_are_paired() -> None:
    """Half of a loss that moves with the seeds, less a loss that moves half as much, does not move at all."""
    bare = [[190, 190 - 2 * each, 190 - 2 * each] for each in (40, 50, 60)]
    own = [[190, 190 - each, 190 - each] for each in (20, 30, 40)]
    finds = ran("black", {"none": bare} | dict.fromkeys(LINEAGE, own))
    comparisons = Comparisons(finds)
    for effect in removed(comparisons, comparisons.places[0], "black"):
        assert effect.draws[0].value == pytest.approx(20 / SAMPLES)
        assert effect.x == EPS[1:]


@pytest.mark.parametrize(("claim", "view"), BROKEN)
@pytest.mark.parametrize("missing", [*LINEAGE, "none"])
def test_a_broken_lineage_needs_all_four_and_their_twin(claim: str, view: View, missing: str) -> None:
    counts = {name: right for name, right in lineage(KEPT).items() if name != missing}
    names = " and ".join(LINEAGE) if missing == "none" else missing
    assert said(ran(view, counts))[claim].reason == (
        f"It needs fine-tuned victims with defense {names} and without any, in the view {view} "
        f"(axes.strategy=[finetune], axes.defense=[none,distill,private_origin,reset,renofeation], axes.view=[{view}])."
    )
    assert said(ran(view, counts))[claim].decision == "not judged"


@pytest.mark.parametrize(
    "other",
    ["distill(start=parent)", "distill(weight=0.0)", "distill(robust=True)", "distill + mahalanobis", "squeeze"],
)
def test_what_does_not_break_the_lineage_alone_does_not_count(other: str) -> None:
    counts = lineage(KEPT) | {other: LOST}
    assert said(ran("black", counts))["D1"].decision == "supported"
    del counts["distill"]
    assert said(ran("black", counts))["D1"].reason.startswith("It needs fine-tuned victims with defense distill and")


def test_every_setting_counts_beside_the_same_way_of_fine_tuning() -> None:
    one = said(ran("black", lineage(KEPT, **{"reset(blocks=3)": LOST})))["D1"]
    assert one.decision == "refuted"
    assert "The weakest of 5 parts" in one.reason
    probe = "finetune(mode=probe)"
    for right, decision in ((KEPT, "refuted"), ([190, 188, 188], "supported")):  # beside a probe that loses 7.5 %
        finds = [*ran("black", lineage(KEPT)), *ran("black", {"none": KEPT, "reset": right}, strategy=probe)]
        assert said(finds)["D1"].decision == decision
    scratch = [*ran("black", lineage(KEPT)), *ran("black", {"none": BARE, "distill": LOST}, strategy="scratch")]
    assert said(scratch)["D1"].decision == "supported", "scratch has no lineage to break"


def test_there_must_be_a_weakness() -> None:
    for last, judged in ((182, False), (178, True)):  # 4 and 6 points
        one = said(ran("black", {"none": [190, last, last]} | dict.fromkeys(LINEAGE, KEPT)))["D1"]
        assert (one.decision != "not judged") == judged
    one = said(ran("black", {"none": [190, 182, 182]} | dict.fromkeys(LINEAGE, KEPT)))["D1"]
    assert one.reason == "There is no weakness to remove: finetune loses less than 5 points of accuracy there."


# D3: adversarial training

TRAINED = ("pgd_at", "fgsm_rs", "trades")


def both(white: Sequence[int] | Counts, black: Sequence[int] | Counts, defense: str = "pgd_at") -> list[Result]:
    bare = [190, 80, 20]
    return [*ran("white", {"none": bare, defense: white}), *ran("black", {"none": BARE, defense: black})]


@pytest.mark.parametrize("defense", TRAINED)
def test_adversarial_training_must_help_in_both_views_and_cost_little(defense: str) -> None:
    good = both([190, 160, 120], KEPT, defense)
    one = said(good)["D3"]
    assert one.decision == "supported"
    assert one.effect == pytest.approx(0.03), "the weakest part: clean accuracy is as before"
    assert f"3 points less the clean accuracy that finetune with defense {defense} costs" in one.reason
    white, black = [190, 60, 10], [190, 90, 50]
    for worse, effect in (
        (both(white, KEPT, defense), -15 / SAMPLES),
        (both([190, 160, 120], black, defense), -30 / SAMPLES),
        (both([170, 160, 120], [170, 160, 150], defense), 0.03 - 20 / SAMPLES),
    ):
        one = said(worse)["D3"]
        assert one.decision == "refuted"
        assert one.effect == pytest.approx(effect)


@pytest.mark.parametrize(
    ("white", "black"),
    [
        ([190, 80, 20], KEPT),
        ([190, 160, 120], BARE),
        ([184, 160, 120], [184, 170, 160]),  # 3 points
    ],
)
def test_no_gain_or_a_cost_of_3_points_decides_nothing(white: Sequence[int], black: Sequence[int]) -> None:
    one = said(both(white, black))["D3"]
    assert one.decision == "undecided"
    assert one.effect == pytest.approx(0)


def test_all_kinds_of_adversarial_training_that_there_are_must_help() -> None:
    finds = [*both([190, 160, 120], KEPT), *both([190, 160, 120], [190, 90, 50], "trades(beta=6.0)")]
    unique = list({one.key: one for one in finds}.values())
    one = said(unique)["D3"]
    assert one.decision == "refuted"
    assert one.reason.startswith("The weakest of 6 parts, black box robust_accuracy, finetune with defense trades")


@pytest.mark.parametrize("views", [("white",), ("black",), ()])
def test_adversarial_training_needs_both_views(views: Sequence[str]) -> None:
    finds = [one for one in both([190, 160, 120], KEPT) if one.cell.view in views or one.cell.defense == "none"]
    assert said(finds)["D3"].reason == (
        "It needs fine-tuned victims with defense pgd_at or fgsm_rs or trades and without any, in the view white and "
        "black (axes.strategy=[finetune], axes.defense=[none,pgd_at], axes.view=[white,black])."
    )


def test_a_robust_origin_or_a_composition_is_no_adversarial_training_of_b() -> None:
    for other in ("robust_origin", "robust_origin + pgd_at", "pgd_at + squeeze", "origin_at"):
        assert said(both([190, 160, 120], KEPT, other))["D3"].decision == "not judged"


# D4: against A alone


@pytest.mark.parametrize(
    ("own", "decision", "effect"),
    [
        ([190, 40, 5], "supported", 55 / 2),
        ([190, 130, 60], "refuted", -45),
        ([190, 80, 20], "undecided", 0),
        ([[190, 60, 0], [190, 80, 20], [190, 100, 40]], "undecided", 0),
    ],
)
def test_what_training_on_the_examples_of_a_costs_in_the_white_box(
    own: Sequence[int] | Counts, decision: str, effect: float
) -> None:
    one = said(ran("white", {"none": [190, 80, 20], "origin_at": own, "pgd_at": [190, 160, 120]}))["D4"]
    assert one.decision == decision
    assert one.effect == pytest.approx(effect / SAMPLES)
    assert one.reason.startswith("White box robust_accuracy, finetune over finetune with defense origin_at") or (
        decision == "undecided"
    )


def test_against_a_alone_needs_the_white_box() -> None:
    assert said(ran("black", {"none": BARE, "origin_at": KEPT}))["D4"].reason == (
        "It needs fine-tuned victims with defense origin_at and without any, in the view white "
        "(axes.strategy=[finetune], axes.defense=[none,origin_at], axes.view=[white])."
    )
    assert said(ran("white", {"none": BARE, "origin_at + squeeze": KEPT}))["D4"].decision == "not judged"


# what holds for all of them

EVERYTHING = [
    *ran("black", lineage(KEPT) | {"pgd_at": KEPT, "origin_at": KEPT}),
    *ran("shadow", lineage(LOST)),
    *ran("white", {"none": [190, 80, 20], "pgd_at": [190, 160, 120], "origin_at": [190, 20, 5]}),
]


def test_a_bench_of_defenses_decides_all_four() -> None:
    ledger = said(EVERYTHING)
    assert {name: ledger[name].decision for name in ("D1", "D2", "D3", "D4")} == {
        "D1": "supported", "D2": "refuted", "D3": "supported", "D4": "supported",
    }  # fmt: skip
    assert {one.decision for name, one in ledger.items() if name[0] == "H"} == {"not judged"}
    assert list(ledger)[-4:] == ["D1", "D2", "D3", "D4"], "behind what evasion itself is about"
    assert {one.threat for one in ledger.values()} == {"evasion"}


def test_a_bench_without_defenses_says_what_to_add() -> None:
    ledger = said([*ran("black", {"none": BARE}), *ran("black", {"none": KEPT}, strategy="scratch")])
    for name in ("D1", "D2", "D3", "D4"):
        assert ledger[name].decision == "not judged"
        assert "axes.defense=[none," in ledger[name].reason
    assert ledger["H2"].decision == "supported"


def test_red_cells_of_defenses_are_never_used() -> None:
    for claim, view, defense in (("D1", "black", "reset"), ("D2", "shadow", "distill"), ("D3", "white", "pgd_at")):
        finds = [
            replace(one, verdict=Verdict("red"))
            if (one.cell.view, one.cell.defense, one.cell.seed) == (view, defense, 1)
            else one
            for one in EVERYTHING
        ]
        ledger = said(finds)
        assert ledger[claim].decision == "not judged"
        assert "1 of its cells are red" in ledger[claim].reason
        assert ledger["D4"].decision == "supported"


@pytest.mark.parametrize("count", [1, 2])
def test_fewer_than_three_seeds_decide_no_defense(count: int) -> None:
    ledger = said([one for one in EVERYTHING if one.cell.seed < count])
    assert {ledger[name].decision for name in ("D1", "D2", "D3", "D4")} == {"not judged"}
    assert "at least three seeds" in ledger["D1"].reason


def test_pairs_are_pooled_by_defense() -> None:
    other = [*ran("black", lineage(LOST), pair="svhn-mnist")]
    ledger = decide([*ran("black", lineage(KEPT)), *other])
    by_pair = {one.pair: one.decision for one in ledger if one.claim == "D1"}
    assert by_pair == {"": "undecided", "mnist → usps": "supported", "svhn → mnist": "refuted"}
