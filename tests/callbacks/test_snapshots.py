"""Snapshots: weights along one fit, which goes on as if nobody had looked."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor, nn

from tl_robust import models, strategies
from tl_robust.callbacks import Snapshots
from tl_robust.data.batches import Batches
from tl_robust.errors import ConfigError
from tl_robust.models.module import NetworkModule
from tl_robust.seeding import generator
from tl_robust.strategies import TransferTask
from tl_robust.types import ImageSet, Recipe

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning"),  # Lightning 2.6 uses what torch 2.9 warns about
    pytest.mark.filterwarnings("ignore:Be aware that when using .ckpt_path."),  # the callback that wrote the file
]
SHAPE = (3, 8, 8)
RECIPE = Recipe(epochs=4, batch_size=16, lr=0.05, momentum=0.9, augment="crop_flip")
LABELS = torch.arange(75) % 10
NOISE = torch.rand(75, *SHAPE, generator=generator("snapshots"))
IMAGES = ImageSet((255 * (0.5 * NOISE + LABELS.view(-1, 1, 1, 1) / 20)).to(torch.uint8), LABELS)
State = dict[str, Tensor]


class Data(LightningDataModule):
    def train_dataloader(self) -> Batches:
        return Batches(IMAGES, RECIPE.batch_size, seed=3, augment=RECIPE.augment)

    def val_dataloader(self) -> Batches:
        return Batches(IMAGES, RECIPE.batch_size)


def child(seed: int = 0, recipe: Recipe = RECIPE) -> TransferTask:
    """A task with dropout, whose draws a careless callback would shift."""
    torch.manual_seed(seed)
    task = strategies.get("finetune", models.get("dtn", SHAPE, 10, width=0.05), recipe, 10)
    torch.manual_seed(99)
    task.initialize(models.get("dtn", SHAPE, 10, width=0.05).state_dict())
    return task


def fit(
    task: LightningModule, *callbacks: Callback, epochs: int = 4, path: Path | None = None, **options: Any
) -> Trainer:
    torch.manual_seed(7)
    trainer = Trainer(
        **{"accelerator": "cpu", "devices": 1, "logger": False, "max_epochs": epochs} | options,
        enable_checkpointing=any(isinstance(callback, ModelCheckpoint) for callback in callbacks),
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=list(callbacks),
    )
    trainer.fit(task, datamodule=Data(), ckpt_path=path)
    return trainer


def weights(module: TransferTask) -> State:
    return {name: value.clone() for name, value in module.network.state_dict().items()}


def assert_same(one: Any, other: Any) -> None:
    assert one.keys() == other.keys()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


class Ends(Callback):
    """The network's weights at the start and after each epoch, kept by other means."""

    def __init__(self) -> None:
        self.states: list[State] = []

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if not self.states:
            self.states.append(weights(pl_module))  # type: ignore[arg-type]

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.states.append(weights(pl_module))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "options", [{}, {"limit_val_batches": 0}, {"num_sanity_val_steps": 0}, {"val_check_interval": 2}]
)
def test_they_are_the_weights_after_each_epoch_and_the_fit_is_as_without(options: dict[str, Any]) -> None:
    straight, looked, ends = child(), child(), Ends()
    start = weights(straight)
    fit(straight, ends, **options)
    snapshots = Snapshots([0, 1, 3, 4])
    fit(looked, snapshots, **options)
    assert_same(weights(looked), weights(straight))
    assert looked.history == straight.history
    assert list(snapshots.states) == [0, 1, 3, 4]
    assert_same(snapshots.states[0], start)
    for epoch, state in snapshots.states.items():
        assert_same(state, ends.states[epoch])
        assert all(value.device.type == "cpu" and not value.requires_grad for value in state.values())
    names = snapshots.states[1].keys()
    assert any(not torch.equal(snapshots.states[3][name], snapshots.states[4][name]) for name in names)


class Restless(Callback):
    """Changes the weights once an epoch is over, as an average of weights would."""

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        with torch.no_grad():
            pl_module.network.get_parameter("classifier.bias").add_(0.01)  # type: ignore[operator,union-attr]


