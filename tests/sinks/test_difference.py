"""What moved between two benches: what is matched, from what, and what is beyond noise."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from rich.console import Console
from rich.table import Table
from scipy.stats import binom, ttest_rel

from tl_robust.metrics import METRICS
from tl_robust.metrics.estimate import holm
from tl_robust.results import difference
from tl_robust.results.difference import Comparison, Number, Side, compare, signed, tables
from tl_robust.results.table import Row, rows
from tl_robust.seeding import generator
from tl_robust.types import Cell, Face, Outcome, Result, Verdict

CELL = {
    "bench": "small", "source": "mnist", "target": "usps", "network": "dtn", "strategy": "finetune", "common": "",
    "defense": "none", "attack": "fgsm", "norm": "linf", "view": "white", "seed": -1, "target_images": 100,
}  # fmt: skip
EPS = (0.0, 2 / 255, 8 / 255)


def row(value: float = 0.5, spread: float = 0.1, eps: float | None = 2 / 255, **more: Any) -> Row:
    metric = more.pop("metric", "robust_accuracy")
    cell = Cell(**(CELL | more))  # type: ignore[arg-type]
    return Row(cell, eps, metric, value, 100, value - spread, value + spread, "green", "")


def side(found: Sequence[Row], name: str = "one", seeds: int = 1) -> Side:
    """A side of which only means are known."""
    cells = [replace(one, cell=replace(one.cell, seed=seed)) for one in found for seed in range(seeds)]
    return Side.of_rows(name, cells, found)


def found(first: Sequence[Row], second: Sequence[Row], seeds: int = 1) -> Sequence[Number]:
    return compare(side(first, "one", seeds), side(second, "two", seeds)).numbers


def outcome(right: torch.Tensor, eps: Sequence[float] = EPS, labels: int = 10) -> Outcome:
    """B is right on the clean images, and under attack where ``right`` ``[K,N]`` says so."""
    k, n = right.shape
    label = torch.arange(n) % labels
    adv = torch.where(right, label, label + 1)
    flag = torch.ones(n, dtype=torch.bool)
    size = torch.zeros(k, n)
    return Outcome(
        torch.arange(n), label, label, label, adv, adv, size, torch.tensor(eps, dtype=torch.float64), ~flag,
        torch.ones(k, n, dtype=torch.bool), flag,
    )  # fmt: skip


def results(
    rates: Sequence[Sequence[float]], images: int = 400, eps: Sequence[float] = EPS, **more: Any
) -> list[Result]:
    """One result a seed; accuracy under attack by eps. An image has one difficulty for all seeds and sides."""
    hard = torch.rand(images, generator=generator("hard"))
    built = []
    for seed, share in enumerate(rates):
        judged = outcome(hard[None] < torch.tensor(share)[:, None], eps)
        curves = {name: METRICS[name].curve(judged) for name in ("robust_accuracy", "curve_area")}
        cell = Cell(**(CELL | {"seed": seed} | more))  # type: ignore[arg-type]
        built.append(Result(f"{seed}", cell, judged, {}, curves, Verdict(), {}))
    return built


def lines(table: Table) -> list[list[str]]:
    return [list(cells) for cells in zip(*(column.cells for column in table.columns), strict=True)]  # type: ignore[arg-type]


def shown(comparison: Comparison) -> list[list[list[str]]]:
    return [lines(table) for table in tables(comparison, comparison.numbers)]


def settings(first: dict[str, Any], second: dict[str, Any]) -> list[list[str]]:
    sides = [replace(side([]), settings=item) for item in (first, second)]
    return shown(compare(*sides))[0]


# settings


def test_only_settings_that_differ_are_shown_in_order() -> None:
    first = {"recipe": {"lr": 0.1, "epochs": 3, "lr_at": (150, 250)}, "eps": [0, "4/255"], "recipes": {"a": {"lr": 1}}}
    second = {"recipe": {"lr": 0.2, "epochs": 3, "lr_at": ()}, "eps": [0, "8/255"], "new": True}
    assert settings(first, second) == [
        ["eps", "[0, '4/255']", "[0, '8/255']"],
        ["new", "-", "True"],
        ["recipe.lr", "0.1", "0.2"],
        ["recipe.lr_at", "(150, 250)", "()"],
        ["recipes.a.lr", "1", "-"],
    ]
    assert settings(first, first) == []


def test_what_moves_no_number_is_no_setting_that_differs() -> None:
    first = {
        "name": "a",
        "profile": "kdd20",
        "results": "x",
        "workers": 1,
        "wandb": {"mode": "off"},
        "data": {"cache": 1},
    }
    second = {
        "name": "b",
        "profile": "none",
        "results": "y",
        "workers": 2,
        "wandb": {"mode": "on"},
        "data": {"cache": 2},
    }
    assert settings(first, second) == []
    assert settings({"names": 1, "data": {"root": 1}}, {"names": 2, "data": {"root": 2}}) == [
        ["data.root", "1", "2"],
        ["names", "1", "2"],
    ]


def test_versions_are_shown_and_what_is_not_known_is_not() -> None:
    def built(version: str, *devices: str) -> Side:
        made = [{"versions": {"torch": version}, "device": device, "commit": "c", "seconds": 1} for device in devices]
        (result,) = results([(1, 1, 1)])
        return Side.of_results("one", [replace(result, provenance=item) for item in made], {"eps": 1})

    first, second = built("2.9", "cpu"), built("2.10", "gpu", "cpu")
    assert shown(compare(first, second))[0] == [["device", "cpu", "cpu, gpu"], ["versions.torch", "2.9", "2.10"]]
    assert shown(compare(first, replace(second, made=None, settings=None)))[0] == []


# what is matched


def test_numbers_are_matched_by_coordinates_and_size() -> None:
    first = [row(0.9, 0.05, 0.0), row(0.5), row(0.3, attack="pgd"), row(0.2, view="black"), row(0.1, eps=8 / 255)]
    second = [row(0.6), row(0.8, 0.02, 0.0), row(0.7, eps=4 / 255), row(0.25, view="black", bench="other")]
    comparison = compare(side(first), side(second, "two"))
    _, numbers = shown(comparison)
    assert [line[:6] for line in numbers] == [
        ["fgsm linf", "white", "finetune", "0", "90.0", "80.0"],
        ["fgsm linf", "white", "finetune", "2/255", "50.0", "60.0"],
        ["fgsm linf", "black", "finetune", "2/255", "20.0", "25.0"],
    ]
    assert [line[6:] for line in numbers] == [
        ["-10.0", "[-15.4, -4.6]", "yes"],
        ["+10.0", "[-4.1, +24.1]", "no"],
        ["+5.0", "[-9.1, +19.1]", "no"],
    ]
    assert comparison.only == (1, 0)
    assert compare(side(second), side(first)).only == (0, 1)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("source", "svhn"), ("target", "svhn"), ("network", "wrn"), ("strategy", "scratch"), ("common", "svhn"),
        ("defense", "jpeg"), ("attack", "pgd"), ("norm", "l2"), ("view", "black"), ("target_images", 50),
    ],
)  # fmt: skip
def test_another_coordinate_is_no_match(name: str, value: object) -> None:
    assert len(found([row()], [row()])) == 1
    assert len(found([row()], [row(bench="other", seed=3)])) == 1
    comparison = compare(side([row()]), side([row(**{name: value})]))
    assert (comparison.numbers, comparison.only) == ([], (1, 1))


def test_another_metric_or_a_whole_curve_is_no_match() -> None:
    assert len(found([row(metric="fooling_rate")], [row(metric="fooling_rate")])) == 1
    assert found([row()], [row(metric="fooling_rate")]) == []
    assert found([row(eps=None, metric="curve_area")], [row(eps=0.0, metric="curve_area")]) == []
    assert found([row(metric="of_a_plugin")], [row(metric="of_a_plugin")]) == []


def test_whole_curves_are_compared_over_the_same_sizes_only() -> None:
    area = row(eps=None, metric="curve_area")
    first = [area, row(eps=0.0), row(eps=0.1)]
    assert len(found(first, first)) == 3
    assert {one.first.metric for one in found(first, [*first, row(eps=0.2)])} == {"robust_accuracy"}


def test_chosen_metrics_are_the_family_of_the_correction() -> None:
    first = [row(0.5, 0.1), row(0.5, 0.1, metric="error_rate")]
    second = [row(0.65, 0.1), row(0.5, 0.1, metric="error_rate")]
    assert len(compare(side(first), side(second)).numbers) == 2
    (one,) = compare(side(first), side(second), ["robust_accuracy"]).numbers
    both = compare(side(first), side(second)).numbers[0]
    assert both.p == pytest.approx(2 * one.p)
    assert (one.moved, both.moved) == (True, False)


def test_sizes_match_in_pixels_whatever_way_they_were_computed() -> None:
    for one, other in ((4 / 255 / 2, 2 / 255), (0.1 + 0.2, 0.3), (2.5, 2.5), (16 / 255, 0.0627451)):
        assert len(found([row(eps=one)], [row(eps=other)])) == 1
    for one, other in ((0.3 / 255, 0.5 / 255), (0.001, 0.0012), (0.5, 0.501), (0.0, 1e-4)):
        assert found([row(eps=one)], [row(eps=other)]) == []
    fine = [row(0.1 * place, eps=place / 5100) for place in range(1, 9)]
    assert [one.change for one in found(fine, fine)] == [0.0] * 8, "sizes below a gray level are not mixed up"


# noise, from tables


@pytest.mark.parametrize(
    ("first", "second", "beyond"),
    [
        ((0.5, 0.1), (0.8, 0.1), True),
        ((0.8, 0.1), (0.5, 0.1), True),
        ((0.5, 0.1), (0.63, 0.1), False),  # sqrt(2) * 0.1 is 0.141
        ((0.5, 0.1), (0.65, 0.1), True),  # though the intervals meet
        ((0.5, 1e-6), (0.501, 1e-6), True),
        ((0.5, 1e-6), (0.500001, 1e-6), False),  # the sixth digit of a table
        ((0.5, 0.4), (0.7, 0.01), False),
    ],
)
def test_beyond_noise_by_two_intervals(first: tuple[float, float], second: tuple[float, float], beyond: bool) -> None:
    (one,) = found([row(*first)], [row(*second)])
    assert (one.moved, one.alone, one.paired) == (beyond, beyond, False)
    assert one.change == pytest.approx(second[0] - first[0], abs=2e-6)
    assert one.high - one.change == pytest.approx(math.hypot(first[1], second[1]), abs=2e-6)


@pytest.mark.parametrize("spread", [(0.0, 0.0), (0.0, 0.1), (0.1, 0.0)])
@pytest.mark.parametrize("value", [0.5, 0.501, 0.9])
def test_an_interval_of_no_width_is_none(spread: tuple[float, float], value: float) -> None:
    """Tables of earlier versions have some, where nothing varied. They are no member of the family."""
    numbers = [[row(start, width), row(start, 0.1, 0.0)] for start, width in zip((0.5, value), spread, strict=True)]
    comparison = compare(side(numbers[0]), side(numbers[1]))
    none, other = comparison.numbers
    assert none.change == pytest.approx(value - 0.5)
    assert all(math.isnan(part) for part in (none.low, none.high, none.p))
    assert (none.moved, none.alone) == (False, False)
    assert other.p == found([row(0.5, 0.1)], [row(value, 0.1)])[0].p
    assert shown(comparison)[1][0][7:] == ["n/a", "n/a"]


def test_lopsided_intervals_count_on_the_side_of_the_difference() -> None:
    first, second = row(0.02), row(0.05)
    first, second = replace(first, low=0.01, high=0.06), replace(second, low=0.04, high=0.1)
    (one,) = found([first], [second])
    assert one.low == pytest.approx(0.03 - math.hypot(0.01, 0.04))
    assert one.high == pytest.approx(0.03 + math.hypot(0.05, 0.01))


def test_few_seeds_make_large_ratios_less_sure() -> None:
    """The interval of a table knows of its few seeds; how fast p falls beyond it must too."""
    (few,), (many,) = (found([row(0.5, 0.1)], [row(0.8, 0.1)], seeds) for seeds in (2, 30))
    assert (few.low, few.high) == (many.low, many.high)
    assert few.p > 5 * many.p
    (edge,) = found([row(0.5, 0.1)], [row(0.5 + math.hypot(0.1, 0.1), 0.1)], 3)
    assert edge.p == pytest.approx(0.05, abs=1e-4)


def test_many_numbers_are_corrected_by_holm() -> None:
    gaps = [0.0, 0.15, 0.16, 0.2, 0.5]
    first, second = ([row(0.3 + gap * add, eps=place / 255) for place, gap in enumerate(gaps)] for add in (0, 1))
    alone = [found([a], [b])[0].p for a, b in zip(first, second, strict=True)]
    together = found(first, second)
    assert [one.p for one in together] == pytest.approx(holm(alone))
    assert [one.moved for one in together] == [False, False, False, True, True]
    assert [one.alone for one in together] == [False, True, True, True, True]


def test_what_is_undefined_is_neither_and_no_member_of_the_family() -> None:
    for first, second in ((math.nan, 0.5), (0.5, math.nan), (math.nan, math.nan)):
        numbers = [row(first), row(0.5, eps=0.0)], [row(second), row(0.65, eps=0.0)]
        comparison = compare(side(numbers[0]), side(numbers[1]))
        assert not comparison.numbers[0].moved
        assert comparison.numbers[1].moved, "corrected for one number, not for two"
        assert comparison.ranked[0] is comparison.numbers[1]
        line = shown(comparison)[1][0]
        assert line[6:] == ["n/a", "n/a", "n/a"]
        assert [line[4] == "n/a", line[5] == "n/a"] == [math.isnan(first), math.isnan(second)]


def test_moved_numbers_come_first_then_large_ones() -> None:
    first = [row(0.5, spread, eps=place / 255) for place, spread in enumerate((0.01, 0.4, 0.01, 0.4))]
    second = [replace(one, value=one.value + gap) for one, gap in zip(first, (0.1, 0.2, -0.3, -0.25), strict=True)]
    second = [replace(one, low=one.value - 0.01, high=one.value + 0.01) for one in second]
    assert [round(one.change, 2) for one in compare(side(first), side(second)).ranked] == [-0.3, 0.1, -0.25, 0.2]


# noise, from outcomes


def test_the_same_samples_and_seeds_are_compared_in_pairs() -> None:
    first = results([(1, 0.8, 0.5), (1, 0.7, 0.4), (1, 0.75, 0.45)])
    second = results([(1, 0.82, 0.55), (1, 0.72, 0.44), (1, 0.77, 0.5)], bench="other")
    together = compare(Side.of_results("one", first), Side.of_results("two", second))
    tabled = compare(*(side_of_tables(part) for part in (first, second)))
    assert len(together.numbers) == len(tabled.numbers) == 4
    assert {one.paired for one in together.numbers} == {True}
    assert {one.paired for one in tabled.numbers} == {False}
    for one, other in zip(together.numbers, tabled.numbers, strict=True):
        assert one.change == pytest.approx(one.second.value - one.first.value)
        assert other.change == pytest.approx(one.change, abs=1e-4)
    small = [one for one in together.numbers if one.first.metric == "robust_accuracy" and one.change > 0]
    wide = [one for one in tabled.numbers if one.first.metric == "robust_accuracy" and one.change > 0]
    assert len(small) == 2
    for one, other in zip(small, wide, strict=True):
        assert one.high - one.low < 0.7 * (other.high - other.low), "hard images are hard for both"
        assert not other.alone


def side_of_tables(found: Sequence[Result]) -> Side:
    whole = Side.of_results("tables", found)
    return Side.of_rows("tables", [line for result in found for line in rows(result)], whole.summary)


def test_one_seed_agrees_with_the_t_test_over_samples() -> None:
    images = 500
    right = torch.rand(2, images, generator=generator("pairs"))
    pair = [outcome((right[place] < share)[None], EPS[:1]) for place, share in enumerate((0.5, 0.56))]
    sides = []
    for judged in pair:
        curve = {"robust_accuracy": METRICS["robust_accuracy"].curve(judged)}
        sides.append(Side.of_results("x", [Result("k", Cell(**(CELL | {"seed": 0})), judged, {}, curve, Verdict())]))  # type: ignore[arg-type]
    (one,) = compare(*sides).numbers
    hits = [(judged.adv_b == judged.label)[0].double().numpy() for judged in pair]
    expected = ttest_rel(hits[1], hits[0])
    interval = expected.confidence_interval()
    assert one.p == pytest.approx(expected.pvalue, rel=0.2)
    assert (one.low, one.high) == pytest.approx((interval.low, interval.high), abs=0.006)


def test_a_bench_has_not_moved_from_itself() -> None:
    found = Side.of_results("one", results([(1, 0.8, 0.5), (1, 0.7, 0.4)]))
    for one in compare(found, found).numbers:
        assert (one.change, one.p, one.moved) == (0, 1, False)
        assert -0.01 < one.low < 0 < one.high < 0.01, "400 images in which nothing moved"


@pytest.mark.parametrize(("images", "seeds", "moved"), [(1, 2, False), (3, 2, False), (5, 1, False), (100, 1, True)])
def test_nothing_that_varies_is_not_no_variance(images: int, seeds: int, moved: bool) -> None:
    """All right on one side and all wrong on the other."""
    rates = [(1.0, 1.1, 1.1)] * seeds, [(1.1, 0.0, 0.0)] * seeds
    comparison = compare(*(Side.of_results("x", results(part, images)) for part in rates))
    attacked = [one for one in comparison.numbers if one.change < -0.5]
    assert len(attacked) == 3
    for one in attacked:
        assert one.paired
        assert one.low < one.change < one.high
        assert one.p > 0
        assert one.moved == moved


def test_what_nothing_can_move_has_no_interval() -> None:
    """Where B is wrong at the smallest eps already, half_eps is that eps, whatever the samples: no error is known."""
    sides = []
    for right in (0.0, 1.1):
        judged = outcome(torch.full((1, 50), right) > 0.5, EPS[1:2])
        curves = {"half_eps": METRICS["half_eps"].curve(judged)}
        sides.append(Side.of_results("x", [Result("k", Cell(**(CELL | {"seed": 0})), judged, {}, curves, Verdict())]))  # type: ignore[arg-type]
    (one,) = compare(*sides).numbers
    assert math.isnan(one.p)
    assert (one.change, one.moved) == (0, False)


def test_other_seeds_samples_or_sizes() -> None:
    first = results([(1, 0.8, 0.5), (1, 0.7, 0.4)])
    one = Side.of_results("one", first)
    for other in (
        results([(1, 0.8, 0.5)]),
        results([(1, 0.8, 0.5), (1, 0.7, 0.4)], images=300),
        [replace(item, cell=replace(item.cell, seed=item.cell.seed + 1)) for item in first],
        [replace(item, outcome=replace(item.outcome, label=item.outcome.label + 1)) for item in first],
    ):
        numbers = compare(one, Side.of_results("two", other)).numbers
        assert len(numbers) == 4
        assert {number.paired for number in numbers} == {False}
    grid = results([(0.8, 1, 0.1), (0.7, 1, 0.1)], eps=(2 / 255, 0.0, 0.3))
    numbers = compare(one, Side.of_results("two", grid)).numbers
    assert [(round(255 * (number.first.eps or 0)), number.paired) for number in numbers] == [(0, True), (2, True)]
    assert [number.change for number in numbers] == pytest.approx([0, 0]), "each size with its like"


def test_chance_moves_few() -> None:
    """Two benches that differ by seeds' luck alone: a number moves in at most 5 of 100, beyond chance of the count."""
    draw, moved, runs = generator("luck"), 0, 120
    for _ in range(runs):
        luck = 0.5 + 0.03 * torch.randn(2, 3, 2, generator=draw)
        sides = [results([(float(seed[0]), float(seed[1])) for seed in part], 100, EPS[:2]) for part in luck]
        comparison = compare(*(Side.of_results("x", part) for part in sides))
        moved += any(one.moved for one in comparison.numbers)
    assert moved <= binom.isf(0.001, runs, 0.05)


