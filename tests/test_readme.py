"""The code blocks of README and CONTRIBUTING run as they stand."""

import re
from pathlib import Path

import numpy as np
import pytest

from tl_robust.attacks import ATTACKS
from tl_robust.claims import CLAIMS
from tl_robust.cli import main
from tl_robust.data.domain import DOMAINS
from tl_robust.data.pair import PAIRS
from tl_robust.metrics import METRICS
from tl_robust.registry import load_plugins
from tl_robust.strategies import STRATEGIES

ROOT = Path(__file__).parent.parent


def _blocks(file: str, language: str = "python") -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / file).read_text(), flags=re.DOTALL)


def _block(marker: str) -> str:
    """The one Python block of the README that has ``marker``."""
    (block,) = (block for block in _blocks("README.md") if marker in block)
    return block


def test_the_python_interface_of_the_readme_runs() -> None:
    names: dict[str, object] = {}
    exec(_block("mixed = attacks.get("), names)
    exec(_block("trust.verdicts"), names)
    assert names["verdict"].level == "red"  # as the README says of two random models
    assert tuple(names["adv"].shape) == (2, 64, 3, 32, 32)
    assert len(names["accuracy"]) == 3


def test_the_plugin_of_the_readme_registers(tmp_path: Path) -> None:
    (tmp_path / "noise_of_readme.py").write_text(_block("class Noise"))
    load_plugins(tmp_path)
    assert "noise_of_readme" in ATTACKS


def test_the_tutorial_of_the_readme_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A pair of one's own in under 30 lines: checked, trained, attacked."""
    code, bench = _block("class Scans"), _blocks("README.md", "yaml")[0]
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
    kinds = ("domain", "pair", "strategy", "attack", "metric", "claim")
    for kind, block in zip(kinds, _blocks("CONTRIBUTING.md"), strict=True):
        lines = sum(bool(line.strip()) for line in block.splitlines())
        assert re.search(rf"^\| {kind} \| {lines}, one new", text, flags=re.MULTILINE), (kind, lines)


@pytest.mark.parametrize("place", range(6))
def test_each_recipe_of_contributing_registers(tmp_path: Path, place: int) -> None:
    blocks = _blocks("CONTRIBUTING.md")
    assert len(blocks) == 6
    (tmp_path / f"recipe_{place}.py").write_text(blocks[place])
    load_plugins(tmp_path)
    kinds = (DOMAINS, PAIRS, STRATEGIES, ATTACKS, METRICS, CLAIMS)  # in the order of the recipes
    assert f"recipe_{place}" in kinds[place]


def test_every_target_of_the_readme_exists() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"make ([a-z-]+)", (ROOT / "README.md").read_text())) - {"bench"}:
        assert f"\n{target}:" in makefile, target
