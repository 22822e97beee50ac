"""A sweep over keys of a bench: W&B takes it, its agent's command line runs the bench, and trials can be compared."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from wandb.apis.public.sweeps import _validate_config_and_fill_distribution as validated
from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args
from wandb.sdk.lib.config_util import save_config_file_from_dict

from tests.sinks import three_threats
from tests.sinks.wandb_made import no_account, of_type, records, runs, summary_of
from tl_robust.cli import main
from tl_robust.errors import ConfigError
from tl_robust.results import table
from tl_robust.sinks.wandb import dashboard, sweep
from tl_robust.sinks.wandb.panels import Shown
from tl_robust.sinks.wandb.session import WandbSettings
from tl_robust.sinks.wandb.trial import group_of, headlines, trial_config, trial_id
from tl_robust.types import Face

__all__ = ["no_account"]  # a fixture that all tests use

# Lightning 2.6 uses what torch 2.9 and later warn about
pytestmark = pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")
KEYS = {  # of W&B's own schema of sweeps (package sweeps, config/schema.json): others are refused
    "name", "description", "program", "project", "entity", "method", "metric", "run_cap", "parameters", "command",
}  # fmt: skip
THREE = "axes.attack=[fgsm,{name: patch, epochs: [0,2]},{name: rmia, pairs: 2}]"
SMALL = ["axes.strategy=[finetune]", "axes.common=[]", "axes.seed=[0]", "axes.defense=[none,squeeze]", THREE]
SMALL += ["recipe.select=last", "engine=local"]


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    assert main(["dashboard", "sweep", *words]) == 0
    made: dict[str, Any] = yaml.safe_load(capsys.readouterr().out)
    return made


def test_wandb_takes_it(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    varied = ["--vary", "axes.strategy", "--vary", "recipe.lr=[1e-3, 0.01]"]
    made = printed(capsys, str(tiny), "axes.seed=[0]", *varied)
    assert made.keys() <= KEYS
    assert made["parameters"] == {
        "axes.strategy": {"values": ["[scratch]", "[finetune]", "[common_init]"]},
        "recipe.lr": {"values": [0.001, 0.01]},
    }
    assert made["metric"] == {"name": "headline/accuracy/black_box", "goal": "maximize"}
    assert made["command"][:5] == ["${env}", "${program}", "run", str(tiny), "axes.seed=[0]"]
    assert validated(made) == made
    drawn = printed(
        capsys, str(tiny), "--vary", "recipe.lr=log:1e-3..0.1", "--vary", "recipe.epochs=1..3", "--trials", "9"
    )
    assert (drawn["method"], drawn["run_cap"]) == ("random", 9)
    assert drawn["parameters"]["recipe.lr"] == {"distribution": "log_uniform_values", "min": 0.001, "max": 0.1}
    assert drawn["parameters"]["recipe.epochs"] == {"distribution": "int_uniform", "min": 1, "max": 3}
    assert validated(drawn) == drawn


def test_a_threat_whose_headline_is_bad_news_is_minimized(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = printed(capsys, str(tiny), *SMALL, "--vary", "axes.defense", "--threat", "backdoor")
    assert made["metric"] == {"name": "headline/success/poisoned_pre-training", "goal": "minimize"}


BAD = [
    ([], "a sweep varies some keys, each given once by --vary, got []"),
    (["--vary", "recipe.lr=[1]", "--vary", "recipe.lr=[2]"], "each given once"),
    (["--vary", "recipe.lr"], "--vary recipe.lr needs values, since it is no axis"),
    (["--vary", "recipe.lr=x"], "must be a list of values or a range"),
    (["--vary", "recipe.lr=[]"], "must be a list of values or a range"),
    (["--vary", "recipe.lr=0.1..0.01"], "the lower first"),
    (["--vary", "recipe.lr=log:0..1"], "both above 0 after log:"),
    (["--vary", "recipe.lr=0.1..0.2", "--method", "grid"], "a grid has no range, and recipe.lr is one"),
    (["--vary", "recipe.lrr=[1]"], "Did you mean: 'lr'?"),
    (["--vary", "recipe.lr=[-1]"], "recipe.lr must be above 0"),
    (["--vary", "wandb.mode=[online]"], "but none of wandb, got 'wandb.mode'"),
    (["--vary", "axes.seed", "--metric", "accuracy"], "unknown metric of this bench 'accuracy'"),
    (["--vary", "axes.seed", "--trials", "-1"], "--trials must be at least 1, or 0 for no bound, got -1"),
    (["--vary", "axes.strategy=[finetun]"], "did you mean 'finetune'?"),
]


@pytest.mark.parametrize(("words", "expected"), BAD, ids=[" ".join(words) or "nothing" for words, _ in BAD])
def test_wrong_input_is_one_sentence(
    tiny: Path, capsys: pytest.CaptureFixture[str], words: list[str], expected: str
) -> None:
    assert main(["dashboard", "sweep", str(tiny), *words]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert expected in shown.err
    assert shown.err.count("\n") == 1


def test_other_actions_and_several_benches_are_no_sweeps(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dashboard", "spec", str(tiny), "--vary", "axes.seed"]) == 2
    assert "are of a sweep" in capsys.readouterr().err
    assert main(["dashboard", "push", str(tiny), "--push"]) == 2
    assert "--push saves a report" in capsys.readouterr().err
    assert main(["dashboard", "spec", "axes.seed=[0]"]) == 2
    assert "name a bench" in capsys.readouterr().err
    assert main(["dashboard", "spec", str(tiny), str(tiny)]) == 2
    assert "bench 'tiny' was given twice" in capsys.readouterr().err
    assert main(["dashboard", "report", str(tiny)]) == 2
    assert "run it first" in capsys.readouterr().err
    other = tiny.with_name("other.yaml")
    other.write_text(tiny.read_text().replace("name: tiny", "name: other\nwandb: {project: elsewhere}"))
    assert main(["dashboard", "spec", str(tiny), str(other)]) == 2
    assert "these benches have tl_robust, elsewhere: give the same wandb.project" in capsys.readouterr().err
    assert main(["dashboard", "sweep", str(tiny), str(other), "--vary", "axes.seed"]) == 2
    capsys.readouterr()
    assert main(["dashboard", "spec", str(tiny), str(other), "wandb.project=one"]) == 0
    assert json.loads(capsys.readouterr().out)["runs"]["filter"] == {"bench": ["tiny", "other"]}


def test_a_threat_without_a_headline_is_no_goal() -> None:
    with pytest.raises(ConfigError, match="no threat of this bench has one"):
        sweep.metrics([Shown(Face("toy", "Toy"), (), ("open",), several=False)])


def test_the_headline_of_a_view_is_a_mean_over_its_cells_and_axis() -> None:
    found = three_threats.results()
    numbers = headlines(table.summary(found))
    assert numbers.keys() == {
        "headline/accuracy/white_box", "headline/accuracy/black_box", "headline/success/poisoned_pre-training",
        "headline/exposure/target_data",
    }  # fmt: skip
    # Right of 20 images at the two eps above 0: 10 and 6 without the defense, 11 and 7 with it.
    assert numbers["headline/accuracy/black_box"] == pytest.approx((10 + 6 + 11 + 7) / 4 / 20)
    backdoors = [result.curves["attack_success"].value for result in found if result.cell.threat == "backdoor"]
    assert numbers["headline/success/poisoned_pre-training"] == pytest.approx(sum(value[-1] for value in backdoors) / 2)


def test_only_the_sweep_that_a_bench_was_told_makes_trials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WANDB_SWEEP_ID", "abc")
    monkeypatch.setenv("WANDB_RUN_ID", "trial1")
    monkeypatch.setenv("WANDB_SWEEP_PARAM_PATH", str(tmp_path / "config.yaml"))
    ours, other, none = (WandbSettings(sweep=sweep_id) for sweep_id in ("abc", "xyz", ""))
    assert (trial_id(ours), trial_id(other), trial_id(none)) == ("trial1", "", "")
    assert trial_config(ours) == {"sweep": "abc", "trial": "trial1"}  # there is no file
    (tmp_path / "config.yaml").write_text("wandb_version: 1\nrecipe.lr:\n  value: 0.01\n")
    assert trial_config(ours) == {"sweep": "abc", "trial": "trial1", "recipe.lr": 0.01}
    assert (trial_config(other), trial_config(none)) == ({"sweep": "xyz"}, {})
    assert (group_of("tiny", ours), group_of("tiny", none)) == ("sweep-abc", "tiny")
    with pytest.raises(ConfigError, match=r"wandb\.sweep must be the id of a sweep"):
        WandbSettings(sweep="a/b")


def trial(made: dict[str, Any], run_id: str, folder: Path, **values: object) -> str:
    """Run a trial as W&B's agent does: its own functions make the command line, and it sets these variables."""
    os.environ |= {"WANDB_SWEEP_ID": "abc", "WANDB_RUN_ID": run_id, "WANDB_MODE": "offline"}
    os.environ["WANDB_SWEEP_PARAM_PATH"] = str(folder / f"config-{run_id}.yaml")
    args = {name: {"value": value} for name, value in values.items()}
    save_config_file_from_dict(os.environ["WANDB_SWEEP_PARAM_PATH"], args)
    filled = {f"${{{name}}}": words for name, words in create_sweep_command_args({"args": args}).items()}
    filled |= {"${env}": ["/usr/bin/env"], "${program}": [sys.executable, "-m", "tl_robust.cli"]}
    command = [part for word in create_sweep_command(list(made["command"])) for part in filled.get(word, [word])]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_trials_of_a_bench_with_three_threats_and_a_defense(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("WANDB_SWEEP_ID", "WANDB_RUN_ID", "WANDB_MODE", "WANDB_SWEEP_PARAM_PATH"):
        monkeypatch.setenv(name, "")
    made = printed(capsys, str(tiny), *SMALL, "--vary", "recipe.lr=[0.05,0.02]")
    assert "(0 done)" in trial(made, "first", tmp_path, **{"recipe.lr": 0.05})
    assert "(0 done)" in trial(made, "second", tmp_path, **{"recipe.lr": 0.02})
    again = trial(made, "third", tmp_path, **{"recipe.lr": 0.05})
    cells = int(again.partition(" cells (")[0].rpartition(" ")[2])
    assert f"{cells} cells ({cells} done)" in again  # the same point costs nothing
    home = tmp_path / "results" / "tiny"
    found = {file.stem: records(file) for file in runs(home)}
    started = {name: of_type(lines, "run")[0] for name, lines in found.items()}
    assert {run["run_group"] for run in started.values()} == {"sweep-abc"}
    assert all(run["config"]["update"]["sweep"] == "abc" for run in started.values())
    for run_id, lr in (("first", 0.05), ("second", 0.02), ("third", 0.05)):
        run, summary = started[f"run-{run_id}"], summary_of(found[f"run-{run_id}"])
        assert run["sweep_id"] == "abc"
        assert run["config"]["update"]["recipe.lr"] == lr
        assert {"headline/accuracy/black_box", "headline/success/poisoned_pre-training"} <= summary.keys()
        assert "headline/exposure/target_data" in summary
    cell = next(run for run in started.values() if run["job_type"] != "overview")
    assert "sweep_id" not in cell  # a trial is one run of the sweep: that with the number it optimizes

    assert main(["dashboard", "spec", str(tiny), *SMALL]) == 0
    spec = json.loads(capsys.readouterr().out)
    known = set[str]()
    for name, lines in found.items():
        known |= {f"config:{key}" for key in started[name]["config"]["update"]}
        known |= {f"summary:{key}" for key in summary_of(lines)}
        rows = [record["item"] for record in of_type(lines, "history")]
        known |= {key.removesuffix("._type") for row in rows for key in row}
        known |= {f"summary:{key}" for key in rows[-1]}
    undefined = {"summary:half_life", "summary:safe_after"}  # so short a training, so few images
    assert dashboard.keys(spec) - known - undefined == set()
    assert not [line for lines in found.values() for line in lines if str(tmp_path) in json.dumps(line.get("run", {}))]
