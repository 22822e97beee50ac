"""Tables that a spreadsheet may open and that strangers may have written."""

from __future__ import annotations

import csv
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
