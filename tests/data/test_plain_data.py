"""Pairs as plain LightningDataModules: made in one call, predicted on, and what they say of themselves."""

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor

from tl_robust import models, strategies
from tl_robust.data.batches import Batches
from tl_robust.data.domain import DataSettings
from tl_robust.data.pair import PAIRS, DomainModule, DomainPair, pair
from tl_robust.data.space import SPACES
from tl_robust.errors import ConfigError, DataError, UnknownNameError
from tl_robust.models.module import NetworkModule
from tl_robust.registry import load_plugins
from tl_robust.seeding import generator
from tl_robust.types import ImageSet, Recipe

# Lightning 2.6 uses what torch 2.9 and later warn about
pytestmark = pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")
NAME = "rendered_syn-optdigits"


def trainer(**options: Any) -> Trainer:
    return Trainer(
        **{"logger": False, "max_epochs": 1} | options,
        accelerator="cpu",
        devices=1,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
    )


# in one call


def test_a_pair_is_made_in_one_call(tmp_path: Path) -> None:
    data = pair(NAME, recipe=Recipe(batch_size=7), seed=3, train_limit=60, test_limit=30)
    assert isinstance(data, DomainPair)
    assert (data.source, data.target, data.seed) == ("rendered_syn", "optdigits", 3)
    assert (data.labels, data.image_shape) == (tuple("0123456789"), (3, 32, 32))
    assert data.settings == DataSettings(train_limit=60, test_limit=30, cache="")
    assert len(data.data.images("train")) == 60
    assert data.module("source").data.domain == "rendered_syn"
    assert [len(ids) for _, _, ids in data.test_dataloader()] == [7, 7, 7, 7, 2]
    assert not list(tmp_path.iterdir()), "nothing is written by surprise"


def test_a_space_may_have_settings() -> None:
    data = pair(NAME, space=SPACES.component("square", {"side": 16}), train_limit=40, test_limit=20)
    assert data.image_shape == (3, 16, 16)
    assert data.hparams["space"] == "square(side=16)"
    assert data.module("source").image_shape == (3, 16, 16)


@pytest.mark.parametrize(("wanted", "count"), [(1.0, 200), (0.25, 50), (50, 50), (20.0, 20)])
def test_few_labeled_target_images(wanted: float, count: int) -> None:
    data = pair(NAME, recipe=Recipe(val_share=0.5), target_images=wanted, train_limit=200, test_limit=20)
    for module in (data, data.module("target")):
        ids = [
            int(one)
            for loader in (module.train_dataloader(), module.val_dataloader())
            for _, _, ids in loader
            for one in ids
        ]
        assert len(ids) == count
    assert len(data.module("source").data.images("train")) == 200, "the source keeps all of its own"
    assert data.hparams["target_images"] == wanted


def test_too_many_labeled_target_images_is_an_error() -> None:
    with pytest.raises(DataError, match=r"^target_images asks for 300, but optdigits has 200"):
        pair(NAME, target_images=300, train_limit=200).train_dataloader()


@pytest.mark.parametrize(
    ("name", "settings", "kind", "says"),
    [
        ("rendered_syn-optdigit", {}, UnknownNameError, "^unknown domain 'optdigit'; did you mean 'optdigits'"),
        (
            NAME,
            {"train_limt": 3},
            UnknownNameError,
            r"^unknown setting of pair '.*' 'train_limt'; did you mean 'train_",
        ),
        (NAME, {"train_limit": "3"}, ConfigError, r"^setting 'train_limit' of pair .* must be int, got '3' \(str\)"),
        (NAME, {"space": "digitz"}, UnknownNameError, "^unknown space 'digitz'; did you mean 'digits'"),
        ("optdigits-optdigits", {}, ConfigError, "has the same domain twice"),
    ],
)
def test_what_is_no_pair_is_said(name: str, settings: dict[str, Any], kind: type[Exception], says: str) -> None:
    with pytest.raises(kind, match=says):
        pair(name, **settings)


def test_a_registered_pair_comes_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "print_to_hand.py").write_text(
        "from tl_robust.data.pair import PAIRS, DomainPair\n"
        "@PAIRS.register\n"
        "class PrintToHand(DomainPair):\n"
        "    source, target, space = 'rendered_print', 'optdigits', 'digits'\n"
    )
    load_plugins(tmp_path)
    data = pair("print_to_hand", train_limit=40)
    assert type(data) is PAIRS["print_to_hand"]
    assert (data.hparams["source"], data.hparams["target"]) == ("rendered_print", "optdigits")


