"""A defense joins in a training: the start, the loss, the choice of the epoch; and a resumed fit remembers it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, kl_div

from tl_robust import models, strategies
from tl_robust.data.batches import Batches
from tl_robust.defenses import DEFENSES, Adaptive, Defense, parse
from tl_robust.errors import ConfigError
from tl_robust.seeding import generator
from tl_robust.strategies import TransferTask
from tl_robust.strategies.finetune import FineTune
from tl_robust.types import ImageSet, Recipe

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning"),  # Lightning 2.6 uses what torch 2.9 warns about
    pytest.mark.filterwarnings("ignore:Found .* in eval mode"),
    pytest.mark.filterwarnings("ignore:Be aware that when using .ckpt_path."),  # the callback that wrote the file
]
SHAPE = (3, 8, 8)
RECIPE = Recipe(epochs=4, batch_size=16, lr=0.05, momentum=0.9)
LABELS = torch.arange(75) % 10
NOISE = torch.rand(75, *SHAPE, generator=generator("defended"))
IMAGES = ImageSet((255 * (0.5 * NOISE + LABELS.view(-1, 1, 1, 1) / 20)).to(torch.uint8), LABELS)
Others = Mapping[str, nn.Module]
State = dict[str, Tensor]


class Data(LightningDataModule):
    def train_dataloader(self) -> Batches:
        return Batches(IMAGES, RECIPE.batch_size, seed=3)

    def val_dataloader(self) -> Batches:
        return Batches(IMAGES, RECIPE.batch_size)


class Known(Defense):
    """No attack knows these toys."""

    def adaptive(self) -> tuple[Adaptive, ...]:
        return (Adaptive.none("a toy"),)


@dataclass(frozen=True)
class Doubled(Known):
    """Training starts from twice the weights."""

    def initialize(self, task: Any, parent: Mapping[str, Tensor] | None, validation: ImageSet | None) -> None:
        with torch.no_grad():
            for weight in task.network.parameters():
                weight.mul_(2)


@dataclass(frozen=True)
class Moved(Known):
    """Learns labels that are moved on, on noisy images."""

    shift: int = 3
    noise: float = 0.0

    def loss(self, task: Any, batch: Sequence[Tensor], others: Others) -> Tensor:
        images = batch[0] + self.noise * torch.randn_like(batch[0]) if self.noise else batch[0]
        return task.cross_entropy(images, (batch[1] + self.shift) % 10)


@dataclass(frozen=True)
class Distilled(Known):
    """Learns what a teacher says, and nothing of labels."""

    def loss(self, task: Any, batch: Sequence[Tensor], others: Others) -> Tensor:
        teacher = others["teacher"](batch[0])
        return kl_div(task(batch[0]).log_softmax(1), teacher.softmax(1), reduction="batchmean")


@dataclass(frozen=True)
class Judged(Known):
    """Scores as scripted, one an epoch."""

    scores: tuple[float, ...] = ()
    each: bool = False

    def score(self, task: Any, batch: Sequence[Tensor]) -> Tensor:
        score = torch.tensor(self.scores[task.current_epoch])
        return score + torch.where(batch[2] % 2 == 0, 0.25, -0.25) if self.each else score


@dataclass(frozen=True)
class Attacked(Known):
    """The epoch is chosen by accuracy after one step of gradient ascent."""

    def score(self, task: Any, batch: Sequence[Tensor]) -> Tensor:
        with torch.inference_mode(False), torch.enable_grad():
            images = batch[0].clone().requires_grad_()
            (gradient,) = torch.autograd.grad(cross_entropy(task(images), batch[1].clone()), images)
        return task(batch[0] + 0.1 * gradient.sign()).argmax(1) == batch[1]


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return models.get("dtn", SHAPE, 10, width=0.05)


def child(seed: int = 0, recipe: Recipe = RECIPE) -> TransferTask:
    return strategies.get("finetune", network(seed), recipe, 10)


def started(task: TransferTask) -> TransferTask:
    task.start_from(network(99).state_dict())
    return task


def fit(task: TransferTask, *callbacks: Callback, epochs: int = 4, path: Path | None = None, **options: Any) -> Trainer:
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


def weights(module: Any) -> State:
    return {name: value.clone() for name, value in module.network.state_dict().items()}


def same(one: State, other: State) -> bool:
    assert one.keys() == other.keys()
    return all(torch.equal(one[name], other[name]) for name in one)


def predicted(task: TransferTask) -> Tensor:
    with torch.no_grad():
        return task.eval()(IMAGES.images / 255).argmax(1)


def test_a_defense_that_only_guards_leaves_every_bit_of_a_training() -> None:
    plain, guarded = started(child()), started(child().defend(parse("squeeze(bits=3)")))  # type: ignore[arg-type]
    metrics = [fit(task).callback_metrics for task in (plain, guarded)]
    assert metrics[0] == metrics[1]
    assert guarded.history == plain.history
    assert same(weights(guarded), weights(plain))
    assert guarded.hparams == plain.hparams | {"defense": "squeeze"}


def test_its_start_follows_the_strategys() -> None:
    given = network(99).state_dict()
    task = started(child().defend(Doubled()))
    names = {name for name, _ in task.network.named_parameters()}
    assert all(
        torch.equal(value, given[name] * (2 if name in names else 1)) for name, value in weights(task).items()
    ), "first copied from the parent, then doubled"
    plain = child()
    plain.start_from(given)
    assert same(weights(plain), dict(given))


def test_its_loss_is_what_is_lowered() -> None:
    task = started(child(recipe=replace(RECIPE, select="last")).defend(Moved(4)))
    metrics = fit(task, epochs=15).callback_metrics
    assert ((predicted(task) - LABELS) % 10 == 4).float().mean() > 0.35
    assert metrics["train/accuracy"] > 0.2, "of the labels that it learned"
    assert metrics["val/accuracy"] < 0.2, "of those that are"


class Smoothed(FineTune):
    """A strategy with an objective of its own."""

    def objective(self, batch: Sequence[Tensor]) -> Tensor:
        return self.cross_entropy(batch[0], (batch[1] + 1) % 10)


def test_a_strategy_has_an_objective_which_a_defense_replaces() -> None:
    tasks = [started(child().defend(Moved(1))), started(Smoothed(network(), RECIPE, 10))]
    tasks.append(started(Smoothed(network(), RECIPE, 10).defend(Moved(2))))
    tasks.append(started(child().defend(Moved(2))))
    for task in tasks:
        fit(task, epochs=2)
    assert same(weights(tasks[0]), weights(tasks[1]))
    assert same(weights(tasks[2]), weights(tasks[3]))
    assert not same(weights(tasks[1]), weights(tasks[2]))


def test_a_teacher_is_asked_and_stays_as_it_is(tmp_path: Path) -> None:
    teacher = network(42).train()
    before, asked = weights(nn.ModuleDict({"network": teacher})), []
    teacher.register_forward_hook(lambda module, given, out: asked.append(module.training or out.requires_grad))
    task = started(child(recipe=replace(RECIPE, select="last")).defend(Distilled(), {"teacher": teacher}))
    plain = started(child())
    agreement = [float((predicted(task) == predicted_by(teacher)).float().mean())]
    trainer = fit(task, epochs=12)
    agreement.append(float((predicted(task) == predicted_by(teacher)).float().mean()))
    assert agreement[1] > agreement[0] + 0.2
    assert asked
    assert not any(asked[:5]), "eval mode, and no gradient"
    assert same(weights(nn.ModuleDict({"network": teacher})), before)
    assert task.state_dict().keys() == plain.state_dict().keys()
    assert len(list(task.parameters())) == len(list(plain.parameters()))
    assert "train/loss" in trainer.callback_metrics
    assert "train/accuracy" not in trainer.callback_metrics, "no label was asked for"
    trainer.save_checkpoint(tmp_path / "task.ckpt")
    content = torch.load(tmp_path / "task.ckpt", weights_only=True)
    assert content["state_dict"].keys() == {f"network.{name}" for name in task.network.state_dict()}
    with pytest.raises(
        ConfigError, match=r"^this fit was begun with defense .*Distilled\(\) with networks named teach"
    ):
        fit(child().defend(Distilled()), path=tmp_path / "task.ckpt", epochs=13)
    fit(child().defend(Distilled(), {"teacher": teacher}), path=tmp_path / "task.ckpt", epochs=13)


def predicted_by(teacher: nn.Module) -> Tensor:
    with torch.no_grad():
        return teacher.eval()(IMAGES.images / 255).argmax(1)


def test_a_teacher_is_in_the_precision_of_the_task() -> None:
    teacher, kinds = network(42), set()
    teacher.register_forward_hook(lambda module, given, out: kinds.add(out.dtype))
    fit(started(child().defend(Distilled(), {"teacher": teacher})), epochs=1, precision="bf16-true")
    assert kinds == {torch.bfloat16}


class Ends(Callback):
    def __init__(self) -> None:
        self.states: list[State] = []

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.states.append(weights(pl_module))


@pytest.mark.parametrize("each", [False, True])
@pytest.mark.parametrize(
    ("scores", "chosen"),
    [
        ((0.9, 0.2, 0.5, 0.7), 0),
        ((0.2, 0.3, 0.9, 0.7), 2),
        ((0.5, 0.5, 0.5, 0.5), 0),
        ((torch.nan, 0.1, torch.nan, 0.3), 3),
    ],
)
def test_its_score_chooses_the_epoch(scores: tuple[float, ...], chosen: int, each: bool) -> None:
    task, ends = started(child().defend(Judged(scores, each))), Ends()
    metrics = fit(task, ends).callback_metrics
    assert same(weights(task), ends.states[chosen])
    # 38 of the 75 images have an even number: the mean is over images, also where the last batch is smaller
    extra = 0.25 / 75 if each else 0
    assert [seen["val_score"] for seen in task.history] == pytest.approx([s + extra for s in scores], nan_ok=True)
    assert float(metrics["val/score"]) == pytest.approx(scores[-1] + extra)
    assert float(task.kept_accuracy) == pytest.approx(task.history[chosen]["val_accuracy"])
    assert len({seen["val_accuracy"] for seen in task.history}) > 1, "by accuracy it could have been another"


def test_a_score_may_ask_for_gradients_and_a_look_at_the_model_is_no_epoch() -> None:
    task = started(child().defend(Attacked()))
    trainer = fit(task, epochs=2)
    history = list(task.history)
    assert len(history) == 2
    assert all(0 <= seen["val_score"] <= seen["val_accuracy"] <= 1 for seen in history)
    assert any(seen["val_score"] < seen["val_accuracy"] for seen in history)
    (metrics,) = trainer.validate(task, datamodule=Data(), verbose=False)
    assert metrics["val/score"] == pytest.approx(max(seen["val_score"] for seen in history))
    assert task.history == history


# a resumed fit


def saved(how: str, task: TransferTask, tmp_path: Path) -> Path:
    """A fit of two epochs, or of one and a half, and its checkpoint."""
    if how == "after the fit":
        fit(task, epochs=2).save_checkpoint(tmp_path / "half.ckpt")
        return tmp_path / "half.ckpt"
    options: dict[str, Any] = {"every_n_epochs": 1} if how == "after the epoch" else {"every_n_train_steps": 8}
    fit(task, ModelCheckpoint(tmp_path, "half", save_top_k=1, **options), epochs=2)
    return tmp_path / "half.ckpt"


@pytest.mark.parametrize("how", ["after the fit", "after the epoch", "within an epoch"])
def test_a_resumed_fit_remembers_a_registered_defense(how: str, tmp_path: Path) -> None:
    DEFENSES.register(Moved, "tl_robust.defenses.test_defended")
    straight, resumed = started(child().defend(Moved(2, 0.1))), child(seed=5)
    whole = fit(straight).callback_metrics
    metrics = fit(resumed, path=saved(how, started(child().defend(Moved(2, 0.1))), tmp_path)).callback_metrics
    assert same(weights(resumed), weights(straight))
    assert resumed.history == straight.history
    assert metrics == whole
    assert resumed.defense == Moved(2, 0.1)
    assert resumed.hparams["defense"] == "test_defended(noise=0.1, shift=2)"
    loaded = FineTune.load_from_checkpoint(tmp_path / "half.ckpt")
    assert loaded.defense == Moved(2, 0.1)
    assert loaded.hparams == resumed.hparams


@pytest.mark.parametrize(
    ("first", "then", "says"),
    [
        (
            Moved(2),
            None,
            r"^this fit was begun with defense .*Moved\(shift=2, .*\), and would go on with none:",
        ),
        (Moved(2), Moved(3), r"begun with defense .*shift=2.* and would go on with .*shift=3"),
        (None, Moved(3), r"^this fit was begun with defense none, and would go on with .*shift=3"),
    ],
)
def test_a_fit_does_not_go_on_as_another_training(
    first: Defense | None, then: Defense | None, says: str, tmp_path: Path
) -> None:
    path = saved("after the fit", started(child().defend(first) if first else child()), tmp_path)
    with pytest.raises(ConfigError, match=says):
        fit(child().defend(then) if then else child(), path=path)
    fit(child().defend(first) if first else child(), path=path)


def test_a_defense_that_only_its_author_has_does_not_hinder_loading(tmp_path: Path) -> None:
    task = started(child().defend(Moved(2)))
    fit(task, epochs=1).save_checkpoint(tmp_path / "task.ckpt")
    loaded = FineTune.load_from_checkpoint(tmp_path / "task.ckpt")
    assert loaded.defense is None
    assert loaded.hparams == task.hparams
    assert same(weights(loaded), weights(task))
    fit(loaded, epochs=1)
    assert "defense" not in loaded.hparams, "trained anew, and without it"


class Armored(FineTune):
    """A strategy whose setting has that name."""

    def __init__(self, network: Any, recipe: Any, classes: int, defense: str = "steel") -> None:
        super().__init__(network, recipe, classes)


def test_a_strategys_setting_of_that_name_stays_its_own(tmp_path: Path) -> None:
    task = Armored(network(), RECIPE, 10, defense="wood")
    fit(task, epochs=1).save_checkpoint(tmp_path / "task.ckpt")
    loaded = Armored.load_from_checkpoint(tmp_path / "task.ckpt")
    assert loaded.hparams["defense"] == "wood"
    fit(loaded, path=tmp_path / "task.ckpt", epochs=2)


def test_a_checkpoint_of_before_goes_on(tmp_path: Path) -> None:
    """Until the defenses came, its sums were one tensor, and each image was predicted once."""
    path = saved("within an epoch", started(child()), tmp_path)
    content = torch.load(path, weights_only=True)
    own = content["tl_robust"]
    assert own["sums"].shape == (2,)
    assert own.pop("predicted") == own["trained"] == 48
    own.pop("others")
    torch.save(content, path)
    straight, resumed = started(child()), child(seed=5)
    whole, metrics = fit(straight, epochs=2).callback_metrics, fit(resumed, epochs=2, path=path).callback_metrics
    assert metrics == whole
    assert same(weights(resumed), weights(straight))
