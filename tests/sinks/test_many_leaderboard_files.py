"""How long it takes to merge many leaderboard files, from the start of the program to its last page."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.sinks import test_leaderboard as made
from tl_robust.results import leaderboard
from tl_robust.results.entry import Submitter

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("samples", [False, True])
def test_two_hundred_files_are_merged_in_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, samples: bool
) -> None:
    """Under 10 s on two idle cores; the bar leaves room for a machine that does other work."""
    outcome = made.outcome
    monkeypatch.setattr(made, "outcome", lambda *parts: outcome(*parts, images=1000))
    for group in range(4):
        cells = [
            made.cell(view, seed, f"strategy{group}_{place}")
            for place in range(5) for view in ("black", "white") for seed in range(5)
        ]  # fmt: skip
        leaderboard.write(tmp_path / f"group{group}", cells, samples, Submitter(f"Group {group}"))
    folders = [str(tmp_path / f"group{group}") for group in range(4)]
    assert sum(len(list(Path(folder).iterdir())) for folder in folders) == 200
    command = [sys.executable, "-m", "tl_robust.cli", "merge", *folders, "--out", str(tmp_path / "all")]
    start, before = time.perf_counter(), os.times()
    subprocess.run(command, check=True, capture_output=True)
    after = os.times()
    computing = after.children_user + after.children_system - before.children_user - before.children_system
    taken = time.perf_counter() - start
    print(f"200 files, samples {samples}: {taken:.1f} s, {computing:.1f} s of computing")  # noqa: T201
    assert (tmp_path / "all" / "leaderboard.html").is_file()
    assert computing < 25
