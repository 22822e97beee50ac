"""What every strategy promises; runs over the registry."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor, nn

from tl_robust.data.batches import Batches
from tl_robust.data.domain import DataSettings
from tl_robust.data.mapped import DomainInSpace
from tl_robust.data.pair import DomainModule
from tl_robust.data.space import SPACES
from tl_robust.models import build
from tl_robust.registry import Component
from tl_robust.strategies import STRATEGIES, TransferTask
from tl_robust.strategies.finetune import FineTune
from tl_robust.types import Recipe

# Lightning 2.6 uses what torch 2.9 and later warn about
pytestmark = pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")
EVERY = pytest.mark.parametrize("name", STRATEGIES.names())
DATA = DomainInSpace("optdigits", SPACES.component("digits"), DataSettings(train_limit=120))
RECIPE = Recipe(epochs=3, batch_size=16, lr=0.05, momentum=0.9, val_share=0.2)
State = dict[str, Tensor]


def network(seed: int, classes: int = 10) -> nn.Module:
    torch.manual_seed(seed)
    return build(Component("dtn", 1, (("width", 0.1),)), (3, 32, 32), classes)


def task(name: str, recipe: Recipe = RECIPE, seed: int = 0) -> TransferTask:
    return STRATEGIES[name](network(seed), recipe, 10)


def state(module: nn.Module) -> State:
    return {name: value.clone() for name, value in module.state_dict().items()}


def parent() -> State:
    """A state whose every tensor, BatchNorm's statistics included, is unlike a fresh one."""
    other = network(seed=99)
    with torch.no_grad():
        for _ in range(3):
            other(torch.rand(16, 3, 32, 32))
        for value in other.parameters():
            value.add_(0.01)
    return state(other)


def same(one: State, other: State) -> dict[str, bool]:
    assert one.keys() == other.keys()
    return {name: torch.equal(one[name], other[name]) for name in one}


class NoTest(DomainModule):
    """Test images must not be seen while training."""

    def test_dataloader(self) -> Batches:
        raise AssertionError("the test split was asked for")


def fit(module: TransferTask, *callbacks: Callback, data: DomainModule | None = None, **options: Any) -> None:
    trainer = Trainer(
        **{"max_epochs": module.recipe.epochs, "num_sanity_val_steps": 0} | options,
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
        callbacks=list(callbacks),
    )
    trainer.fit(module, datamodule=data or NoTest(DATA, module.recipe, seed=1))


class Each(Callback):
    """Calls a function at the start or the end of each epoch."""

    def __init__(self, start: Callable[[Any], None] | None = None, end: Callable[[Any], None] | None = None) -> None:
        self._start, self._end = start, end

    def on_train_batch_start(self, trainer: Trainer, module: LightningModule, batch: Any, batch_idx: int) -> None:
        if batch_idx == 0 and self._start:
            self._start(module)

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        if self._end:
            self._end(module)


def loss_on_train(module: TransferTask) -> float:
    learn = list(DomainModule(DATA, module.recipe).train_dataloader())
    module.eval()
    with torch.no_grad():
        losses = [float(module.training_step(batch, 0)) * len(batch[2]) for batch in learn]
    module.train()
    return sum(losses) / sum(len(batch[2]) for batch in learn)


@EVERY
def test_training_moves_every_weight_and_lowers_the_loss(name: str) -> None:
    freezes = bool(set(task(name).frozen(0)))
    module = task(name, replace(RECIPE, epochs=6, lr=0.005 if freezes else RECIPE.lr))  # of random features, slowly
    module.initialize(parent())
    before, loss = state(module.network), loss_on_train(module)
    fit(module)
    equal = same(state(module.network), before)
    still = {id(value) for part in module.frozen(0) for value in (*part.parameters(False), *part.buffers(False))}
    frozen = {key for key, value in module.network.state_dict(keep_vars=True).items() if id(value) in still}
    assert {key for key, unmoved in equal.items() if unmoved} == frozen
    assert loss_on_train(module) < (0.95 if freezes else 0.7) * loss


@EVERY
def test_the_test_split_is_never_asked_for_in_training(name: str) -> None:
    module = task(name, Recipe(epochs=1, batch_size=32))
    data = NoTest(DATA, module.recipe)
    with pytest.raises(AssertionError, match="the test split was asked for"):
        data.test_dataloader()
    fit(module, data=data)
    assert len(module.history) == 1


