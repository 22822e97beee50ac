"""Extras: what is missing is said in a sentence that names the line to type, and the documentation shows it."""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tl_robust.errors import ConfigError

ROOT = Path(__file__).parent.parent
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
DEVELOPERS = {"dev", "docs", "browser", "parity", "test-audit"}
INSTALL = (ROOT / "docs" / "install.md").read_text()


def dashboard() -> None:
    from tl_robust.sinks.wandb import workspace

    workspace.build({}, "")


def dp() -> None:
    from tl_robust.defenses.dp import _opacus

    _opacus()


def hf() -> None:
    from tl_robust.models.published import library

    library("transformers", "hf")


def ray() -> None:
    from tl_robust.engines.ray import Ray, _connected

    nothing: Any = None
    with _connected(Ray(), nothing):
        pass


def timm() -> None:
    from tl_robust.models.published import library

    library("timm", "timm")


ASKED: dict[str, tuple[str, Callable[[], None]]] = {
    "dashboard": ("wandb_workspaces", dashboard),
    "dp": ("opacus", dp),
    "hf": ("transformers", hf),
    "ray": ("ray", ray),
    "timm": ("timm", timm),
}


def test_every_extra_of_users_is_asked_for_here_and_documented() -> None:
    assert set(EXTRAS) - DEVELOPERS == set(ASKED)
    rows = re.findall(r"^\| `([\w-]+)` \| (.+) \| `(.+)` \|$", INSTALL, flags=re.MULTILINE)
    assert {name for name, gives, _ in rows if len(gives.split()) > 3} == set(ASKED)
    for name in DEVELOPERS:
        assert f"`{name}`" in INSTALL


@pytest.mark.parametrize("extra", ASKED)
def test_a_missing_extra_names_its_line(extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    package, ask = ASKED[extra]
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError) as error:
        ask()
    said = str(error.value)
    lines = re.findall(r"pip install '(.+?)'", said)
    assert lines == [f"tl_robust[{extra}]"]
    (shown,) = re.findall(rf"^\| `{extra}` \| .+ \| `(.+)` \|$", INSTALL, flags=re.MULTILINE)
    pattern = re.escape(shown).replace(re.escape("(...)"), r"\(.+\)")
    assert re.match(pattern, said), f"docs/install.md says {shown!r}, and it is {said!r}"
