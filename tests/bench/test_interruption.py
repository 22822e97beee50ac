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
