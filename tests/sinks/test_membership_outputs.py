"""What a bench of membership writes: runs in W&B, tables, shared records; none of it holds an image."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from tests.sinks.wandb_made import no_account, of_type, records, runs
from tl_robust.cli import main
from tl_robust.config import load

__all__ = ["no_account"]  # a fixture that all tests use

# Lightning 2.6 uses what torch 2.9 and later warn about
pytestmark = pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")
QUICK = [
    "axes.strategy=[finetune]", "axes.common=[]", "axes.seed=[0]", "recipe.select=last", "engine=local",
    "wandb.mode=offline", "axes.attack=[{name: rmia, pairs: 2}, {name: rmia, side: source, pairs: 2}]",
]  # fmt: skip


def test_runs_tables_and_shared_records_have_epochs_and_ids_but_no_image(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    bench = [str(tiny), *QUICK]
    assert main(["run", *bench, "--plain"]) == 0
    found = [records(file) for file in runs(Path("results/tiny"))]
    rows = [[each["item"] for each in of_type(run, "history") if "membership/auc" in each["item"]] for run in found]
    assert {tuple(row["epochs"] for row in curve) for curve in rows if curve} == {(2,), (0, 1, 2)}

    assert main(["export", *bench, "--out", "shared", "--samples"]) == 0
    sides = load(tiny, QUICK).plan.sides
    images = [image.numpy().tobytes() for side in sides for image in side.images("train").images]
    needles = {image[start : start + 48] for image in images for start in (0, len(image) // 2) if any(image)}
    needles = {needle for needle in needles if len(set(needle)) > 8}
    assert len(needles) > 100
    written = [path for folder in ("results/tiny", "shared") for path in Path(folder).rglob("*") if path.is_file()]
    assert {"table.csv", "summary.csv"} <= {path.name for path in written}
    for path in written:
        content = path.read_bytes()
        assert not [needle for needle in needles if needle in content], path
        assert not [needle for needle in needles if base64.b64encode(needle) in content], path
    stated = [path for path in written if path.suffix == ".json" and path.is_relative_to("shared")]
    assert any('"member"' in json.dumps(json.loads(path.read_text())) for path in stated), "bits of membership by id"
