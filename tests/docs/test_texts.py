"""What the texts promise of their code blocks, and the recipes of CONTRIBUTING: all run as they stand."""

import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.docs.blocks import ROOT, blocks
from tests.recipes import RECIPES
from tl_robust.cli import main
from tl_robust.cli.plugins import commands_in
from tl_robust.registry import Registry, load_plugins


def _block(page: str, marker: str) -> str:
    """The one Python block of a page that has ``marker``."""
    (code,) = (block.code for block in blocks(ROOT / page) if block.language == "python" and marker in block.code)
    return code


def test_the_python_interface_of_the_readme_runs() -> None:
    names: dict[str, Any] = {}
    exec(_block("README.md", "metrics.get("), names)
    assert names["curve"].value.shape == (3,)
    assert names["verdict"].level == "red"  # as the README says of two random models


def test_the_python_interface_of_its_page_runs() -> None:
    names: dict[str, Any] = {}
    exec(_block("docs/python.md", "mixed = attacks.get("), names)
    exec(_block("docs/python.md", "trust.verdicts"), names)
    assert names["verdict"].level == "red"  # as the page says of two random models
    assert tuple(names["adv"].shape) == (2, 64, 3, 32, 32)
    assert len(names["accuracy"]) == 3


def test_exposure_of_given_models_is_as_the_page_says() -> None:
    names: dict[str, Any] = {}
    exec(_block("docs/python.md", "tl_robust.exposure("), names)
    assert 0.9 < names["low"] < names["area"] < names["high"] < 1
    assert names["area"] == pytest.approx(0.97, abs=0.015)


@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning", "ignore:The number of training batches")
def test_a_backdoor_is_followed_as_the_page_says() -> None:
    names: dict[str, Any] = {}
    exec(_block("docs/python.md", "BackdoorTest("), names)
    assert names["success"].eps.tolist() == [0, 1, 2]
    assert names["lift"].eps.tolist() == [0]


def test_the_tutorial_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A pair of one's own in under 30 lines: checked, trained, attacked."""
    written = {block.file: block.code for block in blocks(ROOT / "docs" / "own-pair.md") if block.file}
    code, bench = written["plugins/scans.py"], written["scans.yaml"]
    assert sum(bool(line.strip()) for line in (code + bench).splitlines()) < 30
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "scans.py").write_text(code)
    (tmp_path / "scans.yaml").write_text(bench)
    data = tmp_path / "data"
    data.mkdir()
    for split in ("train", "test"):
        draws = np.random.default_rng(len(split))
        np.save(data / f"scans_{split}.npy", draws.integers(0, 256, (60, 28, 28), np.uint8))
        (data / f"scans_{split}.txt").write_text("\n".join(str(place % 10) for place in range(60)))
    small = ["axes.network[0].width=0.05", "axes.attack=[fgsm]", "recipe.epochs=1", "data.train_limit=200", "workers=1"]
    assert main(["check-pair", "rendered_syn-scans", "--bench", "scans.yaml", f"data.root={data}"]) == 0
    assert main(["run", "scans.yaml", f"data.root={data}", *small]) == 0
    assert "rendered_syn → scans, fgsm linf" in capsys.readouterr().out
    assert (tmp_path / "results" / "scans" / "report.html").is_file()


def test_what_an_addition_costs_is_counted() -> None:
    """The table of CONTRIBUTING.md counts the lines of its own recipes: all but blank ones."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    assert len(RECIPES) >= 6
    for kind, block in RECIPES.values():
        lines = sum(bool(line.strip()) for line in block.splitlines())
        assert re.search(rf"^\| {kind} \| {lines}, one new", text, flags=re.MULTILINE), (kind, lines)


@pytest.mark.parametrize("name", RECIPES)
def test_each_recipe_of_contributing_registers(tmp_path: Path, name: str) -> None:
    kind, block = RECIPES[name]
    (tmp_path / f"recipe_{name}.py").write_text(block)
    load_plugins(tmp_path)
    if kind == "command":
        assert commands_in(tmp_path) == {f"recipe-{name}".replace("_", "-"): tmp_path / f"recipe_{name}.py"}
    else:
        modules = [module for path, module in sys.modules.items() if path.startswith("tl_robust.")]
        values = [value for module in modules for value in vars(module).values()]
        (registry,) = {value for value in values if isinstance(value, Registry) and value.kind == kind}
        assert f"recipe_{name}" in registry
