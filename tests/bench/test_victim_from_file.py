"""A and B both from files: nothing is trained, and examples crafted on the parent are judged by the child's file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from tl_robust import attacks, models
from tl_robust.bench import runner
from tl_robust.bench.plan import Plan, make_plan
from tl_robust.cli import main
from tl_robust.config import load
from tl_robust.engines.observer import Observer
from tl_robust.errors import ConfigError, UnknownNameError
from tl_robust.nodes.models import Public
from tl_robust.nodes.store import Store

AUDIT = ["axes.seed=[0]", "eps=[0,16/255]", "axes.attack=[fgsm]", "axes.pair=['checkpoint:parent-made_b']"]
VICTIM = "axes.strategy=[{name: as_is, victim: 'checkpoint:mine'}]"


def network(width: float, classes: int = 10, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    made = models.get("dtn", (3, 32, 32), classes, width=width)
    for _ in range(3):
        made.train()(torch.rand(16, 3, 32, 32))
    return made.eval()


@pytest.fixture
def bench(tiny: Path) -> Path:
    """A parent and a child of another network, both files."""
    save_file(network(0.05).state_dict(), tiny.parent / "parent.safetensors")
    save_file(network(0.1, seed=1).state_dict(), tiny.parent / "mine.safetensors")
    tiny.write_text(
        f"{tiny.read_text()}\ncheckpoints:\n"
        "  parent: {from: parent.safetensors, network: {name: dtn, width: 0.05}, classes: digits}\n"
        "  mine: {from: mine.safetensors, network: {name: dtn, width: 0.1}, classes: digits}\n"
        f"data: {{root: '{tiny.parent}', cache: ''}}\n"
    )
    return tiny


def planned(bench: Path, *overrides: str) -> Plan:
    return make_plan(load(bench, [*AUDIT, VICTIM, *overrides]).bench)


def test_nothing_is_trained_and_both_are_the_files(bench: Path) -> None:
    plan = planned(bench, "axes.view=[white,black]")
    assert {str(model) for model in plan.trainings} == {"checkpoint:parent", "checkpoint:mine"}
    assert all(isinstance(model, Public) for model in plan.trainings)
    for cell in plan.cells:
        assert (str(cell.scene.surrogate), str(cell.scene.victim)) == ("checkpoint:parent", "checkpoint:mine")
        assert cell.cell.strategy == "as_is(victim=checkpoint:mine)"


def test_black_box_examples_of_the_parent_are_judged_by_the_childs_file(bench: Path) -> None:
    config = load(bench, [*AUDIT, VICTIM, "axes.view=[black]"])
    plan = make_plan(config.bench)
    finished = runner.run(plan, config.bench, Store(bench.parent / "r"), Observer())
    assert not finished.failures
    (cell,), (result,) = plan.cells, finished.results
    images = cell.scene.test.images("test")
    expected = attacks.evaluate(
        attacks.get("fgsm"), surrogate=network(0.05), victims={"b": network(0.1, seed=1)},
        images=images.images, labels=images.labels, eps=[0, 16 / 255],
    )["b"]  # fmt: skip
    assert torch.equal(result.outcome.clean_b, expected.clean_b)
    assert torch.equal(result.outcome.clean_a, expected.clean_a)
    assert (result.outcome.adv_b == expected.adv_b).double().mean() > 0.97
    assert not torch.equal(result.outcome.clean_a, result.outcome.clean_b)


def test_without_a_victim_b_is_a_and_keys_stay(bench: Path) -> None:
    plan = planned(bench, "axes.strategy=[as_is]", "axes.view=[white]")
    assert [str(cell.scene.victim) for cell in plan.cells] == ["checkpoint:parent"]
    assert plan.cells[0].cell.strategy == "as_is"


def test_several_victims_stand_apart(bench: Path) -> None:
    both = "axes.strategy=[{name: as_is, victim: 'checkpoint:mine'}, {name: as_is, victim: 'checkpoint:parent'}]"
    plan = planned(bench, both, "axes.view=[black]")
    assert [str(cell.scene.victim) for cell in plan.cells] == ["checkpoint:mine", "checkpoint:parent"]


def test_the_whole_bench_runs_from_the_command_line(
    bench: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert main(["run", str(bench), *AUDIT, VICTIM, "axes.view=[white,black]", f"results={tmp_path / 'r'}"]) == 0
    page = (tmp_path / "r" / "tiny" / "report.html").read_text()
    assert "mine.safetensors" in page
    assert "parent.safetensors" in page


def test_a_victim_that_is_not_declared_is_told(bench: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"unknown checkpoint .*'minne'; did you mean 'mine'"):
        planned(bench, "axes.strategy=[{name: as_is, victim: 'checkpoint:minne'}]", "axes.view=[black]")


def test_a_victim_of_other_classes_is_told(bench: Path) -> None:
    save_file(network(0.1, 12).state_dict(), bench.parent / "mine.safetensors")
    with pytest.raises(ConfigError, match="makes checkpoint:mine the victim, which knows other classes than made_b"):
        planned(bench, "checkpoints.mine.classes=12", "axes.view=[black]")


def test_a_shadow_of_a_file_cannot_be_trained(bench: Path) -> None:
    with pytest.raises(ConfigError, match="checkpoint:mine was trained by others"):
        planned(bench, "axes.view=[shadow]")


def test_wrong_settings_of_the_victims_network_are_told_at_plan_time(bench: Path) -> None:
    with pytest.raises(ConfigError, match="width"):
        planned(bench, "checkpoints.mine.network={name: dtn, width: -1.0}", "axes.view=[black]")
