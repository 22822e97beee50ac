"""Killed at any moment, run twice at once, stopped by Ctrl-C: the final table is the same and nothing is done twice."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

COMMAND = [sys.executable, "-m", "tl_robust.cli", "run", "tiny.yaml", "--plain"]
# Every training leaves a line: what is trained twice is seen.
TRACER = """
from pathlib import Path
from tl_robust.strategies import STRATEGIES
from tl_robust.strategies.finetune import FineTune

@STRATEGIES.register
class Traced(FineTune):
    @staticmethod
    def lineage(train, source, target, common):
        a = train(source, by="traced")
        return a, train(target, parent=a, by="traced")

    def on_fit_end(self):
        super().on_fit_end()
        with Path("trace.txt").open("a") as file:
            file.write("one\\n")
"""


def start(folder: Path, *overrides: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [*COMMAND, *overrides],
        cwd=folder,
        env=os.environ | {"WANDB_MODE": "disabled"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background job ignores Ctrl-C
    )


def finish(process: "subprocess.Popen[str]") -> str:
    said, error = process.communicate(timeout=300)
    assert process.returncode == 0, error
    return said


def table(folder: Path, results: str) -> bytes:
    return (folder / results / "tiny" / "table.csv").read_bytes()


@pytest.mark.slow
def test_kill_at_ten_random_moments(tiny: Path) -> None:
    folder = tiny.parent
    begin = time.monotonic()
    finish(start(folder, "results=whole"))
    whole = time.monotonic() - begin
    expected = table(folder, "whole")
    draw = random.Random(0)
    for moment in range(10):
        results = f"killed{moment}"
        workers = f"workers={1 + moment % 2}"
        process = start(folder, f"results={results}", workers)
        time.sleep(draw.uniform(0.4, 1.0) * whole)  # before that it is importing
        process.kill()
        process.communicate()
        finish(start(folder, f"results={results}", workers))
        assert table(folder, results) == expected, f"killed run {moment}"


@pytest.mark.slow
def test_many_kills_of_one_run_still_end(tiny: Path) -> None:
    folder = tiny.parent
    finish(start(folder, "results=whole"))
    draw = random.Random(1)
    for _ in range(4):
        process = start(folder, "results=again")
        assert process.stdout is not None
        process.stdout.readline()  # the plan stands
        time.sleep(draw.uniform(0, 2))
        process.kill()
        process.communicate()
    finish(start(folder, "results=again"))
    assert table(folder, "again") == table(folder, "whole")


@pytest.mark.slow
def test_two_runs_at_once_train_nothing_twice(tiny: Path) -> None:
    folder = tiny.parent
    (folder / "plugins" / "traced.py").write_text(TRACER)
    grid = ["axes.strategy=[traced]", "axes.attack=[fgsm]"]
    runs = [start(folder, "results=both", *grid), start(folder, "results=both", "workers=2", *grid)]
    for process in runs:
        finish(process)
    assert (folder / "trace.txt").read_text().count("one") == 4
    finish(start(folder, "results=alone", *grid))
    assert table(folder, "both") == table(folder, "alone")


def test_ctrl_c_says_how_to_go_on(tiny: Path) -> None:
    folder = tiny.parent
    process = start(folder, "recipe.epochs=400", "axes.seed=[0]", "workers=2")
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(2)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=30)
    assert process.returncode == 130
    assert error.splitlines()[-1].startswith("stopped: what was finished is kept; go on with: tl-robust run tiny.yaml")
    assert "Traceback" not in error


# Where STAY names the stage, a line of at.txt says that it was reached, and it stays there: in small steps, or in one
# call into C that no signal handler interrupts ("deaf").
STAY = """
import hashlib, os, subprocess, sys, time
from dataclasses import dataclass
from pathlib import Path
import torch
from tl_robust.attacks import ATTACKS, Attack
from tl_robust.claims import bench_claim
from tl_robust.claims import MissingError
from tl_robust.strategies import STRATEGIES
from tl_robust.strategies.finetune import FineTune
from tl_robust.trust import check
from tl_robust.types import Verdict

