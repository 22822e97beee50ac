"""A detector on features: distances against a plain loop, whom it refuses, and the attack that evades it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from given import Given, reader
from sklearn.covariance import LedoitWolf
from torch import Tensor, nn

from tl_robust import attacks, defenses
from tl_robust.attacks import evaluate
from tl_robust.attacks.objectives import OBJECTIVES
from tl_robust.bench.plan import make_plan
from tl_robust.config import load
from tl_robust.defenses.class_distance import distance, fitted
from tl_robust.defenses.mahalanobis import Distant
from tl_robust.errors import ConfigError
from tl_robust.types import ImageSet, Outcome

EPS = [0.0, 16 / 255, 32 / 255, 64 / 255]
QUICK = ["axes.seed=[0]", "axes.strategy=[finetune]", "axes.attack=[fgsm]", "axes.view=[white]"]


@pytest.fixture(scope="module")
def trained() -> tuple[nn.Module, ImageSet, ImageSet]:
    """A small network that reads scikit-learn's digits, held-out images, and test images."""
    return reader()


def guard_of(trained: tuple[nn.Module, ImageSet, ImageSet], text: str = "mahalanobis") -> nn.Module:
    defense = defenses.parse(text)
    assert defense
    return defense.wrap(trained[0], defense.fit(trained[0], trained[1], 7))


def test_the_distance_is_a_plain_loops_with_scikit_learns_covariance() -> None:
    draw = torch.Generator().manual_seed(1)
    found, labels = torch.randn(40, 5, generator=draw, dtype=torch.float64), torch.arange(40) % 3 * 2  # no class 1
    found[:, 1] += 2 * found[:, 0]
    means, whitening = fitted(found, labels)
    assert means.shape == (3, 5)
    centered = torch.cat([found[labels == label] - found[labels == label].mean(0) for label in (0, 2, 4)])
    covariance = torch.from_numpy(LedoitWolf(assume_centered=True).fit(centered.numpy()).covariance_)
    precision = torch.linalg.inv(covariance)
    asked = torch.randn(7, 5, generator=draw, dtype=torch.float64)
    for row, away in zip(asked, distance(asked, means, whitening), strict=True):
        apart = [row - found[labels == label].mean(0) for label in (0, 2, 4)]
        assert float(away) == pytest.approx(min(float(each @ precision @ each) for each in apart) / 5, rel=1e-6)


def test_it_refuses_as_many_clean_images_as_it_says_and_noise(trained) -> None:
    for share in (0.05, 0.3):
        guard = guard_of(trained, f"mahalanobis(false_alarms={share})")
        images = trained[2].images / 255
        with torch.no_grad():
            refused = guard(images).argmax(1) == 10
            noise = guard(torch.rand(200, 1, 8, 8, generator=torch.Generator().manual_seed(0))).argmax(1) == 10
        assert abs(float(refused.double().mean()) - share) < 0.08
        assert float(noise.double().mean()) > 0.9
        assert torch.equal(refused, guard.suspicion(images) > guard.threshold)
        with torch.no_grad():
            assert torch.equal(guard(images)[:, :10], trained[0](images))


def test_the_threshold_is_of_other_folds(trained) -> None:
    """Distances to means that an image is a part of are too small: with few images most others would be refused."""
    network, held, test = trained
    few = ImageSet(held.images[:60], held.labels[:60])
    defense = defenses.parse("mahalanobis(false_alarms=0.1)")
    guard = Distant(network, **defense.fit(network, few, 7))
    own = float((guard.suspicion(few.images / 255) > guard.threshold).double().mean())
    other = float((guard.suspicion(test.images / 255) > guard.threshold).double().mean())
    assert own < 0.05
    assert other < 0.2


def judged(trained, guard: nn.Module, objective: str) -> Outcome:
    attack = attacks.get("pgd", steps=20, objective=objective)
    test = trained[2]
    return evaluate(attack, surrogate=guard, victims={"b": guard}, images=test.images, labels=test.labels, eps=EPS)["b"]


