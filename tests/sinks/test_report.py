"""The report: what it says is what the rows say, and the page needs nothing but itself."""

import json
import math
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from importlib.resources import files
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from tl_robust import metrics
from tl_robust.errors import ConfigError
from tl_robust.results.faces import FACES
from tl_robust.results.names import Names, interval, number
from tl_robust.results.table import summary
from tl_robust.sinks.base import Views
from tl_robust.sinks.report import page as report
from tl_robust.sinks.report import rendering, sections
from tl_robust.sinks.report.blocks import (
    Code,
    Exhibit,
    Field,
    Fold,
    Gallery,
    Matrix,
    Measured,
    Picture,
    Points,
    Table,
    Text,
    Why,
)
from tl_robust.sinks.report.charts import strips
from tl_robust.sinks.report.rendering import fragment
from tl_robust.text import eps_text
from tl_robust.types import Cell, Outcome, Result, Verdict

EPS = (0.0, 8 / 255, 16 / 255)
LABEL = torch.zeros(100, dtype=torch.int64)
# Of 100 images, so many are right at each eps: FineTune falls in the black box, Scratch in the white one.
RIGHT = {
    ("scratch", "black"): (95, 94, 90),
    ("finetune", "black"): (96, 70, 58),
    ("scratch", "white"): (95, 60, 20),
    ("finetune", "white"): (96, 70, 30),
}


def outcome(right):
    adv = torch.stack([(torch.arange(100) >= count).long() for count in right])
    eps = torch.tensor(EPS, dtype=torch.float64)
    size = eps.float()[:, None].expand(-1, 100)
    zero, valid = torch.zeros(100, dtype=torch.bool), torch.ones(3, 100, dtype=torch.bool)
    return Outcome(torch.arange(100), LABEL, adv[0], adv[0], adv, adv, size, eps, zero, valid, ~zero)


def result(strategy="scratch", view="black", seed=0, **cell):
    found = outcome(RIGHT[strategy, view])
    beside = {"white": outcome(RIGHT[strategy, "white"])} if view == "black" else {}
    curves = metrics.curves(found, view, beside)
    place = Cell("bench", "src", "tgt", "dtn", strategy, "", "none", "fgsm", "linf", view, seed, 500)
    source = {"key": "a" * 64, "domain": "src", "parent": None}
    victim = {"key": f"{strategy}-key", "domain": "tgt", "parent": source["key"] if strategy == "finetune" else None}
    provenance = {"surrogate": source, "victim": victim, "device": "cpu", "versions": {"torch": "9.8.7"}}
    return Result(f"{strategy}{view}{seed}", replace(place, **cell), found, beside, curves, Verdict(), provenance)


def grid(**cell):
    return [result(strategy, view, **cell) for strategy, view in RIGHT]


