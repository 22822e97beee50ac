"""Checkpoints of plain Trainers: what they say, what they load as, and a fit that goes on as if it had not stopped."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from by_hand import NETWORK_NAMES, PUBLISHED
from lightning import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor, nn

from tl_robust import models, strategies
from tl_robust.data.batches import Batches
from tl_robust.errors import ConfigError, UnknownNameError
from tl_robust.models.base import described
from tl_robust.models.checkpoint import load_checkpoint
from tl_robust.seeding import generator
from tl_robust.strategies import STRATEGIES, TransferTask
from tl_robust.strategies.finetune import FineTune
from tl_robust.strategies.scratch import Scratch
from tl_robust.types import ImageSet, Recipe

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning"),  # Lightning 2.6 uses what torch 2.9 warns about
    pytest.mark.filterwarnings("ignore:Found .* in eval mode"),
    pytest.mark.filterwarnings("ignore:Be aware that when using .ckpt_path."),  # the callback that wrote the file
]
SHAPE = (3, 8, 8)
RECIPE = Recipe(epochs=4, batch_size=16, lr=0.05, momentum=0.9, lr_every=1, lr_at=(1, 3), augment="crop_flip")
State = dict[str, Tensor]


def made(count: int, name: str) -> ImageSet:
    labels = torch.arange(count) % 10
    noise = torch.rand(count, *SHAPE, generator=generator(name))
    return ImageSet((255 * (0.5 * noise + labels.view(-1, 1, 1, 1) / 20)).to(torch.uint8), labels)


TRAIN, VAL = made(75, "train"), made(40, "val")  # five batches


class Data(LightningDataModule):
    def train_dataloader(self) -> Batches:
        return Batches(TRAIN, RECIPE.batch_size, seed=3, augment=RECIPE.augment)

    def val_dataloader(self) -> Batches:
        return Batches(VAL, RECIPE.batch_size)


def network(seed: int = 0, **settings: Any) -> nn.Module:
    torch.manual_seed(seed)
    return models.get("dtn", SHAPE, 10, **({"width": 0.05} | settings))


def child(name: str = "finetune", seed: int = 0, **settings: Any) -> TransferTask:
    task = strategies.get(name, network(seed), RECIPE, 10, **settings)
    task.initialize(network(99).state_dict())
    return task


def trainer(epochs: int = 4, *callbacks: Callback, **options: Any) -> Trainer:
    return Trainer(
        **{"accelerator": "cpu", "devices": 1, "logger": False} | options,
        enable_checkpointing=any(isinstance(callback, ModelCheckpoint) for callback in callbacks),
        max_epochs=epochs,
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
        callbacks=list(callbacks),
    )


def fit(task: TransferTask, *callbacks: Callback, epochs: int = 4, path: Path | None = None, **options: Any) -> Trainer:
    torch.manual_seed(7)
    runner = trainer(epochs, *callbacks, **options)
    runner.fit(task, datamodule=Data(), ckpt_path=path)
    return runner


def state(task: TransferTask) -> State:
    return {name: value.clone() for name, value in task.state_dict().items()}


def assert_same(one: State, other: State) -> None:
    assert one.keys() == other.keys()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


def logits(task: TransferTask) -> Tensor:
    with torch.no_grad():
        return task.eval()(VAL.images[:8] / 255)


# a checkpoint loads without further arguments


@pytest.mark.parametrize("name", STRATEGIES.names())
def test_every_strategy_loads_from_its_checkpoint_alone(name: str, tmp_path: Path) -> None:
    task = strategies.get(name, network(), RECIPE, 10)
    fit(task, epochs=2).save_checkpoint(tmp_path / "task.ckpt")
    content = torch.load(tmp_path / "task.ckpt", weights_only=True)
    assert content["hyper_parameters"]["recipe"]["epochs"] == 4
    assert content["hyper_parameters"]["network"]["settings"] == {"width": 0.05}
    before = torch.get_rng_state()
    loaded = STRATEGIES[name].load_from_checkpoint(tmp_path / "task.ckpt", weights_only=True)
    assert torch.equal(torch.get_rng_state(), before), "fresh weights took no draw of the user's"
    assert type(loaded) is type(task)
    assert loaded.recipe == RECIPE
    assert loaded.hparams == task.hparams
    assert loaded.history == task.history
    assert len(loaded.history) == 2
    assert torch.equal(logits(loaded), logits(task))
    assert logits(task).std() > 0.01


@pytest.mark.parametrize(
    "settings",
    [
        {"mode": "probe", "classifier": "fresh"},
        {"mode": "frozen_bn", "blocks": 2},
        {"mode": "probe_full"},
        {"classifier": "fresh"},
    ],
    ids=str,
)
def test_settings_come_back(settings: dict[str, Any], tmp_path: Path) -> None:
    task = child(**settings)
    fit(task, epochs=1).save_checkpoint(tmp_path / "task.ckpt")
    loaded = FineTune.load_from_checkpoint(tmp_path / "task.ckpt")
    assert {name: loaded.hparams[name] for name in settings} == settings
    assert (loaded.mode, loaded.blocks, loaded.classifier_start) == (task.mode, task.blocks, task.classifier_start)
    assert loaded.has_parent, "what is frozen stays frozen"
    names = [{key for key, part in one.network.named_modules() if part in set(one.frozen(0))} for one in (task, loaded)]
    assert names[0] == names[1]
    assert torch.equal(logits(loaded), logits(task))


def test_a_root_is_none_after_loading(tmp_path: Path) -> None:
    task = FineTune(network(), RECIPE, 10, mode="probe")
    fit(task, epochs=1).save_checkpoint(tmp_path / "task.ckpt")
    assert not FineTune.load_from_checkpoint(tmp_path / "task.ckpt").has_parent


class Scaled(FineTune):
    """A strategy of a user's, with a setting of its own."""

    def __init__(
        self, network: nn.Module, recipe: Recipe, classes: int, scale: float = 1.0, mode: str = "full"
    ) -> None:
        super().__init__(network, recipe, classes, mode=mode)
        self.scale = scale

    def forward(self, images: Tensor) -> Tensor:
        return self.scale * super().forward(images)


