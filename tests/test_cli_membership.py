"""A bench with membership inferences on the command line: planned, run, shared; wrong input."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from tl_robust.cli import main

# Lightning 2.6 uses what torch 2.9 and later warn about
pytestmark = pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")
QUICK = ["axes.strategy=[finetune]", "axes.common=[]", "axes.seed=[0]", "recipe.select=last", "engine=local"]
RMIA = "axes.attack=[{name: rmia, pairs: 2}]"
BAD = [
    (["recipe.select=test"], "so that no sample is known to be no member: use select: last"),
    (["axes.target_images=[20]"], "none of class"),
    (["axes.attack=[{name: rmia, pairs: 1}]"], "setting 'pairs' of rmia must be at least 2"),
    (["pairs=1"], "setting 'pairs' of rmia must be at least 2"),
    (["axes.attack=[{name: lira, pairs: 2}]"], "setting 'pairs' of lira must be at least 3"),
    (["axes.attack=[{name: rmia, pairs: 4, shadows: 3}]"], "setting 'shadows' of rmia must be an even number from"),
    (["axes.attack=[{name: rmia, side: sorce}]"], "setting 'side' of rmia must be target or source, got 'sorce'"),
    (["axes.attack=[{name: rmia, knowledge: recipes}]"], "setting 'knowledge' of rmia must be lineage, recipe"),
    (["axes.attack=[{name: lira, mode: ofline}]"], "setting 'mode' of lira"),
    (["axes.attack=[{name: loss, canaries: 0.6}]"], "setting 'canaries' of loss must be in [0, 0.5], got 0.6"),
    (["axes.attack=[{name: rmia, pair: 4}]"], "did you mean 'pairs'?"),
    (["axes.attack=[{name: rmi}]"], "unknown attack 'rmi'; did you mean 'rmia'?"),
    (["axes.strategy=[scratch]", "axes.attack=[{name: rmia, side: source, pairs: 2}]"], "needs a strategy whose B"),
    (["axes.strategy=[scratch]", "axes.attack=[{name: rmia, knowledge: recipe, pairs: 2}]"], "starts from a parent"),
    (["epochs=[0, 30]"], "there is no snapshot after epoch 30 of"),
    (["axes.defense=[squeez]"], "did you mean 'squeeze'?"),
]  # fmt: skip


@pytest.mark.parametrize(("overrides", "expected"), BAD, ids=[" ".join(overrides) for overrides, _ in BAD])
def test_a_wrong_inference_is_one_sentence_before_anything_runs(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], overrides: list[str], expected: str
) -> None:
    assert main(["plan", str(tiny), f"results={tmp_path / 'r'}", *QUICK, RMIA, *overrides]) == 2
    error = capsys.readouterr().err
    assert expected in error
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert not (tmp_path / "r").exists()


def planned(tiny: Path, capsys: pytest.CaptureFixture[str], *overrides: str) -> dict[str, Any]:
    assert main(["plan", str(tiny), "--json", *QUICK, *overrides]) == 0
    facts: dict[str, Any] = json.loads(capsys.readouterr().out)
    return facts


def test_pairs_of_the_bench_stand_for_those_of_every_inference(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    attacks = "axes.attack=[{name: loss, pairs: 2}, {name: rmia, pairs: 3}]"
    facts = planned(tiny, capsys, attacks, "pairs=4")
    each = planned(tiny, capsys, "axes.attack=[{name: loss, pairs: 4}, {name: rmia, pairs: 4}]")
    assert facts["nodes"] == each["nodes"]
    assert facts["nodes"]["training"] == 1 + 2 * 4
    assert planned(tiny, capsys, attacks)["nodes"]["training"] == 1 + 2 * 3, "without it each has its own"


def test_another_pair_adds_two_trainings_and_two_signals(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    attacks = "axes.attack=[loss, calibrated, rmia]"
    four, five = (planned(tiny, capsys, attacks, f"pairs={pairs}")["nodes"] for pairs in (4, 5))
    assert {kind: five[kind] - four[kind] for kind in five} == {"training": 2, "signal": 2, "inference": 0}


def test_no_axis_of_views_is_needed(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    attacks = "axes.attack=[{name: loss, pairs: 2}, {name: rmia, side: source, pairs: 2}]"
    assert planned(tiny, capsys, attacks)["cells"] == 2
    assert planned(tiny, capsys, attacks, "axes.view=[target, source]")["cells"] == 2


def test_three_threats_of_a_bench_are_run_shared_and_name_no_image(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "disabled")
    attacks = (
        "axes.attack=[fgsm, {name: patch, target: 3}, {name: rmia, pairs: 2}, {name: rmia, side: source, pairs: 2}]"
    )
    bench = [str(tiny), *QUICK, attacks]
    assert main(["run", *bench, "--plain"]) == 0
    with Path("results/tiny/table.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {(row["threat"], row["axis"], row["view"]) for row in rows} == {
        ("evasion", "eps", "white"), ("evasion", "eps", "black"), ("backdoor", "epochs", "source"),
        ("membership", "epochs", "target"), ("membership", "epochs", "source"),
    }  # fmt: skip
    assert {row["eps"] for row in rows if (row["metric"], row["view"]) == ("auc", "source")} == {"0", "1", "2"}
    assert main(["run", *bench, "--plain"]) == 0
    assert "(4 done)" not in capsys.readouterr().out.split("Bench tiny:")[0]

    for name, samples in (("samples", ["--samples"]), ("stated", [])):
        assert main(["export", *bench, "--out", f"shared/{name}", *samples]) == 0
        assert main(["merge", f"shared/{name}", "--out", f"merged/{name}"]) == 0
        assert Path(f"merged/{name}/table.csv").read_bytes() == Path("results/tiny/table.csv").read_bytes()
    assert Path("merged/samples/summary.csv").read_bytes() == Path("results/tiny/summary.csv").read_bytes()
    capsys.readouterr()
    assert main(["compare", "results/tiny", "shared/samples", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["moved"], facts["only_first"], facts["only_second"]) == (0, 0, 0)
    assert main(["status", *bench]) == 0


def test_list_shows_inferences_with_settings(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "inference", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert set(facts) >= {"loss", "parent_gap", "calibrated", "lira", "rmia"}
    assert facts["rmia"]["settings"] | {"pairs": 12, "side": "target", "canaries": 0.0} == facts["rmia"]["settings"]
