"""The pages of the examples: runs each script of ``examples/`` and writes ``docs/examples/NAME.md`` with its output.

A script consists of cells (``# %%`` and ``# %% [markdown]``), as Jupyter and VS Code open them. It runs in a process
and an empty folder of its own, on one thread. What it prints and the figures that it draws stand behind their cell.

    python experiments/examples.py                run all and write the pages
    python experiments/examples.py own_pair       run one
    python experiments/examples.py --out FOLDER   write somewhere else
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGES = ROOT / "docs" / "examples"
VERSIONS = ("tl_robust", "torch", "lightning", "numpy")
# With torch's simplest kernels, which round otherwise, no percentage of the pages moved by more than 11 points.
TOLERANCE = (
    "Whole numbers are compared exactly, shares within 0.15, percentages within 15 points, both within half the width "
    "of their interval where that is more, ratios within a fifth, seconds not at all: on another processor sums round "
    "otherwise, and a training goes another way, as from another seed."
)
NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?:e-?\d+)?(?![\w.]*\d)")
MADE_WITH = re.compile(r"\| (versions|seeds|device|commit|time) \| ")
NOT_COMPARED = re.compile(r"\d+(?:\.\d+)? s\b|\d+(?:\.\d+)?% of all computing|\b[0-9a-f]{12}\b")


@dataclass
class Cell:
    """A cell: its text, whether it is code, and what it said and drew when it ran."""

    text: str
    code: bool
    line: int
    output: str = ""
    figures: list[tuple[str, str]] = field(default_factory=list)  # label and SVG


def cells_of(script: str) -> list[Cell]:
    """The cells of a script; what stands before the first is left out."""
    cells: list[Cell] = []
    for number, line in enumerate(script.splitlines()):
        if line.startswith("# %%"):
            cells.append(Cell("", "[markdown]" not in line, number + 1))
        elif cells:
            cells[-1].text += (line if cells[-1].code else re.sub(r"^# ?", "", line)) + "\n"
    for cell in cells:
        cell.text = cell.text.strip("\n")
    return cells


def run(script: Path) -> list[Cell]:
    """Run all cells of a script in this process, one after the other, and keep what they print and draw."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": script.stem, "savefig.dpi": 72}
    from matplotlib import pyplot

    names = {"__name__": "__main__"}
    cells = cells_of(script.read_text())
    for cell in cells:
        if not cell.code:
            continue
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            exec(compile("\n" * cell.line + cell.text, str(script), "exec"), names)
        cell.output = "\n".join(line.rstrip() for line in said.getvalue().splitlines())
        for number in pyplot.get_fignums():
            figure, drawn = pyplot.figure(number), io.StringIO()
            figure.savefig(drawn, format="svg", metadata={"Date": None})
            cell.figures.append((figure.get_label(), drawn.getvalue()))
            pyplot.close(figure)
    return cells


def page(script: Path, cells: list[Cell], head: dict[str, str]) -> dict[str, str]:
    """The page of a script that ran, and its figures, as texts by file name."""
    files: dict[str, str] = {}
    title, _, rest = cells[0].text.partition("\n\n")
    lines = [title, "", f"<!-- Made by make examples from examples/{script.name}: change that. -->", ""]
    lines += [f"The script is `examples/{script.name}`. This page is its text, its code and what it printed:", ""]
    lines += ["| made with | what |", "|---|---|", *(f"| {name} | {value} |" for name, value in head.items())]
    lines += ["", rest, ""]
    for cell in cells[1:]:
        if not cell.code:
            lines += [cell.text, ""]
            continue
        lines += ["```python", cell.text, "```", ""]
        if cell.output:
            lines += ["```text", cell.output, "```", ""]
        for label, drawn in cell.figures:
            name = f"{script.stem}-{len(files) + 1}.svg"
            files[name] = "\n".join(line.rstrip() for line in drawn.splitlines()) + "\n"
            lines += [f"![{label}]({name})", ""]
    lines += ["---", "", f"`make test-docs` runs the script again and compares with this page. {TOLERANCE}", ""]
    return {f"{script.stem}.md": "\n".join(lines)} | files


