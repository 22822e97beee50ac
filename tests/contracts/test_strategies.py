"""The contracts of every registered strategy, and what starts, frozen parts and the choice of the epoch are."""

from collections.abc import Callable, Iterable
from typing import Any

import pytest
import torch
from asked import ask, every
from lightning import Callback, LightningModule, Trainer
from torch import nn

from tl_robust.contracts.contract import Contract
from tl_robust.contracts.kinds.strategy import (
    RECIPE,
    Forest,
    NoTest,
    State,
    data_of,
    fit,
    loss_on_train,
    network,
    parent,
    same,
    state,
    task,
)
from tl_robust.data.pair import DomainModule
from tl_robust.strategies import STRATEGIES, TransferTask
from tl_robust.strategies.finetune import FineTune
from tl_robust.types import Recipe

# Lightning 2.6 uses what torch 2.9 and later warn about
pytestmark = pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")


@every("strategy")
def test_every_strategy_keeps_its_contracts(contract: Contract, case: Any) -> None:
    ask(contract, case)


def test_the_test_split_is_refused_in_these_trainings() -> None:
    with pytest.raises(AssertionError, match="the test split was asked for"):
        NoTest(data_of(), Recipe()).test_dataloader()


@pytest.mark.parametrize(
    ("name", "pair"),
    [("scratch", ("S", "T")), ("finetune", ("S", "T<S")), ("common_init", ("S<C", "T<C")), ("as_is", ("S", "S"))],
)
def test_lineages_are_those_of_the_architecture(name: str, pair: tuple[str, str]) -> None:
    own = STRATEGIES.component(name)
    assert STRATEGIES[name].lineage(Forest(own), "S", "T", "C" if name == "common_init" else None) == pair


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
    images, labels, _ = zip(*DomainModule(data_of(), module.recipe).val_dataloader(), strict=True)
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
