"""Claims about backdoors on made records: each is supported, refuted, undecided and not judged somewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from tests.claims import made
from tests.claims.stamped import EPOCHS, OTHERS, around, results, stamped
from tl_robust.claims import CLAIMS, Comparisons, Finding, Side, decide
from tl_robust.claims.victims import settings_of
from tl_robust.metrics import METRICS
from tl_robust.metrics.estimate import holm
from tl_robust.types import Result

SLOW, PROBE, BLOCKS = "finetune(lr=0.001)", "finetune(mode=probe)", "finetune(blocks=2)"
DIES, HALF, LIVES = [100, 20, 0], [150, 90, 50], [200, 200, 196]  # of 200, after epochs 1, 4 and 10
SEEDS = [[200, 120, 60, 10], [200, 90, 50, 10], [200, 60, 40, 10]]
OPPOSITE = SEEDS[::-1]  # where one is high, the other is low


def found(finds: Sequence[Result[Any]], attack: str = "patch") -> dict[str, Finding]:
    """Findings over all pairs."""
    return {one.claim: one for one in decide(finds) if not one.pair and one.attack == attack}


def decision(claim: str, finds: Sequence[Result[Any]], attack: str = "patch") -> str:
    return found(finds, attack)[claim].decision


def victims(**hits: Sequence[int]) -> dict[str, Any]:
    names = {"full": "finetune", "slow": SLOW, "probe": PROBE, "blocks": BLOCKS}
    return {names[name]: around(counts) for name, counts in hits.items()}


# B1 and B7: gone after the last epoch


@pytest.mark.parametrize(("claim", "way"), [("B1", "full"), ("B7", "slow")])
@pytest.mark.parametrize(
    ("last", "said"), [(0, "supported"), (2, "supported"), (10, "undecided"), (48, "refuted"), (200, "refuted")]
)
def test_fine_tuning_removes_what_is_below_5_points_at_its_end(claim: str, way: str, last: int, said: str) -> None:
    finds = results(victims(**{"full": DIES, way: [200, 150, last]}))
    one = found(finds)[claim]
    assert one.decision == said
    assert one.effect == pytest.approx(0.05 - sum(hits[-1] for hits in around([last])) / 3 / OTHERS)
    assert one.unit == "share"
    if last == 48:
        strategy = "finetune" if way == "full" else SLOW
        assert one.reason == f"5 points less the lift after the last epoch, {strategy}."


def test_only_the_last_epoch_counts_for_what_is_gone() -> None:
    assert decision("B1", results(victims(full=[200, 200, 0]))) == "supported"
    assert decision("B1", results(victims(full=[0, 0, 200]))) == "refuted"


def test_what_the_trigger_does_to_the_clean_twin_does_not_count() -> None:
    for last, said in ((150, "supported"), (100, "refuted")):
        one = found(results(victims(full=[200, 200, 150]), twin=(0, 0, 0, last)))["B1"]
        assert one.decision == said
        assert one.effect == pytest.approx(0.05 - (150 - last) / OTHERS)
    alone = [replace(one, beside={}) for one in EVERYTHING]
    assert {one.reason for one in decide(alone) if one.claim in ("B1", "B2", "B3", "B7")} == {
        "Lift needs the record 'twin' beside its own."
    }
    assert {one.decision for one in decide(alone)} == {"not judged"}


def test_a_higher_learning_rate_is_no_lower_one() -> None:
    finds = results({"finetune": around(HALF), "finetune(lr=0.05)": around(DIES)})
    ledger = found(finds)
    assert ledger["B7"].reason.startswith("It needs a lower learning rate")
    assert ledger["B3"].decision == "supported", "the recipe's is the lower of the two"
    unknown = found(results(victims(full=DIES, slow=LIVES), lr=None))
    for claim in ("B3", "B7"):
        assert unknown[claim].reason == "The learning rate of strategy finetune is not known here."
    assert unknown["B1"].decision == "supported"


# B2 and B3: one victim over another


@pytest.mark.parametrize(("claim", "way"), [("B2", "probe"), ("B2", "blocks"), ("B3", "slow")])
def test_what_keeps_more_of_a_backdoor(claim: str, way: str) -> None:
    name = {"probe": PROBE, "blocks": BLOCKS, "slow": SLOW}[way]
    for more, less, said in ((LIVES, DIES, "supported"), (DIES, HALF, "refuted")):
        one = found(results(victims(**{"full": less, way: more})))[claim]
        assert one.decision == said
        both = [sum(sum(hits[1:]) for hits in around(counts)) / 9 for counts in (more, less)]
        assert one.effect == pytest.approx((both[0] - both[1]) / OTHERS)
        assert one.reason.startswith(f"Lift, {name} over finetune: ")
    assert one.reason.endswith("-35.0 points at epochs 4 to -24.7 points at epochs 10.")
    assert decision(claim, results({"finetune": SEEDS, name: OPPOSITE})) == "undecided"
    assert decision(claim, results(victims(full=DIES))) == "not judged"


def test_every_frozen_part_must_keep_it() -> None:
    ledger = found(results(victims(full=HALF, probe=LIVES, blocks=DIES)))
    assert ledger["B2"].decision == "refuted"
    assert ledger["B2"].reason.startswith(f"The weakest of 2 parts, lift, {BLOCKS} over finetune")
    assert decision("B2", results(victims(full=DIES, probe=LIVES, blocks=HALF))) == "supported"


def test_only_what_differs_in_nothing_else_is_compared() -> None:
    ways = {
        "finetune": around(DIES),
        "finetune(classifier=fresh, mode=probe)": around(LIVES),
        "finetune(lr=0.001, mode=probe)": around(LIVES),
        "common_init": around(DIES),
    }
    ledger = found(results(ways))
    assert ledger["B2"].reason.startswith("It needs full fine-tuning and a frozen part")
    assert ledger["B3"].reason.startswith("It needs two learning rates")
    assert ledger["B7"].reason.startswith("It needs a lower learning rate"), "that of a probe is another thing"
    fresh = found(results(ways | {"finetune(classifier=fresh)": around(DIES)}))["B2"]
    assert fresh.decision == "supported"
    assert "finetune(classifier=fresh, mode=probe) over finetune(classifier=fresh)" in fresh.reason


def test_defended_victims_are_not_among_them() -> None:
    finds = [
        *results(victims(full=DIES)),
        *results(victims(probe=LIVES, slow=LIVES), defense="distill"),
    ]
    ledger = found(finds)
    assert ledger["B2"].reason.startswith("It needs full fine-tuning and a frozen part")
    assert ledger["B3"].reason.startswith("It needs two learning rates")
    assert ledger["B1"].decision == "supported"


def test_three_learning_rates_are_compared_one_by_one() -> None:
    ways = {"finetune(lr=0.001)": around(HALF), "finetune(lr=0.0001)": around(LIVES), "finetune": around(DIES)}
    names = [effect.name for effect in _effects("B3", results(ways))]
    assert names == ["lift, finetune(lr=0.0001) over finetune(lr=0.001)", "lift, finetune(lr=0.001) over finetune"]


# B4: rates of poison


def rates(low: Any, high: Any, **more: Any) -> list[Result[Any]]:
    return [
        *results({"finetune": high}, attack="patch(target=0)", **more),
        *results({"finetune": low}, attack="patch(rate=0.05, target=0)", rate=0.05, **more),
    ]


RARE = "patch(rate=0.05, target=0)"


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (around(HALF), around(DIES), "supported"),
        (around(DIES), around(HALF), "refuted"),
        (SEEDS, OPPOSITE, "undecided"),
    ],
)
def test_two_rates_of_poison_are_compared(low: Any, high: Any, said: str) -> None:
    finds = rates(low, high)
    ledger = decide(finds)
    (one,) = (one for one in ledger if one.claim == "B4" and not one.pair)
    assert (one.decision, one.attack) == (said, RARE), "said once, at the lower rate"
    assert one.reason.startswith("Lift with finetune, a poison rate of 0.05 over 0.1: ")
    assert one.effect == pytest.approx(sum(sum(a[1:]) - sum(b[1:]) for a, b in zip(low, high, strict=True)) / 9 / 200)


def test_rates_of_other_triggers_are_not_compared() -> None:
    finds = [
        *results(victims(full=DIES), attack="patch"),
        *results(victims(full=HALF), attack="patch(rate=0.05, side=3)", rate=0.05),
    ]
    reason = "It needs two poison rates of a trigger (axes.attack=[patch,{name: patch, rate: 0.05}])."
    assert {one.reason for one in decide(finds) if one.claim == "B4"} == {reason}
    beside = [*rates(around(HALF), around(DIES)), *results(victims(full=DIES), attack="blend")]
    assert "B4" not in found(beside, "blend"), "it is said for the trigger that has two"
    poisoned_target = results(victims(full=DIES), attack="warp", view="target")
    mixed = [one for one in decide([*beside, *poisoned_target]) if one.claim == "B4" and not one.pair]
    assert [(one.decision, one.attack) for one in mixed] == [("supported", RARE), ("not judged", "warp")]


# B5: distillation


def repaired(left: Sequence[int], *, before: Sequence[int] = LIVES, how: str = "distill") -> list[Result[Any]]:
    return [*results(victims(probe=before)), *results(victims(probe=left), defense=how)]


@pytest.mark.parametrize(
    ("left", "said"), [([0, 0, 0], "supported"), ([0, 0, 200], "refuted"), ([0, 0, 10], "undecided")]
)
def test_distillation_removes_what_fine_tuning_left(left: Sequence[int], said: str) -> None:
    one = found(repaired(left))["B5"]
    assert one.decision == said
    if said == "refuted":
        assert one.reason == f"5 points less the lift after the last epoch, {PROBE} with defense distill."


def test_distillation_into_fresh_weights_alone_counts_and_where_there_is_something_to_remove() -> None:
    needs = "It needs distillation (axes.defense=[none,distill])."
    for how in ("distill(start=parent)", "distill(weight=0.0)", "squeeze", "distill + squeeze"):
        assert found(repaired([0, 0, 0], how=how))["B5"].reason == needs
    assert decision("B5", repaired([0, 0, 0], how="distill(temperature=2.0)")) == "supported"
    nothing = found(repaired([0, 0, 0], before=[0, 0, 0]))["B5"]
    assert nothing.reason == "No backdoor was left to remove: without a defense all lifts are below 5 points."
    full = [*repaired([0, 0, 0]), *results(victims(full=DIES)), *results(victims(full=LIVES), defense="distill")]
    assert decision("B5", full) == "supported", "of full fine-tuning nothing was left to remove"
    alone = [one for one in repaired([0, 0, 0]) if one.cell.defense != "none"]
    assert found(alone)["B5"].reason == f"It needs strategy {PROBE} in the view 'source'."


# B6: two triggers


@pytest.mark.parametrize(
    ("blend", "patch", "said"),
    [
        (around(DIES), around(HALF), "supported"),
        (around(HALF), around(DIES), "refuted"),
        (SEEDS, OPPOSITE, "undecided"),
    ],
)
def test_a_blend_beside_a_patch(blend: Any, patch: Any, said: str) -> None:
    finds = [
        *results({"finetune": patch}, attack="patch(target=0)"),
        *results({"finetune": blend}, attack="blend(target=0)"),
    ]
    ledger = [one for one in decide(finds) if one.claim == "B6" and not one.pair]
    assert [(one.decision, one.attack) for one in ledger] == [(said, "blend(target=0)")]
    assert ledger[0].reason.startswith("Lift with finetune, patch(target=0) over blend: ")
    gap = sum(sum(a[1:]) - sum(b[1:]) for a, b in zip(patch, blend, strict=True)) / 9 / OTHERS
    assert ledger[0].effect == pytest.approx(gap)


@pytest.mark.parametrize("other", ["patch(rate=0.05)", "patch(target=3)", "patch(labels=clean)", "warp"])
def test_a_blend_needs_a_patch_of_the_same_poison(other: str) -> None:
    finds = [*results(victims(full=DIES), attack="blend"), *results(victims(full=HALF), attack=other)]
    reason = "It needs a patch and a blend of the same poison rate (axes.attack=[patch,blend])."
    assert found(finds, "blend")["B6"].reason == reason
    assert "B6" not in found(finds, other)
    assert found(results(victims(full=DIES)))["B6"].reason == reason


# what holds for all of them


EVERYTHING = [
    *results(victims(full=DIES, slow=LIVES, probe=LIVES, blocks=HALF), attack="blend"),
    *results(victims(full=HALF, slow=LIVES, probe=LIVES, blocks=LIVES)),
    *results(victims(full=DIES, slow=LIVES, probe=LIVES, blocks=LIVES), attack="patch(rate=0.05)", rate=0.05),
    *results(victims(full=[0, 0, 0], probe=[0, 0, 0]), defense="distill"),
]
SAID = {
    "patch": {"B1": "refuted", "B2": "supported", "B3": "supported", "B5": "supported", "B7": "refuted"},
    "patch(rate=0.05)": {
        "B1": "supported", "B2": "supported", "B3": "supported", "B4": "refuted", "B5": "not judged", "B7": "refuted",
    },
    "blend": {
        "B1": "supported", "B2": "supported", "B3": "supported", "B5": "not judged", "B6": "supported",
        "B7": "refuted",
    },
}  # fmt: skip


def test_a_bench_decides_all_of_them() -> None:
    for attack, said in SAID.items():
        assert {name: one.decision for name, one in found(EVERYTHING, attack).items()} == said
    assert {one.threat for one in decide(EVERYTHING)} == {"backdoor"}


def test_b1_to_b3_are_a_family_of_their_own() -> None:
    ledger = found(EVERYTHING)
    assert {name for name, one in ledger.items() if one.family == "primary"} == {"B1", "B2", "B3"}
    near = results({"finetune": SEEDS, SLOW: around(HALF), PROBE: around([160, 110, 60])})
    alone = {name: _alone(name, near) for name in ("B1", "B2", "B3", "B7")}
    corrected = found(near)
    assert [corrected[name].p for name in ("B1", "B2", "B3")] == pytest.approx(
        holm([alone[name] for name in ("B1", "B2", "B3")])
    )
    assert corrected["B7"].p == pytest.approx(alone["B7"])


@pytest.mark.parametrize("count", [1, 2])
def test_fewer_than_three_seeds_are_not_judged(count: int) -> None:
    few = [one for one in EVERYTHING if one.cell.seed < count]
    for attack in SAID:
        assert {one.decision for one in found(few, attack).values()} == {"not judged"}
    assert "better five" in found(few)["B1"].reason


def test_red_cells_of_backdoors_are_never_used() -> None:
    ways = victims(full=DIES, slow=LIVES, probe=LIVES)
    ledger = found(results(ways, levels={(PROBE, 1): "red"}))
    assert ledger["B2"].decision == "not judged"
    assert "1 of its cells are red" in ledger["B2"].reason
    assert ledger["B3"].decision == "supported"
    assert decision("B2", results(ways, levels={(PROBE, 1): "amber"})) == "supported"
    both = [
        *results(victims(full=HALF), attack="patch(target=0)", levels={("finetune", 0): "red"}),
        *results(victims(full=DIES), attack="blend(target=0)"),
    ]
    assert "patch(target=0)" in found(both, "blend(target=0)")["B6"].reason


@pytest.mark.parametrize("view", ["target", "common"])
def test_they_speak_of_a_poisoned_pre_training_alone(view: str) -> None:
    elsewhere = [replace(one, cell=replace(one.cell, view=view)) for one in EVERYTHING]
    assert {one.decision for one in decide(elsewhere)} == {"not judged"}
    assert found(elsewhere)["B2"].reason == ("It needs victims fine-tuned from a poisoned public model (into: source).")
    assert repr(list(decide([*EVERYTHING, *elsewhere]))) == repr(list(decide(EVERYTHING)))


def test_epoch_0_is_what_fine_tuning_starts_from() -> None:
    early = [[0, *hits[1:]] for hits in around(LIVES)]
    ledger = found(results({"finetune": around(DIES), PROBE: early}))
    assert ledger["B2"].decision == "supported"
    assert ledger["B2"].effect == found(results(victims(full=DIES, probe=LIVES)))["B2"].effect
    nothing = results({"finetune": [[200]] * 3, PROBE: [[200]] * 3}, epochs=(0.0,), twin=(0,))
    assert found(nothing)["B2"].reason == "Lift is known well enough at no epochs."
    assert found(nothing)["B1"].decision == "not judged"


def test_curves_of_other_epochs_are_not_compared() -> None:
    finds = [
        *results(victims(full=DIES)),
        *results({PROBE: [hits[:3] for hits in around(LIVES)]}, epochs=EPOCHS[:3], twin=(0, 0, 0)),
    ]
    reason = f"{PROBE} and finetune were judged on other samples, seeds or epochs."
    assert found(finds)["B2"].reason == reason[:1].upper() + reason[1:]
    uneven = results(victims(full=DIES))
    uneven[0] = replace(uneven[0], outcome=stamped([200, 0, 0, 0], epochs=(0.0, 1.0, 2.0, 3.0)))
    assert found(uneven)["B1"].reason == "Its seeds were judged on other samples or epochs."


def test_curves_that_cross_say_so_in_epochs() -> None:
    crossed = found(results(victims(full=[200, 100, 10], probe=[150, 150, 150])))["B2"]
    assert crossed.decision == "undecided"
    assert crossed.reason.endswith("above 0 at epochs 4, 10, below at 1.")
    word = found(results(victims(full=[200, 100, 10], probe=[170, 160, 160])))["B2"]
    assert word.decision == "supported"
    assert word.reason.endswith("; the opposite at epochs 1, 12 % of the area between the curves.")


def test_only_eps_reads_as_a_fraction_of_255() -> None:
    finds = results(victims(full=DIES, probe=[110, 150, 190]), epochs=(0.0, 0.2, 0.4, 12345.0))
    assert found(finds)["B2"].reason.endswith(": +5.0 points at epochs 0.2 to +94.7 points at epochs 12345.")


def test_pairs_are_averaged() -> None:
    ways = victims(full=DIES, probe=LIVES)
    ledger = decide([*results(ways), *results(ways, pair="mnist5k-optdigits")])
    b1, b2 = (next(one for one in ledger if (one.claim, one.pair) == (name, "")) for name in ("B1", "B2"))
    assert (b1.decision, b2.decision) == ("supported", "supported")
    assert {one.pair for one in ledger if one.claim == "B1"} == {"", "mnist → usps", "mnist5k → optdigits"}


def test_evasion_beside_it_is_decided_as_before() -> None:
    black = {"scratch": made.around([190, 180, 170]), "finetune": made.around([190, 120, 80])}
    evasion = made.results(black, black)
    both = decide([*evasion, *EVERYTHING])
    assert repr([one for one in both if one.threat == "evasion"]) == repr(list(decide(evasion)))
    assert repr([one for one in both if one.threat == "backdoor"]) == repr(list(decide(EVERYTHING)))


# the engine beneath


def test_a_metric_of_a_whole_curve_has_one_value() -> None:
    black = {"scratch": made.around([190, 180, 170]), "finetune": made.around([190, 120, 80])}
    comparisons = Comparisons(made.results(black, black))
    effect = comparisons.compare(comparisons.places[0], "curve_area", "black", "scratch", "finetune")
    assert METRICS["curve_area"].summary
    assert (effect.each, effect.x) == (None, ())
    one = next(result for result in made.results(black, black) if result.cell.view == "black")
    assert effect.mean.value.shape == (1,)
    assert float(METRICS["curve_area"](one.outcome)) > 0
    last = comparisons.compare(comparisons.places[0], "curve_area", "black", "scratch", "finetune", last=True)
    assert float(last.mean.value) == float(effect.mean.value)


def test_the_last_x_is_the_largest_whatever_the_order() -> None:
    comparisons = Comparisons(results(victims(full=DIES, probe=LIVES)))
    place = comparisons.places[0]
    effect = comparisons.compare(place, "lift", "source", PROBE, "finetune", last=True)
    assert effect.x == (10.0,)
    assert float(effect.mean.value) == pytest.approx(
        sum(a[-1] - b[-1] for a, b in zip(around(LIVES), around(DIES), strict=True)) / 3 / OTHERS
    )


def test_what_is_below_a_bound_is_the_bound_less_the_metric() -> None:
    comparisons = Comparisons(results(victims(full=HALF)))
    place = comparisons.places[0]
    effect = comparisons.below(place, "lift", "source", "finetune", 0.3)
    means = [sum(hits[index] for hits in around(HALF)) / 3 / OTHERS for index in (1, 2, 3)]
    assert effect.each is not None
    assert effect.each.value.tolist() == pytest.approx([0.3 - value for value in means])
    assert effect.name == "lift below 0.3, finetune"
    level, _ = comparisons._side(place, Side("finetune"), "source", "lift")
    (draws,) = effect.draws
    assert draws.again.allclose(0.3 - level.again[..., 1:])
    assert draws.unseen.equal(level.unseen.flip(1)[..., 1:])


def test_texts_of_components() -> None:
    assert settings_of("finetune", "finetune") == {}
    assert settings_of("finetune(lr=0.001, mode=probe)", "finetune") == {"lr": 0.001, "mode": "probe"}
    for stranger in ("scratch", "finetune(", "finetune + finetune", "", "none"):
        assert settings_of(stranger, "finetune") is None


def _effects(claim: str, finds: Sequence[Result[Any]]) -> Sequence[Any]:
    comparisons = Comparisons(finds)
    made_claim = next(CLAIMS[name] for name in CLAIMS.names() if CLAIMS[name].id == claim)
    assert made_claim.place
    return made_claim.place(comparisons, comparisons.places[0])


def _alone(claim: str, finds: Sequence[Result[Any]]) -> float:
    """The p-value without any correction."""
    above = [float(one.mean.above()) for one in _effects(claim, finds)]
    return min(1.0, 2 * max(above), 2 * len(above) * min(1 - value for value in above))
