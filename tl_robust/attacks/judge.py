"""Craft on the surrogate once, judge every victim in the same pass.

Axes: K eps, N samples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from tl_robust.attacks.base import Attack, attackable
from tl_robust.attacks.norms import check_eps, get_norm
from tl_robust.attacks.objective import Model
from tl_robust.errors import ConfigError
from tl_robust.types import Outcome


class Judge:
    """Collects outcomes batch by batch.

    Args:
        attack: The attack.
        surrogate: The model that gradients come from.
        victims: Name to model; the surrogate itself may be one (white-box) and is then not run twice.
        eps: Sizes in [0,1] pixel units.
        seed: Seed of the attack's random draws.
        same_labels: The surrogate names classes as the labels do; if not, its own predictions stand for them.
    """

    def __init__(
        self,
        attack: Attack,
        surrogate: Model,
        victims: Mapping[str, Model],
        eps: Sequence[float],
        seed: int = 0,
        same_labels: bool = True,
    ) -> None:
        self.attack = attack
        self.surrogate = surrogate
        self.victims = dict(victims)
        self.eps = check_eps([float(value) for value in eps], attack.norm)
        self.seed = seed
        self.same_labels = same_labels
        self._batches: list[dict[str, dict[str, Tensor]]] = []

    @torch.inference_mode(False)
    @torch.no_grad()
    def update(self, images: Tensor, labels: Tensor, sample_id: Tensor) -> None:
        """Craft and judge one batch.

        Args:
            images: ``[N,C,H,W]`` in [0,1], on the models' device.
            labels: True classes, int64 ``[N]``.
            sample_id: int64 ``[N]``, unique in the test set.
        """
        known = labels if self.same_labels else None
        crafted = self.attack.craft(self.surrogate, images, known, self.eps, sample_id=sample_id, seed=self.seed)
        size, valid = _measure(crafted.images, images, self.eps, self.attack.norm)

        def classes(model: Model) -> tuple[Tensor, Tensor]:
            adversarial = [model(batch).argmax(1) for batch in crafted.images]
            return model(images).argmax(1), torch.stack(adversarial)

        with attackable(self.surrogate, *self.victims.values()), torch.no_grad():
            clean_a, adv_a = classes(self.surrogate)
            shared = {
                "sample_id": sample_id, "label": labels, "clean_a": clean_a, "adv_a": adv_a, "size": size,
                "valid": valid, "zero_gradient": crafted.zero_gradient,
                "same_labels": torch.full_like(labels, self.same_labels, dtype=torch.bool),
            }  # fmt: skip
            batch = {}
            for name, victim in self.victims.items():
                clean_b, adv_b = (clean_a, adv_a) if victim is self.surrogate else classes(victim)
                batch[name] = {
                    key: value.cpu() for key, value in (shared | {"clean_b": clean_b, "adv_b": adv_b}).items()
                }
        self._batches.append(batch)

    @torch.inference_mode(False)
    def outcomes(self) -> dict[str, Outcome]:
        """One outcome a victim, over all batches so far."""
        eps = torch.tensor(self.eps, dtype=torch.float64)
        return {
            name: Outcome(
                eps=eps,
                **{
                    key: torch.cat([batch[name][key] for batch in self._batches], dim=-1)
                    for key in self._batches[0][name]
                },
            )
            for name in self.victims
        }


def _measure(adversarial: Tensor, clean: Tensor, eps: list[float], norm: str) -> tuple[Tensor, Tensor]:
    """Sizes ``[K,N]`` after rounding to 8 bits, and which images are finite, in [0,1] and within eps."""
    geometry = get_norm(norm)
    sizes, valid = [], []
    for images, allowed in zip(adversarial, eps, strict=True):
        sizes.append(geometry.size(images.mul(255).round().div(255) - clean))
        in_range = (
            images.isfinite().flatten(1).all(1) & (images >= 0).flatten(1).all(1) & (images <= 1).flatten(1).all(1)
        )
        valid.append(in_range & (geometry.size(images - clean) <= allowed * (1 + 1e-4) + 1e-6))
    return torch.stack(sizes).to(torch.float32), torch.stack(valid)


def evaluate(
    attack: Attack,
    *,
    surrogate: Model,
    victims: Mapping[str, Model],
    images: Tensor,
    labels: Tensor,
    eps: Sequence[float],
    seed: int = 0,
    batch_size: int = 256,
    same_labels: bool = True,
) -> dict[str, Outcome]:
    """Craft on the surrogate and judge every victim: no Trainer, no config, no store.

    Args:
        attack: For example ``attacks.get("pgd", steps=10)``.
        surrogate: Any callable from images in [0,1] to logits.
        victims: Name to model; for the white-box view name the surrogate itself.
        images: ``[N,C,H,W]`` floating point in [0,1], or uint8.
        labels: True classes, int64 ``[N]``.
        eps: Sizes in [0,1] pixel units.
        seed: Seed of the attack's random draws; they do not depend on ``batch_size``.
        batch_size: Images at a time.
        same_labels: The surrogate names classes as ``labels`` do. If not, its own predictions stand for them.

    Returns:
        One :class:`Outcome` a victim.

    Raises:
        ConfigError: No victim, no image, or inputs of another form.
    """
    if not victims or len(images) == 0:
        raise ConfigError(f"evaluate needs at least one victim and one image, got {len(victims)} and {len(images)}.")
    if len(labels) != len(images) or batch_size < 1:
        raise ConfigError(
            f"evaluate needs a label for each image and batch_size of at least 1, got {len(labels)} labels for "
            f"{len(images)} images and batch_size {batch_size}."
        )
    judge = Judge(attack, surrogate, victims, eps, seed, same_labels)
    parameter = next(surrogate.parameters(), None) if isinstance(surrogate, nn.Module) else None
    device = images.device if parameter is None else parameter.device
    for ids in torch.arange(len(images)).split(batch_size):
        batch = images[ids].to(device)
        batch = batch if batch.is_floating_point() else batch.to(torch.float32).div_(255)
        judge.update(batch, labels[ids].to(device), ids.to(device))
    return judge.outcomes()
