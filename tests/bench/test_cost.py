"""What a defense costs, as a bench measures it: all that was trained and fitted for B, and how long B then takes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tl_robust.bench import runner
from tl_robust.bench.plan import Plan, make_plan
from tl_robust.config import load
from tl_robust.nodes.guarded import GUARDS
from tl_robust.nodes.node import Node
from tl_robust.nodes.store import Store
from tl_robust.nodes.timing import TIMINGS, Timing
from tl_robust.nodes.training import Training
from tl_robust.results import table
from tl_robust.types import Result

QUICK = ["axes.seed=[0]", "axes.strategy=[finetune]", "recipe.epochs=1", "eps=[0,16/255]", "axes.attack=[fgsm]"]
PATCH = "axes.attack=[{name: patch, side: 3, rate: 0.2, margin: 0, into: target}]"
LATENT = "axes.attack=[{name: latent, side: 3, rate: 0.2, into: source}]"
MEMBERS = ["axes.attack=[{name: loss, pairs: 2}]", "axes.view=[target]"]
VIEWS = "axes.view=[white,black,shadow]"
LEARNED = """
from dataclasses import dataclass
from tl_robust.backdoors import BACKDOORS, Backdoor

@BACKDOORS.register
@dataclass(frozen=True)
class Learned(Backdoor):
    def fit(self, network, images, target, seed):
        return {"pixel": images.images[0, :, 0, 0]}

    def stamp(self, images, sample_id, fitted):
        stamped = images.clone()
        stamped[:, :, 0, 0] = 255
        return stamped
