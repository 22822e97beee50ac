"""Random changes of training images, drawn anew for each sample and epoch.

A draw is keyed by (seed, epoch, sample id): it is the same for any batch size, order, device or number of processes.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from tl_robust.errors import UnknownNameError
from tl_robust.seeding import derive, uniform

PAD = 4
BITS = 24  # random bits in each number of ``uniform``, all of which a float32 can hold

Augmentation = Callable[[Tensor, Tensor], Tensor]  # (pixels uint8 [N,C,H,W], draws int64 [N,3] in [0, 2**BITS))


def augmentation(name: str) -> Augmentation:
    """The function that changes images as a name says.

    Raises:
        UnknownNameError: No augmentation has this name.
    """
    if name not in AUGMENTATIONS:
        raise UnknownNameError("augmentation", name, AUGMENTATIONS)
    return AUGMENTATIONS[name]


def augment(name: str, pixels: Tensor, sample_id: Tensor, seed: int, epoch: int) -> Tensor:
    """Change each image at random, as a name of ``AUGMENTATIONS`` says.

    Args:
        name: ``none`` changes nothing. ``crop`` puts a border of zeros, 4 pixels wide, around the image and cuts a
            piece of the old size out of it. ``crop_flip`` also mirrors half of the images left to right, as He et al.,
            "Deep Residual Learning for Image Recognition", CVPR 2016, do on CIFAR.
        pixels: uint8 ``[N,C,H,W]``.
        sample_id: int64 ``[N]``, on the same device.
        seed: Seed of the training, below 2**63.
        epoch: Number of the epoch, from 0.

    Returns:
        Changed images, uint8 ``[N,C,H,W]``; for ``none`` the tensor ``pixels`` itself.

    Raises:
        UnknownNameError: No augmentation has this name.
    """
    change = augmentation(name)
    if change is _none or len(pixels) == 0:
        return pixels
    draws = uniform(derive("augment", seed), sample_id, (3,), stream=epoch)
    return change(pixels, (draws * (1 << BITS)).long())


def _none(pixels: Tensor, draws: Tensor) -> Tensor:
    return pixels


def _crop(pixels: Tensor, draws: Tensor) -> Tensor:
    """Cut from each padded image the stretch of memory that reaches from the first pixel of its crop to the last.

    Copying such a stretch whole, pixels between the rows included, is many times as fast as gathering rows or pixels.
    """
    n, c, h, w = pixels.shape
    padded = pixels.new_zeros(n, c, h + 2 * PAD, w + 2 * PAD)
    padded[:, :, PAD:-PAD, PAD:-PAD] = pixels
    image, plane, row, _ = padded.stride()
    top, left = (draws[:, :2] * (2 * PAD + 1) >> BITS).unbind(1)
    length = image - 2 * PAD * (row + 1)
    start = torch.arange(n, device=pixels.device) * image + top * row + left
    stretches = padded.view(-1).unfold(0, length, 1).index_select(0, start)
    return stretches.as_strided((n, c, h, w), (length, plane, row, 1)).contiguous()


def _crop_flip(pixels: Tensor, draws: Tensor) -> Tensor:
    crops = _crop(pixels, draws)
    straight_and_mirrored = torch.cat([crops, crops.flip(-1)])  # selecting from this is faster than torch.where
    mirrored = draws[:, 2] >> (BITS - 1)
    return straight_and_mirrored.index_select(0, torch.arange(len(crops), device=crops.device) + mirrored * len(crops))


AUGMENTATIONS: dict[str, Augmentation] = {"none": _none, "crop": _crop, "crop_flip": _crop_flip}
