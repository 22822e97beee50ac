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


class Wary(Guard):
    """Refuses where the first pixel is not gray, to which every attack is drawn that takes a refusal for a class."""

    rejects = True

    def __init__(self) -> None:
        super().__init__(nn.Identity())

    def forward(self, images: Tensor) -> Tensor:
        first, second = images.flatten(1).unbind(1)
        return torch.stack([0 * second, 10 * (second - 0.6), 30 * (first - 0.5).abs() - 1], 1)


def test_a_model_that_refuses_is_examined_by_attacks_that_pass_the_refusal_too() -> None:
    images, labels = torch.full((20, 1, 1, 2), 0.5), torch.zeros(20, dtype=torch.int64)
    seen = trust.examine(Wary(), images, labels, [0.3], "linf").seen
    for name in ("beats_noise/pgd", "unbounded/fooled", "enough_steps/longer"):
        assert bool(seen[name].all()), name
