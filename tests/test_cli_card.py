"""``tl-robust card``: benches of one pair in one table, and what it says where it cannot make one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tl_robust.cli.program import main

FEW = ["axes.strategy=[finetune]", "axes.attack=[fgsm]", "axes.seed=[0]"]


@pytest.fixture
def ran(tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Arguments after the bench of a run with a defense."""
    arguments = [f"results={tmp_path / 'r'}", *FEW, "axes.defense=[none,squeeze(bits=2)]"]
    assert main(["run", str(tiny), *arguments, "--plain"]) == 0
    capsys.readouterr()
    return arguments


def test_the_card_is_written_and_printed_from_the_store(
    ran: list[str], tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["card", str(tiny), *ran]) == 0
    said = capsys.readouterr().out
    written = json.loads((tmp_path / "r" / "tiny" / "card.json").read_text())
    assert f"Defense card: {tmp_path / 'r' / 'tiny' / 'card.html'}, card.json" in said
    assert "squeeze(bits=2)" in said
    assert "squeeze(bits=2)" in (tmp_path / "r" / "tiny" / "card.html").read_text()
    assert main(["card", str(tiny), *ran, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == written
    lines = written["cards"][0]["lines"]
    assert [line["defense"] for line in lines] == ["none", "squeeze(bits=2)"]
    assert lines[1]["known"]
    assert not lines[0]["known"]
    assert written["made"]["commit"] is not None
    assert lines[1]["entries"]["shadow"]["why"] == "not run"


def test_another_bench_joins_the_same_table(
    ran: list[str], tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "shadowed.yaml"
    other.write_text(
        tiny.read_text().replace("name: tiny", "name: shadowed").replace("axes:", "axes:\n  view: [shadow]")
    )
    assert main(["run", str(other), *ran, "--plain"]) == 0
    capsys.readouterr()
    assert main(["card", str(tiny), str(other), *ran, "--json"]) == 0
    written = json.loads(capsys.readouterr().out)
    assert written["benches"] == ["tiny", "shadowed"]
    entries = written["cards"][0]["lines"][1]["entries"]
    assert entries["shadow"]["value"] is not None
    assert entries["white"]["value"] is not None
    assert "Bench shadowed" in written["cards"][0]["notes"]["shadow"]
    own = tmp_path / "r" / "tiny" / "card.json"
    before = own.read_bytes()
    assert main(["card", str(tiny), str(other), *ran]) == 0
    assert own.read_bytes() == before
    assert json.loads((own.parent / "together" / "card.json").read_text()) == written
    assert "tiny, shadowed" in (own.parent / "together" / "card.html").read_text()


def test_what_cannot_be_shown_is_one_sentence(
    ran: list[str], tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    undefended = [item for item in ran if "defense" not in item]
    assert main(["card", str(tiny), *undefended]) == 2
    assert "has no defended cell: name some under axes.defense" in capsys.readouterr().err
    assert main(["card", str(tiny), *ran, "--eps", "3/255"]) == 2
    assert "unknown eps of these benches '3/255'" in capsys.readouterr().err
    assert main(["card", str(tiny), *ran, "--eps", "wide"]) == 2
    assert "--eps must hold numbers such as 0.03 or 8/255, got 'wide'." in capsys.readouterr().err
    assert main(["card", str(tiny), "no_such_bench", *ran]) == 2
    assert "unknown bench" in capsys.readouterr().err
    assert main(["card", str(tiny), *ran, f"results={tmp_path / 'empty'}"]) == 2
    assert "run it first" in capsys.readouterr().err
