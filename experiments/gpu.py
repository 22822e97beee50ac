"""Everything that is worth knowing of a GPU: its tests, its speed, the bench digits with five seeds; docs/gpu.md.

    python experiments/gpu.py [--one] [--again] [key=value ...]

Each step ends within nine minutes and is kept: stop whenever you like, and the same command goes on. Without a CUDA
device it says what it would do. ``key=value`` are overrides of the bench, for example data.root=FOLDER.
"""

import argparse
import csv
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

import torch

from tl_robust.cli.commands.base import name_bench
from tl_robust.nodes.provenance import commit, versions

ROOT = Path(__file__).parent.parent
LIMIT = 530.0  # seconds of a step: under nine minutes, with time to end in order
GRACE = 10.0  # seconds between the word to stop and the end
SEEDS = range(5)


@dataclass(frozen=True)
class Step:
    """One command.

    Attributes:
        name: Its stamp and log in results/gpu.
        what: What it finds out.
        command: As in a shell.
    """

    name: str
    what: str
    command: tuple[str, ...]


@dataclass(frozen=True)
class Stamp:
    """What became of a step: it is not run again for the same command, commit and card.

    Attributes:
        command: The command.
        commit: Git commit of the package.
        card: Name of the device.
        seconds: How long it took.
        last: Its last line.
        day: When it ended.
    """

    command: tuple[str, ...]
    commit: str
    card: str
    seconds: float
    last: str
    day: str


def steps(bench: str, overrides: Sequence[str]) -> Iterator[Step]:
    """All steps in order; a seed alone is a step, and the last one finds all seeds in the store."""
    if bench == "digits":  # in every call, also when they have come, so that the commands stay the same
        overrides = list(dict.fromkeys(["data.download=true", *overrides]))
    python = sys.executable
    yield Step("tests", "tests that need a GPU", (python, "-m", "pytest", "-q", "-m", "gpu"))
    for name, what in (("device", "attacks and training on the card"), ("loader", "batches"), ("attacks", "attacks")):
        yield Step(f"perf-{name}", f"speed: {what}", (python, f"experiments/perf/{name}.py"))
    run = (python, "-m", "tl_robust.cli", "run", bench, *overrides)
    for seed in SEEDS:
        one = (f"axes.seed=[{seed}]", f"name={bench}.seed{seed}", "wandb.mode=disabled", "--plain")
        yield Step(f"{bench}-seed{seed}", f"bench {bench}, seed {seed}", (*run, *one))
    every = f"axes.seed=[{','.join(map(str, SEEDS))}]"
    yield Step(bench, f"bench {bench}, all seeds together", (*run, every, "--plain"))


