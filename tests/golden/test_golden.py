"""A seeded tiny bench against stored curves: a refactor leaves them, a change that moves them says why.

Write the file anew with ``TL_ROBUST_GOLDEN=write make test`` and explain the difference in the changelog.
"""

import csv
import os
from pathlib import Path

from tl_robust.cli import main

GOLDEN = Path(__file__).parent / "tiny.csv"
TOLERANCE = 0.1  # other processors round other sums, and training carries that on
WELL_TRAINED = ["axes.network[0].width=0.2", "recipe.epochs=12", "recipe.lr=0.02", "eps=[0,2/255,8/255]"]


def test_the_curves_stand_where_they_stood(tiny: Path, tmp_path: Path) -> None:
    assert main(["run", str(tiny), *WELL_TRAINED]) == 0
    found = tmp_path / "results" / "tiny" / "summary.csv"
    if os.environ.get("TL_ROBUST_GOLDEN") == "write":
        GOLDEN.write_bytes(found.read_bytes())
    with found.open() as ours, GOLDEN.open() as theirs:
        rows, golden = list(csv.DictReader(ours)), list(csv.DictReader(theirs))
    known = {row["metric"] for row in golden}  # a metric that came later needs no line there
    rows = [row for row in rows if row["metric"] in known]
    assert len(rows) == len(golden) > 100
    for row, expected in zip(rows, golden, strict=True):
        place = {name: row[name] for name in ("strategy", "attack", "view", "eps", "metric")}
        assert place == {name: expected[name] for name in place}
        if row["metric"] == "robust_accuracy":
            assert abs(float(row["value"]) - float(expected["value"])) <= TOLERANCE, place
