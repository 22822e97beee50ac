"""A training follows from its key alone, and leaves the process as it was."""

import logging
import os
import pickle
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from by_hand import State, attacked, trained

from tl_robust import attacks
from tl_robust.data.domain import DataSettings
from tl_robust.data.mapped import DomainInSpace
from tl_robust.data.space import SPACES
from tl_robust.errors import ConfigError, StoreError
from tl_robust.nodes.clock import Clock
from tl_robust.nodes.crafting import CraftGroup
from tl_robust.nodes.training import Training
from tl_robust.registry import Component
from tl_robust.strategies import TransferTask
from tl_robust.types import Recipe

DATA = DomainInSpace("optdigits", SPACES.component("digits"), DataSettings(train_limit=150, test_limit=40))
DTN = Component("dtn", 1, (("width", 0.1),))
ROOT = Training(DATA, DTN, Recipe(epochs=2, batch_size=32, lr=0.05), 0, Component("scratch", 1))


def train(training: Training = ROOT, parent: State | None = None, **options: Any) -> State:
    return trained(training, parent, **options)[0]


def equal(one: State, other: State) -> bool:
    assert one.keys() == other.keys()
    return all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def weights() -> State:
    """Of ROOT, made once in this process."""
    return train()


# the same key, the same weights


def test_the_same_key_gives_the_same_weights_whatever_came_before(weights: State) -> None:
    torch.manual_seed(77)
    random.seed(77)
    np.random.seed(77)
    torch.rand(5)
    assert equal(train(replace(ROOT)), weights)


def test_the_number_of_threads_changes_nothing_and_is_put_back(weights: State) -> None:
    torch.set_num_threads(3)
    assert equal(train(), weights)
    assert torch.get_num_threads() == 3


def test_another_process_gives_the_same_weights(weights: State) -> None:
    code = (
        "import sys, pickle; sys.path[:0] = sys.argv[1:]; import test_making;"
        "open('weights', 'wb').write(pickle.dumps({k: v.numpy() for k, v in test_making.train().items()}))"
    )
    folders = [str(folder) for folder in Path(__file__).parents[:2]]
    subprocess.run([sys.executable, "-W", "ignore", "-c", code, *folders], check=True, capture_output=True)
    found = {
        name: torch.from_numpy(np.asarray(value)) for name, value in pickle.loads(Path("weights").read_bytes()).items()
    }
    assert equal(found, weights)


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"recipe": replace(ROOT.recipe, lr=0.06)},
        {"data": replace(DATA, settings=DataSettings(train_limit=149))},
    ],
    ids=["seed", "recipe", "images"],
)
def test_another_training_gives_other_weights(change: dict[str, Any], weights: State) -> None:
    other = replace(ROOT, **change)
    assert other.key != ROOT.key
    found = train(other)
    assert not equal(found, weights)
    assert found["features.0.weight"].isfinite().all()


def test_a_child_starts_from_its_parent(weights: State) -> None:
    child = replace(ROOT, by=Component("finetune", 1), parent=ROOT, recipe=replace(ROOT.recipe, lr=1e-9, epochs=1))
    found = train(child, parent=weights)
    for name, value in found.items():
        if "running" not in name and "num_batches" not in name:
            assert torch.allclose(value, weights[name], atol=1e-6), name
    assert not equal(train(child, parent=train(replace(ROOT, seed=1))), found), "of another parent it is another model"
    with pytest.raises(StoreError, match=ROOT.key):
        train(child)


def test_the_parents_weights_are_not_written_to(weights: State) -> None:
    before = {name: value.clone() for name, value in weights.items()}
    train(replace(ROOT, by=Component("finetune", 1), parent=ROOT), parent=weights)
    assert equal(weights, before)


# what is left behind


def test_the_process_is_left_as_it_was() -> None:
    torch.manual_seed(3)
    random.seed(3)
    log = logging.getLogger("lightning.pytorch")
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    level, handlers, environment = log.level, [signal.getsignal(s) for s in (2, 15)], dict(os.environ)
    train()
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before[1:]
    assert log.level == level
    assert [signal.getsignal(s) for s in (2, 15)] == handlers
    assert dict(os.environ) == environment | {"PYTEST_CURRENT_TEST": os.environ["PYTEST_CURRENT_TEST"]}
    assert list(Path().iterdir()) == [], "no file in the working directory"


def test_it_tells_of_each_epoch_and_of_how_it_was_made() -> None:
    told: list[int] = []
    _, facts = trained(ROOT, advance=told.append)
    assert told == [1, 1]
    assert facts.keys() == {"device", "val_accuracy"}, "the rest is the engine's to tell"
    assert facts["device"].startswith("cpu")
    assert 0 <= facts["val_accuracy"] <= 1


# options of the Trainer


@pytest.mark.parametrize(
    ("options", "steps"),
    [({"limit_train_batches": 1}, 2), ({"precision": "bf16-mixed"}, 10), ({"gradient_clip_val": 0.01}, 10)],
    ids=str,
)
def test_trainer_options_pass_through(options: dict[str, Any], steps: int) -> None:
    last = replace(ROOT, recipe=replace(ROOT.recipe, select="last"))
    plain, found = train(last), train(last, **options)
    assert not equal(found, plain)
    assert equal(train(last, **options), found)
    assert int(plain["features.1.num_batches_tracked"]) == 10
    assert int(found["features.1.num_batches_tracked"]) == steps
    assert {value.dtype for value in found.values()} == {torch.float32, torch.int64}


def test_ddp_is_refused_with_a_way_out() -> None:
    with pytest.raises(
        ConfigError,
        match=r"^trainer\.devices=2 would start the whole command again .*: use trainer\.strategy=ddp_spawn\.$",
    ):
        train(strategy="ddp", devices=2)


