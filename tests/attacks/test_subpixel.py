"""Gradients of strided convolutions as convolutions without stride, beside autograd's own."""

import itertools

import pytest
import torch
from torch import nn

from tl_robust.models.subpixel import Subpixel, subpixel


@pytest.mark.parametrize(("kernel", "stride"), list(itertools.product((1, 2, 3, 5, 7), (2, 3, 4))))
def test_output_and_gradient_are_the_convolutions(kernel: int, stride: int) -> None:
    torch.manual_seed(0)
    for padding, side, bias in itertools.product(range(4), (9, 12, 13), (True, False)):
        plain = nn.Conv2d(3, 4, (kernel, kernel + 1), stride=stride, padding=padding, bias=bias).double()
        quick = subpixel(plain)
        images = torch.rand(2, 3, side, side + 1, dtype=torch.float64, requires_grad=True)
        found, expected = quick(images), plain(images)
        assert torch.equal(found, expected)
        weight = torch.rand_like(expected)
        (mine,), (theirs,) = (torch.autograd.grad(out, images, weight) for out in (found, expected))
        assert torch.allclose(mine, theirs, rtol=1e-12, atol=1e-12), (padding, side)


def test_only_first_layers_that_gain_are_replaced() -> None:
    few = nn.Conv2d(3, 8, 3, stride=2)
    network = nn.Sequential(few, nn.Sequential(nn.Conv2d(8, 8, 3, stride=2)), nn.Conv2d(3, 8, 3), nn.ReLU())
    changed = subpixel(network)
    assert [type(module) for module in changed] == [Subpixel, nn.Sequential, nn.Conv2d, nn.ReLU]
    assert type(changed[1][0]) is nn.Conv2d
    assert not list(changed[0].parameters())  # frozen: it has no gradient of weights
    others = [{"padding": "same"}, {"padding_mode": "reflect", "padding": 1, "stride": 2}, {"dilation": 2, "stride": 2}]
    assert not any(Subpixel.fits(nn.Conv2d(3, 6, 3, **options)) for options in [*others, {"groups": 3, "stride": 2}])