def views(folder, cells=None, **facts):
    cells = grid() if cells is None else cells
    return Views(folder, **{"bench": "bench", "results": cells, "summary": summary(cells)} | facts)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Page and text of the grid."""
    paths = report.write(views(tmp_path_factory.mktemp("report"), text="axes:\n  seed: [0]\n"))
    return [path.read_text("utf-8") for path in paths]


def charts(page):
    return json.loads(re.search(r'<script type="application/json" id="charts">(.*?)</script>', page)[1])


class Page(HTMLParser):
    """Text outside of scripts and styles, and every address in an attribute."""

    def __init__(self, page):
        super().__init__()
        self.text, self.links, self.tags, self._silent = "", [], [], False
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self._silent = tag in ("script", "style")
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in ("src", "href", "action", "data", "srcset")]

    def handle_endtag(self, tag):
        self._silent = False

    def handle_data(self, data):
        if not self._silent:
            self.text += data


def test_answer_has_the_numbers_of_the_rows_at_the_eps_of_the_largest_spread(made):
    rows = {
        (row.cell.strategy, row.cell.view): interval(row)
        for row in summary(grid())
        if row.metric == "robust_accuracy" and row.eps == EPS[2]
    }
    assert rows["finetune", "black"].startswith("58.0 % [")
    expected = [
        f"Black box at eps 16/255: finetune falls from 96.0 % to {rows['finetune', 'black']} and scratch from 95.0 % "
        f"to {rows['scratch', 'black']}.",
        f"White box at eps 16/255: scratch falls from 95.0 % to {rows['scratch', 'white']} and finetune from 96.0 % to "
        f"{rows['finetune', 'white']}.",
    ]
    page, text = made
    for line in expected:
        assert line in Page(page).text
        assert f"- {line}" in text
    clean = next(
        interval(row)
        for row in summary(grid())
        if (row.cell.strategy, row.cell.view, row.eps, row.metric) == ("finetune", "black", 0, "robust_accuracy")
    )
    assert (
        f"| src → tgt, fgsm linf | finetune | {clean} | {rows['finetune', 'black']} at 16/255 | "
        f"{rows['finetune', 'white']} at 16/255 | ✔ green |"
    ) in text


def test_a_figure_that_cannot_be_drawn_leaves_the_text_whole(tmp_path, monkeypatch):
    def fails(*_):
        raise ConfigError("no memory <for> it.")

    report.write(views(tmp_path))
    assert "](curves.svg)" in (tmp_path / "report.md").read_text("utf-8")
    assert (tmp_path / "curves.svg").read_bytes().startswith(b"<svg")
    monkeypatch.setattr(report, "figure", fails)
    report.write(views(tmp_path))
    text = (tmp_path / "report.md").read_text("utf-8")
    assert "The figure is missing: no memory \\<for> it." in text
    assert "](curves.svg)" not in text
    assert not (tmp_path / "curves.svg").exists()
    assert "## Transferability" in text


def test_more_pairs_than_the_answer_charts_have_theirs_below(tmp_path):
    cells = [cell for source in "abcdef" for cell in grid(source=source)]
    page, text = (path.read_text("utf-8") for path in report.write(views(tmp_path, cells)))
    assert page.index(">The answer</h2>") < page.index("<h3>d → tgt") < page.index(">Accuracy under attack</h2>")
    assert page.index(">Accuracy under attack</h2>") < page.index("<h3>e → tgt") < page.index(">Transferability</h2>")
    assert "2 more: their charts are in the next section." in text
    assert all(f"| {source} → tgt, fgsm linf | finetune |" in text for source in "abcdef")
    figure = (tmp_path / "curves.svg").read_text("utf-8")
    assert "d → tgt, fgsm linf" in figure
    assert "e → tgt, fgsm linf" not in figure


def test_every_row_stands_in_a_table(made):
    shown = Page(made[0]).text
    assert [row for row in summary(grid()) if interval(row) not in shown] == []


def test_charts_hold_the_rows(made):
    found = charts(made[0])
    panel = found["panels"][0]
    spec = found["specs"][panel["spec"]]
    assert "Black box" in panel["label"]
    assert spec["strategies"] == ["scratch", "finetune"]
    assert [strip["at"] for strip in spec["strips"]] == ["0", "8/255", "16/255"]
    _, (strategy, places, value, low, high, texts, n) = panel["lines"]
    assert (strategy, places, value) == (1, [0, 1, 2], [0.96, 0.7, 0.58])
    assert spec["xs"] == list(EPS)
    rows = [row for row in summary(grid()) if row.metric == "robust_accuracy" and row.cell.view == "black"]
    finetune = [row for row in rows if row.cell.strategy == "finetune"]
    assert (low, high) == (pytest.approx([one.low for one in finetune], abs=1e-4),
                           pytest.approx([one.high for one in finetune], abs=1e-4))  # fmt: skip
    assert texts[2].startswith("58.0 % [")
    assert n == 100
    rate = next(panel for panel in found["panels"] if panel["label"].startswith("match_rate"))
    assert isinstance(rate["lines"][1][-1], list)  # fooled samples: another number at each eps


def test_strips_meet_between_the_points():
    found = strips(FACES["evasion"], EPS)
    assert found[0]["from"] == 0
    assert found[-1]["to"] == EPS[2]
    for (left, right), below, above in zip(pairwise(found), EPS, EPS[1:], strict=False):
        assert left["to"] == right["from"]
        assert below < left["to"] < above


def test_undefined_is_na_in_the_table_and_no_point_in_the_chart(made):
    at_zero = next(row for row in summary(grid()) if row.metric == "transfer_ratio" and row.eps == 0)
    assert math.isnan(at_zero.value)
    assert "| 0 | n/a | n/a |" in made[1]
    panel = next(panel for panel in charts(made[0])["panels"] if panel["label"].startswith("transfer_ratio"))
    assert [value[0] for _, _, value, *_ in panel["lines"]] == [None, None]


def test_same_arguments_same_bytes_in_another_process(made, tmp_path):
    code = f"""
import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})
import pathlib, test_report as t
t.report.write(t.views(pathlib.Path({str(tmp_path)!r}), text="axes:\\n  seed: [0]\\n"))
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    assert [(tmp_path / name).read_text("utf-8") for name in ("report.html", "report.md")] == made


