"""Defenses that change what B is made of, in whole benches: every view, the worst case, poison, several epochs."""

from __future__ import annotations

from pathlib import Path

from tl_robust.bench import runner
from tl_robust.bench.plan import make_plan
from tl_robust.config import load
from tl_robust.nodes.store import Store

QUICK = ["axes.seed=[0]", "axes.strategy=[finetune]", "recipe.epochs=2", "eps=[0,16/255]"]
PATCH = "{name: patch, side: 3, rate: 0.2, margin: 0}"


def finished(bench: Path, names: list[str], *more: str) -> runner.Finished:
    config = load(bench, [*QUICK, f"axes.defense=[none,{','.join(map(repr, names))}]", *more])
    found = runner.run(make_plan(config.bench), config.bench, Store(bench.parent / "store"))
    assert not found.failures
    return found


def test_every_view_has_its_worst_case_beside_the_plain_number(tiny: Path) -> None:
    names = ["reset", "augment(kind=mixup)", "randomize(draws=2)", "mahalanobis(false_alarms=0.3)"]
    names += ["private_origin + reset(relevance=0.1) + squeeze(bits=8, median=2)"]
    views = "axes.view=[white,black,shadow]"
    results = finished(tiny, names, views, "axes.attack=[{name: pgd, steps: 3}]").results
    assert len(results) == 3 * (len(names) + 1)
    for result in results:
        if result.cell.defense != "none":
            worst, plain = (result.curves[name].value for name in ("robust_accuracy", "plain_accuracy"))
            assert bool((worst <= plain).all())
            assert float(result.curves["adaptive_gap"].value.min()) >= 0


def test_along_the_epochs_of_a_poisoned_victim(tiny: Path) -> None:
    names = ["ensemble(members=2)", "ensemble(members=2, soup=True)", "renofeation", "reset", "private_origin"]
    results = finished(tiny, names, f"axes.attack=[{PATCH}]", "epochs=[0,1,2]", "axes.view=[white]").results
    assert len(results) == len(names) + 1
    for result in results:
        assert list(result.outcome.x) == [0, 1, 2]
        assert "twin" in result.beside
    hit = {result.cell.defense: result.outcome.hit.double().mean(1) for result in results}
    assert not (hit["private_origin"] == hit["none"]).all()
