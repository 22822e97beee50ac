"""Adversarial training: its losses against plain loops, what it leaves alone, what it costs, and the epoch it keeps."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import pytest
import torch
from lightning import Callback, LightningDataModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from tl_robust import models, strategies
from tl_robust.data.batches import Batches
from tl_robust.defenses import DEFENSES, Adaptive, Defense, fgsm_rs
from tl_robust.defenses.adversarial import Adversarial, pgd
from tl_robust.defenses.fgsm_rs import FgsmRs
from tl_robust.defenses.origin_at import OriginAt
from tl_robust.defenses.pgd_at import PgdAt
from tl_robust.defenses.robust_origin import RobustOrigin
from tl_robust.defenses.trades import Trades
from tl_robust.errors import ConfigError
from tl_robust.nodes.allocator import keep_freed_memory
from tl_robust.seeding import derive, generator, normal, uniform
from tl_robust.strategies import TransferTask
from tl_robust.types import ImageSet, Recipe

EPS = 16 / 255
SHAPE = (3, 8, 8)
RECIPE = Recipe(epochs=2, batch_size=16, lr=0.05, momentum=0.9)
LABELS = torch.arange(24) % 10
IMAGES = torch.rand(24, *SHAPE, generator=generator("adversarial"), dtype=torch.float64)
BATCH = (IMAGES, LABELS, torch.arange(24) + 7)
Network = Callable[[Tensor], Tensor]


class Small(nn.Module):
    """Convolution, batch statistics, dropout; in double precision, so that formulas agree to the last digits."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.body = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.Tanh(), nn.Dropout(0.5), nn.Flatten())
        self.classifier = nn.Linear(6 * 36, 10)
        self.double()

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(self.body(images))


def task_of(defense: Adversarial | RobustOrigin, others: Any = None, recipe: Recipe = RECIPE) -> TransferTask:
    task = strategies.get("scratch", Small(), recipe, 10).defend(defense, others)
    task.defense_seed = 11
    return task.train()


def loss_of(task: TransferTask) -> Tensor:
    assert task.defense is not None
    torch.manual_seed(3)  # of dropout
    return task.defense.loss(task, BATCH, task._others)


def seed_of(epoch: int = 0) -> int:
    return derive("attack", 11, epoch)


# plain loops, written apart from the engine


def ascent(network: nn.Module, start: Tensor, loss: Callable[[Tensor], Tensor], step: float, steps: int) -> Tensor:
    network.eval()
    images = start
    for _ in range(steps):
        images = images.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(loss(network(images)), images)
        images = (images + step * gradient.sign()).detach()
        images = torch.minimum(torch.maximum(images, IMAGES - EPS), IMAGES + EPS).clamp(0, 1)
    return images


def labels_loss(logits: Tensor) -> Tensor:
    return cross_entropy(logits, LABELS, reduction="sum")


def start_uniform(epoch: int = 0) -> Tensor:
    draw = 2 * uniform(seed_of(epoch), BATCH[2], SHAPE).double() - 1
    return (IMAGES + EPS * draw).clamp(0, 1)


def plain_pgd(network: nn.Module) -> Tensor:
    changed = ascent(network, start_uniform(), labels_loss, 2.5 / 7 * EPS, 7)
    torch.manual_seed(3)
    return cross_entropy(network.train()(changed), LABELS)


def plain_fgsm_rs(network: nn.Module) -> Tensor:
    changed = ascent(network, start_uniform(), labels_loss, 1.25 * EPS, 1)
    torch.manual_seed(3)
    return cross_entropy(network.train()(changed), LABELS)


def plain_trades(network: nn.Module) -> Tensor:
    noise = 0.001 * normal(derive(seed_of(), "start"), BATCH[2], SHAPE).double()
    before = network.eval()(IMAGES).softmax(1).detach()

    def apart(logits: Tensor) -> Tensor:
        return (before * (before.log() - logits.log_softmax(1))).sum()

    changed = ascent(network, (IMAGES + noise).clamp(0, 1), apart, EPS / 4, 10)
    torch.manual_seed(3)
    said = network.train()(IMAGES)
    clean, other = said.softmax(1), network(changed).softmax(1)
    return cross_entropy(said, LABELS) + 2 * (clean * (clean.log() - other.log())).sum() / len(LABELS)