def call(command: Sequence[str], log: Path, limit: float) -> tuple[int | None, str]:
    """Run a command with its output in ``log``; exit code (None: out of time) and last line."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    with log.open("w") as file:
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=file, stderr=subprocess.STDOUT, start_new_session=True, env=environment
        )
        try:
            code: int | None = process.wait(limit)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            _end(process)
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return code, lines[-1] if lines else ""


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End a process that still runs, and what it started: first by asking."""
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(GRACE)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def read(path: Path) -> Stamp | None:
    """The stamp of a step; None where there is none."""
    try:
        content = json.loads(path.read_text())
        return Stamp(**{**content, "command": tuple(content["command"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None


def table(rows: Sequence[Sequence[object]], *titles: str) -> str:
    """A Markdown table."""
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join(f"| {' | '.join(str(cell).replace('|', '/') for cell in line)} |" for line in lines)


def speeds(folder: Path) -> Iterator[str]:
    """The tables of results/perf."""
    for file, title in (("device.json", "on the card"), ("perf.json", "on one CPU thread of the same machine")):
        if (folder / file).is_file():
            found: list[dict[str, Any]] = json.loads((folder / file).read_text())
            parts = ("ours", "peer", "ratio", "note")
            rows = [[row["name"], *(row.get(part) or "" for part in parts)] for row in found]
            yield f"## Speed {title}\n\n{table(rows, 'what', 'images/s', *parts[1:])}\n"


def accuracies(summary: Path) -> Iterator[str]:
    """Accuracy at the largest eps with the interval over seeds."""
    if not summary.is_file():
        return
    with summary.open(newline="") as file:
        found = [row for row in csv.DictReader(file) if row["metric"] == "robust_accuracy" and row["eps"]]
    if not found:
        return
    largest = max(float(row["eps"]) for row in found)
    rows = [
        [f"{row['source']} → {row['target']}", row["strategy"], row["attack"], row["view"], *(
            f"{100 * float(row[part]):.1f}" for part in ("value", "low", "high")
        )]
        for row in found
        if float(row["eps"]) == largest
    ]  # fmt: skip
    titles = ("pair", "strategy", "attack", "view", "accuracy %", "low", "high")
    yield f"## Accuracy under attack at eps {largest:.4g}\n\n{table(rows, *titles)}\n"


def page(card: str, memory: int, done: Sequence[tuple[Step, Stamp | None]], bench: str) -> str:
    """docs/gpu.md."""
    known = versions()
    rows = [
        [step.what, *([f"{stamp.seconds / 60:.1f}", stamp.day, stamp.last] if stamp else ["-", "-", "not done yet"])]
        for step, stamp in done
    ]
    parts = [
        f"# {card}\n",
        f"Written by `make gpu` on one {card} ({memory / 2**30:.0f} GiB) with torch {known['torch']}, CUDA "
        f"{torch.version.cuda or '-'}, Python {known['python']}, tl_robust {known['tl_robust']} "
        f"({commit()[:12] or 'no checkout'}). Bench: `{bench}`.\n",
        f"## Steps\n\n{table(rows, 'step', 'minutes', 'day', 'last line')}\n",
        *speeds(ROOT / "results" / "perf"),
        *accuracies(ROOT / "results" / bench / "summary.csv"),
    ]
    return "\n".join(parts)


def main(arguments: Sequence[str] | None = None) -> int:
    """0: all is done, or there is no device; 1: some steps are not done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="*", default=[], metavar="key=value")
    parser.add_argument("--one", action="store_true", help="only the first step that is not done")
    parser.add_argument("--again", action="store_true", help="all steps, also those that are done")
    parsed = parser.parse_args(arguments)
    if not torch.cuda.is_available():
        print("No CUDA device is present, so all of this is skipped; with one, make gpu runs:")
        for step in steps("digits", parsed.overrides):
            print(f"  {step.what}: {shlex.join(['python', *step.command[1:]])}")
        print("and writes docs/gpu.md. Each step ends within nine minutes and is kept in results/gpu.")
        return 0
    card, (_, memory) = torch.cuda.get_device_name(), torch.cuda.mem_get_info()
    chosen = argparse.Namespace(bench="auto", overrides=parsed.overrides)
    name_bench(chosen)
    folder, now = ROOT / "results" / "gpu", commit().removesuffix("-dirty")  # docs/gpu.md makes it dirty
    folder.mkdir(parents=True, exist_ok=True)
    planned = list(steps(chosen.bench, chosen.overrides))
    stamps: dict[str, Stamp | None] = {}
    tried = 0
    for place, step in enumerate(planned, 1):
        file, head = folder / f"{step.name}.json", f"{place}/{len(planned)} {step.what}"
        stamp = None if parsed.again else read(file)
        if stamp and (stamp.command, stamp.commit, stamp.card) == (step.command, now, card):
            print(f"{head}: done before ({stamp.seconds:.0f} s)", flush=True)
        elif parsed.one and tried:
            stamp = None
            print(f"{head}: left for the next call", flush=True)
        else:
            tried += 1
            begin = time.monotonic()
            code, last = call(step.command, folder / f"{step.name}.log", LIMIT)
            seconds = time.monotonic() - begin
            words = {0: "done", None: "out of time: the next call goes on"}.get(code, f"failed, exit code {code}")
            print(f"{head}: {words} ({seconds:.0f} s) {last}", flush=True)
            done = code == 0 or (code == 1 and last.startswith(("bar:", "memory over")))  # measured, but below a bar
            stamp = Stamp(step.command, now, card, round(seconds, 1), last, f"{date.today()}") if done else None
            if stamp:
                file.write_text(json.dumps(asdict(stamp), indent=1))
        stamps[step.name] = stamp
        text = page(card, memory, [(one, stamps.get(one.name)) for one in planned], chosen.bench)
        (ROOT / "docs" / "gpu.md").write_text(text, encoding="utf-8")
    missing = [step.what for step in planned if not stamps[step.name]]
    more = f"; not done: {', '.join(missing)}. Run make gpu again." if missing else ", and all is done."
    print(f"docs/gpu.md is written{more}")
    return 1 if missing else 0


if __name__ == "__main__":
    raise SystemExit(main())