def differences(before: str, after: str) -> Iterator[str]:
    """Lines in which two versions of a page differ by more than is tolerated; what it was made with is not compared."""
    first, second = (_compared(text) for text in (before, after))
    if len(first) != len(second):
        yield f"{len(first)} lines, and now {len(second)}"
    for old, new in zip(first, second, strict=False):
        numbers = [NUMBER.findall(line) for line in (old, new)]
        words = [NUMBER.sub("#", line) for line in (old, new)]
        ends = re.findall(rf"\[({NUMBER.pattern}), ({NUMBER.pattern})\]", old)
        half = max((float(high) - float(low) for low, high in ends), default=0.0) / 2
        same = len(numbers[0]) == len(numbers[1]) and all(_near(*pair, half) for pair in zip(*numbers, strict=True))
        if " ".join(words[0].split()) != " ".join(words[1].split()) or not same:
            yield f"{old}\n{new}"


def _compared(text: str) -> list[str]:
    kept = (line for line in text.splitlines() if not MADE_WITH.match(line))
    return [NOT_COMPARED.sub("#", line) for line in kept]


def _near(old: str, new: str, half: float) -> bool:
    decimals = max(len(number.partition(".")[2]) for number in (old, new))
    if not decimals:
        return old == new
    first, second = float(old), float(new)
    bound = 15.0 if decimals == 1 else max(0.15, abs(first) / 5 if abs(first) > 1 else 0.0)
    return abs(first - second) <= max(bound, half)


def head_of(script: Path, seconds: float) -> dict[str, str]:
    """What a page was made with."""
    import importlib.metadata
    import platform

    versions = [
        f"Python {platform.python_version()}",
        *(f"{name} {importlib.metadata.version(name)}" for name in VERSIONS),
    ]
    (seeds,) = re.findall(r"^# seeds: (.*)$", script.read_text(), flags=re.MULTILINE)
    parts = {"versions": ", ".join(versions), "seeds": seeds, "device": f"one CPU thread ({platform.machine()})"}
    return parts | {"commit": commit(), "time": f"{seconds:.0f} s of one core"}


def commit() -> str:
    """The last commit of package, benches and examples, with a word where they were changed since."""
    where = ["--", "tl_robust", "examples"]
    git = {"cwd": ROOT, "capture_output": True, "text": True, "check": False}
    last = subprocess.run(["git", "log", "-1", "--format=%H", *where], **git).stdout.strip()
    return last[:12] + " and changes" * bool(subprocess.run(["git", "status", "--porcelain", *where], **git).stdout)


def made(script: Path) -> tuple[dict[str, str], float]:
    """Run a script in a process of its own; gives its files and the seconds of a core that it took."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder) / "work"
        work.mkdir()
        told = Path(folder) / "cells.json"
        paths = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        environment = os.environ | {
            "OMP_NUM_THREADS": "1",
            "COLUMNS": "110",
            "WANDB_MODE": "disabled",
            "PYTHONPATH": paths,
        }
        command = [sys.executable, __file__, "--cells", str(told), str(script.resolve())]
        done = subprocess.run(command, cwd=work, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"error: {script} ended with exit code {done.returncode}:\n{done.stdout}{done.stderr}")
        answer = json.loads(told.read_text())
    cells = [Cell(**cell) for cell in answer["cells"]]
    return page(script, cells, head_of(script, answer["seconds"])), answer["seconds"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="of scripts; all by themselves")
    parser.add_argument("--out", type=Path, default=PAGES)
    parser.add_argument("--cells", type=Path, help=argparse.SUPPRESS)  # in the process of one script
    parsed = parser.parse_args()
    if parsed.cells:
        cells = run(Path(parsed.names[0]))
        parsed.cells.write_text(json.dumps({"cells": [asdict(cell) for cell in cells], "seconds": time.process_time()}))
        return
    known = {script.stem: script for script in sorted((ROOT / "examples").glob("*.py"))}
    if unknown := set(parsed.names) - set(known):
        sys.exit(f"error: no example is named {', '.join(sorted(unknown))}. Known: {', '.join(known)}.")
    parsed.out.mkdir(parents=True, exist_ok=True)
    for name in parsed.names or known:
        files, seconds = made(known[name])
        for stale in parsed.out.glob(f"{name}-*.svg"):
            stale.unlink()
        for file, text in files.items():
            (parsed.out / file).write_text(text)
        print(f"{parsed.out / name}.md ({seconds:.0f} s)")


if __name__ == "__main__":
    main()
