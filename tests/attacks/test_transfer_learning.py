"""Attacks made for transfer learning: they need the public model alone, and no label that it shares with the victim."""

from collections.abc import Callable
from functools import lru_cache
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, relu

from tl_robust import attacks
from tl_robust.attacks import Problem, evaluate
from tl_robust.attacks.norms import get_norm
from tl_robust.attacks.objectives.base import OBJECTIVES
from tl_robust.attacks.objectives.feature import features
from tl_robust.attacks.problem import attackable
from tl_robust.errors import ConfigError
from tl_robust.models.base import build
from tl_robust.models.module import NetworkModule
from tl_robust.registry import Component
from tl_robust.seeding import derive, generator, uniform

NORMS = pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
EPS = {"linf": [4 / 255, 16 / 255], "l2": [0.2, 0.8], "l1": [1.0, 4.0]}
FOUR = ["mimicry", "activation", "universal", "pap"]
QUICK: dict[str, dict[str, Any]] = {"mimicry": {"steps": 5}, "activation": {"steps": 5}}


class Net(nn.Module):
    """Its first block is a list of modules that the forward pass never calls as a whole."""

    def __init__(self, seed: int = 1, classes: int = 5) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.conv, self.norm = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.norm.running_mean.uniform_(-0.5, 0.5)  # else the norm would change next to nothing
        self.norm.running_var.uniform_(0.5, 2)
        self.second = nn.Sequential(nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(128, 12), nn.ReLU())
        self.classifier = nn.Linear(12, classes)

    @property
    def blocks(self) -> list[nn.Module]:
        return [nn.Sequential(self.conv, self.norm), self.second]

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(self.second(self.norm(self.conv(images))))


