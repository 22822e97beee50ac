"""Benches with differential privacy: what no account counts is refused when planned, and what was counted is told."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import pytest

from tl_robust.bench import runner
from tl_robust.cli import main
from tl_robust.config import load
from tl_robust.defenses.dp import Dp
from tl_robust.nodes.models import WEIGHTS
from tl_robust.nodes.store import Store
from tl_robust.nodes.training import Training

pytestmark = [  # Lightning 2.6 uses what torch 2.9 and later warn about; opacus hooks images, which need no gradient
    pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning"),
    pytest.mark.filterwarnings("ignore:Full backward hook is firing"),
]
GROUP = "axes.network=[{name: dtn, width: 0.05, norm: group, dropout: 0}]"
LOSS = "axes.attack=[{name: loss, pairs: 2}]"
PRIVATE = [GROUP, LOSS, "axes.strategy=[finetune]", "axes.common=[]", "axes.seed=[0]", "recipe.select=last"]
DP = "axes.defense=[dp]"
BAD = [
    ([DP, "recipe.select=best"], "defense 'dp' needs recipe.select=last, got 'best'"),
    ([DP, "axes.network=[{name: dtn, width: 0.05}]"], "norm: group, or fine-tune with mode: frozen_bn or mode: probe"),
    ([DP, "axes.strategy=[{name: finetune, mode: probe_full}]"], "what is frozen changes during this training"),
    (["axes.defense=[{name: dp, delta: 0.05}]"], "must be below 1 / n = 0.029 for the 35 images that are"),
    (["axes.defense=[{name: dp, delta: 0.02}]", "axes.attack=[fgsm]"], "1 / n = 0.014 for the 70 images that are"),
    (["axes.defense=[{name: dp, epsilon: 0}]"], "setting 'epsilon' of defense 'dp' must be from 0.05"),
    (["axes.defense=[{name: dp, clip: 0}]"], "setting 'clip' of defense 'dp' must be above 0, got 0.0"),
    (["axes.defense=[{name: dp, sampling: 1.5}]"], "setting 'sampling' of defense 'dp' must be above 0 and at most 1"),
    (["axes.defense=[{name: dp, accountant: gdp}]"], "'accountant' of defense 'dp' must be prv or rdp, got gdp"),
    ([DP, "trainer.devices=2"], "leave out trainer.devices=2"),
    ([DP, "trainer.accumulate_grad_batches=2"], "leave out trainer.accumulate_grad_batches=2"),
    ([DP, "trainer.precision=bf16-mixed"], "leave out trainer.precision=bf16-mixed"),
    ([DP, "trainer.gradient_clip_val=0.5"], "leave out trainer.gradient_clip_val=0.5"),
    ([DP, "trainer.limit_train_batches=3"], "leave out trainer.limit_train_batches=3"),
    (["axes.defense=[distill + dp]"], "looks at training images outside the account of dp"),
]  # fmt: skip


def refused(tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], *overrides: str) -> str:
    assert main(["plan", str(tiny), f"results={tmp_path / 'r'}", *PRIVATE, *overrides]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert not (tmp_path / "r").exists()
    return error


@pytest.mark.parametrize(("overrides", "expected"), BAD, ids=[" ".join(overrides) for overrides, _ in BAD])
def test_what_no_account_counts_is_one_sentence_when_planned(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], overrides: list[str], expected: str
) -> None:
    assert expected in refused(tiny, tmp_path, capsys, *overrides)


def test_without_opacus_a_plan_says_what_to_install(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "opacus.accountants.utils", None)
    assert "defense 'dp' needs opacus: pip install 'tl_robust[dp]'." in refused(tiny, tmp_path, capsys, DP)


@pytest.mark.parametrize(
    "goes",
    [
        ["axes.strategy=[finetune, scratch]"],
        ["axes.strategy=[{name: finetune, mode: probe}]", "axes.network=[{name: dtn, width: 0.05}]"],
        ["axes.strategy=[{name: finetune, mode: frozen_bn}]", "axes.network=[{name: dtn, width: 0.05}]"],
        ["trainer.precision=32-true", "trainer.devices=1"],
    ],
    ids=" ".join,
)
def test_what_is_counted_is_planned(tiny: Path, goes: list[str]) -> None:
    assert load(tiny, [*PRIVATE, DP, *goes]).plan.cells


def victim(tiny: Path, settings: str) -> Training:
    (cell,) = load(tiny, [*PRIVATE, "axes.attack=[fgsm]", "axes.view=[white]", f"axes.defense=[{settings}]"]).plan.cells
    assert isinstance(cell.victim, Training)
    return cell.victim


def test_every_setting_of_an_account_makes_another_training(tiny: Path) -> None:
    changes = ["epsilon: 3", "delta: 1e-5", "clip: 2", "sampling: 0.5", "noise: 1", "accountant: rdp", "lr: 0.3"]
    made = [victim(tiny, "dp"), *(victim(tiny, f"{{name: dp, {change}}}") for change in changes)]
    assert len({training.key for training in made}) == 1 + len(changes)
    (stored,) = made[0].spec["defense"]
    assert dict(stored["settings"]) == {"epsilon": 8.0, "delta": 1e-4}, "what is claimed, even by default"
    for training, change in zip(made[1:], changes, strict=True):
        (stored,) = training.spec["defense"]
        name, value = change.split(": ")
        assert dict(stored["settings"])[name] == (value if name == "accountant" else float(value))


@pytest.mark.slow
def test_a_bench_says_what_was_counted_and_noise_of_1000_leaves_chance(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "disabled")
    usual = "name: dp, sampling: 0.5, lr: 0.2"
    arms = f"{{{usual}, noise: 1000}}, {{{usual}, epsilon: 20, delta: 0.001}}"
    bench = [f"axes.defense=[none, {arms}]", "recipe.epochs=8", "recipe.lr=0.02", "engine=local"]
    assert main(["run", str(tiny), "--plain", *PRIVATE, *bench]) == 0
    with Path("results/tiny/table.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["metric"] in ("cohort_accuracy", "epsilon_claimed")]
    found = {(row["defense"], row["metric"]): float(row["value"]) for row in rows}
    noise, claim = "dp(lr=0.2, noise=1000.0, sampling=0.5)", "dp(delta=0.001, epsilon=20.0, lr=0.2, sampling=0.5)"
    assert found[claim, "epsilon_claimed"] == 20
    assert {defense for defense, metric in found if metric == "epsilon_claimed"} == {claim}, "noise claims nothing"
    assert found["none", "cohort_accuracy"] > 0.9
    assert found[claim, "cohort_accuracy"] > 0.5
    assert found[noise, "cohort_accuracy"] < 0.25, "chance is 0.1"

    config, store = load(tiny, [*PRIVATE, *bench]), Store(Path("results/store"))
    plain, noisy, private = runner.gather(config.plan, store).results
    assert "privacy" not in plain.provenance
    assert noisy.outcome.claim.tolist() == plain.outcome.claim.tolist() == [0, 0]
    assert private.outcome.claim.tolist() == [20, 0.001]
    told = private.provenance["privacy"]
    defense = Dp(epsilon=20, delta=0.001, sampling=0.5)
    assert {name: told[name] for name in ("accountant", "epsilon", "delta", "clip", "sampling", "steps")} == {
        "accountant": "prv", "epsilon": 20, "delta": 0.001, "clip": 1, "sampling": 0.5, "steps": 16,
    }  # fmt: skip
    assert told["noise"] == defense.multiplier(16)
    assert told["spent"] == defense.spent(16) <= 20
    assert noisy.provenance["privacy"]["epsilon"] is None
    assert noisy.provenance["privacy"]["noise"] == 1000
    trained = private.provenance["victim"]["key"]
    assert told == store.manifest(WEIGHTS, trained)["made"]["privacy"], "the store has it beside the weights"
    assert told["images"] == config.plan.cells[-1].victim.learned