def test_settings_of_a_subclass_are_kept_too(tmp_path: Path) -> None:
    task = Scaled(network(), RECIPE, 10, scale=3.0, mode="probe")
    fit(task, epochs=1).save_checkpoint(tmp_path / "task.ckpt")
    loaded = Scaled.load_from_checkpoint(tmp_path / "task.ckpt")
    assert (loaded.scale, loaded.mode) == (3.0, "probe")
    assert torch.equal(logits(loaded), logits(task))


class Seeded(FineTune):
    """A setting that a data module has too, with another meaning."""

    def __init__(self, network: nn.Module, recipe: Recipe, classes: int, seed: int = 0) -> None:
        super().__init__(network, recipe, classes)


class Two(LightningModule):
    """A user's module that makes one of ours."""

    def __init__(self, depth: int, teacher: nn.Module) -> None:
        super().__init__()
        self.inner = Seeded(network(), RECIPE, 10, seed=4)


def test_settings_are_not_those_of_others(tmp_path: Path) -> None:
    task = Two(3, network()).inner
    assert task.hparams.keys() == {"network", "recipe", "classes", "seed"}
    data = Data()
    data.save_hyperparameters({"seed": 9, "source": "s"}, logger=False)
    runner = trainer(1)
    runner.fit(task, datamodule=data)
    runner.save_checkpoint(tmp_path / "task.ckpt")
    loaded = Seeded.load_from_checkpoint(tmp_path / "task.ckpt")
    assert loaded.hparams == task.hparams
    assert (loaded.hparams["seed"], loaded.hparams["source"]) == (4, "s")


@pytest.mark.parametrize("name", NETWORK_NAMES)
def test_every_network_is_built_again_from_its_description(name: str) -> None:
    settings: dict[str, Any] = {"arch": "squeezenet1_1", "resize": 32} if name == "torchvision_backbone" else {}
    settings |= PUBLISHED.get(name, {})
    settings |= {"depth": 10, "width": 1} if name == "wrn" else {}
    task = Scratch(models.get(name, (3, 32, 32), 7, **settings), RECIPE, 7)
    again = Scratch(task.hparams["network"], task.hparams["recipe"], 7)
    assert type(again.network) is type(task.network)
    assert {key: value.shape for key, value in again.state_dict().items()} == {
        key: value.shape for key, value in task.state_dict().items()
    }
    assert described(again.network) == described(task.network)


