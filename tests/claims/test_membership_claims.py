"""Claims about membership on made records: each is supported, refuted, undecided and not judged somewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch

from tests.claims import made, stamped
from tests.claims.exposed import exposed
from tl_robust.claims import CLAIMS, Comparisons, Finding, MissingError, decide
from tl_robust.metrics import METRICS
from tl_robust.metrics.estimate import estimate, holm
from tl_robust.results.difference import Side as Bench
from tl_robust.results.difference import compare, contrast
from tl_robust.results.faces import FACES
from tl_robust.sinks.report.blocks import Table, Why
from tl_robust.sinks.report.decisions import decisions
from tl_robust.types import Result

PROBE = "finetune(mode=probe)"
RECIPE = "rmia(knowledge=recipe)"
EPOCHS = (0, 1, 4, 12)
ALONE = [4.0, 0.5, 0.3, 0.2]  # forgotten by full fine-tuning: d after each epoch
KEPT = [4.0, 2.0, 1.6, 1.4]


def found(finds: Sequence[Result[Any]], attack: str = "rmia") -> dict[str, Finding]:
    """Findings over all pairs of domains."""
    return {one.claim: one for one in decide(finds) if not one.pair and one.attack == attack}


def target(scratch: float, finetune: float, **more: Any) -> list[Result[Any]]:
    return exposed({"scratch": scratch, "finetune": finetune}, **more)


def recipe(alone: float, lineage: float, **more: Any) -> list[Result[Any]]:
    return exposed({"finetune": alone}, attack=RECIPE, lineage=lineage, **more)


def source(full: Sequence[float], probe: Sequence[float] | None = None, **more: Any) -> list[Result[Any]]:
    victims = {"finetune": full} if probe is None else {"finetune": full, PROBE: probe}
    return exposed(victims, view="source", epochs=more.pop("epochs", EPOCHS), **more)


def private(strategy: str, right: float, epsilon: float = 3.0, lr: str = "", **more: Any) -> list[Result[Any]]:
    settings = ", ".join(filter(None, [f"epsilon={epsilon}", lr]))
    delta = more.pop("delta", 1e-4)
    return exposed(
        {strategy: 0.1}, defense=f"dp({settings})", accuracy=right, claim=(epsilon, delta), null_samples=400, **more
    )


def auc(finds: Sequence[Result[Any]], strategy: str) -> torch.Tensor:
    (one,) = (result for result in finds if result.cell.strategy == strategy)
    return METRICS["auc"](one.outcome)


# pairs of models are the units


def test_pairs_of_one_seed_are_what_a_claim_is_decided_by() -> None:
    one = found(target(2.0, 0.5, pairs=5))["M1"]
    assert (one.decision, one.seeds, one.units, one.n, one.judged) == ("supported", 5, "pairs", 150, "samples")
    evasion = decide(made.results({}, {"scratch": made.around([190, 100, 60]), "finetune": made.around([190, 180, 9])}))
    assert {(finding.units, finding.judged) for finding in evasion} == {("seeds", "test images")}


@pytest.mark.parametrize("pairs", [1, 2])
def test_fewer_than_three_pairs_decide_nothing(pairs: int) -> None:
    one = found(target(4.0, 0.0, pairs=pairs))["M1"]
    count = "One pair decides" if pairs == 1 else "2 pairs decide"
    assert one.decision == "not judged"
    assert one.reason == f"{count} nothing: it needs at least three pairs of models, better twelve (pairs=12)."
    assert found(target(4.0, 0.0, pairs=3))["M1"].decision == "supported"


def test_several_seeds_count_each_once_whatever_their_pairs() -> None:
    few = found(target(2.0, 0.5, pairs=6, seeds=(0, 1)))["M1"]
    assert few.reason == (
        "2 seeds decide nothing: it needs at least three seeds, better five (axes.seed=[0,1,2,3,4]), or a single one, "
        "whose pairs of models count."
    )
    one = found(target(2.0, 0.5, pairs=6, seeds=(0, 1, 2)))["M1"]
    assert (one.decision, one.seeds, one.units) == ("supported", 3, "seeds")
    backdoor = decide(stamped.results({"finetune": stamped.around([0, 0, 0], seeds=2)}))
    assert not any("pairs of models" in finding.reason for finding in backdoor)


def test_the_error_is_that_over_pairs() -> None:
    """Pairs that disagree leave open what the same samples would settle if they agreed."""
    spread = torch.tensor([2.0, -1.4, 1.8, -1.2, 1.5, -1.0]).double().repeat_interleave(2)[None, :, None]
    finds = exposed({"scratch": 1.0 + spread, "finetune": 1.0}, samples=600)
    one = found(finds)["M1"]
    assert one.decision == "undecided"
    assert one.reason.endswith("Too close to 0 for these pairs and samples.")
    draws = [METRICS["auc"].draws([(result.outcome, None)]) for result in finds]
    mean = estimate(draws[0] - draws[1])
    assert one.effect == pytest.approx(float(mean.value))
    assert [one.low, one.high] == pytest.approx([float(end) for end in mean.interval()])
    assert float(mean.error) > 0.1


def test_sides_with_other_numbers_of_pairs_are_refused_in_one_sentence() -> None:
    finds = [*exposed({"scratch": 2.0}, pairs=5), *exposed({"finetune": 0.5}, pairs=12)]
    one = found(finds)["M1"]
    assert one.decision == "not judged"
    assert one.reason == "Scratch was judged by 5 pairs, finetune by 12 pairs: both need as many."
    first, second = ([(result.outcome, None)] for result in finds)
    with pytest.raises(ValueError, match=r"^12 pairs and 5 pairs cannot be compared one by one: both sides need as"):
        contrast(METRICS["auc"], first, second, ["12"])


def test_two_benches_with_other_numbers_of_pairs_are_compared_by_their_intervals() -> None:
    def bench(pairs: int) -> Bench:
        (one,) = exposed({"finetune": 1.0}, pairs=pairs)
        return Bench.of_results(str(pairs), [replace(one, curves={"auc": METRICS["auc"].curve(one.outcome)})])

    (other,) = compare(bench(5), bench(12), ["auc"]).numbers
    (same,) = compare(bench(5), bench(5), ["auc"]).numbers
    assert (other.paired, same.paired) == (False, True)
    assert other.change == pytest.approx(other.second.value - other.first.value)
    assert other.low < other.change < other.high


def test_places_that_share_pairs_are_averaged_pair_by_pair_and_others_are_not() -> None:
    networks = [
        replace(one, cell=replace(one.cell, network=network), key=one.key + network)
        for network, pairs in (("dtn", 5), ("lenet", 12))
        for one in target(2.0, 0.5, pairs=pairs)
    ]
    one = found(networks)["M1"]
    assert (one.decision, one.seeds) == ("supported", 5)


@pytest.mark.parametrize(
    ("claim", "same", "other"), [("M3", "mnist5k-usps", "a-optdigits"), ("M1", "a-optdigits", "mnist5k-usps")]
)
def test_pairs_of_domains_that_share_the_samples_are_not_independent(claim: str, same: str, other: str) -> None:
    """Two targets of one source on the side source, learned by the same public models; two sources of one target."""

    def width(*pairs: str) -> float:
        finds = [
            one
            for pair in pairs
            for one in (source([2.5, 0.8, 0.4, 0.2], pair=pair) if claim == "M3" else target(2.0, 1.0, pair=pair))
        ]
        one = found(finds)[claim]
        return one.high - one.low

    one = width("mnist5k-optdigits")
    assert width("mnist5k-optdigits", same) == pytest.approx(one)
    assert width("mnist5k-optdigits", other) < 0.8 * one, "they share nothing"


def test_the_report_says_pairs_and_samples() -> None:
    def facts(finds: Sequence[Result[Any]]) -> str:
        (table,) = (block for block in decisions(list(found(finds).values())) if isinstance(block, Table))
        cell = table.body[0][1]
        assert isinstance(cell, Why)
        return cell.more

    assert "Scratch over FineTune. 6 pairs, 150 samples, p < 0.001. " in facts(target(2.0, 0.5))
    assert " 3 seeds, 150 samples, p " in facts(target(2.0, 0.5, seeds=(0, 1, 2)))
    accuracy = [*private("finetune", 0.9), *private("scratch", 0.7)]
    assert " 6 pairs, 400 test images, p < 0.001. " in facts(accuracy)


# M1: exposure of the target


@pytest.mark.parametrize(
    ("scratch", "finetune", "said"), [(2.0, 1.0, "supported"), (1.0, 2.0, "refuted"), (1.0, 1.0, "undecided")]
)
def test_fine_tuning_gives_away_less_than_scratch(scratch: float, finetune: float, said: str) -> None:
    finds = target(scratch, finetune)
    one = found(finds)["M1"]
    assert one.decision == said
    assert one.effect == pytest.approx(float(auc(finds, "scratch") - auc(finds, "finetune")))
    assert one.unit == "share"
    assert one.reason.startswith("Exposure after the last epoch, Scratch over FineTune.")


def test_only_the_last_epoch_counts_for_the_exposure_of_the_target() -> None:
    for last, said in ((2.0, "supported"), (0.0, "refuted")):
        finds = exposed({"scratch": [0.0, 0.0, last], "finetune": [3.0, 3.0, 1.0]}, epochs=(1, 4, 12))
        assert found(finds)["M1"].decision == said
    backwards = exposed({"scratch": [2.0, 0.0], "finetune": [1.0, 1.0]}, epochs=(12, 4))
    assert found(backwards)["M1"].decision == "supported", "the largest, wherever it stands"


def test_each_inference_is_decided_for_itself() -> None:
    finds = [*target(2.0, 1.0), *target(1.0, 2.0, attack="loss", luck=1)]
    assert found(finds)["M1"].decision == "supported"
    assert found(finds, "loss")["M1"].decision == "refuted"


def test_defended_models_and_the_source_are_not_what_it_speaks_of() -> None:
    plain = target(2.0, 1.0)
    more = [*target(0.0, 4.0, defense="dp"), *source([4.0, 4.0, 4.0, 4.0]), *exposed({PROBE: 4.0})]
    assert found([*plain, *more])["M1"] == found(plain)["M1"]


# M2: the value of the parent


@pytest.mark.parametrize(
    ("alone", "lineage", "said"), [(0.5, 1.5, "supported"), (1.5, 0.5, "refuted"), (1.0, 1.0, "undecided")]
)
def test_shadows_of_the_lineage_beat_shadows_by_the_recipe(alone: float, lineage: float, said: str) -> None:
    finds = recipe(alone, lineage)
    one = found(finds, RECIPE)["M2"]
    assert one.decision == said
    (result,) = finds
    gain = METRICS["auc"](result.beside["lineage"]) - METRICS["auc"](result.outcome)
    assert one.effect == pytest.approx(float(gain))
    assert (one.units, one.seeds) == ("pairs", 6)


def test_the_value_of_the_parent_is_said_where_the_recipe_alone_is_known() -> None:
    finds = [
        *target(2.0, 1.0),
        *recipe(0.5, 1.5),
        *exposed({"finetune": 1.0}, attack="rmia(knowledge=other_parent)", lineage=3.0),
    ]
    ledger = [(one.claim, one.attack) for one in decide(finds) if one.claim in ("M1", "M2")]
    assert sorted(set(ledger)) == [("M1", "rmia"), ("M2", RECIPE)]
    bare = [replace(one, beside={}) for one in recipe(0.5, 1.5)]
    assert found(bare, RECIPE)["M2"].reason == "Parent_value needs the record 'lineage' beside its own."


@pytest.mark.parametrize(("last", "said"), [(2.0, "supported"), (0.0, "refuted")])
def test_only_the_last_epoch_counts_for_the_value_of_the_parent(last: float, said: str) -> None:
    finds = exposed({"finetune": [1.0, 1.0]}, attack=RECIPE, epochs=(4, 12), lineage=[2.0 - last, last])
    assert found(finds, RECIPE)["M2"].decision == said


# M3: the source is half forgotten


@pytest.mark.parametrize(("first", "said"), [(0.5, "supported"), (3.0, "refuted"), (0.87, "undecided")])
def test_half_of_the_source_is_gone_after_one_epoch(first: float, said: str) -> None:
    finds = source([2.5, first, 0.0, 0.0], samples=400, pairs=8)
    one = found(finds)["M3"]
    (result,) = finds
    kept = METRICS["retention_of_source"](result.outcome)
    assert one.decision == said
    assert one.effect == pytest.approx(0.5 - float(kept[1]))
    assert one.unit == "ratio"
    assert one.reason.startswith("0.5 less the retention of the source after epoch 1, finetune.")


def test_what_is_left_after_later_epochs_does_not_count() -> None:
    early = found(source([2.5, 3.0, 0.0, 0.0], samples=400))["M3"]
    late = found(source([2.5, 0.3, 2.5, 2.5], samples=400))["M3"]
    assert (early.decision, late.decision) == ("refuted", "supported")


def test_half_of_what_is_not_known_is_not_judged() -> None:
    for epochs, d in (((0, 4, 12), [2.0, 0.5, 0.5]), ((1, 4), [0.5, 0.5])):
        one = found(source(d, epochs=epochs))["M3"]
        assert one.reason == "It needs epochs 0 and 1 on the side source (epochs=[0,1,12])."
    nothing = found(source([0.0, 0.0, 0.0, 0.0]))["M3"]
    assert nothing.decision == "not judged"
    assert nothing.reason == "Retention_of_source is not known well enough at epochs 1."


# M4: what a probe keeps


@pytest.mark.parametrize(
    ("full", "probe", "said"),
    [
        (ALONE, KEPT, "supported"),
        (KEPT, ALONE, "refuted"),
        (ALONE, [4.0, 2.0, 1.6, 0.2], "undecided"),
        (KEPT, KEPT, "undecided"),
    ],
)
def test_a_probe_keeps_more_of_the_source_after_every_epoch(
    full: Sequence[float], probe: Sequence[float], said: str
) -> None:
    finds = source(full, probe)
    one = found(finds)["M4"]
    assert one.decision == said
    kept = {one.cell.strategy: METRICS["retention_of_source"](one.outcome) for one in finds}
    assert one.effect == pytest.approx(float((kept[PROBE] - kept["finetune"])[1:].mean()))
    assert one.unit == "ratio"
    assert one.reason.startswith(f"Retention of the source, {PROBE} over finetune: ")


def test_models_that_give_away_little_to_begin_with_may_keep_more_of_it() -> None:
    assert found(source([4.0, 0.5, 0.3, 0.2], [1.0, 0.5, 0.5, 0.5], samples=400))["M4"].decision == "supported"


def test_a_probe_without_epoch_0_is_not_judged() -> None:
    one = found(source(ALONE[1:], KEPT[1:], epochs=EPOCHS[1:]))["M4"]
    assert one.reason == "It needs epoch 0 on the side source (epochs=[0,1,12])."


def test_what_differs_in_more_than_the_mode_is_not_compared() -> None:
    others = {"finetune": ALONE, "finetune(lr=0.001, mode=probe)": KEPT, "finetune(blocks=2)": KEPT}
    alone = found(exposed(others, view="source", epochs=EPOCHS))["M4"]
    assert alone.decision == "not judged"
    slow = {"finetune(lr=0.001)": ALONE, "finetune(lr=0.001, mode=probe)": KEPT, "finetune": KEPT}
    assert found(exposed(slow, view="source", epochs=EPOCHS))["M4"].decision == "supported"


# D5: public pre-training and differential privacy


@pytest.mark.parametrize(
    ("tuned", "scratch", "said"), [(0.9, 0.7, "supported"), (0.7, 0.9, "refuted"), (0.8, 0.8, "undecided")]
)
def test_a_public_parent_makes_privacy_usable(tuned: float, scratch: float, said: str) -> None:
    finds = [*private("finetune", tuned), *private("scratch", scratch)]
    one = found(finds)["D5"]
    right = [float(METRICS["cohort_accuracy"](result.outcome)) for result in finds]
    assert one.decision == said
    assert one.effect == pytest.approx(right[0] - right[1])
    assert (one.family, one.units) == ("secondary", "pairs")
    assert one.reason.startswith("Accuracy at epsilon 3 and delta 0.0001, FineTune over Scratch.")


MORE_PRIVACY = (
    "It needs strategies scratch and finetune under differential privacy of the same epsilon and delta "
    "(axes.strategy=[scratch,finetune], axes.defense=[{name: dp, epsilon: 3}], axes.attack=[rmia])."
)


def test_other_epsilons_or_deltas_are_never_compared() -> None:
    other_epsilon = [*private("finetune", 0.95, epsilon=8.0), *private("scratch", 0.6, epsilon=1.0)]
    other_delta = [*private("finetune", 0.95, delta=1e-3), *private("scratch", 0.6)]
    clipped = exposed({"finetune": 0.1, "scratch": 0.1}, defense="dp(noise=0.0)", accuracy=0.9)
    for finds in (other_epsilon, other_delta, clipped, exposed({"finetune": 0.1, "scratch": 0.1})):
        assert found(finds)["D5"].reason == MORE_PRIVACY


def test_it_must_hold_at_every_epsilon_that_both_were_run_with() -> None:
    strong = [*private("finetune", 0.9, 1.0), *private("scratch", 0.6, 1.0)]
    weak = [*private("finetune", 0.6, 8.0), *private("scratch", 0.9, 8.0)]
    assert found(strong)["D5"].decision == "supported"
    one = found([*strong, *weak])["D5"]
    assert one.decision == "refuted"
    assert one.reason.startswith("The weakest of 2 parts, accuracy at epsilon 8 and delta 0.0001")
    assert found([*strong, *private("finetune", 0.1, 8.0)])["D5"].decision == "supported", "scratch has no epsilon 8"


def test_only_the_last_epoch_counts_for_accuracy() -> None:
    """Scratch has caught up with FineTune, and passed it, when training is over."""
    tuned, scratch = (private(name, 0.5, epochs=(4, 12))[0] for name in ("finetune", "scratch"))
    rights = (torch.tensor([399, 300]), torch.tensor([40, 320]))
    finds = [
        replace(
            one, outcome=replace(one.outcome, test_right=torch.arange(400).expand(2, 12, 400) < count[:, None, None])
        )
        for one, count in zip((tuned, scratch), rights, strict=True)
    ]
    one = found(finds)["D5"]
    assert one.effect == pytest.approx(-0.05)
    assert one.decision == "refuted"


@pytest.mark.parametrize("counts", [(3, 4), (4, 3)])
def test_a_finding_counts_the_fewest_of_its_parts(counts: tuple[int, int]) -> None:
    finds = [
        one
        for epsilon, count in zip((1.0, 8.0), counts, strict=True)
        for strategy, right in (("finetune", 0.9), ("scratch", 0.6))
        for one in private(strategy, right, epsilon, seeds=range(count))
    ]
    one = found(finds)["D5"]
    assert (one.decision, one.seeds, one.units) == ("supported", 3, "seeds")


def test_learning_rates_may_differ_and_the_best_of_as_many_stands_for_a_strategy() -> None:
    other = [*private("finetune", 0.9, lr="lr=0.1"), *private("scratch", 0.7, lr="lr=0.4")]
    assert found(other)["D5"].decision == "supported"
    two = [*private("finetune", 0.5, lr="lr=0.4", luck=1), *private("scratch", 0.4, lr="lr=0.1", luck=2)]
    assert found([*other, *two])["D5"].effect == pytest.approx(found(other)["D5"].effect)
    uneven = found([*other, *two[:1]])["D5"]
    assert uneven.reason == (
        "At epsilon 3 finetune and scratch have 2 and 1 settings of the defense: the best of each stands for it, so "
        "both need as many."
    )


# what holds for all of them


EVERYTHING = [
    *target(2.0, 1.0),
    *recipe(0.5, 1.5),
    *source(ALONE, KEPT, samples=300),
    *private("finetune", 0.9),
    *private("scratch", 0.7),
]


def test_a_bench_of_membership_decides_all_of_them() -> None:
    ledger = decide(EVERYTHING)
    assert {(one.claim, one.attack): one.decision for one in ledger} == {
        ("M1", "rmia"): "supported", ("M2", RECIPE): "supported", ("M3", "rmia"): "supported",
        ("M4", "rmia"): "supported", ("D5", "rmia"): "supported",
    }  # fmt: skip
    assert {one.threat for one in ledger} == {"membership"}
    named = {name for names in FACES["membership"].claims.values() for name in names}
    registered = {CLAIMS[name].id for name in CLAIMS.names() if CLAIMS[name].of == "membership"}
    assert named == {one.claim for one in ledger} == registered


def test_what_to_add_is_said_once_for_a_bench_without_it() -> None:
    nothing = [*exposed({"common_init": 1.0}), *exposed({"common_init": 1.0}, attack="loss")]
    ledger = [one for one in decide(nothing) if not one.pair]
    assert {one.claim: one.reason for one in ledger} == {
        "M1": "It needs strategies scratch and finetune on the side target (axes.strategy=[scratch,finetune], "
        "axes.attack=[rmia]).",
        "M2": "It needs an attacker who knows the recipe alone, against full fine-tuning (axes.strategy=[finetune], "
        "axes.attack=[{name: rmia, knowledge: recipe}]).",
        "M3": "It needs full fine-tuning on the side source (axes.strategy=[finetune], "
        "axes.attack=[{name: rmia, side: source}]).",
        "M4": "It needs a probe and full fine-tuning on the side source "
        "(axes.strategy=[finetune,{name: finetune, mode: probe}], axes.attack=[{name: rmia, side: source}]).",
        "D5": MORE_PRIVACY,
    }  # fmt: skip
    assert {one.decision for one in ledger} == {"not judged"}
    assert len(ledger) == 5


def test_m1_to_m4_are_a_family_corrected_together() -> None:
    finds = [
        *target(1.3, 1.0, luck=3),
        *source([3.0, 0.9, 0.9, 0.9], [3.0, 1.4, 1.5, 1.4], samples=300, luck=3),
        *private("finetune", 0.81),
        *private("scratch", 0.8),
    ]
    ledger = found(finds)
    alone = {}
    for name in ("M1", "M3", "M4", "D5"):
        (effect,) = _effects(name, finds)
        parts = effect.each if name == "M4" else effect.mean
        above, below = parts.above(), (-parts).above()
        alone[name] = min(1.0, 2 * min(float(above.max()), len(below) * float(below.min())))
    corrected = dict(zip(("M1", "M3", "M4"), holm([alone[name] for name in ("M1", "M3", "M4")]), strict=True))
    assert {name: ledger[name].p for name in corrected} == pytest.approx(corrected)
    assert ledger["D5"].p == pytest.approx(alone["D5"])
    assert max(corrected.values()) > 1.5 * min(alone[name] for name in corrected)


def test_red_cells_of_membership_are_never_used() -> None:
    one = found(target(2.0, 1.0, levels={"finetune": "red"}))["M1"]
    assert one.decision == "not judged"
    assert "1 of its cells are red" in one.reason
    assert found(target(2.0, 1.0, levels={"finetune": "amber"}))["M1"].decision == "supported"


def test_other_threats_beside_it_are_decided_as_before() -> None:
    backdoor = stamped.results({"finetune": stamped.around([100, 20, 0])})
    both = decide([*backdoor, *EVERYTHING])
    assert repr([one for one in both if one.threat == "backdoor"]) == repr(list(decide(backdoor)))
    assert repr([one for one in both if one.threat == "membership"]) == repr(list(decide(EVERYTHING)))


# the choice of one x


def test_one_x_is_chosen_by_its_value() -> None:
    comparisons = Comparisons(source(ALONE, KEPT))
    place = comparisons.places[0]
    for at, index in ((1, 1), (4, 2), (12, 3)):
        effect = comparisons.compare(place, "auc", "source", PROBE, "finetune", at=at)
        assert effect.x == (float(at),)
        first, second = (
            METRICS["auc"](comparisons.results(place, side, "source")[0].outcome) for side in (PROBE, "finetune")
        )
        assert float(effect.mean.value) == pytest.approx(float((first - second)[index]))
        low = comparisons.below(place, "auc", "source", "finetune", 0.5, at=at)
        assert float(low.mean.value) == pytest.approx(0.5 - float(second[index]))
    with pytest.raises(MissingError, match=r"^it needs auc at epochs 2 \(epochs=\[0,2\]\)\.$"):
        comparisons.below(place, "auc", "source", "finetune", 0.5, at=2)


def _effects(name: str, finds: Sequence[Result[Any]]) -> Sequence[Any]:
    comparisons = Comparisons(finds)
    claim = next(CLAIMS[key] for key in CLAIMS.names() if CLAIMS[key].id == name)
    assert claim.place
    return claim.place(comparisons, comparisons.places[0])
