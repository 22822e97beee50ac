"""What each mode of fine-tuning trains, bit for bit, in real trainings."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor, nn

from tl_robust.data.batches import Batches
from tl_robust.errors import ConfigError, UnknownNameError
from tl_robust.models import build
from tl_robust.models.base import blocks
from tl_robust.nodes.hands import nothing
from tl_robust.nodes.progress import Epochs
from tl_robust.registry import Component
from tl_robust.seeding import generator
from tl_robust.strategies import STRATEGIES
from tl_robust.strategies.finetune import FineTune
from tl_robust.types import ImageSet, Recipe

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning"),  # Lightning 2.6 uses what torch 2.9 warns about
    pytest.mark.filterwarnings("ignore:.*'(train|val)_dataloader' does not have many workers"),
]
State = dict[str, Tensor]
SHAPE = (3, 16, 16)
RECIPE = Recipe(epochs=3, batch_size=16, lr=0.05, momentum=0.9, weight_decay=0.1, select="last")
NETWORKS = {
    "dtn": Component("dtn", 1, (("width", 0.05),)),
    "wrn": Component("wrn", 1, (("depth", 10), ("dropout", 0.3), ("width", 1))),
}
DTN_BLOCKS = ("features.0 features.1 features.2 features.3", "features.4 features.5 features.6 features.7")
DTN_BLOCKS += ("features.8 features.9 features.10 features.11", "hidden.0 hidden.1 hidden.2 hidden.3")
DTN_BATCHNORM = {"features.1", "features.5", "features.9", "hidden.1"}
CASES = [
    ("dtn", "full", 0),
    ("dtn", "full", 1),
    ("dtn", "full", 3),
    ("dtn", "full", 4),
    ("dtn", "frozen_bn", 0),
    ("dtn", "frozen_bn", 2),
    ("dtn", "probe", 0),
    ("wrn", "full", 2),
    ("wrn", "frozen_bn", 0),
    ("wrn", "frozen_bn", 2),
    ("wrn", "probe", 0),
]
EVERY = pytest.mark.parametrize(("name", "mode", "count"), CASES)


def network(name: str = "dtn", seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return build(NETWORKS[name], SHAPE, 10)


def state(module: nn.Module) -> State:
    return {name: value.clone() for name, value in module.state_dict().items()}


def parent(name: str = "dtn") -> State:
    """A state whose every tensor is unlike a fresh one and not 0."""
    other = network(name, seed=99)
    with torch.no_grad():
        for _ in range(3):
            other(torch.rand(16, *SHAPE))
        for value in other.parameters():
            value.add_(0.01)
    return state(other)


def images(count: int, seed: str) -> ImageSet:
    """A dark or a bright half of noise: something to learn."""
    labels = torch.arange(count) % 10
    noise = torch.rand(count, *SHAPE, generator=generator(seed))
    return ImageSet((255 * (0.5 * noise + labels.view(-1, 1, 1, 1) / 20)).to(torch.uint8), labels)


class Watch(Callback):
    """Calls a function at the start of each batch, or at the end of each epoch."""

    def __init__(
        self, batch: Callable[[FineTune], None] | None = None, end: Callable[[FineTune], None] | None = None
    ) -> None:
        self._batch, self._end = batch, end

    def on_train_batch_start(self, trainer: Trainer, module: LightningModule, batch: Any, batch_idx: int) -> None:
        if self._batch:
            assert isinstance(module, FineTune)
            self._batch(module)

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        if self._end:
            assert isinstance(module, FineTune)
            self._end(module)


def fit(task: FineTune, *callbacks: Callback, **options: Any) -> Trainer:
    """A training with a validation in the middle of each epoch and one at its end."""
    trainer = Trainer(
        **{"accelerator": "cpu", "devices": 1, "val_check_interval": 2, "max_epochs": task.recipe.epochs} | options,
        num_sanity_val_steps=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
        callbacks=[*callbacks, Epochs(nothing)],  # several processes let go of each other before they end
    )
    size = task.recipe.batch_size
    trainer.fit(task, Batches(images(4 * size, "train"), size, seed=1), Batches(images(20, "val"), size))
    return trainer


def child(name: str = "dtn", recipe: Recipe = RECIPE, kind: type[FineTune] = FineTune, **settings: Any) -> FineTune:
    task = kind(network(name), recipe, 10, **settings)
    task.initialize(parent(name))
    return task


def fixed_modules(task: FineTune, name: str, mode: str, count: int) -> set[str]:
    """Names of the modules without children that must not change, from other sources than ``frozen``."""
    named = {key: part for key, part in task.network.named_modules() if not list(part.children())}
    if mode == "probe":
        return named.keys() - {"classifier"}
    if name == "dtn":
        found = {key for block in DTN_BLOCKS[:count] for key in block.split()}
        return found | (DTN_BATCHNORM if mode == "frozen_bn" else set())
    inside = {part for block in blocks(task.network)[:count] for part in block.modules()}
    kinds: tuple[type, ...] = (nn.BatchNorm2d,) if mode == "frozen_bn" else ()
    return {key for key, part in named.items() if part in inside or isinstance(part, kinds)}


def moved(task: FineTune, before: State) -> set[str]:
    after = state(task.network)
    assert after.keys() == before.keys()
    return {key for key, value in after.items() if not torch.equal(value, before[key])}


def owner(key: str) -> str:
    return key.rpartition(".")[0]


@EVERY
def test_what_is_frozen_is_the_parents_bit_for_bit_and_all_else_has_moved(name: str, mode: str, count: int) -> None:
    task = child(name, mode=mode, blocks=count)
    given = parent(name)
    fixed = {key for key in given if owner(key) in fixed_modules(task, name, mode, count)}
    assert bool(fixed) is ((mode, count) != ("full", 0))
    fit(task)
    assert moved(task, given) == given.keys() - fixed


@EVERY
def test_frozen_modules_are_in_eval_mode_in_every_batch(name: str, mode: str, count: int) -> None:
    task = child(name, mode=mode, blocks=count)
    seen: list[set[str]] = []

    def look(found: FineTune) -> None:
        leaves = {key for key, part in found.network.named_modules() if not list(part.children())}
        seen.append({key for key in leaves if not found.network.get_submodule(key).training})
        for key in leaves:
            for parameter in found.network.get_submodule(key).parameters():
                assert parameter.requires_grad is (key not in seen[-1]), key

    fit(task, Watch(look))
    assert seen == [fixed_modules(task, name, mode, count)] * 12, "4 batches in 3 epochs, each with 2 validations"


@pytest.mark.parametrize(("name", "count"), [("dtn", 1), ("dtn", 4), ("wrn", 2)])
def test_a_frozen_block_gives_the_parents_features_in_every_training_pass(name: str, count: int) -> None:
    x = torch.rand(4, *SHAPE)

    def features(model: nn.Module, number: int) -> Tensor:
        kept: list[Tensor] = []
        last = list(blocks(model)[number - 1].modules())[-1]
        handle = last.register_forward_hook(lambda part, given, result: kept.append(result.detach().clone()))
        model(x)
        handle.remove()
        return kept[0]

    original = network(name)
    original.load_state_dict(parent(name))
    expected = features(original.eval(), count)
    same: list[bool] = []
    for settings in ({"blocks": count}, {"blocks": count, "mode": "frozen_bn"}, {"mode": "probe"}, {}):

        def twice(found: FineTune) -> None:
            same.append(all(torch.equal(features(found.network, count), expected) for _ in range(2)))

        fit(child(name, **settings), Watch(twice))
    assert same == [True] * 36 + [False] * 12, "in the last training nothing is frozen"


@EVERY
def test_what_is_frozen_has_no_momentum(name: str, mode: str, count: int) -> None:
    task = child(name, mode=mode, blocks=count)
    fixed = fixed_modules(task, name, mode, count)
    state_of = fit(task).optimizers[0].state
    found = {key for key, value in task.network.named_parameters() if value in state_of}
    assert found == {key for key, _ in task.network.named_parameters() if owner(key) not in fixed}


@EVERY
def test_a_gradient_from_an_earlier_epoch_is_cleared(name: str, mode: str, count: int) -> None:
    task = child(name, mode=mode, blocks=count)
    fixed = fixed_modules(task, name, mode, count)
    for parameter in task.network.parameters():
        parameter.grad = torch.ones_like(parameter)
    task.on_train_epoch_start()
    for key, parameter in task.network.named_parameters():
        assert (parameter.grad is None) is (owner(key) in fixed), key


@pytest.mark.parametrize("epochs", [2, 3])
def test_a_probe_comes_first_and_all_is_trained_after_it(epochs: int) -> None:
    recipe = Recipe(epochs=epochs, batch_size=16, lr=0.05, momentum=0.9, weight_decay=0.1, select="last")
    task, given = child(recipe=recipe, mode="probe_full"), parent()
    ends: list[set[str]] = []
    momentum: list[int] = []
    training: list[set[str]] = []

    def end(found: FineTune) -> None:
        ends.append(moved(found, given))
        momentum.append(len(found.trainer.optimizers[0].state))

    def batch(found: FineTune) -> None:
        training.append({key for key, part in found.network.named_modules() if part.training})

    fit(task, Watch(batch, end))
    head, parts = {"classifier.weight", "classifier.bias"}, {key for key, _ in task.network.named_modules()}
    probes = (epochs + 1) // 2
    assert ends == [head] * probes + [given.keys()] * (epochs - probes)
    assert momentum == [2] * probes + [len(list(task.network.parameters()))] * (epochs - probes)
    assert training == [{"classifier"}] * 4 * probes + [parts] * 4 * (epochs - probes)


@pytest.mark.parametrize(("epochs", "probes"), [(1, 1), (2, 1), (3, 2), (4, 2), (7, 4)])
def test_half_of_the_epochs_rounded_up_are_the_probe(epochs: int, probes: int) -> None:
    task = child(recipe=Recipe(epochs=epochs), mode="probe_full")
    assert [bool(set(task.frozen(epoch))) for epoch in range(epochs)] == [True] * probes + [False] * (epochs - probes)


class Alternating(FineTune):
    """All but the classifier is frozen in the second of three epochs."""

    def frozen(self, epoch: int) -> set[nn.Module]:
        return (
            set(self.network.modules()) - set(self.network.get_submodule("classifier").modules())
            if epoch == 1
            else set()
        )


def test_what_was_trained_before_stands_still_when_frozen_and_goes_on_after() -> None:
    task = child(kind=Alternating)
    states, changed = [parent()], []

    def end(found: FineTune) -> None:
        changed.append(moved(found, states[-1]))
        states.append(state(found.network))

    fit(task, Watch(end=end))
    everything = states[0].keys()
    assert changed == [everything, {"classifier.weight", "classifier.bias"}, everything], "momentum was there already"


def test_a_module_counts_for_itself_and_not_for_its_children() -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(()))
            self.inner = network()
            self.classifier = self.inner.classifier

        def forward(self, x: Tensor) -> Tensor:
            return self.scale * self.inner(x)

    class Root(FineTune):
        def frozen(self, epoch: int) -> list[nn.Module]:
            return [self.network]

    task = Root(Own(), RECIPE, 10)
    before = state(task.network)
    fit(task)
    assert moved(task, before) == before.keys() - {"scale"}


@pytest.mark.parametrize("mode", ["full", "frozen_bn", "probe", "probe_full"])
@pytest.mark.filterwarnings("ignore:Found .* in eval mode")
def test_the_mode_that_a_network_came_in_changes_nothing(mode: str) -> None:
    found = []
    for prepare in (nn.Module.train, nn.Module.eval, lambda part: part.requires_grad_(False)):
        task = child(mode=mode)
        prepare(task.network)
        torch.manual_seed(3)
        fit(task)
        found.append(state(task.network))
    for other in found[1:]:
        assert all(torch.equal(value, found[0][key]) for key, value in other.items())


@pytest.mark.parametrize("mode", ["frozen_bn", "probe", "probe_full"])
def test_at_a_root_nothing_is_frozen(mode: str) -> None:
    task = FineTune(network(), RECIPE, 10, mode=mode)
    task.initialize(None)
    before = state(task.network)
    fit(task)
    assert moved(task, before) == before.keys()


@EVERY
def test_common_init_has_the_same_modes(name: str, mode: str, count: int) -> None:
    component = STRATEGIES.component("common_init", {"mode": mode, "blocks": count, "classifier": "fresh"})
    task = STRATEGIES["common_init"](network(name), RECIPE, 10, **dict(component.settings))
    task.initialize(parent(name))
    frozen = {
        key for key, part in task.network.named_modules() if part in set(task.frozen(0)) and not list(part.children())
    }
    assert isinstance(task, FineTune)
    assert frozen == fixed_modules(task, name, mode, count)
    assert torch.equal(
        task.network.get_parameter("classifier.weight"), network(name).get_parameter("classifier.weight")
    )


# the classifier


@pytest.mark.parametrize(
    ("component", "prefix"),
    [
        (NETWORKS["dtn"], "classifier."),
        (NETWORKS["wrn"], "classifier."),
        (Component("torchvision_backbone", 1, (("arch", "squeezenet1_1"), ("resize", 32))), "model.classifier.1."),
    ],
)
def test_a_fresh_classifier_keeps_its_random_weights(component: Component, prefix: str) -> None:
    def made(seed: int) -> nn.Module:
        torch.manual_seed(seed)
        return build(component, SHAPE, 10)

    given, random = {key: value + 1 for key, value in state(made(1)).items()}, state(made(0))
    for classifier in ("copied", "fresh"):
        task = FineTune(made(0), RECIPE, 10, classifier=classifier)
        task.initialize(given)
        last = {key for key in given if key.startswith(prefix)}
        assert len(last) == 2
        for key, value in state(task.network).items():
            kept = random if classifier == "fresh" and key in last else given
            assert torch.equal(value, kept[key]), key


def test_a_probe_trains_a_fresh_classifier_from_its_random_weights() -> None:
    starts: list[State] = []
    task = child(mode="probe", classifier="fresh")
    fit(task, Watch(lambda found: starts.append(state(found.network))))
    last = {"classifier.weight", "classifier.bias"}
    random, given = state(network()), parent()
    assert all(torch.equal(value, (random if key in last else given)[key]) for key, value in starts[0].items())
    assert moved(task, given) == last


def test_a_parent_without_a_classifier_leaves_the_random_one() -> None:
    task = FineTune(network(), RECIPE, 10)
    task.initialize({key: value for key, value in parent().items() if not key.startswith("classifier.")})
    assert torch.equal(task.network.get_parameter("classifier.weight"), network().get_parameter("classifier.weight"))
    assert torch.equal(task.network.get_parameter("hidden.0.weight"), parent()["hidden.0.weight"])


# errors


@pytest.mark.parametrize(
    ("settings", "kind", "message"),
    [
        ({"mode": "prob"}, UnknownNameError, r"^unknown mode of fine-tuning 'prob'; did you mean 'probe'\?"),
        ({"classifier": "new"}, UnknownNameError, r"^unknown classifier of fine-tuning 'new'.*Known: copied, fresh\.$"),
        ({"blocks": 5}, ConfigError, r"^setting 'blocks' .* must be 0 to 4, the blocks of this network, got 5\.$"),
        ({"blocks": -1}, ConfigError, r"^setting 'blocks' .* must be 0 to 4, the blocks of this network, got -1\.$"),
        ({"blocks": 1, "mode": "probe"}, ConfigError, r"^setting 'blocks' .* must be 0 with mode 'probe', got 1\.$"),
        ({"blocks": 1, "mode": "probe_full"}, ConfigError, r"must be 0 with mode 'probe_full', got 1\.$"),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence(settings: dict[str, Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        FineTune(network(), RECIPE, 10, **settings)


@pytest.mark.parametrize(
    "settings", [{"mode": "probe"}, {"mode": "probe_full"}, {"classifier": "fresh"}, {"blocks": 1}]
)
def test_a_network_that_does_not_name_its_parts_is_refused_where_they_are_needed(settings: dict[str, Any]) -> None:
    plain = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 10))
    for mode in ("full", "frozen_bn"):
        task = FineTune(plain, RECIPE, 10, mode=mode)
        task.initialize(state(plain))
        assert not set(task.frozen(0))
    with pytest.raises(ConfigError, match=r"does not say what its (last layer is|blocks are)"):
        FineTune(plain, RECIPE, 10, **settings)


@pytest.mark.parametrize(("mode", "count"), [("probe_full", 0), ("probe", 0), ("frozen_bn", 2), ("full", 2)])
def test_freezing_that_changes_is_refused_in_several_processes(mode: str, count: int) -> None:
    task = child(mode=mode, blocks=count)
    trainer = Trainer(accelerator="cpu", devices=2, strategy="ddp_spawn", logger=False, enable_checkpointing=False)
    task.trainer = trainer
    assert trainer.world_size == 2
    if mode == "probe_full":
        with pytest.raises(ConfigError, match=r"^what is frozen changes .* DDP cannot follow: use one device"):
            task.setup("fit")
        task.setup("test")
        task.check_processes(1)
    else:
        task.setup("fit")
        fixed = fixed_modules(task, "dtn", mode, count)
        for key, parameter in task.network.named_parameters():
            assert parameter.requires_grad is (owner(key) not in fixed), "as DDP will see it"


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{"mode": "probe"}, {"mode": "frozen_bn", "blocks": 2}])
def test_two_processes_freeze_the_same(settings: dict[str, Any]) -> None:
    task, given = child(**settings), parent()
    fixed = fixed_modules(task, "dtn", settings["mode"], settings.get("blocks", 0))
    fit(task, devices=2, strategy="ddp_spawn", use_distributed_sampler=False)
    assert moved(task, given) == {key for key in given if owner(key) not in fixed}


# the schedule


def test_the_learning_rate_falls_after_the_epochs_of_lr_at() -> None:
    recipe = Recipe(epochs=6, batch_size=32, lr=0.4, lr_factor=0.5, lr_every=1, lr_at=(2, 3, 5))
    rates: list[float] = []
    fit(child(recipe=recipe), Watch(lambda found: rates.append(found.trainer.optimizers[0].param_groups[0]["lr"])))
    expected = [0.4, 0.4, 0.2, 0.1, 0.1, 0.05]
    assert rates == pytest.approx([rate for rate in expected for _ in range(4)]), "lr_every is replaced"
