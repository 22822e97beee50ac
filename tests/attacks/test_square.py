"""The Square attack against the paper's algorithms written out for one sample at a time."""

import math
from functools import lru_cache

import pytest
import torch
from torch import Tensor, nn

from tl_robust import attacks
from tl_robust.errors import ConfigError
from tl_robust.seeding import derive, uniform

NORMS = pytest.mark.parametrize(("norm", "eps"), [("linf", 0.02), ("l2", 0.5)])
SEED = 9


@lru_cache
def net() -> nn.Module:
    torch.manual_seed(3)
    module = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.Tanh(), nn.Flatten(), nn.Linear(6 * 110, 5)).double()
    with torch.no_grad():
        module[-1].weight.mul_(4)
    return module


def data(samples: int = 6) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(5)
    images = torch.rand(samples, 3, 11, 10, generator=draw, dtype=torch.float64).mul(1.4).sub(0.2).clamp(0, 1)
    return images, net()(images).argmax(1)


def drawn(sample: int, query: int, *shape: int) -> Tensor:
    return uniform(derive(SEED, "square", query), torch.tensor([sample]), shape)[0].double()


def margin_of(image: Tensor, label: int) -> float:
    logits = net()(image[None])[0].tolist()
    return max(value for place, value in enumerate(logits) if place != label) - logits[label]


def share_of_pixels(query: int, queries: int) -> float:
    """Section 3.2: halved at these queries of 10,000."""
    place, share = int(query / queries * 10000), 0.8
    for end in (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000):
        if place > end:
            share /= 2
    return share


def bump(rows: int, columns: int) -> Tensor:
    """Equation 2: every pixel gets 1 / (k + 1)^2 from each rectangle around it."""
    result = torch.zeros(rows, columns, dtype=torch.float64)
    center = rows // 2, columns // 2
    for row in range(rows):
        for column in range(columns):
            away = max(abs(row - center[0]), abs(column - center[1]))
            for k in range(away, max(center) + 1):
                result[row, column] += 1 / (k + 1) ** 2
    return result / result.square().sum().sqrt()


def pattern(side: int, turned: bool) -> Tensor:
    top = side // 2
    parts = ([bump(top, side)] if top else []) + [-bump(side - top, side)]
    result = torch.cat(parts)
    result = result / result.square().sum().sqrt()
    return result.T if turned else result


def naive_linf(clean: Tensor, sample: int, eps: float, label: int, queries: int) -> tuple[Tensor, int]:
    channels, height, width = clean.shape
    image = (clean + eps * torch.where(drawn(sample, 0, channels, 1, width) < 0.5, -1.0, 1.0).double()).clamp(0, 1)
    best, repaints = margin_of(image, label), 0
    for query in range(1, queries):
        side = max(round(math.sqrt(share_of_pixels(query, queries) * height * width)), 1)
        draw = drawn(sample, query, channels + 3).tolist()
        top, left = int(draw[0] * (height - side + 1)), int(draw[1] * (width - side + 1))
        square = slice(top, top + side), slice(left, left + side)
        signs = [-1 if value < 0.5 else 1 for value in draw[3:]]
        new = image.clone()
        for channel, sign in enumerate(signs):
            new[channel, *square] = (clean[channel, *square] + sign * eps).clamp(0, 1)
        if torch.equal(new, image):
            repaints += 1
            turn = 1 + int(draw[2] * (2**channels - 1))
            for channel, sign in enumerate(signs):
                sign = -sign if turn >> channel & 1 else sign
                new[channel, *square] = (clean[channel, *square] + sign * eps).clamp(0, 1)
        found = margin_of(new, label)
        if found > best:
            image, best = new, found
    return image, repaints


def naive_l2(clean: Tensor, sample: int, eps: float, label: int, queries: int) -> tuple[Tensor, int]:
    channels, height, width = clean.shape
    side = min(height, width) // 5
    down, across = height // side, width // side
    draw = drawn(sample, 0, channels + 1, down, across)
    delta = torch.zeros_like(clean)
    for row in range(down):
        for column in range(across):
            top, left = (height - down * side) // 2 + row * side, (width - across * side) // 2 + column * side
            for channel in range(channels):
                sign = -1 if draw[channel, row, column] < 0.5 else 1
                tile = sign * pattern(side, bool(draw[-1, row, column] < 0.5))
                delta[channel, top : top + side, left : left + side] = tile
    image = (clean + eps * delta / delta.norm()).clamp(0, 1)
    best, taken = margin_of(image, label), 0
    for query in range(1, queries):
        side = max(round(math.sqrt(share_of_pixels(query, queries) * height * width)), 3)
        side += side % 2 == 0
        side = min(side, 9)  # the largest odd side that fits
        draw = drawn(sample, query, channels + 5).tolist()
        top, left, top_2, left_2 = (
            int(draw[place] * (length - side + 1)) for place, length in enumerate((height, width, height, width))
        )
        square = slice(top, top + side), slice(left, left + side)
        source = slice(top_2, top_2 + side), slice(left_2, left_2 + side)
        delta = image - clean
        unused = max(eps**2 - float(delta.norm()) ** 2, 0) / channels
        new = delta.clone()
        for channel in range(channels):
            both = torch.zeros(height, width, dtype=torch.float64)
            both[square] = both[source] = 1
            mass = math.sqrt(unused + float((delta[channel] * both).square().sum()))
            old = delta[channel][square] / (float(delta[channel][square].norm()) + 1e-10)
            change = old + pattern(side, draw[4] < 0.5) * (-1 if draw[5 + channel] < 0.5 else 1)
            new[channel][source] = 0
            new[channel][square] = change / change.norm() * mass
        new = (clean + eps * new / new.norm()).clamp(0, 1)
        found = margin_of(new, label)
        if found > best:
            image, best, taken = new, found, taken + 1
    return image, taken


