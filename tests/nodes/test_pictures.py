"""Pictures are the images of the full run, made once, and a report can do without them."""

from pathlib import Path

import pytest
import torch

from tl_robust.attacks.norms import get_norm
from tl_robust.bench.plan import Plan, make_plan
from tl_robust.bench.runner import Finished, gather, run
from tl_robust.config import load
from tl_robust.engines.observer import Observer
from tl_robust.nodes.pictures import PICTURES, PictureGroup
from tl_robust.nodes.store import Store
from tl_robust.types import Pictures

ATTACKS = "axes.attack=[fgsm, {name: pgd, steps: 3}, {name: universal, epochs: 1}]"  # one step, random start, a pool


class Witness(Observer):
    """Counts pictures."""

    def __init__(self) -> None:
        self.expected = self.told = self.done = 0
        self.said: list[str] = []

    def expect(self, stage: str, items: int, work: int) -> None:
        if stage == "picture":
            self.expected = work

    def advance(self, stage: str, work: int) -> None:
        self.told += work * (stage == "picture")

    def end(self, stage: str, label: str, seconds: float, note: str) -> None:
        self.done += stage == "picture"

    def warn(self, message: str) -> None:
        self.said.append(message)


def ran(bench: Path, *overrides: str) -> tuple[Finished, Witness, Plan, Store]:
    config = load(bench, overrides)
    plan, witness, store = make_plan(config.bench), Witness(), Store(bench.parent / "r" / "store")
    return run(plan, config.bench, store, witness), witness, plan, store


def pictures(plan: Plan) -> list[PictureGroup]:
    """All that are planned."""
    return [node for node in plan.nodes if isinstance(node, PictureGroup)]


def crafted_in_full(pictured: PictureGroup, store: Store) -> torch.Tensor:
    """The whole test set crafted by a plain call of the attack, as bytes ``[K,N,C,H,W]``."""
    group = pictured.group
    whole, pool = group.test.images("test"), group.pool()
    model = group.surrogate.load(store)
    known = {"seed": group.seed}
    fitted = group.built.fitted(model, pool.images / 255, pool.labels, group.eps, **known) if pool else None
    found = group.built(model, whole.images / 255, whole.labels, group.eps, early=group.early, fitted=fitted, **known)
    return found.mul(255).round().to(torch.uint8)


