"""``make gpu``: what it runs, keeps and writes; the device and the commands are patched."""

import importlib.util
import json
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest
import torch

FILE = Path(__file__).parents[2] / "experiments" / "gpu.py"


@pytest.fixture
def gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("experiment_gpu", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    (tmp_path / "docs").mkdir()
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "commit", lambda: "abc-dirty")
    return module


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda *_: "Card X")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda *_: (70 * 2**30, 80 * 2**30))
    monkeypatch.setattr("tl_robust.data.network.can_fetch", lambda domain: True)


class Calls:
    """Stands for running commands."""

    def __init__(self, gpu: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made: list[tuple[str, ...]] = []
        self.codes: dict[str, int | None] = {}
        self.last = "all well"
        monkeypatch.setattr(gpu, "call", self)

    def __call__(self, command: tuple[str, ...], log: Path, limit: float) -> tuple[int | None, str]:
        assert limit < 9 * 60
        self.made.append(command)
        return self.codes.get(log.stem, 0), self.last


@pytest.fixture
def calls(gpu: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Calls:
    return Calls(gpu, monkeypatch)


def test_without_a_device_it_says_what_it_would_do(
    gpu: ModuleType, calls: Calls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu.main(["data.root=there"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("No CUDA device is present, so all of this is skipped")
    assert "pytest -q -m gpu" in said
    assert "experiments/perf/loader.py" in said
    assert "run digits data.download=true data.root=there 'axes.seed=[0,1,2,3,4]'" in said
    assert calls.made == []
    assert not (tmp_path / "docs" / "gpu.md").exists()
    assert not (tmp_path / "results").exists()


def test_every_script_that_it_runs_is_there(gpu: ModuleType) -> None:
    scripts = [part for step in gpu.steps("digits", []) for part in step.command if part.startswith("experiments/")]
    assert len(scripts) == 3
    assert all((FILE.parents[1] / script).is_file() for script in scripts)
    assert len({step.name for step in gpu.steps("digits", [])}) == 10


def test_with_a_device_all_steps_run_once_and_the_page_names_the_card(
    gpu: ModuleType, card: None, calls: Calls, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert gpu.main([]) == 0
    assert len(calls.made) == 10
    text = (tmp_path / "docs" / "gpu.md").read_text()
    assert text.startswith("# Card X\n")
    assert "80 GiB" in text
    assert text.count("all well") == 10
    assert "fetching mnist and usps" in capsys.readouterr().out
    for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        path = tmp_path / "data" / "MNIST" / "raw" / f"{name}-ubyte"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    for name in ("usps.bz2", "usps.t.bz2"):
        (tmp_path / "data" / name).touch()
    assert gpu.main([]) == 0  # nothing again, also when the data have come meanwhile
    assert len(calls.made) == 10
    assert capsys.readouterr().out.count("done before") == 10
    assert gpu.main(["--again"]) == 0
    assert len(calls.made) == 20


def test_a_step_that_failed_or_was_out_of_time_is_tried_again(
    gpu: ModuleType, card: None, calls: Calls, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    calls.codes = {"digits-seed1": None, "tests": 1}
    assert gpu.main([]) == 1
    said = capsys.readouterr().out
    assert "bench digits, seed 1: out of time: the next call goes on" in said
    assert "failed, exit code 1" in said
    assert "not done: tests that need a GPU, bench digits, seed 1. Run make gpu again." in said
    assert (tmp_path / "docs" / "gpu.md").read_text().count("not done yet") == 2
    calls.codes, calls.made = {}, []
    assert gpu.main([]) == 0
    assert len(calls.made) == 2


def test_a_missed_bar_is_a_measurement(gpu: ModuleType, card: None, calls: Calls) -> None:
    calls.codes, calls.last = {"perf-loader": 1}, "bar: 10 times the peer; missed by: loader"
    assert gpu.main([]) == 0


def test_one_step_a_call(gpu: ModuleType, card: None, calls: Calls) -> None:
    for count in (1, 2, 3):
        assert gpu.main(["--one"]) == 1
        assert len(calls.made) == count


def test_another_card_or_commit_is_measured_again(
    gpu: ModuleType, card: None, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu.main([])
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda *_: "Card Y")
    gpu.main([])
    monkeypatch.setattr(gpu, "commit", lambda: "def")
    gpu.main([])
    assert len(calls.made) == 30


def test_the_page_has_speeds_and_accuracies(gpu: ModuleType, card: None, calls: Calls, tmp_path: Path) -> None:
    (tmp_path / "results" / "perf").mkdir(parents=True)
    row = {"name": "FGSM", "ours": 1234, "peer": None, "ratio": None}
    (tmp_path / "results" / "perf" / "device.json").write_text(json.dumps([row]))
    (tmp_path / "results" / "digits").mkdir()
    (tmp_path / "results" / "digits" / "summary.csv").write_text(
        "source,target,strategy,attack,view,eps,metric,value,low,high\n"
        "mnist,usps,finetune,fgsm,black,0.1,robust_accuracy,0.9,0.8,0.95\n"
        "mnist,usps,finetune,fgsm,black,0.2,robust_accuracy,0.123,0.1,0.15\n"
        "mnist,usps,finetune,fgsm,black,,curve_area,0.5,0.4,0.6\n"
    )
    gpu.main([])
    text = (tmp_path / "docs" / "gpu.md").read_text()
    assert "| FGSM | 1234 |" in text
    assert "| mnist → usps | finetune | fgsm | black | 12.3 | 10.0 | 15.0 |" in text
    assert "90.0" not in text


def test_a_command_is_ended_at_its_limit(gpu: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "log"
    assert gpu.call([sys.executable, "-c", "print('one'); print('two'); raise SystemExit(3)"], log, 30) == (3, "two")
    monkeypatch.setattr(gpu, "GRACE", 1.0)
    deaf = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
    )
    begin = time.monotonic()
    assert gpu.call([sys.executable, "-c", deaf], log, 1.5) == (None, "deaf")
    assert time.monotonic() - begin < 20


def test_a_damaged_stamp_is_none(gpu: ModuleType, tmp_path: Path) -> None:
    for content in ("", "[]", "{}", '{"command": 3}'):
        (tmp_path / "stamp.json").write_text(content)
        assert gpu.read(tmp_path / "stamp.json") is None
    assert gpu.read(tmp_path / "none.json") is None
