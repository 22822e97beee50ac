"""A bench with a backdoor and an attack of evasion on the command line: run, read, shared, compared; wrong input."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest

from tl_robust.backdoors import BACKDOORS
from tl_robust.cli import main

# Lightning 2.6 uses what torch 2.9 and later warn about
pytestmark = pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")
BOTH = [
    "axes.attack=[fgsm, {name: patch, target: 3, wake: 4}]", "axes.strategy=[finetune]", "axes.common=[]",
    "axes.seed=[0]", "epochs=[0, 2]",
]  # fmt: skip
BAD = [
    ("axes.attack=[{name: patch, target: thre}]", "setting 'target' of a backdoor must be a class of made_a (0, 1"),
    ("axes.attack=[{name: patch, rat: 0.1}]", "did you mean 'rate'?"),
    ("axes.attack=[{name: pach}]", "unknown attack 'pach'; did you mean 'patch'?"),
    ("axes.attack=[{name: patch, into: sorce}]", "must be source, target, common, got 'sorce'"),
    ("axes.attack=[{name: patch, rate: 0.0001}]", "use a rate of at least"),
    ("axes.attack=[{name: patch, side: 40}]", "patch needs 41 pixels (side + margin), but images have 32x32"),
    ("axes.attack=[{name: patch, epochs: [0, 9]}]", "there is no snapshot after epoch 9 of"),
    ("epochs=[0, 30]", "there is no snapshot after epoch 30 of"),
    ("epochs=[0.5]", "epochs must be a list of whole numbers from 0"),
    ("epochs=[-1]", "epochs must be a list of whole numbers from 0"),
    ("eps=[]", "eps must be given: a list such as [0, 8/255]"),
]


@pytest.mark.parametrize(("override", "expected"), BAD, ids=[override for override, _ in BAD])
def test_a_wrong_backdoor_is_one_sentence_before_anything_runs(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], override: str, expected: str
) -> None:
    for command in ("plan", "run"):
        assert main([command, str(tiny), f"results={tmp_path / 'r'}", *BOTH, override]) == 2
        error = capsys.readouterr().err
        assert expected in error
        assert error.startswith("error: ")
        assert error.count("\n") == 1
        assert not (tmp_path / "r").exists()


def test_both_threats_of_a_bench_are_read_shared_and_compared(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "disabled")
    bench = [str(tiny), *BOTH]
    assert main(["plan", *bench]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "3 cells, 0 done; each once: 6 trainings; 2 attacks; 4 backdoors; " in said
    assert "craft group" not in said
    assert main(["run", *bench, "--plain"]) == 0
    said = capsys.readouterr().out
    assert "Bench tiny: 3 cells (0 done) from 6 trainings, 2 attacks and 4 backdoors; results in" in said
    assert "Evasion, fgsm linf, black box at eps 16/255: finetune " in said
    assert "Backdoor, patch(target=3, wake=4), poisoned pre-training at epoch 2, images of other classes" in said
    assert re.search(r"clean twin [\d.]+ %, accuracy [\d.]+ %, accuracy of the twin [\d.]+ %\)\.", said)
    with Path("results/tiny/table.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {(row["threat"], row["axis"], row["view"]) for row in rows} == {
        ("evasion", "eps", "white"), ("evasion", "eps", "black"), ("backdoor", "epochs", "source"),
    }  # fmt: skip
    assert {row["eps"] for row in rows if row["metric"] == "lift"} == {"0", "2"}
    assert "reactivation" in {row["metric"] for row in rows}

    for name, samples in (("samples", ["--samples"]), ("stated", [])):
        assert main(["export", *bench, "--out", f"shared/{name}", *samples]) == 0
        assert main(["merge", f"shared/{name}", "--out", f"merged/{name}"]) == 0
        assert Path(f"merged/{name}/table.csv").read_bytes() == Path("results/tiny/table.csv").read_bytes()
    assert Path("merged/samples/summary.csv").read_bytes() == Path("results/tiny/summary.csv").read_bytes()
    capsys.readouterr()
    assert main(["compare", "results/tiny", "shared/samples", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["moved"], facts["only_first"], facts["only_second"]) == (0, 0, 0)
    assert facts["compared"] == facts["paired"] > 40
    assert main(["run", *bench, "--plain", "axes.seed=[5]", "name=other"]) == 0
    capsys.readouterr()
    assert main(["compare", "results/tiny", "results/other", "--metric", "lift", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["compared"], facts["paired"]) == (2, 0), "of other seeds nothing is paired"
    assert main(["export", *bench, "--out", "shared/other", "--samples", "axes.seed=[5]", "name=other"]) == 0
    assert main(["merge", "shared/samples", "shared/other", "--out", "merged/both"]) == 0
    said = capsys.readouterr().out
    for name in ("tiny", "other"):
        assert f"\n{name}: made_a → made_b" in said, "tables of two benches say whose they are"
        assert f"\n{name}: Claims under fgsm linf: " in said, "and each bench's claims are decided by themselves"

    for command in ("status", "claims", "report"):
        assert main([command, *bench]) == 0
    assert "backdoors" in capsys.readouterr().out
    assert main(["dashboard", "spec", *bench, "--threat", "backdoor"]) == 0
    spec = json.loads(capsys.readouterr().out)
    line = next(panel for section in spec["sections"] for panel in section["panels"] if panel["kind"] == "line")
    assert (spec["axis"], line["y"], line["range_x"]) == ("epochs", "success/poisoned_pre-training", [0, 2])


def test_precision_says_what_it_is_about(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", str(tiny), *BOTH, "--precision"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "in points of accuracy, or of another share of all test images" in said
    assert "such as those of all classes but an attacker's, is as sure as one of so many images" in said


def test_list_shows_one_kind_with_settings(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "backdoor", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert list(facts) == BACKDOORS.names()
    assert facts["patch"]["settings"] == {
        "target": "", "rate": 0.1, "labels": "dirty", "into": "source", "wake": 0, "side": 5, "margin": 1,
    }  # fmt: skip
    assert facts["patch"]["what"].startswith("Gu, Dolan-Gavitt, Garg")
    assert main(["list", "backdoor"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "patch target='', rate=0.1, labels=dirty, into=source, " in shown
    assert "settings and their defaults" in shown
    for kind, what in {
        "metric": "Share of all samples",
        "claim": "Black-box accuracy",
        "trust check": "Red where",
        "sink": "Publish the runs",
        "engine": "cpus=1.0",
        "defense": "bits=3",
    }.items():
        assert main(["list", kind]) == 0
        assert what.split()[0] in capsys.readouterr().out, kind
