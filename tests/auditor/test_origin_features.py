"""Features and answers to noise, on networks of which the truth is known."""

import pytest
import torch
from torch import Tensor, nn

from tl_robust import models
from tl_robust.auditor.origin import decisions, features
from tl_robust.types import ImageSet

DRAW = torch.Generator().manual_seed(5)
IMAGES = ImageSet(torch.randint(0, 256, (60, 3, 16, 16), generator=DRAW, dtype=torch.uint8), torch.arange(60) % 4)


def network(seed: int, classes: int = 4) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return models.get("dtn", (3, 16, 16), classes, width=0.2, norm="group").eval()


def units(one: nn.Module) -> Tensor:
    found = features.units(one, IMAGES)
    assert found is not None
    return found


# features


def test_features_of_networks_that_were_trained_apart_are_standard_normal() -> None:
    first = [units(network(seed)) for seed in range(12)]
    second = [units(network(100 + seed)) for seed in range(12)]
    found = torch.tensor([features.relation(one, other).z for one in first for other in second])
    assert abs(float(found.mean())) < 0.25
    assert 0.8 < float(found.std()) < 1.2


def test_features_in_the_same_order_are_far_beyond_chance_and_in_another_are_not() -> None:
    own = units(network(0))
    near = own + 0.5 * own.std() * torch.randn(own.shape, generator=torch.Generator().manual_seed(1))
    found = features.relation(near, own)
    assert found.z > 10
    assert 0.3 < found.score < 1
    assert features.relation(own.roll(1, 1), own).z < 4


def test_what_labels_explain_is_no_evidence() -> None:
    """Two networks whose features tell the classes in the same way, and nothing else of the images."""
    by_class = 5 * torch.nn.functional.one_hot(IMAGES.labels).double().repeat(1, 10)
    noise = torch.randn(2, 60, 40, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    with_labels = [by_class + part for part in noise]
    within = [features.within_classes(one, IMAGES.labels) for one in with_labels]
    assert features.relation(*within).z < 3
    plain = [one - one.mean(0) for one in with_labels]
    assert features.relation(plain[0], plain[1]).z > 5  # the labels would make relatives of them


def test_what_all_units_share_is_no_evidence() -> None:
    """All features of both networks follow the brightness of an image, some more than others."""
    draw = torch.Generator().manual_seed(4)
    bright = torch.randn(60, 1, generator=draw, dtype=torch.float64)
    found = []
    for _ in range(100):
        one, other = (bright * (1 + torch.rand(40, generator=draw)) + torch.randn(60, 40, generator=draw) for _ in "ab")
        found.append(features.relation(one, other).z)
    assert abs(float(torch.tensor(found).mean())) < 0.4
    assert max(found) < 4


def test_units_have_mean_0_within_each_class() -> None:
    found = units(network(0))
    for label in range(4):
        assert found[IMAGES.labels == label].mean(0).abs().max() < 1e-9
    assert found.std() > 1e-3


def test_means_of_classes_are_those_of_a_loop() -> None:
    values, labels = torch.rand(60, 3, generator=torch.Generator().manual_seed(3)).double(), IMAGES.labels * 7
    for label in labels.unique():
        inside = features.within_classes(values, labels)[labels == label]
        assert torch.allclose(inside, values[labels == label] - values[labels == label].mean(0))


class Spatial(nn.Module):
    """Its classifier is given several positions of each channel; all channels look at the same places."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.body = nn.Conv2d(3, 12, 3, stride=4)
            self.classifier = nn.Linear(12 * 16, 4)

    def forward(self, images: Tensor) -> Tensor:
        out: Tensor = self.classifier(self.body(images).abs().flatten(1))
        return out


def test_positions_have_an_order_and_are_no_units() -> None:
    assert units(Spatial(0)).shape == (60 * 16, 12)
    found = torch.tensor([features.relation(units(Spatial(s)), units(Spatial(50 + s))).z for s in range(60)])
    assert abs(float(found.mean())) < 0.5
    assert float(found.std()) < 1.3
    assert features.relation(units(Spatial(0)), units(Spatial(0))).z > 8


def test_a_network_that_does_not_name_its_last_layer_gives_none() -> None:
    assert features.units(nn.Sequential(nn.Flatten(), nn.Linear(768, 4)), IMAGES) is None
    few = IMAGES.take(torch.arange(6))
    assert features.units(network(0), few) is None


# decisions


def test_similarity_is_linear_centered_kernel_alignment() -> None:
    a, b = (torch.rand(30, size, generator=torch.Generator().manual_seed(size)).double() for size in (4, 6))
    center = torch.eye(30, dtype=torch.float64) - 1 / 30
    one, other = center @ a @ a.T @ center, center @ b @ b.T @ center
    naive = float((one * other).sum() / (one.norm() * other.norm()))
    assert decisions.similarity(a - a.mean(0), b - b.mean(0)) == pytest.approx(naive)


def test_whitened_answers_do_not_depend_on_the_order_and_scale_of_the_classes() -> None:
    a = torch.rand(50, 5, generator=torch.Generator().manual_seed(0)).double()
    turned = 3 * a[:, [3, 1, 4, 0, 2]] + 7
    assert decisions.similarity(decisions.whitened(a), decisions.whitened(turned)) == pytest.approx(1)
    assert decisions.whitened(a).mean(0).abs().max() < 1e-9


def test_constant_answers_are_similar_to_nothing() -> None:
    a, b = torch.ones(50, 5).double(), torch.rand(50, 4).double()
    assert decisions.similarity(decisions.whitened(a), decisions.whitened(b)) == 0


def test_questions_are_the_same_for_a_seed_and_hold_all_values() -> None:
    asked = decisions.questions((3, 16, 16), 4)
    assert torch.equal(asked, decisions.questions((3, 16, 16), 4))
    assert not torch.equal(asked, decisions.questions((3, 16, 16), 5))
    assert asked.dtype == torch.uint8
    assert asked.unique().tolist() == list(range(256))


def test_posterior_rises_with_the_lead_and_a_claim_is_likely_right() -> None:
    leads = [decisions.posterior(step / 10) for step in range(11)]
    assert leads == sorted(leads)
    assert decisions.posterior(0) < 0.1
    assert leads[-1] > 0.999
    assert decisions.posterior(decisions.CLAIMED) > 0.5
