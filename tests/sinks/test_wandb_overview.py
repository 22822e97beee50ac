"""The overview run is written offline for real, read back, moved, and broken."""

from __future__ import annotations

import io
import json
import re
import shutil
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.sinks.wandb_made import BENCH, EPS, no_account, of_type, records, result, runs, summary_of
from tl_robust.claims.effects import Decision, Finding
from tl_robust.results import table
from tl_robust.sinks.base import Views
from tl_robust.sinks.wandb import overview as wandb_overview
from tl_robust.sinks.wandb import runs as wandb_sink
from tl_robust.sinks.wandb.overview import publish_overview
from tl_robust.sinks.wandb.read import read
from tl_robust.sinks.wandb.runs import Published, WandbSettings
from tl_robust.sinks.wandb.sync import verify
from tl_robust.types import Result

__all__ = ["no_account"]  # a fixture that all tests use


def claim(name: str, decision: Decision, effect: float) -> Finding:
    ends = effect - 0.1, effect + 0.1
    return Finding(name, "It holds.", "us", "", "pgd linf", decision, effect, *ends, "share", 0.01, 3, 20, "Measured.")


CLAIMS = (claim("H1", "supported", 0.25), claim("H2", "undecided", float("nan")))


def cells() -> list[Result]:
    """Two seeds, black and white: B is attacked by its parent, and by itself."""
    black = [result(seed, right=14 + seed) for seed in range(2)]
    return black + [
        replace(
            one,
            key=one.key[::-1],
            cell=replace(one.cell, view="white"),
            provenance={**one.provenance, "surrogate": one.provenance["victim"]},
        )
        for one in black
    ]


def png() -> bytes:
    content = io.BytesIO()
    Image.new("RGB", (8, 8)).save(content, "PNG")
    return content.getvalue()


def offline(folder: Path, **given: Any) -> Published:
    folder.mkdir(exist_ok=True)
    (folder / "report.html").write_text("<!doctype html><p>report</p>")
    (folder / "table.csv").write_text("bench\n")
    found = cells()
    pictures, share = given.pop("pictures", {"a → b, pgd": png()}), given.pop("share", "all")
    views = Views(folder, "tiny", found, table.summary(found), settings=BENCH, **{"findings": CLAIMS} | given)
    return publish_overview(views, WandbSettings(mode="offline", share=share), pictures)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "model.safetensors").write_bytes(b"weights")
    return tmp_path / "store" / "model.safetensors"


def tables(folder: Path) -> dict[str, dict[str, Any]]:
    found = (folder / "wandb").glob("*run-*/files/media/table/overview/*.json")
    return {file.name.split("_")[0]: json.loads(file.read_text()) for file in found}


def test_the_overview_holds_tables_pictures_report_and_weights(tmp_path: Path, weights: Path) -> None:
    published = offline(tmp_path / "bench", weights={"finetune a/b, seed 0": weights})
    assert published == Published("offline", tmp_path / "bench" / "wandb", written=1)
    (file,) = runs(tmp_path / "bench")
    found = records(file)
    (run,) = of_type(found, "run")
    assert (run["run_group"], run["job_type"], run["display_name"]) == ("tiny", "overview", "tiny: overview")
    assert (run["config"]["update"]["bench"], run["config"]["update"]["bench_config"]) == ("tiny", BENCH)
    shown = tables(tmp_path / "bench")
    assert shown["claims"]["columns"] == [item.name for item in fields(Finding)]
    told = [[dict(zip(shown["claims"]["columns"], row, strict=True))[name] for name in ("claim", "decision", "effect")]
            for row in shown["claims"]["data"]]  # fmt: skip
    assert told == [["H1", "supported", 0.25], ["H2", "undecided", None]]
    assert shown["answer"]["columns"] == ["answer"]
    assert shown["answer"]["data"][0][0].startswith(
        "pgd(steps=3) linf, black box at eps 8/255: finetune falls from 72.5 %"
    )
    assert shown["trust"]["data"] == [
        ["amber", reason, 4, str(cells()[0].cell)] for reason in ("Few samples.", "One seed.")
    ]
    columns, rows = shown["accuracy"]["columns"], shown["accuracy"]["data"]
    black = [dict(zip(columns, row, strict=True)) for row in rows if row[columns.index("view")] == "black"]
    assert [row["eps"] for row in black] == EPS
    assert [row["value"] for row in black] == pytest.approx([0.725, 0.525, 0.325])  # mean of 14 and 15 of 20, ...
    assert all(row["low"] < row["value"] < row["high"] and row["n"] == 40 for row in black)
    assert shown["lineage"]["columns"] == ["target, attack", "eps", "crafted on", "hand from print"]
    at_last = {row[2]: row[3] for row in shown["lineage"]["data"] if row[1] == EPS[2]}
    assert at_last == pytest.approx({"print": 0.325, "hand from print": 0.325})
    summary = summary_of(found)
    media = {name.removesuffix("._type") for name in summary if name.endswith("._type")}
    assert media == {
        *(f"overview/{name}" for name in ("accuracy", "summary", "lineage", "claims", "report", "answer", "trust")),
        *("overview/curves", "overview/lineage_matrix", "pictures/a_b_pgd"),
    }
    assert summary["pictures/a_b_pgd.caption"] == "a → b, pgd"
    assert (summary["cells_amber"], summary["claims_supported"], summary["claims_undecided"]) == (4, 1, 1)
    artifacts = {record["name"]: record for record in of_type(found, "artifact")}
    files = {name: {entry["path"] for entry in one["manifest"]["contents"]} for name, one in artifacts.items()}
    assert files == {
        "tiny-tables": {
            f"{name}.table.json" for name in ("accuracy", "summary", "lineage", "claims", "answer", "trust")
        },
        "tiny-report": {"report.html", "table.csv"},
        "tiny-weights": {"finetune a-b, seed 0.safetensors"},
    }


