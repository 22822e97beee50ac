"""A test set beside its stamped copy, and what models say of both: no Trainer, no config, no store.

Axes: K models, such as one after several epochs; N images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from tl_robust.attacks.base import check_labels, check_tensor
from tl_robust.attacks.logits import predicted
from tl_robust.attacks.oracle import Model, Oracle
from tl_robust.attacks.problem import attackable
from tl_robust.backdoors.base import Backdoor
from tl_robust.errors import ConfigError
from tl_robust.types import ImageSet, Stamped

BATCH = 500  # images that a model is asked about at a time


@dataclass(frozen=True)
class Said:
    """What a model says of a test set.

    Attributes:
        clean: int64 ``[N]``, classes of the clean images; -1: no prediction.
        stamped: int64 ``[N]``, classes of the stamped images.
        suspicion: float32 ``[2,N]``, how suspicious an alarm around the model finds clean and stamped images; zeros
            without one.
    """

    clean: Tensor
    stamped: Tensor
    suspicion: Tensor


@dataclass(frozen=True)
class StampTest:
    """Test images, clean and stamped.

    Attributes:
        backdoor: The backdoor; its trigger alone counts.
        images: Clean images, uint8 ``[N,C,H,W]``, and labels, int64 ``[N]``.
        target: The class t that the trigger calls for, as the labels number it.
        fitted: What the backdoor learned from a clean model.
    """

    backdoor: Backdoor
    images: ImageSet
    target: int
    fitted: Mapping[str, Tensor]

    @cached_property
    def stamped(self) -> Tensor:
        """The images with the trigger on them, uint8 ``[N,C,H,W]``."""
        return self.backdoor.stamp(self.images.images, torch.arange(len(self.images)), self.fitted)

    def ask(self, model: Model, device: torch.device | str = "cpu", name: str = "the model") -> Said:
        """What a model on a device says; it is asked in eval mode and left as it was."""
        oracle, alarm = Oracle.of(model, name), getattr(model, "suspicion", None)
        classes, suspicion = [], []
        with attackable(model), torch.no_grad():
            for images in (self.images.images, self.stamped):
                for batch in images.split(BATCH):
                    pixels = batch.to(device).to(torch.float32).div_(255)
                    classes.append(predicted(oracle(pixels), oracle.rejects).cpu())
                    suspicion.append(alarm(pixels).float().cpu() if alarm else torch.zeros(len(batch)))
        clean, stamped = torch.cat(classes).chunk(2)
        return Said(clean, stamped, torch.stack(torch.cat(suspicion).chunk(2)))

    def record(
        self,
        said: Sequence[Said],
        epochs: Sequence[int],
        seen: Sequence[int] = (),
        more: Mapping[str, Tensor] | None = None,
    ) -> Stamped:
        """The record of K models.

        Args:
            said: What each says.
            epochs: Their epochs, rising.
            seen: How many images each has learned from; zeros where that is not known.
            more: Fields of the record about poison, the model that it came with, and filters; shapes as in ``Stamped``.
        """
        changed = (self.stamped.float() - self.images.images.float()).div(255).flatten(1)
        none = torch.zeros(0, dtype=torch.int64)
        fields = {"carrier": torch.full_like(self.images.labels, -1), "carrier_target": torch.tensor(-1)}
        fields |= {"origin_label": none, "origin_clean": none, "origin_stamped": none}
        fields |= {"poison": torch.zeros(4, dtype=torch.int64)} | dict(more or {})
        if any(bool(one.suspicion.any()) for one in said):
            sides = torch.stack([one.suspicion for one in said], dim=1)
            fields |= {"suspicion_clean": sides[0], "suspicion_stamped": sides[1]}
        return Stamped(
            sample_id=torch.arange(len(self.images)),
            epochs=torch.tensor(epochs, dtype=torch.float64),
            seen=torch.tensor(list(seen) or [0] * len(said)),
            label=self.images.labels,
            target=torch.tensor(self.target),
            clean=torch.stack([one.clean for one in said]),
            stamped=torch.stack([one.stamped for one in said]),
            size_linf=changed.abs().amax(1),
            size_l2=changed.norm(dim=1),
            **fields,
        )


def stamp_test(
    backdoor: Backdoor, images: Tensor, labels: Tensor, target: int, fitted: Mapping[str, Tensor] | None = None
) -> StampTest:
    """A test set that was checked.

    Args:
        backdoor: For example ``backdoors.get("patch", side=3)``.
        images: ``[N,C,H,W]``, uint8, or floating point in [0,1], which is rounded to 8 bits.
        labels: True classes, int64 ``[N]``.
        target: The class t that the trigger calls for, as the labels number it.
        fitted: What the backdoor learned from a clean model (:meth:`Backdoor.fit`), where it learns something.

    Raises:
        ConfigError: Images, labels or target are of another form, all images are of class t, or the trigger does not
            fit.
    """
    check_tensor("images", images)
    check_tensor("labels", labels)
    check_labels(labels, len(images))
    if images.dtype != torch.uint8:
        if not images.is_floating_point() or images.ndim != 4 or not bool(((images >= 0) & (images <= 1)).all()):
            raise ConfigError(
                f"images must be [N,C,H,W], uint8 or floating point in [0,1], got {images.dtype} {list(images.shape)}: "
                "divide by 255 what is in [0,255]."
            )
        images = images.mul(255).round().to(torch.uint8)
    if backdoor.fits and not fitted:
        raise ConfigError(f"{backdoor} learns its trigger from a clean model: give fitted=backdoor.fit(...).")
    if not isinstance(target, int) or target < 0 or not bool((labels != target).any()):
        raise ConfigError(f"target must be a class of the labels, and some images of another class, got {target!r}.")
    return StampTest(backdoor, ImageSet(images.cpu(), labels.cpu()), target, fitted or {})


def stamp_evaluate(
    backdoor: Backdoor,
    victims: Mapping[str, Model],
    images: Tensor,
    labels: Tensor,
    *,
    target: int,
    fitted: Mapping[str, Tensor] | None = None,
) -> dict[str, Stamped]:
    """What given models say of clean and of stamped images.

    The clean twin is one more victim: ``metrics.get("lift").curve(records["b"], {"twin": records["clean"]})``.

    Args:
        backdoor: For example ``backdoors.get("patch", side=3)``.
        victims: Name to model: any callable from images in [0,1] to logits ``[N, classes]``.
        images: ``[N,C,H,W]``, uint8, or floating point in [0,1], which is rounded to 8 bits.
        labels: True classes, int64 ``[N]``.
        target: The class t that the trigger calls for, as the labels number it.
        fitted: What the backdoor learned from a clean model, where it learns something.

    Returns:
        A record a victim, with one epoch, 0.

    Raises:
        ConfigError: Inputs of another form, no victim, or a model that returns anything but logits.
    """
    test = stamp_test(backdoor, images, labels, target, fitted)
    if not isinstance(victims, Mapping) or not victims:
        raise ConfigError(f"victims must be names and models, such as {{'b': b}}, got {victims!r:.80}.")
    records = {}
    for name, victim in victims.items():
        parameter = next(victim.parameters(), None) if isinstance(victim, nn.Module) else None
        device = torch.device("cpu") if parameter is None else parameter.device
        records[name] = test.record([test.ask(victim, device, f"victim {name!r}")], [0])
    return records