def test_page_is_one_small_file_that_fetches_nothing(made):
    page = Page(made[0])
    assert len(made[0].encode()) < 3_000_000
    assert "vegaEmbed" in made[0]
    assert [link for link in page.links if not link.startswith(("#", "data:"))] == []
    assert "default-src 'none'" in made[0]
    assert not re.search(r"@import|url\(", re.search(r"<style>(.*?)</style>", made[0], re.S)[1])


def test_names_are_escaped_everywhere(tmp_path):
    evil = "<script>alert(1)</script>"
    cells = grid(bench=evil, source=evil, common=evil, attack=evil)
    cells = [
        replace(item, verdict=Verdict("red", (evil,)), provenance={evil: {"key": evil, evil: evil}}) for item in cells
    ]
    paths = report.write(views(tmp_path, cells, bench=evil, text=evil, failures=[{evil: evil}]))
    page, text = (path.read_text("utf-8") for path in paths)
    plain = report.write(views(tmp_path / "plain"))[0].read_text("utf-8")
    assert evil in Page(page).text
    assert Page(page).tags.count("script") == Page(plain).tags.count("script")
    assert re.search(r"(?<!\\)<script", text) is None


EVIL = "\x1b\"><script>alert(1)</script>{{ 7 * 7 }}'"
SEEN = "\\x1b\"><script>alert(1)</script>{{ 7 * 7 }}'"  # control characters act nowhere
BLOCKS = [
    Text(EVIL, EVIL),
    Points([EVIL]),
    Table(EVIL, [EVIL], [[EVIL], [Why(EVIL, EVIL)]], cards=True),
    Table(EVIL, [EVIL, EVIL], [[EVIL, Measured(EVIL, EVIL, (EVIL, EVIL), "✔ helps", "▲ amber")]], cards=True),
    Code(EVIL),
    Matrix(EVIL, [EVIL], [(EVIL, [Field(EVIL, EVIL, EVIL, EVIL, EVIL), None])], [EVIL]),
    Gallery(EVIL, [EVIL], [([EVIL, EVIL], [Exhibit([Picture("", EVIL)], [(EVIL, EVIL, True)])])]),
    Fold(EVIL, [Text(EVIL)]),
]


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.kind)
def test_no_template_lets_a_text_act(block):
    markup = fragment(block)
    shown = Page(markup)
    assert "script" not in shown.tags
    assert SEEN in shown.text
    assert "\x1b" not in markup
    assert markup.count("{{ 7 * 7 }}") >= 1
    assert "|safe" not in files(rendering.__package__).joinpath("templates/blocks.html.j2").read_text().replace(" ", "")


def test_lineage_trust_and_versions_are_shown(tmp_path):
    cells = [replace(result(), verdict=Verdict("amber", ("The gradient is zero for 3 % of samples.",)))]
    page, text = (path.read_text("utf-8") for path in report.write(views(tmp_path, cells, text="key: 1\n")))
    shown = Page(page).text
    assert "▲ amberThe gradient is zero for 3 % of samples." in shown
    assert "▲ amber | The gradient is zero for 3 % of samples. |" in text
    assert f"{'a' * 12}src-surrogate" in shown  # key, domain, no parent, used as
    assert "scratch-keytgt-victim" in shown
    assert "versions.torch9.8.7" in shown
    assert "key: 1\n" in shown


def test_a_number_that_is_trusted_less_than_its_cell_is_said(tmp_path):
    doubt = Verdict("red", ("The plain number says nothing of the defense.",))
    cells = [replace(result(), verdict=Verdict(), doubts={"plain_accuracy": doubt, "adaptive_gap": Verdict()})]
    _, text = (path.read_text("utf-8") for path in report.write(views(tmp_path, cells)))
    assert "Cells whose plain_accuracy is not green" in text
    assert "✖ red | The plain number says nothing of the defense. |" in text
    assert "Cells whose adaptive_gap is not green" not in text
    assert "Cells that are not green" not in text


def test_failures_follow_the_answer_and_need_no_result(tmp_path):
    failures = [{"cell": "src to tgt, finetune", "error": "out of | memory"}]
    page, text = (path.read_text("utf-8") for path in report.write(views(tmp_path, [], failures=failures)))
    assert "src to tgt, finetuneout of | memory" in Page(page).text
    assert "| src to tgt, finetune | out of \\| memory |" in text
    page, text = (path.read_text("utf-8") for path in report.write(views(tmp_path, failures=failures)))
    assert page.index(">The answer</h2>") < page.index(">Failures</h2>") < page.index(">Transferability</h2>")
    assert text.index("## The answer") < text.index("since they failed: see Failures") < text.index("## Failures")