def plain_origin(network: nn.Module, origin: nn.Module) -> Tensor:
    images = IMAGES.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(labels_loss(origin.eval()(images)), images)
    sizes = EPS * uniform(derive("eps", seed_of()), BATCH[2], (1, 1, 1)).double()
    changed = (IMAGES + sizes * gradient.sign()).clamp(0, 1)
    torch.manual_seed(3)
    network.train()
    return (cross_entropy(network(IMAGES), LABELS) + cross_entropy(network(changed), LABELS)) / 2


@pytest.mark.parametrize(
    ("defense", "plain"),
    [(PgdAt(EPS), plain_pgd), (FgsmRs(EPS), plain_fgsm_rs), (Trades(EPS, 2.0), plain_trades)],
)
def test_the_loss_is_that_of_a_plain_loop(defense: Adversarial, plain: Callable[[nn.Module], Tensor]) -> None:
    expected = plain(Small())
    task = task_of(defense)
    found = loss_of(task)
    assert found.item() == pytest.approx(expected.item(), abs=1e-6)
    assert found.item() != pytest.approx(loss_of(task_of(replace(defense, eps=EPS / 2))).item(), abs=1e-4)
    if not isinstance(defense, Trades):
        origin = task_of(RobustOrigin({PgdAt: "pgd_at", FgsmRs: "fgsm_rs"}[type(defense)], EPS))
        assert torch.equal(loss_of(origin), found), "the origin is trained by the same loss"
    found.backward()
    network = Small()
    plain(network).backward()
    for (name, own), other in zip(task.network.named_parameters(), network.parameters(), strict=True):
        assert torch.allclose(own.grad, other.grad, atol=1e-6), name


def test_the_loss_on_images_of_the_origin_is_that_of_a_plain_loop() -> None:
    task = task_of(OriginAt(EPS), {"origin": Small(9)})
    assert loss_of(task).item() == pytest.approx(plain_origin(Small(), Small(9)).item(), abs=1e-6)
    assert loss_of(task).item() != pytest.approx(plain_origin(Small(), Small(8)).item(), abs=1e-4)
    with pytest.raises(ConfigError, match=r"^origin_at needs A: task\.defend"):
        loss_of(task_of(OriginAt(EPS)))


EVERY = pytest.mark.parametrize("defense", [PgdAt(EPS), FgsmRs(EPS), Trades(EPS), OriginAt(EPS)], ids=str)


def others_of(defense: Adversarial) -> dict[str, nn.Module]:
    return {"origin": Small(9)} if isinstance(defense, OriginAt) else {}


@EVERY
def test_the_attack_leaves_modes_statistics_dropout_and_gradients_alone(defense: Adversarial) -> None:
    task = task_of(defense, others_of(defense))
    frozen = task.network.body[1]
    frozen.eval()
    frozen.weight.requires_grad_(False)
    before = {name: value.clone() for name, value in task.network.state_dict().items()}
    modes = [module.training for module in task.modules()]
    loss_of(task).backward()
    assert [module.training for module in task.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in task.network.state_dict().items())
    grads = {name: weight.grad is not None for name, weight in task.network.named_parameters()}
    assert grads == {name: name != "body.1.weight" for name in grads}
    drawn = torch.rand(1)
    torch.manual_seed(3)
    dropped = 2 if isinstance(defense, Trades | OriginAt) else 1  # forward passes in train mode
    for _ in range(dropped):
        nn.functional.dropout(torch.zeros(24, 6, 6, 6, dtype=torch.float64))
    assert torch.equal(torch.rand(1), drawn), "no draw of the attack is from the global generator"


