"""The command line as a user meets it."""

import csv
import json
import os
from pathlib import Path

import pytest

from tl_robust.cli import main

BAD = [
    ("axes.attack=[pgdd]", "unknown attack 'pgdd'; did you mean 'pgd'?"),
    ("axes.strategy=[finetun]", "did you mean 'finetune'?"),
    ("axes.pair=[made_a-mad_b]", "did you mean 'made_b'?"),
    ("axes.pair=[]", "axes.pair is an empty list"),
    ("axes.pair=[made_a-made_a]", "same domain twice"),
    ("axes.common=[made_a]", "needs a common domain"),
    ("axes.seed=[one]", "could not be converted to Integer"),
    ("axes.sed=[1]", "Did you mean: 'seed'?"),
    ("recipe.epochs=0", "recipe.epochs must be at least 1, got 0"),
    ("recipes.made_a.epoch=1", "did you mean 'epochs'?"),
    ("eps=[-1/255]", "eps must be 0 to 1"),
    ("eps=[8]", "write 8/255, not 8"),
    ("eps=[]", "eps must be given: a list such as [0, 8/255]"),
    ("eps=[a]", "eps must hold numbers"),
    ("eps_scale=kdd", "did you mean 'kdd20'?"),
    ("axes.view=[grey]", "unknown view 'grey'"),
    ("axes.network=[{name: dtn, widht: 1}]", "did you mean 'width'?"),
    ("axes.network=[{name: dtn, width: wide}]", "must be float, got 'wide'"),
    ("axes.network[4].width=1", "axes.network[4]"),
    ("trainer.acelerator=cpu", "did you mean 'accelerator'?"),
    ("trainer.max_epochs=3", "use recipe.epochs"),
    ("wandb.mode=sometimes", "wandb.mode must be"),
    ("data.train_limit=3", "too few to hold out"),
    ("plugins=[nowhere]", "plugin folder"),
    ("attack_batch=-1", "attack_batch must be at least 1, or 0 to measure"),
    ("fast=[bf61]", "did you mean 'bf16'?"),
    ("workers=-1", "workers must be 0"),
    ("name=../x", "name must be usable as a folder name"),
    ("space=digit", "did you mean 'digits'?"),
    ("axes.pair=[mnist-usps]", "usps not found in data: expected usps.bz2 and usps.t.bz2; set data.root"),
    ("axes", "must be key=value"),
]


@pytest.mark.parametrize(("override", "expected"), BAD, ids=[override for override, _ in BAD])
def test_bad_input_is_one_sentence_and_exit_code_2(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], override: str, expected: str
) -> None:
    assert main(["run", str(tiny), f"results={tmp_path / 'r'}", override]) == 2
    error = capsys.readouterr().err
    assert expected in error
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert not (tmp_path / "r").exists()


def test_bad_yaml_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "b.yaml").write_text("axes: [")
    assert main(["run", str(tmp_path / "b.yaml")]) == 2
    assert "b.yaml is not valid YAML" in capsys.readouterr().err


def test_an_unknown_bench_shows_the_known_ones(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "embedded.yaml").write_text("")
    assert main(["run", "embeded"]) == 2
    assert "did you mean 'embedded'?" in capsys.readouterr().err
    assert main(["run", "nowhere.yaml"]) == 2
    assert "cannot read the bench file nowhere.yaml" in capsys.readouterr().err