# hyperparameters


def test_hyperparameters_are_plain_values_that_say_what_the_data_are(tmp_path: Path) -> None:
    recipe = Recipe(batch_size=7, augment="crop", val_share=0.2, select="last")
    data = pair(NAME, recipe=recipe, seed=3, target_images=30, root=str(tmp_path), train_limit=60, test_limit=30)
    expected = {"source": "rendered_syn", "target": "optdigits", "domain": "optdigits", "space": "digits", "seed": 3}
    expected |= {"target_images": 30, "root": str(tmp_path), "train_limit": 60, "test_limit": 30}
    expected |= {"batch_size": 7, "augment": "crop", "val_share": 0.2, "select": "last"}
    assert {name: data.hparams[name] for name in expected} == expected
    source = data.module("source").hparams
    assert {name: source[name] for name in expected} == expected | {"domain": "rendered_syn", "target_images": 1.0}
    torch.save(dict(data.hparams), tmp_path / "hparams")
    assert torch.load(tmp_path / "hparams", weights_only=True) == dict(data.hparams)
    alone = DomainModule(data.data, recipe, seed=3).hparams
    assert alone == {name: value for name, value in data.hparams.items() if name not in ("source", "target")}


def test_data_do_not_come_from_a_checkpoint(tmp_path: Path) -> None:
    """Lightning would leave out what it cannot give and make other data."""
    data = pair(NAME, train_limit=40, test_limit=20)
    runner, recipe = trainer(), Recipe(epochs=1, batch_size=16)
    runner.fit(strategies.get("scratch", models.get("dtn", (3, 32, 32), 10, width=0.05), recipe, 10), datamodule=data)
    runner.save_checkpoint(tmp_path / "task.ckpt")
    for kind in (DomainPair, DomainModule, type(data)):
        with pytest.raises(ConfigError, match=r"^data are not in a checkpoint: make them by tl_robust\.pair\(name"):
            kind.load_from_checkpoint(tmp_path / "task.ckpt")


def test_a_module_of_one_role_can_be_sent_to_another_process() -> None:
    module = pair(NAME, train_limit=40).module("source")
    assert pickle.loads(pickle.dumps(module)).hparams == module.hparams


# predictions


@pytest.mark.parametrize("precision", ["32-true", "64-true", "bf16-true"])
@pytest.mark.parametrize("kind", ["strategy", "network"])
def test_predictions_are_logits_of_the_test_split_in_order(kind: str, precision: Any) -> None:
    data = pair(NAME, recipe=Recipe(batch_size=16), train_limit=40, test_limit=50)
    network = models.get("dtn", data.image_shape, 10, width=0.1)
    module = NetworkModule(network) if kind == "network" else strategies.get("scratch", network, Recipe(), 10)
    module.eval()
    test = data.data.images("test")
    with torch.no_grad():
        expected = torch.cat([network(images.float() / 255) for images in test.images.split(16)])
    logits = trainer(precision=precision).predict(module, datamodule=data)
    assert logits is not None
    assert [tuple(part.shape) for part in logits] == [(16, 10), (16, 10), (16, 10), (2, 10)]
    exact = {"32-true": 0.0, "64-true": 1e-4, "bf16-true": 0.1}[precision]
    assert torch.cat(logits).float().sub(expected).abs().max() <= exact  # type: ignore[arg-type]
    labels = torch.cat([labels for _, labels, _ in data.predict_dataloader()])
    assert torch.equal(labels, test.labels)


def test_predictions_need_images_alone() -> None:
    network = models.get("dtn", (3, 32, 32), 10, width=0.1).eval()
    images = torch.rand(8, 3, 32, 32)
    (logits,) = trainer().predict(NetworkModule(network), torch.utils.data.DataLoader(images, batch_size=8))  # type: ignore[arg-type,misc]
    assert torch.equal(logits, network(images))


@pytest.mark.parametrize("precision", ["64-true", "bf16-true"])
@pytest.mark.parametrize("loader", ["pair", "plain"])
@pytest.mark.filterwarnings("ignore:.*does not have many workers")
def test_a_strategy_takes_other_precisions_and_plain_loaders(loader: str, precision: Any) -> None:
    recipe = Recipe(epochs=3, batch_size=16, lr=0.02, momentum=0.9)
    data = pair(NAME, recipe=recipe, train_limit=200, test_limit=50)
    task = strategies.get("scratch", models.get("dtn", (3, 32, 32), 10, width=0.1), recipe, 10)
    runner = trainer(precision=precision, max_epochs=3)
    if loader == "pair":
        runner.fit(task, datamodule=data)
    else:
        images = data.data.images("train")
        plain = torch.utils.data.TensorDataset(images.images.float() / 255, images.labels)
        runner.fit(task, *(torch.utils.data.DataLoader(plain, batch_size=16) for _ in range(2)))  # (images, labels)
        runner.test(task, torch.utils.data.DataLoader(plain, batch_size=16), verbose=False)
    losses = runner.callback_metrics if loader == "pair" else {}
    assert len(task.history) == 3
    assert all(0 < float(seen["val_loss"]) < 10 for seen in task.history)
    assert not losses or 0 < float(losses["train/loss"]) < 10


