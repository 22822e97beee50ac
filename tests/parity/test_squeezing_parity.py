"""Bits and median of ``squeeze`` beside the preprocessors of the adversarial-robustness-toolbox, pixel for pixel."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from tl_robust import defenses

SHAPES = [(4, 1, 28, 28), (3, 3, 32, 32), (2, 3, 5, 7), (1, 1, 3, 2)]


def images_of(shape: tuple[int, ...], eight_bits: bool) -> NDArray[np.float64]:
    """Images in [0,1], with pixels at 0 and 1 and, of 8 bits, many that lie in the middle between two levels."""
    draw = np.random.default_rng(sum(shape))
    if eight_bits:
        return draw.integers(0, 256, shape) / 255
    return (1.4 * draw.random(shape) - 0.2).clip(0, 1)


def squeezed(settings: str, images: NDArray[np.float64]) -> NDArray[np.float64]:
    defense = defenses.parse(f"squeeze({settings})")
    assert defense
    return defense.wrap(nn.Identity(), {})(torch.from_numpy(images)).numpy()


@pytest.mark.parametrize("eight_bits", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("bits", range(1, 8))
def test_fewer_bits_are_those_of_feature_squeezing(bits: int, shape: tuple[int, ...], eight_bits: bool) -> None:
    theirs = pytest.importorskip("art.defences.preprocessor").FeatureSqueezing(clip_values=(0, 1), bit_depth=bits)
    images = images_of(shape, eight_bits)
    expected, _ = theirs(images)
    assert len(np.unique(expected)) <= 2**bits
    assert np.array_equal(squeezed(f"bits={bits}", images), expected)


@pytest.mark.parametrize("eight_bits", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("side", [2, 3, 4, 5])
def test_medians_are_those_of_spatial_smoothing(side: int, shape: tuple[int, ...], eight_bits: bool) -> None:
    theirs = pytest.importorskip("art.defences.preprocessor").SpatialSmoothing(window_size=side, channels_first=True)
    images = images_of(shape, eight_bits)
    expected, _ = theirs(images)
    assert not np.array_equal(images, expected)
    assert np.array_equal(squeezed(f"bits=8, median={side}", images), expected)
