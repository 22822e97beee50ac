"""The same answers on a CUDA device."""

from pathlib import Path

import pytest
import torch

from tl_robust import attacks, evaluate
from tl_robust.cli import main
from tl_robust.models import NETWORKS, build
from tl_robust.seeding import normal, uniform

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


def test_random_draws_are_the_same_on_the_device() -> None:
    ids = torch.arange(50)
    assert torch.equal(uniform(3, ids, (3, 8, 8)), uniform(3, ids.cuda(), (3, 8, 8)).cpu())
    torch.testing.assert_close(normal(3, ids, (3, 8, 8)), normal(3, ids.cuda(), (3, 8, 8)).cpu())


@pytest.mark.parametrize("name", ["fgsm", "pgd", "mi", "di", "apgd_ce"])
def test_outcomes_agree_with_the_cpu(name: str) -> None:
    network = build(NETWORKS.component("dtn", {"width": 0.1}), (3, 32, 32), 10)
    images, labels = torch.rand(200, 3, 32, 32), torch.arange(200) % 10
    attack, eps = attacks.get(name), [0, 4 / 255, 16 / 255]
    arguments = {"victims": {"b": network}, "images": images, "labels": labels, "eps": eps}
    here = evaluate(attack, surrogate=network, **arguments)["b"]
    network.cuda()
    there = evaluate(attack, surrogate=network, **arguments)["b"]
    assert float((here.adv_b == there.adv_b).double().mean()) >= 0.98
    torch.testing.assert_close(here.size, there.size, atol=1e-5, rtol=0)


def test_a_bench_runs_and_repeats_on_the_device(tiny: Path, tmp_path: Path) -> None:
    tables = []
    for results in ("one", "other"):
        assert main(["run", str(tiny), "trainer.accelerator=gpu", f"results={tmp_path / results}"]) == 0
        tables.append((tmp_path / results / "tiny" / "table.csv").read_bytes())
    assert tables[0] == tables[1]


def test_several_processes_on_one_card_give_the_same_numbers(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tables = []
    for workers in (1, 0):
        results = tmp_path / f"workers{workers}"
        arguments = ["trainer.accelerator=gpu", f"workers={workers}", f"results={results}"]
        assert main(["run", str(tiny), *arguments]) == 0
        tables.append((results / "tiny" / "table.csv").read_bytes())
    assert tables[0] == tables[1]
    assert torch.cuda.get_device_name() in capsys.readouterr().out
