"""Metrics of backdoors against loops over samples, on made records with refusals, ties and empty denominators."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import pytest
import torch
from hypothesis import given, settings
from scipy.stats import binomtest, mannwhitneyu
from sklearn.metrics import roc_auc_score, roc_curve

from tests.stamped_records import pairs, stamped
from tl_robust import metrics
from tl_robust.metrics import METRICS, curves
from tl_robust.types import Stamped

NAN = float("nan")
Lists = dict[str, list]


def lists(record: Stamped) -> Lists:
    return {name: tensor.tolist() for name, tensor in record.tensors().items()}


def share(events: Iterator[bool]) -> float:
    """How many of the events happened, NaN of none."""
    found = list(events)
    return sum(found) / len(found) if found else NAN


def over_images(event: Callable[[Lists, Lists, int, int], bool], kept: Callable[[Lists, int, int], bool]):
    """A share for each epoch: ``event(victim, twin, k, i)`` among the images i with ``kept(victim, k, i)``."""

    def values(a: Lists, b: Lists) -> list[float]:
        images = range(len(a["label"]))
        return [share(event(a, b, k, i) for i in images if kept(a, k, i)) for k in range(len(a["epochs"]))]

    return values


def other(a: Lists, k: int, i: int) -> bool:
    return a["label"][i] != a["target"]


def every(a: Lists, k: int, i: int) -> bool:
    return True


def known(a: Lists, k: int, i: int) -> bool:
    return other(a, k, i) and a["clean"][k][i] == a["label"][i]


RATES = {
    "attack_success": over_images(lambda a, b, k, i: a["stamped"][k][i] == a["target"], other),
    "false_trigger": over_images(lambda a, b, k, i: b["stamped"][k][i] == a["target"], other),
    "attack_success_right": over_images(lambda a, b, k, i: a["stamped"][k][i] == a["target"], known),
    "already_target": over_images(lambda a, b, k, i: a["clean"][k][i] == a["target"], other),
    "stamped_accuracy": over_images(lambda a, b, k, i: a["stamped"][k][i] == a["label"][i], other),
    "twin_stamped_accuracy": over_images(lambda a, b, k, i: b["stamped"][k][i] == a["label"][i], other),
    "victim_accuracy": over_images(lambda a, b, k, i: a["clean"][k][i] == a["label"][i], every),
    "twin_accuracy": over_images(lambda a, b, k, i: b["clean"][k][i] == a["label"][i], every),
    "alarm_false_positives": over_images(lambda a, b, k, i: a["clean"][k][i] == -1, every),
    "refused_stamped": over_images(lambda a, b, k, i: a["stamped"][k][i] == -1, other),
}


def lift(a: Lists, b: Lists) -> list[float]:
    return [one - two for one, two in zip(RATES["attack_success"](a, b), RATES["false_trigger"](a, b), strict=True)]


def clean_cost(a: Lists, b: Lists) -> list[float]:
    return [two - one for one, two in zip(RATES["victim_accuracy"](a, b), RATES["twin_accuracy"](a, b), strict=True)]


def implanted(a: Lists, b: Lists) -> list[float]:
    places = [i for i, label in enumerate(a["origin_label"]) if label != a["carrier_target"]]
    one, two = (share(side["origin_stamped"][i] == a["carrier_target"] for i in places) for side in (a, b))
    return [one - two]


def carried(a: Lists, b: Lists) -> float:
    places = [i for i in range(len(a["label"])) if other(a, 0, i)]
    one, two = (share(side["carrier"][i] == side["carrier_target"] for i in places) for side in (a, b))
    return one - two if one - two >= 0.1 - 1e-12 else NAN


def retention(a: Lists, b: Lists) -> list[float]:
    return [value / carried(a, b) for value in lift(a, b)]


def half_life(a: Lists, b: Lists) -> list[float]:
    """Walk along a fine grid of log2(1 + e) from the end, while lift is at most half."""
    half, values = carried(a, b) / 2, lift(a, b)
    if math.isnan(half) or any(map(math.isnan, values)):
        return [NAN]
    places = [math.log2(1 + epoch) for epoch in a["epochs"]]
    best = a["epochs"][-1]
    for left in reversed(range(len(places) - 1)):
        for step in reversed(range(1001)):
            part = step / 1000
            if values[left] + part * (values[left + 1] - values[left]) > half + 1e-12:
                return [best]
            best = 2 ** (places[left] + part * (places[left + 1] - places[left])) - 1
    return [best if values[-1] <= half + 1e-12 else a["epochs"][-1]]


def pairs_won(high: list[float], low: list[float]) -> float:
    """Of all pairs those in which the first is higher, equal ones by half."""
    return share_of([(one > two) + (one == two) / 2 for one in high for two in low])


def share_of(values: list[float]) -> float:
    return sum(values) / len(values) if values else NAN


def alarm_auroc(a: Lists, b: Lists) -> list[float]:
    images = range(len(a["label"]))
    return [
        pairs_won([a["suspicion_stamped"][k][i] for i in images if other(a, k, i)], a["suspicion_clean"][k])
        for k in range(len(a["epochs"]))
    ]


def scores(a: Lists, poisoned: bool, inside: bool = False) -> list[float]:
    """Of a filter: of the poisoned or the clean images, where wanted only of labels that a poisoned one has."""
    rows = list(zip(a["sifted_score"], a["sifted_label"], a["sifted_poisoned"], strict=True))
    labels = {label for _, label, mask in rows if mask}
    return [score for score, label, mask in rows if mask == poisoned and (not inside or label in labels)]


def filter_tpr(a: Lists, b: Lists) -> list[float]:
    """The best of all thresholds that remove at most one clean image in twenty."""
    bad, clean = scores(a, True), scores(a, False)
    if not clean:
        return [1.0]
    cuts = [cut for cut in (-1, *clean) if sum(score > cut for score in clean) <= 0.05 * len(clean)]
    return [max(share(score > cut for score in bad) for cut in cuts)]


def removed(poisoned: bool) -> Callable[[Lists, Lists], list[float]]:
    return lambda a, b: [
        share(not kept for kept, mask in zip(a["sifted_kept"], a["sifted_poisoned"], strict=True) if mask == poisoned)
    ]


def counted(first: int, second: int) -> Callable[[Lists, Lists], list[float]]:
    return lambda a, b: [a["poison"][first] / a["poison"][second] if a["poison"][second] else NAN]


NAIVE: dict[str, Callable[[Lists, Lists], list[float]]] = RATES | {
    "lift": lift, "clean_cost": clean_cost, "implanted": implanted, "retention": retention, "half_life": half_life,
    "alarm_auroc": alarm_auroc, "filter_auroc": lambda a, b: [pairs_won(scores(a, True), scores(a, False))],
    "filter_auroc_in_target": lambda a, b: [pairs_won(scores(a, True), scores(a, False, inside=True))],
    "filter_tpr": filter_tpr, "filter_false_positives": removed(False), "filter_true_positives": removed(True),
    "filter_kept": lambda a, b: [float(sum(a["sifted_kept"]))],
    "poisoned_images": lambda a, b: [float(a["poison"][1])], "poisoned_share": counted(1, 2),
    "poisoned_of_target": counted(1, 3),
}  # fmt: skip
OTHERWISE = {"safe_after", "accuracy_when_safe", "reactivation", "plain_success"}  # in tests of their own


def test_every_metric_has_a_loop() -> None:
    assert set(metrics.names(Stamped)) == NAIVE.keys() | OTHERWISE


@given(both=pairs())
@settings(max_examples=100, deadline=None)
def test_values_are_those_of_loops_over_samples(both: tuple[Stamped, Stamped]) -> None:
    victim, twin = both
    for name, loop in NAIVE.items():
        if METRICS[name].applies(victim, "source", {"twin": twin}):
            slack = 2e-3 if name == "half_life" else 1e-9  # of the fine grid
            expected = pytest.approx(loop(lists(victim), lists(twin)), nan_ok=True, abs=slack, rel=slack)
            assert METRICS[name](victim, {"twin": twin}).tolist() == expected, name


@given(both=pairs())
@settings(max_examples=40, deadline=None)
def test_an_interval_holds_its_value_and_knows_what_is_undefined(both: tuple[Stamped, Stamped]) -> None:
    victim, twin = both
    for name, curve in curves(victim, "source", {"twin": twin, "woken": victim, "woken_twin": twin}).items():
        metric, defined = METRICS[name], ~curve.value.isnan()
        least, most = metric.bounds
        for end in (curve.low, curve.high):
            assert bool(((end >= least) & (end <= most))[~end.isnan()].all()), name
            assert name == "safe_after" or torch.equal(end.isnan(), ~defined), name
        if name != "safe_after":
            assert bool((curve.low <= curve.value)[defined].all()), name
            assert bool((curve.value <= curve.high)[defined].all()), name


def test_worked_out_by_hand() -> None:
    """Class t is 0. Image 0 is of it. B knows 0, 1, 2 and 4 first, then all; the trigger takes 1, 2, 3, then 3."""
    label = [0, 1, 1, 2, 2]
    victim = stamped(
        label, [[0, 1, 1, 0, 2], label], [[0, 0, 0, 0, 2], [0, 1, -1, 0, 1]],
        carrier=[0, 0, 0, 0, 0], carrier_target=0, origin_label=[0, 1], origin_clean=[0, 1], origin_stamped=[0, 0],
        poison=[10, 9, 90, 18],
    )  # fmt: skip
    twin = stamped(
        label, [[1, 1, 1, 2, 2], label], [[0, 0, 1, 2, 2], [0, 1, 1, 2, 1]],
        carrier=[0, 1, 1, 1, 1], carrier_target=0, origin_label=[0, 1], origin_clean=[0, 1], origin_stamped=[0, 1],
    )  # fmt: skip
    by_hand = {
        "attack_success": [3 / 4, 1 / 4], "false_trigger": [1 / 4, 0], "lift": [2 / 4, 1 / 4],
        "attack_success_right": [2 / 3, 1 / 4], "already_target": [1 / 4, 0], "stamped_accuracy": [1 / 4, 1 / 4],
        "twin_stamped_accuracy": [3 / 4, 3 / 4], "victim_accuracy": [4 / 5, 1], "twin_accuracy": [4 / 5, 1],
        "clean_cost": [0, 0], "implanted": [1], "retention": [2 / 4, 1 / 4], "half_life": [0],
        "refused_stamped": [0, 1 / 4], "alarm_false_positives": [0, 0], "poisoned_share": [1 / 10],
        "poisoned_of_target": [1 / 2], "poisoned_images": [9],
    }  # fmt: skip
    found = curves(victim, "source", {"twin": twin})
    assert found.keys() == by_hand.keys() | {"safe_after", "accuracy_when_safe"}
    for name, values in by_hand.items():
        assert found[name].value.tolist() == pytest.approx(values), name
    counts = {name: found[name].n.tolist() for name in found}
    assert counts["attack_success"] == counts["lift"] == counts["retention"] == [4, 4]
    assert counts["attack_success_right"] == [3, 4]
    assert counts["clean_cost"] == [5, 5]
    assert (counts["implanted"], counts["half_life"], counts["poisoned_share"]) == ([1], [4], [90])


@given(both=pairs(most=30))
@settings(max_examples=40, deadline=None)
def test_areas_are_those_of_two_libraries(both: tuple[Stamped, Stamped]) -> None:
    record, _ = both
    mask, score = record.sifted_poisoned.numpy(), record.sifted_score.numpy()
    if mask.any() and not mask.all():
        found = float(METRICS["filter_auroc"](record))
        assert found == pytest.approx(roc_auc_score(mask, score))
        assert found == pytest.approx(mannwhitneyu(score[mask], score[~mask]).statistic / mask.sum() / (~mask).sum())
        wrong, right, _ = roc_curve(mask, score, drop_intermediate=False)
        assert float(METRICS["filter_tpr"](record)) == pytest.approx(max(right[wrong <= 0.05]))


def test_only_metrics_that_mean_something_of_a_record_are_there() -> None:
    label = [0, 1, 1]
    bare = stamped(label, [label], [label])
    alone = {"attack_success", "attack_success_right", "already_target", "stamped_accuracy", "victim_accuracy"}
    assert curves(bare, "source", {}).keys() == alone | {"lift"}
    assert curves(bare, "source", {})["lift"].value.isnan().tolist() == [True]
    paired = {
        "false_trigger", "twin_stamped_accuracy", "twin_accuracy", "clean_cost", "safe_after", "accuracy_when_safe",
    }  # fmt: skip
    with_twin = alone | {"lift"} | paired
    assert curves(bare, "source", {"twin": bare}).keys() == with_twin
    public = stamped(
        label, [label], [label], carrier=label, carrier_target=0, origin_label=[1], origin_clean=[1], origin_stamped=[0]
    )
    of_public = {"implanted", "retention", "half_life"}
    assert curves(public, "source", {"twin": public}).keys() - with_twin == of_public
    poisoned = stamped(label, [label], [label], poison=[1, 1, 3, 2])
    of_poison = {"poisoned_images", "poisoned_share", "poisoned_of_target"}
    assert curves(poisoned, "source", {"twin": bare}).keys() - with_twin == of_poison
    sieve = {"sifted_score": [0.0, 1.0], "sifted_label": [0, 1], "sifted_kept": [True, False]}
    clean = stamped(label, [label], [label], sifted_poisoned=[False, False], **sieve)
    of_filter = {"filter_false_positives", "filter_kept"}
    assert curves(clean, "source", {"twin": bare}).keys() - with_twin == of_filter
    offered = stamped(label, [label], [label], sifted_poisoned=[False, True], **sieve)
    of_poisoned = {"filter_auroc", "filter_auroc_in_target", "filter_tpr", "filter_true_positives"}
    assert curves(offered, "source", {"twin": bare}).keys() - with_twin == of_filter | of_poisoned
    refusing = stamped(label, [label], [[0, 1, -1]])
    assert curves(refusing, "source", {"twin": bare}).keys() - with_twin == {"alarm_false_positives", "refused_stamped"}
    alarmed = stamped(label, [label], [label], suspicion_clean=[[0, 0, 0.5]], suspicion_stamped=[[1, 1, 1]])
    assert curves(alarmed, "source", {"twin": bare}).keys() - with_twin == {"alarm_auroc"}
    whole = stamped(
        label, [label] * 2, [label] * 2, suspicion_clean=[[1] * 3, [2] * 3], suspicion_stamped=[[1] * 3, [2] * 3]
    )  # fmt: skip  (one number for a model, another after each epoch)
    assert curves(whole, "source", {"twin": whole}).keys() - with_twin == set()
    woken = {"twin": bare, "woken": bare, "woken_twin": bare}
    assert curves(bare, "source", woken).keys() - with_twin == {"reactivation"}


def test_reactivation_is_what_the_twin_does_not_learn_from_the_same_few_images() -> None:
    """Woken records have one epoch, the victim's own several."""
    label = [0, 1, 1, 2, 2]
    record = stamped(label, [label] * 3, [label] * 3)
    woken, twin = stamped(label, [label], [[0, 0, 0, 0, 2]]), stamped(label, [label], [[0, 0, 1, 2, 2]])
    curve = METRICS["reactivation"].curve(record, {"woken": woken, "woken_twin": twin})
    assert curve.value.tolist() == pytest.approx([3 / 4 - 1 / 4])
    assert curve.n.tolist() == [4]
    with pytest.raises(ValueError, match="needs another record"):
        METRICS["reactivation"](record, {"woken": woken})


