"""How many processes share the work where the bench file does not say."""

from pathlib import Path

import pytest
import torch

from tl_robust.bench import workers
from tl_robust.bench.workers import EACH, MOST, SMALL, Workers, default_workers, sharing
from tl_robust.cli import main
from tl_robust.config import load

GIB = 2**30
SEVERAL = "1 process: trainer.devices gives it several devices."


@pytest.mark.parametrize(
    ("free", "parameters", "cores", "items", "count"),
    [
        (78 * GIB, 3_133_962, 16, 100, MOST),
        (78 * GIB, 3_133_962, 2, 100, 2),  # each process keeps a core busy
        (78 * GIB, 3_133_962, 16, 3, 3),  # no more than there is to compute
        (78 * GIB, SMALL, 16, 100, MOST),
        (78 * GIB, SMALL + 1, 16, 100, 1),
        (8 * GIB, 200_000, 16, 100, 3),  # 0.8 * 8 / 2
        (4 * GIB, 200_000, 16, 100, 1),
        (1 * GIB, 200_000, 16, 100, 1),
        (0, 200_000, 16, 100, 1),
        (78 * GIB, 200_000, 1, 0, 1),
    ],
)
def test_processes_on_a_card(free: int, parameters: int, cores: int, items: int, count: int) -> None:
    found = sharing("Card X", free, parameters, cores, items)
    assert found.count == count
    assert "Card X" in found.why
    assert f"{parameters / 1e6:.1f} million parameters" in found.why
    assert (f"{count} processes share" if count > 1 else "1 process on") in found.why


def test_what_a_process_takes_grows_with_the_network() -> None:
    free = int(2.5 * (EACH + 4 * 8 * 1_000_000) / 0.8)
    assert sharing("x", free, 1_000_000, 8).count == 2
    assert sharing("x", free, 9_000_000, 8).count == 2
    assert sharing("x", free - int(0.51 * EACH / 0.8), 1_000_000, 8).count == 1


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda *_: "Card X")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda *_: (40 * GIB, 80 * GIB))
    monkeypatch.setattr(workers.os, "sched_getaffinity", lambda _: set(range(16)), raising=False)


def test_a_bench_of_small_networks_shares_the_card(card: None, tiny: Path) -> None:
    found = default_workers(load(tiny, ["trainer.accelerator=auto"]).bench, 100)
    assert found.count == MOST
    assert "4 processes share Card X" in found.why
    assert "40.0 GiB are free" in found.why


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["trainer.accelerator=cpu"], Workers(MOST)),
        (
            ["trainer={accelerator: auto, devices: 2}"],
            Workers(1, SEVERAL),
        ),
    ],
)
def test_a_bench_that_does_not_use_one_card(card: None, tiny: Path, overrides: list[str], expected: Workers) -> None:
    assert default_workers(load(tiny, overrides).bench, 100) == expected


def test_a_large_network_has_the_card_alone(card: None, tiny: Path) -> None:
    bench = load(
        tiny, ["trainer.accelerator=auto", "axes.network=[{name: dtn, width: 0.05}, {name: wrn, depth: 28, width: 10}]"]
    ).bench
    assert default_workers(bench, 100).count == 1


def test_without_a_device_one_a_core(monkeypatch: pytest.MonkeyPatch, tiny: Path) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for cores, items, count in ((2, 100, 2), (64, 100, MOST), (64, 3, 3), (8, 0, 1)):
        monkeypatch.setattr(workers.os, "sched_getaffinity", lambda _, cores=cores: set(range(cores)), raising=False)
        assert default_workers(load(tiny, ["trainer.accelerator=auto"]).bench, items) == Workers(count)


def test_a_run_says_the_number_and_why(
    monkeypatch: pytest.MonkeyPatch, tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        "tl_robust.cli.session.default_workers", lambda bench, items: Workers(1, f"1 process on X: {items}.")
    )
    small = ["axes.seed=[0]", "axes.strategy=[scratch]", "axes.attack=[fgsm]", "recipe.epochs=1"]
    assert main(["run", str(tiny), "workers=0", "--plain", *small]) == 0
    assert capsys.readouterr().out.count("1 process on X: 4.") == 1  # trainings and attacks
    assert main(["run", str(tiny), "workers=0", "--plain", *small]) == 0
    assert "1 process on X" not in capsys.readouterr().out  # nothing to compute
