"""A backdoor followed through a plain fit, and given models judged in one call."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Trainer
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor, nn

from tl_robust import backdoors, metrics, stamp_evaluate
from tl_robust.callbacks import BackdoorTest, Snapshots
from tl_robust.data.domain import DataSettings
from tl_robust.data.mapped import DomainInSpace
from tl_robust.data.pair import DomainModule
from tl_robust.data.space import SPACES
from tl_robust.errors import ConfigError
from tl_robust.models import build
from tl_robust.registry import Component
from tl_robust.strategies import STRATEGIES, TransferTask
from tl_robust.types import Recipe

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning"),  # Lightning 2.6 uses what torch 2.9 warns about
    pytest.mark.filterwarnings("ignore:Be aware that when using .ckpt_path."),
]
DATA = DomainInSpace("optdigits", SPACES.component("digits"), DataSettings(train_limit=200, test_limit=60))
RECIPE = Recipe(epochs=3, batch_size=16, lr=0.05, select="last")
PATCH = backdoors.get("patch")
TEST = DATA.images("test")


def task(seed: int) -> TransferTask:
    torch.manual_seed(seed)
    return STRATEGIES["scratch"](build(Component("dtn", 1, (("width", 0.1),)), (3, 32, 32), 10), RECIPE, 10)


def followed(**settings: Any) -> BackdoorTest:
    return BackdoorTest(PATCH, TEST.images, TEST.labels, 0, **settings)


def fit(module: TransferTask, *callbacks: Any, epochs: int = 3, path: str | None = None, **options: Any) -> Trainer:
    torch.manual_seed(7)
    options = {"logger": False, "enable_checkpointing": False, "log_every_n_steps": 1} | options
    trainer = Trainer(
        max_epochs=epochs, accelerator="cpu", devices=1, enable_progress_bar=False, enable_model_summary=False,
        callbacks=list(callbacks), num_sanity_val_steps=0, **options,
    )  # fmt: skip
    trainer.fit(module, datamodule=DomainModule(DATA, RECIPE), ckpt_path=path)
    return trainer


def naive(network: nn.Module, images: Tensor) -> Tensor:
    return torch.tensor([int(network.eval()(image[None].float() / 255).argmax()) for image in images])


def test_it_says_what_snapshots_say_and_changes_nothing() -> None:
    plain, followed_task, callback, snapshots = task(1), task(1), followed(), Snapshots([0, 1, 2, 3])
    fit(plain)
    fit(followed_task, callback, snapshots)
    for name, value in plain.state_dict().items():
        assert torch.equal(value, followed_task.state_dict()[name]), name
    record = callback.record
    assert record.epochs.tolist() == [0, 1, 2, 3]
    stamped = PATCH.stamp(TEST.images, torch.arange(60), {})
    for place in range(4):
        network = task(1).network
        network.load_state_dict(snapshots.states[place])
        assert torch.equal(record.clean[place], naive(network, TEST.images))
        assert torch.equal(record.stamped[place], naive(network, stamped))
    assert not torch.equal(record.clean[0], record.clean[3])


def test_loggers_get_a_row_an_epoch_with_its_floor(tmp_path: Path) -> None:
    twin, callback = followed(), followed()
    callback.twin = twin
    fit(task(1), twin)
    fit(task(2), callback, logger=CSVLogger(tmp_path))
    rows = [
        row for row in csv.DictReader(next(tmp_path.rglob("metrics.csv")).read_text().splitlines()) if row["epochs"]
    ]
    assert [float(row["epochs"]) for row in rows] == [0, 1, 2, 3]
    for name in ("attack_success", "victim_accuracy", "lift", "false_trigger", "clean_cost"):
        expected = metrics.get(name)(callback.record, callback.beside).tolist()
        assert [float(row[f"backdoor/{name}"]) for row in rows] == pytest.approx(expected), name


def test_a_resumed_fit_goes_on(tmp_path: Path) -> None:
    straight, first, second = followed(), followed(), followed()
    fit(task(1), straight)
    fit(task(1), first, epochs=1).save_checkpoint(tmp_path / "a.ckpt")
    fit(task(1), second, path=str(tmp_path / "a.ckpt"))
    for name, value in straight.record.tensors().items():
        assert torch.equal(value, second.record.tensors()[name]), name


def test_only_some_epochs() -> None:
    callback = followed(epochs=[0, 3])
    fit(task(1), callback)
    assert callback.record.epochs.tolist() == [0, 3]


def test_given_models_are_judged_in_one_call() -> None:
    b, clean = task(1).network, task(2).network
    records = stamp_evaluate(PATCH, {"b": b, "clean": clean}, TEST.images.float() / 255, TEST.labels, target=3)
    stamped = PATCH.stamp(TEST.images, torch.arange(60), {})
    assert torch.equal(records["b"].stamped[0], naive(b, stamped))
    others = TEST.labels != 3
    expected = ((naive(b, stamped) == 3).double() - (naive(clean, stamped) == 3).double())[others].mean()
    assert float(metrics.get("lift")(records["b"], {"twin": records["clean"]})) == pytest.approx(float(expected))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"labels": TEST.labels[:5]}, "labels must be int64"),
        ({"images": TEST.images.float()}, "divide by 255"),
        ({"images": TEST.images[0]}, "labels must be|images must be"),
        ({"target": 12.5}, "target must be a class"),
        ({"target": -1}, "target must be a class"),
        ({"victims": {}}, "victims must be names and models"),
        ({"backdoor": backdoors.get("patch", side=40)}, "patch needs 41 pixels"),
    ],
)
def test_one_sentence_for_wrong_input(change: dict[str, Any], says: str) -> None:
    given = {"backdoor": PATCH, "victims": {"b": task(1).network}, "images": TEST.images, "labels": TEST.labels}
    with pytest.raises(ConfigError, match=says):
        stamp_evaluate(**(given | {"target": 0} | change))


def test_a_record_before_a_fit_is_refused() -> None:
    with pytest.raises(ConfigError, match="call its fit"):
        _ = followed().record