def test_an_error_in_training_is_not_swallowed_and_the_process_is_put_back() -> None:
    torch.set_num_threads(2)
    state, level = torch.get_rng_state(), logging.getLogger("lightning.pytorch").level

    def fail(done: int) -> None:
        raise ZeroDivisionError("in training")

    with pytest.raises(ZeroDivisionError, match="in training"):
        trained(ROOT, advance=fail)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == 2
    assert logging.getLogger("lightning.pytorch").level == level


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp_spawn", "ddp_fork"])
def test_two_processes_train_one_network(strategy: str, weights: State) -> None:
    found, made = trained(ROOT, devices=2, strategy=strategy)
    assert not equal(found, weights), "a batch on each of two processes is another training"
    assert all(value.isfinite().all() for value in found.values())
    fresh = train(replace(ROOT, recipe=replace(ROOT.recipe, lr=1e-12, epochs=1)))
    moved = (found["classifier.weight"] - fresh["classifier.weight"]).abs().max()
    assert moved > 1e-3
    assert "device" in made


@pytest.mark.slow
def test_two_processes_report_the_validation_accuracy_and_their_work_counts() -> None:
    before, own = Clock.read(), time.process_time()
    _, made = trained(ROOT, devices=2, strategy="ddp_spawn")
    assert 0 <= made["val_accuracy"] <= 1
    own = time.process_time() - own
    assert Clock.read().since(before, made["device"]) > own + 1, "two processes have read torch and have trained"


@pytest.mark.slow
def test_two_processes_train_for_a_caller_that_gives_a_lambda() -> None:
    told: list[int] = []
    _, made = trained(ROOT, advance=lambda done: told.append(done), devices=2, strategy="ddp_spawn")
    assert told == [], "the epochs ran in other processes"
    assert 0 <= made["val_accuracy"] <= 1


# Ctrl-C


def test_ctrl_c_reaches_the_caller_and_works_the_next_time() -> None:
    def handler(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, handler)
    terminate = signal.getsignal(signal.SIGTERM)
    try:
        for _ in range(2):

            def stop(done: int) -> None:
                signal.raise_signal(signal.SIGINT)

            with pytest.raises(KeyboardInterrupt):
                trained(ROOT, advance=stop)
            assert signal.getsignal(signal.SIGINT) is handler
            assert signal.getsignal(signal.SIGTERM) == terminate
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


def test_ctrl_c_before_the_first_step_is_put_right_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(task: TransferTask, stage: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(TransferTask, "setup", stop)  # Lightning puts its own handlers back only after this
    before = signal.getsignal(signal.SIGINT)
    try:
        with pytest.raises(KeyboardInterrupt):
            train()
        assert signal.getsignal(signal.SIGINT) is before
    finally:
        signal.signal(signal.SIGINT, before)


def test_after_ctrl_c_a_training_is_as_if_nothing_had_happened(weights: State) -> None:
    def stop(done: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained(ROOT, advance=stop)
    assert equal(train(), weights)


# attacks


def test_an_attack_judges_as_evaluate_does(weights: State) -> None:
    other = replace(ROOT, seed=1)
    victim = train(other)
    pgd = Component("pgd", attacks.ATTACKS["pgd"].VERSION, (("steps", 2),))
    group = CraftGroup(ROOT, DATA, pgd, (0.0, 16 / 255), seed=5, victims=(other, ROOT))
    told: list[int] = []
    outcomes, facts = attacked(group, {ROOT: weights, other: victim}, told.append)
    models = [ROOT.build(weights), other.build(victim)]
    test = DATA.images("test")
    expected = attacks.evaluate(
        attacks.get("pgd", steps=2),
        surrogate=models[0],
        victims={other.key: models[1], ROOT.key: models[0]},
        images=test.images,
        labels=test.labels,
        eps=group.eps,
        seed=5,
        batch_size=16,
    )
    assert outcomes.keys() == {other.key, ROOT.key}
    for name, outcome in outcomes.items():
        for field, value in outcome.tensors().items():
            assert torch.equal(value, expected[name].tensors()[field]), f"{name} {field}"
    assert not torch.equal(outcomes[other.key].adv_b, outcomes[ROOT.key].adv_b)
    assert told == [16, 16, 8]
    assert facts.keys() == {"device", "attack_batch"}
    assert facts["attack_batch"] == 16


def test_an_attack_ignores_options_that_are_for_training(weights: State) -> None:
    group = CraftGroup(ROOT, DATA, Component("fgsm", 1), (16 / 255,), seed=0, victims=(ROOT,))
    found = []
    for options in ({}, {"precision": "bf16-mixed", "limit_test_batches": 1, "devices": 2, "strategy": "ddp_spawn"}):
        found.append(attacked(group, {ROOT: weights}, **options)[0][ROOT.key])
    assert len(found[1].label) == 40
    assert torch.equal(found[0].adv_a, found[1].adv_a)


def test_a_training_without_validation_is_refused() -> None:
    with pytest.raises(ConfigError, match="no validation ran"):
        train(limit_val_batches=0)


def test_options_that_the_trainer_refuses_are_one_sentence() -> None:
    with pytest.raises(ConfigError, match=r"the Trainer refuses these trainer options: .*precision") as caught:
        train(precision="17")
    assert "\n" not in str(caught.value)


def test_determinism_and_environment_are_put_back() -> None:
    before = dict(os.environ)
    train(strategy="ddp")
    assert dict(os.environ) == before
    assert not torch.are_deterministic_algorithms_enabled()
    assert not torch.distributed.is_initialized()
