"""The geometry of the norms, against brute force."""

import math

import pytest
import torch
from scipy.optimize import linprog
from scipy.stats import kstest
from torch import Tensor

from tl_robust.attacks.norms import NORMS, check_eps, get_norm, pixel_eps
from tl_robust.errors import ConfigError, UnknownNameError

EVERY = pytest.mark.parametrize("norm", list(NORMS))


def length(delta: Tensor, norm: str) -> Tensor:
    flat = delta.flatten(1)
    return {"linf": flat.abs().amax(1), "l2": flat.square().sum(1).sqrt(), "l1": flat.abs().sum(1)}[norm]


def steepest(norm: str, gradient: Tensor) -> Tensor:
    """The step of norm 1, far from the ends of the range."""
    return get_norm(norm).step(torch.full_like(gradient, 0.5), gradient, 0.4) / 0.4


def test_sizes_worked_out_by_hand() -> None:
    delta = torch.tensor([[[[3.0, -4.0]]], [[[0.0, 0.0]]], [[[-1.0, 1.0]]]])
    assert get_norm("linf").size(delta).tolist() == [4, 0, 1]
    assert get_norm("l2").size(delta).tolist() == [5, 0, pytest.approx(2**0.5)]
    assert get_norm("l1").size(delta).tolist() == [7, 0, 2]


@EVERY
def test_nothing_of_norm_1_has_a_larger_inner_product_than_the_steepest(norm: str) -> None:
    torch.manual_seed(1)
    gradient = torch.randn(6, 1, 1, 3, dtype=torch.float64)
    found = steepest(norm, gradient)
    assert torch.allclose(length(found, norm), torch.ones(6, dtype=torch.float64))
    reached = (gradient * found).flatten(1).sum(1)
    others = torch.randn(20000, 1, 1, 3, dtype=torch.float64)
    others = others / length(others, norm).view(-1, 1, 1, 1)
    best = (gradient.flatten(1) @ others.flatten(1).T).amax(1)
    assert bool((reached >= best).all())
    assert bool((best > 0.95 * reached).all())  # the search comes close, so it could have found more


def test_steepest_worked_out_by_hand() -> None:
    gradient = torch.tensor([[3.0, -4.0, 0.0]])
    assert steepest("linf", gradient).tolist() == [[1, -1, 0]]
    assert torch.allclose(steepest("l2", gradient), torch.tensor([[0.6, -0.8, 0.0]]))
    assert steepest("l1", gradient).tolist() == [[0, -1, 0]]


def test_a_step_may_have_a_size_of_its_own_for_each_sample() -> None:
    images, gradient, size = torch.full((4, 3), 0.5), torch.randn(4, 3), torch.tensor([0.0, 0.1, 0.2, 0.4])
    for norm in NORMS.values():
        alone = torch.cat([norm.step(images[i : i + 1], gradient[i : i + 1], float(size[i])) for i in range(4)])
        assert torch.allclose(norm.step(images, gradient, size), alone, atol=1e-7)


@pytest.mark.parametrize("eps", [0.3, 2.0, 5.0, 40.0])
def test_an_l1_step_is_the_optimum_of_a_linear_program(eps: float) -> None:
    """Largest inner product over the ball and the range [0,1], by scipy's solver on up- and downward changes."""
    torch.manual_seed(3)
    images = torch.rand(5, 12, dtype=torch.float64).mul(1.6).sub(0.3).clamp(0, 1)
    gradient = torch.randn(5, 12, dtype=torch.float64)
    step = get_norm("l1").step(images, gradient, eps)
    assert bool((length(step, "l1") <= eps + 1e-12).all())
    assert bool(((images + step >= 0) & (images + step <= 1)).all())
    for pixels, slope, found in zip(images.numpy(), gradient.numpy(), step.numpy(), strict=True):
        room = [*zip([0] * 12, 1 - pixels, strict=True), *zip([0] * 12, pixels, strict=True)]
        best = linprog([*(-slope), *slope], A_ub=[[1.0] * 24], b_ub=[eps], bounds=room)
        assert float(slope @ found) == pytest.approx(-best.fun, abs=1e-9)


