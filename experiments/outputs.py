"""What benches print, kept for their pages of the documentation: docs/benches/NAME.txt.

    python experiments/outputs.py [--folder FOLDER] [NAME ...]

Runs each bench, or reads it again where it is done, and writes what a terminal shows, with commit, versions, seeds and
device above. Without names it takes those that need neither official files nor a GPU, shortest first; with a folder of
data sets also those that read MNIST and USPS. Stop it whenever you like: what is in the store is not computed again.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from tl_robust.config import load
from tl_robust.files import write_atomically
from tl_robust.nodes.provenance import commit, device_name, versions

ROOT = Path(__file__).parent.parent
WIDTH = 88  # columns of the terminal
SMALL = ("axes.network[0].width=0.25", "data.train_limit=5000", "data.test_limit=2000")


@dataclass(frozen=True)
class Output:
    """How a bench is run for its page.

    Attributes:
        overrides: What makes it fit two cores; none where it does by itself.
        official: Whether it reads files that a folder of data sets must have.
    """

    overrides: tuple[str, ...] = ()
    official: bool = False


OUTPUTS: Mapping[str, Output] = {  # shortest first; the page of any other bench says how to run it
    "rendered": Output(),
    "few_labels": Output(
        ("data.train_limit=5000", "data.test_limit=1000", "axes.network[0].width=0.25"), official=True
    ),
    "backdoor_digits": Output(("axes.network[0].width=0.25", "data.train_limit=5000"), official=True),
    "backdoor": Output(),
    "defenses_membership": Output(),
    "backdoor_target": Output(),
    "membership": Output(),
    "embedded": Output(),
    "digits": Output(
        (*SMALL, "recipe.batch_size=64", "recipe.lr=0.01", "axes.attack=[fgsm]", "axes.seed=[0,1,2,3,4]"), official=True
    ),
    "membership_canaries": Output(),
    "membership_digits": Output(official=True),
    "backdoor_rendered": Output(),
    "membership_rendered": Output(),
    "membership_dp": Output(),
    "defenses_backdoor": Output(),
    "backdoor_defenses": Output(),
    "backdoor_alarms": Output(),
    "defenses": Output(),
    "defenses_rendered": Output(),
}


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="benches; by itself all that can be run")
    parser.add_argument("--folder", help="folder of data sets with MNIST and USPS (data.root)")
    parsed = parser.parse_args(arguments)
    if unknown := [name for name in parsed.names if name not in OUTPUTS]:
        print(f"error: no output is kept of {unknown[0]!r}: choose from {', '.join(OUTPUTS)}.", file=sys.stderr)
        return 2
    names = parsed.names or [name for name, output in OUTPUTS.items() if parsed.folder or not output.official]
    for name in names:
        if OUTPUTS[name].official and not parsed.folder:
            print(f"error: {name} reads MNIST and USPS: give --folder FOLDER, or leave it out.", file=sys.stderr)
            return 2
        path = ROOT / "docs" / "benches" / f"{name}.txt"
        text = printed(name, parsed.folder)
        write_atomically(path, text.encode())
        print(f"{path.relative_to(ROOT)}: {text.count(chr(10))} lines")
    return 0


def printed(name: str, folder: str | None) -> str:
    """What the run of a bench prints, under a head; the place of the data sets reads FOLDER."""
    overrides = [*OUTPUTS[name].overrides, *([f"data.root={folder}"] if OUTPUTS[name].official else [])]
    command = [sys.executable, "-m", "tl_robust.cli", "run", name, *overrides]
    environment = {**os.environ, "COLUMNS": str(WIDTH), "WANDB_MODE": "disabled", "NO_COLOR": "1"}
    subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, check=True)  # with its progress
    run = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    lines = [*head(name, overrides), *(part for line in run.stdout.splitlines() for part in folded(line))]
    text = "\n".join(lines).rstrip() + "\n"
    return text.replace(str(folder), "FOLDER") if folder else text


def folded(line: str) -> list[str]:
    """A line as a terminal of that width shows it: sentences go on below, rows of tables stay as they are."""
    if len(line) <= WIDTH or "   " in line.strip():
        return [line.rstrip()]
    return textwrap.wrap(line, WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def head(name: str, overrides: Sequence[str]) -> list[str]:
    """The command, and what its numbers depend on."""
    seeds = load(ROOT / "experiments" / f"{name}.yaml", list(overrides)).bench.axes.seed
    known = [f"{what} {version}" for what, version in versions().items()]
    device = device_name(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    made = re.sub(r"^(\w{12})\w*", r"\1", commit())
    return [
        f"$ tl-robust run {' '.join([name, *overrides])}",
        f"# commit {made}; seeds {', '.join(map(str, seeds))}; device {device}",
        *textwrap.wrap(", ".join(known), WIDTH, initial_indent="# ", subsequent_indent="# "),
        "",
    ]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
