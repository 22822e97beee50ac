"""What a strategy promises: two trainings, a start, what stays frozen, and a checkpoint that is all of it."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, Trainer
from torch import Tensor, nn

from tl_robust.contracts.component import shared
from tl_robust.contracts.contract import Contracts, Named, demand
from tl_robust.data.batches import Batches
from tl_robust.data.domain import DataSettings
from tl_robust.data.mapped import DomainInSpace
from tl_robust.data.pair import DomainModule
from tl_robust.data.space import SPACES
from tl_robust.models import build
from tl_robust.registry import Component, settings_of
from tl_robust.strategies import STRATEGIES, TransferTask
from tl_robust.types import Recipe

RECIPE = Recipe(epochs=3, batch_size=16, lr=0.05, momentum=0.9, val_share=0.2)
State = dict[str, Tensor]


def cases(named: Named) -> Iterator[tuple[str, str]]:
    """Its name, with which trainings are made."""
    yield "", named.name


CONTRACTS = Contracts("strategy", cases)
shared(CONTRACTS)


def data_of() -> DomainInSpace:
    """A few handwritten digits, which come with a library."""
    return DomainInSpace("optdigits", SPACES.component("digits"), DataSettings(train_limit=120))


def network(seed: int, classes: int = 10) -> nn.Module:
    """A small network with BatchNorm and dropout."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build(Component("dtn", 1, (("width", 0.1),)), (3, 32, 32), classes)


def task(name: str, recipe: Recipe = RECIPE, seed: int = 0) -> TransferTask:
    """One training by the strategy."""
    return STRATEGIES[name](network(seed), recipe, 10)


def state(module: nn.Module) -> State:
    """A copy of its state dict."""
    return {name: value.clone() for name, value in module.state_dict().items()}


def parent() -> State:
    """A state whose every tensor, BatchNorm's statistics included, is unlike a fresh one."""
    other = network(seed=99)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(99)  # of dropout, too
        for _ in range(3):
            other(torch.rand(16, 3, 32, 32))
        for value in other.parameters():
            value.add_(0.01)
    return state(other)


def same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> dict[str, bool]:
    """By name, whether two states are equal."""
    assert one.keys() == other.keys()
    return {name: torch.equal(one[name], other[name]) for name in one}


class NoTest(DomainModule):
    """Test images must not be seen while training."""

    def test_dataloader(self) -> Batches:
        """Refuse them."""
        raise AssertionError("the test split was asked for")


def fit(module: TransferTask, *callbacks: Callback, data: DomainModule | None = None, **options: Any) -> Trainer:
    """Train it on the CPU without a log."""
    settings: dict[str, Any] = {"max_epochs": module.recipe.epochs, "num_sanity_val_steps": 0} | options
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*LeafSpec", FutureWarning)  # Lightning 2.6 uses what torch 2.9 warns about
        trainer = Trainer(
            **settings, accelerator="cpu", devices=1, logger=False, enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False, log_every_n_steps=1, callbacks=list(callbacks),
        )  # fmt: skip
        trainer.fit(module, datamodule=data or NoTest(data_of(), module.recipe, seed=1))
    return trainer


def loss_on_train(module: TransferTask) -> float:
    """Mean loss of the training part in eval mode."""
    learn = list(DomainModule(data_of(), module.recipe).train_dataloader())
    module.eval()
    with torch.no_grad():
        losses = [float(module.training_step(batch, 0)) * len(batch[2]) for batch in learn]
    module.train()
    return sum(losses) / sum(len(batch[2]) for batch in learn)


@CONTRACTS
def moves_every_weight_but_what_is_frozen_and_lowers_the_loss(name: str) -> None:
    """Training changes all that ``frozen`` does not name, bit for bit nothing else, and the loss falls."""
    freezes = bool(set(task(name).frozen(0)))
    module = task(name, replace(RECIPE, epochs=6, lr=0.005 if freezes else RECIPE.lr))  # of random features, slowly
    module.initialize(parent())
    before, loss = state(module.network), loss_on_train(module)
    fit(module)
    equal = same(state(module.network), before)
    fixed = {id(value) for part in module.frozen(0) for value in (*part.parameters(False), *part.buffers(False))}
    frozen = {key for key, value in module.network.state_dict(keep_vars=True).items() if id(value) in fixed}
    unmoved = {key for key, still in equal.items() if still}
    todo = "name every module inside, since each counts without its children"
    demand(frozen or not freezes, "weights in what frozen names", "modules without weights of their own", todo)
    todo = "name in frozen exactly what stays, each module without its children"
    demand(not unmoved - frozen, "every other weight to move", f"{sorted(unmoved - frozen)[:3]} that stay", todo)
    demand(not frozen - unmoved, "what is frozen to stay", f"{sorted(frozen - unmoved)[:3]} that move", todo)
    after, most = loss_on_train(module), (0.95 if freezes else 0.7) * loss
    demand(after < most, f"a loss below {most:.3f} after 6 epochs", f"{after:.3f}", "return the loss to be lowered")


