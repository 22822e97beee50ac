"""The geometry of the two norms, against brute force."""

import math

import pytest
import torch
from scipy.stats import kstest
from torch import Tensor

from tl_robust.attacks.norms import NORMS, check_eps, get_norm, pixel_eps
from tl_robust.errors import ConfigError, UnknownNameError

BOTH = pytest.mark.parametrize("norm", list(NORMS))


def length(delta: Tensor, norm: str) -> Tensor:
    flat = delta.flatten(1)
    return flat.abs().amax(1) if norm == "linf" else flat.square().sum(1).sqrt()


def test_sizes_worked_out_by_hand() -> None:
    delta = torch.tensor([[[[3.0, -4.0]]], [[[0.0, 0.0]]], [[[-1.0, 1.0]]]])
    assert get_norm("linf").size(delta).tolist() == [4, 0, 1]
    assert get_norm("l2").size(delta).tolist() == [5, 0, pytest.approx(2**0.5)]


@BOTH
def test_nothing_of_norm_1_has_a_larger_inner_product_than_the_steepest(norm: str) -> None:
    torch.manual_seed(1)
    gradient = torch.randn(6, 1, 1, 3, dtype=torch.float64)
    steepest = get_norm(norm).steepest(gradient)
    assert torch.allclose(length(steepest, norm), torch.ones(6, dtype=torch.float64))
    reached = (gradient * steepest).flatten(1).sum(1)
    others = torch.randn(20000, 1, 1, 3, dtype=torch.float64)
    others = others / length(others, norm).view(-1, 1, 1, 1)
    best = (gradient.flatten(1) @ others.flatten(1).T).amax(1)
    assert bool((reached >= best).all())
    assert bool((best > 0.95 * reached).all())  # the search comes close, so it could have found more


def test_steepest_worked_out_by_hand() -> None:
    gradient = torch.tensor([[3.0, -4.0, 0.0]])
    assert get_norm("linf").steepest(gradient).tolist() == [[1, -1, 0]]
    assert torch.allclose(get_norm("l2").steepest(gradient), torch.tensor([[0.6, -0.8, 0.0]]))


@BOTH
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_steepest_of_a_zero_gradient_is_zero(norm: str, dtype: torch.dtype) -> None:
    gradient = torch.zeros(2, 3, dtype=dtype)
    gradient[1, 1] = -2
    assert get_norm(norm).steepest(gradient).tolist() == [[0, 0, 0], [0, -1, 0]]


@BOTH
@pytest.mark.parametrize("scale", [1e-30, 1e-20, 1.0, 1e30])
def test_a_tiny_or_huge_gradient_gives_a_full_step(norm: str, scale: float) -> None:
    """Squares of 1e-30 are zero in float32, squares of 1e30 infinite."""
    gradient = torch.tensor([[3.0, -4.0, 0.0]])
    step = get_norm(norm).steepest(gradient * scale)
    assert torch.allclose(step, get_norm(norm).steepest(gradient), atol=1e-6)


@BOTH
def test_the_projection_is_the_nearest_point_of_the_ball(norm: str) -> None:
    torch.manual_seed(2)
    delta, eps = torch.randn(8, 1, 1, 3, dtype=torch.float64), 0.7
    projected = get_norm(norm).project(delta, eps)
    assert bool((length(projected, norm) <= eps * (1 + 1e-12)).all())
    ball = (torch.rand(40000, 3, dtype=torch.float64) * 2 - 1) * eps
    ball = ball[length(ball, norm) <= eps]
    nearest = torch.cdist(delta.flatten(1), ball).amin(1)
    reached = (projected - delta).flatten(1).norm(dim=1)
    assert bool((reached <= nearest + 1e-12).all())
    assert bool((nearest <= reached + 0.1).all())


@BOTH
def test_the_projection_leaves_what_is_inside_and_is_idempotent(norm: str) -> None:
    inside = torch.tensor([[0.1, -0.2, 0.0], [0.0, 0.0, 0.0]])
    assert torch.equal(get_norm(norm).project(inside, 0.3), inside)
    once = get_norm(norm).project(torch.randn(50, 12), 0.3)
    assert torch.allclose(get_norm(norm).project(once, 0.3), once, rtol=1e-6, atol=0)


