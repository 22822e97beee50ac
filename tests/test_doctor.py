"""``tl-robust doctor`` knows every kind of entry, also where nothing else has imported it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tl_robust.cli import main

FEW = ["axes.seed=[0]", "axes.strategy=[scratch]", "axes.attack=[fgsm]", "recipe.epochs=1", "wandb.mode=disabled"]


@pytest.mark.slow
def test_a_new_process_counts_all_entries_and_names_the_damaged(tiny: Path, tmp_path: Path) -> None:
    assert main(["run", str(tiny), "--plain", f"results={tmp_path / 'r'}", *FEW]) == 0
    manifests = list((tmp_path / "r" / "store").glob("*/*/manifest.json"))
    assert {path.parts[-3] for path in manifests} == {"weights", "outcomes", "examinations", "pictures"}
    command = [sys.executable, "-m", "tl_robust.cli", "doctor", "--results", "r"]
    environment = os.environ | {"COLUMNS": "300"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    assert f"{len(manifests)} entries, 0 damaged" in done.stdout
    damaged = next((tmp_path / "r" / "store" / "examinations").glob("*/examination.npz"))
    damaged.write_bytes(b"cut")
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 1
    assert f"{len(manifests)} entries, 1 damaged" in done.stdout
    assert f"damaged: {damaged.relative_to(tmp_path)}" in done.stdout