def test_a_file_of_weights_alone_loads(tmp_path: Path) -> None:
    task = child()
    fit(task, epochs=1).save_checkpoint(tmp_path / "task.ckpt", weights_only=True)
    assert torch.equal(logits(FineTune.load_from_checkpoint(tmp_path / "task.ckpt")), logits(task))


def test_a_bench_reads_the_file_as_a_public_checkpoint(tmp_path: Path) -> None:
    task = child()
    fit(task, epochs=1).save_checkpoint(tmp_path / "task.ckpt")
    assert_same(load_checkpoint("task.ckpt", tmp_path, network(5)), dict(task.network.state_dict()))


def plain() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 10))


def test_a_network_of_ones_own_is_given_to_load(tmp_path: Path) -> None:
    task = FineTune(plain(), RECIPE, 10)
    fit(task, epochs=1).save_checkpoint(tmp_path / "task.ckpt")
    loaded = FineTune.load_from_checkpoint(tmp_path / "task.ckpt", network=plain())
    assert torch.equal(logits(loaded), logits(task))
    with pytest.raises(
        ConfigError, match=r"^this checkpoint does not say how its network is built, .*network=\.\.\.\)"
    ):
        FineTune.load_from_checkpoint(tmp_path / "task.ckpt")


@pytest.mark.parametrize(
    ("network", "recipe", "kind", "says"),
    [
        ({"name": "dtn"}, RECIPE, ConfigError, "^a description of a network needs version, settings, image_shape, cl"),
        (described(network()) | {"name": "dnt"}, RECIPE, UnknownNameError, "^unknown network 'dnt'; did you mean"),  # type: ignore[operator]
        (
            described(network()) | {"version": 0},
            RECIPE,
            ConfigError,
            r"^network 'dtn' has version \d+, this checkpoint",
        ),  # type: ignore[operator]
        (plain(), {"epoch": 3}, UnknownNameError, "^unknown setting of recipe 'epoch'; did you mean 'epochs'"),
        (plain(), {"epochs": 0}, ConfigError, "^recipe.epochs must be at least 1"),
    ],
)
def test_what_builds_nothing_is_said(network: Any, recipe: Any, kind: type[Exception], says: str) -> None:
    with pytest.raises(kind, match=says):
        Scratch(network, recipe, 10)


@pytest.mark.parametrize(
    ("name", "settings", "says"),
    [
        ("scrach", {}, "^unknown strategy 'scrach'; did you mean 'scratch'"),
        ("finetune", {"mod": "probe"}, "^unknown setting of strategy 'finetune' 'mod'; did you mean 'mode'"),
    ],
)
def test_an_unknown_strategy_shows_the_closest(name: str, settings: dict[str, Any], says: str) -> None:
    with pytest.raises(UnknownNameError, match=says):
        strategies.get(name, network(), RECIPE, 10, **settings)
    with pytest.raises(UnknownNameError, match=r"^unknown network 'dnt'; did you mean 'dtn'"):
        models.get("dnt", SHAPE, 10)
    with pytest.raises(UnknownNameError, match=r"^unknown setting of network 'dtn' 'widht'; did you mean 'width'"):
        models.get("dtn", SHAPE, 10, widht=1.0)


# a fit goes on

FULL: dict[str, Any] = {}
SETTINGS = pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("scratch", FULL),
        ("finetune", FULL),
        ("finetune", {"mode": "frozen_bn", "blocks": 1}),
        ("finetune", {"mode": "probe"}),
        ("finetune", {"mode": "probe_full"}),
        ("common_init", FULL),
    ],
    ids=str,
)


def saved(how: str, task: TransferTask, tmp_path: Path) -> Path:
    """A fit of two epochs, or of one and a half, and its checkpoint."""
    path = tmp_path / f"{how}.ckpt"
    if how == "after the fit":
        fit(task, epochs=2).save_checkpoint(path)
        return path
    options = {"every_n_epochs": 1} if how == "after the epoch" else {"every_n_train_steps": 8}
    fit(task, ModelCheckpoint(tmp_path, how, save_top_k=1, **options), epochs=2)  # type: ignore[arg-type]
    return path


