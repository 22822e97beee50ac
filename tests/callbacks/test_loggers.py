"""What a user's own loggers get: losses and accuracies of a fit, one row an eps of an attack, what it was fitted on."""

import csv
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from lightning import LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger, Logger, WandbLogger
from torch import nn

from tests.sinks.wandb_made import no_account
from tl_robust import attacks, models, strategies
from tl_robust.callbacks import TransferAttack
from tl_robust.data.pair import DomainPair, pair
from tl_robust.metrics import METRICS
from tl_robust.sinks.wandb.read import read
from tl_robust.strategies import TransferTask
from tl_robust.types import Recipe

__all__ = ["no_account"]
# Lightning 2.6 uses what torch 2.9 and later warn about
pytestmark = pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")
RECIPE = Recipe(epochs=2, batch_size=16, lr=0.02, momentum=0.9, val_share=0.2)
EPS = [0.0, 4 / 255, 1.0]


def data(recipe: Recipe = RECIPE) -> DomainPair:
    return pair("rendered_syn-optdigits", recipe=recipe, seed=5, train_limit=120, test_limit=40)


def task(name: str = "scratch", recipe: Recipe = RECIPE, seed: int = 0, **settings: Any) -> TransferTask:
    torch.manual_seed(seed)
    return strategies.get(name, models.get("dtn", (3, 32, 32), 10, width=0.1), recipe, 10, **settings)


def trainer(logger: Logger | bool, *callbacks: TransferAttack) -> Trainer:
    return Trainer(
        max_epochs=2,
        inference_mode=False,
        accelerator="cpu",
        devices=1,
        logger=logger,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
        callbacks=list(callbacks),
    )


class Plain(LightningModule):
    """A module of a user's own."""

    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 10))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.network(images)

    def test_step(self, batch: Any, index: int) -> None:
        """Nothing."""


