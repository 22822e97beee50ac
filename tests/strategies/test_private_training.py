"""Training with differential privacy takes the steps that its definition says, and refuses what no account counts."""

from __future__ import annotations

import sys
from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from lightning import Callback, LightningDataModule, Trainer
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from tl_robust.data.batches import Batches
from tl_robust.defenses import parse
from tl_robust.defenses.dp import Dp
from tl_robust.errors import ConfigError
from tl_robust.seeding import derive, generator
from tl_robust.strategies.finetune import FineTune
from tl_robust.types import ImageSet, Recipe

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning"),
    pytest.mark.filterwarnings("ignore:Found .* in eval mode"),
    pytest.mark.filterwarnings("ignore:Full backward hook is firing"),
]
RECIPE = Recipe(epochs=3, batch_size=16, lr=0.1, momentum=0.9, weight_decay=1e-3, select="last")
LABELS = torch.arange(60) % 10
PIXELS = torch.randint(0, 256, (60, 3, 8, 8), generator=generator("private"), dtype=torch.uint8)
IMAGES = ImageSet(PIXELS, LABELS)
State = dict[str, Tensor]


class Data(LightningDataModule):
    def __init__(self, sampling: float = 0.2, count: int = 60) -> None:
        super().__init__()
        self.sampling, self.count = sampling, count

    def train_dataloader(self) -> Batches:
        return Batches(IMAGES, 16, torch.arange(self.count), seed=3, sampling=self.sampling)

    def val_dataloader(self) -> Batches:
        return Batches(IMAGES, 16)


def network(norm: str = "group") -> nn.Module:
    torch.manual_seed(4)
    layer = nn.GroupNorm(2, 8) if norm == "group" else nn.BatchNorm2d(8)
    layers = nn.Sequential(nn.Conv2d(3, 8, 3), layer, nn.ReLU(), nn.Flatten())
    built = nn.Sequential()
    built.features, built.classifier = layers, nn.Linear(288, 10)
    return built


class Stop(Callback):
    """Kills a fit after so many steps, and writes what a killed run has left."""

    def __init__(self, step: int, path: Path) -> None:
        self.step, self.path = step, path

    def on_train_batch_end(self, trainer: Trainer, *_: object) -> None:
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)
            raise KeyboardInterrupt


def trained(
    defense: Dp,
    recipe: Recipe = RECIPE,
    norm: str = "group",
    mode: str = "",
    data: Data | None = None,
    seed: int = 4,
    stop: int = 0,
    path: Path | None = None,
) -> FineTune:
    own = network(norm)
    torch.manual_seed(seed)
    parent = {name: value.clone() for name, value in own.state_dict().items()}
    task = FineTune(own, recipe, 10, mode=mode or "full").defend(defense)
    task.start_from(parent if mode else None)
    trainer = Trainer(
        max_epochs=recipe.epochs, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, callbacks=[Stop(stop, path)] if stop and path else [],
    )  # fmt: skip
    with suppress(SystemExit, KeyboardInterrupt) if stop else nullcontext():
        trainer.fit(task, datamodule=data or Data(defense.sampling), ckpt_path=None if stop else path)
    return task


def weights(task: FineTune) -> State:
    return {name: value.detach().clone() for name, value in task.network.named_parameters()}


def by_hand(defense: Dp, seed: int, recipe: Recipe = RECIPE, count: int = 60) -> State:
    """The definition, image by image: clip, sum, noise, expected size; then SGD with momentum and decay."""
    own, step = network(), 0
    names = [name for name, _ in own.named_parameters()]
    velocity = [torch.zeros_like(weight) for weight in own.parameters()]
    loader = Data(defense.sampling, count).train_dataloader()
    for _ in range(recipe.epochs):
        for images, labels, _ in loader:
            total = [torch.zeros_like(weight) for weight in own.parameters()]
            for image, label in zip(images, labels, strict=True):
                gradient = torch.autograd.grad(cross_entropy(own(image[None]), label[None]), list(own.parameters()))
                norm = torch.stack([part.norm() for part in gradient]).norm()
                factor = min(1.0, defense.clip / (float(norm) + 1e-6))
                total = [whole + factor * part for whole, part in zip(total, gradient, strict=True)]
            draws = generator("unused").manual_seed(derive("noise", seed, step))
            if defense.noise:
                total = [
                    whole + torch.normal(0.0, defense.noise * defense.clip, whole.shape, generator=draws)
                    for whole in total
                ]
            with torch.no_grad():
                whole = [part / (defense.sampling * count) for part in total]
                decayed = [g + recipe.weight_decay * w for g, w in zip(whole, own.parameters(), strict=True)]
                velocity = [recipe.momentum * v + g for v, g in zip(velocity, decayed, strict=True)]
                for weight, moved in zip(own.parameters(), velocity, strict=True):
                    weight -= (defense.lr or recipe.lr) * moved
            step += 1
    return dict(zip(names, [weight.detach() for weight in own.parameters()], strict=True))


