"""A run that is killed between two snapshots of one fit ends with the same tables, byte for byte."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

GRID = [
    "axes.strategy=[halting]", "axes.attack=[patch]", "axes.seed=[0]", "recipe.epochs=3", "epochs=[0,1,2,3]",
    "engine=local",
]  # fmt: skip
# Where HALT says "training", the fit of B halts between the snapshots after its epochs 1 and 2; where it says
# "writing", the store halts when three entries of one pass are written and the others are not.
HALTING = """
import os, time
from pathlib import Path
from tl_robust.nodes.store import Store
from tl_robust.strategies import STRATEGIES
from tl_robust.strategies.finetune import FineTune

def halt(stage):
    if os.environ.get("HALT") == stage:
        Path("halted.txt").write_text(stage)
        time.sleep(100)

@STRATEGIES.register
class Halting(FineTune):
    @staticmethod
    def lineage(train, source, target, common):
        a = train(source)
        return a, train(target, parent=a, by="halting")

    def on_train_batch_end(self, *arguments):
        if self.current_epoch == 1:
            halt("training")

written = []
write = Store.write

def counted(self, kind, key, *rest, **more):
    if kind.folder == "weights" and len(written) == 4:
        halt("writing")
    written.append(key)
    return write(self, kind, key, *rest, **more)

Store.write = counted
"""


def start(folder: Path, results: str, halt: str = "") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tl_robust.cli", "run", "tiny.yaml", "--plain", f"results={results}", *GRID],
        cwd=folder,
        env=os.environ | {"WANDB_MODE": "disabled", "HALT": halt},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finished(folder: Path, results: str) -> bytes:
    process = start(folder, results)
    _, error = process.communicate(timeout=300)
    assert process.returncode == 0, error
    return (folder / results / "tiny" / "table.csv").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["training", "writing"])
def test_killed_between_two_snapshots(tiny: Path, stage: str) -> None:
    folder = tiny.parent
    (folder / "plugins" / "halting.py").write_text(HALTING)
    process = start(folder, "killed", stage)
    deadline = time.monotonic() + 120
    while not (folder / "halted.txt").exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert (folder / "halted.txt").read_text() == stage
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    assert not (folder / "killed" / "tiny" / "table.csv").exists()
    table = finished(folder, "killed")
    assert table == finished(folder, "whole")
    assert b"attack_success" in table
