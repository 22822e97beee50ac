"""STRIP in an audit: which training images does the model call the same whatever is laid over them?

Axes: N images, C channels, H height, W width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tl_robust.defenses.strip import Overlaid
from tl_robust.models.features import in_eval_mode, pixels
from tl_robust.seeding import generator
from tl_robust.types import ImageSet

OVERLAYS = 4  # its authors have 100, and 24 are this project's usual number
JUDGED = 100  # test images that set the threshold, at most
SAMPLED = 200  # training images that are looked at, at most
SHARE = 0.01  # of the test images that lie below the threshold, rounded to whole images and at least one
LEAST = 20  # test images without which there is no threshold
BATCH = 100  # images that a network is asked about at a time
STRIP = f"strip(overlays={OVERLAYS})"


def sampled(train: ImageSet, seed: int) -> ImageSet:
    """The training images that are looked at."""
    return train.take(torch.randperm(len(train), generator=generator("sampled", seed))[:SAMPLED])


def passes(images: ImageSet, train: ImageSet) -> int:
    """Images that are asked about."""
    return OVERLAYS * (min(JUDGED, len(images) - OVERLAYS) + min(SAMPLED, len(train)))


def looking_stamped(network: nn.Module, images: ImageSet, train: ImageSet, seed: int) -> Tensor | None:
    """Which training images have a lower entropy under overlays than all but 1 % of the test images, bool ``[N]``.

    None where the network says what is not finite.

    Args:
        network: In any mode, which it keeps.
        images: Test images, at least :data:`LEAST`; some of them are the overlays.
        train: Training images that are looked at.
        seed: Of the choice of overlays and test images.
    """
    order = torch.randperm(len(images), generator=generator("overlays", seed))
    overlays, judged = order[:OVERLAYS], order[OVERLAYS : OVERLAYS + JUDGED]
    guard = Overlaid(network, images.images[overlays], torch.tensor(0.0), "add", False)
    with in_eval_mode(network):
        usual, found = (
            torch.cat([-guard.suspicion(pixels(network, part)).double().cpu() for part in chosen.split(BATCH)])
            for chosen in (images.images[judged], train.images)
        )
    if not bool(torch.cat([usual, found]).isfinite().all()):
        return None
    usual = usual.sort().values
    rank = max(1, round(SHARE * len(usual)))
    return found < (usual[rank - 1] + usual[rank]) / 2
