"""What every registered metric promises."""

import pytest
import torch
from torch import Tensor

from tests.made_records import record_of
from tl_robust import metrics
from tl_robust.errors import ConfigError, UnknownNameError
from tl_robust.metrics import METRICS, rate
from tl_robust.threats.base import THREATS
from tl_robust.types import Outcome

EVERY = pytest.mark.parametrize("name", metrics.names(Outcome))
EPS = torch.tensor([0, 2, 8, 32], dtype=torch.float64) / 255


def outcome(samples: int = 60, strength: float = 1.0, seed: int = 0) -> tuple[Outcome, Outcome]:
    """A made test set on which both models are good and fall with eps, and B's own attack is stronger."""
    draw = torch.Generator().manual_seed(seed)

    def flip(classes: Tensor, share: float) -> Tensor:
        hit = torch.rand(samples, generator=draw) < share
        return torch.where(hit, (classes + torch.randint(1, 4, (samples,), generator=draw)) % 4, classes)

    label = torch.randint(4, (samples,), generator=draw)
    clean_a, clean_b = flip(label, 0.15), flip(label, 0.1)
    shares = [0.0, 0.2 * strength, 0.4 * strength, 0.8 * strength]
    adv_a, adv_b, own = (
        torch.stack([flip(clean, share * harm) if share else clean for share in shares])
        for clean, harm in ((clean_a, 1.0), (clean_b, 0.85), (clean_b, 1.0))
    )
    rest = {
        "sample_id": torch.arange(samples), "label": label, "eps": EPS, "size": torch.zeros(4, samples),
        "zero_gradient": torch.zeros(samples, dtype=torch.bool), "valid": torch.ones(4, samples, dtype=torch.bool),
        "same_labels": torch.ones(samples, dtype=torch.bool),
    }  # fmt: skip
    black = Outcome(clean_a=clean_a, clean_b=clean_b, adv_a=adv_a, adv_b=adv_b, **rest)
    return black, Outcome(clean_a=clean_b, clean_b=clean_b, adv_a=own, adv_b=own, **rest)


def outcome_of(name: str, *args: int, **settings: float) -> tuple[Outcome, Outcome]:
    """The record that a metric reads, and the one that it needs beside: a plain outcome and never a worse one."""
    black, white = outcome(*args, **settings)
    record, other = (white.worst(black), black) if "plain" in metrics.get(name).beside else (black, white)
    return (record if metrics.get(name).when is None else refusing(record)), other


def refusing(record: Outcome) -> Outcome:
    """The same of a B that refuses every second image which it would get wrong."""
    second = record.sample_id % 2 == 0
    refused = {
        name: classes.masked_fill((classes != record.label) & second, -1)
        for name, classes in (("clean_b", record.clean_b), ("adv_b", record.adv_b))
    }
    return Outcome(**record.tensors() | refused)


def same(left: Tensor, right: Tensor) -> bool:
    return torch.allclose(left, right, rtol=1e-12, atol=1e-12, equal_nan=True)


@EVERY
def test_facts_for_readers(name: str) -> None:
    metric = metrics.get(name)
    assert metric.doc
    assert metric.doc[0].isupper() or metric.doc[0] == "("
    assert metric.unit in ("share", "ratio", "eps")
    assert set(metric.views) <= {"white", "black", "shadow"}
    assert "white" not in metric.beside or (metric.views and "white" not in metric.views)


@EVERY
def test_one_float64_value_per_eps_or_one_for_the_curve(name: str) -> None:
    metric, (black, white) = metrics.get(name), outcome_of(name)
    value, curve = metric(black, white), metric.curve(black, white)
    assert value.dtype == torch.float64
    assert value.shape == ((1,) if metric.summary else (4,))
    assert same(curve.value, value)
    assert curve.eps.tolist() == ([] if metric.summary else EPS.tolist())
    assert curve.low.shape == curve.high.shape == curve.n.shape == value.shape
    assert curve.n.dtype == torch.int64
    assert bool((curve.n <= 60).all())


@EVERY
def test_the_order_of_samples_does_not_matter(name: str) -> None:
    metric, (black, white) = metrics.get(name), outcome_of(name)
    order = torch.randperm(60)
    assert same(metric(black.take(order), white.take(order)), metric(black, white))


@EVERY
def test_a_subset_is_judged_alone(name: str) -> None:
    """The same as an outcome that never had the other samples; twice every sample changes nothing."""
    metric, (black, white) = metrics.get(name), outcome_of(name)
    index = black.label.eq(1).nonzero().flatten()
    part = metric(black.take(index), white.take(index))
    assert bool((metric.curve(black.take(index), white.take(index)).n <= len(index)).all())
    twice = torch.cat([index, index])
    assert same(metric(black.take(twice), white.take(twice)), part)
    assert not same(part, metric(black, white))