@CONTRACTS
def never_asks_for_the_test_split(name: str) -> None:
    """A training does without test images, and keeps one entry of history for each epoch."""
    module = task(name, Recipe(epochs=1, batch_size=32))
    fit(module, data=NoTest(data_of(), module.recipe))
    demand(len(module.history) == 1, "one epoch in history", len(module.history), "call super() in hooks of Lightning")


@CONTRACTS
def keeps_the_random_start_without_a_parent(name: str) -> None:
    """At a root ``initialize(None)`` changes nothing."""
    module = task(name, seed=5)
    module.initialize(None)
    kept = all(same(state(module.network), state(network(seed=5))).values())
    demand(kept, "the random start", "other weights", "do nothing where parent is None")


@CONTRACTS
def leaves_the_parent_alone(name: str) -> None:
    """The weights that it starts from stay as they were, also while the child trains."""
    module, given = task(name, Recipe(epochs=1, batch_size=32)), parent()
    kept = {key: value.clone() for key, value in given.items()}
    module.initialize(given)
    fit(module)
    demand(all(same(given, kept).values()), "the parent's weights to stay", "others", "copy them: copy_fitting does")


@CONTRACTS
def gives_equal_logits_from_saved_weights(name: str) -> None:
    """Weights that were saved and loaded into another network give the same logits."""
    module, other = task(name), task(name, seed=1)
    fit(module, max_epochs=1)
    other.network.load_state_dict(state(module.network))
    images = torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        logits = module.eval()(images)
        equal = torch.equal(other.eval()(images), logits)
    demand(equal, "equal logits of saved weights", "others", "keep all that forward needs in the network")
    demand(logits.std() > 0.01, "logits that differ", f"a spread of {float(logits.std()):.3g}", "train the network")


@CONTRACTS
def comes_back_from_a_checkpoint(name: str) -> None:
    """A Lightning checkpoint builds the same task again: weights, settings and history."""
    kind = STRATEGIES[name]
    module = task(name)
    trainer = fit(module, max_epochs=1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "task.ckpt"
        trainer.save_checkpoint(path)
        loaded = kind.load_from_checkpoint(path)
    todo = "hand settings on to super().__init__, and register every tensor as a parameter or a buffer"
    equal = all(same(state(loaded.network), state(module.network)).values())
    demand(equal, "the same weights", "others", todo)
    for setting in settings_of(kind):
        was, now = module.hparams.get(setting, "nothing"), loaded.hparams.get(setting, "nothing")
        demand(was == now != "nothing", f"setting {setting!r} with {was!r} in the checkpoint", repr(now), todo)
    demand(loaded.history == module.history, "the same history", "another", "call super() in on_save_checkpoint")


class Forest:
    """A forest whose trainings are texts: ``T<S`` is a training on T that starts from S."""

    def __init__(self, own: Component) -> None:
        self.own = own

    def __call__(
        self,
        domain: str,
        parent: str | None = None,
        by: str | Component | None = None,
        defense: Component | None = None,
        salt: str = "",
        others: Mapping[str, str] | None = None,
    ) -> str:
        """The name of the training."""
        name = by.name if isinstance(by, Component) else by
        demand(name is None or name in STRATEGIES, "by= with the name of a strategy", repr(name), "name one")
        return f"{domain}<{parent}" if parent else domain


@CONTRACTS
def names_two_trainings(name: str) -> None:
    """Its lineage names A, which learns the source, and B, which learns the target or is A itself."""
    kind = STRATEGIES[name]
    pair: Any = kind.lineage(Forest(STRATEGIES.component(name)), "S", "T", "C" if kind.needs_common else None)  # type: ignore[arg-type]
    todo = "return train(source, ...), train(target, ...), which name trainings by domain and parent"
    demand(isinstance(pair, tuple) and len(pair) == 2, "two trainings", repr(pair)[:60], todo)
    a, b = pair
    demand(isinstance(a, str) and a[:1] == "S", "A of the source", repr(a), todo)
    demand(isinstance(b, str) and (b[:1] == "T" or b == a), "B of the target, or A itself", repr(b), todo)
    uses = "C" in (*a.split("<"), *b.split("<"))
    demand(uses or not kind.needs_common, "the common domain in the lineage", f"{a}, {b}", "start from train(common)")
