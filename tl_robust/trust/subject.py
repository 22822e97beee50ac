"""A model under examination, and the attacks on it that several checks share.

Axes: E examined eps, K any eps, S examined samples, M some of them, C channels, H height, W width, L classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from tl_robust import attacks
from tl_robust.attacks import Attack, Crafted
from tl_robust.attacks.logits import fooled, predicted
from tl_robust.attacks.norms import get_norm, per_sample
from tl_robust.attacks.oracle import Oracle
from tl_robust.attacks.problem import Model
from tl_robust.errors import ConfigError
from tl_robust.seeding import derive, uniform

REPEATED, REBATCHED = 1e-3, 1e-2


@dataclass(frozen=True, eq=False)
class Subject:
    """One model with the samples it is examined on; the model is in eval mode and frozen.

    Attributes:
        model: Images in [0,1] to logits.
        images: Clean images ``[S,C,H,W]``.
        label: int64 ``[S]``, the true class, or the model's own prediction where it has other labels.
        sample_id: int64 ``[S]``, keys of the random draws.
        eps: E sizes above 0 in [0,1] pixel units, ascending; may be empty.
        norm: ``linf``, ``l2`` or ``l1``.
        seed: Seed of the random draws.
        through: What gradients are taken of where the model is guarded.
    """

    model: Model
    images: Tensor
    label: Tensor
    sample_id: Tensor
    eps: list[float]
    norm: str
    seed: int
    through: str = "exact"

    @property
    def rejects(self) -> bool:
        """The model may refuse an image, which is not to be fooled."""
        return Oracle.of(self.model).rejects

    @property
    def margin(self) -> str:
        """The objective of an attack that wins against the model as it is: where it may refuse, past that too."""
        return "evade" if self.rejects else "margin"

    @torch.no_grad()
    def ask(self, images: Tensor) -> Tensor:
        """Logits ``[N,L]``, without gradients."""
        return Oracle.of(self.model)(images)

    def classes(self, images: Tensor) -> Tensor:
        """Predicted classes, int64 ``[N]``; -1, no prediction, where a logit is not finite or the image is refused."""
        return predicted(self.ask(images), self.rejects)

    @cached_property
    def logits(self) -> Tensor:
        """Of the clean images, ``[S,L]``."""
        return self.ask(self.images)

    @cached_property
    def right(self) -> Tensor:
        """Bool ``[S]``: the clean image is classified rightly."""
        return predicted(self.logits, self.rejects) == self.label

    @cached_property
    def repeated(self) -> Tensor:
        """Largest :meth:`change` when the model is asked again about the same batch, three times, float64 ``[S]``."""
        return torch.stack([self.change(self.ask(self.images)) for _ in range(3)]).amax(0)

    @cached_property
    def rebatched(self) -> Tensor:
        """Largest :meth:`change` when every other sample is asked about beside noise images, float64 ``[S]``."""
        noise, logits = self.noise("linf", 1.0, 0), torch.empty_like(self.logits)
        for half in (slice(0, None, 2), slice(1, None, 2)):
            if count := len(self.images[half]):
                logits[half] = self.ask(torch.cat([self.images[half], noise[half]]))[:count]
        return self.change(logits)

    @property
    def steady(self) -> bool:
        """The model answers the same when asked again, and whatever else is in the batch; else no attack is to be made.

        Nor is one where logits of clean images are not finite. Sums in another order change answers too: a thousandth
        and a hundredth of the spread of logits are no change.
        """
        same = float(self.repeated.max()) <= REPEATED and float(self.rebatched.max()) <= REBATCHED
        return same and bool(self.logits.isfinite().all())

    def change(self, logits: Tensor) -> Tensor:
        """Largest change of other logits of the clean images, as a share of their own spread, float64 ``[S]``."""
        spread = (self.logits.amax(1) - self.logits.amin(1)).double()
        return (logits - self.logits).double().abs().amax(1) / spread.clamp(min=torch.finfo(torch.float32).tiny)

    def noise(self, norm: str, eps: float, draw: int) -> Tensor:
        """Clean images with noise of norm ``eps`` in [0,1], ``[S,C,H,W]``; each number of a draw has its own."""
        geometry = get_norm(norm)
        delta = geometry.random(derive(self.seed, "noise", draw), self.sample_id, self.images)
        return (self.images + delta * per_sample(eps / geometry.size(delta), delta)).clamp(0, 1)

    def craft(self, attack: Attack, eps: list[float], mask: Tensor) -> Crafted:
        """White-box images ``[K,M,C,H,W]`` for the samples at ``mask`` (bool ``[S]``); see :meth:`Attack.craft`."""
        return attack.craft(
            self.model, self.images[mask], self.label[mask], eps, sample_id=self.sample_id[mask], seed=self.seed,
            early=True, strict=False, through=self.through,
        )  # fmt: skip

    def fooled(self, attack: Attack, eps: list[float], mask: Tensor | None = None) -> Tensor:
        """Bool ``[K,S]``: right on the clean image, of ``mask`` (bool ``[S]``), and wrong under a white-box attack."""
        mask = self.right if mask is None else self.right & mask
        hits = self.right.new_zeros(len(eps), len(mask))
        if eps and bool(mask.any()):
            hits[:, mask] = self.wrong(self.craft(attack, eps, mask).images, mask)
        return hits

    def wrong(self, images: Tensor, mask: Tensor | slice) -> Tensor:
        """Bool ``[K,M]``: of images ``[K,M,C,H,W]`` of the samples at ``mask``, which fool the model."""
        return torch.stack([fooled(self.ask(batch), self.label[mask], self.rejects) for batch in images])

    @cached_property
    def pgd(self) -> Tensor:
        """Bool ``[E,S]``: fooled by ten steps of PGD within each eps."""
        return self._pgd[0]

    @cached_property
    def rounded(self) -> Tensor:
        """Bool ``[E,S]``: right on the clean image and fooled by these images of PGD after rounding to 8 bits."""
        return self._pgd[1]

    @cached_property
    def _pgd(self) -> tuple[Tensor, Tensor]:
        before, after = (self.right.new_zeros(len(self.eps), len(self.right)) for _ in range(2))
        if self.eps and bool(self.right.any()):
            attack = attacks.get("pgd", norm=self.norm, objective="evade" if self.rejects else "label")
            crafted = self.craft(attack, self.eps, self.right).images
            for fooled, images in ((before, crafted), (after, crafted.mul(255).round_().div_(255))):
                fooled[:, self.right] = self.wrong(images, self.right)
        return before, after


def choose(images: Tensor, labels: Tensor | None, sample_id: Tensor, seed: int, samples: int) -> Tensor:
    """Places of the samples to examine, int64 ``[S]``, in ascending order of their ids.

    Every class has the same number as far as it goes. The choice depends on ids, labels and seed, not on the order.

    Raises:
        ConfigError: No image, or not one label and id for each, or no sample to be chosen.
    """
    for name, tensor in (("labels", labels), ("sample_id", sample_id)):
        if tensor is not None and (tensor.shape != images.shape[:1] or tensor.dtype != torch.int64):
            raise ConfigError(f"{name} must be int64 [{len(images)}], got {tensor.dtype} {list(tensor.shape)}.")
    if samples < 1 or len(images) == 0:
        raise ConfigError(
            f"examine needs at least one image and samples of at least 1, got {len(images)} images and {samples}."
        )
    key = uniform(derive("examine", seed), sample_id, (1,)).squeeze(1)
    order = torch.argsort(key, stable=True)
    groups = labels[order] if labels is not None else torch.zeros_like(order)
    rank = torch.empty_like(order)
    for group in groups.unique():
        inside = groups == group
        rank[inside] = torch.arange(int(inside.sum()), device=rank.device)
    chosen = order[rank.argsort(stable=True)[:samples]]
    return chosen[sample_id[chosen].argsort()]
