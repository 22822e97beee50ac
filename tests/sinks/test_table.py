"""Tables that a spreadsheet may open and that strangers may have written."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pytest

from tl_robust.errors import ResultsError
from tl_robust.results import table
from tl_robust.results.table import Row
from tl_robust.types import Cell

NAMES = ["=1+1", "+cmd|' /C calc'!A0", "-2", "@SUM(1)", "\t=1", "'=1", "''@x", "'quoted", 'a,b"c', "größe", "plain"]


def row(name: str) -> Row:
    cell = Cell("bench", name, name, "dtn", name, "", "none", "fgsm", "linf", "white", 0, 500)
    return Row(cell, 0.5, "robust_accuracy", -0.25, 100, -0.5, 0.125, "green", name)


@pytest.mark.parametrize("name", NAMES)
def test_no_cell_is_a_formula_and_names_come_back(name: str, tmp_path: Path) -> None:
    table.write(tmp_path / "table.csv", [row(name)], table.COLUMNS)
    with (tmp_path / "table.csv").open(encoding="utf-8", newline="") as file:
        (cells,) = csv.DictReader(file)
    texts = [value for column, value in cells.items() if column in table.TEXTS]
    assert not any(text.startswith(("=", "+", "-", "@", "\t", "\r")) for text in texts)
    assert (cells["value"], cells["low"]) == ("-0.25", "-0.5"), "numbers are no formulas"
    assert table.read(tmp_path / "table.csv") == [row(name)]


@pytest.mark.parametrize(
    "content", [b"", b"a,b\n1,2\n", b"\xff\xfe", b"x" * 200_000, b'"' + b"x" * 200_000], ids=range(5)
)
def test_what_is_no_table_is_one_sentence(content: bytes, tmp_path: Path) -> None:
    header = b"" if not content.startswith(b'"') else ",".join(table.COLUMNS).encode() + b"\n"
    (tmp_path / "table.csv").write_bytes(header + content)
    if content == b"":
        assert table.read(tmp_path / "table.csv") == []
        return
    with pytest.raises(ResultsError, match="damaged or no table"):
        table.read(tmp_path / "table.csv")


CELL = Cell("embedded", "mnist", "usps", "dtn", "common_init", "svhn", "none", "pgd(steps=20)", "linf", "black", 3, 729)


def test_a_cell_of_evasion_has_the_key_that_it_had_before_there_were_threats() -> None:
    assert CELL.key("a" * 64, {"white": "b" * 64}) == "823718ec6fb7f947"
    assert CELL.key("a" * 64, {}) == "dc4f6b3d253564a8"
    assert "threat" not in CELL.coordinates()
    assert list(CELL.coordinates()) == [name for name in vars(CELL) if name != "threat"]


def test_a_threat_and_more_records_make_another_key() -> None:
    threat = replace(CELL, threat="membership")
    assert threat.coordinates() == vars(threat)
    keys = {cell.key("a" * 64, beside) for cell in (CELL, threat) for beside in ({}, {"plain": "b" * 64})}
    assert len(keys) == 4
    assert str(threat) == f"membership, {CELL}"


def test_a_row_knows_its_threat_and_what_stands_on_its_axis(tmp_path: Path) -> None:
    other = replace(row("a"), cell=replace(row("a").cell, threat="membership"), axis="false_positive_rate")
    table.write(tmp_path / "table.csv", [row("a"), other], table.COLUMNS)
    lines = (tmp_path / "table.csv").read_text().splitlines()
    assert [line.split(",")[-3:] for line in lines] == [
        ["target_images", "threat", "axis"], ["500", "evasion", "eps"], ["500", "membership", "false_positive_rate"],
    ]  # fmt: skip
    assert table.SUMMARY_COLUMNS[-3:] == table.COLUMNS[-3:]
    assert table.read(tmp_path / "table.csv") == [row("a"), other]


def test_a_table_of_before_is_of_evasion(tmp_path: Path) -> None:
    table.write(tmp_path / "table.csv", [row("a")], table.COLUMNS[:-2])
    assert "threat" not in (tmp_path / "table.csv").read_text()
    assert table.read(tmp_path / "table.csv") == [row("a")]
    assert (row("a").cell.threat, row("a").axis) == ("evasion", "eps")
