"""Feature squeezing on a small trained network: its plain number is a lie, its adaptive number is not."""

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from tl_robust import attacks, defenses
from tl_robust.attacks import evaluate
from tl_robust.attacks.through import THROUGH
from tl_robust.defenses.squeeze import _bits
from tl_robust.errors import ConfigError
from tl_robust.types import Outcome

EPS = [0.0, 16 / 255, 32 / 255, 64 / 255]


@pytest.fixture(scope="module")
def trained() -> tuple[nn.Module, Tensor, Tensor]:
    """A small network that reads scikit-learn's digits, and 150 images that it was not trained on, uint8.

    All images are of 3 bits, so that one lies in the middle of what is rounded to it, as black and white pixels do.
    """
    digits = load_digits()
    images = torch.tensor(digits.images)[:, None].mul(7 / 16).round().mul(255 / 7).round().to(torch.uint8)
    labels = torch.tensor(digits.target)
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 64, 10))
    steps = torch.optim.Adam(network.parameters(), 0.003)
    for _ in range(8):
        for batch in torch.randperm(1600).split(64):
            steps.zero_grad()
            cross_entropy(network(images[batch] / 255), labels[batch]).backward()
            steps.step()
    return network.eval(), images[-150:], labels[-150:]


def judged(trained: tuple[nn.Module, Tensor, Tensor], text: str, through: str = "exact", name: str = "pgd") -> Outcome:
    network, images, labels = trained
    defense = defenses.parse(text)
    guard = defense.wrap(network, {}) if defense else network
    attack = attacks.get(name, **({"queries": 20} if name == "square" else {}))
    given = {"images": images, "labels": labels, "eps": EPS, "through": through}
    return evaluate(attack, surrogate=guard, victims={"b": guard}, **given)["b"]


def share(outcome: Outcome, eps: int = -1) -> float:
    return float((outcome.adv_b[eps] == outcome.label).double().mean())


def test_of_3_bits_the_plain_number_equals_clean_accuracy_and_the_adaptive_one_does_not(trained) -> None:
    plain, adaptive = judged(trained, "squeeze(bits=3)"), judged(trained, "squeeze(bits=3)", "straight_through")
    clean = share(plain, 0)
    assert clean > 0.9
    assert bool(plain.zero_gradient[plain.clean_b == plain.label].all())  # of all that were attacked
    assert not adaptive.zero_gradient.any()
    assert share(plain, 1) == clean  # the random start stays within what is rounded to the same value
    assert all(share(plain, place) >= clean - 0.02 for place in (2, 3))  # and crosses an edge here and there
    assert share(adaptive, 2) < clean - 0.5
    assert share(adaptive, 3) <= 0.05
    fgsm = judged(trained, "squeeze(bits=3)", name="fgsm")
    assert torch.equal(fgsm.adv_b, fgsm.clean_b.expand_as(fgsm.adv_b))  # a zero gradient moves nothing at all


@pytest.mark.parametrize("through", ["exact", "straight_through", "straight_through(identity=True)"])
@pytest.mark.parametrize("name", ["fgsm", "pgd", "square"])
def test_8_bits_of_8_bit_images_are_the_undefended_outcome_bit_for_bit(trained, name: str, through: str) -> None:
    undefended, guarded = judged(trained, "none", name=name), judged(trained, "squeeze(bits=8)", through, name)
    for field, tensor in undefended.tensors().items():
        assert torch.equal(tensor, guarded.tensors()[field]), field


def test_8_bits_as_a_link_leave_8_bit_images_bit_for_bit() -> None:
    images = torch.arange(256, dtype=torch.uint8).float().div_(255)
    assert torch.equal(_bits(255, images), images)
    assert _bits(7, images).unique().tolist() == pytest.approx([value / 7 for value in range(8)])


def test_the_median_is_a_plain_loops_and_has_a_subgradient_and_the_identity(trained) -> None:
    network, images, labels = trained
    images = images[:5].double() / 255
    guard = defenses.parse("squeeze(bits=8, median=3)").wrap(nn.Identity(), {})
    squeezed = guard(images)
    edge = torch.nn.functional.pad(images, (1, 1, 1, 1), "reflect")
    for row in range(8):
        for column in range(8):
            window = edge[:, 0, row : row + 3, column : column + 3].flatten(1)
            assert torch.equal(squeezed[:, 0, row, column], window.sort(1).values[:, 4])
    guard = defenses.parse("squeeze(bits=8, median=3)").wrap(network.double(), {})
    gradients = {}
    for name in ("exact", "straight_through", "straight_through(identity=True)"):
        given = images.clone().requires_grad_()
        cross_entropy(THROUGH.parse(name).of(guard)(given), labels[:5]).backward()
        gradients[name] = given.grad
    network.float()
    exact, straight, identity = gradients.values()
    assert torch.equal(exact, straight)
    assert not torch.allclose(exact, identity)
    assert bool(identity.any())


def test_the_median_of_3_bits_is_attacked_in_both_ways(trained) -> None:
    text = "squeeze(bits=3, median=3)"
    ways = [attack.through for attack in defenses.parse(text).against("white")]
    assert ways == ["straight_through", "straight_through(identity=True)"]
    plain = judged(trained, text)
    for way in ways:
        assert share(judged(trained, text, way)) < share(plain) - 0.3


@pytest.mark.parametrize("settings", ["bits=0", "bits=9", "median=2", "median=-1", "median=11"])
def test_settings_out_of_range_are_refused(settings: str) -> None:
    with pytest.raises(ConfigError, match="bits from 1 to 8 and median 0 or an odd side up to 9 pixels, got squeeze"):
        defenses.parse(f"squeeze({settings})")