@pytest.mark.parametrize("kind", [task, Plain], ids=["ours", "a module of a user's own"])
def test_wandb_holds_one_row_an_eps(kind: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_SILENT", "true")
    torch.manual_seed(0)
    logger = WandbLogger(project="p", save_dir=tmp_path, offline=True, id="attacked")
    victims = {"scratch": Plain().network, "finetune": Plain().network}
    callback = TransferAttack(attacks.get("fgsm"), victims, EPS)
    trainer(logger, callback).test(kind(), datamodule=data(), verbose=False)
    logger.experiment.finish()
    (file,) = (tmp_path / "wandb").glob("*run-*/*.wandb")
    run = read(file)
    assert (run.ids, run.exits, run.fault) == ({"attacked"}, (0,), "")
    rows = [row for row in run.rows if "eps" in row]
    assert [row["eps"] for row in rows] == pytest.approx(EPS)
    for name in ("scratch", "finetune"):
        expected = METRICS["robust_accuracy"](callback.outcomes[name]).tolist()
        assert [row[f"robust/{name}"] for row in rows] == pytest.approx(expected)
        assert min(expected) < max(expected), "the attack did something"


def test_wandb_holds_the_losses_of_a_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_SILENT", "true")
    logger = WandbLogger(project="p", save_dir=tmp_path, offline=True, id="fitted")
    module = task()
    trainer(logger).fit(module, datamodule=data())
    logger.experiment.finish()
    (file,) = (tmp_path / "wandb").glob("*run-*/*.wandb")
    rows = read(file).rows
    assert [row["val/loss"] for row in rows if "val/loss" in row] == pytest.approx(
        [seen["val_loss"] for seen in module.history]
    )
    assert len([row for row in rows if "train/loss" in row]) == 2


def logged(folder: Path) -> list[dict[str, float]]:
    with (folder / "metrics.csv").open() as file:
        return [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]


class Losses(TransferTask):
    """Notes what each batch was."""

    def __init__(self, network: nn.Module, recipe: Recipe, classes: int) -> None:
        super().__init__(network, recipe, classes)
        self.noted: list[tuple[int, float, float, int]] = []

    def training_step(self, batch: Any, index: int) -> torch.Tensor:
        state = torch.get_rng_state()
        with torch.no_grad():
            logits = self(batch[0])  # with the dropout of the step
        torch.set_rng_state(state)
        right = float((logits.argmax(1) == batch[1]).float().mean())
        loss = super().training_step(batch, index)
        self.noted.append((self.current_epoch, loss.item(), right, len(batch[1])))
        return loss


@pytest.mark.parametrize("batch_size", [16, 23], ids=["even", "a smaller last batch"])
def test_names_and_values_of_a_fit(batch_size: int, tmp_path: Path) -> None:
    recipe = Recipe(epochs=2, batch_size=batch_size, lr=0.02, momentum=0.9, val_share=0.2)
    torch.manual_seed(0)
    module = Losses(models.get("dtn", (3, 32, 32), 10, width=0.1), recipe, 10)
    trainer(CSVLogger(tmp_path, name="", version="")).fit(module, datamodule=data(recipe))
    rows = logged(tmp_path)
    assert {name for row in rows for name in row} == {
        *("epoch", "step", "train/loss", "train/accuracy", "val/loss", "val/accuracy")
    }
    for epoch in range(2):
        noted = [row for row in module.noted if row[0] == epoch]
        count = sum(row[3] for row in noted)
        (trained,) = [row for row in rows if row["epoch"] == epoch and "train/loss" in row]
        assert trained["train/loss"] == pytest.approx(sum(row[1] * row[3] for row in noted) / count, rel=1e-5)
        assert trained["train/accuracy"] == pytest.approx(sum(row[2] * row[3] for row in noted) / count, rel=1e-5)
        (judged,) = [row for row in rows if row["epoch"] == epoch and "val/loss" in row]
        assert judged["val/loss"] == pytest.approx(module.history[epoch]["val_loss"])
        assert judged["val/accuracy"] == pytest.approx(module.history[epoch]["val_accuracy"])


def test_no_step_reads_a_number_back_from_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading a tensor waits for the device; a fit does it at the end of an epoch alone."""
    module, inside = task(), [False]
    step, item, number = type(module).training_step, torch.Tensor.item, torch.Tensor.__float__

    def counted(read: Any) -> Any:
        def reading(tensor: torch.Tensor) -> Any:
            assert not inside[0], "a step waited for the device"
            return read(tensor)

        return reading

    def training_step(self: TransferTask, batch: Any, index: int) -> torch.Tensor:
        inside[0] = True
        try:
            return step(self, batch, index)
        finally:
            inside[0] = False

    monkeypatch.setattr(type(module), "training_step", training_step)
    monkeypatch.setattr(torch.Tensor, "item", counted(item))
    monkeypatch.setattr(torch.Tensor, "__float__", counted(number))
    trainer(False).fit(module, datamodule=data())


@pytest.mark.parametrize("other", [False, True], ids=["one recipe", "another recipe of the data"])
def test_loggers_get_the_hyperparameters_of_both(other: bool, tmp_path: Path) -> None:
    """Lightning refuses a fit in which module and data say different things under one name."""
    recipe = Recipe(epochs=1, batch_size=32, val_share=0.3) if other else RECIPE
    trainer(CSVLogger(tmp_path, name="", version="")).fit(task("finetune", mode="frozen_bn"), datamodule=data(recipe))
    found = yaml.safe_load((tmp_path / "hparams.yaml").read_text())
    assert found["mode"] == "frozen_bn"
    assert found["network"]["settings"] == {"width": 0.1}
    assert (found["source"], found["target"], found["space"]) == ("rendered_syn", "optdigits", "digits")
    assert (found["seed"], found["train_limit"], found["test_limit"]) == (5, 120, 40)
    assert found["batch_size"] == recipe.batch_size
    assert found["recipe"]["batch_size"] == 16


def test_a_checkpoint_says_what_it_was_fitted_on(tmp_path: Path) -> None:
    a, b = task(), task("finetune", mode="probe")
    for module, name in ((a, "source"), (b, "target")):
        runner = trainer(False)
        runner.fit(module, datamodule=data().module("source") if name == "source" else data())
        runner.save_checkpoint(tmp_path / f"{name}.ckpt")
        content = torch.load(tmp_path / f"{name}.ckpt", weights_only=True)
        loaded = type(module).load_from_checkpoint(tmp_path / f"{name}.ckpt")
        for found in (content["hyper_parameters"], content["datamodule_hyper_parameters"], loaded.hparams):
            assert (found["source"], found["target"], found["seed"]) == ("rendered_syn", "optdigits", 5)
            assert found["domain"] == ("rendered_syn" if name == "source" else "optdigits")
        assert content["datamodule_hyper_parameters"]["train_limit"] == 120
    assert loaded.hparams["mode"] == "probe"
