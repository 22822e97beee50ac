"""The one-file rule: whatever is added is one new file, in a folder of plugins or in the package, and no edit."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.recipes import RECIPES, ROOT
from tl_robust.cli import main
from tl_robust.registry import kinds

FOLDERS = kinds() | {"command": "cli.commands"}
KIND_OF = {folder: kind for kind, folder in FOLDERS.items()}
HERE = Path(__file__).parent / "one_file"  # files as they lie in the package, of which a bench makes plugins
OURS = {
    path.stem: (KIND_OF[".".join(path.relative_to(HERE).parent.parts)], path.read_text())
    for path in sorted(HERE.rglob("*.py"))
}
FILES = {
    "random_signs" if kind == "attack" else name: (kind, block)  # the threat here is called noise
    for name, (kind, block) in RECIPES.items()
} | OURS
BENCH = """
name: whole
eps: [0, 16/255]
axes:
  pair: [my_pair]
  network: [small]
  strategy: [finetune, last_layer]
  defense: [none, dim]
  attack: [fgsm, random_signs, noise, {name: fog, density: [0, 0.9]}, white_line, {name: top_logit, pairs: 2}]
data: {root: data, train_limit: 100, test_limit: 60}
recipe: {epochs: 1, batch_size: 32}
trainer: {accelerator: cpu}
engine: smallest_first
workers: 1
wandb: {mode: disabled}
plugins: [mine]
"""


def test_there_is_a_file_of_every_kind() -> None:
    parts_of_attacks = {"gradient trick", "objective", "space", "step rule", "way through a guard"}
    assert {kind for kind, _ in FILES.values()} | parts_of_attacks == {*kinds(), "command"}


@pytest.mark.parametrize("name", OURS)
def test_a_recipe_of_contributing_is_the_file_that_is_run_here(name: str) -> None:
    kind, block = RECIPES.get(name, OURS[name])
    assert kind != OURS[name][0] or block == OURS[name][1]


@pytest.fixture
def bench(tmp_path: Path) -> Path:
    """A bench whose every part is a plugin of one folder."""
    (tmp_path / "mine").mkdir()
    for name, (_, block) in FILES.items():
        block = block.replace('"usps"', '"optdigits"')  # which a package carries
        (tmp_path / "mine" / f"{name}.py").write_text(block)
    (tmp_path / "data").mkdir()
    for split in ("train", "test"):
        draws = np.random.default_rng(len(split))
        images = draws.integers(0, 256, (100, 8, 8, 1), np.uint8)
        np.savez(tmp_path / "data" / f"mydigits_{split}.npz", images=images, labels=np.arange(100) % 10)
    path = tmp_path / "whole.yaml"
    path.write_text(BENCH)
    return path


def rows_of(table: Path) -> list[dict[str, str]]:
    with table.open() as file:
        return list(csv.DictReader(file))


def test_plugins_of_all_kinds_make_one_bench(bench: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, more = Path("results", "whole"), [str(bench), f"data.root={bench.parent / 'data'}"]
    assert main(["run", *more]) == 0
    said = capsys.readouterr().out
    assert f"LaTeX: {folder / 'table.tex'}\n" in said
    assert "mydigits → optdigits, noise: accuracy under noise in %" in " ".join(said.split())
    rows = rows_of(folder / "table.csv")
    axes = {name: {row[name] for row in rows} for name in ("source", "network", "strategy", "defense", "threat")}
    assert axes == {
        "source": {"mydigits"}, "network": {"small"}, "strategy": {"finetune", "last_layer"},
        "defense": {"dim", "none"}, "threat": {"backdoor", "evasion", "fog", "membership", "noise"},
    }  # fmt: skip
    found = {(row["threat"], row["axis"], row["attack"], row["view"]) for row in rows}
    assert found == {
        ("noise", "sigma", "noise", "black"),
        ("fog", "strength", "fog", "nature"),
        ("backdoor", "epochs", "white_line", "source"),
        ("membership", "epochs", "top_logit(pairs=2)", "target"),
        *(("evasion", "eps", attack, view) for attack in ("fgsm", "random_signs") for view in ("black", "white")),
    }
    assert {row["metric"] for row in rows if row["threat"] == "noise"} == {"kept_in_noise"}
    lifts = [row for row in rows if (row["threat"], row["metric"]) == ("backdoor", "lift")]
    assert [float(row["eps"]) for row in lifts] == [0, 1] * 2 * 2
    assert len([row for row in rows if row["metric"] == "double_fault"]) == 2 * 2 * 2 * 2
    assert len((folder / "table.tex").read_text().splitlines()) == 2 * 2 * (2 * 2 * 2 + 2 + 2 + 2 + 1)
    report = (folder / "report.md").read_text()
    assert "### Noise: mydigits → optdigits, noise\n\n- Noise at sigma 0.06275: finetune, defense none " in report
    assert "| pair, attack | strategy | no noise | noise | trust |" in report
    assert "| noises |" in report, "what it took"

    assert main(["claims", *more]) == 0
    said = capsys.readouterr().out
    assert "WEAK_ORIGIN" in said
    assert "CALM" in said

    assert main(["count-rows", *more, "--metric", "kept_in_noise"]) == 0
    assert capsys.readouterr().out == "8\n"
    assert main(["export", *more, "--samples"]) == 0
    board = folder / "leaderboard"
    assert len(list(board.glob("*.json"))) == 2 * 2 * 8
    assert main(["merge", str(board), "--out", "all"]) == 0
    assert {row["value"] for row in rows_of(Path("all/table.csv"))} == {row["value"] for row in rows}
    capsys.readouterr()
    assert main(["compare", str(board), *more, "--json", "--metric", "kept_in_noise"]) == 0
    compared = json.loads(capsys.readouterr().out)
    assert (compared["compared"], compared["paired"], compared["moved"]) == (8, 8, 0)
    assert main(["run", *more, "axes.attack=[fgsm]"]) == 0  # fewer attacks: what was there is moved away
    (earlier,) = (folder / "earlier").iterdir()
    assert (earlier / "table.tex").is_file()


def test_another_process_reads_files_of_a_plugins_threat(bench: Path) -> None:
    """Where it is told the folder of plugins, since it knows no bench."""
    few = ["axes.attack=[noise]", "axes.defense=[none]", "axes.strategy=[finetune]"]
    more = [str(bench), f"data.root={bench.parent / 'data'}", *few]
    assert main(["run", *more]) == 0
    assert main(["export", *more, "--samples"]) == 0
    merge = ["merge", "results/whole/leaderboard", "--out", "all", "--plugins", str(bench.parent / "mine")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-m", "tl_robust.cli", *merge], env=environment, capture_output=True, check=True)
    assert {row["metric"] for row in rows_of(Path("all/table.csv"))} == {"kept_in_noise"}


LISTED = """
import gc, json
from tl_robust.registry import Registry, kinds, names_in
import tl_robust.cli.commands.run, tl_robust.config, tl_robust.sinks.base, tl_robust.cli.parser, tl_robust.inference
import tl_robust.auditor.locks
registries = {one.kind: one for one in gc.get_objects() if isinstance(one, Registry) and one._package}
found = {kind: [names_in(package), registries[kind].names()] for kind, package in kinds().items()}
print(json.dumps(found | {"command": [sorted(tl_robust.cli.parser.own_commands())] * 2}))
"""


def test_a_file_in_the_package_is_found_without_a_list(tmp_path: Path) -> None:
    """Each file lies in the folder of its kind of a copy: help, list and registries know it."""
    package = tmp_path / "tl_robust"
    shutil.copytree(ROOT / "tl_robust", package, ignore=shutil.ignore_patterns("__pycache__"))
    for name, (kind, block) in FILES.items():
        package.joinpath(*FOLDERS[kind].split("."), f"{name}.py").write_text(block)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", LISTED], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout)
    for name, (kind, _) in FILES.items():
        shown = name.replace("_", "-") if kind == "command" else name
        assert all(shown in names for names in found[kind]), (kind, name)
