"""Single-step adversarial training collapses in a real fit: that is seen, told, and the epoch before it is kept."""

from __future__ import annotations

from collections import OrderedDict
from itertools import pairwise

import pytest
import torch
from lightning import LightningDataModule, Trainer
from sklearn.datasets import load_digits
from torch import Tensor, nn

from tl_robust import attacks, strategies
from tl_robust.data.batches import Batches
from tl_robust.defenses.fgsm_rs import FgsmRs
from tl_robust.types import ImageSet, Recipe

EPS = 16 / 255
DIGITS = load_digits()
ORDER = torch.randperm(1797, generator=torch.Generator().manual_seed(0))  # they come sorted by writers
IMAGES = torch.tensor(DIGITS.images)[ORDER, None].mul(255 / 16).round().to(torch.uint8)
LABELS = torch.tensor(DIGITS.target)[ORDER]


class Data(LightningDataModule):
    def train_dataloader(self) -> Batches:
        return Batches(ImageSet(IMAGES[:1300], LABELS[:1300]), 64, seed=3)

    def val_dataloader(self) -> Batches:
        return Batches(ImageSet(IMAGES[1300:1600], LABELS[1300:1600]), 300)


class Wave(nn.Module):
    """A sine: its slope changes within eps, so that a network may learn to answer one large step alone."""

    def forward(self, given: Tensor) -> Tensor:
        return torch.sin(8 * given) / 8


def wavy() -> nn.Module:
    torch.manual_seed(0)
    layers = {"flat": nn.Flatten(), "a": nn.Linear(64, 256), "wave": Wave(), "b": nn.Linear(256, 256), "again": Wave()}
    return nn.Sequential(OrderedDict(layers, classifier=nn.Linear(256, 10)))


def robust(network: nn.Module) -> float:
    """Accuracy under PGD on test images."""
    images, labels = IMAGES[1600:].float() / 255, LABELS[1600:]
    changed = attacks.get("pgd", steps=20)(network, images, labels, [EPS], early=True)[0]
    with torch.no_grad():
        return float((network(changed).argmax(1) == labels).double().mean())


@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")
def test_a_real_collapse_is_told_and_the_epoch_before_it_is_kept() -> None:
    recipe = Recipe(epochs=13, batch_size=64, lr=0.1, momentum=0.9)
    defense = FgsmRs(EPS, step=3.0)
    task = strategies.get("scratch", wavy(), recipe, 10).defend(defense)
    trainer = Trainer(
        accelerator="cpu", devices=1, logger=False, max_epochs=recipe.epochs, enable_progress_bar=False,
        enable_model_summary=False, enable_checkpointing=False,
    )  # fmt: skip
    trainer.fit(task, datamodule=Data())
    scores = [epoch["val_score"] for epoch in task.history]
    falls = [place for place, (before, after) in enumerate(pairwise(scores), 2) if before - after > 0.2]
    assert falls, "it collapses"
    assert scores[-1] < 0.1 < 0.6 < max(scores), "and halving the step does not bring it back"
    said = f"fell in epoch {', '.join(map(str, falls))}: step halved to {3 / 2 ** len(falls):g} eps"
    assert defense.remark(task) == f"under attack {max(scores):.1%}, which {said}"
    assert robust(task.network) > 0.6, "what is kept is the best epoch"
