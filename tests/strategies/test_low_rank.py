"""Fine-tuning modes lora and bitfit: compared with LoRA as layers of its own; what moves, and what does not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning import Callback, Trainer
from torch import Tensor, nn
from torch.func import functional_call

from tl_robust import models
from tl_robust.data.batches import Batches
from tl_robust.errors import ConfigError
from tl_robust.seeding import generator
from tl_robust.strategies.finetune import FineTune
from tl_robust.strategies.low_rank import LowRank, attention_weights
from tl_robust.types import ImageSet, Recipe

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*'(train|val)_dataloader' does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*Checkpoint directory"),
]
RECIPE = Recipe(epochs=2, batch_size=16, lr=0.05, momentum=0.9, weight_decay=0.01, select="last")
LOW = {"attend.in_proj_weight", "attend.out_proj.weight"}


class Small(nn.Module):
    """Patches, one attention with dropout and a norm, and a classifier."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 12, 4, 4)
        self.attend = nn.MultiheadAttention(12, 2, dropout=0.2, batch_first=True)
        self.norm = nn.LayerNorm(12)
        self.hidden = nn.Sequential(nn.Linear(12, 12), nn.ReLU(), nn.Dropout(0.3))
        self.classifier = nn.Linear(12, classes)

    def forward(self, images: Tensor) -> Tensor:
        x = self.patches(images).flatten(2).transpose(1, 2)
        x = self.norm(x + self.attend(x, x, x, need_weights=False)[0])
        logits: Tensor = self.classifier(self.hidden(x).mean(1))
        return logits


def network(seed: int = 0) -> Small:
    torch.manual_seed(seed)
    return Small()


def images(count: int, seed: str) -> ImageSet:
    labels = torch.arange(count) % 10
    noise = torch.rand(count, 3, 16, 16, generator=generator(seed))
    return ImageSet((255 * (0.5 * noise + labels.view(-1, 1, 1, 1) / 20)).to(torch.uint8), labels)


def trainer(epochs: int, *callbacks: Callback, **options: Any) -> Trainer:
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "log_every_n_steps": 1}
    return Trainer(
        **{"accelerator": "cpu", "devices": 1, "enable_checkpointing": False} | quiet | options,
        max_epochs=epochs,
        callbacks=list(callbacks),
    )


def loaders() -> tuple[Batches, Batches]:
    return Batches(images(64, "train"), 16, seed=1), Batches(images(20, "val"), 16)


def fit(task: FineTune, epochs: int = 2, path: Path | None = None, **options: Any) -> Trainer:
    runner = trainer(epochs, **options)
    runner.fit(task, *loaders(), ckpt_path=path, weights_only=False)
    return runner


def child(mode: str, recipe: Recipe = RECIPE, **settings: Any) -> FineTune:
    task = FineTune(network(), recipe, 10, mode=mode, **settings)
    task.initialize(network(7).state_dict())
    return task


