"""Random changes of training images, by keyed draws: noise, shifts, and mixes of two images.

Axes: N samples, C channels, H height, W width.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from tl_robust.seeding import normal, uniform


def noisy(images: Tensor, samples: Tensor, key: int, epoch: int, spread: float) -> Tensor:
    """Images ``[N,C,H,W]`` with Gaussian noise, unclipped.

    Args:
        images: In [0,1].
        samples: Ids of the samples, int64 ``[N]``.
        key: Seed of the draws.
        epoch: Which epoch of the training it is.
        spread: In [0,1] pixel units.
    """
    return images + spread * normal(key, samples, images.shape[1:], epoch).to(images)


def shifted(images: Tensor, samples: Tensor, key: int, epoch: int, pixels: int) -> Tensor:
    """Images shifted by up to ``pixels`` each way, with black behind; the rest is as of :func:`noisy`."""
    height, width = images.shape[2:]
    places = (uniform(key, samples, (2,), epoch) * (2 * pixels + 1)).long().clamp(max=2 * pixels)
    windows = pad(images, [pixels] * 4).unfold(2, height, 1).unfold(3, width, 1)
    return windows[torch.arange(len(images), device=images.device), :, places[:, 0], places[:, 1]]


def mixed(
    images: Tensor, samples: Tensor, key: int, epoch: int, alpha: float, boxes: bool = False
) -> tuple[Tensor, Tensor]:
    """Images mixed with those before them, of which the first has the last, and own shares ``[N]``.

    The share is from Beta(alpha, alpha): a weight, or with ``boxes`` what is left of the area beside a box of the other
    image, which is cut at the edges. The rest is as of :func:`noisy`.
    """
    draws = uniform(key, samples, (3,), epoch).to(images)
    share, others = _beta(alpha, draws[:, 0]), images.roll(1, 0)
    if not boxes:
        weight = share[:, None, None, None]
        return weight * images + (1 - weight) * others, share
    inside = [
        _stretch(length, (1 - share).sqrt(), draw)
        for length, draw in zip(images.shape[2:], draws[:, 1:].unbind(1), strict=True)
    ]
    box = inside[0][:, :, None] & inside[1][:, None, :]
    return torch.where(box[:, None], others, images), 1 - box.flatten(1).to(images).mean(1)


def _beta(alpha: float, draws: Tensor) -> Tensor:
    """Numbers from Beta(alpha, alpha) where ``draws`` are uniform in [0,1)."""
    if alpha == 1:
        return draws
    from scipy.special import betaincinv

    return torch.from_numpy(betaincinv(alpha, alpha, draws.double().cpu().numpy())).to(draws)


def _stretch(length: int, share: Tensor, draws: Tensor) -> Tensor:
    """Bool ``[N,length]``: a stretch of this share of the length around a pixel that ``draws`` in [0,1) names."""
    half, center = (share * length).long() // 2, (draws * length).long()
    place = torch.arange(length, device=draws.device)
    first, last = center - half, center - half + (share * length).long()
    return (place >= first[:, None]) & (place < last[:, None])
