"""What must hold of every refusal of the command ``audit``."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.auditor.tiny_models import NETWORK
from tl_robust.cli.program import main

DEFAULTS: dict[str, Any] = {
    "parent": "oak.safetensors", "decoy": "elm.safetensors", "network": NETWORK, "data": "photos", "images": "0",
    "eps": "16/255", "transfer": "fgsm", "strong": "fgsm", "accelerator": "cpu", "workers": "1", "out": "out",
}  # fmt: skip
PICKLED = "Python objects are never loaded"


def command(changes: Mapping[str, str | None]) -> list[str]:
    given = {**DEFAULTS, "model": "oak_child0.safetensors", **changes}
    model = given.pop("model")
    return ["audit", model, "--plain", *(f"--{name}={value}" for name, value in given.items() if value is not None)]


def refused(words: list[str], folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """The sentence, after all that must hold of every refusal."""
    before = {path.name for path in folder.iterdir()} | {"results"}
    capsys.readouterr()  # what made the files may have shown its progress
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always", UserWarning)
        assert main(words) == 2
    assert not [str(each.message) for each in warned if issubclass(each.category, UserWarning)]
    said = capsys.readouterr()
    assert said.err.startswith("error: ")
    assert len(said.err) < 2000
    assert said.err.count("\n") == 1, "one sentence, and no warning or traceback beside it"
    assert "checkpoints.model" not in said.err, "in the words of who wrote a command, not a bench file"
    assert {path.name for path in folder.iterdir()} <= before, "nothing is written"
    assert not (folder / "results" / "audits").exists()
    assert not (folder / "canary").exists(), "no code of a file is run"
    return said.err