def state(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def moved(task: FineTune, before: dict[str, Tensor]) -> set[str]:
    return {name for name, value in task.network.state_dict().items() if not torch.equal(value, before[name])}


def layered(rank: int, alpha: float, recipe: Recipe, drawn: dict[str, Tensor], clip: float | None) -> dict[str, Tensor]:
    """LoRA as papers write it: autograd through A and B themselves, and torch's own SGD over what is trained."""
    net = network(7).eval()
    fixed = {name: value.detach() for name, value in net.named_parameters()}
    lows = {name: (drawn[name].clone(), torch.zeros(len(fixed[name]), rank)) for name in sorted(LOW)}
    head = {name: fixed[name].clone() for name in ("classifier.weight", "classifier.bias")}
    trained = [*head.values(), *(part for pair in lows.values() for part in pair)]
    for value in trained:
        value.requires_grad_(True)
    sgd = torch.optim.SGD(
        trained, recipe.lr, recipe.momentum, weight_decay=recipe.weight_decay, nesterov=recipe.nesterov
    )

    def whole() -> dict[str, Tensor]:
        return fixed | head | {name: fixed[name] + alpha / rank * b @ a for name, (a, b) in lows.items()}

    batches, _ = loaders()
    for epoch in range(recipe.epochs):
        batches.set_epoch(epoch)
        for batch in batches:
            sgd.zero_grad()
            logits = functional_call(net, whole(), (batch[0],))
            nn.functional.cross_entropy(logits, batch[1]).backward()
            nn.utils.clip_grad_norm_(trained, clip or float("inf"))
            sgd.step()
    return {name: value.detach() for name, value in whole().items()}


class Drawn(Callback):
    """Notes A of every weight as it was drawn."""

    def __init__(self) -> None:
        self.first: dict[str, Tensor] = {}

    def on_train_start(self, trainer: Trainer, module: Any) -> None:
        self.first = {name: parts["A"].detach().clone() for name, parts in module._low.state.items()}


@pytest.mark.parametrize(("rank", "alpha", "clip"), [(2, 6.0, None), (5, 20.0, None), (2, 20.0, 0.5)])
def test_lora_trains_as_layers_of_their_own_do(rank: int, alpha: float, clip: float | None) -> None:
    recipe = replace(RECIPE, lr=0.3)
    task, note = child("lora", recipe, rank=rank, alpha=alpha), Drawn()
    before = state(task.network)
    trainer(2, note, gradient_clip_val=clip).fit(task, *loaders())
    expected = layered(rank, alpha, recipe, note.first, clip)
    for name, value in task.network.state_dict().items():
        torch.testing.assert_close(value, expected[name], rtol=1e-4, atol=1e-5)
    assert moved(task, before) == LOW | {"classifier.weight", "classifier.bias"}
    change = (task.network.get_parameter("attend.in_proj_weight") - before["attend.in_proj_weight"]).detach()
    assert torch.linalg.matrix_rank(change, atol=1e-5) <= rank
    assert change.abs().max() > 5e-3, "a change that the comparison can see"


def test_names_and_shapes_stay_those_of_the_network() -> None:
    task = child("lora", rank=2)
    fit(task)
    assert {name: value.shape for name, value in task.network.state_dict().items()} == {
        name: value.shape for name, value in network().state_dict().items()
    }
    assert task.state_dict().keys() == FineTune(network(), RECIPE, 10).state_dict().keys()


def test_bitfit_trains_biases_and_the_classifier_alone() -> None:
    task = child("bitfit")
    before = state(task.network)
    fit(task)
    biases = {name for name in before if name.endswith("bias")}
    # no output depends on the bias of the keys, so that a part of in_proj_bias has no gradient, but weight decay
    assert moved(task, before) == biases | {"classifier.weight"}
    assert "attend.in_proj_bias" in biases


@pytest.mark.parametrize("mode", ["lora", "bitfit"])
def test_dropout_is_off_in_what_is_frozen(mode: str) -> None:
    seen: list[bool] = []

    class Look(Callback):
        def on_train_batch_start(self, trainer: Trainer, module: Any, batch: Any, batch_idx: int) -> None:
            seen.append(
                any(part.training for part in module.network.modules() if part is not module.network.classifier)
            )

    trainer(1, Look()).fit(child(mode), *loaders())
    assert seen == [False] * 4


@pytest.mark.parametrize("mode", ["lora", "bitfit"])
def test_at_a_root_everything_is_trained(mode: str) -> None:
    task = FineTune(network(), RECIPE, 10, mode=mode)
    task.initialize(None)
    before = state(task.network)
    fit(task)
    assert moved(task, before) == before.keys()


@pytest.mark.parametrize("mode", ["lora", "bitfit"])
def test_a_fit_that_is_resumed_ends_as_one_that_was_not(mode: str, tmp_path: Path) -> None:
    recipe = Recipe(epochs=4, batch_size=16, lr=0.05, momentum=0.9, select="best")
    torch.manual_seed(5)
    straight = child(mode, recipe)
    torch.manual_seed(11)
    fit(straight, 4)
    half = child(mode, recipe)
    torch.manual_seed(11)
    fit(half, 2).save_checkpoint(tmp_path / "half.ckpt")
    resumed = FineTune(network(3), recipe, 10, mode=mode)
    fit(resumed, 4, tmp_path / "half.ckpt")
    for name, value in straight.network.state_dict().items():
        torch.testing.assert_close(resumed.network.state_dict()[name], value, rtol=0, atol=1e-6)
    low = straight._low, resumed._low
    if mode == "lora":
        assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(*(part.parameters() for part in low), strict=True))


def test_gradients_are_accumulated() -> None:
    """A step over two batches is that of one batch of both."""
    one, two = child("lora", rank=2), child("lora", rank=2)
    torch.manual_seed(11)
    runner = trainer(1)
    runner.fit(one, Batches(images(32, "train"), 32, seed=1), loaders()[1])
    torch.manual_seed(11)
    runner = trainer(1, accumulate_grad_batches=2)
    runner.fit(two, Batches(images(32, "train"), 16, seed=1), loaders()[1])
    for name, value in one.network.state_dict().items():
        torch.testing.assert_close(two.network.state_dict()[name], value, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mode": "lora", "rank": 0}, "rank of fine-tuning must be at least 1 and alpha above 0, got 0 and 16"),
        ({"mode": "lora", "alpha": 0.0}, "rank of fine-tuning must be at least 1 and alpha above 0"),
        (
            {"mode": "bitfit", "rank": 3},
            "'rank' and 'alpha' of fine-tuning are for mode 'lora', got mode 'bitfit'",
        ),
        ({"mode": "lora", "blocks": 1}, "setting 'blocks' of fine-tuning must be 0 with mode 'lora'"),
    ],
)
def test_wrong_settings_are_one_sentence(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        FineTune(network(), RECIPE, 10, **settings)


def test_a_network_without_attention_is_told() -> None:
    dtn = models.get("dtn", (3, 16, 16), 10, width=0.05)
    with pytest.raises(ConfigError, match="network 'dtn' has no linear layer in an attention"):
        FineTune(dtn, RECIPE, 10, mode="lora")


def test_attention_of_torchvision_is_found() -> None:
    with torch.device("meta"):
        for arch, ends, count in (
            ("vit_b_16", ("in_proj_weight", "out_proj.weight"), 24),
            ("swin_t", ("qkv.weight", "proj.weight"), 24),
        ):
            found = attention_weights(models.get("torchvision_backbone", (3, 224, 224), 10, arch=arch))
            assert len(found) == count
            assert all(name.endswith(ends) for name in found)


def test_a_merge_of_nothing_changes_nothing() -> None:
    net = network()
    before = state(net)
    low = LowRank(net, 3, 2.0)
    low.merge()
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_a_defense_that_takes_the_steps_is_refused() -> None:
    with pytest.raises(ConfigError, match="mode 'lora' of fine-tuning cannot be trained by"):
        child("lora").defend(SimpleNamespace(acts={"optimizer"}))  # type: ignore[arg-type]