@EVERY
def test_statistics_move_by_the_passes_in_train_mode_alone(defense: Adversarial) -> None:
    task = task_of(defense, others_of(defense))
    loss_of(task)
    passes = 2 if isinstance(defense, Trades | OriginAt) else 1
    assert int(task.network.body[1].num_batches_tracked) == passes


def crafted(defense: Adversarial, batch: Any, seed: int = 11) -> Tensor:
    """The images that a network is given in train mode."""
    task, seen = task_of(defense, others_of(defense)), []
    task.defense_seed = seed
    task.network.register_forward_pre_hook(
        lambda module, given: seen.append(given[0].detach()) if module.training else None
    )
    defense.loss(task, batch, task._others)
    return seen[-1]


@EVERY
def test_draws_are_keyed_by_training_sample_and_epoch(defense: Adversarial, monkeypatch: pytest.MonkeyPatch) -> None:
    epoch = [0]
    monkeypatch.setattr(TransferTask, "current_epoch", property(lambda self: epoch[0]))
    whole = crafted(defense, BATCH)
    order = torch.randperm(24, generator=generator("order"))[:9]
    part = crafted(defense, tuple(each[order] for each in BATCH))
    assert torch.allclose(part, whole[order], atol=1e-12), "whatever else is in the batch"
    assert torch.equal(crafted(defense, BATCH), whole)
    assert not torch.allclose(crafted(defense, (*BATCH[:2], BATCH[2] + 1)), whole, atol=1e-5)
    assert not torch.allclose(crafted(defense, BATCH, seed=12), whole, atol=1e-5)
    epoch[0] = 1
    assert not torch.allclose(crafted(defense, BATCH), whole, atol=1e-5)
    assert float((whole - IMAGES).abs().max()) <= EPS + 1e-12
    assert 0 <= float(whole.min()) <= float(whole.max()) <= 1


# what it costs


class Passes:
    """Counts forward and backward passes of a network, by its mode."""

    def __init__(self, network: nn.Module) -> None:
        self.forward = {True: 0, False: 0}
        self.backward = 0
        self.weights = 0
        network.register_forward_hook(self._forward)
        last = network.classifier
        last.register_full_backward_hook(self._backward)

    def _forward(self, module: nn.Module, given: Any, out: Tensor) -> None:
        self.forward[module.training] += 1

    def _backward(self, module: nn.Module, given: Any, out: Any) -> None:
        self.backward += 1
        self.weights += next(module.parameters()).requires_grad

    @property
    def counts(self) -> tuple[int, int, int, int]:
        return self.forward[False], self.forward[True], self.backward - self.weights, self.weights


@pytest.mark.parametrize(
    ("defense", "counts"),
    [
        (PgdAt(EPS), (7, 1, 7, 1)),
        (FgsmRs(EPS), (1, 1, 1, 1)),
        (Trades(EPS), (11, 2, 10, 2)),  # one more: what it says of the clean image
        (OriginAt(EPS), (0, 2, 0, 2)),  # and one of A
    ],
    ids=str,
)
def test_no_pass_is_wasted(defense: Adversarial, counts: tuple[int, ...]) -> None:
    others = others_of(defense)
    task = task_of(defense, others)
    passes = Passes(task.network)
    own = Passes(others["origin"]) if others else None
    loss_of(task).backward()
    assert passes.counts == counts
    assert own is None or own.counts == (1, 0, 1, 0)


@contextmanager
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_a_network_that_takes_the_place_of_another_is_attacked() -> None:
    """What was found out about the first must not stand for the second."""
    task = task_of(PgdAt(EPS))
    before = loss_of(task).detach()
    task.network = Small(5).train()
    found = loss_of(task).detach()
    assert torch.allclose(found, plain_pgd(Small(5)), rtol=0, atol=1e-6)
    assert (found - before).abs() > 1e-3