@pytest.mark.parametrize("how", ["after the fit", "after the epoch", "within an epoch"])
@SETTINGS
def test_a_resumed_fit_is_the_straight_one(name: str, settings: dict[str, Any], how: str, tmp_path: Path) -> None:
    straight = child(name, **settings)
    fit(straight)
    path = saved(how, child(name, **settings), tmp_path)
    other = strategies.get(name, network(seed=5), RECIPE, 10, **settings)  # other weights, and told of no parent
    fit(other, path=path)
    assert other.history == straight.history
    assert len(other.history) == 4
    assert_same(state(other), state(straight))
    assert not torch.equal(logits(other), logits(child(name, **settings)))


class Scripted(FineTune):
    """Validation accuracies as scripted, one an epoch."""

    script: list[float] = []

    def on_validation_epoch_end(self) -> None:
        self.accuracy.compute = lambda: torch.tensor(self.script[self.current_epoch])  # type: ignore[method-assign]
        super().on_validation_epoch_end()


@pytest.mark.parametrize("how", ["after the fit", "after the epoch", "within an epoch"])
@pytest.mark.parametrize(
    ("script", "best"),
    [([0.9, 0.2, 0.5, 0.7], 0), ([0.2, 0.9, 0.5, 0.7], 1), ([0.2, 0.3, 0.8, 0.7], 2), ([0.5, 0.5, 0.5, 0.5], 0)],
)
def test_the_best_epoch_is_remembered(script: list[float], best: int, how: str, tmp_path: Path) -> None:
    class Ends(Callback):
        def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
            ends.append({key: value.clone() for key, value in pl_module.network.state_dict().items()})  # type: ignore[operator,union-attr]

    ends: list[State] = []
    tasks = [Scripted(network(seed), RECIPE, 10) for seed in (0, 0, 1)]
    for task in tasks:
        task.script = script
    fit(tasks[0], Ends())
    fit(tasks[2], path=saved(how, tasks[1], tmp_path))
    assert_same(dict(tasks[0].network.state_dict()), ends[best])
    assert_same(state(tasks[2]), state(tasks[0]))
    assert float(tasks[2].kept_accuracy) == pytest.approx(script[best])
    assert [seen["val_accuracy"] for seen in tasks[2].history] == pytest.approx(script)


def test_the_last_epoch_is_kept_where_it_is_chosen(tmp_path: Path) -> None:
    recipe = Recipe(epochs=4, batch_size=16, lr=0.05, select="last")
    tasks = [FineTune(network(), recipe, 10) for _ in range(3)]
    fit(tasks[0])
    fit(tasks[2], path=saved("after the fit", tasks[1], tmp_path))
    assert_same(state(tasks[2]), state(tasks[0]))


@pytest.mark.parametrize("how", ["after the fit", "after the epoch"])
def test_a_file_holds_the_weights_that_it_was_saved_with(how: str, tmp_path: Path) -> None:
    """After a fit those are the best epoch's, although a resumed fit goes on from the last one's."""
    task = Scripted(network(), RECIPE, 10)
    task.script = [0.9, 0.2]
    path = saved(how, task, tmp_path)
    loaded = Scripted.load_from_checkpoint(path)
    assert torch.equal(logits(loaded), logits(task)) is (how == "after the fit")
    assert loaded.best_state is not None
    assert_same(loaded.best_state, dict(task.network.state_dict()))


def test_a_resumed_fit_of_enough_epochs_only_goes_back_to_the_best(tmp_path: Path) -> None:
    task, other = child(), child(seed=5)
    path = saved("after the epoch", task, tmp_path)
    fit(other, epochs=2, path=path)
    assert_same(state(other), state(task))


def test_another_fit_begins_anew() -> None:
    """The first fit's best epoch, here one of other data, is not what the second ends with."""
    task = Scripted(network(), RECIPE, 10)
    task.script = [0.9, 0.8, 0.7, 0.6]
    fit(task)
    task.script = [0.1, 0.3, 0.2, 0.1]
    fit(task)
    assert [seen["val_accuracy"] for seen in task.history] == pytest.approx(task.script)
    assert float(task.kept_accuracy) == pytest.approx(0.3)
    fit(task, limit_val_batches=0)
    assert task.kept_accuracy.isnan(), "no epoch was chosen"