"""


def planned(bench: Path, *more: str, defenses: str = "none") -> Plan:
    return make_plan(load(bench, [*QUICK, f"axes.defense=[{defenses}]", *more]).bench)


def run(bench: Path, *more: str, defenses: str = "none") -> tuple[Plan, Store, list[Result]]:
    config = load(bench, [*QUICK, f"axes.defense=[{defenses}]", *more])
    plan, store = make_plan(config.bench), Store(bench.parent / "store")
    finished = runner.run(plan, config.bench, store)
    assert not finished.failures
    return plan, store, list(finished.results)


def timings(plan: Plan) -> list[Timing]:
    return [node for node in plan.nodes if isinstance(node, Timing)]


def made(store: Store, node: Node) -> dict[str, Any]:
    return store.manifest(node.KIND, node.key)["made"]


def costs(results: list[Result]) -> Mapping[tuple[str, str], Mapping[str, Any]]:
    return {(result.cell.defense, result.cell.view): result.provenance for result in results}


# how long an answer takes


def test_only_what_answers_otherwise_is_timed(tiny: Path) -> None:
    others = "reset,'ensemble(members=2, soup=True)',private_origin,augment"
    plan = planned(tiny, VIEWS, defenses=f"none,squeeze,'reset + squeeze','ensemble(members=2)',{others}")
    timed = {cell.cell.defense: cell.timing for cell in plan.cells}
    assert {name for name, timing in timed.items() if timing} == {"squeeze", "reset + squeeze", "ensemble(members=2)"}
    assert len(timings(plan)) == 3, "once for all views and attacks"
    undefended = next(cell.scene.victim for cell in plan.cells if cell.cell.defense == "none")
    for cell in plan.cells:
        assert cell.scene.undefended == (None if cell.cell.defense == "none" else undefended)
        if cell.timing:
            assert (cell.timing.model, cell.timing.twin) == (cell.scene.victim, undefended)


def test_another_network_answers_otherwise(tiny: Path) -> None:
    plan = planned(tiny, defenses="none,squeeze")
    network = next(cell.scene.victim for cell in plan.cells if cell.cell.defense == "none")
    squeezed = next(cell for cell in plan.cells if cell.cell.defense == "squeeze")
    assert isinstance(network, Training)
    wider = replace(network, network=replace(network.network, settings=(("width", 0.1),)))
    for victim, otherwise in ((network, False), (wider, True), (replace(network, seed=7), False)):
        scene = replace(squeezed.scene, victim=victim)
        assert (replace(squeezed, scene=scene).timing is not None) == otherwise
    guarded = replace(squeezed.scene, undefended=squeezed.scene.victim)
    assert replace(squeezed, scene=guarded).timing, "a strategy whose B is more than a network already"


@pytest.mark.parametrize("more", [(), (PATCH, "axes.view=[white]", "epochs=[1]"), MEMBERS], ids=["e", "b", "m"])
def test_nothing_else_is_computed_for_a_timing(tiny: Path, monkeypatch: pytest.MonkeyPatch, more: list[str]) -> None:
    """Nor is a key another one, of a bench that has no undefended cell."""
    with_it = planned(tiny, *more, defenses="'reset + squeeze'")
    (timing,) = timings(with_it)
    assert timing.KIND.leaf, "nothing waits for it"
    assert {need.key for need in timing.needs} <= {key for node in with_it.nodes for key in node.entries}
    monkeypatch.setattr("tl_robust.threats.base.PlannedCell.timing", None)
    without = planned(tiny, *more, defenses="'reset + squeeze'")
    assert [node.key for node in with_it.nodes if not isinstance(node, Timing)] == [node.key for node in without.nodes]
    assert [cell.key for cell in with_it.cells] == [cell.key for cell in without.cells]


def test_a_bench_measures_how_long_an_answer_takes(tiny: Path) -> None:
    plan, store, results = run(tiny, defenses="none,'randomize(draws=7)',reset")
    (timing,) = timings(plan)
    found, kept = costs(results), made(store, timing)
    ratio = found["randomize(draws=7)", "white"]["inference_ratio"]
    assert ratio == found["randomize(draws=7)", "black"]["inference_ratio"] == store.load(TIMINGS, timing.key).ratio
    assert ratio > 2, "it asks seven times"
    assert found["reset", "white"]["inference_ratio"] == 1
    assert "inference_ratio" not in found["none", "white"], "nothing stands around it"
    assert {"device", "versions", "rounds", "images"} <= kept.keys()
    assert (kept["rounds"], kept["images"], kept["ratio"]) == (5, 80, ratio)


def test_without_a_timing_a_result_says_that_it_is_missing_and_a_run_measures_it(tiny: Path) -> None:
    plan, store, before = run(tiny, defenses="none,squeeze")
    shutil.rmtree(store.root / TIMINGS.folder)
    found = runner.gather(plan, store)
    assert not found.missing
    assert {cost.get("inference_ratio", "-") for cost in costs(list(found.results)).values()} == {None, "-"}
    rows = [[row for result in results for row in table.rows(result)] for results in (before, found.results)]
    assert str(rows[0]) == str(rows[1]), "no table has it"
    (timing,) = timings(plan)
    path = store.root / "weights" / plan.trainings[0].key / "manifest.json"
    written = path.stat().st_mtime_ns
    _, _, again = run(tiny, defenses="none,squeeze")
    assert costs(again)["squeeze", "white"]["inference_ratio"] > 0
    assert path.stat().st_mtime_ns == written, "nothing else is computed again"
    assert store.file(TIMINGS, timing.key).is_file()


# what was trained and fitted


def test_all_that_was_made_for_b_counts_in_every_view(tiny: Path) -> None:
    names = ["ensemble(members=2)", "private_origin", "mahalanobis(false_alarms=0.3)", "distill"]
    plan, store, results = run(tiny, VIEWS, defenses=f"none,{','.join(map(repr, names))}")
    found = costs(results)
    for cell in plan.cells:
        name = cell.cell.defense
        public = {node.key for node in cell.scene.surrogate.nodes}
        own = [node for node in cell.scene.victim.nodes if node.key not in public]
        assert len(own) == (1 if name == "none" else 2), name
        spent = found[name, cell.cell.view]
        assert spent["victim_busy_seconds"] == pytest.approx(sum(made(store, node)["busy_seconds"] for node in own))
        assert spent["victim_seconds"] == pytest.approx(sum(made(store, node)["seconds"] for node in own))
        assert spent["victim_busy_seconds"] > 0
    kinds = {node.KIND for node in runner._paid(next(c for c in plan.cells if c.cell.defense.startswith("mahal")))}
    assert GUARDS in kinds, "what a guard is fitted with, too"


def paid(plan: Plan) -> dict[str, list[str]]:
    return {cell.cell.defense: [str(node) for node in runner._paid(cell)] for cell in plan.cells}


def test_a_robust_origin_is_public_and_the_defender_has_paid_for_it(tiny: Path) -> None:
    plan = planned(tiny, "axes.view=[black]", defenses="none,robust_origin")
    robust = next(cell for cell in plan.cells if cell.cell.defense == "robust_origin").scene
    plain = robust.surrogate.parent
    assert [node.key for node in robust.victim.nodes] == [plain.key, robust.surrogate.key, robust.victim.key]
    assert paid(plan)["robust_origin"] == [str(robust.surrogate), str(robust.victim)]
    assert len(paid(plan)["none"]) == 1


def test_what_serves_twice_is_paid_once(tiny: Path) -> None:
    plan = planned(tiny, "axes.view=[white]", defenses="'ensemble(of=kinds)'")
    (cell,) = plan.cells
    keys = [node.key for node in cell.victim.nodes]
    assert len(keys) > len(set(keys)), "the fine-tuned member is the teacher of another one"
    assert len(paid(plan)["ensemble(of=kinds)"]) == 3


def test_a_public_model_that_is_the_victim_costs_nothing(tiny: Path) -> None:
    assert paid(planned(tiny, "axes.strategy=[as_is]")) == {"none": []}


def test_what_an_attacker_learns_or_poisons_is_not_the_defenders(tiny: Path) -> None:
    plan = planned(tiny, LATENT, "axes.view=[source]", "epochs=[1]", defenses="none,fine_pruning")
    for cell in plan.cells:
        nodes = runner._paid(cell)
        assert cell.victim.key in {node.key for node in nodes}
        assert all(isinstance(node, Training) and node.data.domain == "made_b" for node in nodes), cell.cell.defense
    assert any(node.KIND.folder == "triggers" for node in plan.nodes), "there is something that the attacker learns"


def test_nor_is_what_an_attacker_learns_for_poison_in_the_target_set(tiny: Path) -> None:
    (tiny.parent / "plugins" / "learned.py").write_text(LEARNED)
    plan = planned(tiny, "axes.attack=[{name: learned, into: target}]", "axes.view=[target]", "epochs=[1]")
    (cell,) = plan.cells
    assert "triggers" in {node.KIND.folder for node in cell.victim.nodes}
    assert [node.key for node in runner._paid(cell)] == [cell.victim.key]


def test_of_a_cohort_one_model_counts(tiny: Path) -> None:
    plan = planned(tiny, *MEMBERS, defenses="none,'distill + squeeze'")
    for cell in plan.cells:
        nodes = runner._paid(cell)
        assert len(nodes) == (1 if cell.cell.defense == "none" else 2), "the student and its teacher"
        assert all(isinstance(node, Training) and node.data.draw for node in nodes), "on the same half"


def test_a_store_that_knows_no_busy_seconds_gives_none(tiny: Path) -> None:
    plan, store, results = run(tiny, "axes.view=[white]", defenses="none,'distill'")
    teacher, student = (next(c.victim for c in plan.cells if c.cell.defense == name) for name in ("none", "distill"))
    path = store.root / "weights" / teacher.key / "manifest.json"
    manifest = json.loads(path.read_bytes())
    del manifest["made"]["busy_seconds"]
    path.write_text(json.dumps(manifest))
    found = costs(list(runner.gather(plan, store).results))
    assert {cost["victim_busy_seconds"] for cost in found.values()} == {None}, "half of a sum would mislead"
    assert found["distill", "white"]["victim_seconds"] == costs(results)["distill", "white"]["victim_seconds"]
    assert "busy_seconds" in made(store, student)
    again = runner.run(plan, load(tiny, [*QUICK]).bench, store)
    assert not again.failures
    assert "busy_seconds" not in made(store, teacher), "it is whole, and not trained again"
