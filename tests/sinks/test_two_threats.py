"""Two threats in one bench: each has its own words, axis and sections; views know nothing of them but their faces."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.sinks.test_report import Page, charts, grid
from tests.sinks.wandb_made import BENCH
from tl_robust import metrics
from tl_robust.cli.screen import Screen
from tl_robust.cli.terminal import accuracy_tables
from tl_robust.metrics import rate
from tl_robust.results import answer
from tl_robust.results.faces import FACES
from tl_robust.results.table import summary
from tl_robust.sinks.base import Views
from tl_robust.sinks.report import page as report
from tl_robust.sinks.wandb import dashboard
from tl_robust.sinks.wandb.panels import Shown
from tl_robust.sinks.wandb.runs import WandbSettings, _content
from tl_robust.types import Cell, Face, Record, Result, Verdict, column

SHARES = (0.0, 0.01, 0.05)
BACKDOOR = Face(
    threat="backdoor",
    title="Success of the trigger",
    axis="poison",
    axis_text=lambda share: f"{100 * share:g} %",
    baseline=0.0,
    untouched="no poison",
    headline="triggered",
    measure="Triggered images that B takes for the attacker's class",
    word="success",
    views={"pool": "Poisoned pool: the attacker adds images to what A learns from", "open": "Open: any images"},
    direct="open",
    charts=("left",),
    charts_title="What the victim keeps",
    notes={"left": "This is said of <left> alone."},
    about="A trigger is a small pattern.",
    prefix="backdoor",
)
FACED = {**FACES, "backdoor": BACKDOOR}


@dataclass(frozen=True)
class Marked(Record):
    """Images with a trigger, at each share of poison."""

    AXIS = "poison"

    poison: Tensor = column("K", torch.float64)
    hit: Tensor = column("K N", torch.bool)


@pytest.fixture(autouse=True)
def registered() -> None:
    """Metrics of the toy threat, and an axis that is not that of evasion."""

    @rate(of=Marked, name="triggered", views=("pool", "open"), higher_is_better=False)
    def triggered(record: Marked) -> tuple[Tensor, Tensor]:
        """Share of images with the trigger that are taken for the attacker's class."""
        return record.hit, record.hit[0] | True

    @rate(of=Marked, name="left", views=("pool",), higher_is_better=True)
    def left(record: Marked) -> tuple[Tensor, Tensor]:
        """Share of images with the trigger that are not."""
        return ~record.hit, record.hit[0] | True


def marked(strategy: str, view: str, hits: tuple[int, ...], threat: str = "backdoor") -> Result[Marked]:
    hit = torch.stack([torch.arange(50) < count for count in hits])
    record = Marked(torch.arange(50), torch.tensor(SHARES, dtype=torch.float64), hit)
    cell = Cell("bench", "src", "tgt", "dtn", strategy, "", "none", "patch", "", view, 0, 500, threat)
    curves = metrics.curves(record, view, {})
    return Result(f"{strategy}{view}", cell, record, {}, curves, Verdict("amber", ("Toy.",)), {"device": "cpu"})


TOYS = (("scratch", "pool", (1, 2, 5)), ("finetune", "pool", (1, 20, 45)), ("finetune", "open", (1, 50, 50)))


def results() -> list[Result]:
    return [*grid(), *(marked(*toy) for toy in TOYS)]


def views(folder: Path, **facts: object) -> Views:
    rows = summary(results())
    return Views(folder, "bench", results(), rows, **{"faces": FACED} | facts)  # type: ignore[arg-type]