@EVERY
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_steepest_of_a_zero_gradient_is_zero(norm: str, dtype: torch.dtype) -> None:
    gradient = torch.zeros(2, 3, dtype=dtype)
    gradient[1, 1] = -2
    assert steepest(norm, gradient).tolist() == [[0, 0, 0], [0, -1, 0]]


@EVERY
@pytest.mark.parametrize("scale", [1e-30, 1e-20, 1.0, 1e30])
def test_a_tiny_or_huge_gradient_gives_a_full_step(norm: str, scale: float) -> None:
    """Squares of 1e-30 are zero in float32, squares of 1e30 infinite."""
    gradient = torch.tensor([[3.0, -4.0, 0.0]])
    assert torch.allclose(steepest(norm, gradient * scale), steepest(norm, gradient), atol=1e-6)


@EVERY
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


@EVERY
def test_the_projection_leaves_what_is_inside_and_is_idempotent(norm: str) -> None:
    inside = torch.tensor([[0.1, -0.2, 0.0], [0.0, 0.0, 0.0]])
    assert torch.equal(get_norm(norm).project(inside, 0.3), inside)
    once = get_norm(norm).project(torch.randn(50, 12), 0.3)
    assert torch.allclose(get_norm(norm).project(once, 0.3), once, rtol=1e-6, atol=1e-7)


def test_projections_worked_out_by_hand() -> None:
    delta = torch.tensor([[3.0, -4.0, 0.5]])
    assert get_norm("linf").project(delta, 2).tolist() == [[2, -2, 0.5]]
    assert torch.allclose(get_norm("l2").project(torch.tensor([[3.0, -4.0]]), 2.5), torch.tensor([[1.5, -2.0]]))
    assert torch.allclose(get_norm("l1").project(torch.tensor([[3.0, -4.0, 0.5]]), 2.0), torch.tensor([[0.5, -1.5, 0]]))


@EVERY
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


@pytest.mark.parametrize("dimension", [2, 3])
def test_l1_draws_are_uniform_in_the_ball(dimension: int) -> None:
    """P(sum <= r) = r^D; the share of the first value is uniform in the plane; all signs are as likely."""
    draw = get_norm("l1").random(3, torch.arange(4000), torch.zeros(4000, 1, 1, dimension)).flatten(1).double()
    size = draw.abs().sum(1)
    assert kstest((size**dimension).numpy(), "uniform").pvalue > 1e-3
    if dimension == 2:
        assert kstest((draw[:, 0].abs() / size).numpy(), "uniform").pvalue > 1e-3
    assert float(((draw > 0).double().mean(0) - 0.5).abs().max()) < 0.03
    assert abs(float(torch.corrcoef(draw.sign().T)[0, 1])) < 5 / 4000**0.5


@EVERY
def test_draws_are_keyed_by_seed_and_sample(norm: str) -> None:
    like, ids = torch.zeros(6, 3, 4, 4), torch.tensor([5, 2, 9, 0, 7, 123456789])
    geometry = get_norm(norm)
    draw = geometry.random(1, ids, like)
    alone = torch.cat([geometry.random(1, ids[place : place + 1], like[:1]) for place in range(6)])
    assert torch.allclose(draw, alone, rtol=0, atol=1e-6)
    assert torch.equal(geometry.random(1, ids, like), draw)
    assert float((geometry.random(2, ids, like) - draw).abs().mean()) > 0.02
    assert float((draw[0] - draw[1]).abs().mean()) > 0.02


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


def test_a_value_beyond_the_range_has_no_room_in_an_l1_step() -> None:
    """A trick may look at images beyond [0,1]; their room is 0, not less, and the budget goes to the others."""
    images, gradient = (
        torch.tensor([[1.2, 0.5, 0.5], [0.4, -0.3, 0.4]]),
        torch.tensor([[3.0, 2.0, 1.0], [1.0, -3.0, 2.0]]),
    )
    step = get_norm("l1").step(images, gradient, 0.3)
    assert torch.allclose(step, torch.tensor([[0.0, 0.3, 0.0], [0.0, 0.0, 0.3]]))