@NORMS
def test_it_equals_the_algorithms_sample_by_sample(norm: str, eps: float) -> None:
    images, labels = data()
    ids = torch.arange(len(images)) * 7 + 3
    found = attacks.get("square", norm=norm, queries=90)(net(), images, labels, [eps], sample_id=ids, seed=SEED)[0]
    counts = 0
    for place, sample in enumerate(ids.tolist()):
        naive = naive_linf if norm == "linf" else naive_l2
        expected, count = naive(images[place], sample, eps, int(labels[place]), 90)
        assert float((found[place] - expected).abs().max()) < 1e-9
        counts += count
    assert counts > 0  # repainted (linf), taken (l2)


@NORMS
def test_it_needs_no_gradient_and_asks_as_often_as_it_says(norm: str, eps: float) -> None:
    images, labels = data()
    asked: list[int] = []

    def model(x: Tensor) -> Tensor:
        assert not x.requires_grad
        asked.append(len(x))
        return net()(x)

    found = attacks.get("square", norm=norm, queries=20, restarts=2)(model, images, labels, [2 * eps])[0]
    assert bool((net()(found).argmax(1) != labels).any())
    assert len(asked) == 2 * (20 + 1)  # and a comparison after each restart
    assert set(asked) == {len(images)}  # in transfer nothing stops early


@NORMS
def test_early_stops_each_sample_and_never_leaves_more_right_at_a_larger_eps(norm: str, eps: float) -> None:
    images, labels = data(20)
    labels[0] = (labels[0] + 1) % 5  # wrong from the outset: left alone
    sizes = [eps * share for share in (0.2, 0.5, 1, 2, 4)]
    asked = 0

    def model(x: Tensor) -> Tensor:
        nonlocal asked
        asked += len(x)
        return net()(x)

    attack = attacks.get("square", norm=norm, queries=60)
    found = attack(model, images, labels, sizes, early=True)
    right = torch.stack([net()(x).argmax(1) == labels for x in found])
    assert bool((right[1:] <= right[:-1]).all())
    assert 0 < int(right[-1].sum()) < int(right[0].sum()) or int(right[-1].sum()) == 0 < int(right[0].sum())
    assert torch.equal(found[:, 0], images[:1].expand(5, -1, -1, -1))
    for place in range(1, 5):
        fallen = ~right[place - 1]
        assert torch.equal(found[place][fallen], found[place - 1][fallen])
    assert asked < 5 * 62 * 20 * 0.8
    alone = attack(net(), images, labels, sizes[-1:], early=True)[0]
    assert int(right[-1].sum()) <= int((net()(alone).argmax(1) == labels).sum())


@NORMS
def test_restarts_and_queries_never_lower_the_margin(norm: str, eps: float) -> None:
    images, labels = data()

    def margins(**settings: int) -> Tensor:
        logits = net()(attacks.get("square", norm=norm, **settings)(net(), images, labels, [eps])[0])
        others = logits.scatter(1, labels[:, None], -torch.inf).amax(1)
        return (others - logits.gather(1, labels[:, None]).squeeze(1)).detach()

    one, three = margins(queries=40), margins(queries=40, restarts=3)
    assert bool((three >= one).all())
    assert bool((three > one).any())
    assert float(margins(queries=300).mean()) > float(margins(queries=1).mean()) + 0.1


@pytest.mark.parametrize("shape", [(1, 3, 3), (1, 1, 1), (1, 4, 9), (4, 28, 28)])
@NORMS
def test_images_of_any_shape(norm: str, eps: float, shape: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    images = torch.rand(3, *shape)
    model = nn.Sequential(nn.Flatten(), nn.Linear(images[0].numel(), 3))
    found = attacks.get("square", norm=norm, queries=30)(model, images, torch.tensor([0, 1, 2]), [eps])[0]
    delta = (found - images).flatten(1)
    assert bool(found.isfinite().all())
    assert float((delta.abs().amax(1) if norm == "linf" else delta.norm(dim=1)).max()) <= eps * (1 + 1e-5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"norm": "l1"}, "norm of attack 'square' must be linf or l2, got l1"),
        ({"objective": "label"}, "objective of attack 'square' must be margin, which alone it compares, got label"),
        ({"queries": 0}, "queries of attack 'square' must be at least 1, got 0"),
        ({"p_init": 0.0}, "p_init of attack 'square' must be above 0 and at most 1"),
        ({"p_init": 1.5}, "p_init of attack 'square' must be above 0 and at most 1"),
        ({"restarts": 0}, "restarts of attack 'square' must be at least 1, got 0"),
    ],
)
def test_bad_settings(settings: dict[str, float | str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        attacks.get("square", **settings)