def test_numbers_alone_leave_the_machine_where_that_is_asked_for(tmp_path: Path, weights: Path) -> None:
    found = offline(tmp_path / "bench", weights={"b": weights}, share="numbers")
    assert (found.written, found.problems) == (1, ())
    lines = records(runs(tmp_path / "bench")[0])
    manifests = {record["name"]: record["manifest"]["contents"] for record in of_type(lines, "artifact")}
    assert manifests.keys() == {"tiny-tables", "tiny-report"}
    assert {entry["path"] for entry in manifests["tiny-report"]} == {"table.csv"}
    assert not [name for name in summary_of(lines) if name.startswith(("pictures/", "overview/report"))]


def test_it_is_replaced_when_it_changes_and_skipped_when_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offline(tmp_path)
    before = runs(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(wandb_sink, "_session", None)  # a session would fail
        assert offline(tmp_path) == Published("offline", tmp_path / "wandb", skipped=1)
    assert offline(tmp_path, findings=CLAIMS[:1]).written == 1
    assert offline(tmp_path, findings=CLAIMS[:1], pictures={}).written == 1
    (after,) = runs(tmp_path)
    assert after.name == before[0].name  # the id is the bench's
    assert [row[0] for row in tables(tmp_path)["claims"]["data"]] == ["H1"]


def test_a_copy_elsewhere_is_complete(tmp_path: Path, weights: Path) -> None:
    offline(tmp_path / "bench", weights={"b": weights})
    copy = tmp_path / "elsewhere" / "wandb"
    shutil.copytree(tmp_path / "bench" / "wandb", copy)
    shutil.rmtree(tmp_path / "bench")
    weights.unlink()
    (file,) = copy.glob("*run-*/*.wandb")
    needed = read(file).needed
    assert len(needed) == 6 + 3 + 1 + 6 + 2 + 1  # tables, images, report, and artifacts of tables, report, weights
    assert all(one.path.is_file() and file.parent in one.path.resolve().parents for one in needed)
    assert [run.problem for run in verify(copy)] == [""]

    staged = next(one.path for one in needed if one.size)
    content = staged.read_bytes()
    staged.chmod(0o600)
    staged.write_bytes(b"x" * len(content))
    assert "has another content in" in verify(copy)[0].problem
    staged.write_bytes(content[:-1])
    assert f"has {len(content) - 1} of {len(content)} bytes" in verify(copy)[0].problem
    staged.unlink()
    assert "lacks the file" in verify(copy)[0].problem


def test_weights_are_bounded_and_what_is_left_out_is_said(
    tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published = offline(tmp_path / "bench", weights={"gone": tmp_path / "gone.safetensors", "b": weights})
    assert published.written == 1
    assert published.problems == (f"overview: its weights gone are not at {tmp_path / 'gone.safetensors'}.",)
    monkeypatch.setattr(wandb_overview, "LIMIT", 6)
    published = offline(tmp_path / "bench", weights={"b": weights})
    assert published.written == 1
    assert "weights of 0 MB are not published" in published.problems[0]
    (file,) = runs(tmp_path / "bench")
    assert {record["name"] for record in of_type(records(file), "artifact")} == {"tiny-tables", "tiny-report"}


def test_what_fails_is_a_problem_and_no_crash(tmp_path: Path) -> None:
    published = offline(tmp_path, pictures={"broken": b"no picture"})
    assert published.written == 0
    assert published.problems[0].startswith("overview of tiny: W&B offline failed (")
    published = offline(tmp_path, findings=[object()])
    assert published.problems[0].startswith("overview of tiny: not published (")
    assert offline(tmp_path).problems == ()


def test_disabled_writes_nothing(tmp_path: Path) -> None:
    settings = WandbSettings(mode="disabled")
    published = publish_overview(Views(tmp_path, "tiny", cells(), []), settings, {})
    assert (published.mode, list(tmp_path.iterdir())) == ("disabled", [])


def test_names_beyond_ascii_stay_apart_and_are_taken() -> None:
    names = [
        "digits",
        "größe",
        "grösse",
        "gr-e",
        "数字",
        "文字",
        "a/b",
        "a b",
        "a-b",
        "x" * 200,
        "x" * 201,
        "..",
        "[bold]",
    ]
    safe = [wandb_overview.safe_name(name) for name in names]
    assert len(set(safe)) == len(names)
    assert all(re.fullmatch(r"[a-zA-Z0-9_.-]{1,120}", name) for name in safe)
    assert safe[0] == "digits"
