"""Stamped pictures in the page: the right pixels, and beside them what each B and each twin says."""

from __future__ import annotations

import html
import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.sinks.stamped_made import result
from tests.sinks.test_gallery import pixels
from tests.sinks.test_survival_section import part
from tl_robust.sinks.report import stamped_pictures
from tl_robust.sinks.report.blocks import Block, Gallery, Text
from tl_robust.sinks.report.rendering import fragment
from tl_robust.sinks.report.stamped_pictures import stamped_gallery
from tl_robust.types import Pictures

CLEAN = torch.randint(40, 200, (2, 1, 6, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(2))
STAMPED = CLEAN.clone()
STAMPED[..., 4:, 4:] += 30
SHOWN = Pictures(torch.tensor([1, 98]), torch.zeros(1, dtype=torch.float64), CLEAN, STAMPED[None],
                 ("zero", "one", "two", "<three>"))  # fmt: skip
CELLS = [result(), result((75, 75, 75), strategy="probe")]  # sample 1 is of class 1, and 98 of class 2


def blocks(cells=CELLS, found: Pictures | None = SHOWN) -> list[Block]:
    pictures = {} if found is None else {cell.provenance["outcome"]: found for cell in cells}
    return stamped_gallery(replace(part(cells), pictures=pictures))


def fields(markup: str) -> list[list[str]]:
    return [re.findall(r"<td>(.*?)</td>", row) for row in re.findall(r"<tr>(.*?)</tr>", markup)[1:]]


def says(field: str) -> list[str]:
    return [html.unescape(line) for line in re.findall(r"<li[^>]*>(.*?)</li>", field)]


def test_pixels_are_those_of_the_store_and_the_difference_is_magnified() -> None:
    note, table = blocks()
    assert isinstance(note, Text)
    assert isinstance(table, Gallery)
    assert table.caption == "src → tgt, patch(target=0); the trigger calls for zero"
    assert list(table.columns) == [
        "sample", "clean", "stamped, difference magnified 4 times", "stamped, after 0 epochs",
        "stamped, after 4 epochs",
    ]  # fmt: skip
    for place, row in enumerate(fields(fragment(table))):
        clean, stamped, change = (pixels(tag) for field in row for tag in re.findall(r"<img[^>]*>", field))
        assert np.array_equal(clean, CLEAN[place, 0])
        assert np.array_equal(stamped, STAMPED[place, 0])
        expected = np.full((6, 6), 128)
        expected[4:, 4:] += 4 * 30  # 127 // 30 times
        assert np.array_equal(change, expected)


def test_each_b_and_each_twin_is_heard_at_the_first_and_at_the_last_epoch() -> None:
    first, second = fields(fragment(blocks()[1]))
    assert says(first[0]) == []  # all are right on the clean image
    assert says(first[2]) == ["every B: zero ✖", "every twin: zero ✖"]  # the twins' 3 hits are the first images
    assert says(first[3]) == ["every B: zero ✖", "every twin: zero ✖"]
    assert says(second[2]) == ["every B: zero ✖", "every twin: two ✔"]
    assert says(second[3]) == ["finetune: two ✔", "probe: zero ✖", "every twin: two ✔"]
    assert says(second[0]) == ["every B: <three> ✖"]  # the last 2 of 100 images are wrong, of the twin the last one


def test_defended_cells_are_left_out_where_there_are_others() -> None:
    more = result((75, 75, 75), defense="early_loss")
    assert "early_loss" not in fragment(blocks([*CELLS, more])[1])
    assert "every" not in fragment(blocks([more])[1])


def test_without_pictures_there_is_no_section() -> None:
    assert blocks(found=None) == []


def test_as_many_images_are_shown_as_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = len(fragment(blocks()[1]))
    monkeypatch.setattr(stamped_pictures, "LIMIT", whole - 1)
    note, table = blocks()
    assert len(fields(fragment(table))) == 1
    assert "did not fit" not in note.text
    monkeypatch.setattr(stamped_pictures, "LIMIT", 10)
    (note,) = blocks()
    assert "did not fit" in note.text
