"""Bounds of W&B: what goes beyond is paged or left out and said, and a check of offline runs names it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.sinks.test_wandb_overview import offline, png
from tests.sinks.test_wandb_overview import tables as kept
from tests.sinks.wandb_made import BENCH, no_account, records, result, runs, summary_of
from tl_robust.errors import ResultsError
from tl_robust.results.faces import FACES
from tl_robust.sinks.wandb import limits, overview, tables
from tl_robust.sinks.wandb.limits import Measures, measure, overstepped
from tl_robust.sinks.wandb.read import read
from tl_robust.sinks.wandb.runs import WandbSettings, _content
from tl_robust.sinks.wandb.sync import verify
from tl_robust.sinks.wandb.tables import Table, paged

__all__ = ["no_account"]  # a fixture that all tests use


def test_a_long_table_is_paged_without_loss_and_cut_where_w_and_b_ends() -> None:
    rows = [[place] for place in range(250_001)]
    pages, sentences = paged({"overview/summary": Table(["n"], rows[:27_000]), "overview/claims": Table(["n"], [])})
    assert {key: len(table.rows) for key, table in pages.items()} == {
        "overview/summary": 10_000, "overview/summary_page_2": 10_000, "overview/summary_page_3": 7_000,
        "overview/claims": 0,
    }  # fmt: skip
    assert [row for key, table in pages.items() for row in table.rows] == rows[:27_000]
    assert sentences == [
        "overview: overview/summary has 27000 rows; 27000 of them are shown, in pages of 10000, and table.csv has all."
    ]
    pages, sentences = paged({"overview/summary": Table(["n"], rows)})
    assert sum(len(table.rows) for table in pages.values()) == 200_000
    assert "250001 rows; 200000 of them are shown" in sentences[0]
    assert paged({"one": Table(["n"], rows[:10_000])})[1] == []


def test_an_overview_beyond_the_bounds_is_published_and_says_what_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def undrawn(*given: Any, **more: Any) -> None:
        raise ResultsError("not drawn, which takes long")

    monkeypatch.setattr(overview, "figure", undrawn)
    monkeypatch.setattr(tables, "TABLE_ROWS", 4)
    monkeypatch.setattr(limits, "PICTURES", 2)
    monkeypatch.setattr(limits, "PAGE_BYTES", 10)
    names = ["a" * 300, "a" * 301, "b"]
    published = offline(tmp_path, pictures={name: png() for name in names})
    assert published.written == 1
    said = "\n".join(published.problems)
    assert "overview: overview/accuracy has 6 rows; 6 of them are shown, in pages of 4, and table.csv has all." in said
    assert "overview: report.html has 0 MB, more than 0 MB, and is kept as a file alone." in said
    assert "overview: 1 of 3 pictures are not shown, the limit is 2." in said
    (file,) = runs(tmp_path)
    summary = summary_of(records(file))
    shown = sorted(name.removesuffix("._type") for name in summary if name.startswith("pictures/") and "_type" in name)
    assert len(shown) == 2
    assert all(len(name) <= limits.LONGEST_KEY + 9 for name in shown)
    assert summary["overview/accuracy.nrows"] == 4
    assert summary["overview/accuracy_page_2.nrows"] == 2
    assert "overview/report._type" not in summary
    assert set(kept(tmp_path)) >= {"accuracy", "summary", "lineage", "claims"}
    assert read(file).measures.table_rows[0] == 4
    monkeypatch.setattr(limits, "TABLE_ROWS", 3)
    (checked,) = verify(tmp_path / "wandb")
    assert checked.problem == ""
    assert any(
        "has a table of 4 rows, overview/" in sentence and "W&B takes at most 3" in sentence
        for sentence in checked.limits
    )


def test_names_of_runs_stay_within_what_the_server_takes() -> None:
    made = result()
    cell = replace(made.cell, strategy="s" * 300, bench="b" * 300, view="v" * 300)
    content = _content(replace(made, cell=cell), BENCH, WandbSettings(), FACES["evasion"])
    assert all(0 < len(tag) <= 64 for tag in content.run["tags"])
    assert len(content.run["name"]) == len(content.run["group"]) == 128


def run_records(rows: Sequence[Mapping[str, Any]], **run: Any) -> dict[str, list[dict[str, Any]]]:
    return {"history": [{"item": dict(row)} for row in rows], "run": [run], "summary": []}


BEYOND = [
    ("KEYS", 1, {"a": 1, "b": 2}, {}, "has 2 keys, and W&B advises at most 1"),
    ("VALUE_BYTES", 9, {"long": "x" * 20}, {}, "has a value of 0.0 MB, long, and W&B advises at most"),
    ("ROW_BYTES", 30, {"a": "x" * 20, "b": 1}, {}, "has a row of 0.0 MB, and W&B advises at most"),
    ("CONFIG_BYTES", 9, {}, {"config": {"update": {"a": "x" * 20}}}, "has a configuration of 0.0 MB, and W&B"),
    ("LONGEST_NAME", 9, {}, {"display_name": "x" * 10}, "has a name of 10 characters, and W&B takes at most 9"),
    ("LONGEST_NAME", 9, {}, {"run_group": "x" * 10}, "has a group of 10 characters, and W&B takes at most 9"),
    ("LONGEST_TAG", 9, {}, {"tags": ["x" * 10]}, "has a tag xxxxxxxxxx of 10 characters, and W&B takes at most 9"),
    ("LONGEST_NAME", 9, {"k" * 10: 1}, {}, "has the key kkkkkkkkkk... of 10 characters, and W&B takes at most 9"),
    ("TABLE_ROWS", 9, {"t._type": "table-file", "t.nrows": 10}, {}, "has a table of 10 rows, t, and W&B takes"),
]  # fmt: skip


@pytest.mark.parametrize(("bound", "value", "row", "run", "expected"), BEYOND)
def test_each_bound_that_is_overstepped_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, bound: str, value: int, row: dict[str, Any], run: dict[str, Any],
    expected: str,
) -> None:  # fmt: skip
    measured = measure(run_records([row], **run), tmp_path)
    assert list(overstepped(measured)) == []
    monkeypatch.setattr(limits, bound, value)
    assert [sentence for sentence in overstepped(measured) if sentence.startswith(expected)]
    monkeypatch.setattr(limits, bound, 10**9)
    assert list(overstepped(measured)) == []


def test_files_are_counted_and_weighed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "files" / "media").mkdir(parents=True)
    (tmp_path / "files" / "media" / "page.html").write_text("x" * 50)
    listed = {"files": [{"files": [{"path": "media/page.html"}, {"path": "media/gone.png"}]}]}
    measured = measure(run_records([]) | listed, tmp_path)
    assert (measured.files, measured.page_bytes) == (2, (50, "media/page.html"))
    monkeypatch.setattr(limits, "FILES", 1)
    monkeypatch.setattr(limits, "PAGE_BYTES", 49)
    assert [sentence.partition(",")[0] for sentence in overstepped(measured)] == ["has 2 files", "has a file of 0.0 MB"]
    monkeypatch.setattr(limits, "FILES", 2)
    monkeypatch.setattr(limits, "PAGE_BYTES", 50)
    assert list(overstepped(measured)) == []  # as much as there may be
    assert list(overstepped(Measures())) == []