@EVERY
def test_the_interval_holds_the_value(name: str) -> None:
    metric = metrics.get(name)
    for seed in range(5):
        black, white = outcome_of(name, seed=seed)
        curve = metric.curve(black, white)
        defined = ~curve.value.isnan()
        assert bool(defined.any())
        assert bool((curve.low <= curve.value)[defined].all())
        assert bool((curve.value <= curve.high)[defined].all())
        assert torch.equal(curve.low.isnan(), ~defined)
        assert torch.equal(curve.high.isnan(), ~defined)
        assert bool((curve.high > curve.low)[defined].any())
        assert float((curve.high - curve.low)[defined].min()) >= 0


@EVERY
def test_more_samples_narrow_the_interval(name: str) -> None:
    metric = metrics.get(name)
    widths = []
    for samples in (100, 1600):
        curve = metric.curve(*outcome_of(name, samples, seed=1))
        widths.append(float((curve.high - curve.low)[-1]))
    assert 0 < widths[1] < 0.5 * widths[0]  # a quarter, give or take


@EVERY
def test_bounds(name: str) -> None:
    metric = metrics.get(name)
    for strength in (0.3, 1.0, 1.25):
        black, white = outcome_of(name, strength=strength)
        curve = metric.curve(black, white)
        top = {"share": 1.0, "eps": float(EPS.max()), "ratio": float("inf")}[metric.unit]
        for tensor in (curve.value, curve.low, curve.high):
            defined = tensor[~tensor.isnan()]
            assert bool((defined <= top + 1e-12).all())
            if metric.unit != "ratio":
                assert bool((defined >= 0).all())


@EVERY
def test_undefined_is_nan_and_never_raises(name: str) -> None:
    """Where nothing is right on clean images, or nothing is harmed, only metrics over all samples are defined."""
    black, _ = outcome_of(name)
    wrong = (black.label + 1) % 4
    nothing_right = Outcome(
        **black.tensors()
        | {"clean_a": wrong, "clean_b": wrong, "adv_a": wrong.expand(4, 60), "adv_b": wrong.expand(4, 60)}
    )
    harmless = Outcome(
        **black.tensors()
        | {"clean_a": black.label, "clean_b": black.label, "adv_a": black.label.expand(4, 60)}
        | {"adv_b": black.label.expand(4, 60)}
    )
    metric = metrics.get(name)
    for case, undefined in (
        (nothing_right, ("fooling_rate", "match_rate", "same_mistake", "surrogate_ratio", "transfer_ratio")),
        (harmless, ("match_rate", "same_mistake", "surrogate_ratio", "transfer_ratio")),
    ):
        curve = metric.curve(case, case)
        assert torch.equal(curve.low.isnan(), curve.value.isnan())
        assert torch.equal(curve.high.isnan(), curve.value.isnan())
        if name in undefined:
            assert bool(curve.value.isnan().all())
        elif metric.exact:
            assert torch.equal(curve.value.isnan(), curve.n == 0)
        elif metric.unit == "share":
            assert not curve.value.isnan().any()


@EVERY
def test_values_that_are_undefined_at_one_eps_only(name: str) -> None:
    """At eps 0 nothing is harmed: ratios and conditional shares are NaN there and numbers after it."""
    metric, (black, white) = metrics.get(name), outcome_of(name, 400)
    value = metric(black, white)
    assert not value[1:].isnan().any()
    if name in ("match_rate", "same_mistake", "surrogate_ratio", "transfer_ratio"):
        assert value[0].isnan()
    elif metric.exact:
        assert bool(value[0].isnan()) == (int(metric.curve(black, white).n[0]) == 0)
    elif metric.unit == "share":
        assert not value[0].isnan()


@EVERY
def test_which_way_is_better_is_the_way_it_goes(name: str) -> None:
    """Where B falls at every eps above 0, a metric that is better high falls, and one that is better low rises."""
    metric, (black, white) = metrics.get(name), outcome_of(name, 400)
    fallen = (black.label + 1) % 4
    harmed = Outcome(**black.tensors() | {"adv_b": torch.stack([black.adv_b[0], fallen, fallen, fallen])})
    before, after = metric(black, white), metric(harmed, white)
    change = (after - before).nan_to_num(0)
    if "plain" in metric.beside and same(after, before):
        return  # it speaks of the record beside alone
    if metric.higher_is_better is not None:
        assert bool((change if metric.higher_is_better is False else -change).ge(-1e-12).all())
        assert bool(change.abs().max() > 0.01)


