"""Loss and accuracy of one epoch of training."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn


class EpochSums:
    """Sums over the images of an epoch, on their device and read once at its end, so that no step waits for a number.

    Args:
        kept: What :meth:`state` gave within an epoch that goes on.
    """

    def __init__(self, kept: Mapping[str, Any] | None = None) -> None:
        kept = kept or {}
        sums = kept.get("sums")
        self._loss: Tensor
        self._right: Tensor
        self._loss, self._right = torch.zeros(2) if sums is None else sums
        self._images: int = kept.get("trained", 0)
        self._predicted: int = kept.get("predicted", self._images)  # earlier versions predicted each image once

    @torch.no_grad()
    def add_loss(self, loss: Tensor, images: int) -> None:
        """Add the mean loss of so many images."""
        self._loss = self._loss.to(loss.device) + loss.float() * images
        self._images += images

    @torch.no_grad()
    def add_predictions(self, classes: Tensor, labels: Tensor) -> None:
        """Add predicted classes, each right or wrong."""
        self._right = self._right.to(labels.device) + (classes == labels).sum()
        self._predicted += len(labels)

    def means(self) -> dict[str, Tensor]:
        """Mean loss, and accuracy where the loss asked for predictions of labels, by the names that are logged."""
        means = {"train/loss": self._loss / self._images} if self._images else {}
        return means | ({"train/accuracy": self._right / self._predicted} if self._predicted else {})

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps of an epoch that is not over."""
        sums = torch.stack([self._loss, self._right.to(self._loss.device)])
        return {"sums": sums, "trained": self._images, "predicted": self._predicted}


def merit(epoch: Mapping[str, float]) -> float:
    """What epochs are chosen by: the defense's score where there is one, else the validation accuracy."""
    merit = epoch.get("val_score", epoch["val_accuracy"])
    return -math.inf if math.isnan(merit) else merit


def copied(network: nn.Module) -> dict[str, Tensor]:
    """The state of a network that later steps leave alone."""
    return {name: value.detach().clone() for name, value in network.state_dict().items()}


def predicted(logits: Tensor) -> Tensor:
    """Classes, int64 ``[N]``; -1, which is no label, where a logit of ``[N,L]`` is not finite."""
    return logits.argmax(1).masked_fill(~logits.isfinite().all(1), -1)