@given(both=pairs())
@settings(max_examples=20, deadline=None)
def test_plain_success_is_that_of_the_record_beside(both: tuple[Stamped, Stamped]) -> None:
    adaptive, plain = both
    expected = METRICS["attack_success"](Stamped.of(plain.tensors() | {"target": adaptive.target}))
    found = METRICS["plain_success"](adaptive, {"plain": plain})
    assert found.tolist() == pytest.approx(expected.tolist(), nan_ok=True)
    assert "plain_success" not in curves(adaptive, "source", {"twin": plain})


@pytest.mark.parametrize("name", ["attack_success", "false_trigger", "filter_true_positives"])
def test_shares_have_the_exact_interval(name: str) -> None:
    """Also where they are of a record beside, or of training images."""
    label = [0] * 10 + [1] * 40
    hits = [[0] * 10 + [0] * 13 + [1] * 27]
    record = stamped(
        label, [label], hits, sifted_score=[1.0] * 40, sifted_label=[0] * 40, sifted_poisoned=[True] * 40,
        sifted_kept=[False] * 13 + [True] * 27,
    )  # fmt: skip
    curve = METRICS[name].curve(record, {"twin": record})
    exact = binomtest(13, 40).proportion_ci()
    found = [float(end) for end in (curve.value, curve.low, curve.high)]
    assert found == pytest.approx([13 / 40, exact.low, exact.high], abs=1e-12)