def data(samples: int = 12, seed: int = 5) -> Tensor:
    return torch.rand(samples, 3, 8, 8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@lru_cache
def trained() -> tuple[Net, Tensor, Tensor]:
    """A net that tells five blurry patterns apart, and images and labels of its task."""
    draw = torch.Generator().manual_seed(2)
    pattern = nn.functional.interpolate(torch.randn(5, 3, 3, 3, generator=draw), (8, 8), mode="bilinear")
    labels = torch.randint(5, (600,), generator=draw)
    images = (0.5 + 0.08 * pattern[labels] + 0.08 * torch.randn(600, 3, 8, 8, generator=draw)).clamp(0, 1)
    net = Net().train()
    adam = torch.optim.Adam(net.parameters(), 5e-3)
    for _ in range(12):
        for part in torch.randperm(400, generator=draw).split(50):
            adam.zero_grad()
            cross_entropy(net(images[part]), labels[part]).backward()
            adam.step()
    return net.eval(), images, labels


def problem(net: nn.Module, objective: str, clean: Tensor, fitted: Any = None, seed: int = 3) -> Problem:
    label = net(clean).argmax(1)
    return Problem(
        net, OBJECTIVES.parse(objective), clean, label, torch.arange(len(clean)), seed, get_norm("linf"), False, fitted
    )


def naive_gradient(loss: Callable[[Tensor, int], Tensor], points: Tensor) -> Tensor:
    """One image after the other."""
    found = []
    for place in range(len(points)):
        point = points[place : place + 1].clone().requires_grad_()
        found.append(torch.autograd.grad(loss(point, place), point)[0])
    return torch.cat(found)


# the objectives


def last_features(net: Net, images: Tensor) -> Tensor:
    return net.second(net.norm(net.conv(images)))


@pytest.mark.parametrize("block", [0, 1, 2])
def test_mimicry_and_feature_have_the_gradient_of_the_squared_distance(block: int) -> None:
    net, clean, pool = Net().double().eval(), data(), data(1, 9)
    points = (clean + 0.05 * (data(seed=7) - 0.5)).clamp(0, 1)

    def layer(images: Tensor) -> Tensor:
        return net.norm(net.conv(images)) if block == 1 else last_features(net, images)

    with attackable(net):
        wanted = layer(pool)
        to_target = problem(net, f"mimicry(block={block})", clean, pool).gradient(points)
        expected = naive_gradient(lambda point, place: -(layer(point) - wanted).square().sum(), points)
        assert torch.allclose(to_target.gradient, expected, rtol=1e-9, atol=1e-12)
        assert torch.allclose(
            to_target.loss, -(layer(points) - wanted).square().flatten(1).sum(1), rtol=1e-9, atol=1e-12
        )
        away = problem(net, f"feature(block={block})", clean).gradient(points).gradient
        own = layer(clean)
        expected = naive_gradient(lambda point, place: (layer(point) - own[place]).square().sum(), points)
        assert torch.allclose(away, expected, rtol=1e-9, atol=1e-12)
    assert float(away.abs().max()) > 1e-4


@pytest.mark.parametrize("value", [2.0, 50.0])
def test_activation_has_the_direction_of_the_papers_loss(value: float) -> None:
    """Minus |f - K e|^2 over 2 K; the neuron of a sample is drawn among those that are not at rest."""
    net, clean = Net().double().eval(), data(40)
    with attackable(net):
        batch = problem(net, f"activation(value={value})", clean)
        before = last_features(net, clean)
        neuron = batch.reference
        draws = uniform(derive(3, "neuron"), torch.arange(40), (12,))
        for place in range(40):
            awake = [one for one in range(12) if before[place, one] != 0]
            assert 0 < len(awake) < 12
            assert int(neuron[place]) == max(awake, key=lambda one: float(draws[place, one]))

        def loss(point: Tensor, place: int) -> Tensor:
            wanted = torch.zeros(12, dtype=torch.float64)
            wanted[neuron[place]] = value
            return -(last_features(net, point)[0] - wanted).square().sum() / (2 * value)

        assert torch.allclose(batch.gradient(clean).gradient, naive_gradient(loss, clean), rtol=1e-9, atol=1e-12)
        assert (batch.restarted(1).reference != neuron).any()


@pytest.mark.parametrize("block", [1, 2])
def test_lifting_has_the_gradient_of_the_squared_norm_of_a_block(block: int) -> None:
    net, clean = Net().double().eval(), data()

    def layer(images: Tensor) -> Tensor:
        return net.norm(net.conv(images)) if block == 1 else last_features(net, images)

    with attackable(net):
        expected = naive_gradient(lambda point, place: (layer(point) ** 2).sum(), clean)
        for model in (net, NetworkModule(net)):
            found = problem(model, f"lifting(block={block})", clean).gradient(clean)
            assert torch.allclose(found.gradient, expected, rtol=1e-9, atol=1e-12)
    assert not any(module._forward_hooks for module in net.modules())


@pytest.mark.parametrize("name", ["dtn", "cnn6", "resnet18"])
def test_every_block_of_our_networks_can_be_read(name: str) -> None:
    net = build(Component(name, 1, (("width", 0.125),) if name == "dtn" else ()), (3, 32, 32), 4).eval()
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        outputs = [features(net, images, block + 1, "lifting")[1] for block in range(len(net.blocks))]
        last = features(net, images, 0, "lifting")[1]
    assert all(one.shape != other.shape or not torch.equal(one, other) for one, other in pairwise(outputs))
    if name == "cnn6":
        assert torch.equal(outputs[0], net.features[0](net.normalize(images)).flatten(1))
    if name != "resnet18":  # there a pool lies between the last stage and the features
        assert torch.allclose(outputs[-1], last)


def test_a_target_is_of_another_class_and_free_of_batch_and_order() -> None:
    net, images, _ = trained()
    clean, pool = images[400:460], images[:200]
    with torch.no_grad():
        predicted, of_pool, wanted = net(clean).argmax(1), net(pool).argmax(1), last_features(net, pool)
        whole = problem(net, "mimicry", clean, pool)
        found = whole.reference
        distance = torch.cdist(found, wanted, compute_mode="donot_use_mm_for_euclid_dist")
        chosen = distance.argmin(1)
        assert float(distance.amin(1).max()) < 1e-4
        assert (of_pool[chosen] != predicted).all()
        assert len(set(chosen.tolist())) > 30
        order = torch.randperm(60, generator=torch.Generator().manual_seed(1))
        for part in order.split(7):
            assert torch.allclose(problem(net, "mimicry", clean, pool).take(part).reference, found[part], atol=1e-5)
        assert (torch.cdist(whole.restarted(1).reference, wanted).argmin(1) != chosen).any()
        only = problem(net, "mimicry", clean, pool[of_pool == 0]).reference  # nothing better for class 0
    assert len(only) == 60


# mimicry and activation


@NORMS
def test_mimicry_comes_near_its_target_and_nearer_than_one_step(norm: str) -> None:
    net, images, _ = trained()
    clean, target, size = images[400:440], images[3:4], EPS[norm][1:]
    with torch.no_grad():
        wanted = last_features(net, target)

    def distance(batch: Tensor) -> float:
        with torch.no_grad():
            return float((last_features(net, batch) - wanted).norm(dim=1).mean())

    found = attacks.get("mimicry", norm=norm)(net, clean, None, size, fitted=target)[0]
    steps = [
        attacks.get("fgsm", norm=norm)(net, clean, None, size)[0],
        attacks.get("fgsm", norm=norm, objective="mimicry")(net, clean, None, size, fitted=target)[0],
    ]
    assert distance(found) < 0.85 * distance(clean)
    assert distance(found) < min(map(distance, steps))


@NORMS
def test_activation_lifts_the_drawn_neuron_of_nearly_every_image(norm: str) -> None:
    net, images, _ = trained()
    clean = images[400:440]
    found = attacks.get("activation", norm=norm)(net, clean, None, EPS[norm], seed=3)
    with torch.no_grad():
        batch = problem(net, "activation", clean)
        own = last_features(net, clean)
        rise = [(last_features(net, one) - own).gather(1, batch.reference[:, None]).squeeze(1) for one in found]
        noise = clean + EPS[norm][1] * get_norm(norm).random(3, torch.arange(40), clean)
        by_noise = (last_features(net, noise) - own).gather(1, batch.reference[:, None])
    assert float((rise[0] > 0).double().mean()) >= 0.95  # the random start may put a neuron to rest
    assert float((rise[1] > rise[0]).double().mean()) >= 0.95
    assert float(rise[1].mean()) > 3 * float(by_noise.abs().mean())


def test_more_restarts_fool_more() -> None:
    net, images, labels = trained()
    batch, pool = slice(400, 600), (images[:200], labels[:200])
    for name in ("mimicry", "activation"):
        harm = []
        for restarts in (1, 4):
            attack = attacks.get(name, steps=8, restarts=restarts)
            outcome = evaluate(
                attack, surrogate=net, victims={"a": net}, images=images[batch], labels=labels[batch], eps=[10 / 255],
                early=False, pool=pool,
            )["a"]  # fmt: skip
            harm.append(float((outcome.adv_b != outcome.label).double().mean()))
        assert harm[1] > harm[0]


# one perturbation for all


def naive_l1(delta: Tensor, gradient: Tensor, mean: Tensor, left: float, eps: float) -> Tensor:
    """Value after value goes as far as the mean image allows, the steepest first; then all shrink by the same."""
    moved, slopes, values = delta.flatten().clone(), gradient.flatten().tolist(), mean.flatten().tolist()
    for place in sorted(range(len(slopes)), key=lambda one: -abs(slopes[one])):
        up = slopes[place] > 0
        taken = min(left, 1 - values[place] if up else values[place])
        moved[place] += taken if up else -taken
        left -= taken
    low, high = 0.0, float(moved.abs().max()) if float(moved.abs().sum()) > eps else 0.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if float((moved.abs() - middle).clamp(min=0).sum()) > eps else (low, middle)
    return (moved.sign() * (moved.abs() - high).clamp(min=0)).view_as(delta)


def naive_universal(
    net: Net, pool: Tensor, eps: float, norm: str, loss: Callable[[Tensor, Tensor], Tensor], epochs: int, size: int
) -> Tensor:
    """Steps of a fifth of eps along the mean gradient, written from the definition."""
    label = net(pool).argmax(1)
    delta = eps * get_norm(norm).random(derive(4, "universal"), torch.tensor([0]), pool[:1])[0]
    for epoch in range(epochs):
        order = torch.randperm(len(pool), generator=generator(4, "universal", epoch)).tolist()
        for begin in range(0, len(order), size):
            gradient = torch.zeros_like(delta)
            for place in order[begin : begin + size]:
                moved = delta.clone().requires_grad_()
                image = torch.clamp(pool[place] + moved, 0, 1)[None]
                gradient += torch.autograd.grad(loss(image, label[place : place + 1]), moved)[0]
            if norm == "linf":
                delta = (delta + 0.2 * eps * gradient.sign()).clamp(-eps, eps)
            elif norm == "l2":
                delta = delta + 0.2 * eps * gradient / gradient.norm()
                delta = delta * min(1.0, eps / float(delta.norm()))
            else:
                mean = (pool[order[begin : begin + size]] + delta).clamp(0, 1).mean(0)
                delta = naive_l1(delta, gradient, mean, 0.2 * eps, eps)
    return delta


@NORMS
@pytest.mark.parametrize("name", ["universal", "pap"])
def test_it_equals_a_plain_loop(name: str, norm: str) -> None:
    net, pool = Net().double().eval(), data(11)

    def loss(image: Tensor, label: Tensor) -> Tensor:
        if name == "universal":
            return cross_entropy(net(image), label)
        return net.norm(net.conv(image)).square().sum()

    attack = attacks.get(name, norm=norm, epochs=2, batch_size=4, step_size=0.2)
    found = attack.fitted(net, pool, None, EPS[norm], seed=4)
    for size in EPS[norm]:
        expected = naive_universal(net, pool, size, norm, loss, 2, 4)
        assert torch.allclose(found[size], expected, rtol=0, atol=1e-9)


@NORMS
@pytest.mark.parametrize("name", ["universal", "pap"])
def test_all_images_get_the_same_perturbation_within_eps(name: str, norm: str) -> None:
    net, pool = Net().double().eval(), data(20)
    attack = attacks.get(name, norm=norm, epochs=2)
    learned = attack.fitted(net, pool, None, [*EPS[norm], 0.0])
    assert list(learned) == EPS[norm]
    clean = data(6, 8) * 0.2 + 0.4
    for size, found in zip(EPS[norm], attack(net, clean, None, EPS[norm], fitted=learned), strict=True):
        assert torch.equal(found, (clean + learned[size]).clamp(0, 1))
        used = float(get_norm(norm).size(learned[size][None]))
        assert 0.95 * size < used <= size * (1 + 1e-9)
    alone = attack.fitted(net, pool, None, EPS[norm][1:])
    assert torch.equal(alone[EPS[norm][1]], learned[EPS[norm][1]])


@pytest.mark.parametrize("name", FOUR)
@NORMS
def test_what_was_learned_once_serves_any_batch_and_order(name: str, norm: str) -> None:
    net, clean = Net().double().eval(), data(15)
    attack = attacks.get(name, norm=norm, **QUICK.get(name, {}))
    fitted = attack.fitted(net, data(20, 6), None, EPS[norm], seed=4) if attack.needs_pool else None
    ids = torch.arange(15) * 7
    whole = attack(net, clean, None, EPS[norm], sample_id=ids, seed=4, fitted=fitted)
    order = torch.randperm(15, generator=torch.Generator().manual_seed(1))
    for part in order.split(4):
        found = attack(net, clean[part], None, EPS[norm], sample_id=ids[part], seed=4, fitted=fitted)
        assert torch.allclose(found, whole[:, part], atol=1e-9)
    again = attack.fitted(net, data(20, 6), None, EPS[norm], seed=5) if attack.needs_pool else None
    assert not torch.equal(attack(net, clean, None, EPS[norm], sample_id=ids, seed=5, fitted=again), whole)


@NORMS
@pytest.mark.parametrize("objective", ["label", "feature", "margin"])
def test_it_fools_more_than_noise_of_its_size_on_images_it_never_saw(norm: str, objective: str) -> None:
    net, images, labels = trained()
    size = {"linf": 20 / 255, "l2": 0.9, "l1": 8.0}[norm]
    attack = attacks.get("universal", norm=norm, objective=objective)
    fitted = attack.fitted(net, images[:200], labels[:200], [size])
    found = attack(net, images[400:], labels[400:], [size], fitted=fitted)[0]
    # noise of the very same values, and so of the same norm, in other places
    places = torch.randperm(192, generator=torch.Generator().manual_seed(6))
    noise = (images[400:] + fitted[size].flatten()[places].view(3, 8, 8)).clamp(0, 1)

    def wrong(batch: Tensor) -> float:
        with torch.no_grad():
            return float((net(batch).argmax(1) != labels[400:]).double().mean())

    assert wrong(images[400:]) < 0.05
    assert wrong(found) > wrong(noise) + 0.15


def test_pap_lifts_the_activations_of_images_it_never_saw() -> None:
    net, images, _ = trained()
    attack = attacks.get("pap")
    assert attack.objective == "lifting"
    fitted = attack.fitted(net, images[:200], None, [16 / 255])

    def height(batch: Tensor) -> float:
        with torch.no_grad():
            return float(net.norm(net.conv(batch)).square().flatten(1).sum(1).mean())

    by_pap = height(attack(net, images[400:], None, [16 / 255], fitted=fitted)[0])
    by_noise = height(images[400:] + 16 / 255 * get_norm("linf").random(1, torch.arange(200), images[400:]).sign())
    assert by_pap > 1.2 * max(by_noise, height(images[400:]))


# other labels


@pytest.mark.parametrize("name", FOUR)
def test_a_victim_with_other_classes_needs_no_common_label(name: str) -> None:
    """B has A's hidden layers and a last layer with three classes of its own; B's labels do not change the images."""
    net, images, labels = trained()
    victim = Net(2, 3).eval()
    victim.load_state_dict(
        {**net.state_dict(), **{f"classifier.{k}": v for k, v in victim.classifier.state_dict().items()}}
    )
    attack = attacks.get(name, **QUICK.get(name, {}))
    found = [
        evaluate(
            attack, surrogate=net, victims={"b": victim}, images=images[400:480], labels=given, eps=[0.0, 40 / 255],
            same_labels=False, batch_size=30, pool=(images[:100], labels[:100]),
        )["b"]
        for given in (labels[400:480] % 3, (labels[400:480] + 1) % 3)
    ]  # fmt: skip
    assert torch.equal(found[0].adv_b, found[1].adv_b)
    assert torch.equal(found[0].adv_b[0], found[0].clean_b)
    assert float((found[0].adv_b[1] != found[0].clean_b).double().mean()) > 0.1
    assert found[0].valid.all()


# what is refused


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("universal", {"epochs": 0}, r"^epochs of attack 'universal' must be at least 1, got 0\.$"),
        ("pap", {"batch_size": 0}, r"^batch_size of attack 'pap' must be at least 1, got 0\.$"),
        ("universal", {"step_size": 0.0}, r"^step_size of attack 'universal' must be above 0 .*, got 0\.0\.$"),
        ("universal", {"objective": "mimicry"}, r"must be one without a target for each image, got mimicry\.$"),
        ("pap", {"objective": "lifting(block=0)"}, r"^block of objective 'lifting' must be 1 and more .*, got 0\.$"),
        ("pgd", {"objective": "mimicry(block=-1)"}, r"^block of objective 'mimicry' must be 0 .*, got -1\.$"),
        ("pgd", {"objective": "feature(block=-1)"}, r"^block of objective 'feature' must be 0 .*, got -1\.$"),
        ("activation", {"objective": "activation(value=0)"}, r"^value of objective 'activation' must be above 0"),
    ],
)
def test_wrong_settings_are_one_sentence(name: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        attacks.get(name, **settings)


class Silent(Net):
    """Its blocks and last layer are never called."""

    def forward(self, images: Tensor) -> Tensor:
        return relu(images.flatten(1) @ torch.ones(192, 5, dtype=images.dtype))


@pytest.mark.parametrize(
    ("surrogate", "name", "settings", "message"),
    [
        (nn.Flatten(), "activation", {}, r"^objective 'activation' needs .*'classifier'.*; Flatten has none: [^.]*\.$"),
        (nn.Flatten(), "mimicry", {}, r"^objective 'mimicry' needs .*'classifier'.*; Flatten has none: [^.]*\.$"),
        (NetworkModule(nn.Flatten()), "pap", {}, r"^objective 'lifting' needs .*'blocks'.*; Flatten has none[^.]*\.$"),
        (lambda images: images.flatten(1), "pap", {}, r"^objective 'lifting' needs .*; function has none"),
        (Net().double(), "pap", {"objective": "lifting(block=3)"}, r"asks for block 3, but Net has 2: .* 1 to 2\.$"),
        (Silent(), "pap", {}, r"^block 1 of objective 'lifting': Silent runs none of its modules in a forward pass"),
        (Silent(), "mimicry", {}, r"^objective 'mimicry' saw no features: Silent never calls"),
    ],
)  # fmt: skip
def test_surrogates_without_the_layer_are_one_sentence(surrogate: Any, name: str, settings: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        attacks.get(name, **settings)(surrogate, data(4), None, [0.1])


def test_a_pool_that_does_not_fit_is_one_sentence() -> None:
    net, clean = Net().double(), data(4)
    with pytest.raises(ConfigError, match=r"^objective 'mimicry' needs a pool .*\[3, 8, 8\].*got \[2, 3, 9, 9\]: use"):
        attacks.get("mimicry")(net, clean, None, [0.1], fitted=torch.rand(2, 3, 9, 9).double())
    attack = attacks.get("universal", epochs=1)
    learned = attack.fitted(net, clean, None, [0.1])
    with pytest.raises(ConfigError, match=r"no perturbation of eps 0\.2 for .*, but 0\.1 \[3, 8, 8\]: call fitted"):
        attack(net, clean, None, [0.2], fitted=learned)
    with pytest.raises(ConfigError, match=r"no perturbation of eps 0\.1 for .*, but none"):
        attack(net, clean, None, [0.1], fitted=clean)
    with pytest.raises(ConfigError, match=r"learns from a pool of images, got none: give at least one\.$"):
        attack.fitted(net, clean[:0], None, [0.1])


def test_a_surrogate_without_gradients_is_noted() -> None:
    attack = attacks.get("universal", epochs=1)
    crafted = attack.craft(lambda images: (images * 0).flatten(1)[:, :3], data(4), None, [0.1])
    assert crafted.notes.zero.all()
    assert not attack.craft(Net().double(), data(4), None, [0.1]).notes.zero.any()
