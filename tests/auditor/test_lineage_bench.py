"""A small lineage bench: it finds parents of children that were really trained, and claims none of others."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "experiments" / "lineage" / "lineage.py"
SMALL = ["--nets", "dtn", "--seeds", "0", "--fit", "0", "--images", "150", "100", "--epochs", "2", "2"]


def run(folder: Path, *more: str) -> str:
    """What the bench prints; in a process of its own, since it registers networks."""
    command = [
        sys.executable,
        str(SCRIPT),
        *SMALL,
        *more,
        "--store",
        str(folder / "store"),
        "--out",
        str(folder / "page.md"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("lineage")
    return folder, run(folder)


def line(page: str, section: str, name: str) -> list[float]:
    """The shares of a line of a table, in %."""
    text = page.split(f"## {section}")[1].split("\n## ")[0]
    cells = next(row for row in text.splitlines() if row.startswith(f"| {name} |"))
    return [float(share) for share in re.findall(r"\| ([\d.]+) \[", cells)]


@pytest.mark.slow
def test_parents_of_children_are_found_and_no_others_are_claimed(bench: tuple[Path, str]) -> None:
    page = (bench[0] / "page.md").read_text()
    first, claimed, *_ = line(page, "Children", "all")
    assert (first, claimed) == (100, 100)
    features_first = line(page, "Children", "all")[2]
    assert features_first >= 90
    assert line(page, "Unrelated", "all")[0] == 100
    assert line(page, "Relatives", "same initial weights, other data")[0] == 100
    assert line(page, "One candidate", "child, the parent the only candidate") == [100, 100]
    assert line(page, "One candidate", "child, another model the only candidate") == [100]


@pytest.mark.slow
def test_a_run_that_was_interrupted_trains_what_is_absent_alone(bench: tuple[Path, str]) -> None:
    folder, told = bench
    assert len(re.findall(r"^ *[\d.]+ s  ", told, re.MULTILINE)) == 16
    weights = sorted((folder / "store" / "weights").iterdir())
    (weights[3] / "manifest.json").unlink()
    again = run(folder, "--train")
    assert len(re.findall(r"^ *[\d.]+ s  ", again, re.MULTILINE)) == 1