# how it reads


HEADS = ["eps", "one", "two", "change", "interval", "beyond noise"]


def heads(found: Sequence[Row]) -> list[str]:
    comparison = compare(side(found), side(found, "two"))
    _, table = tables(comparison, comparison.numbers)
    return [str(column.header) for column in table.columns]


def test_what_varies_is_named() -> None:
    both = [row(network="dtn"), row(network="wrn"), row(strategy="common_init", common="svhn"), row(target_images=50)]
    _, numbers = shown(compare(side(both), side(both)))
    assert [(line[0], line[2]) for line in numbers] == [
        ("mnist → usps (dtn, 100 target images), fgsm linf", "finetune"),
        ("mnist → usps (wrn, 100 target images), fgsm linf", "finetune"),
        ("mnist → usps (dtn, 100 target images), fgsm linf", "common_init (svhn)"),
        ("mnist → usps (dtn, 50 target images), fgsm linf", "finetune"),
    ]
    assert heads(both) == ["pair, attack", "view", "strategy", *HEADS]
    several = [row(), row(eps=None, metric="half_eps")]
    assert heads(several) == ["attack", "view", "strategy", "metric", *HEADS]
    _, numbers = shown(compare(side(several), side(several)))
    assert [line[3:6] for line in numbers] == [["robust_accuracy", "2/255", "50.0"], ["half_eps", "-", "0.5000"]]