def test_nothing_has_run(tmp_path):
    page, text = (path.read_text("utf-8") for path in report.write(views(tmp_path, [])))
    assert "Nothing has run yet." in page
    assert text == "# bench\n\nBench bench.\n\nNothing has run yet.\n"


def test_only_what_differs_is_named():
    cell = result().cell
    assert Names.of([cell]).strategy(replace(cell, common="usps")) == "scratch (usps)"
    names = Names.of([cell, replace(cell, defense="distill", network="wrn")])
    assert names.strategy(cell) == "scratch, defense none"
    assert names.pair(cell) == "src → tgt (dtn)"


@pytest.mark.parametrize(
    ("eps", "text"), [(0, "0"), (8 / 255, "8/255"), (0.123456, "0.1235"), (1.0, "1"), (1e-6, "1e-06"), (2.0, "2")]
)
def test_eps_reads_as_a_fraction_where_it_is_one(eps, text):
    assert eps_text(eps) == text


@pytest.mark.parametrize(
    ("value", "unit", "text"), [(0.5834, "share", "58.3"), (-1e-9, "ratio", "0.000"), (math.nan, "share", "n/a")]
)
def test_numbers(value, unit, text):
    assert number(value, unit) == text


@pytest.mark.parametrize(("suffix", "start"), [(".svg", b"<svg"), (".png", b"\x89PNG"), (".pdf", b"%PDF")])
def test_figure_is_a_picture_with_the_names(tmp_path, suffix, start):
    for name in ("curves", "again"):
        report.figure(summary(grid()), tmp_path / f"{name}{suffix}")
    picture = (tmp_path / f"curves{suffix}").read_bytes()
    assert picture.startswith(start)
    assert len(picture) > 5000
    again = (tmp_path / f"again{suffix}").read_bytes()
    assert again == picture or (suffix == ".pdf" and len(again) == pytest.approx(len(picture), rel=0.01))
    if suffix == ".svg":
        assert {"scratch", "finetune", "16/255", "src → tgt, fgsm linf"} <= set(
            re.findall(r">([^<>]+)</text>", picture.decode())
        )


def test_a_figure_of_another_kind_is_one_sentence(tmp_path):
    with pytest.raises(ConfigError, match=r"\.svg, \.png, \.pdf; got 'curves\.jpg'"):
        report.figure(summary(grid()), tmp_path / "curves.jpg")


def test_cost_and_fast_modes_are_shown(tmp_path):
    gate = {"samples": 200, "accuracy": 0.005, "predictions": 0.01, "tolerance": 0.01, "passed": True}
    one, other, *rest = grid()
    fast = {"fast": ["fold", "bf16"], "refused": "", "gate": gate}
    refused = {"fast": ["fold"], "refused": "RuntimeError: no luck"}
    cells = [
        replace(one, provenance={**one.provenance, **fast}),
        replace(other, provenance={**other.provenance, **refused}),
        *rest,
    ]
    seconds = {"weights": 30.0, "outcomes": 60.0, "examinations": 9.0, "pictures": 1.0}
    page, text = (path.read_text("utf-8") for path in report.write(views(tmp_path, cells, seconds=seconds)))
    assert "| fold, bf16 | used | 200 | 0.5% | 1.0% | 1.0% | 1 |" in text
    assert "| fold | refused: RuntimeError: no luck | - | - | - | - | 1 |" in text
    assert "| trust checks | 9.0 | 9.0% |" in text
    assert "| all | 100.0 | 100.0% |" in text
    assert "Fast modes beside full precision" in Page(page).text
    assert ">Cost</h2>" in page


def test_traces_are_folded_away_and_not_in_the_text(tmp_path):
    failures = [{"node": "an attack", "cause": "RuntimeError: no", "trace": "Traceback: line 7"}]
    page, text = (path.read_text("utf-8") for path in report.write(views(tmp_path, [], failures=failures)))
    assert '<summary>Traces</summary><pre tabindex="0"><code>Traceback: line 7' in page
    assert "Traceback" not in text


def test_a_large_bench_shows_the_first_of_the_other_numbers(monkeypatch):
    rows = summary([*grid(), *grid(attack="pgd")])
    names = Names.of(row.cell for row in rows)
    whole = sections.others(FACES["evasion"], rows, names)
    titles = [block.title for block in whole if isinstance(block, Fold)]
    assert titles == ["Numbers of src → tgt, fgsm linf", "Numbers of src → tgt, pgd linf"]
    monkeypatch.setattr(sections, "OTHERS", len(rows) // 3)
    *_, fold, text = sections.others(FACES["evasion"], rows, names)
    assert fold.title == titles[0]
    assert "summary.csv" in text.text