# a Trainer says which epoch it is, and where in it


def made(count: int) -> ImageSet:
    pixels = torch.randint(0, 256, (count, 1, 4, 4), generator=generator("made", count), dtype=torch.uint8)
    return ImageSet(pixels, torch.arange(count) % 10)


def ids(batches: Batches) -> list[list[int]]:
    return [part.tolist() for _, _, part in batches]


def test_an_epoch_can_be_set() -> None:
    expected = [ids(batches) for batches in [Batches(made(53), 8, seed=5)] for _ in range(4)]
    batches = Batches(made(53), 8, seed=5)
    for epoch in (2, 3, 0, 2):
        batches.sampler.set_epoch(epoch)
        assert ids(batches) == expected[epoch]
    assert ids(batches) == expected[3], "it counts on"


@pytest.mark.parametrize("stream", [False, True], ids=["resident", "streamed"])
@pytest.mark.parametrize("seed", [None, 5])
@pytest.mark.parametrize("given", range(8))
def test_it_goes_on_where_it_stood(given: int, seed: int | None, stream: bool) -> None:
    augment = "none" if seed is None else "crop"

    def batches() -> Batches:
        return Batches(made(53), 8, seed=seed, augment=augment, stream=stream)

    whole = batches()
    epochs = [list(whole) for _ in range(3)]
    one, other = batches(), batches()
    list(one)
    iterator = iter(one)
    for _ in range(given):
        next(iterator)
    state = one.state_dict()
    assert all(type(value) is int for value in state.values()), "plain values, as a checkpoint wants"
    iterator.close()  # type: ignore[attr-defined]
    other.load_state_dict(state)
    assert other.state_dict() == state
    rest = [*epochs[1][given:], *epochs[2]] if given % 7 else epochs[1 if given == 0 else 2]
    found = [*other, *other] if given % 7 else [*other]
    assert len(found) == len(rest)
    for batch, expected in zip(found, rest, strict=True):
        assert all(map(torch.equal, batch, expected))


def test_another_epoch_is_not_shortened() -> None:
    batches = Batches(made(53), 8, seed=5)
    batches.load_state_dict({"epoch": 1, "batch": 3})
    batches.set_epoch(1)
    assert len(ids(batches)) == 4
    batches.load_state_dict({"epoch": 1, "batch": 3})
    batches.set_epoch(2)
    assert len(ids(batches)) == 7


class Noting(LightningModule):
    """A module of a user's own, which notes what it meets."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.seen: list[tuple[int, list[int]]] = []

    def training_step(self, batch: tuple[Tensor, Tensor, Tensor], index: int) -> Tensor:
        self.seen.append((self.current_epoch, batch[2].tolist()))
        return self.weight.sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.mark.parametrize("step", [4, 8, 9, 10])
@pytest.mark.parametrize("limit", [1.0, 4], ids=["whole epochs", "limited ones"])
@pytest.mark.filterwarnings("ignore:Be aware that when using .ckpt_path.")  # the callback that wrote the file
def test_a_module_of_ones_own_meets_the_same_batches_after_resuming(step: int, limit: float, tmp_path: Path) -> None:
    def run(module: Noting, *callbacks: ModelCheckpoint, path: Path | None = None) -> None:
        runner = Trainer(
            max_epochs=3,
            limit_train_batches=limit,
            accelerator="cpu",
            devices=1,
            logger=False,
            callbacks=list(callbacks),
            enable_checkpointing=bool(callbacks),
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        runner.fit(module, Batches(made(75), 16, seed=3), ckpt_path=path)

    straight, after = Noting(), Noting()
    run(straight, ModelCheckpoint(tmp_path, "{step}", save_top_k=-1, every_n_train_steps=1))
    run(after, path=tmp_path / f"step={step}.ckpt")
    assert len(straight.seen) == 3 * (5 if limit == 1 else 4)
    assert after.seen == straight.seen[step:]