@pytest.mark.parametrize("select", ["best", "last"])
def test_the_snapshot_of_the_chosen_epoch_is_the_kept_weights(select: str) -> None:
    task, snapshots = child(recipe=replace(RECIPE, select=select)), Snapshots(range(5))
    fit(task, Restless(), snapshots)
    accuracies = [seen["val_accuracy"] for seen in task.history]
    chosen = 4 if select == "last" else 1 + accuracies.index(max(accuracies))
    assert_same(snapshots.states[chosen], weights(task))


def test_none_asked_for_is_no_work() -> None:
    task, snapshots = child(), Snapshots(())
    fit(task, snapshots)
    assert snapshots.states == {}
    assert snapshots.state_dict() == {}


@pytest.mark.parametrize("how", ["after the fit", "after the epoch", "after its validation", "within an epoch"])
def test_a_resumed_fit_has_those_of_before_too(how: str, tmp_path: Path) -> None:
    whole, halves = Snapshots(range(5)), [Snapshots(range(5)), Snapshots(range(5))]
    straight, resumed = child(), child(seed=5)
    fit(straight, whole)
    path = tmp_path / "half.ckpt"
    if how == "after the fit":
        fit(child(), halves[0], epochs=2).save_checkpoint(path)
    else:
        options: dict[str, Any] = {"every_n_train_steps": 8}
        if how != "within an epoch":
            options = {"every_n_epochs": 1, "save_on_train_epoch_end": how == "after the epoch"}
        fit(child(), ModelCheckpoint(tmp_path, "half", save_top_k=1, **options), halves[0], epochs=2)
    fit(resumed, halves[1], path=path)
    assert_same(weights(resumed), weights(straight))
    assert sorted(halves[1].states) == [0, 1, 2, 3, 4]
    for epoch, state in whole.states.items():
        assert_same(halves[1].states[epoch], state)
    for epoch in (0, 2 if how in ("after the fit", "after the epoch") else 1):
        with pytest.raises(
            ConfigError, match=rf"goes on after epoch \d, and its checkpoint has no snapshot of .* {epoch}:"
        ):
            fit(child(), Snapshots([epoch]), path=_without(path))
    later = Snapshots([3, 4])
    fit(child(), later, path=_without(path))
    assert_same(later.states[4], whole.states[4])


def _without(path: Path) -> Path:
    content = torch.load(path, weights_only=True)
    content["callbacks"] = {}
    torch.save(content, path.with_name("without.ckpt"))
    return path.with_name("without.ckpt")


def test_another_fit_begins_anew() -> None:
    snapshots = Snapshots([0, 4])
    fit(child(), snapshots)
    first = snapshots.states[4]
    other = child(seed=5, recipe=replace(RECIPE, lr=0.01))
    start = weights(other)
    fit(other, snapshots)
    assert_same(snapshots.states[0], start)
    assert any(not torch.equal(first[name], snapshots.states[4][name]) for name in first)


def test_a_later_validation_takes_nothing() -> None:
    snapshots, task = Snapshots([2]), child()
    trainer = fit(task, snapshots, epochs=1)
    trainer.validate(task, datamodule=Data(), verbose=False)
    assert snapshots.states == {}


def test_what_cannot_be_is_said_in_a_sentence() -> None:
    with pytest.raises(ConfigError, match=r"^snapshots are of epochs from 0 on, got -1\.$"):
        Snapshots([-1, 2])
    with pytest.raises(
        ConfigError, match=r"^a snapshot after epoch 5 is asked for, but the training ends after epoch 4"
    ):
        fit(child(), Snapshots([1, 5]))
    with pytest.raises(ConfigError, match=r"^snapshots need one device \(trainer\.devices=1\), got 2 processes\.$"):
        Snapshots([1]).check(4, processes=2)


class Foreign(NetworkModule):
    """A user's own module, which has no recipe: the Trainer says how many epochs there are."""

    def training_step(self, batch: Any, index: int) -> Tensor:
        return nn.functional.cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch: Any, index: int) -> None:
        """Nothing: Lightning warns where there is none."""

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def test_they_serve_any_module_of_a_network() -> None:
    module, snapshots = Foreign(nn.Sequential(nn.Flatten(), nn.Linear(192, 10))), Snapshots([0, 2])
    fit(module, snapshots, epochs=2)
    assert_same(snapshots.states[2], module.network.state_dict())
    assert not torch.equal(snapshots.states[0]["1.weight"], snapshots.states[2]["1.weight"])
    with pytest.raises(ConfigError, match=r"ends after epoch 2"):
        fit(module, Snapshots([3]), epochs=2)
