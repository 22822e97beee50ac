"""Feature squeezing on a small trained network: its plain number is a lie, its adaptive number is not."""

import pytest
import torch
from scipy.ndimage import median_filter
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torchvision.io import decode_image, encode_jpeg

from tl_robust import attacks, defenses
from tl_robust.attacks import evaluate
from tl_robust.attacks.through import THROUGH
from tl_robust.defenses.squeezers import _bits, _median
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
    attack = attacks.ATTACKS.parse("square(queries=20)" if name == "square" else name)
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
    edge = torch.nn.functional.pad(images, (1, 1, 1, 1), "replicate")  # by one pixel it is the mirror image
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
    assert ways == ["straight_through", "straight_through(identity=True)", "exact"]  # the last is a random search
    plain = judged(trained, text)
    for way in ways[:2]:
        assert share(judged(trained, text, way)) < share(plain) - 0.3


@pytest.mark.parametrize("side", [2, 3, 4, 5, 9])
@pytest.mark.parametrize("shape", [(4, 1, 8, 8), (2, 3, 5, 7), (1, 1, 3, 2)])
def test_medians_are_those_of_scipy_pixel_for_pixel(side: int, shape: tuple[int, ...]) -> None:
    """That is also ART's SpatialSmoothing, and the code of the paper."""
    images = torch.rand(shape, generator=torch.Generator().manual_seed(side), dtype=torch.float64)
    squeezed = defenses.parse(f"squeeze(bits=8, median={side})").wrap(nn.Identity(), {})(images)
    expected = median_filter(images.numpy(), size=(1, 1, side, side), mode="reflect")
    assert torch.equal(squeezed, torch.from_numpy(expected))


@pytest.mark.filterwarnings("ignore:The image decoding and encoding capabilities:DeprecationWarning")
@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_is_torchvisions(channels: int) -> None:
    draw = torch.Generator().manual_seed(0)
    images = torch.rand(3, channels, 16, 24, generator=draw).round().mul(0.7) + 0.1
    squeezed = defenses.parse("squeeze(bits=8, jpeg=75)").wrap(nn.Identity(), {})(images)
    away = (squeezed - images).abs()
    assert 0.01 < float(away.mean()) < 0.3
    for image, found in zip(images, squeezed, strict=True):
        again = decode_image(encode_jpeg(image.mul(255).round().to(torch.uint8), 75))
        assert int((found.mul(255).round().int() - again.int()).abs().max()) <= 2  # two builds of libjpeg
    worse = defenses.parse("squeeze(bits=8, jpeg=10)").wrap(nn.Identity(), {})(images)
    assert float((worse - images).abs().mean()) > float(away.mean())
    with pytest.raises(ConfigError, match="jpeg needs images of 1 or 3 channels, got 2"):
        defenses.parse("squeeze(jpeg=75)").wrap(nn.Identity(), {})(torch.zeros(1, 2, 8, 8))


def test_an_image_meets_bits_then_median_then_jpeg_and_chains_from_the_right() -> None:
    images = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    one = {
        name: defenses.parse(f"squeeze({name})").wrap(nn.Identity(), {})
        for name in ("bits=2", "bits=8, median=2", "bits=8, jpeg=50")
    }
    bits, median, jpeg = one.values()
    whole = defenses.parse("squeeze(bits=2, median=2, jpeg=50)").wrap(nn.Identity(), {})
    assert torch.equal(whole(images), jpeg(median(bits(images))))
    chain = defenses.parse("squeeze(bits=2) + squeeze(bits=8, jpeg=50) + squeeze(bits=8, median=2)")
    assert torch.equal(chain.wrap(nn.Identity(), {})(images), bits(jpeg(median(images))))
    assert not torch.equal(bits(jpeg(median(images))), whole(images))


def test_each_links_stand_in_is_differentiated_at_that_links_own_input() -> None:
    """The chain rule by hand: identity for bits and JPEG, the median's subgradient at what comes out of the bits."""
    images = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    weight = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    chain = defenses.parse("squeeze(bits=8, median=3, jpeg=50) + squeeze(bits=4)")
    guard = chain.wrap(nn.Flatten(), {})
    given = images.clone().requires_grad_()
    (THROUGH.parse("straight_through").of(guard)(given) * weight.flatten(1)).sum().backward()
    inside = images.mul(15).round().div(15).requires_grad_()
    (_median(3, inside) * weight).sum().backward()
    assert torch.equal(given.grad, inside.grad)
    elsewhere = images.clone().requires_grad_()
    (_median(3, elsewhere) * weight).sum().backward()
    assert not torch.equal(given.grad, elsewhere.grad)
    around = images.clone().requires_grad_()
    (THROUGH.parse("straight_through(identity=True)").of(guard)(around) * weight.flatten(1)).sum().backward()
    assert torch.equal(around.grad, weight)


def test_of_jpeg_the_plain_number_is_a_lie_too(trained) -> None:
    text = "squeeze(bits=8, jpeg=75)"
    known, search = defenses.parse(text).against("white")
    assert (known.through, search.attack) == ("straight_through", "square(queries=200)")
    plain, adaptive = judged(trained, text), judged(trained, text, known.through)
    assert bool(plain.zero_gradient.any())
    assert not adaptive.zero_gradient.any()
    assert share(plain, 0) > 0.8
    assert share(adaptive, 2) < share(plain, 2) - 0.3
    assert share(adaptive, 3) < 0.1


def test_what_rounds_is_searched_too_by_who_has_it_and_the_worst_case_counts(trained) -> None:
    """Without gradients nothing is masked: the search alone breaks the plain number."""
    for text in ("squeeze(bits=3)", "squeeze(bits=8, jpeg=75)", "squeeze(bits=3, median=2)"):
        found = defenses.parse(text).against("white")[-1]
        assert (found.attack, found.through, found.view) == ("square(queries=200)", "exact", "white")
        assert not any(attack.attack for view in ("black", "shadow") for attack in defenses.parse(text).against(view))
    for text in ("squeeze(bits=8)", "squeeze(bits=8, median=3)"):
        assert not any(attack.attack for attack in defenses.parse(text).against("white"))
    plain, known = judged(trained, "squeeze(bits=3)"), judged(trained, "squeeze(bits=3)", "straight_through")
    search = judged(trained, "squeeze(bits=3)", name="square(queries=200)")
    assert share(search, 2) < share(plain, 2) - 0.2
    worst = known.worst(search)
    assert share(worst, 1) <= min(share(known, 1), share(search, 1))


@pytest.mark.parametrize("settings", ["bits=0", "bits=9", "median=-1", "median=10", "jpeg=101", "jpeg=-1"])
def test_settings_out_of_range_are_refused(settings: str) -> None:
    with pytest.raises(
        ConfigError, match=r"bits from 1 to 8, median 0 or a side up to 9 pixels, jpeg 0 or a .* got squeeze"
    ):
        defenses.parse(f"squeeze({settings})")