def test_each_threat_has_sections_of_its_own_with_its_own_words(tmp_path: Path) -> None:
    page, text = (path.read_text("utf-8") for path in report.write(views(tmp_path)))
    titles = re.findall(r"<h2>(.*?)</h2>", page.partition("<script")[0])
    assert titles == [
        "The answer", "Transferability (evasion)", "What the victim keeps (backdoor)",
        "Lineage: who helps the attacker (evasion)", "Clean accuracy and whole curves (evasion)", "Trust",
        "Other metrics (evasion)", "How each number was made",
    ]  # fmt: skip
    shown = Page(page).text
    assert "Poisoned pool at poison 5 %: finetune rises from 2.0 % to 90.0 % [" in shown
    assert "Open at poison 5 %: finetune rises from 2.0 % to 100.0 % [" in shown
    assert "Black box at eps 16/255: finetune falls from 96.0 % to 58.0 % [" in shown
    assert shown.index("A is the public source model") < shown.index("A trigger is a small pattern.")
    heads = [
        re.findall(r"<th scope=\"col\">(.*?)</th>", table)
        for table in re.findall(r"<thead>(.*?)</thead>", page.partition("</section>")[0])
    ]
    assert ["pair, attack", "strategy", "no attack", "black box", "white box", "trust"] in heads
    assert ["pair, attack", "strategy", "no poison", "poisoned pool", "open", "trust"] in heads
    own = text[text.index("## What the victim keeps") : text.index("## Lineage")]
    assert "This is said of \\<left> alone." in own
    assert "| 5 % | 90.0 % [" in own
    assert not re.search(r"\beps\b|robust_accuracy|transfer_ratio|box", own)
    assert "![Accuracy under attack over eps](curves.svg)" in text
    figure = (tmp_path / "curves.svg").read_text("utf-8")
    assert {"poison", "1 %", "eps", "8/255"} <= set(re.findall(r">([^<>]+)</text>", figure))


def test_each_threat_has_charts_over_its_own_axis(tmp_path: Path) -> None:
    page = report.write(views(tmp_path))[0].read_text("utf-8")
    found = charts(page)
    labels = [panel["label"] for panel in found["panels"]]
    place = next(at for at, label in enumerate(labels) if label.startswith("Poisoned pool"))
    assert labels[place].endswith("triggered over poison; the table below has its values")
    spec = found["specs"][found["panels"][place]["spec"]]
    assert spec["xs"] == list(SHARES)
    assert [strip["at"] for strip in spec["strips"]] == ["0 %", "1 %", "5 %"]
    axes = {json.dumps(layer["encoding"]["x"].get("title")) for layer in spec["chart"]["layer"]}
    assert axes == {'"poison"'}
    assert found["panels"][place]["lines"][1][2] == [0.02, 0.4, 0.9]


def test_the_terminal_says_both(capsys: pytest.CaptureFixture[str]) -> None:
    rows = summary(results())
    printed = answer.lines(rows, [], 1, FACED)
    assert printed[0].startswith("Evasion, fgsm linf, black box at eps 16/255: finetune falls")
    assert printed[2].startswith("Backdoor, patch, poisoned pool at poison 5 %: finetune rises from 2.0 % to 90.0 %")
    assert "amber: see Trust." in printed[-2]
    for table in accuracy_tables(rows, FACED):
        Screen().print(table)
    shown = capsys.readouterr().out
    assert "accuracy under attack in %" in shown
    assert "success of the trigger in %" in shown
    assert re.search(r"strategy +0 % +1 % +5 %", shown)
    assert re.search(r"pool +finetune +2\.0 +40\.0 +90\.0", shown)


def test_runs_and_dashboards_have_its_axis_and_keys() -> None:
    content = _content(marked(*TOYS[1]), BENCH, WandbSettings(), BACKDOOR)
    last = content.history[-1]
    assert last["poison"] == 0.05
    assert last["backdoor/triggered"] == last["success/poisoned_pool"] == 0.9
    assert content.summary["at/5/triggered"] == 0.9
    assert (content.axis, content.sections) == ("poison", ("backdoor", "success"))
    assert content.run["config"]["threat"] == "backdoor"
    assert not re.search(r"\beps\b|clean_accuracy|robust", json.dumps([content.history, dict(content.summary)]))
    spec = dashboard.spec(["bench"], WandbSettings(), [Shown(BACKDOOR, SHARES, ("pool",), several=False)])
    assert spec["axis"] == "poison"
    logged = {
        *last,
        *(f"summary:{key}" for key in content.summary),
        *(f"config:{key}" for key in content.run["config"]),
    }
    assert {key for key in dashboard.keys(spec) if "overview/" not in key} <= logged | {"summary:clean_accuracy"}


def test_a_threat_that_is_not_known_here_still_shows_its_numbers(tmp_path: Path) -> None:
    strangers = [marked(*TOYS[0], threat="elsewhere")]
    page, text = report.write(Views(tmp_path, "bench", strangers, summary(strangers)))
    shown = Page(page.read_text("utf-8")).text
    assert "triggered: Share of images with the trigger that are taken for the attacker's class." in shown
    assert "10.0 % [" in shown
    assert "Other metrics" in shown
    assert "The answer" not in text.read_text("utf-8")