def test_a_results_folder_that_cannot_be_written(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("kept")
    assert main(["run", str(tiny), f"results={tmp_path / 'file'}"]) == 2
    assert "cannot write" in capsys.readouterr().err
    assert (tmp_path / "file").read_text() == "kept"
    if os.geteuid():  # root may write anywhere
        (tmp_path / "locked").mkdir(mode=0o555)
        assert main(["run", str(tiny), f"results={tmp_path / 'locked'}"]) == 2


def test_a_run_writes_what_the_design_names(tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [str(tiny), f"results={tmp_path / 'r'}", "axes.seed=[0]", "workers=2"]
    assert main(["plan", *arguments, "--json"]) == 0
    counts = {"cells": 12, "trainings": 6, "done": 0, "left_out": []}
    nodes = {"training": 6, "attack": 10, "trust check": 5, "picture": 10}
    assert json.loads(capsys.readouterr().out) == counts | {"nodes": nodes}
    assert main(["run", *arguments, "--plain"]) == 0
    said = capsys.readouterr().out
    assert "training 6/6" in said
    assert "accuracy under attack in %" in said
    folder = tmp_path / "r" / "tiny"
    assert {path.name for path in folder.iterdir()} >= {
        "config.yaml", "table.csv", "summary.csv", "report.html", "report.md", "failures.json",
    }  # fmt: skip
    assert json.loads((folder / "failures.json").read_text()) == []
    with (folder / "table.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [
        *("bench", "source", "target", "network", "strategy", "common", "defense", "attack", "norm", "view"),
        *("seed", "eps", "metric", "value", "n", "low", "high", "trust", "cell", "target_images", "threat", "axis"),
    ]
    accuracy = [row for row in rows if row["metric"] == "robust_accuracy" and row["view"] == "white"]
    assert all(float(row["low"]) <= float(row["value"]) <= float(row["high"]) for row in accuracy)
    assert {row["n"] for row in accuracy} == {"80"}
    assert {row["common"] for row in rows if row["strategy"] == "common_init"} == {"made_c"}
    assert main(["plan", *arguments]) == 0
    assert "12 cells, 12 done" in capsys.readouterr().out
    before = (folder / "report.html").read_bytes()
    (folder / "report.html").unlink()
    assert main(["report", *arguments, "--figure", str(tmp_path / "figures")]) == 0
    assert (tmp_path / "figures" / "tiny.svg").read_text().startswith("<svg")
    part = tmp_path / "part.svg"
    assert main(["report", *arguments, "--figure", str(part), "--attack", "fgsm"]) == 0
    assert "fgsm" in part.read_text()
    assert "pgd" not in part.read_text()
    assert "pgd" in (tmp_path / "figures" / "tiny.svg").read_text()
    assert main(["report", *arguments, "--figure", str(part), "--attack", "fgms"]) == 2
    assert "did you mean 'fgsm'?" in capsys.readouterr().err
    assert main(["report", *arguments, "--attack", "fgsm"]) == 2
    capsys.readouterr()
    assert main(["claims", *arguments, "--json"]) == 0
    ledger = json.loads(capsys.readouterr().out)
    claims = [f"H{number}" for number in (*range(1, 12), 13)] + [f"D{number}" for number in range(1, 5)]
    assert {one["claim"] for one in ledger} == set(claims)
    assert all(one["effect"] is None for one in ledger if one["claim"] == "H8")  # not NaN, which JSON has not
    assert main(["claims", *arguments, "--pairs"]) == 0
    shown = capsys.readouterr().out
    assert "Claims under fgsm linf" in shown
    assert "One seed decides nothing" in shown
    assert (folder / "report.html").read_bytes() == before
    assert main(["doctor", "--results", str(tmp_path / "r")]) == 0
    assert "0 damaged" in capsys.readouterr().out


def test_doctor_names_damaged_entries(tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(tiny), "axes.seed=[0]", "axes.strategy=[scratch]", "axes.attack=[fgsm]"]) == 0
    victim = sorted((tmp_path / "results" / "store" / "outcomes").glob("*/outcome.npz"))[0]
    victim.write_bytes(b"half")
    assert main(["doctor"]) == 1
    assert "1 damaged" in capsys.readouterr().out


def test_failed_cells_give_exit_code_1_and_a_file(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tiny.parent / "plugins" / "broken.py").write_text(
        "from dataclasses import dataclass\nfrom tl_robust.attacks import ATTACKS, Attack\n"
        "@ATTACKS.register\n@dataclass(frozen=True)\nclass Broken(Attack):\n"
        "    def perturb(self, problem, eps):\n        raise RuntimeError('no luck')\n"
    )
    assert main(["run", str(tiny), "axes.seed=[0]", "axes.attack=[fgsm,broken]", "axes.strategy=[scratch]"]) == 1
    assert "failures.json" in capsys.readouterr().err
    failures = json.loads((tmp_path / "results" / "tiny" / "failures.json").read_text())
    assert {failure["cause"] for failure in failures} == {"RuntimeError: no luck"}


def test_report_before_a_run_says_so(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("report", "claims"):
        assert main([command, str(tiny)]) == 2
        assert "run it first" in capsys.readouterr().err


def test_list_shows_every_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--json"]) == 0
    names = json.loads(capsys.readouterr().out)
    assert {"as_is", "common_init", "finetune", "scratch"} <= set(names["strategy"])
    assert "transfer_ratio" in names["metric"]
    assert main(["list"]) == 0
    assert "rendered_syn" in capsys.readouterr().out


def test_check_pair_prints_a_sheet(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check-pair", "rendered_print-optdigits", "data.train_limit=500", "data.test_limit=200"]) == 0
    assert "train and test disjoint" in capsys.readouterr().out
    assert main(["check-pair", "rendered_print-optdigit"]) == 2


def test_brackets_in_messages_reach_the_user(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tiny.parent / "plugins" / "broken.py").write_text(
        "from dataclasses import dataclass\nfrom tl_robust.attacks import ATTACKS, Attack\n"
        "@ATTACKS.register\n@dataclass(frozen=True)\nclass Broken(Attack):\n"
        "    def perturb(self, problem, eps):\n        raise RuntimeError('[/no] [red]luck')\n"
    )
    assert main(["run", str(tiny), "axes.seed=[0]", "axes.attack=[broken]", "axes.strategy=[scratch]"]) == 1
    assert "RuntimeError: [/no] [red]luck" in capsys.readouterr().out
