"""What is shared by all probes: the choice of samples, noise, and whether a model answers steadily."""

import pytest
import torch
from torch import Tensor, nn

from tl_robust import trust
from tl_robust.attacks.norms import get_norm
from tl_robust.models.guard import Guard
from tl_robust.trust.subject import Subject, choose


@pytest.mark.parametrize("samples", [1, 2, 9])
def test_an_answer_that_depends_on_the_batch_is_seen_with_any_number_of_samples(samples: int) -> None:
    def centered(images: Tensor) -> Tensor:
        return (images - images.mean(0)).flatten(1)[:, :5]

    images = torch.rand(9, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    seen = trust.examine(lambda x: 10 * x.flatten(1)[:, :5] + centered(x), images, None, [0.1], "linf", samples=samples)
    assert float(seen.seen["batch_free/change"].max()) > 0.01
    assert float(seen.seen["repeatable/change"].max()) == 0
    assert not any(name.startswith("unbounded") for name in seen.seen)  # it is not attacked


def test_every_class_has_its_share() -> None:
    labels = torch.tensor([0] * 500 + [1] * 30 + [2] * 3)
    ids, images = torch.arange(533) * 2, torch.zeros(533, 1, 1, 1)
    place = choose(images, labels, ids, 0, 23)
    assert labels[place].bincount().tolist() == [10, 10, 3]
    assert bool((ids[place].diff() > 0).all())
    assert not torch.equal(place, choose(images, labels, ids, 1, 23))
    assert len(choose(images, None, ids, 0, 23)) == 23
    assert choose(images, labels, ids, 0, 10000).tolist() == list(range(533))


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_noise_has_the_size_it_says(norm: str) -> None:
    images = torch.full((4, 3, 8, 8), 0.5)
    subject = Subject(nn.Flatten(), images, torch.zeros(4).long(), torch.arange(4), [], norm, 0)
    draws = [subject.noise(norm, 0.2, draw) for draw in (0, 1, 0)]
    for noisy in draws:
        assert torch.allclose(get_norm(norm).size(noisy - images), torch.full((4,), 0.2), rtol=1e-4)
    assert torch.equal(draws[0], draws[2])
    assert not torch.equal(draws[0], draws[1])


class Refusing(Guard):
    """Refuses whatever is not gray."""

    rejects = True

    def after(self, logits: Tensor, images: Tensor) -> Tensor:
        far = (images - 0.5).flatten(1).abs().amax(1) > 0.01
        return torch.cat([logits, torch.where(far, 1e3, -1e3)[:, None]], 1)


def test_a_model_that_refuses_is_not_fooled() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(192, 3)).eval()
    images = torch.full((20, 3, 8, 8), 0.5)
    labels = network(images).argmax(1)
    free, refusing = (trust.examine(model, images, labels, [0.3], "linf") for model in (network, Refusing(network)))
    for name in ("beats_noise/pgd", "unbounded/fooled"):
        assert bool(free.seen[name].all())
        assert not refusing.seen[name].any()
    assert not refusing.seen["beats_noise/noise"].any()
    assert bool(refusing.seen["unbounded/right"].all())


class Suspicious(Guard):
    """The first two pixels are its logits; it refuses where the third is far from gray."""

    rejects = True

    def after(self, logits: Tensor, images: Tensor) -> Tensor:
        return torch.cat([logits, 0.3 + 5 * (images[:, 2] - 0.5).abs().flatten(1)], 1)


def test_a_model_that_refuses_is_attacked_past_its_refusals() -> None:
    """Every other objective takes the refusal for a class, and is drawn to it."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(3, 2, bias=False)).eval()
    network[1].weight = nn.Parameter(torch.eye(3)[:2])
    images = torch.tensor([0.6, 0.4, 0.52]).view(1, 3, 1, 1).expand(20, -1, -1, -1)
    labels = torch.zeros(20, dtype=torch.int64)
    seen = trust.examine(Suspicious(network), images, labels, [0.3], "linf").seen
    assert bool(seen["unbounded/right"].all())
    for name in ("beats_noise/pgd", "unbounded/fooled"):
        assert bool(seen[name].all())
    assert seen["finite_logits/refuses"].tolist() == [True]
    assert "finite_logits/refuses" not in trust.examine(network, images, labels, [0.3], "linf").seen