@pytest.mark.parametrize(
    ("defense", "asked", "learned", "most"),
    [
        (PgdAt(EPS), 7, 1, 1.15),
        pytest.param(FgsmRs(EPS), 1, 1, 1.15, marks=pytest.mark.slow),  # it is 1.13 where nothing else runs
        (FgsmRs(EPS), 1, 1, 1.25),
        (Trades(EPS), 10, 2, 1.15),
        (OriginAt(EPS), 1, 2, 1.15),
    ],
    ids=["pgd_at", "fgsm_rs alone", "fgsm_rs", "trades", "origin_at"],
)
def test_a_step_takes_hardly_longer_than_its_passes(
    defense: Adversarial, asked: int, learned: int, most: float
) -> None:
    """CPU seconds of a step over those of the bare passes that it needs, in rounds that take turns."""
    keep_freed_memory()  # as every training of a bench
    torch.manual_seed(0)
    network, origin = (models.get("dtn", (3, 32, 32), 10, width=0.25) for _ in range(2))
    others = {"origin": origin.eval().requires_grad_(False)} if isinstance(defense, OriginAt) else {}
    task = strategies.get("scratch", network, RECIPE, 10).defend(defense, others).train()
    task.defense_seed = 11
    images = torch.rand(64, 3, 32, 32, generator=generator("cost"))
    labels, ids = torch.arange(64) % 10, torch.arange(64)

    def bare() -> None:
        network.eval().requires_grad_(False)
        if isinstance(defense, Trades):  # the answer to clean images, which the divergence is measured from
            network(images)
        for _ in range(asked):
            moved = images.clone().requires_grad_()
            torch.autograd.grad(cross_entropy(others.get("origin", network)(moved), labels, reduction="sum"), moved)
        network.train().requires_grad_(True)
        sum(cross_entropy(network(images), labels) for _ in range(learned)).backward()

    def whole() -> None:
        defense.loss(task, (images, labels, ids), others).backward()

    def seconds(run: Callable[[], None]) -> float:
        start = time.process_time()
        run()
        return time.process_time() - start

    with one_thread():
        ratios = (median([seconds(whole) / seconds(bare) for _ in range(10)]) for _ in range(20))
        assert any(ratio < most for ratio in ratios)  # one of twenty, since other processes disturb a measurement


# the choice of the epoch


def test_the_epoch_is_chosen_by_accuracy_under_pgd() -> None:
    task = task_of(PgdAt(EPS)).eval()
    task.network.classifier.weight.data[:, ::2] = 0
    task.network.classifier.bias.data[3] += 0.3
    labels = task(IMAGES).argmax(1)
    labels[::4] = (labels[::4] + 1) % 10  # wrong from the start
    looks: list[Tensor] = []
    handle = task.network.register_forward_pre_hook(lambda module, given: looks.append(given[0].detach().clone()))
    right = task.defense.score(task, (IMAGES, labels, BATCH[2]))
    handle.remove()
    right_before = task(IMAGES).argmax(1) == labels
    assert len(looks[1]) == 18, "what is wrong before is not attacked"
    assert min(map(len, looks)) < 18, "whoever is fooled is done"
    assert right.shape == (24,)
    assert not right[::4].any()
    assert 0 < int(right.sum()) < 18
    draw = 2 * uniform(derive("score", 11), BATCH[2], SHAPE).double() - 1
    images = (IMAGES + EPS * draw).clamp(0, 1)
    assert torch.allclose(looks[1], images[right_before]), "the same draws in every epoch"
    left = torch.ones(24, dtype=torch.bool)
    for _ in range(7):
        images = images.detach().requires_grad_()
        said = task(images)
        left &= said.argmax(1) == labels
        (gradient,) = torch.autograd.grad(cross_entropy(said, labels, reduction="sum"), images)
        images = (images + 2.5 / 7 * EPS * gradient.sign()).detach()
        images = torch.minimum(torch.maximum(images, IMAGES - EPS), IMAGES + EPS).clamp(0, 1)
    left &= task(images).argmax(1) == labels
    assert torch.equal(right, left)
    broken = task_of(PgdAt(EPS)).eval()
    broken.network.classifier.bias.data.fill_(torch.nan)
    assert not broken.defense.score(broken, BATCH).any(), "a diverged network is right nowhere"
    with torch.inference_mode():  # as Lightning validates
        again = task.defense.score(task, tuple(each.clone() for each in (IMAGES, labels, BATCH[2])))
    assert torch.equal(again, right)


