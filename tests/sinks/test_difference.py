"""What differs between two runs: what is matched, and what is beyond noise."""

import math
from typing import Any

import pytest
from rich.console import Console
from rich.table import Table

from tl_robust.sinks.difference import tables
from tl_robust.sinks.table import Row
from tl_robust.types import Cell

CELL = {
    "bench": "small", "source": "mnist", "target": "usps", "network": "dtn", "strategy": "finetune", "common": "",
    "defense": "none", "attack": "fgsm", "norm": "linf", "view": "white", "seed": -1, "target_images": 100,
}  # fmt: skip


def row(value: float = 0.5, spread: float = 0.1, eps: float | None = 2 / 255, **more: Any) -> Row:
    metric = more.pop("metric", "robust_accuracy")
    cell = Cell(**(CELL | more))  # type: ignore[arg-type]
    return Row(cell, eps, metric, value, 100, value - spread, value + spread, "green", "")


def lines(table: Table) -> list[list[str]]:
    return [list(cells) for cells in zip(*(column.cells for column in table.columns), strict=True)]  # type: ignore[arg-type]


def settings(first: dict[str, Any], second: dict[str, Any]) -> list[list[str]]:
    return lines(next(iter(tables({"one": [], "two": []}, {"one": first, "two": second}))))


def numbers(first: list[Row], second: list[Row]) -> list[list[str]]:
    return lines(list(tables({"one": first, "two": second}, {"one": {}, "two": {}}))[1])


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


def test_name_and_profile_are_no_settings_that_differ() -> None:
    assert settings({"name": "a", "profile": "kdd20"}, {"name": "b", "profile": "default"}) == []


def test_numbers_are_matched_by_coordinates_and_size() -> None:
    first = [row(0.9, 0.05, 0.0), row(0.5), row(0.3, attack="pgd"), row(0.2, view="black"), row(0.1, eps=8 / 255)]
    second = [row(0.6), row(0.8, 0.02, 0.0), row(0.7, eps=4 / 255), row(0.25, view="black", bench="other", seed=3)]
    found = numbers(first, second)
    assert {(line[0], line[2]) for line in found} == {("mnist → usps, fgsm linf", "finetune")}
    assert [[line[1], *line[3:]] for line in found] == [
        ["white", "0", "90.0 [85.0, 95.0]", "80.0 [78.0, 82.0]", "+10.0", "yes"],
        ["white", "2/255", "50.0 [40.0, 60.0]", "60.0 [50.0, 70.0]", "-10.0", "no"],
        ["black", "2/255", "20.0 [10.0, 30.0]", "25.0 [15.0, 35.0]", "-5.0", "no"],
    ]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("source", "svhn"), ("target", "svhn"), ("network", "wrn"), ("strategy", "scratch"), ("common", "svhn"),
        ("defense", "jpeg"), ("attack", "pgd"), ("norm", "l2"), ("view", "black"), ("target_images", 50),
    ],
)  # fmt: skip
def test_another_coordinate_is_no_match(name: str, value: object) -> None:
    assert len(numbers([row()], [row()])) == 1
    assert numbers([row()], [row(**{name: value})]) == []


def test_another_metric_or_a_whole_curve_is_no_match() -> None:
    assert numbers([row(metric="fooling_rate")], [row(metric="fooling_rate")]) == []
    assert numbers([row()], [row(metric="fooling_rate")]) == []
    assert numbers([row(eps=None)], [row(eps=None)]) == []
    assert numbers([row(eps=None)], [row(eps=0.0)]) == []


def test_sizes_match_in_pixels_whatever_way_they_were_computed() -> None:
    for one, other in ((4 / 255 / 2, 2 / 255), (0.1 + 0.2, 0.3), (2.5, 2.5)):
        assert len(numbers([row(eps=one)], [row(eps=other)])) == 1
    for one, other in ((0.3 / 255, 0.5 / 255), (0.001, 0.0012), (0.5, 0.501), (0.0, 1e-4)):
        assert numbers([row(eps=one)], [row(eps=other)]) == []
    fine = [row(0.1 * place, eps=place / 5100) for place in range(1, 9)]
    assert [line[6] for line in numbers(fine, fine)] == ["+0.0"] * 8, "sizes below a gray level are not mixed up"


@pytest.mark.parametrize(
    ("first", "second", "beyond"),
    [
        ((0.5, 0.1), (0.8, 0.1), "yes"),
        ((0.8, 0.1), (0.5, 0.1), "yes"),
        ((0.5, 0.1), (0.65, 0.1), "no"),
        ((0.5, 0.125), (0.75, 0.125), "no"),  # the ends touch
        ((0.5, 0.0), (0.5, 0.0), "no"),
        ((0.5, 0.0), (0.501, 0.0), "yes"),
        ((0.5, 0.4), (0.7, 0.01), "no"),  # one inside the other
    ],
)
def test_beyond_noise_is_intervals_that_do_not_meet(
    first: tuple[float, float], second: tuple[float, float], beyond: str
) -> None:
    (line,) = numbers([row(*first)], [row(*second)])
    assert line[7] == beyond


def test_what_is_undefined_is_neither() -> None:
    for first, second in ((math.nan, 0.5), (0.5, math.nan), (math.nan, math.nan)):
        (line,) = numbers([row(first)], [row(second)])
        assert line[6:] == ["n/a", "n/a"]
        assert [line[4] == "n/a", line[5] == "n/a"] == [math.isnan(first), math.isnan(second)]


def test_what_varies_is_named() -> None:
    both = [row(network="dtn"), row(network="wrn"), row(strategy="common_init", common="svhn"), row(target_images=50)]
    places = [(line[0], line[2]) for line in numbers(both, both)]
    assert places == [
        ("mnist → usps (dtn, 100 target images), fgsm linf", "finetune"),
        ("mnist → usps (wrn, 100 target images), fgsm linf", "finetune"),
        ("mnist → usps (dtn, 100 target images), fgsm linf", "common_init (svhn)"),
        ("mnist → usps (dtn, 50 target images), fgsm linf", "finetune"),
    ]


def test_brackets_are_printed_as_they_are() -> None:
    console = Console(width=120, markup=False, emoji=False, highlight=False, record=True, quiet=False)
    with console.capture() as caught:
        for table in tables({"kdd20": [row()], "default": [row()]}, {"kdd20": {"a": ["red"]}, "default": {"a": []}}):
            console.print(table)
    said = caught.get()
    assert "['red']" in said
    assert "50.0 [40.0, 60.0]" in said
    assert "Accuracy under attack in %, [95 % interval]; eps in pixels" in said
    for head in ("setting", "kdd20", "default", "difference", "beyond noise"):
        assert head in said