@EVERY
def test_without_a_parent_the_random_start_is_kept(name: str) -> None:
    module = task(name, seed=5)
    module.initialize(None)
    assert all(same(state(module.network), state(network(seed=5))).values())


@pytest.mark.parametrize("name", ["finetune", "common_init"])
def test_a_child_starts_as_its_parent_bit_for_bit(name: str) -> None:
    module, given = task(name), parent()
    assert not any(same(state(module.network), given).values())
    module.initialize(given)
    assert all(same(state(module.network), given).values())
    seen: list[State] = []
    fit(module, Each(start=lambda m: seen.append(state(m.network))))
    assert all(same(seen[0], given).values()), "also at the first step"
    assert not all(same(seen[1], given).values())


def test_scratch_ignores_a_parent() -> None:
    module = task("scratch", seed=5)
    module.initialize(parent())
    assert all(same(state(module.network), state(network(seed=5))).values())


def test_fine_tuning_to_other_classes_has_a_fresh_classifier() -> None:
    module = FineTune(network(seed=5, classes=7), RECIPE, 7)
    module.initialize(parent())
    fresh, given, found = state(network(seed=5, classes=7)), parent(), state(module.network)
    for name, value in found.items():
        assert torch.equal(value, fresh[name] if name.startswith("classifier.") else given[name]), name


@EVERY
def test_saved_and_loaded_weights_give_equal_logits(name: str) -> None:
    module, other = task(name), task(name, seed=1)
    fit(module, max_epochs=1)
    torch.save(module.network.state_dict(), "weights.pt")
    other.network.load_state_dict(torch.load("weights.pt", weights_only=True))
    images = torch.rand(8, 3, 32, 32)
    with torch.no_grad():
        logits = module.eval()(images)
        assert torch.equal(other.eval()(images), logits)
    assert logits.std() > 0.01


class Named:
    """A forest whose trainings are texts."""

    own = STRATEGIES.component("scratch")

    def __call__(
        self,
        domain: str,
        parent: str | None = None,
        by: str | Component | None = None,
        defense: Component | None = None,
        salt: str = "",
        others: Mapping[str, str] | None = None,
    ) -> str:
        return f"{domain}<{parent}" if parent else domain


@EVERY
def test_lineage_names_two_trainings(name: str) -> None:
    kind = STRATEGIES[name]
    common = "C" if kind.needs_common else None
    expected = {
        "scratch": ("S", "T"),
        "finetune": ("S", "T<S"),
        "common_init": ("S<C", "T<C"),
        "as_is": ("S", "S"),
    }
    a, b = kind.lineage(Named(), "S", "T", common)
    assert a[0] == "S", "A is of the source"
    assert b[0] == "T" or b == a, "B is of the target, or A itself"
    if name in expected:
        assert (a, b) == expected[name]


# frozen parts


class HeadOnly(FineTune):
    def frozen(self, epoch: int) -> Iterable[nn.Module]:
        return set(self.network.modules()) - set(self.network.classifier.modules())


def test_frozen_weights_and_statistics_stay_bit_for_bit_and_dropout_is_off() -> None:
    module = HeadOnly(network(0), Recipe(epochs=2, batch_size=16, lr=0.05, weight_decay=0.1, val_share=0.2), 10)
    given = parent()
    module.initialize(given)
    training: list[set[str]] = []
    twice: list[bool] = []

    def look(found: TransferTask) -> None:
        leaves = [(key, part) for key, part in found.network.named_modules() if not list(part.children())]
        training.append({key for key, part in leaves if part.training and list(part.parameters())})
        features = found.network.features
        images = torch.rand(4, 3, 32, 32)
        hidden = [found.network.hidden(features(images)) for _ in range(2)]
        twice.append(torch.equal(*hidden))
        assert not any(p.requires_grad for p in (*features.parameters(), *found.network.hidden.parameters()))

    fit(module, Each(start=look))
    assert training == [{"classifier"}, {"classifier"}], "in each epoch, also after a validation"
    assert twice == [True, True], "dropout and batch statistics are off"
    equal = same(state(module.network), given)
    assert {key for key, unmoved in equal.items() if not unmoved} == {"classifier.weight", "classifier.bias"}
    assert sum(".running_" in key or ".num_batches" in key for key in equal) == 12


