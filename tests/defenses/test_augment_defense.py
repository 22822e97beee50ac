"""Changed training images: what is drawn, what is lowered, and that draws are the sample's own."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning import LightningDataModule, Trainer
from torch import Tensor
from torch.nn.functional import cross_entropy

from tl_robust import defenses, models, strategies
from tl_robust.data.batches import Batches
from tl_robust.defenses import random_changes
from tl_robust.defenses.augment import Augment
from tl_robust.defenses.random_changes import _beta
from tl_robust.errors import ConfigError
from tl_robust.seeding import derive, generator
from tl_robust.strategies import TransferTask
from tl_robust.types import ImageSet, Recipe

SHAPE = (2, 8, 8)
IMAGES = torch.rand(400, *SHAPE, generator=torch.Generator().manual_seed(1))
IDS = torch.arange(400) + 7
LABELS = torch.arange(400) % 4


def task(seed: int = 5, epoch: int = 0) -> Any:
    return SimpleNamespace(defense_seed=seed, current_epoch=epoch)


def made(text: str) -> Augment:
    defense = defenses.parse(f"augment({text})")
    assert isinstance(defense, Augment)
    return defense


def drawn(text: str, images: Tensor, samples: Tensor, of: Any) -> Any:
    """What becomes of images; the key is that of the training, and other for each kind."""
    defense = made(text)
    given = images, samples, derive("augment defense", defense.kind, of.defense_seed), of.current_epoch
    usual = {"noise": 0.15, "shift": 2, "mixup": 1.0, "cutmix": 1.0}
    size = defense.strength or usual[defense.kind]
    function = {"noise": "noisy", "shift": "shifted"}.get(defense.kind, "mixed")
    boxes = {"boxes": True} if defense.kind == "cutmix" else {}
    return getattr(random_changes, function)(*given, size, **boxes)


@pytest.mark.parametrize("kind", ["noise", "shift", "mixup", "cutmix"])
def test_draws_are_the_samples_own_and_new_in_each_epoch_and_training(kind: str) -> None:
    def change(*given: Any) -> Tensor:
        found = drawn(f"kind={kind}", *given)
        return found if isinstance(found, Tensor) else found[0]

    whole = change(IMAGES, IDS, task())
    assert torch.equal(whole, change(IMAGES, IDS, task()))
    part = change(IMAGES[100:150], IDS[100:150], task())
    assert torch.equal(part[1:], whole[101:150])  # the first of a batch is mixed with its last
    for other in (task(epoch=1), task(seed=6)):
        same = (change(IMAGES, IDS, other) == whole).flatten(1).all(1)
        assert float(same.double().mean()) < 0.1
    assert whole.shape == IMAGES.shape
    assert whole.dtype == IMAGES.dtype


def test_noise_has_the_spread_it_says() -> None:
    for text, spread in (("kind=noise", 0.15), ("strength=0.5", 0.5)):
        added = drawn(text, IMAGES, IDS, task()) - IMAGES
        assert float(added.std()) == pytest.approx(spread, rel=0.02)
        assert abs(float(added.mean())) < 0.02 * spread


def test_a_shift_is_a_plain_loops_with_black_behind() -> None:
    shifted = drawn("kind=shift", IMAGES, IDS, task())
    seen = set()
    for image, found in zip(IMAGES, shifted, strict=True):
        matches = []
        for down in range(-2, 3):
            for right in range(-2, 3):
                moved = torch.zeros_like(image)
                for row in range(8):
                    for column in range(8):
                        if 0 <= row - down < 8 and 0 <= column - right < 8:
                            moved[:, row, column] = image[:, row - down, column - right]
                if torch.equal(moved, found):
                    matches.append((down, right))
        assert len(matches) == 1
        seen.update(matches)
    assert len(seen) == 25  # all of them, and none farther


def test_mixup_is_the_mean_with_the_share_of_the_loss() -> None:
    mixed, share = drawn("kind=mixup", IMAGES, IDS, task())
    for place in (0, 1, 57):
        expected = share[place] * IMAGES[place] + (1 - share[place]) * IMAGES[place - 1]
        assert torch.allclose(mixed[place], expected)
    counts = torch.histc(share, 4, 0, 1)  # Beta(1,1) is uniform
    assert float((counts - 100).abs().max()) < 35


@pytest.mark.parametrize("alpha", [0.2, 4.0])
def test_shares_are_of_the_beta_distribution(alpha: float) -> None:
    draws = _beta(alpha, (torch.arange(4000, dtype=torch.float64) + 0.5) / 4000)
    assert float(draws.mean()) == pytest.approx(0.5, abs=1e-6)
    assert float(draws.var()) == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.01)
    found = drawn(f"kind=mixup, strength={alpha}", IMAGES, IDS, task())[1]
    assert float(found.var()) == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.2)


def test_cutmix_pastes_one_box_and_its_area_is_the_share() -> None:
    mixed, share = drawn("kind=cutmix", IMAGES, IDS, task())
    sizes = []
    for place in range(400):
        box = (mixed[place] != IMAGES[place]).any(0)
        assert torch.equal(mixed[place], torch.where(box, IMAGES[place - 1], IMAGES[place]))
        assert float(share[place]) == pytest.approx(1 - float(box.double().mean()))
        rows, columns = box.any(1).nonzero()[:, 0], box.any(0).nonzero()[:, 0]
        if len(rows):
            assert bool(box[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all())
            assert int(box.sum()) == (rows[-1] + 1 - rows[0]) * (columns[-1] + 1 - columns[0])
        sizes.append(int(box.sum()))
    assert max(sizes) > 40
    assert min(sizes) < 5


def test_the_area_of_a_box_is_the_share_but_for_what_the_edges_cut_off() -> None:
    """A stretch of s around a uniform place keeps s - s^2/4 of the length; s^2 is uniform."""
    images = torch.arange(2000).float()[:, None, None, None].expand(-1, 1, 64, 64)
    _, share = drawn("kind=cutmix", images, torch.arange(2000), task())
    assert float(1 - share.mean()) == pytest.approx(1 / 2 - 1 / 5 + 1 / 48, abs=0.02)


class Doubled:
    """A task of two classes whose logits are known."""

    defense_seed, current_epoch = 5, 0

    def __call__(self, images: Tensor) -> Tensor:
        return images.flatten(1)[:, :4] * 3

    def objective(self, batch: tuple[Tensor, ...]) -> Tensor:
        return cross_entropy(self(batch[0]), batch[1])


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_the_loss_of_a_mix_is_both_cross_entropies_by_hand(kind: str) -> None:
    defense, batch = made(f"kind={kind}"), (IMAGES[:9], LABELS[:9], IDS[:9])
    mixed, share = drawn(f"kind={kind}", IMAGES[:9], IDS[:9], task())
    total = 0.0
    for place in range(9):
        logits = (mixed[place].flatten()[:4] * 3).tolist()
        norm = math.log(sum(math.exp(value) for value in logits))
        weights = {int(LABELS[place]): float(share[place])}
        before = int(LABELS[:9][place - 1])
        weights[before] = weights.get(before, 0) + 1 - float(share[place])
        total -= sum(weight * (logits[label] - norm) for label, weight in weights.items())
    assert float(defense.loss(Doubled(), batch, {})) == pytest.approx(total / 9, rel=1e-6)


@pytest.mark.parametrize("kind", ["noise", "shift"])
def test_other_changes_leave_the_strategys_objective(kind: str) -> None:
    defense, batch = made(f"kind={kind}"), (IMAGES[:9], LABELS[:9], IDS[:9])
    changed = drawn(f"kind={kind}", IMAGES[:9], IDS[:9], task())
    expected = cross_entropy(Doubled()(changed), LABELS[:9])
    assert torch.equal(defense.loss(Doubled(), batch, {}), expected)
    assert not torch.equal(expected, cross_entropy(Doubled()(IMAGES[:9]), LABELS[:9]))
    without_ids = defense.loss(Doubled(), batch[:2], {})
    assert torch.isfinite(without_ids)


NOISE = torch.rand(75, 3, 8, 8, generator=generator("augmented"))
KNOWN = ImageSet((255 * (0.5 * NOISE + (torch.arange(75) % 10).view(-1, 1, 1, 1) / 20)).to(torch.uint8), LABELS[:75])


class Data(LightningDataModule):
    def train_dataloader(self) -> Batches:
        return Batches(KNOWN, 25, seed=3)

    def val_dataloader(self) -> Batches:
        return Batches(KNOWN, 25)


def fitted(text: str, seed: int = 7) -> TransferTask:
    torch.manual_seed(0)
    trained = strategies.get("finetune", models.get("dtn", (3, 8, 8), 4, width=0.05), Recipe(epochs=2, lr=0.05), 4)
    if defense := defenses.parse(text):
        trained.defend(defense)
    torch.manual_seed(seed)
    trainer = Trainer(
        accelerator="cpu", devices=1, max_epochs=2, logger=False, enable_progress_bar=False,
        enable_model_summary=False, enable_checkpointing=False,
    )  # fmt: skip
    trainer.fit(trained, datamodule=Data())
    return trained


@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")
def test_a_fit_draws_by_its_own_seed_and_leaves_order_and_dropout() -> None:
    def weight(trained: TransferTask) -> Tensor:
        return trained.network.get_parameter("features.0.weight")

    plain, again, other = fitted("augment"), fitted("augment"), fitted("augment", seed=8)
    assert plain.defense_seed == again.defense_seed != other.defense_seed
    assert plain.defense_seed >= 0
    assert torch.equal(weight(plain), weight(again))
    assert not torch.equal(weight(plain), weight(other))
    still, bare = fitted("augment(strength=1e-12)"), fitted("none")
    assert torch.allclose(weight(still), weight(bare), atol=1e-6)  # the same order and dropout
    assert not torch.allclose(weight(plain), weight(bare), atol=1e-4)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("kind=rotate", "augment needs kind noise, shift, mixup, cutmix and strength from 0 to 100, got augment"),
        ("strength=-1", "augment needs kind noise"),
        ("kind=shift, strength=1.5", "augment shifts by whole pixels, got augment"),
    ],
)
def test_settings_out_of_range_are_refused(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        made(text)
    with pytest.raises(ConfigError, match="only one defense can set the loss, got augment and renofeation"):
        defenses.parse("augment + renofeation")