def test_what_needs_no_score_pays_for_none() -> None:
    last = replace(RECIPE, select="last")
    for defense in (PgdAt(EPS), Trades(EPS), RobustOrigin(eps=EPS)):
        assert defense.score(task_of(defense, recipe=last), BATCH) is None
        assert defense.score(task_of(defense), BATCH) is not None
    assert OriginAt(EPS).score(task_of(OriginAt(EPS)), BATCH) is None
    assert FgsmRs(EPS).score(task_of(FgsmRs(EPS), recipe=last), BATCH) is not None, "a collapse must be seen"


@pytest.mark.parametrize("name", ["pgd_at", "fgsm_rs", "trades", "origin_at", "robust_origin"])
def test_no_test_image_chooses_the_epoch_and_no_eps_is_guessed(name: str) -> None:
    network = Small()
    with pytest.raises(ConfigError, match=r"needs recipe\.select=best or last, got 'test'"):
        DEFENSES[name](eps=EPS).check(strategies.get("scratch", network, replace(RECIPE, select="test"), 10), 10, {})
    with pytest.raises(ConfigError, match=r"has no eps outside a bench: give it one, such as 8/255\.$"):
        DEFENSES[name]().check(strategies.get("scratch", network, RECIPE, 10), 10, {})


def scored(defense: FgsmRs, *scores: float) -> TransferTask:
    task = task_of(defense)
    task.history = [{"val_accuracy": 1.0, "val_loss": 0.0, "val_score": score} for score in scores]
    return task


@pytest.mark.parametrize(
    ("scores", "step", "says"),
    [
        ((), 1.25, ""),
        ((0.5, 0.4, 0.25, 0.7), 1.25, "under attack 70.0%"),  # falls of 20 points at most
        ((0.5, 0.1, 0.4), 0.625, "under attack 50.0%, which fell in epoch 2: step halved to 0.625 eps"),
        ((0.5, 0.1, 0.4, 0.0), 0.3125, "under attack 50.0%, which fell in epoch 2, 4: step halved to 0.3125 eps"),
    ],
)
def test_a_collapse_halves_the_step_and_is_told(scores: tuple[float, ...], step: float, says: str) -> None:
    task = scored(FgsmRs(EPS), *scores)
    assert task.defense.remark(task) == says
    task.recipe = replace(RECIPE, select="last")
    assert task.defense.remark(task).startswith(f"under attack {scores[-1]:.1%}" if scores else "")
    found = loss_of(task)
    assert torch.equal(found, loss_of(task_of(FgsmRs(EPS, step))))
    assert torch.equal(found, loss_of(task_of(FgsmRs(EPS)))) == (step == 1.25)