def test_without_freezing_the_same_check_fails() -> None:
    module = FineTune(network(0), Recipe(epochs=1, batch_size=16), 10)
    given = parent()
    module.initialize(given)
    fit(module)
    assert not same(state(module.network), given)["features.1.running_mean"]


# the choice of the epoch


class Scripted(FineTune):
    """Validation accuracies as scripted."""

    script: list[float] = []

    def on_validation_epoch_end(self) -> None:
        self.accuracy.compute = lambda: torch.tensor(self.script[self.current_epoch])  # type: ignore[method-assign]
        super().on_validation_epoch_end()


@pytest.mark.parametrize(
    ("select", "script", "chosen"),
    [
        ("best", [0.2, 0.9, 0.5], 1),
        ("best", [0.9, 0.2, 0.5], 0),
        ("best", [0.1, 0.7, 0.7], 1),
        ("best", [0.0, 0.0, 0.0], 0),
        ("last", [0.2, 0.9, 0.5], 2),
    ],
)
def test_the_chosen_epoch_comes_back(select: str, script: list[float], chosen: int) -> None:
    module = Scripted(network(0), Recipe(epochs=3, batch_size=32, select=select), 10)
    module.script = script
    ends: list[State] = []
    fit(module, Each(end=lambda m: ends.append(state(m.network))))
    assert [seen["val_accuracy"] for seen in module.history] == pytest.approx(script)
    assert not all(same(ends[0], ends[1]).values())
    assert not all(same(ends[1], ends[2]).values())
    assert all(same(state(module.network), ends[chosen]).values())


def test_a_training_that_falls_apart_keeps_its_best_epoch() -> None:
    """The learning rate explodes in the last epoch: no scripted accuracy here."""

    def explode(module: TransferTask) -> None:
        if module.current_epoch == 7:
            module.optimizers().param_groups[0]["lr"] = 1e4  # type: ignore[union-attr]

    for select, good in (("best", True), ("last", False)):
        recipe = Recipe(epochs=8, batch_size=16, lr=0.05, momentum=0.9, val_share=0.2, select=select)
        module = FineTune(network(0), recipe, 10)
        fit(module, Each(start=explode))
        accuracies = [seen["val_accuracy"] for seen in module.history]
        assert max(accuracies) > accuracies[7] + 0.1
        assert (loss_on_train(module) < 2.3) is good


def test_validation_accuracy_is_that_of_the_held_out_part() -> None:
    module = task("scratch", Recipe(epochs=1, batch_size=16, val_share=0.3))
    fit(module)
    images, labels, _ = zip(*DomainModule(DATA, module.recipe).val_dataloader(), strict=True)
    with torch.no_grad():
        logits = module.eval()(torch.cat(images))
    expected = (logits.argmax(1) == torch.cat(labels)).double().mean()
    loss = nn.functional.cross_entropy(logits, torch.cat(labels))
    assert module.history == [
        {"val_accuracy": pytest.approx(float(expected)), "val_loss": pytest.approx(float(loss), rel=1e-5)}
    ]


def test_the_sanity_check_is_no_epoch() -> None:
    module = task("scratch", Recipe(epochs=1, batch_size=16))
    fit(module, num_sanity_val_steps=2)
    assert len(module.history) == 1


def test_the_optimizer_is_the_recipes() -> None:
    recipe = Recipe(lr=0.3, momentum=0.7, nesterov=True, weight_decay=0.02, lr_factor=0.1, lr_every=2)
    module = HeadOnly(network(0), recipe, 10)
    (optimizer,), (schedule,) = module.configure_optimizers()
    group = optimizer.param_groups[0]
    assert isinstance(optimizer, torch.optim.SGD)
    assert {key: group[key] for key in ("lr", "momentum", "nesterov", "weight_decay")} == {
        "lr": 0.3,
        "momentum": 0.7,
        "nesterov": True,
        "weight_decay": 0.02,
    }
    assert set(group["params"]) == set(module.network.parameters()), "what is frozen has no gradient and is passed over"
    rates = []
    for _ in range(5):
        rates.append(group["lr"])
        optimizer.step()
        schedule.step()
    assert rates == pytest.approx([0.3, 0.3, 0.03, 0.03, 0.003])
