"""What of the engine ray needs no Ray."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tl_robust.cli import main
from tl_robust.engines.base import Job
from tl_robust.engines.ray_task import Machine
from tl_robust.errors import InputError
from tl_robust.nodes.provenance import versions


def test_a_missing_extra_is_one_sentence_with_the_line_to_type(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert main(["run", "tiny.yaml", "engine=ray"]) == 2
    error = capsys.readouterr().err
    assert "pip install 'tl_robust[ray]'" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("lacking", "expected"),
    [
        ({"mark": Path("nowhere")}, "the store /store is not there, or cannot be written"),
        ({"folder": Path("nowhere")}, "the working folder nowhere is not there"),
        ({"job": Job(Path("/store"), {}, 1, (Path("nowhere"),))}, "plugin folder nowhere not found"),
        ({"versions": {**versions(), "torch": "1.0"}}, "it has torch 2"),
    ],
)
def test_a_machine_says_what_it_lacks(tmp_path: Path, lacking: dict[str, object], expected: str) -> None:
    whole = Machine(Job(Path("/store"), {}, 1), tmp_path, tmp_path, versions())
    whole.enter()
    with pytest.raises(InputError, match=expected):
        replace(whole, **lacking).enter()