def test_evading_it_fools_more_than_attacks_that_take_the_refusal_for_a_class(trained) -> None:
    guard = guard_of(trained)
    fooled = {}
    for objective in ("label", "margin", "evade"):
        outcome = judged(trained, guard, objective)
        success = (outcome.adv_b != outcome.label) & (outcome.adv_b != -1)
        fooled[objective] = success.double().mean(1)
        if objective == "evade":
            assert float((outcome.adv_b[-1] == -1).double().mean()) < 0.1
    assert float(fooled["evade"][2]) > float(torch.maximum(fooled["label"], fooled["margin"])[2]) + 0.2
    assert float(fooled["evade"][3]) > 0.9
    white = defenses.parse("mahalanobis").against("white")
    assert [attack.objective for attack in white] == ["", "evade"]
    strip = defenses.parse("strip").against("white")
    assert "evade" in [attack.objective for attack in strip]


def test_the_objective_is_the_margin_over_label_and_refusal() -> None:
    logits = torch.tensor([[1.0, 3.0, 2.0, 0.0], [1.0, 3.0, 2.0, 5.0], [4.0, 3.0, 2.0, -1.0]])
    evade, label = OBJECTIVES.parse("evade"), torch.tensor([0, 0, 0])
    assert evade.loss(logits, label).tolist() == [2.0, -2.0, -1.0]

    class Refuses(Distant):
        def __init__(self) -> None:
            nn.Module.__init__(self)
            self.rejects = True

        def forward(self, images: Tensor) -> Tensor:
            return logits

    assert evade.loss(evade.observe(Refuses(), logits)[1], label).tolist() == [2.0, -2.0, -1.0]
    plain = evade.loss(evade.observe(lambda images: logits, logits)[1], label)
    assert plain.tolist() == [2.0, 4.0, -1.0]  # here the last is a class as any other


def test_without_false_alarms_every_bit_is_the_networks(trained) -> None:
    guard = guard_of(trained, "mahalanobis(false_alarms=0)")
    images = trained[2].images / 255
    assert not guard.rejects
    assert torch.equal(guard(images), trained[0](images))


def test_it_stands_behind_other_guards_and_another_alarm() -> None:
    network, held = Given(9).eval(), torch.randint(0, 256, (60, 1, 3, 3), generator=torch.Generator().manual_seed(0))
    images = ImageSet(held.to(torch.uint8), torch.arange(60) % 4)
    defense = defenses.parse("squeeze(bits=2) + strip + mahalanobis")
    guard = defense.wrap(network, defense.fit(network, images, 7))
    answer = guard(images.images / 255)
    assert answer.shape == (60, 5)  # one refusal for both alarms
    assert bool((answer.argmax(1) == 4).any())
    squeezed = ImageSet((images.images / 255 * 3).round().mul(85).to(torch.uint8), images.labels)
    alone = defenses.parse("mahalanobis").fit(network, squeezed, 7)["means"]
    inside = defense.fit(network, images, 7)["2.means"]
    assert torch.allclose(alone, inside, atol=1e-5)  # it is fitted on what the links inside make of images


def test_what_cannot_be_is_one_sentence(tiny: Path) -> None:
    with pytest.raises(ConfigError, match="false_alarms of at least 0 and below 1, got 1"):
        defenses.parse("mahalanobis(false_alarms=1)")
    network, few = Given(4), ImageSet(torch.zeros(10, 1, 2, 2, dtype=torch.uint8), torch.arange(10) % 4)
    with pytest.raises(ConfigError, match=r"needs 20 held-out images for false_alarms=0\.05, got 10: raise recipe\."):
        defenses.parse("mahalanobis").fit(network, few, 7)
    (tiny.parent / "plugins" / "nameless.py").write_text(
        "from torch import nn\nfrom tl_robust.models import NETWORKS\n\n@NETWORKS.register\n"
        "class Nameless(nn.Sequential):\n    def __init__(self, image_shape, classes):\n"
        "        super().__init__(nn.Flatten(), nn.Linear(64, classes))\n"
    )
    with pytest.raises(ConfigError, match=r"network 'nameless' does not say what its last layer is") as caught:
        make_plan(load(tiny, [*QUICK, "axes.network=[nameless]", "axes.defense=[mahalanobis]"]).bench)
    assert "\n" not in str(caught.value)