def test_metrics_of_other_records_keep_the_same_promises() -> None:
    """Every threat has a record of its own; of a made one their metrics give a curve, and the order does not matter."""
    for threat in map(THREATS.__getitem__, THREATS.names()):
        record = record_of(threat.record)
        order = torch.randperm(len(record.sample_id))
        for name in metrics.names(threat.record):
            metric = metrics.get(name)
            beside = dict.fromkeys(metric.beside, record)
            curve = metric.curve(record, beside)
            assert metric.doc.endswith(".")
            assert curve.value.shape == ((1,) if metric.summary else record.x.shape)
            assert curve.value.dtype == torch.float64
            assert same(metric(record.take(order), {key: one.take(order) for key, one in beside.items()}), curve.value)


@EVERY
def test_it_only_reads(name: str) -> None:
    metric, (black, white) = metrics.get(name), outcome_of(name)
    before = {key: tensor.clone() for key, tensor in black.tensors().items()}
    metric.curve(black, white)
    metric.mean_curve([(black, white), outcome_of(name, seed=3)])
    assert all(torch.equal(before[key], tensor) for key, tensor in black.tensors().items())


@EVERY
def test_a_metric_that_needs_the_white_outcome_says_so(name: str) -> None:
    metric, (black, _) = metrics.get(name), outcome_of(name)
    if not metric.beside:
        assert same(metric(black), metric(black, outcome_of(name, seed=9)[1]))
        return
    with pytest.raises(ValueError, match=r"needs another record .*: metric\(record, \{'(white|plain)': other\}\)"):
        metric(black)
    with pytest.raises(ValueError, match="needs another record"):
        metric.mean_curve([(black, {}), (black, {"other": black})])


@EVERY
def test_intervals_are_the_same_at_every_call(name: str) -> None:
    metric, (black, white) = metrics.get(name), outcome_of(name)
    torch.manual_seed(1)
    first = metric.mean_curve([(black, white), outcome_of(name, seed=3)])
    torch.manual_seed(2)
    for samples in range(50, 58):  # enough others to push what is kept between calls out
        metric.mean_curve([outcome_of(name, samples), outcome_of(name, samples, seed=3)])
    again = metric.mean_curve([(black, white), outcome_of(name, seed=3)])
    for key in ("value", "low", "high", "n"):
        assert torch.equal(getattr(first, key).nan_to_num(-1), getattr(again, key).nan_to_num(-1))


@pytest.mark.parametrize("name", ["surrogate_ratio", "transfer_ratio"])
@pytest.mark.parametrize("harmed", [1, 2, 3])
def test_bootstrap_sets_without_harm_are_undefined_not_rounding_noise(name: str, harmed: int) -> None:
    """Of 997 samples few are harmed below the line: a resampled set holds none of them with probability exp(-harmed).

    Above the line are two others; a ratio of counts of resampled samples cannot be 100 here.
    """
    black, _ = outcome(997)
    right = ((black.clean_a == black.label) & (black.clean_b == black.label)).nonzero().flatten()
    below, above = black.label.expand(4, 997).clone(), black.label.expand(4, 997).clone()
    below[1:, right[:harmed]] = (black.label[right[:harmed]] + 1) % 4
    above[1:, right[10:12]] = (black.label[right[10:12]] + 1) % 4
    clean = {"clean_a": black.label, "clean_b": black.label}
    both = Outcome(**black.tensors() | clean | {"adv_a": below, "adv_b": above})
    white = Outcome(**black.tensors() | clean | {"adv_a": below, "adv_b": below})
    curve = metrics.get(name).curve(both, white)
    assert curve.value[1:].tolist() == pytest.approx([2 / harmed] * 3)
    assert bool((curve.low[1:] >= 0).all())
    assert bool((curve.high[1:] < 100).all())


def test_names() -> None:
    assert set(metrics.names()) >= {
        "robust_accuracy", "error_rate", "fooling_rate", "match_rate", "same_mistake", "surrogate_accuracy",
        "transfer_ratio", "surrogate_ratio", "curve_area", "half_eps",
    }  # fmt: skip
    with pytest.raises(UnknownNameError, match=r"unknown metric 'robust_acuracy'; did you mean 'robust_accuracy'"):
        metrics.get("robust_acuracy")


def test_a_name_is_taken_once() -> None:
    def again(outcome: Outcome) -> tuple[Tensor, Tensor]:
        """Again."""
        return outcome.adv_b == outcome.label, outcome.label == outcome.label

    again.__module__ = "plugin.error_rate"
    with pytest.raises(ConfigError, match=r"two metrics are named 'error_rate' .*: rename one of the files"):
        rate()(again)
    assert METRICS["error_rate"].doc != "Again."