@pytest.mark.parametrize(
    ("kind", "settings", "says"),
    [
        (PgdAt, {"eps": 8.0}, r"^eps of defense 'pgd_at' must be above 0 and at most 1 \(write 8/255, not 8\), or 0 "),
        (OriginAt, {"eps": -0.1}, r"^eps of defense 'origin_at' must be .* got -0\.1\.$"),
        (FgsmRs, {"step": 0.0}, r"^setting 'step' of fgsm_rs must be above 0 \(a share of eps\), got 0\.$"),
        (Trades, {"beta": -1.0}, r"^setting 'beta' of trades must be above 0, or 0 for its authors', got -1\.$"),
        (RobustOrigin, {"by": "origin_at"}, r"must be one of pgd_at, fgsm_rs, trades, got 'origin_at'\.$"),
        (RobustOrigin, {"epochs": -1}, r"^robust_origin needs epochs from 0, got"),
        (RobustOrigin, {"beta": 2.0}, r"^robust_origin needs beta with by: trades alone, got"),
        (RobustOrigin, {"eps": 2.0}, r"^eps of defense 'pgd_at' must be"),
    ],
)
def test_a_setting_out_of_range_is_one_sentence(kind: Any, settings: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        kind(**settings)


# in a fit


class Data(LightningDataModule):
    def train_dataloader(self) -> Batches:
        return Batches(SET, 16, seed=3)

    def val_dataloader(self) -> Batches:
        return Batches(SET, 16)


FITTED = Recipe(epochs=3, batch_size=16, lr=0.05, momentum=0.9)
LEARNED = torch.arange(75) % 10
NOISE = torch.rand(75, *SHAPE, generator=generator("fitted"))
SET = ImageSet((255 * (0.5 * NOISE + LEARNED.view(-1, 1, 1, 1) / 20)).to(torch.uint8), LEARNED)


def fitted(
    defense: Defense | None, path: Path | None = None, *callbacks: Callback, epochs: int = 3, seed: int = 7
) -> TransferTask:
    torch.manual_seed(seed)
    task = strategies.get("scratch", models.get("dtn", SHAPE, 10, width=0.05), FITTED, 10)
    if defense:
        task.defend(defense)
    trainer = Trainer(
        accelerator="cpu", devices=1, logger=False, max_epochs=epochs, enable_progress_bar=False,
        enable_model_summary=False, enable_checkpointing=bool(callbacks), callbacks=list(callbacks),
    )  # fmt: skip
    trainer.fit(task, datamodule=Data(), ckpt_path=path)
    return task


@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning", "ignore:Be aware that when using .ckpt_path.")
@pytest.mark.parametrize("defense", [PgdAt(EPS), FgsmRs(EPS, step=3.0)], ids=str)
def test_a_fit_that_goes_on_within_an_epoch_draws_as_if_it_had_not_stopped(defense: Defense, tmp_path: Path) -> None:
    straight = fitted(defense)
    keeper = ModelCheckpoint(tmp_path, "half", save_top_k=1, every_n_train_steps=8)
    fitted(defense, None, keeper, epochs=2)
    resumed = fitted(defense, tmp_path / "half.ckpt")
    assert resumed.history == straight.history
    assert resumed.defense_seed == straight.defense_seed >= 0
    for name, value in straight.network.state_dict().items():
        assert torch.equal(value, resumed.network.state_dict()[name]), name
    scores = [epoch["val_score"] for epoch in straight.history]
    assert all(0 <= score <= epoch["val_accuracy"] for score, epoch in zip(scores, straight.history, strict=True))
    assert any(score < epoch["val_accuracy"] for score, epoch in zip(scores, straight.history, strict=True))


@dataclass(frozen=True)
class Draws(Defense):
    """It is given a seed and uses none."""

    def loss(self, task: Any, batch: Any, others: Any) -> Tensor:
        return task.objective(batch)

    def adaptive(self) -> tuple[Adaptive, ...]:
        return (Adaptive.none("a toy"),)


@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")
def test_the_seed_of_a_defense_leaves_order_and_dropout() -> None:
    plain, drawing = fitted(None), fitted(Draws())
    for name, value in plain.network.state_dict().items():
        assert torch.equal(value, drawing.network.state_dict()[name]), name
    assert drawing.defense_seed != fitted(Draws(), seed=8, epochs=1).defense_seed, "each training has its own"


@dataclass(frozen=True)
class Falling(FgsmRs):
    """Its robust accuracy is scripted."""

    def score(self, task: Any, batch: Any) -> Tensor:
        return torch.tensor([0.8, 0.5, 0.4][task.current_epoch])


@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")
def test_in_a_fit_the_step_is_halved_from_the_epoch_after_a_fall(monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[float] = []

    def noted(**settings: Any) -> Any:
        steps.append(settings["step_size"])
        return pgd(**settings)

    monkeypatch.setattr(fgsm_rs, "pgd", noted)
    task = fitted(Falling(EPS))
    assert steps == [1.25] * 5 + [1.25] * 5 + [0.625] * 5
    assert task.defense is not None
    assert task.defense.remark(task) == "under attack 80.0%, which fell in epoch 2: step halved to 0.625 eps"
