"""Noise at inference: fixed, keyed, a mean of probabilities; and the attacker takes the mean over noises of his own."""

import pytest
import torch
from torch import Tensor, nn

from tl_robust import attacks, defenses
from tl_robust.attacks.through import THROUGH
from tl_robust.errors import ConfigError
from tl_robust.models.guard import Guard
from tl_robust.models.randomized import Randomized
from tl_robust.types import ImageSet

IMAGES = torch.rand(6, 1, 4, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
VALIDATION = ImageSet((IMAGES * 255).to(torch.uint8), torch.arange(6) % 3)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, 3)).double().eval()


def guarded(text: str, seed: int = 7, around: nn.Module | None = None) -> nn.Module:
    defense = defenses.parse(text)
    assert defense
    around = around or network()
    return defense.wrap(around, defense.fit(around, VALIDATION, seed))


def test_it_is_the_mean_of_probabilities_over_noises_of_that_spread() -> None:
    defense = defenses.parse("randomize(sigma=0.3, draws=5)")
    fitted = defense.fit(network(), VALIDATION, 7)
    assert fitted["noise"].shape == (5, 1, 4, 4)
    total = torch.zeros(6, 3, dtype=torch.float64)
    for noise in fitted["noise"]:
        total += torch.stack([network()((image + 0.3 * noise.double())[None]).softmax(1)[0] for image in IMAGES])
    answer = defense.wrap(network(), fitted)(IMAGES)
    assert torch.allclose(answer.exp(), total / 5, atol=1e-7)
    many = defenses.parse("randomize(draws=3000)").fit(network(), VALIDATION, 7)["noise"]
    assert float(many.std()) == pytest.approx(1, abs=0.02)
    assert float(many.mean()) == pytest.approx(0, abs=0.02)


def test_another_victim_has_another_noise_and_the_same_one_the_same() -> None:
    answers = [guarded("randomize", seed)(IMAGES) for seed in (7, 7, 8)]
    assert torch.equal(answers[0], answers[1])
    assert not torch.allclose(answers[0], answers[2])


def test_the_attackers_noises_are_not_the_defenders_and_all_differ() -> None:
    guard = guarded("randomize(draws=2)")
    assert isinstance(guard, Randomized)
    zero = torch.zeros(1, 1, 4, 4, dtype=torch.float64)
    own = [noisy.anew(zero, number) for noisy in guard.noises for number in range(3)]
    theirs = [noisy(zero) for noisy in guard.noises]
    every = torch.stack(own + theirs).flatten(1)
    assert len({tuple(row) for row in every.tolist()}) == 8
    spread = torch.stack([guard.noises[0].anew(zero, number) for number in range(200)]).std()
    assert float(spread) == pytest.approx(0.25, rel=0.1)
    (averaged,) = (a.through for a in defenses.parse("randomize").against("white") if a.through != "exact")
    assert averaged == "averaged(draws=3)"  # 3 times 8 noises
    way = THROUGH.parse("averaged(draws=3)").of(guard)
    answers = []
    for number in range(3):
        noise = [noisy.anew(zero, number)[0] for noisy in guard.noises]
        answers.append(torch.stack([network()(IMAGES + each).softmax(1) for each in noise]).mean(0).log())
    assert torch.allclose(way(IMAGES), torch.stack(answers).mean(0))


def test_sigma_0_leaves_every_bit() -> None:
    guard = guarded("randomize(sigma=0)")
    assert type(guard) is Guard
    assert torch.equal(guard(IMAGES), network()(IMAGES))
    labels = network()(IMAGES).argmax(1)
    one, other = (attacks.get("pgd")(model, IMAGES, labels, [0.1], early=True) for model in (guard, network()))
    assert torch.equal(one[0], other[0])


def test_a_guard_inside_is_asked_under_each_noise() -> None:
    inner = guarded("squeeze(bits=2)")
    defense = defenses.parse("squeeze(bits=2) + randomize(draws=2, sigma=0.2)")
    fitted = defense.fit(network(), VALIDATION, 7)
    answer = defense.wrap(network(), fitted)(IMAGES)
    noises = 0.2 * fitted["1.noise"].double()
    expected = torch.stack([inner(IMAGES + noise).softmax(1) for noise in noises]).mean(0)
    assert torch.allclose(answer.exp(), expected)


@pytest.mark.parametrize("settings", ["sigma=-0.1", "sigma=11", "draws=0"])
def test_settings_out_of_range_are_refused(settings: str) -> None:
    with pytest.raises(ConfigError, match="randomize needs sigma from 0 to 10 and draws from 1, got randomize"):
        defenses.parse(f"randomize({settings})")


def test_the_exact_gradient_is_that_of_the_mean() -> None:
    guard = guarded("randomize(draws=3)")

    def asked(images: Tensor) -> Tensor:
        return guard(images.view(1, 1, 4, 4)).log_softmax(1)[0, 0]

    start = IMAGES[0].flatten()
    (gradient,) = torch.autograd.grad(asked(given := start.clone().requires_grad_()), given)
    asked = torch.no_grad()(asked)
    step = 1e-6 * torch.eye(16, dtype=torch.float64)
    for place in range(16):
        slope = (asked(start + step[place]) - asked(start - step[place])) / 2e-6
        assert float(slope) == pytest.approx(float(gradient[place]), abs=1e-6)