def distance(first: State, second: State) -> float:
    return max(float((first[name] - second[name]).detach().abs().max()) for name in first)


@pytest.mark.parametrize(
    "defense", [Dp(noise=0.7, clip=0.5), Dp(noise=0, clip=0.1, lr=0.3), Dp(noise=0, clip=1e6)], ids=str
)
def test_steps_are_those_of_a_plain_loop_over_single_images(defense: Dp) -> None:
    task = trained(defense)
    assert distance(weights(task), by_hand(defense, task.defense_seed)) < 1e-5
    assert distance(weights(task), dict(network().named_parameters())) > 1e-2


def test_two_runs_are_equal_and_leave_no_hooks_and_no_new_names() -> None:
    first, second = trained(Dp(noise=1.0)), None
    second = trained(Dp(noise=1.0))
    assert first.defense_seed == second.defense_seed
    assert distance(weights(first), weights(second)) == 0
    assert first.network.state_dict().keys() == network().state_dict().keys()
    assert not any(module._forward_hooks or module._backward_hooks for module in first.network.modules())


@pytest.mark.parametrize("stopped", [4, 5, 8], ids=["within an epoch", "after an epoch", "within the next epoch"])
def test_a_fit_that_was_stopped_goes_on_with_the_same_noise(stopped: int, tmp_path: Path) -> None:
    straight, begun = trained(Dp(noise=1.0)), trained(Dp(noise=1.0), stop=stopped, path=tmp_path / "stopped.ckpt")
    assert distance(weights(straight), weights(begun)) > 1e-3, "it was stopped"
    resumed = trained(Dp(noise=1.0), seed=77, path=tmp_path / "stopped.ckpt")  # another process draws other numbers
    assert distance(weights(straight), weights(resumed)) == 0
    assert resumed.global_step == 15
    assert not any(module._forward_hooks or module._backward_hooks for module in resumed.network.modules())


def test_another_seed_draws_other_noise() -> None:
    first, second = trained(Dp(noise=1.0)), trained(Dp(noise=1.0), seed=5)
    assert first.defense_seed != second.defense_seed
    assert distance(weights(first), weights(second)) > 1e-3


def test_an_empty_batch_is_a_step_of_noise() -> None:
    defense, data = Dp(noise=1.0, sampling=0.001), Data(0.001, 60)
    recipe = replace(RECIPE, epochs=1)
    data.train_dataloader = lambda: Few(IMAGES, 16, seed=3, sampling=0.001)  # type: ignore[method-assign]
    task = trained(defense, recipe, data=data)
    moved = distance(weights(task), dict(network().named_parameters()))
    assert 0.1 < moved < 10


class Few(Batches):
    """Two batches without an image."""

    def __len__(self) -> int:
        return 2

    def __iter__(self):  # type: ignore[no-untyped-def]
        for _ in range(2):
            yield PIXELS[:0].float(), LABELS[:0], LABELS[:0]


def test_noise_of_1000_leaves_nothing_learned() -> None:
    plain, noisy = (trained(Dp(noise=noise, clip=10), replace(RECIPE, epochs=12)) for noise in (0, 1000))
    assert float(plain.kept_accuracy) > 0.5
    assert float(noisy.kept_accuracy) < 0.3


@pytest.mark.parametrize("mode", ["probe", "frozen_bn"])
def test_frozen_batch_norm_goes(mode: str) -> None:
    task = trained(Dp(noise=1.0), norm="batch", mode=mode)
    changed = [
        name
        for name, value in weights(task).items()
        if not torch.equal(value, dict(network("batch").named_parameters())[name])
    ]
    assert changed == (
        ["classifier.weight", "classifier.bias"]
        if mode == "probe"
        else ["features.0.weight", "features.0.bias", "classifier.weight", "classifier.bias"]
    )


def test_what_no_account_counts_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"norm: group.*mode: frozen_bn or mode: probe"):
        trained(Dp(), norm="batch")
    with pytest.raises(ConfigError, match=r"needs recipe\.select=last, got 'best'"):
        trained(Dp(), replace(RECIPE, select="best"))
    with pytest.raises(ConfigError, match=r"delta.* must be below 1 / n = 0\.017 for the 60 images.*got 0\.05"):
        trained(Dp(delta=0.05))
    with pytest.raises(ConfigError, match=r"needs Poisson batches.* sampling=0\.2"):
        trained(Dp(), data=Data(0.0))
    with pytest.raises(ConfigError, match="only one defense can set the optimizer"):
        parse("dp + dp(clip=2)")
    with pytest.raises(ConfigError, match="outside the account of dp"):
        parse("distill + dp")


def test_without_opacus_one_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opacus.accountants.utils", None)
    with pytest.raises(ConfigError, match=r"pip install 'tl_robust\[dp\]'"):
        trained(Dp(noise=1.0))
