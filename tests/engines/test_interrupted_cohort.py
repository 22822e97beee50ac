"""A run that is killed in the middle of a cohort ends with the same tables, byte for byte, with either engine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

GRID = [
    "axes.strategy=[halting]", "axes.attack=[{name: rmia, pairs: 2}, {name: loss, side: source, pairs: 2}]",
    "axes.seed=[0]", "recipe.select=last",
]  # fmt: skip
# Where HALT is set, the training of the third half halts in its first epoch: one pair is there, the other is not.
HALTING = """
import os, time
from pathlib import Path
from tl_robust.nodes.training import Training
from tl_robust.strategies import STRATEGIES
from tl_robust.strategies.finetune import FineTune

@STRATEGIES.register
class Halting(FineTune):
    @staticmethod
    def lineage(train, source, target, common):
        a = train(source)
        return a, train(target, parent=a, by="halting")

halves = []
make = Training.make

def counted(self, hands, store):
    if self.data.draw:
        halves.append(self.key)
        if os.environ.get("HALT") and len(halves) == 3:
            Path("halted.txt").write_text("training")
            time.sleep(100)
    return make(self, hands, store)

Training.make = counted
"""


def start(folder: Path, results: str, engine: str, halt: str = "") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [
            sys.executable, "-m", "tl_robust.cli", "run", "tiny.yaml", "--plain", f"results={results}", *GRID,
            f"engine={engine}", "workers=2",
        ],
        cwd=folder,
        env=os.environ | {"WANDB_MODE": "disabled", "HALT": halt},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip


def finished(folder: Path, results: str, engine: str) -> bytes:
    process = start(folder, results, engine)
    _, error = process.communicate(timeout=300)
    assert process.returncode == 0, error
    return (folder / results / "tiny" / "table.csv").read_bytes()


@pytest.mark.slow
def test_killed_in_the_middle_of_a_cohort_and_made_by_processes(tiny: Path) -> None:
    folder = tiny.parent
    (folder / "plugins" / "halting.py").write_text(HALTING)
    process = start(folder, "killed", "local", "yes")
    deadline = time.monotonic() + 120
    while not (folder / "halted.txt").exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert (folder / "halted.txt").exists()
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    assert not (folder / "killed" / "tiny" / "table.csv").exists()
    before = {path.name: path.stat().st_mtime_ns for path in (folder / "killed" / "store" / "weights").iterdir()}
    assert before
    table = finished(folder, "killed", "local")
    after = {path.name: path.stat().st_mtime_ns for path in (folder / "killed" / "store" / "weights").iterdir()}
    assert before.items() <= after.items(), "what was made is not made again"
    assert table == finished(folder, "whole", "processes")
    assert table.count(b",auc,") >= 4
