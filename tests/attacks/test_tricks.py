"""Every trick's gradient against a naive loop over samples and copies, in float64."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, cross_entropy, interpolate, pad

from tl_robust.attacks.named.ascent import Ascent
from tl_robust.attacks.norms import get_norm
from tl_robust.attacks.objectives import OBJECTIVES
from tl_robust.attacks.problem import Problem, Seen, attackable
from tl_robust.attacks.tricks import parse_tricks
from tl_robust.attacks.tricks.diverse import Diverse
from tl_robust.errors import ConfigError, UnknownNameError
from tl_robust.models.ensemble import Ensemble
from tl_robust.seeding import derive, normal, uniform

EPS, SEED, STEP, SHAPE = 0.1, 17, 3, (3, 9, 9)
ALL = ["diverse(probability=0.7, resize=1.4)", "scale(copies=3)", "admix", "variance(copies=2)", "flat(copies=2)"]


def net() -> nn.Module:
    torch.manual_seed(2)
    return nn.Sequential(nn.Conv2d(3, 5, 3), nn.Softplus(), nn.Flatten(), nn.Linear(5 * 49, 4)).double().eval()


def problem(samples: int = 5, norm: str = "linf", **changes: Tensor) -> Problem:
    draw = torch.Generator().manual_seed(8)
    images = torch.rand(samples, *SHAPE, generator=draw, dtype=torch.float64)
    pool = torch.rand(11, *SHAPE, generator=draw, dtype=torch.float64)
    return Problem(
        net(), OBJECTIVES.parse("label"), changes.get("images", images), torch.arange(samples) % 4,
        torch.arange(samples) * 7 + 3, SEED, get_norm(norm), fitted=changes.get("pool", pool),
    )  # fmt: skip


def plain(given: Problem, images: Tensor, step: int) -> Seen:
    return given.gradient(images)


def asked(given: Problem, tricks: str, steps: int = 1, first: int = STEP) -> Seen:
    """The last of ``steps`` evaluations at the clean images, moved a little at each."""
    query = plain
    for trick in reversed(parse_tricks(tricks)):
        query = trick.wrap(query, EPS)
    with attackable(given.model):
        for step in range(first, first + steps):
            seen = query(given, given.clean + 0.01 * (step - first), step)
    return seen


def naive(given: Problem, one: Callable[[Tensor, int, int], Tensor]) -> Tensor:
    """Gradient of the loss that ``one(image, id, label)`` gives, sample by sample."""
    gradients = []
    for image, key, label in zip(given.clean, given.sample_id.tolist(), given.label.tolist(), strict=True):
        x = image.clone().requires_grad_()
        gradients.append(torch.autograd.grad(one(x, key, label), x)[0])
    return torch.stack(gradients)


def loss(given: Problem, image: Tensor, label: int) -> Tensor:
    return cross_entropy(given.model(image[None]), torch.tensor([label]))


def drawn(key: int, *name: int | str) -> float:
    return float(uniform(derive(SEED, *name), torch.tensor([key]), ()))


def near(key: int, name: str, number: int, size: float, norm: str = "linf") -> Tensor:
    ids, seed = torch.tensor([key]), derive(SEED, name, number)
    if norm == "linf":
        return size * (2 * uniform(seed, ids, SHAPE)[0].double() - 1)
    direction = normal(seed, ids, SHAPE)[0]
    radius = float(uniform(seed, ids, (1,), stream=2)) ** (1 / direction.numel())
    return size * radius * (direction / direction.norm()).double()


def diversified(image: Tensor, key: int, number: int, resize: float, probability: float) -> Tensor:
    """Resize, pad and resize back, one image ``[C,H,W]``."""
    if drawn(key, "diverse", "change", number) >= probability:
        return image
    sides, new, before, after = image.shape[1:], [], [], []
    for axis, side in zip(("height", "width"), sides, strict=True):
        low, high = sorted((side, round(side * resize)))
        size = low + int(drawn(key, "diverse", "size", number) * (high - low + 1))
        first = int(drawn(key, "diverse", axis, number) * (high - size + 1))
        new, before, after = [*new, size], [*before, first], [*after, high - size - first]
    resized = interpolate(image[None], size=new, mode="bilinear", align_corners=False)
    padded = pad(resized, [before[1], after[1], before[0], after[0]])
    return interpolate(padded, size=list(sides), mode="bilinear", align_corners=False)[0]


@pytest.mark.parametrize("resize", [1.1, 1.4, 2.0, 0.9, 0.5])
@pytest.mark.parametrize("probability", [0.5, 1.0])
@pytest.mark.parametrize("shape", [(3, 9, 9), (1, 12, 7), (2, 32, 32)])
def test_diverse_is_resize_pad_and_resize_for_every_sample(
    resize: float, probability: float, shape: tuple[int, ...]
) -> None:
    images = torch.rand(40, *shape, dtype=torch.float64)
    given = problem(40, images=images)
    changed = Diverse(resize, probability)._change(given, images, STEP)
    expected = torch.stack(
        [
            diversified(image, key, STEP, resize, probability)
            for image, key in zip(images, given.sample_id.tolist(), strict=True)
        ]
    )
    assert float((changed - expected).abs().max()) < 1e-12
    same = (changed == images).flatten(1).all(1)
    assert probability == 1 or 8 <= int(same.sum()) <= 39


def test_diverse_reaches_every_size_and_place() -> None:
    given = problem(2000, images=torch.ones(2000, 1, 20, 20, dtype=torch.float64))
    rows = Diverse(0.8, 1.0).matrices(given, given.clean, STEP, "height").sum(2)  # 1 where the image is, else 0
    found = {(int(row.argmax()), int(row.sum().round())) for row in rows}
    assert found == {(first, size) for size in range(16, 21) for first in range(20 - size + 1)}
    columns = Diverse(0.8, 1.0).matrices(given, given.clean, STEP, "width").sum(2)
    assert bool((rows.sum(1) - columns.sum(1)).abs().max() < 1e-9)  # one size for both axes
    assert not torch.equal(rows, columns)  # but two places


@pytest.mark.parametrize("tricks", ["diverse(resize=1.4, probability=0.7)", "diverse(resize=0.6, probability=1)"])
def test_diverse_gradient(tricks: str) -> None:
    given, trick = problem(), parse_tricks(tricks)[0]
    expected = naive(
        given, lambda x, key, y: loss(given, diversified(x, key, STEP, trick.resize, trick.probability), y)
    )
    assert float((asked(given, tricks).gradient - expected).abs().max()) < 1e-12


@pytest.mark.parametrize("copies", [1, 3, 5])
def test_scale_gradient(copies: int) -> None:
    given = problem()
    expected = naive(given, lambda x, key, y: sum(loss(given, x / 2**i, y) for i in range(copies)) / copies)
    assert float((asked(given, f"scale(copies={copies})").gradient - expected).abs().max()) < 1e-12


@pytest.mark.parametrize("darker", [False, True])
def test_admix_gradient_alone_and_with_scale_inside(darker: bool) -> None:
    given = problem()

    def one(x: Tensor, key: int, y: int) -> Tensor:
        total = torch.zeros((), dtype=torch.float64)
        for copy in range(2):
            other = given.fitted[int(drawn(key, "admix", STEP * 2 + copy) * 11)]
            for i in range(4 if darker else 1):
                total = total + loss(given, (x + 0.3 * other) / 2**i, y) / (8 if darker else 2)
        return total

    tricks = "admix(copies=2, share=0.3)" + (" + scale(copies=4)" if darker else "")
    assert float((asked(given, tricks).gradient - naive(given, one)).abs().max()) < 1e-12
    assert Ascent(tricks=tricks).needs_pool


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_variance_gradient_at_three_steps(norm: str) -> None:
    """At the first step there is no memory; later the term is that of the step before alone."""
    given = problem(norm=norm)
    size = 1.2 * EPS

    def around(step: int, shift: float) -> Tensor:
        return naive(
            given,
            lambda x, key, y: sum(
                loss(given, x + shift + near(key, "variance", step * 4 + copy, size, norm), y) / 4 for copy in range(4)
            ),
        )

    def centre(shift: float) -> Tensor:
        return naive(given, lambda x, key, y: loss(given, x + shift, y))

    tricks = "variance(copies=4, radius=1.2)"
    assert float((asked(given, tricks).gradient - centre(0)).abs().max()) < 1e-12
    for steps in (2, 3):
        last = 0.01 * (steps - 2)
        expected = centre(last + 0.01) + around(STEP + steps - 2, last) - centre(last)
        # l2 draws are float32
        assert float((asked(given, tricks, steps).gradient - expected).abs().max()) < (
            1e-12 if norm == "linf" else 1e-7
        )


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_flat_gradient(norm: str) -> None:
    given = problem(norm=norm)
    root = SHAPE[0] * SHAPE[1] * SHAPE[2]

    def gradient(x: Tensor, y: int) -> Tensor:
        x = x.detach().requires_grad_()
        return torch.autograd.grad(loss(given, x, y), x)[0]

    expected = []
    for image, key, y in zip(given.clean, given.sample_id.tolist(), given.label.tolist(), strict=True):
        total = torch.zeros(SHAPE, dtype=torch.float64)
        for copy in range(3):
            there = image + near(key, "flat", STEP * 3 + copy, 2.5 * EPS, norm)
            first = gradient(there, y)
            back = 0.2 * EPS * first / first.abs().mean() / (1 if norm == "linf" else root**0.5)
            total += (0.7 * first + 0.3 * gradient(there - back, y)) / 3
        expected.append(total)
    found = asked(given, "flat(copies=3, radius=2.5, balance=0.3, reach=0.2)").gradient
    assert float((found - torch.stack(expected)).abs().max()) < (1e-12 if norm == "linf" else 1e-7)


def test_flat_approaches_the_gradient_of_the_penalized_loss() -> None:
    """With a small reach: gradient of loss - balance * (reach in l2) * |gradient|, by double backward."""
    given = problem(norm="l2")
    reach, balance = 1e-5, 0.5
    found = asked(given, f"flat(copies=1, radius=1e-9, balance={balance}, reach={reach})").gradient

    def one(x: Tensor, key: int, y: int) -> Tensor:
        (gradient,) = torch.autograd.grad(loss(given, x, y), x, create_graph=True)
        flat = gradient.detach().flatten()
        length = reach * EPS * flat.norm() / flat.abs().mean() / flat.numel() ** 0.5
        return loss(given, x, y) - balance * length * gradient.flatten().norm()

    penalty = naive(given, one) - naive(given, lambda x, key, y: loss(given, x, y))
    got = found - naive(given, lambda x, key, y: loss(given, x, y))
    # the neighbor at 1e-10 adds nothing that counts beside the penalty
    assert float((got - penalty).abs().max()) < 2e-3 * float(penalty.abs().max())


def test_translation_is_the_mean_over_shifted_gradients() -> None:
    given = problem()
    gradient = naive(given, lambda x, key, y: loss(given, x, y))
    line = torch.exp(-(torch.tensor([-2.0, -1, 0, 1, 2], dtype=torch.float64) ** 2) / 2)
    expected = torch.zeros_like(gradient)
    for i in range(5):
        for j in range(5):
            weight = line[i] * line[j] / line.sum() ** 2
            expected += weight * pad(gradient, [2, 2, 2, 2])[..., i : i + 9, j : j + 9]
    seen = asked(given, "translation(width=5, sigmas=2)")
    assert float((seen.gradient - expected).abs().max()) < 1e-12
    assert seen.fooled is not None
    assert torch.equal(asked(given, "translation(width=1)").gradient, asked(given, "").gradient)


def test_translation_has_the_kernel_of_the_paper() -> None:
    """15 wide, 3 standard deviations to the edge, sum 1: density of the normal distribution on a grid."""
    impulse = torch.zeros(1, 1, 15, 15, dtype=torch.float64)
    impulse[0, 0, 7, 7] = 1
    given = problem()
    found = parse_tricks("translation(width=15)")[0].wrap(lambda *_: Seen(impulse, impulse), EPS)(given, impulse, 0)
    density = torch.distributions.Normal(0.0, 1.0).log_prob(torch.linspace(-3, 3, 15, dtype=torch.float64)).exp()
    kernel = density[:, None] * density[None]
    assert float((found.gradient[0, 0] - kernel / kernel.sum()).abs().max()) < 1e-12
    assert conv2d(impulse, kernel[None, None], padding=7).shape == impulse.shape


@pytest.mark.parametrize("tricks", [*ALL, "admix + scale", "diverse + translation", "variance(copies=2) + diverse"])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_sample_is_free_of_its_batch_and_order(tricks: str, norm: str) -> None:
    given = problem(12, norm)
    whole = asked(given, tricks, steps=2)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(1))
    shuffled = asked(given.take(order), tricks, steps=2)
    assert float((shuffled.gradient - whole.gradient[order]).abs().max()) < 1e-9
    for part in order.split(5):
        found = asked(given.take(part), tricks, steps=2)
        assert float((found.gradient - whole.gradient[part]).abs().max()) < 1e-9
        assert float((found.loss - whole.loss[part]).abs().max()) < 1e-9


@pytest.mark.parametrize("tricks", [*ALL, "admix + scale"])
def test_draws_differ_between_steps_seeds_and_copies_but_not_between_calls(tricks: str) -> None:
    given = problem(12)
    first = asked(given, tricks, steps=2)
    assert first.fooled is None
    assert torch.equal(first.gradient, asked(given, tricks, steps=2).gradient)
    assert bool(first.gradient.isfinite().all())
    if "scale(" not in tricks:
        later, other = asked(given, tricks, 2, STEP + 1), asked(given.restarted(1), tricks, 2)
        assert not torch.allclose(first.gradient, later.gradient)
        assert not torch.allclose(first.gradient, other.gradient)


def test_copies_give_the_tricks_inside_them_other_draws() -> None:
    given = problem()
    numbers: list[int] = []

    def query(there: Problem, images: Tensor, number: int) -> Seen:
        numbers.append(number)
        return there.gradient(images)

    wrapped = query
    for trick in reversed(parse_tricks("admix(copies=2) + scale(copies=3)")):
        wrapped = trick.wrap(wrapped, EPS)
    for step in range(2):
        wrapped(given, given.clean, step)
    assert numbers == list(range(12))


@pytest.mark.parametrize(("tricks", "copies"), [("scale(copies=3)", 3), ("admix(copies=2) + scale(copies=2)", 4)])
def test_the_loss_is_the_mean_over_copies(tricks: str, copies: int) -> None:
    given = problem()
    losses: list[Tensor] = []

    def query(there: Problem, images: Tensor, number: int) -> Seen:
        seen = there.gradient(images)
        losses.append(seen.loss)
        return seen

    for trick in reversed(parse_tricks(tricks)):
        query = trick.wrap(query, EPS)
    assert torch.allclose(query(given, given.clean, STEP).loss, torch.stack(losses[-copies:]).mean(0), atol=1e-12)


def test_both_gradients_of_flat_share_the_draws_of_the_tricks_inside_it() -> None:
    """Else the finite difference would be that of two transformations."""
    given = problem()
    numbers: list[int] = []

    def query(there: Problem, images: Tensor, number: int) -> Seen:
        numbers.append(number)
        return there.gradient(images)

    parse_tricks("flat(copies=2)")[0].wrap(query, EPS)(given, given.clean, STEP)
    assert numbers == [6, 6, 7, 7]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("diverse(probability=1)", "diverse(probability=1, resize=1.5)"),
        ("diverse(probability=1)", "diverse(probability=0.1)"),
        ("scale", "scale(copies=2)"),
        ("admix", "admix(copies=2)"),
        ("admix", "admix(share=0.4)"),
        ("variance(copies=2)", "variance(copies=3)"),
        ("variance(copies=2)", "variance(copies=2, radius=1)"),
        ("flat(copies=2)", "flat(copies=3)"),
        ("flat(copies=2)", "flat(copies=2, radius=1)"),
        ("flat(copies=2)", "flat(copies=2, balance=0.9)"),
        ("flat(copies=2)", "flat(copies=2, reach=0.3)"),
        ("translation", "translation(width=7)"),
        ("translation", "translation(sigmas=1)"),
        ("scale + translation", "translation"),
    ],
)
def test_settings_change_the_gradient(one: str, other: str) -> None:
    found, changed = (asked(problem(), tricks, steps=2).gradient for tricks in (one, other))
    assert not torch.allclose(found, changed, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize(
    ("tricks", "message"),
    [
        ("diverse(resize=1)", r"^trick 'diverse' needs resize above 0 .* not 1, .*; got Diverse\(resize=1\.0, .*\)\.$"),
        ("diverse(resize=0)", "trick 'diverse' needs resize above 0"),
        ("diverse(probability=0)", "probability above 0 and at most 1"),
        ("diverse(probability=1.1)", "probability above 0 and at most 1"),
        ("scale(copies=0)", "trick 'scale' needs copies from 1 to 64; got"),
        ("admix(copies=0)", "trick 'admix' needs copies of at least 1"),
        ("admix(share=0)", "share above 0 and at most 1"),
        ("variance(radius=0)", "trick 'variance' needs copies of at least 1 and radius above 0"),
        ("variance(copies=0)", "trick 'variance' needs"),
        ("flat(balance=1.5)", "balance from 0 to 1"),
        ("flat(reach=0)", "radius and reach above 0"),
        ("translation(width=4)", "trick 'translation' needs an odd width of at least 1"),
        ("translation(sigmas=0)", "sigmas above 0"),
        ("scale + variance", r"'variance' remembers one gradient a step, .* write it first"),
        ("scale +", "a gradient trick must be a name"),
    ],
)
def test_wrong_settings_give_one_sentence(tricks: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Ascent(tricks=tricks)


def test_a_typo_shows_the_closest() -> None:
    with pytest.raises(UnknownNameError, match="unknown gradient trick 'divers'; did you mean 'diverse'"):
        Ascent(tricks="divers")


@pytest.mark.parametrize("pool", [None, torch.zeros(0, *SHAPE), torch.zeros(4, 1, 9, 9)])
def test_admix_without_a_fitting_pool(pool: Tensor | None) -> None:
    with pytest.raises(ConfigError, match=r"trick 'admix' needs a pool of images \['M', 3, 9, 9\], got"):
        asked(problem(pool=pool), "admix")


def test_a_gradient_of_zero_stays_finite() -> None:
    given = problem()
    given.model = lambda images: 0 * images.flatten(1)[:, :4]
    for tricks in ALL:
        assert not bool(asked(given, tricks, 2).gradient.any())


@pytest.mark.parametrize("fuse", ["logits", "probabilities"])
def test_an_ensemble_fuses_as_a_plain_sum_does(fuse: str) -> None:
    models = [net(), net(), net()]
    for place, model in enumerate(models):
        model[-1].weight.data.mul_(1 + 5 * place)
    images = torch.rand(4, *SHAPE, dtype=torch.float64)
    weights = [0.2, 0.0, 0.6]
    parts = [model(images) if fuse == "logits" else model(images).softmax(1) for model in models]
    expected = 0.25 * parts[0] + 0.75 * parts[2]
    found = Ensemble(models, weights, fuse)(images)
    assert float((found - (expected if fuse == "logits" else expected.log())).detach().abs().max()) < 1e-12
    assert torch.equal(Ensemble(models, fuse=fuse)(images), Ensemble(models, [2, 2, 2], fuse)(images))
    assert bool(torch.autograd.grad(found.sum(), models[2][-1].weight)[0].isfinite().all())


def test_an_ensemble_is_a_surrogate_that_is_frozen_and_restored() -> None:
    models = [net().float().train(), net().float()]
    images, labels = torch.rand(6, *SHAPE), torch.arange(6) % 4
    before = cross_entropy(Ensemble(models)(images), labels)
    found = Ascent(rule="momentum", tricks="scale(copies=2)")(Ensemble(models), images, labels, [0.1])[0]
    assert cross_entropy(Ensemble(models)(found), labels) > before
    assert models[0].training
    assert all(parameter.requires_grad and parameter.grad is None for parameter in models[0].parameters())
    with pytest.raises(ConfigError, match=r"needs a surrogate with a module 'classifier'.* Ensemble has none"):
        Ascent(objective="feature")(Ensemble(models), images, labels, [0.1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"models": []}, "at least one model, got none"),
        ({"weights": [1.0]}, r"of 2 models needs as many weights of 0 or more, not all 0, got \[1\.0\]"),
        ({"weights": [1.0, -1.0]}, "needs as many weights"),
        ({"weights": [0.0, 0.0]}, "needs as many weights"),
        ({"weights": [1.0, float("nan")]}, "needs as many weights"),
        ({"fuse": "loss"}, "fuse of an ensemble must be 'logits' or 'probabilities', got 'loss'"),
    ],
)
def test_wrong_arguments_of_an_ensemble(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Ensemble(**({"models": [net(), net()]} | arguments))


def test_an_ensemble_of_models_with_other_classes() -> None:
    other = net()
    other[-1] = nn.Linear(5 * 49, 7).double()
    with pytest.raises(ConfigError, match=r"must have the same classes, got \[4, 7\]"):
        Ensemble([net(), other])(torch.rand(2, *SHAPE, dtype=torch.float64))
