"""The recipes of CONTRIBUTING.md: kind and code of every section that says how a file is added and has its code."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
RECIPE = re.compile(r"## Add an? (?P<kind>[\w ]+): `[\w/]*?(?P<name>\w+)\.py`\n(?P<text>.*)", flags=re.DOTALL)


def _recipes() -> dict[str, tuple[str, str]]:
    recipes = {}
    for section in (ROOT / "CONTRIBUTING.md").read_text().split("\n## "):
        found = RECIPE.match(f"## {section}")
        blocks = re.findall(r"```python\n(.*?)```", section, flags=re.DOTALL)
        if found and blocks:
            (recipes[found["name"]],) = ((found["kind"], block) for block in blocks)
    return recipes


RECIPES = _recipes()
