"""Filters by scores against what is computed by hand: eigenvectors, losses, and counts of a plain sort."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from tests.defenses.given import Given, auroc, poisoned_problem, set_of
from tl_robust import defenses
from tl_robust.defenses.early_loss import EarlyLoss
from tl_robust.defenses.parent_loss import ParentLoss
from tl_robust.defenses.random_removal import RandomRemoval
from tl_robust.defenses.sifting import Filter
from tl_robust.defenses.spectral import Spectral
from tl_robust.errors import ConfigError
from tl_robust.types import ImageSet

FILTERS = [name for name in defenses.names() if isinstance(defenses.parse(name), Filter)]
EVERY = pytest.mark.parametrize("name", FILTERS)


def made(text: str) -> Filter:
    built = defenses.parse(text)
    assert isinstance(built, Filter)
    return built


def others(network: nn.Module) -> dict[str, nn.Module]:
    return dict.fromkeys(("undefended", "undefended@1", "undefended@3", "parent"), network)


def test_spectral_projects_on_the_eigenvector_of_the_covariance_of_each_label() -> None:
    images, _ = poisoned_problem(0.05)
    scores = Spectral().scores(images, others(Given(12))).numpy()
    features, labels = images.images.numpy().reshape(400, 12) / 255.0, images.labels.numpy()
    for label in range(4):
        own = features[labels == label]
        covariance = np.zeros((12, 12))
        for row in own - own.mean(0):
            covariance += np.outer(row, row)
        axis = np.linalg.eigh(covariance)[1][:, -1]
        expected = [float(np.dot(row - own.mean(0), axis)) ** 2 for row in own]
        assert scores[labels == label] == pytest.approx(expected, rel=1e-4, abs=1e-7)


@pytest.mark.parametrize(("expected", "budget", "most"), [(0.05, 1.5, 30), (0.02, 1.0, 8), (0.3, 1.5, 180)])
def test_spectral_removes_the_budget_from_every_label_and_at_most_half(
    expected: float, budget: float, most: int
) -> None:
    images, _ = poisoned_problem(0.05)
    filter = Spectral(expected=expected, budget=budget)
    scores = filter.scores(images, others(Given(12)))
    kept = filter.kept(images, scores)
    for label in range(4):
        places = [place for place in range(400) if images.labels[place] == label]
        ranked = sorted(places, key=lambda place: -float(scores[place]))
        gone = ranked[: min(most, len(places) // 2)]
        assert {place for place in places if not kept[place]} == set(gone)


@EVERY
@pytest.mark.parametrize("label", [0, 3])
def test_a_label_of_one_image_is_no_problem(name: str, label: int) -> None:
    """Nothing can be told of one image but its loss."""
    draw = np.random.default_rng(4).uniform(0, 255, (21, 6))
    images = set_of(draw, [1] * 20 + [label])
    filter = made(name)
    kept = filter.kept(images, filter.scores(images, others(Given(6))))
    assert kept.shape == (21,)
    assert bool(kept[20]) or name in ("early_loss", "parent_loss", "random_removal")


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("name", ["spectral", "activation_clusters"])
def test_a_twentieth_of_poison_is_found(name: str, seed: int) -> None:
    images, poisoned = poisoned_problem(0.05, seed)
    filter = made(name)
    scores = filter.scores(images, others(Given(12)))
    inside = images.labels == 0
    assert auroc(scores[inside], poisoned[inside.numpy()]) > 0.99
    assert not filter.kept(images, scores)[torch.from_numpy(poisoned)].any()
    assert filter.kept(images, scores).any()


@pytest.mark.parametrize("seed", range(3))
def test_half_of_a_label_cannot_be_told_by_symmetry(seed: int) -> None:
    """Each poisoned image is the mirror image of a clean one, so that their squared projections are equal."""
    draw = np.random.default_rng(seed)
    clean = (127.5 + np.where(np.arange(8) % 2, 30, -30) + draw.normal(0, 9, (50, 8))).round()
    images = set_of(np.concatenate([clean, 255 - clean]), [0] * 100)
    poisoned = np.arange(100) >= 50
    scores = Spectral().scores(images, others(Given(8)))
    assert torch.allclose(scores[:50], scores[50:], rtol=1e-4)
    assert 0.45 < auroc(scores, poisoned) < 0.55
    clusters = made("activation_clusters")
    scores = clusters.scores(images, others(Given(8)))
    assert auroc(scores, poisoned) in (0.0, 1.0)  # it sees two clusters
    assert clusters.kept(images, scores).all()  # and cannot say which of them is bad


@pytest.mark.parametrize("filter", [EarlyLoss(), EarlyLoss(side="low", epochs=3), ParentLoss()], ids=str)
def test_losses_are_those_of_the_formula(filter: Filter) -> None:
    images, _ = poisoned_problem(0.05)
    network = Given(12)
    found = filter.scores(images, others(network)).numpy()
    weight, bias = (tensor.detach().double().numpy() for tensor in network.classifier.parameters())
    for place in range(400):
        logits = weight @ (images.images[place].numpy().ravel() / 255.0) + bias
        loss = np.log(np.exp(logits).sum()) - logits[images.labels[place]]
        assert found[place] == pytest.approx(-loss if "low" in str(filter) else loss, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize(("expected", "budget", "removed"), [(0.05, 1.5, 30), (0.01, 1.0, 4), (0.001, 1.0, 0)])
def test_the_budget_of_the_highest_losses_is_removed(expected: float, budget: float, removed: int) -> None:
    images, _ = poisoned_problem(0.05)
    filter = ParentLoss(expected=expected, budget=budget)
    scores = filter.scores(images, others(Given(12)))
    kept = filter.kept(images, scores)
    assert int((~kept).sum()) == removed
    assert not removed or float(scores[~kept].min()) >= float(scores[kept].max())
    left = filter.images(images, others(Given(12)))
    assert torch.equal(left.labels, images.labels[kept])
    assert torch.equal(left.images, images.images[kept])
    assert (left is images) == (removed == 0)  # what nothing is taken from is the same set


def test_each_asks_the_model_that_it_names() -> None:
    asked = {text: made(text).asks for text in [*FILTERS, "early_loss(epochs=3)", "random_removal(like=parent_loss)"]}
    assert asked == {
        "activation_clusters": ("undefended",),
        "early_loss": ("undefended@1",),
        "early_loss(epochs=3)": ("undefended@3",),
        "parent_loss": ("parent",),
        "random_removal": ("undefended",),
        "random_removal(like=parent_loss)": ("parent",),
        "spectral": ("undefended",),
    }
    images, _ = poisoned_problem(0.05)
    for text, names in asked.items():
        made(text).scores(images, {names[0]: Given(12)})  # and no other


@pytest.mark.parametrize("like", [name for name in FILTERS if name != "random_removal"])
def test_random_removal_removes_exactly_as_many(like: str) -> None:
    images, _ = poisoned_problem(0.05)
    models = others(Given(12))
    other, control = made(like), RandomRemoval(like=like)
    removed = int((~other.kept(images, other.scores(images, models))).sum())
    scores = control.scores(images, models)
    kept = control.kept(images, scores)
    assert 0 < removed < 400
    assert int((~kept).sum()) == removed
    assert len(scores.unique()) == 400
    assert len(control.images(images, models)) == 400 - removed
    assert control.adaptive() == other.adaptive()


def test_random_removal_chooses_anew_for_each_seed_and_every_image_as_often() -> None:
    images, _ = poisoned_problem(0.05)
    models = others(Given(12))
    gone = torch.zeros(400)
    for seed in range(200):
        control = RandomRemoval(like="parent_loss", seed=seed)
        gone += ~control.kept(images, control.scores(images, models))
    assert float(gone.sum()) == 200 * 30
    # of a binomial of 200 draws at 0.075: mean 15, spread 3.7; of 400 images none is five spreads away
    assert float((gone - 15).abs().max()) < 5 * (200 * 0.075 * 0.925) ** 0.5
    assert float(gone.var()) == pytest.approx(200 * 0.075 * 0.925, rel=0.25)


@EVERY
def test_on_says_whose_images_are_filtered(name: str) -> None:
    assert made(name).role == "victim"
    assert made(f"{name}(on=origin)").role == "origin"
    with pytest.raises(ConfigError, match="setting 'on' of a filter must be victim or origin, got 'teacher'"):
        made(f"{name}(on=teacher)")


@EVERY
def test_an_attacker_who_has_read_the_file_poisons_otherwise(name: str) -> None:
    declared = [attack for attack in made(name).adaptive() if attack.backdoor]
    assert declared
    assert all(attack.exists and attack.why.endswith(".") for attack in declared)


def test_who_knows_the_budget_poisons_twice_as_many() -> None:
    rates = [attack.backdoor for attack in EarlyLoss(expected=0.04, budget=2).adaptive()]
    assert "rate=0.16" in rates
    assert "rate=0.5" in [attack.backdoor for attack in EarlyLoss(expected=0.4).adaptive()]


@EVERY
def test_a_model_that_has_diverged_is_one_sentence(name: str) -> None:
    images, _ = poisoned_problem(0.05)
    network = Given(12)
    with torch.no_grad():
        network.classifier.weight[0, 0] = torch.nan
    network.flat.register_forward_hook(lambda module, inputs, output: output * torch.nan)
    with pytest.raises(ConfigError, match=r"values that are not finite: lower its learning rate") as caught:
        made(name).images(images, others(network))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("spectral(expected=0)", "'expected' above 0 and below 1 and 'budget' above 0, got 0.0 and 1.5"),
        ("parent_loss(budget=-1)", "'budget' above 0"),
        ("early_loss(side=left)", "early_loss needs side high or low and epochs from 0, got 'left' and 1"),
        ("early_loss(epochs=-1)", "epochs from 0"),
        ("activation_clusters(share=0.6)", "share from 0 to 0.5"),
        ("activation_clusters(components=0)", "components from 1"),
        ("random_removal(like=squeeze)", "must be another filter, got 'squeeze'"),
        ("random_removal(like=random_removal)", "must be another filter"),
        ("random_removal(like=spectrum)", "unknown defense 'spectrum'"),
    ],
)
def test_a_setting_out_of_its_range_is_one_sentence(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        defenses.parse(text)
    assert "\n" not in str(caught.value)


def test_a_filter_that_keeps_nothing_is_one_sentence() -> None:
    images, _ = poisoned_problem(0.05)
    with pytest.raises(ConfigError, match=r"parent_loss\(budget=3.0, expected=0.5\) leaves no training image: use mil"):
        ParentLoss(expected=0.5, budget=3).images(images, others(Given(12)))


def test_a_parent_of_fewer_classes_is_one_sentence() -> None:
    images, _ = poisoned_problem(0.05)
    with pytest.raises(ConfigError, match=r"parent_loss asks a model of 3 classes about labels up to 3: use it where"):
        ParentLoss().scores(images, others(Given(12, classes=3)))


@EVERY
def test_a_composed_filter_sees_what_the_one_before_left(name: str) -> None:
    images, _ = poisoned_problem(0.05)
    both = defenses.parse(f"early_loss(expected=0.02, side=low) + {name}")
    assert both
    first = EarlyLoss(expected=0.02, side="low").images(images, others(Given(12)))
    left, alone = both.images(images, others(Given(12))), made(name).images(first, others(Given(12)))
    assert isinstance(left, ImageSet)
    assert torch.equal(left.images, alone.images)
    assert len(left) < len(first) == 388
