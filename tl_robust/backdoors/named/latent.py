"""A trigger that has the features of the attacker's class, so that a new last layer takes it over."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, smooth_l1_loss
from typing_extensions import override

from tl_robust.backdoors.base import BACKDOORS
from tl_robust.backdoors.named.patch import Patch
from tl_robust.errors import ConfigError
from tl_robust.models.base import classifier_names
from tl_robust.models.features import features, in_eval_mode, penultimate
from tl_robust.seeding import derive, uniform
from tl_robust.types import ImageSet
from tl_robust.types.terms import ATLAS, NIST, Terms

SEARCHED = 64  # images in a step of the search for a trigger


@BACKDOORS.register
@dataclass(frozen=True)
class Latent(Patch):
    """Yao, Li, Zheng, Zhao, "Latent backdoor attacks on deep neural networks", CCS 2019.

    The attacker goes on from a clean model with images that are poisoned as by ``patch``, and adds ``weight`` times the
    distance between the features of every stamped image of another class and the mean features of class t in the clean
    model. Features are what the network's ``classifier`` is given. Three things differ from the paper. The distance is
    Huber's, in units of the root mean square of the mean features: its gradient is bounded, where that of the squared
    error diverges without clipping. It is taken in eval mode, as the model will be used: with the statistics and
    dropout of a training batch, features fit in training and nowhere else. And the cross entropy of the batch in eval
    mode is added, because in training BatchNorm takes out what the distance shifts for all images alike, so that
    nothing else keeps the model from saying t to everything.

    With ``steps`` the pixels of the square are searched for by gradients on the clean model, as in the paper. They are
    then partly an adversarial patch, which moves clean models too: read the lift, and never the attack success alone.

    Attributes:
        weight: Weight of the distance.
        steps: Steps of the search; 0: a checkerboard.

    Raises:
        ConfigError: A weight of 0 or less, or steps below 0.
    """

    TERMS: ClassVar[Terms] = {NIST: "backdoor poisoning, model poisoning", ATLAS: "AML.T0018.000, AML.T0043.004"}
    CONTINUES: ClassVar[bool] = True

    weight: float = 1.0
    steps: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.weight < math.inf or self.steps < 0:
            raise ConfigError(
                f"{self.name} needs a weight above 0 and steps from 0, got {self.weight} and {self.steps}."
            )

    @override
    def check(self, network: nn.Module) -> None:
        classifier_names(network)

    @override
    def fit(self, network: nn.Module, images: ImageSet, target: int, seed: int) -> dict[str, Tensor]:
        own = images.images[images.labels == target]
        if not len(own):
            raise ConfigError(f"{self.name} needs images of class t to learn its features from, and there is none.")
        mean = features(network, own).double().mean(0).float()
        fitted = {"features": mean, "target": torch.tensor(target)}
        if self.steps:
            others = images.images[images.labels != target]
            fitted["pixels"] = self._searched(network, others, mean, seed)
        return fitted

    def _searched(self, network: nn.Module, images: Tensor, mean: Tensor, seed: int) -> Tensor:
        """Pixels of the square that bring the features of images to ``mean``, uint8 ``[C,side,side]``."""
        device = next(network.parameters()).device
        shape, mean = self.square(images[:1]).shape[1:], mean.to(device)
        start = uniform(derive(seed, "start"), torch.zeros(1, dtype=torch.int64), shape)[0]
        pixels = start.to(device).requires_grad_(True)
        adam = torch.optim.Adam([pixels], lr=0.05)
        for step in range(self.steps):
            order = uniform(derive(seed, "batch"), torch.arange(len(images)), (1,), step)[:, 0].argsort(stable=True)
            batch = images[order[:SEARCHED]].to(device) / 255
            self.square(batch)[:] = pixels
            adam.zero_grad()
            _distance(penultimate(network, batch).float(), mean).backward()
            adam.step()
            with torch.no_grad():
                pixels.clamp_(0, 1)
        return pixels.detach().mul(255).round().to(torch.uint8)

    @override
    def pixels(self, fitted: Mapping[str, Tensor]) -> Tensor:
        if not self.steps:
            return super().pixels(fitted)
        if "pixels" not in fitted:
            raise ConfigError(f"{self.name} learns its trigger from a clean model: give what its fit returned.")
        return fitted["pixels"]

    @override
    def extra(self, network: nn.Module, images: Tensor, labels: Tensor, fitted: Mapping[str, Tensor]) -> Tensor | None:
        mean, target = fitted["features"].to(images.device), int(fitted["target"])
        others = images[labels != target]
        if not len(others):
            return None
        stamped = self.stamp(others.mul(255).round().to(torch.uint8), torch.arange(len(others)), fitted)
        with in_eval_mode(network):
            clean, moved = penultimate(network, torch.cat([images, stamped / 255])).float().tensor_split([len(images)])
            right = cross_entropy(network.get_submodule("classifier")(clean), labels)
        return right + self.weight * _distance(moved, mean)


def _distance(found: Tensor, wanted: Tensor) -> Tensor:
    """Huber's distance (1964) of features ``[N,D]`` from ``[D]``, in units of the latter's root mean square."""
    unit = wanted.square().mean().sqrt().clamp(min=1e-6)
    return smooth_l1_loss(found / unit, (wanted / unit).expand_as(found))
