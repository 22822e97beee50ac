"""The code blocks of README and CONTRIBUTING run as they stand."""

import re
from pathlib import Path

import pytest

from tl_robust.attacks import ATTACKS
from tl_robust.data.domain import DOMAINS
from tl_robust.data.pair import PAIRS
from tl_robust.metrics import METRICS
from tl_robust.registry import load_plugins
from tl_robust.strategies import STRATEGIES

ROOT = Path(__file__).parent.parent


def _blocks(file: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / file).read_text(), flags=re.DOTALL)


def test_the_python_interface_of_the_readme_runs() -> None:
    names: dict[str, object] = {}
    exec(_blocks("README.md")[0], names)
    assert tuple(names["adv"].shape) == (2, 64, 3, 32, 32)
    assert len(names["accuracy"]) == 3


def test_the_plugin_of_the_readme_registers(tmp_path: Path) -> None:
    (tmp_path / "noise_of_readme.py").write_text(_blocks("README.md")[1])
    load_plugins(tmp_path)
    assert "noise_of_readme" in ATTACKS


@pytest.mark.parametrize("place", range(5))
def test_each_recipe_of_contributing_registers(tmp_path: Path, place: int) -> None:
    blocks = _blocks("CONTRIBUTING.md")
    assert len(blocks) == 5
    (tmp_path / f"recipe_{place}.py").write_text(blocks[place])
    load_plugins(tmp_path)
    kinds = (DOMAINS, PAIRS, STRATEGIES, ATTACKS, METRICS)  # in the order of the recipes
    assert f"recipe_{place}" in kinds[place]


def test_every_target_of_the_readme_exists() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"make ([a-z-]+)", (ROOT / "README.md").read_text())) - {"bench"}:
        assert f"\n{target}:" in makefile, target