def test_signs_are_written() -> None:
    assert [signed(value, "share") for value in (0.1, -0.1, 0.0, math.nan)] == ["+10.0", "-10.0", "0.0", "n/a"]


def test_brackets_are_printed_as_they_are() -> None:
    console = Console(width=120, markup=False, emoji=False, highlight=False, record=True, quiet=False)
    sides = [replace(side([row()], name), settings={"a": value}) for name, value in (("one", ["red"]), ("two", []))]
    with console.capture() as caught:
        comparison = compare(sides[0], sides[1])
        for table in tables(comparison, comparison.numbers):
            console.print(table)
    said = caught.get()
    assert "['red']" in said
    assert "[-14.1, +14.1]" in said
    assert "mnist → usps" in said
    assert "Accuracy under attack in %, change with its 95 % interval; eps in pixels" in said
    for head in ("setting", "one", "two", "change", "interval", "beyond noise"):
        assert head in said


def test_places_read_as_the_axis_of_their_threat_does(monkeypatch: pytest.MonkeyPatch) -> None:
    poison = Face("backdoor", "Success of the trigger", axis="poison", axis_text=lambda share: f"{100 * share:g} %")
    monkeypatch.setattr(difference, "face_of", lambda cell: poison)
    numbers = [replace(row(value, eps=0.05, threat="backdoor"), axis="poison") for value in (0.5, 0.6)]
    _, table = tables(compare(side(numbers[:1]), side(numbers[1:], "two")), found(numbers[:1], numbers[1:]))
    column = next(column for column in table.columns if column.header == "poison")
    assert list(column.cells) == ["5 %"]
    assert "pixels" not in str(table.title)
