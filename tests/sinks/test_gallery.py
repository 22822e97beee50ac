"""Pictures in the page: the right pixels beside the right answers, within the limit."""

import base64
import html
import io
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from tl_robust.metrics import METRICS
from tl_robust.results.faces import FACES
from tl_robust.results.names import Names
from tl_robust.results.table import summary
from tl_robust.sinks.report import pictures as gallery_module
from tl_robust.sinks.report.blocks import Fold, Gallery, Text
from tl_robust.sinks.report.pictures import gallery
from tl_robust.sinks.report.rendering import fragment
from tl_robust.types import Cell, Outcome, Pictures, Result, Verdict

EPS = (0.0, 4 / 255, 8 / 255, 16 / 255)
IDS = (5, 2, 9)
CLASSES = ("cat", "dog", "owl")
CLEAN = torch.randint(40, 200, (3, 3, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def images(change):
    """Adversarial ones that add ``change`` times eps everywhere but in the first column."""
    added = torch.stack([torch.full_like(CLEAN, change * round(eps * 255)) for eps in EPS[1:]])
    added[..., 0] = 0
    return Pictures(torch.tensor(IDS), torch.tensor(EPS[1:], dtype=torch.float64), CLEAN, CLEAN + added, CLASSES)


def result(strategy, view, says, outcome, a=0, same=True):
    """``says``: what B answers at each eps for every sample; A answers ``a`` under attack; labels are 0, 1, 2."""
    ids = torch.arange(12).flip(0)  # the order of an outcome need not be that of the test split
    label = ids % 3
    adv_b = torch.stack([label if said is None else torch.full_like(label, said) for said in says])
    adv_a = torch.stack([label, *(torch.full_like(label, a) for _ in EPS[1:])])
    flags = torch.zeros(12, dtype=torch.bool)
    eps = torch.tensor(EPS, dtype=torch.float64)
    found = Outcome(
        ids, label, label, label, adv_a, adv_b, adv_b.float(), eps, flags, adv_b >= 0, flags if not same else ~flags
    )
    curves = {"robust_accuracy": METRICS["robust_accuracy"].curve(found)}
    cell = Cell("bench", "src", "tgt", "dtn", strategy, "", "none", "fgsm", "linf", view, 0, 9)
    model = {"key": "a", "domain": "src", "epochs": 1, "by": "scratch", "parent": None}
    provenance = {"outcome": outcome, "surrogate": model, "victim": {"key": strategy}}
    return Result(outcome, cell, found, {}, curves, Verdict(), provenance)


BLACK, WHITE = images(1), images(-1)
GRID = [
    result("scratch", "white", (None, 1, 1, 1), "o1"), result("scratch", "black", (None, None, None, None), "o2"),
    result("finetune", "black", (None, None, 2, None), "o3"),
]  # fmt: skip
FOUND = {"o1": WHITE, "o2": BLACK, "o3": BLACK}


def blocks(results=GRID, found=FOUND):
    return gallery(FACES["evasion"], results, summary(results), found, Names.of(one.cell for one in results))


def tables(found):
    return [fragment(block) for block in found if isinstance(block, Gallery | Fold)]


def pixels(tag):
    data = base64.b64decode(re.search(r"base64,([^\"]*)", tag)[1])
    return np.asarray(Image.open(io.BytesIO(data)))


def text(markup):
    return html.unescape(re.sub(r"<[^>]*>", " ", markup))


def test_pictures_stand_beside_what_the_models_say() -> None:
    note, heading, *_ = found = blocks()
    assert isinstance(heading, Text)
    assert heading.heading == "src → tgt, fgsm linf"
    main, *folds = tables(found)
    rows = re.findall(r"<tr>(.*?)</tr>", main)
    heads = [text(head).strip() for head in re.findall(r"<th scope=\"col\">(.*?)</th>", rows[0])]
    assert heads[:2] == ["sample", "clean"]
    assert heads[2].startswith(
        "Black box: crafted on scratch src, the A of scratch and finetune; difference magnified "
    )
    assert heads[3].startswith("White box: crafted on scratch; difference magnified ")
    assert "eps 8/255" in re.search("<caption>(.*?)</caption>", main)[1]  # where they lose most unequally
    assert len(rows) == 4
    first = rows[1]
    assert "sample 5 label owl" in " ".join(text(first).split())
    clean, black, black_change, white, white_change = re.findall(r"<img[^>]*>", first)
    assert np.array_equal(pixels(clean), CLEAN[0].permute(1, 2, 0))
    assert np.array_equal(pixels(black), BLACK.adversarial[1, 0].permute(1, 2, 0))
    assert np.array_equal(pixels(white), WHITE.adversarial[1, 0].permute(1, 2, 0))
    assert "A says cat; scratch says owl; finetune says owl" in black
    for tag, sign in ((black_change, 1), (white_change, -1)):
        shown = pixels(tag).astype(int)
        assert (shown[:, 0] == 128).all()  # no change is gray
        assert set(np.unique(shown[:, 1:])) == {128 + sign * 8 * 15}  # 127 // 8 times
    fields = re.findall(r"<td>(.*?)</td>", first)
    assert [text(item).strip() for item in re.findall(r"<li[^>]*>(.*?)</li>", fields[1])] == [
        "A: cat ✖", "scratch: owl ✔", "finetune: owl ✔",
    ]  # fmt: skip
    assert "A: cat ✖ scratch: owl ✔ finetune: owl ✔" in " ".join(text(rows[2]).split())  # sample 2, label owl
    assert len(folds) == 2
    assert "eps 4/255" in folds[0]
    assert "eps 16/255" in folds[0]
    assert "eps 8/255" not in folds[0]
    assert "✔ right" in note.text


def test_a_source_with_classes_of_its_own_is_told_apart() -> None:
    grid = [result("finetune", "black", (None, None, None, None), "o2", a=7, same=False)]
    (main, *_) = tables(blocks(grid))
    assert "A: class 7 of its own ✖" in text(main)  # its prediction changed
    assert "all models: owl ✔" in text(main)


def test_models_that_are_wrong_on_the_clean_image_are_named() -> None:
    grid = [result("finetune", "black", (None, 1, 1, 1), "o2")]
    wrong = replace(grid[0].outcome, clean_b=torch.ones(12, dtype=torch.int64))
    (main, *_) = tables(blocks([replace(grid[0], outcome=wrong)]))
    clean = re.findall(r"<td>(.*?)</td>", main)[0]
    assert text(clean).split() == ["finetune:", "dog", "✖"]


def test_without_pictures_there_is_no_section() -> None:
    assert blocks(found={}) == []


@pytest.mark.parametrize(("limit", "rows", "folds"), [(10**6, 3, True), (9_000, 3, False), (4_000, 2, False)])
def test_less_is_shown_where_more_does_not_fit(
    monkeypatch: pytest.MonkeyPatch, limit: int, rows: int, folds: bool
) -> None:
    monkeypatch.setattr(gallery_module, "LIMIT", limit)
    monkeypatch.setattr(gallery_module, "LEVELS", ((1, 2), (1, 3), (4, 3)))
    found = tables(blocks())
    assert sum(map(len, found)) <= limit
    assert len(re.findall("<th scope=.row", found[0])) == rows
    assert (len(found) > 1) == folds


def test_what_does_not_fit_at_all_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    others = [replace(one, cell=replace(one.cell, attack="pgd")) for one in GRID]
    monkeypatch.setattr(gallery_module, "LEVELS", ((1, 2),))
    monkeypatch.setattr(gallery_module, "LIMIT", 1.5 * sum(map(len, tables(blocks()))))
    found = blocks([*GRID, *others])
    assert [block.heading for block in found if isinstance(block, Text)] == ["", "src → tgt, fgsm linf"]
    assert "did not fit" in found[0].text


def test_names_are_escaped() -> None:
    evil = replace(BLACK, classes=("<script>", "dog", '"owl"'))
    cells = [replace(one, cell=replace(one.cell, strategy="<i>", source="<b>")) for one in GRID]
    markup = "".join(tables(blocks(cells, dict.fromkeys(FOUND, evil))))
    assert not re.search("<(script|i|b)>", markup)
    assert 'alt="sample 5, label &#34;owl&#34;' in markup


def test_gray_images_are_gray_and_others_in_color() -> None:
    one_channel = replace(BLACK, clean=CLEAN[:, :1], adversarial=BLACK.adversarial[:, :, :1])
    (main, *_) = tables(blocks(GRID[1:], dict.fromkeys(FOUND, one_channel)))
    assert pixels(re.search("<img[^>]*>", main)[0]).shape == (4, 4)
    (main, *_) = tables(blocks())
    assert pixels(re.search("<img[^>]*>", main)[0]).shape == (4, 4, 3)
