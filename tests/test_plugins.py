"""The one-file rule: a domain, a pair, an attack, a strategy, a metric, a sink and a command, each one new file."""

import csv
from pathlib import Path

import pytest

from tl_robust.cli import main

FILES = {
    "inverted": '''
"""Optdigits with black and white exchanged."""
from tl_robust.data.domain import DOMAINS
from tl_robust.data.domains.optdigits import Optdigits
from tl_robust.types import ImageSet


@DOMAINS.register
class Inverted(Optdigits):
    """Optdigits, inverted; see there."""

    def read(self, split, root, download):
        images = super().read(split, root, download)
        return ImageSet(255 - images.images, images.labels)
''',
    "ink": '''
"""A pair with a name of its own."""
from tl_robust.data.pair import PAIRS, DomainPair


@PAIRS.register
class Ink(DomainPair):
    source, target, space = "inverted", "optdigits", "digits"
''',
    "noise": '''
"""Random signs: the yardstick of every attack."""
from dataclasses import dataclass

import torch

from tl_robust.attacks import ATTACKS, Attack


@ATTACKS.register
@dataclass(frozen=True)
class Noise(Attack):
    strength: float = 1.0

    def perturb(self, problem, eps):
        for size in eps:
            yield problem.clean + self.strength * size * problem.random().sign()
''',
    "last_layer": '''
"""B is A with a new last layer."""
from tl_robust.strategies import STRATEGIES
from tl_robust.strategies.finetune import FineTune


@STRATEGIES.register
class LastLayer(FineTune):
    @staticmethod
    def lineage(train, source, target, common):
        a = train(source)
        return a, train(target, parent=a, by="last_layer")

    def frozen(self, epoch):
        return set(self.network.modules()) - set(self.network.classifier.modules())
''',
    "double_fault": '''
"""Both wrong."""
from tl_robust.metrics import rate


@rate(views=("black",))
def double_fault(outcome):
    """Share of all samples that both A and B get wrong on the adversarial image."""
    label = outcome.label
    return (outcome.adv_a != label) & (outcome.adv_b != label), label == label
''',
    "latex": '''
"""The accuracies as a table for a paper."""
from tl_robust.files import write_atomically
from tl_robust.results.answer import headline_rows
from tl_robust.results.names import interval
from tl_robust.sinks.base import sink


@sink(after=("tables",), files=("table.tex",))
def latex(views):
    assert (views.folder / "summary.csv").is_file()  # the sinks that it comes after have written theirs
    rows = [
        f"{row.cell.strategy} & {views.faces[row.cell.threat].at(row.eps)} & {interval(row)}".replace("%", r"\\%")
        for row in headline_rows(views.summary, views.faces)
    ]
    path = views.folder / "table.tex"
    write_atomically(path, "\\n".join(rf"{row} \\\\" for row in rows).encode())
    yield f"LaTeX: {path}"
''',
    "count_rows": '''
"""Count the numbers of a bench that has run.

example: tl-robust count-rows plugged
"""
from tl_robust.cli.commands.base import bench_arguments, load
from tl_robust.results import table


def arguments(parser):
    bench_arguments(parser)
    parser.add_argument("--metric", help="count those of this metric only")


def run(parsed, console):
    config = load(parsed)
    rows = table.read(config.results / config.bench.name / "table.csv")
    console.print(len([row for row in rows if parsed.metric in (None, row.metric)]))
    return 0
''',
}
BENCH = """
name: plugged
eps: [0, 16/255]
axes:
  pair: [ink]
  network: [{name: dtn, width: 0.05}]
  strategy: [finetune, last_layer]
  attack: [fgsm, {name: noise, strength: 0.5}]
data: {train_limit: 200, test_limit: 100}
recipe: {epochs: 1, batch_size: 32}
trainer: {accelerator: cpu}
workers: 1
plugins: [mine]
"""


def test_each_kind_is_one_new_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine").mkdir()
    for name, text in FILES.items():
        (tmp_path / "mine" / f"{name}.py").write_text(text)
    (tmp_path / "plugged.yaml").write_text(BENCH)
    assert main(["run", "plugged.yaml"]) == 0
    assert f"LaTeX: {Path('results/plugged/table.tex')}\n" in capsys.readouterr().out
    paper = (tmp_path / "results" / "plugged" / "table.tex").read_text().splitlines()
    assert len(paper) == 2 * 2 * 2 * 2  # strategies, attacks, views, eps
    assert paper[0].startswith("finetune & eps 0 & ")
    assert all(line.endswith("]" + r" \\") and r" \% [" in line for line in paper)
    with (tmp_path / "results" / "plugged" / "table.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {(row["source"], row["target"]) for row in rows} == {("inverted", "optdigits")}
    assert {row["strategy"] for row in rows} == {"finetune", "last_layer"}
    assert {row["attack"] for row in rows} == {"fgsm", "noise(strength=0.5)"}
    faults = [float(row["value"]) for row in rows if row["metric"] == "double_fault"]
    assert len(faults) == 8
    assert any(0 < value < 1 for value in faults)
    shared = {row["cell"] for row in rows}
    assert len(shared) == 8
    capsys.readouterr()
    assert main(["count-rows", "plugged.yaml", "--metric", "double_fault"]) == 0
    assert capsys.readouterr().out == "8\n"
    assert main(["run", "plugged.yaml", "axes.attack=[fgsm]"]) == 0  # fewer attacks: what was there is moved away
    (earlier,) = (tmp_path / "results" / "plugged" / "earlier").iterdir()
    assert (earlier / "table.tex").read_text().splitlines() == paper
