"""B is trained on changed images.

Axes: N samples, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, pad
from typing_extensions import override

from tl_robust.defenses.adaptive import Adaptive
from tl_robust.defenses.base import DEFENSES, Defense, Task
from tl_robust.errors import ConfigError
from tl_robust.seeding import derive, normal, uniform

USUAL = {"noise": 0.15, "shift": 2.0, "mixup": 1.0, "cutmix": 1.0}
MIXES = ("mixup", "cutmix")


@DEFENSES.register
@dataclass(frozen=True)
class Augment(Defense):
    """Training images are changed at random, anew in each epoch; draws are keyed by the training and the sample.

    ``mixup`` (Zhang, Cisse, Dauphin, Lopez-Paz, ICLR 2018) takes the mean of each image and the next one of its batch
    with a weight from Beta(alpha, alpha), ``cutmix`` (Yun et al., ICCV 2019) pastes a box of the next one with the
    remaining share of the area, cut at the edges; the loss is the mean of both cross entropies with these weights. The
    papers draw one weight a batch, here each image has its own.

    Attributes:
        kind: ``noise``: Gaussian, of spread ``strength``, unclipped. ``shift``: by up to ``strength`` pixels each way,
            with black behind. ``mixup`` and ``cutmix``: ``strength`` is alpha.
        strength: Above 0; 0 stands for the usual one: 0.15, 2 pixels, or alpha 1.
    """

    kind: str = "noise"
    strength: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in USUAL or not 0 <= self.strength <= 100:
            raise ConfigError(f"augment needs kind {', '.join(USUAL)} and strength from 0 to 100, got {self}.")
        if self.kind == "shift" and self.strength != round(self.strength):
            raise ConfigError(f"augment shifts by whole pixels, got {self}.")

    @override
    def loss(self, task: Task, batch: Sequence[Tensor], others: Mapping[str, nn.Module]) -> Tensor:
        images, labels = batch[:2]
        samples = batch[2] if len(batch) > 2 else torch.arange(len(labels), device=labels.device)
        if self.kind not in MIXES:
            return task.objective((self.changed(images, samples, task), *batch[1:]))
        mixed, share = self.mixed(images, samples, task)
        logits = task(mixed)
        own, other = (cross_entropy(logits, each, reduction="none") for each in (labels, labels.roll(1)))
        return (share * own + (1 - share) * other).mean()

    def changed(self, images: Tensor, samples: Tensor, task: Task) -> Tensor:
        """Images ``[N,C,H,W]`` with noise, or shifted.

        Args:
            images: In [0,1].
            samples: Ids of the samples, int64 ``[N]``.
            task: Its seed and epoch say what is drawn.
        """
        size, key = self.strength or USUAL[self.kind], derive("augment defense", self.kind, task.defense_seed)
        if self.kind == "noise":
            return images + size * normal(key, samples, images.shape[1:], task.current_epoch).to(images)
        pixels, (height, width) = int(size), images.shape[2:]
        places = (uniform(key, samples, (2,), task.current_epoch) * (2 * pixels + 1)).long().clamp(max=2 * pixels)
        windows = pad(images, [pixels] * 4).unfold(2, height, 1).unfold(3, width, 1)
        return windows[torch.arange(len(images), device=images.device), :, places[:, 0], places[:, 1]]

    def mixed(self, images: Tensor, samples: Tensor, task: Task) -> tuple[Tensor, Tensor]:
        """Images ``[N,C,H,W]`` mixed with those before them, of which the first has the last, and own shares ``[N]``.

        Args:
            images: In [0,1].
            samples: Ids of the samples, int64 ``[N]``.
            task: Its seed and epoch say what is drawn.
        """
        key, alpha = derive("augment defense", self.kind, task.defense_seed), self.strength or USUAL[self.kind]
        draws = uniform(key, samples, (3,), task.current_epoch).to(images)
        share, others = _beta(alpha, draws[:, 0]), images.roll(1, 0)
        if self.kind == "mixup":
            weight = share[:, None, None, None]
            return weight * images + (1 - weight) * others, share
        inside = [
            _stretch(length, (1 - share).sqrt(), draw)
            for length, draw in zip(images.shape[2:], draws[:, 1:].unbind(1), strict=True)
        ]
        box = inside[0][:, :, None] & inside[1][:, None, :]
        return torch.where(box[:, None], others, images), 1 - box.flatten(1).to(images).mean(1)

    @override
    def adaptive(self) -> tuple[Adaptive, ...]:
        return (
            Adaptive("Nothing stands around the network, so that its own gradient is right."),
            Adaptive("A margin does not fade where mixing has made all answers flat.", "exact", "white", "margin"),
            Adaptive("Black box: the attacker trains a B of his own on changed images, from A.", view="shadow"),
        )


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
