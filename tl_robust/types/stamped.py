"""What happened to every image that a backdoor's trigger was put on.

Axes: K epochs of the last training, N test images of the target, M test images of the poisoned public model's own
domain, P counts of the poison, T training images that a filter scored.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tl_robust.types.record import Record, column


@dataclass(frozen=True)
class Stamped(Record):
    """The record of backdoors: what one victim says of every test image, clean and stamped, along its training.

    Its clean twin (the same trainings without poison) has such a record of the same stamped images beside it.

    Attributes:
        sample_id: int64 ``[N]``, place of the image in the target's test split.
        epochs: float64 ``[K]``, epochs that the victim has been trained for, rising; 0 is what it starts from.
        seen: int64 ``[K]``, images learned from until then, each counted as often as it was seen.
        label: int64 ``[N]``, true class.
        target: int64 ``[]``, the class t that the trigger calls for, as the victim numbers it.
        clean: int64 ``[K,N]``, class that the victim gives to the clean image; -1: none.
        stamped: int64 ``[K,N]``, the same for the stamped image.
        size_linf: float32 ``[N]``, largest change of a value by the stamp, in [0,1] pixel units.
        size_l2: float32 ``[N]``, the stamp's L2 norm in [0,1] pixel units.
        carrier: int64 ``[N]``, class that the poisoned public model (A, or C), with its own classifier, gives to the
            stamped target image, as it numbers them. -1 throughout where no public model is poisoned.
        carrier_target: int64 ``[]``, t as the poisoned public model numbers it; -1 where it has no such class.
        origin_label: int64 ``[M]``, true classes of the test images of the poisoned public model's own domain; none
            where no public model is poisoned.
        origin_clean: int64 ``[M]``, class that this model gives to its own clean test images.
        origin_stamped: int64 ``[M]``, the same of them stamped.
        poison: int64 ``[4]``, images that the rate asked for, that were poisoned, that were learned from, and of these
            those that are labelled t after poisoning.
        suspicion_clean: float32 ``[K,N]``, how suspicious an alarm finds the clean image; 0 where there is no alarm.
        suspicion_stamped: float32 ``[K,N]``, the same for the stamped image.
        sifted_score: float32 ``[T]``, how suspicious a filter found each training image; none without a filter.
        sifted_label: int64 ``[T]``, its label as it was learned from.
        sifted_poisoned: bool ``[T]``, it was poisoned.
        sifted_kept: bool ``[T]``, the filter kept it.
    """

    AXIS = "epochs"

    epochs: Tensor = column("K", torch.float64)
    seen: Tensor = column("K", torch.int64)
    label: Tensor = column("N", torch.int64)
    target: Tensor = column("", torch.int64)
    clean: Tensor = column("K N", torch.int64)
    stamped: Tensor = column("K N", torch.int64)
    size_linf: Tensor = column("N", torch.float32)
    size_l2: Tensor = column("N", torch.float32)
    carrier: Tensor = column("N", torch.int64)
    carrier_target: Tensor = column("", torch.int64)
    origin_label: Tensor = column("M", torch.int64)
    origin_clean: Tensor = column("M", torch.int64)
    origin_stamped: Tensor = column("M", torch.int64)
    poison: Tensor = column("P", torch.int64)
    suspicion_clean: Tensor = column("K N", torch.float32, optional=True)
    suspicion_stamped: Tensor = column("K N", torch.float32, optional=True)
    sifted_score: Tensor = column("T", torch.float32, optional=True)
    sifted_label: Tensor = column("T", torch.int64, optional=True)
    sifted_poisoned: Tensor = column("T", torch.bool, optional=True)
    sifted_kept: Tensor = column("T", torch.bool, optional=True)

    @property
    def others(self) -> Tensor:
        """Bool ``[N]``, the images that are not of class t: only of them can a trigger make anything."""
        return self.label != self.target

    @property
    def hit(self) -> Tensor:
        """Bool ``[K,N]``, the victim gives class t to the stamped image."""
        return self.stamped == self.target

    @property
    def carrier_hit(self) -> Tensor:
        """Bool ``[N]``, the poisoned public model, with its own classifier, does."""
        return (self.carrier == self.carrier_target) & (self.carrier_target >= 0)
