"""Randomness that depends on what is drawn for, never on the order or the batch it is drawn in."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence

import torch
from torch import Tensor


def digest(value: object) -> str:
    """SHA-256 (hex) of a JSON-able value in one canonical form: sorted keys, no spaces."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def derive(*parts: object) -> int:
    """A seed in [0, 2**63) from any JSON-able parts; other parts give an unrelated seed."""
    return int(digest(parts)[:16], 16) >> 1


def generator(*parts: object) -> torch.Generator:
    """A CPU generator seeded by :func:`derive`."""
    return torch.Generator().manual_seed(derive(*parts))


def _signed(value: int) -> int:
    value &= (1 << 64) - 1
    return value - (1 << 64) if value >= 1 << 63 else value


def _shift_right(x: Tensor, bits: int, out: Tensor | None = None) -> Tensor:
    """Logical right shift of int64 (torch shifts arithmetically), into ``out`` where it is given."""
    return torch.bitwise_right_shift(x, bits, out=out).bitwise_and_((1 << (64 - bits)) - 1)


def _mixed(x: Tensor) -> Tensor:
    """The output function of SplitMix64 without its last step, which leaves the upper 31 bits as they are; in place."""
    spare = torch.empty_like(x)  # with memory for every step it takes twice as long
    for bits, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        x.bitwise_xor_(_shift_right(x, bits, spare)).mul_(_signed(factor))
    return x


def _splitmix64(x: Tensor) -> Tensor:
    """The output function of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014), on int64 with wrap-around; in place."""
    return _mixed(x).bitwise_xor_(_shift_right(x, 31))


def uniform(seed: int, sample_id: Tensor, shape: Sequence[int], stream: int = 0) -> Tensor:
    """Uniform numbers in [0, 1), float32, keyed by sample.

    A counter-based generator: the value of one element depends only on ``seed``, the sample's id, ``stream`` and
    the element's place. It is the same for any batch size, order or device.

    Args:
        seed: Any integer below 2**63.
        sample_id: int64 ``[N]``; its device is the result's.
        shape: Shape of one sample, for example ``(C, H, W)``.
        stream: Number of the draw (restart, step), so that one seed serves several.

    Returns:
        ``[N, *shape]``.
    """
    golden = _signed(0x9E3779B97F4A7C15)
    start = _signed(derive("uniform", seed, stream))
    key_N = _splitmix64(sample_id.long() * golden + start)
    place = torch.arange(1, math.prod(shape) + 1, device=sample_id.device) * golden
    bits = _shift_right(_mixed(key_N[:, None] + place[None, :]), 40)
    return bits.to(torch.float32).div_(1 << 24).view(-1, *shape)


def normal(seed: int, sample_id: Tensor, shape: Sequence[int], stream: int = 0) -> Tensor:
    """Standard normal numbers ``[N,*shape]`` keyed by sample, by Box and Muller (1958); see :func:`uniform`."""
    radius = (-2 * torch.log1p(-uniform(seed, sample_id, shape, 2 * stream))).sqrt()
    return radius * torch.cos(2 * math.pi * uniform(seed, sample_id, shape, 2 * stream + 1))