def test_the_same_module_goes_on_from_an_earlier_checkpoint(tmp_path: Path) -> None:
    straight, task = child(), child()
    fit(straight)
    path = saved("after the epoch", task, tmp_path)
    fit(task, epochs=4)  # something else, in between
    fit(task, path=path)
    assert_same(state(task), state(straight))
    assert task.history == straight.history


def test_a_trainer_may_ask_for_loaders_anew_in_each_epoch() -> None:
    tasks = [child(), child()]
    fit(tasks[0])
    fit(tasks[1], reload_dataloaders_every_n_epochs=1)
    assert_same(state(tasks[1]), state(tasks[0]))


@pytest.mark.parametrize("how", ["after the epoch", "within an epoch"])
def test_what_is_logged_of_an_epoch_is_of_all_of_it(how: str, tmp_path: Path) -> None:
    path = saved(how, child(), tmp_path)
    straight, resumed = fit(child(), epochs=3).callback_metrics, fit(child(), epochs=3, path=path).callback_metrics
    assert resumed == straight
    within = fit(child(), epochs=2, path=path).callback_metrics  # the rest of the epoch that it stopped in
    whole = fit(child(), epochs=2).callback_metrics
    assert {"train/loss", "train/accuracy", "val/loss", "val/accuracy"} == whole.keys()
    assert within == (whole if how == "within an epoch" else {})


def test_what_needs_a_gradient_is_known_before_ddp_wraps_the_network(tmp_path: Path) -> None:
    """Lightning reads a checkpoint after the setup and before it wraps."""
    path = saved("after the fit", child(mode="probe"), tmp_path)
    task = FineTune(network(), RECIPE, 10, mode="probe")
    task.trainer = trainer()
    task.setup("fit")
    assert all(parameter.requires_grad for parameter in task.network.parameters()), "a root"
    task.on_load_checkpoint(torch.load(path, weights_only=True))
    assert {key for key, value in task.network.named_parameters() if value.requires_grad} == {
        *("classifier.weight", "classifier.bias")
    }


def test_draws_are_restored_for_a_fit_alone(tmp_path: Path) -> None:
    path, task = saved("after the fit", child(), tmp_path), child()
    torch.manual_seed(11)
    before = torch.get_rng_state()
    trainer().validate(task, datamodule=Data(), ckpt_path=path, verbose=False)
    FineTune.load_from_checkpoint(path)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("select", ["best", "last"])
def test_what_is_validated_is_the_chosen_epoch_and_no_epoch_of_the_training(select: str, tmp_path: Path) -> None:
    """A fit goes on from the last epoch's weights, and nothing else takes them."""
    task = FineTune(network(), replace(RECIPE, select=select), 10)
    fit(task).save_checkpoint(tmp_path / "task.ckpt")
    chosen, last = state(task), task._last_state
    assert last is not None
    if select == "best":  # else the two are the same
        task.best_state = {name: value + 0.01 if value.is_floating_point() else value for name, value in last.items()}
        task.network.load_state_dict(task.best_state)
        chosen = state(task)
        task.trainer.save_checkpoint(tmp_path / "task.ckpt")
    other = FineTune(network(5), replace(RECIPE, select=select), 10)
    trainer().validate(other, datamodule=Data(), ckpt_path=tmp_path / "task.ckpt", verbose=False)
    assert_same(state(other), chosen)
    assert other.history == task.history
    assert other.best_state is not None
    assert task.best_state is not None
    assert_same(other.best_state, task.best_state)


def test_logits_that_are_not_finite_are_no_prediction_of_any_class() -> None:
    """The first class would be right on a tenth."""

    class Broken(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.tensor(torch.nan))

        def forward(self, images: Tensor) -> Tensor:
            return images.flatten(1)[:, :10] * self.weight

    task = Scratch(Broken(), RECIPE, 10)
    metrics = fit(task, epochs=1).callback_metrics
    assert (float(metrics["train/accuracy"]), float(metrics["val/accuracy"])) == (0, 0)
    assert metrics["train/loss"].isnan()
    assert metrics["val/loss"].isnan()
    assert float(task.kept_accuracy) == 0
    (found,) = trainer().test(task, Batches(VAL, 16), verbose=False)
    assert found["test/accuracy"] == 0
