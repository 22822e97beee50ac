"""Several victims: what they answer together, who they are, and the attacks on each alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from by_hand import hands
from torch import Tensor, nn

from tl_robust import attacks, defenses
from tl_robust.attacks.through import THROUGH
from tl_robust.bench import runner
from tl_robust.bench.plan import Plan, make_plan
from tl_robust.config import load
from tl_robust.errors import ConfigError
from tl_robust.models.ensemble import Voting
from tl_robust.nodes.members import Members, Soup, averaged
from tl_robust.nodes.models import WEIGHTS
from tl_robust.nodes.store import Store
from tl_robust.nodes.training import Training
from tl_robust.threats.base import PlannedCell

QUICK = ["axes.seed=[0]", "axes.strategy=[finetune]", "axes.attack=[fgsm]", "axes.view=[white,black,shadow]"]
IMAGES = torch.rand(6, 1, 4, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def networks(count: int = 3) -> list[nn.Module]:
    torch.manual_seed(0)
    return [nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, 3)).double() for _ in range(count)]


def planned(bench: Path, defense: str, *more: str) -> Plan:
    return make_plan(load(bench, [*QUICK, f"axes.defense=[none,'{defense}']", *more]).bench)


def cell_of(plan: Plan, view: str) -> PlannedCell:
    return next(cell for cell in plan.cells if cell.cell.view == view and cell.cell.defense != "none")


# what is asked


def test_it_answers_the_mean_and_each_member_alone() -> None:
    members = networks()
    guard = Voting(members)
    answers = torch.stack([member(IMAGES) for member in members])
    assert torch.allclose(guard(IMAGES), answers.mean(0))
    for number in (1, 2, 3):
        with guard.alone(number):
            assert torch.equal(guard(IMAGES), answers[number - 1])
    with guard.alone(0):
        assert torch.allclose(guard(IMAGES).exp(), answers.softmax(2).mean(0))
    with pytest.raises(ConfigError, match="no member 4 of an ensemble of 3"), guard.alone(4):
        pass
    with pytest.raises(ZeroDivisionError), guard.alone(1):
        raise ZeroDivisionError
    assert torch.allclose(guard(IMAGES), answers.mean(0))
    probable = Voting(members, "probabilities")
    assert torch.allclose(probable(IMAGES).exp(), answers.softmax(2).mean(0))
    assert len(list(guard.parameters())) == 12  # each once
    assert torch.equal(Voting(members[:1])(IMAGES), answers[0])  # of one member every bit


def gradient(function: object, images: Tensor) -> Tensor:
    given = images.clone().requires_grad_()
    (found,) = torch.autograd.grad(function(given)[:, 0].sum(), given)  # type: ignore[operator]
    return found


def test_the_way_through_a_member_is_its_gradient_also_behind_another_guard() -> None:
    members = networks()
    guard = Voting(members)
    for number, member in enumerate(members, 1):
        found = gradient(THROUGH.parse(f"member(number={number})").of(guard), IMAGES)
        assert torch.equal(found, gradient(member, IMAGES))
    assert not torch.allclose(gradient(guard, IMAGES), gradient(members[0], IMAGES))
    median = defenses.parse("squeeze(bits=8, median=3)")
    outer, alone = (median.wrap(network, {}) for network in (guard, members[1]))
    assert torch.equal(gradient(THROUGH.parse("member(number=2)").of(outer), IMAGES), gradient(alone, IMAGES))
    with pytest.raises(ConfigError, match="no member 2 where a guard has no ensemble inside"):
        THROUGH.parse("member(number=2)").of(alone)(IMAGES)
    with pytest.raises(ConfigError, match="number of a member must be at least 0"):
        THROUGH.parse("member(number=-1)")


def test_a_member_whose_gradients_another_drowns_is_attacked_alone() -> None:
    weak, loud = networks(2)
    labels = weak(IMAGES).argmax(1)

    class Loud(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return 1000 * loud(images)

    names = [attack.through for attack in defenses.parse("ensemble(members=2)").against("white")]
    assert names == ["exact", "member(number=1)", "member(number=2)", "member(number=0)"]
    asked = {"images": IMAGES, "labels": labels, "eps": [0.3]}
    moved = [attacks.get("pgd")(Voting([weak, Loud()]), **asked, through=way)[0] for way in names[:2]]
    left = [weak(images).softmax(1).gather(1, labels[:, None]).mean() for images in moved]
    assert float(left[1].detach()) < float(left[0].detach()) - 0.02


# who they are


def test_seeds_are_further_draws_of_b_and_the_attacker_makes_as_many(tiny: Path) -> None:
    plan = planned(tiny, "ensemble")
    b, victim = plan.cells[0].scene.victim, cell_of(plan, "black").scene.victim
    assert isinstance(victim, Members)
    assert victim.models == (b, b.again("member 2"), b.again("member 3"))
    assert len({model.key for model in victim.models}) == 3
    assert cell_of(plan, "black").play.surrogate == plan.cells[0].scene.surrogate
    shadow = cell_of(plan, "shadow").play.surrogate
    assert shadow == Members(tuple(model.again("shadow") for model in victim.models))
    assert {model.key for model in shadow.models}.isdisjoint(model.key for model in victim.models)
    assert {model.key for model in (*victim.models, *shadow.models)} <= {node.key for node in plan.nodes}
    white = cell_of(plan, "white").play.groups
    assert [group.through for group in white] == ["exact", *(f"member(number={n})" for n in (1, 2, 3, 0))]
    assert [group.through for group in cell_of(plan, "black").play.groups] == ["exact"]


def test_kinds_are_b_scratch_and_a_student(tiny: Path) -> None:
    plan = planned(tiny, "ensemble(of=kinds)")
    scratch = make_plan(load(tiny, [*QUICK, "axes.strategy=[scratch]"]).bench).cells[0].scene.victim
    b, victim = plan.cells[0].scene.victim, cell_of(plan, "black").scene.victim
    first, second, third = victim.models
    assert first == b
    assert second.key == scratch.key
    assert (third.parent, dict(third.others)["teacher"].key, third.defense[0].name) == (None, b.key, "distill")
    shadow = cell_of(plan, "shadow").play.surrogate.models[2]
    assert dict(shadow.others)["teacher"].key == b.again("shadow").key


def test_it_composes_with_other_defenses(tiny: Path) -> None:
    victim = cell_of(planned(tiny, "private_origin + ensemble"), "white").scene.victim
    private = {model.parent.key for model in victim.models}
    shadow = cell_of(planned(tiny, "private_origin + ensemble"), "shadow").play.surrogate
    assert len(private) == 1
    assert private.isdisjoint(model.parent.key for model in shadow.models)
    taught = cell_of(planned(tiny, "ensemble + distill"), "white").scene.victim
    assert isinstance(dict(taught.others)["teacher"], Members)
    ways = [group.through for group in cell_of(planned(tiny, "ensemble + squeeze"), "white").play.groups]
    assert {"exact", "straight_through", "member(number=2)"} <= set(ways)


@pytest.mark.parametrize(
    ("defense", "more", "said"),
    [
        ("ensemble(of=all)", [], "ensemble needs of seeds or kinds, members from 2 to 20"),
        ("ensemble(members=1)", [], "members from 2 to 20"),
        ("ensemble(of=kinds, soup=True)", [], "kinds has 3 members, which make no soup"),
        ("ensemble(of=kinds, members=2)", [], "kinds has 3 members"),
        ("ensemble(soup=True, fuse=probabilities)", [], "a soup gives one answer"),
        ("ensemble(soup=True)", ["axes.strategy=[scratch]"], "a soup needs models of one origin, and scratch made_b"),
        ("ensemble(of=kinds)", ["axes.strategy=[scratch]"], "needs one with an origin, and scratch made_b"),
        ("ensemble + mahalanobis", [], "3 members, the first of them .* have no features in common"),
    ],
)
def test_what_cannot_be_is_one_sentence(tiny: Path, defense: str, more: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        planned(tiny, defense, *more)
    assert "\n" not in str(caught.value)


# in a bench


@pytest.mark.slow
def test_a_bench_judges_ensemble_and_soup(tiny: Path) -> None:
    names = ["ensemble(members=2)", "ensemble(members=2, soup=True)", "ensemble(of=kinds) + squeeze(bits=5)"]
    config = load(tiny, [*QUICK, f"axes.defense=[none,{','.join(map(repr, names))}]", "recipe.epochs=1"])
    plan, store = make_plan(config.bench), Store(tiny.parent / "store")
    finished = runner.run(plan, config.bench, store)
    assert not finished.failures
    results = {(result.cell.defense, result.cell.view): result for result in finished.results}
    assert len(results) == 12
    for (defense, _), result in results.items():
        assert ("plain" in result.beside) == (defense != "none")
        if defense != "none":
            value = result.curves["robust_accuracy"].value
            assert bool((value <= result.curves["plain_accuracy"].value).all())
    assert results["ensemble(members=2)", "white"].provenance["victim"]["members"] == 2
    victims = {cell.cell.defense: cell.scene.victim for cell in plan.cells}
    voting = victims["ensemble(members=2)"]
    images = plan.cells[0].scene.test.images("test").images[:9] / 255
    with torch.no_grad():
        own = torch.stack([model.load(store).eval()(images) for model in voting.models]).mean(0)
        assert torch.allclose(voting.load(store).eval()(images), own, atol=1e-6)
    _is_the_soup(victims["ensemble(members=2, soup=True)"], store)


def _is_the_soup(soup: Soup, store: Store) -> None:
    first, second = (store.load(WEIGHTS, model.key) for model in soup.models)
    kept = store.load(WEIGHTS, soup.key)
    weights = [name for name in kept if not name.endswith(("mean", "var", "tracked"))]
    for name in weights:
        assert torch.allclose(kept[name], (first[name] + second[name]) / 2, atol=1e-7), name
        assert not torch.allclose(first[name], second[name]) or "bias" in name, name
    training = soup.models[0]
    assert isinstance(training, Training)
    learned = training.data.images("train").take(training.data.parts(training.recipe.val_share)[0]).images / 255
    network = soup.build(kept).eval()
    with torch.no_grad():
        answer = network.features[0](network.normalize(learned))  # before the first dropout
    assert torch.allclose(kept["features.1.running_mean"], answer.mean((0, 2, 3)), atol=2e-3)
    assert torch.allclose(kept["features.1.running_var"], answer.var((0, 2, 3)), rtol=0.05)
    mean_of_both = (first["features.1.running_mean"] + second["features.1.running_mean"]) / 2
    assert not torch.allclose(kept["features.1.running_mean"], mean_of_both, atol=2e-3)
    again, _ = soup.make(hands(), store)
    assert all(torch.equal(again[soup.key][name], kept[name]) for name in kept)


def test_a_mean_of_weights_leaves_counts_as_they_are() -> None:
    numbers = (([1.0, 2.0], 3), ([3.0, 5.0], 9))
    mean = averaged([{"w": torch.tensor(weight), "n": torch.tensor(count)} for weight, count in numbers])
    assert mean["w"].tolist() == [2.0, 3.5]
    assert (mean["w"].dtype, int(mean["n"])) == (torch.float32, 3)


def test_along_a_training_a_soup_of_epochs_is_of_those_that_were_there(tiny: Path) -> None:
    b = planned(tiny, "squeeze", "recipe.epochs=6").cells[0].scene.victim
    soup = Soup(tuple(b.at(epoch) for epoch in (4, 5, 6)))
    assert soup.age == 6
    assert soup.at(6) == soup
    assert soup.at(5) == Soup((b.at(4), b.at(5)))
    assert soup.at(4) == b.at(4)
    assert soup.at(2) == b.at(2)
    assert soup.further(2).parent == soup
