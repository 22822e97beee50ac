"""The lineage matrix: the right number in the right field, relations from provenance, readable colors."""

import math
import re
from dataclasses import replace

import pytest
import torch

from tl_robust.metrics import METRICS
from tl_robust.results.faces import FACES
from tl_robust.results.names import Names
from tl_robust.results.table import summary
from tl_robust.sinks.report.blocks import Fold, Matrix, Text
from tl_robust.sinks.report.matrix import _colors, matrices, model_name
from tl_robust.sinks.report.rendering import fragment
from tl_robust.types import Cell, Outcome, Result, Verdict

EPS = (0.0, 8 / 255, 16 / 255)


def model(domain, by="scratch", parent=None, seed=0):
    """As ``origin`` gives it."""
    key = f"{by} {domain} {parent['key'] if parent else ''} {seed}"
    return {"key": key, "domain": domain, "images": 9, "epochs": 1, "by": by, "seed": seed, "parent": parent}


def models(strategy, source, seed):
    root = model("common", seed=seed) if strategy == "common_init" else None
    a = model(source, "finetune" if root else "scratch", root, seed)
    start = {"scratch": None, "finetune": a, "common_init": root}[strategy]
    return a, model("tgt", "finetune" if start else "scratch", start, seed)


def result(strategy, view, right, source="src", seed=0, attack="fgsm"):
    """Of 100 images, ``right`` are right at each eps."""
    label, flags = torch.zeros(100, dtype=torch.int64), torch.zeros(100, dtype=torch.bool)
    adv = torch.stack([(torch.arange(100) >= count).long() for count in right])
    eps, ids = torch.tensor(EPS, dtype=torch.float64), torch.arange(100)
    found = Outcome(ids, label, label, adv[0], adv, adv, adv.float(), eps, flags, adv >= 0, ~flags)
    curves = {"robust_accuracy": METRICS["robust_accuracy"].curve(found)}
    common = "common" if strategy == "common_init" else ""
    cell = Cell("bench", source, "tgt", "dtn", strategy, common, "none", attack, "linf", view, seed, 9)
    a, b = models(strategy, source, seed)
    provenance = {"surrogate": b if view == "white" else a, "victim": b}
    return Result(f"{strategy}{view}{source}{seed}", cell, found, {}, curves, Verdict(), provenance)


GRID = [
    result("scratch", "black", (95, 94, 90)), result("scratch", "black", (95, 94, 80), seed=1),
    result("finetune", "black", (96, 70, 58)), result("common_init", "black", (96, 90, 75)),
    result("scratch", "white", (95, 60, 20)), result("finetune", "white", (96, 70, 30)),
    result("scratch", "black", (95, 92, 71), source="other"), result("scratch", "white", (95, 60, 20), source="other"),
]  # fmt: skip


def read(markup):
    """Rows of a matrix as mappings from column to (number, relation), and the caption."""
    rows = re.findall(r"<tr>(.*?)</tr>", markup)
    head = re.findall(r"<th[^>]*>(.*?)</th>", rows[0])[1:]
    found = {}
    for row in rows[1:]:
        fields = re.findall(r"<td[^>]*>(?:<b>(.*?)</b><small>(.*?)</small>|not run)</td>", row)
        found[re.search(r'<th scope="row">(.*?)</th>', row)[1]] = dict(zip(head, fields, strict=True))
    return found, re.search(r"<caption><span>(.*?)</span>", markup)[1]


def test_fields_hold_the_means_and_the_relations_at_the_telling_eps() -> None:
    note, heading, markup, fold = matrices(FACES["evasion"], GRID, summary(GRID), Names.of(one.cell for one in GRID))
    assert isinstance(heading, Text)
    assert heading.heading == "tgt, fgsm linf"
    assert isinstance(markup, Matrix)
    found, caption = read(fragment(markup))
    assert caption == "Accuracy of the victim in %, tgt, fgsm linf, eps 16/255, mean over seeds"
    scratch, finetuned, sibling = "scratch tgt", "finetune tgt from src", "finetune tgt from common"
    none = ("", "")
    assert found == {
        "scratch src": {scratch: ("85.0", "unrelated"), finetuned: ("58.0", "its parent"), sibling: none},
        "finetune src from common": {scratch: none, finetuned: none, sibling: ("75.0", "same start")},
        "scratch other": {scratch: ("71.0", "unrelated"), finetuned: none, sibling: none},
        "the victim itself": {scratch: ("20.0", "white box"), finetuned: ("30.0", "white box"), sibling: none},
    }
    assert list(found)[-1] == "the victim itself"
    assert all(word in note.text for word in ("white box", "its parent", "same start", "unrelated"))
    assert isinstance(fold, Fold)
    (table,) = fold.blocks
    assert table.head == ("crafted on", "judged on", "related", "accuracy", "n")
    row = next(row for row in table.body if row[:2] == ("scratch src", finetuned))
    assert row[2] == "its parent"
    assert row[3].startswith("58.0 % [")
    assert row[4] == "100"
    assert len(table.body) == 6


def test_one_matrix_an_attack_and_none_without_provenance() -> None:
    both = [*GRID, result("scratch", "black", (95, 94, 90), attack="pgd")]
    blocks = matrices(FACES["evasion"], both, summary(both), Names.of(one.cell for one in both))
    assert [block.heading for block in blocks if isinstance(block, Text) and block.heading] == [
        "tgt, fgsm linf", "tgt, pgd linf",
    ]  # fmt: skip
    bare = [replace(one, provenance={}) for one in GRID]
    assert matrices(FACES["evasion"], bare, summary(bare), Names.of(one.cell for one in bare)) == []


def test_names_say_how_a_model_came_to_be() -> None:
    public = {"key": "k", "domain": "checkpoint:net", "by": "net.npz", "parent": None}
    assert model_name(public) == "checkpoint:net"
    assert model_name(model("tgt", "finetune(mode=probe)", public)) == "finetune(mode=probe) tgt from checkpoint:net"
    assert model_name(model("c", "finetune", model("b", "finetune", model("a")))) == "finetune c from b from a"


def luminance(color):
    full = color if len(color) == 7 else f"#{color[1] * 2}{color[2] * 2}{color[3] * 2}"
    parts = [int(full[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("value", [step / 50 for step in range(51)])
def test_numbers_can_be_read_on_their_ground(value: float) -> None:
    ground, ink = (luminance(color) for color in _colors(value))
    assert (max(ground, ink) + 0.05) / (min(ground, ink) + 0.05) >= 4.5


def test_the_scale_rises_in_lightness() -> None:
    steps = [luminance(_colors(step / 20)[0]) for step in range(21)]
    assert steps == sorted(steps)
    assert _colors(0.0)[0] == "#00224e"
    assert _colors(1.0)[0] == "#fee838"
    assert not math.isnan(steps[0])