def test_projections_worked_out_by_hand() -> None:
    delta = torch.tensor([[3.0, -4.0, 0.5]])
    assert get_norm("linf").project(delta, 2).tolist() == [[2, -2, 0.5]]
    assert torch.allclose(get_norm("l2").project(torch.tensor([[3.0, -4.0]]), 2.5), torch.tensor([[1.5, -2.0]]))


@BOTH
def test_random_draws_lie_in_the_ball_and_keep_the_type(norm: str) -> None:
    like = torch.zeros(500, 3, 4, 4, dtype=torch.float64)
    draw = get_norm(norm).random(0, torch.arange(500), like)
    assert draw.dtype == torch.float64
    assert draw.shape == like.shape
    assert float(length(draw, norm).max()) <= 1 + 1e-6
    assert float(length(draw, norm).min()) > 0.5  # most of the volume of 48 dimensions is near the surface


def test_linf_draws_are_uniform_in_every_pixel() -> None:
    draw = get_norm("linf").random(3, torch.arange(4000), torch.zeros(4000, 1, 1, 3)).flatten(1).double()
    for pixel in draw.T:
        assert kstest(pixel.numpy(), "uniform", args=(-1, 2)).pvalue > 1e-3
    assert float(torch.corrcoef(draw.T).fill_diagonal_(0).abs().max()) < 5 / 4000**0.5


@pytest.mark.parametrize("dimension", [2, 3])
def test_l2_draws_are_uniform_in_the_ball(dimension: int) -> None:
    """The radius has P(R <= r) = r^D, the direction is the same everywhere (in the plane: a uniform angle)."""
    draw = get_norm("l2").random(3, torch.arange(4000), torch.zeros(4000, 1, 1, dimension)).flatten(1).double()
    radius = draw.norm(dim=1)
    assert kstest((radius**dimension).numpy(), "uniform").pvalue > 1e-3
    assert float((draw / radius[:, None]).mean(0).abs().max()) < 5 / 4000**0.5
    angle = torch.atan2(draw[:, 0], draw[:, 1]) / (2 * math.pi) + 0.5
    if dimension == 2:
        assert kstest(angle.numpy(), "uniform").pvalue > 1e-3
    assert abs(float(torch.corrcoef(torch.stack([radius, angle]))[0, 1])) < 5 / 4000**0.5


@BOTH
def test_draws_are_keyed_by_seed_and_sample(norm: str) -> None:
    like, ids = torch.zeros(6, 3, 4, 4), torch.tensor([5, 2, 9, 0, 7, 123456789])
    geometry = get_norm(norm)
    draw = geometry.random(1, ids, like)
    alone = torch.cat([geometry.random(1, ids[place : place + 1], like[:1]) for place in range(6)])
    assert torch.allclose(draw, alone, rtol=0, atol=1e-6)
    assert torch.equal(geometry.random(1, ids, like), draw)
    assert float((geometry.random(2, ids, like) - draw).abs().mean()) > 0.05
    assert float((draw[0] - draw[1]).abs().mean()) > 0.05


@pytest.mark.parametrize("k", [4, 8, 16, 32])
def test_the_scale_of_kdd20_is_halved(k: int) -> None:
    assert pixel_eps(k / 255, -1, 1) == k / 510
    assert pixel_eps(k / 255, 0, 1) == k / 255


def test_the_grid_is_given_back_as_it_came() -> None:
    assert check_eps([0.5, 0.0, 1.0], "linf") == [0.5, 0.0, 1.0]
    assert check_eps([3.0], "l2") == [3.0]
    with pytest.raises(ConfigError, match=r"eps must be 0 or more in \[0,1\] pixel units for l2, got -1"):
        check_eps([-1.0], "l2")
    with pytest.raises(UnknownNameError, match=r"unknown norm 'linff'; did you mean 'linf'"):
        get_norm("linff")
