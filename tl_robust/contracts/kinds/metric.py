"""What a metric promises: values in its range with intervals that hold them, whatever the order of samples.

Axes: K eps, N samples.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from tl_robust import metrics
from tl_robust.contracts.contract import Contracts, Named, NotAskedError, demand
from tl_robust.contracts.records import EPS, outcome_of, record_of
from tl_robust.metrics.metric import Metric
from tl_robust.types import Outcome

CONDITIONAL = ("match_rate", "same_mistake", "surrogate_ratio", "transfer_ratio")  # NaN where nothing is harmed


def cases(named: Named) -> Iterator[tuple[str, str]]:
    """Its name."""
    yield "", named.name


CONTRACTS = Contracts("metric", cases)


def _of_evasion(name: str) -> Metric:
    metric = metrics.get(name)
    if metric.of is not Outcome:
        raise NotAskedError(f"It reads {metric.of.__name__}, of which no set of results is made up that falls with x.")
    return metric


def same(left: Tensor, right: Tensor) -> bool:
    """Equal but for rounding, NaN where NaN is."""
    return torch.allclose(left, right, rtol=1e-12, atol=1e-12, equal_nan=True)


@CONTRACTS
def tells_readers_what_it_is(name: str) -> None:
    """Its docstring is a sentence, its unit and its views are known words, and it asks for no view that it is in."""
    metric = metrics.get(name)
    text = metric.doc
    todo = "write a docstring: what is counted, over which samples"
    demand(text, "a docstring", "none", todo)
    demand(text[0].isupper() or text[0] in "(`", "a docstring that begins with a capital", repr(text), todo)
    if metric.of is not Outcome:
        demand(text.endswith("."), "a docstring that ends with a full stop", repr(text), todo)
        return
    demand(metric.unit in ("share", "ratio", "eps"), "unit share, ratio or eps", metric.unit, "choose one of them")
    known = set(metric.views) <= {"white", "black", "shadow"}
    demand(known, "views among white, black and shadow", metric.views, "choose among them")
    beside = "white" not in metric.beside or (metric.views and "white" not in metric.views)
    demand(beside, "views without white where it compares with white", metric.views, "give views=('black',)")


@CONTRACTS
def gives_a_curve_of_every_record(name: str) -> None:
    """Of any record of its class it gives float64 values, one for each x or one in all, in any order of samples."""
    metric = metrics.get(name)
    record = record_of(metric.of)
    order = torch.randperm(len(record.sample_id), generator=torch.Generator().manual_seed(3))
    beside = dict.fromkeys(metric.beside, record)
    curve = metric.curve(record, beside)
    shape = (1,) if metric.summary else tuple(record.x.shape)
    todo = "return event and base of shape [K,N], or [N] with summary=True"
    right = tuple(curve.value.shape) == shape
    demand(right, f"values {list(shape)}", list(curve.value.shape), todo)
    demand(curve.value.dtype == torch.float64, "torch.float64", curve.value.dtype, "return bool, or compute in double")
    moved = metric(record.take(order), {key: other.take(order) for key, other in beside.items()})
    demand(
        same(moved, curve.value), "the same values in another order of samples", "others", "use no place of a sample"
    )


@CONTRACTS
def gives_one_value_per_eps_or_one_for_the_curve(name: str) -> None:
    """Values, ends of intervals and counts are float64 or int64, one for each eps or one in all."""
    metric = _of_evasion(name)
    black, white = outcome_of(name)
    value, curve = metric(black, white), metric.curve(black, white)
    todo = "return event [K,N] and base [K,N] or [N], or both [N] with summary=True"
    shape = (1,) if metric.summary else (4,)
    right = value.shape == shape and curve.low.shape == curve.high.shape == curve.n.shape == value.shape
    demand(value.dtype == torch.float64 and right, f"torch.float64 {list(shape)}", f"{list(value.shape)}", todo)
    demand(same(curve.value, value), "a curve of its values", "others", todo)
    eps = [] if metric.summary else EPS.tolist()
    demand(curve.eps.tolist() == eps, f"eps {eps}", curve.eps.tolist(), todo)
    counts = curve.n.dtype == torch.int64 and bool((curve.n <= 60).all())
    demand(counts, "at most 60 of 60 samples in the denominator", curve.n.tolist(), "give a base that is a bool tensor")


@CONTRACTS
def does_not_depend_on_the_order_of_samples(name: str) -> None:
    """Samples in another order give the same values."""
    metric = _of_evasion(name)
    black, white = outcome_of(name)
    order = torch.randperm(60, generator=torch.Generator().manual_seed(3))
    moved = metric(black.take(order), white.take(order))
    demand(same(moved, metric(black, white)), "the same values", "others", "use no place of a sample")


@CONTRACTS
def judges_a_part_alone(name: str) -> None:
    """A part of the samples has the value of a test set of only those; twice every sample changes nothing."""
    metric = _of_evasion(name)
    black, white = outcome_of(name)
    index = black.label.eq(1).nonzero().flatten()
    part = metric(black.take(index), white.take(index))
    few = bool((metric.curve(black.take(index), white.take(index)).n <= len(index)).all())
    todo = "compute from the samples that are given alone"
    demand(few, f"at most {len(index)} samples in the denominator", "more", todo)
    twice = torch.cat([index, index])
    doubled = metric(black.take(twice), white.take(twice))
    demand(same(doubled, part), "the same value of every sample twice", "another", "return shares, no counts")
    demand(not same(part, metric(black, white)), "another value of a part", "that of all samples", todo)


@CONTRACTS
def has_intervals_that_hold_the_value(name: str) -> None:
    """The interval of a value holds it, and is NaN exactly where the value is."""
    metric = _of_evasion(name)
    for seed in range(5):
        curve = metric.curve(*outcome_of(name, seed=seed))
        defined = ~curve.value.isnan()
        todo = "return bool indicators whose means are combined"
        demand(defined.any(), "a value at some eps", "NaN at all", todo)
        holds = bool(((curve.low <= curve.value) & (curve.value <= curve.high))[defined].all())
        demand(holds, "an interval around the value", "one beside it", todo)
        nan = torch.equal(curve.low.isnan(), ~defined) and torch.equal(curve.high.isnan(), ~defined)
        demand(nan, "an interval exactly where there is a value", "another", todo)
        width = (curve.high - curve.low)[defined]
        demand((width > 0).any() and float(width.min()) >= 0, "an interval with a width", width.tolist(), todo)


@CONTRACTS
def narrows_its_interval_with_more_samples(name: str) -> None:
    """Sixteen times as many samples give an interval of less than half the width."""
    metric = _of_evasion(name)
    widths = []
    for samples in (100, 1600):
        curve = metric.curve(*outcome_of(name, samples, seed=1))
        widths.append(float((curve.high - curve.low)[-1]))
    narrow = 0 < widths[1] < 0.5 * widths[0]  # a quarter, give or take
    demand(narrow, f"a width below {0.5 * widths[0]:.3f}", f"{widths[1]:.3f}", "take means over samples")


@CONTRACTS
def stays_in_its_range(name: str) -> None:
    """A share and its interval are in [0, 1], a place on the axis is within it, and no ratio is below 0."""
    metric = _of_evasion(name)
    for strength in (0.3, 1.0, 1.25):
        curve = metric.curve(*outcome_of(name, strength=strength))
        top = {"share": 1.0, "eps": float(EPS.max()), "ratio": float("inf")}[metric.unit]
        for tensor in (curve.value, curve.low, curve.high):
            defined = tensor[~tensor.isnan()]
            low = 0.0 if metric.unit != "ratio" else -float("inf")
            inside = bool(((defined >= low) & (defined <= top + 1e-12)).all())
            todo = "divide by the samples in the base, or declare another unit"
            demand(inside, f"a {metric.unit} from {low:g} to {top:.3g}", defined.tolist(), todo)


@CONTRACTS
def is_undefined_as_nan_and_never_raises(name: str) -> None:
    """Where nothing is right on clean images, or nothing is harmed, only metrics over all samples have a value."""
    metric = _of_evasion(name)
    black, _ = outcome_of(name)
    label, wrong = black.label, (black.label + 1) % 4
    nothing_right = {"clean_a": wrong, "clean_b": wrong, "adv_a": wrong.expand(4, 60), "adv_b": wrong.expand(4, 60)}
    harmless = {"clean_a": label, "clean_b": label, "adv_a": label.expand(4, 60), "adv_b": label.expand(4, 60)}
    for change, undefined in ((nothing_right, (*CONDITIONAL, "fooling_rate")), (harmless, CONDITIONAL)):
        case = Outcome(**(black.tensors() | change))
        curve = metric.curve(case, case)
        nan = curve.value.isnan()
        ends = torch.equal(curve.low.isnan(), nan) and torch.equal(curve.high.isnan(), nan)
        demand(ends, "an interval exactly where there is a value", "another", "return NaN where nothing is defined")
        if name in undefined:
            demand(nan.all(), "NaN", curve.value.tolist(), "divide by the base, which is empty")
        elif metric.exact:
            demand(
                torch.equal(nan, curve.n == 0), "NaN exactly where the base is empty", curve.value.tolist(), "drop it"
            )
        elif metric.unit == "share":
            demand(not nan.any(), "a value of a share over all samples", "NaN", "divide by what cannot be 0")


@CONTRACTS
def is_undefined_only_where_nothing_is_harmed(name: str) -> None:
    """At eps 0 ratios and conditional shares may be NaN; after it, where some are harmed, there are numbers."""
    metric = _of_evasion(name)
    black, white = outcome_of(name, 400)
    value = metric(black, white)
    demand(
        not value[1:].isnan().any(), "numbers at every eps above 0", value.tolist(), "choose a base that is not empty"
    )
    if name in CONDITIONAL:
        demand(value[0].isnan(), "NaN at eps 0", float(value[0]), "divide by the base, which is empty there")
    elif metric.exact:
        right = bool(value[0].isnan()) == (int(metric.curve(black, white).n[0]) == 0)
        demand(right, "NaN at eps 0 exactly where the base is empty", float(value[0]), "divide by the base")
    elif metric.unit == "share":
        demand(not value[0].isnan(), "a number at eps 0", "NaN", "divide by what cannot be 0")


@CONTRACTS
def goes_the_way_that_it_says_is_better(name: str) -> None:
    """Where B falls at every eps above 0, what is better high falls, and what is better low rises."""
    metric = _of_evasion(name)
    black, white = outcome_of(name, 400)
    fallen = (black.label + 1) % 4
    harmed = Outcome(**(black.tensors() | {"adv_b": torch.stack([black.adv_b[0], fallen, fallen, fallen])}))
    before, after = metric(black, white), metric(harmed, white)
    if metric.higher_is_better is None or ("plain" in metric.beside and same(after, before)):
        return  # the latter speaks of the record beside alone
    change = (after - before).nan_to_num(0)
    up = metric.higher_is_better is False
    way, other = ("rise", "falls") if up else ("fall", "rises")
    right = bool((change if up else -change).ge(-1e-12).all()) and bool(change.abs().max() > 0.01)
    demand(right, f"it to {way} where B falls", f"one that {other} or stays", f"set higher_is_better={up}")


@CONTRACTS
def only_reads_its_records(name: str) -> None:
    """The records that it is given stay as they were."""
    metric = _of_evasion(name)
    black, white = outcome_of(name)
    before = {key: tensor.clone() for key, tensor in black.tensors().items()}
    metric.curve(black, white)
    metric.mean_curve([(black, white), outcome_of(name, seed=3)])
    kept = all(torch.equal(before[key], tensor) for key, tensor in black.tensors().items())
    demand(kept, "the record to stay", "changed values", "change clones")


@CONTRACTS
def says_when_it_needs_another_record(name: str) -> None:
    """One that compares with a record beside refuses to go without; another is the same whatever lies beside."""
    metric = _of_evasion(name)
    black, _ = outcome_of(name)
    if not metric.beside:
        alike = same(metric(black), metric(black, outcome_of(name, seed=9)[1]))
        demand(alike, "the same value whatever lies beside", "another", "declare beside=('white',)")
        return
    several: tuple[list[tuple[Outcome, dict[str, Outcome]]], ...] = (
        [(black, {})],
        [(black, {}), (black, {"other": black})],
    )
    for seeds in several if not metric.alone else ():
        said = ""
        try:
            metric.mean_curve(seeds)
        except ValueError as error:
            said = str(error)
        right = "needs another record" in said
        demand(
            right, "a sentence that says which record is missing", repr(said), "leave records beside to the base class"
        )


@CONTRACTS
def has_the_same_interval_at_every_call(name: str) -> None:
    """Intervals depend on the records alone, not on what was drawn or asked before."""
    metric = _of_evasion(name)
    black, white = outcome_of(name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        first = metric.mean_curve([(black, white), outcome_of(name, seed=3)])
        torch.manual_seed(2)
        for samples in range(50, 58):  # enough others to push what is kept between calls out
            metric.mean_curve([outcome_of(name, samples), outcome_of(name, samples, seed=3)])
        again = metric.mean_curve([(black, white), outcome_of(name, seed=3)])
    for key in ("value", "low", "high", "n"):
        equal = torch.equal(getattr(first, key).nan_to_num(-1), getattr(again, key).nan_to_num(-1))
        demand(equal, f"the same {key} at every call", "another", "draw nothing")