def stay(stage):
    wanted = os.environ.get("STAY", "").split()
    if stage not in wanted:
        return
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"]) if "child" in wanted else None
    with Path("at.txt").open("a") as file:
        file.write(f"{stage} {os.getpid()} {child.pid if child else 0}\\n")
    while True:
        if "deaf" in wanted:
            hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)
        torch.ones(100, 100) @ torch.ones(100, 100)

@STRATEGIES.register
class Staying(FineTune):
    @staticmethod
    def lineage(train, source, target, common):
        a = train(source, by="staying")
        return a, train(target, parent=a, by="staying")

    def on_train_batch_end(self, *arguments):
        stay("training")

@ATTACKS.register
@dataclass(frozen=True)
class Noise(Attack):
    def perturb(self, problem, eps):
        for size in eps:
            stay("attack")
            yield problem.clean + size * problem.random().sign()

def probe(subject):
    stay("check")
    return {"seen": torch.zeros(1)}

@check(probe)
def lingers(evidence):
    return Verdict()

@bench_claim("Reports take long.", "nowhere")
def slow_report(record, *places):
    stay("report")
    raise MissingError("nothing")
"""
GRID = ["axes.strategy=[staying]", "axes.attack=[staying]", "axes.seed=[0]", "recipe.epochs=1"]


def stop_at(folder: Path, stage: str, number: int, *overrides: str) -> tuple["subprocess.Popen[str]", str, float]:
    """A run that is sent a signal once it has reached a stage; what it said, and seconds until it ended."""
    (folder / "at.txt").unlink(missing_ok=True)
    os.environ["STAY"] = stage
    try:
        process = start(folder, *GRID, *overrides)
    finally:
        del os.environ["STAY"]
    deadline = time.monotonic() + 60
    while not (folder / "at.txt").exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.05)
    time.sleep(0.5)
    begin = time.monotonic()
    process.send_signal(number)
    _, error = process.communicate(timeout=60)
    return process, error, time.monotonic() - begin


def gone(pid: int) -> bool:
    """Whether a process has ended; one that nobody waited for counts."""
    status = Path(f"/proc/{pid}/stat")
    return not status.exists() or status.read_text().rpartition(")")[2].split()[0] in "ZX"


slow = pytest.mark.slow
STOPS = [
    pytest.param("attack deaf", signal.SIGTERM, (), id="attack in one long call", marks=slow),
    pytest.param("attack", signal.SIGHUP, (), id="attack, hung up", marks=slow),
    pytest.param("attack child", signal.SIGTERM, ("workers=2",), id="attack with helper and grandchild", marks=slow),
    pytest.param("training", signal.SIGTERM, (), id="training", marks=slow),
    pytest.param("training deaf", signal.SIGTERM, (), id="training in one long call", marks=slow),
    pytest.param("check", signal.SIGTERM, (), id="check", marks=slow),
    pytest.param("check deaf", signal.SIGTERM, (), id="check in one long call", marks=slow),
    pytest.param("report", signal.SIGTERM, (), id="report", marks=slow),
    pytest.param("report deaf", signal.SIGTERM, (), id="report in one long call", marks=slow),
]


@pytest.mark.parametrize(("stage", "number", "overrides"), STOPS)
def test_a_stopped_run_says_how_to_go_on_and_goes_on(
    tiny: Path, stage: str, number: int, overrides: tuple[str, ...]
) -> None:
    folder = tiny.parent
    (folder / "plugins" / "staying.py").write_text(STAY)
    process, error, seconds = stop_at(folder, stage, number, "results=stopped", *overrides)
    reached = (folder / "at.txt").read_text().splitlines()
    assert reached, error
    assert process.returncode == 143, error
    assert seconds < 10
    assert error.splitlines()[-1].startswith("stopped: what was finished is kept; go on with: tl-robust run tiny.yaml")
    assert "Traceback" not in error
    lines = [[int(pid) for pid in line.split()[1:]] for line in reached]
    must_end = {pid for line in lines for pid in line if pid}
    deadline = time.monotonic() + 5
    while not all(map(gone, must_end)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert all(map(gone, must_end))
    assert not [path for path in (folder / "stopped").rglob(".*.*") if path.is_file()], "temporary files"
    finish(start(folder, *GRID, "results=stopped"))
    finish(start(folder, *GRID, "results=whole"))
    assert table(folder, "stopped") == table(folder, "whole")
