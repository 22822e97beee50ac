"""The benches of the defense card: one pair and one list of defenses in three threats, so that they make one table."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.data.test_official_domains import WRITE, sign
from tl_robust.bench.plan import Plan, make_plan
from tl_robust.config import load
from tl_robust.defenses.composed import parse
from tl_robust.types import Cell

FOLDER = Path(__file__).parents[2] / "experiments"
FOURTEEN = {
    "pgd_at", "fgsm_rs", "trades", "robust_origin", "origin_at", "distill", "private_origin", "reset", "renofeation",
    "augment", "ensemble", "squeeze", "randomize", "mahalanobis",
}  # fmt: skip
SMALL = ("data.train_limit=400", "data.test_limit=20", "axes.seed=[0]", "axes.network=[{name: dtn, width: 0.05}]")


def plan_of(name: str, root: Path, *changes: str) -> Plan:
    return make_plan(load(FOLDER / f"{name}.yaml", [f"data.root={root}", *SMALL, *changes]).bench)


def defenses(cells: list[Cell]) -> set[str]:
    return {cell.defense for cell in cells}


def kinds(named: set[str]) -> set[str]:
    """Names of the defenses that stand alone."""
    parts = [defense.parts for text in named if (defense := parse(text))]
    return {single.component.name for single, *more in parts if not more}


@pytest.fixture
def embedded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder in which nothing lies: what these benches use comes with packages."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_three_benches_make_one_table(embedded: Path) -> None:
    """A card puts together what has the same pair, network, strategy and defense, as tables name them."""
    evasion, backdoor, membership = (
        [planned.cell for planned in plan_of(name, embedded).cells]
        for name in ("defenses", "defenses_backdoor", "defenses_membership")
    )
    for cells, threat in ((evasion, "evasion"), (backdoor, "backdoor"), (membership, "membership")):
        assert {cell.threat for cell in cells} == {threat}
        assert {(cell.source, cell.target, cell.strategy) for cell in cells} == {("mnist5k", "optdigits", "finetune")}
        assert len({cell.network for cell in cells}) == 1
    assert kinds(defenses(evasion)) == FOURTEEN
    assert {"none", "distill + mahalanobis"} <= defenses(evasion)
    assert defenses(membership) == defenses(evasion)
    left_out = defenses(evasion) - defenses(backdoor)
    assert defenses(backdoor) <= defenses(evasion)
    assert kinds(left_out) == {"robust_origin"}, "it needs clean images of A's domain"
    assert {cell.view for cell in evasion} == {"white", "black", "shadow"}
    assert len({cell.view for cell in backdoor}) == len({cell.view for cell in membership}) == 1


def test_the_rendered_pair_has_the_same_defenses(embedded: Path) -> None:
    cells = [planned.cell for planned in plan_of("defenses_rendered", embedded).cells]
    assert kinds(defenses(cells)) == FOURTEEN
    assert {(cell.source, cell.target) for cell in cells} == {("rendered_syn", "optdigits")}


def test_objects_are_planned_at_the_published_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("cifar10", "stl10"):
        WRITE[name](tmp_path)
        sign(name, tmp_path, monkeypatch)
    monkeypatch.chdir(tmp_path)
    plan = plan_of("defenses_objects", tmp_path, "axes.network=[{name: wrn, depth: 10, width: 1}]")
    cells = [planned.cell for planned in plan.cells]
    assert kinds(defenses(cells)) == FOURTEEN
    assert {(cell.source, cell.target, cell.view) for cell in cells} == {
        ("cifar10", "stl10", view) for view in ("white", "black", "shadow")
    }
    trained = {str(training) for training in plan.trainings}
    for said in (
        "pgd_at(eps=8/255)", "fgsm_rs(eps=8/255)", "trades(beta=6.0, eps=8/255)", "origin_at(eps=16/255)",
        "robust_origin(by=fgsm_rs, epochs=15, eps=8/255)", "augment(kind=mixup)",
    ):  # fmt: skip
        assert any(said in name for name in trained), said