@pytest.fixture
def one_thread():
    """As in a run: the number of threads changes sums."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("one_thread")
def test_pictures_are_the_images_of_the_full_run(tiny: Path) -> None:
    finished, witness, plan, store = ran(tiny, "axes.seed=[0,1]", ATTACKS)
    assert not finished.failures
    assert len(pictures(plan)) == 3 * 5  # attacks x (2 source models, 3 victims), of one seed
    assert witness.expected == witness.told == witness.done == 15
    for pictured in pictures(plan):
        found = store.load(PICTURES, pictured.key)
        assert pictured.group.seed == 0
        assert found.sample_id.tolist() == [0, 1, 2, 3, 4, 5]
        assert found.classes == tuple("0123456789")
        assert torch.equal(found.clean, pictured.group.test.images("test").images[:6])
        assert torch.equal(found.adversarial, crafted_in_full(pictured, store)[1:, :6]), str(pictured)
        changed = (found.adversarial != found.clean).flatten(2).any(2)
        assert bool(changed.any(1).all())  # in the white view a wrong one may stay as it is


@pytest.mark.parametrize("fast", ["", "fold"])
def test_pictures_change_as_much_as_the_outcomes_say(tiny: Path, fast: str) -> None:
    finished, _, _, _ = ran(tiny, "axes.seed=[0]", ATTACKS, f"fast=[{fast}]")
    assert finished.pictures.keys() == {result.provenance["outcome"] for result in finished.results}
    for result in finished.results:
        found = finished.pictures[result.provenance["outcome"]]
        change = (found.adversarial.float() / 255 - found.clean.float() / 255).flatten(0, 1)
        size = get_norm(result.cell.norm).size(change).view(len(found.eps), -1)
        assert torch.allclose(size, result.outcome.size[1:, found.sample_id], atol=1e-6), str(result.cell)


def test_pictures_are_made_once_and_again_where_damaged_or_absent(tiny: Path) -> None:
    first, _, plan, store = ran(tiny, "axes.seed=[0]")
    _, again, _, _ = ran(tiny, "axes.seed=[0]")
    assert again.done == 0
    damaged, absent = (store.root / "pictures" / pictured.key for pictured in pictures(plan)[:2])
    before = (damaged / "pictures.npz").read_bytes()
    (damaged / "pictures.npz").write_bytes(b"cut")
    (absent / "manifest.json").unlink()
    left = gather(plan, store)
    assert len(left.pictures) < len(first.pictures)
    assert [result.curves.keys() for result in left.results] == [result.curves.keys() for result in first.results]
    _, third, _, _ = ran(tiny, "axes.seed=[0]")
    assert third.done == 2
    assert any(str(damaged) in message for message in third.said)
    assert (damaged / "pictures.npz").read_bytes() == before
    assert store.root.joinpath("pictures").exists()
    assert 0 < left.seconds["pictures"] < first.seconds["pictures"] < sum(first.seconds.values())


def test_pictures_that_fail_are_told_and_cost_no_result(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*given: object, **named: object) -> None:
        raise RuntimeError("no paint")

    with monkeypatch.context() as inside:
        inside.setattr(PictureGroup, "make", fail)
        finished, _, plan, _ = ran(tiny, "axes.seed=[0]", "axes.strategy=[scratch]", "axes.attack=[fgsm]")
    assert [failure.cause for failure in finished.failures] == ["RuntimeError: no paint"] * len(pictures(plan))
    assert finished.failures[0].node.startswith("pictures of fgsm on ")
    assert (len(finished.results), finished.missing, finished.pictures) == (2, (), {})


def test_nothing_is_drawn_of_an_attack_that_failed(tiny: Path) -> None:
    (tiny.parent / "plugins" / "broken.py").write_text(
        "from dataclasses import dataclass\nfrom tl_robust.attacks import ATTACKS, Attack\n"
        "@ATTACKS.register\n@dataclass(frozen=True)\nclass Broken(Attack):\n"
        "    def perturb(self, problem, eps):\n        raise RuntimeError('no luck')\n"
    )
    finished, witness, _, _ = ran(tiny, "axes.attack=[broken]", "axes.seed=[0]", "axes.strategy=[scratch]")
    assert not finished.pictures
    assert witness.done == 0
    assert not any("pictures" in failure.node for failure in finished.failures)


@pytest.mark.parametrize(
    ("eps", "shown"),
    [
        ((0.0,), None),
        ((0.0, 0.1), [1]),
        ((0.1, 0.2, 0.3, 0.4), [0, 1, 2, 3]),
        (tuple(k / 255 for k in (0, 1, 2, 4, 8, 16, 32, 64)), [1, 3, 5, 7]),
    ],
)
def test_at_most_four_eps_are_shown_and_always_the_largest(
    tiny: Path, eps: tuple[float, ...], shown: list[int] | None
) -> None:
    plan = make_plan(load(tiny, [f"eps={list(eps)}"]).bench)
    assert [pictured.places for pictured in pictures(plan)[:1]] == ([shown] if shown else [])


def test_classes_that_no_sample_has_are_left_out(tiny: Path) -> None:
    pictured, *_ = pictures(make_plan(load(tiny, ["data.test_limit=3"]).bench))
    assert len(pictured.sample_id) <= 3
    assert isinstance(pictured.spec["samples"], list)
    assert Pictures.__dataclass_fields__.keys() >= {"sample_id", "eps", "clean", "adversarial", "classes"}
