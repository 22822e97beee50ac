"""The callback under a Trainer does what ``attacks.evaluate`` does without one."""

import csv
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Trainer
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor, nn

from tl_robust import attacks
from tl_robust.attacks import Attack
from tl_robust.callbacks import TransferAttack
from tl_robust.data.domain import DataSettings
from tl_robust.data.mapped import DomainInSpace
from tl_robust.data.pair import DomainModule
from tl_robust.data.space import SPACES
from tl_robust.errors import ConfigError
from tl_robust.metrics import METRICS
from tl_robust.models import build
from tl_robust.registry import Component
from tl_robust.strategies import STRATEGIES, TransferTask
from tl_robust.types import Outcome, Recipe

# Lightning 2.6 uses what torch 2.9 and later warn about
pytestmark = pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")
DATA = DomainInSpace("optdigits", SPACES.component("digits"), DataSettings(train_limit=200, test_limit=50))
RECIPE = Recipe(epochs=1, batch_size=16)
EPS = [0, 4 / 255, 200 / 255]
ATTACKS = pytest.mark.parametrize("attack", [attacks.get("fgsm"), attacks.get("pgd", steps=2, norm="l2")], ids=str)


def task(seed: int) -> TransferTask:
    torch.manual_seed(seed)
    network = build(Component("dtn", 1, (("width", 0.1),)), (3, 32, 32), 10)
    with torch.no_grad():
        for _ in range(20):
            network(torch.rand(16, 3, 32, 32))  # statistics, so that eval mode does not predict one class
    return STRATEGIES["scratch"](network, RECIPE, 10)


def trainer(*callbacks: TransferAttack, **options: Any) -> Trainer:
    return Trainer(
        **{"logger": False, "inference_mode": False, "max_epochs": 1} | options,
        accelerator="cpu",
        devices=1,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
        callbacks=list(callbacks),
    )


def attacked(callback: TransferAttack, surrogate: TransferTask, **options: Any) -> dict[str, Outcome]:
    trainer(callback, **options).test(surrogate, datamodule=DomainModule(DATA, RECIPE), verbose=False)
    return callback.outcomes


def directly(attack: Attack, surrogate: nn.Module, victims: dict[str, nn.Module], seed: int) -> dict[str, Outcome]:
    test = DATA.images("test")
    # the batches of the data module, so that float rounding is the same as well
    return attacks.evaluate(
        attack, surrogate=surrogate, victims=victims, images=test.images, labels=test.labels,
        eps=EPS, seed=seed, batch_size=RECIPE.batch_size,
    )  # fmt: skip


def assert_equal(one: dict[str, Outcome], other: dict[str, Outcome]) -> None:
    assert one.keys() == other.keys()
    for name in one:
        for field, value in one[name].tensors().items():
            assert torch.equal(value, other[name].tensors()[field]), f"{name} {field}"


@ATTACKS
def test_the_callback_equals_evaluate(attack: Attack) -> None:
    a, victims = task(1), {"b": task(2).network, "c": task(3).network}
    outcomes = attacked(TransferAttack(attack, victims, EPS, seed=7), a)
    assert_equal(outcomes, directly(attack, a, victims, seed=7))
    assert outcomes["b"].sample_id.tolist() == list(range(50))
    assert outcomes["b"].label.tolist() == DATA.images("test").labels.tolist()
    assert (outcomes["b"].adv_b != outcomes["c"].adv_b).any()
    assert (outcomes["b"].adv_a[2] != outcomes["b"].clean_a).any(), "the attack did something"


def test_the_seed_reaches_the_attack() -> None:
    attack = attacks.get("pgd", steps=1)
    a = task(1)
    sizes = [attacked(TransferAttack(attack, {"b": task(2)}, EPS, seed), a)["b"].adv_a for seed in (1, 1, 2)]
    assert torch.equal(sizes[0], sizes[1])
    assert not torch.equal(sizes[0], sizes[2])


def test_without_victims_the_surrogate_itself_is_judged() -> None:
    attack, a = attacks.get("fgsm"), task(1)
    outcomes = attacked(TransferAttack(attack, {}, EPS), a)
    assert_equal(outcomes, directly(attack, a, {"surrogate": a}, seed=0))
    assert torch.equal(outcomes["surrogate"].adv_a, outcomes["surrogate"].adv_b)


def snapshot(module: nn.Module) -> dict[str, Any]:
    return {
        "weights": {name: value.clone() for name, value in module.state_dict().items()},
        "gradients": {name: value.grad for name, value in module.named_parameters()},
        "requires": {name: value.requires_grad for name, value in module.named_parameters()},
        "modes": {name: part.training for name, part in module.named_modules()},
    }


def test_victims_and_surrogate_are_left_untouched() -> None:
    a, b = task(1), task(2).network
    b.hidden.eval()  # type: ignore[union-attr]
    before = [snapshot(module) for module in (a.network, b)]
    attacked(TransferAttack(attacks.get("pgd", steps=2), {"b": b, "a": a}, EPS), a)
    for module, was in zip((a.network, b), before, strict=True):
        now = snapshot(module)
        assert all(torch.equal(now["weights"][name], value) for name, value in was["weights"].items())
        assert all(gradient is None for gradient in now["gradients"].values())
        assert now["requires"] == was["requires"]
        assert now["modes"] == was["modes"]


def test_a_logger_gets_one_row_an_eps(tmp_path: Path) -> None:
    logger = CSVLogger(tmp_path, name="log", version="0")
    outcomes = attacked(TransferAttack(attacks.get("fgsm"), {"b": task(2), "c": task(3)}, EPS), task(1), logger=logger)
    logger.finalize("success")
    with (tmp_path / "log" / "0" / "metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["eps"]]
    assert [float(row["eps"]) for row in rows] == EPS
    for name in ("b", "c"):
        expected = METRICS["robust_accuracy"](outcomes[name])
        assert [float(row[f"robust/{name}"]) for row in rows] == pytest.approx(expected.tolist())
    assert "test/accuracy" not in rows[0] or not rows[0]["test/accuracy"]


@ATTACKS
def test_it_also_works_in_inference_mode_and_training_goes_on_afterwards(attack: Attack) -> None:
    a, b = task(1), task(2)
    outcomes = attacked(TransferAttack(attack, {"b": b, "a": a}, EPS), a, inference_mode=True)
    assert_equal(outcomes, directly(attack, a, {"b": b, "a": a}, seed=0))
    for module in (a, b):
        assert not any(value.is_inference() for value in (*module.parameters(), *module.buffers()))
        before = module.network.classifier.weight.clone()  # type: ignore[union-attr]
        trainer(num_sanity_val_steps=0).fit(module, datamodule=DomainModule(DATA, RECIPE))
        assert not torch.equal(module.network.classifier.weight, before)  # type: ignore[union-attr,arg-type]


@pytest.mark.parametrize("inference_mode", [False, True])
def test_outcomes_are_plain_tensors(inference_mode: bool) -> None:
    outcomes = attacked(TransferAttack(attacks.get("fgsm"), {}, EPS), task(1), inference_mode=inference_mode)
    assert not any(value.is_inference() for value in outcomes["surrogate"].tensors().values())


def test_a_callback_is_used_twice_without_remembering() -> None:
    callback = TransferAttack(attacks.get("fgsm"), {"b": task(2)}, EPS)
    first = attacked(callback, task(1))
    assert_equal(attacked(callback, task(1)), first)
    assert not torch.equal(attacked(callback, task(3))["b"].adv_a, first["b"].adv_a)


def test_the_surrogate_is_asked_for_one_gradient_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    gradient = torch.autograd.grad

    def counted(*arguments: Any, **named: Any) -> tuple[Tensor, ...]:
        calls.append(1)
        return gradient(*arguments, **named)

    monkeypatch.setattr(torch.autograd, "grad", counted)
    attacked(TransferAttack(attacks.get("fgsm"), {"b": task(2), "c": task(3)}, EPS), task(1))
    assert len(calls) == 4, "50 images in batches of 16, whatever the number of eps and victims"


@pytest.mark.parametrize("eps", [[-0.1], [1.5], [float("nan")], []])
def test_bad_eps_is_an_error(eps: list[float]) -> None:
    with pytest.raises(ConfigError, match="eps"):
        attacked(TransferAttack(attacks.get("fgsm"), {}, eps), task(1))


def test_several_processes_are_refused() -> None:
    callback = TransferAttack(attacks.get("fgsm"), {}, EPS)

    class Two:
        world_size = 2

    with pytest.raises(ConfigError, match=r"^TransferAttack needs devices=1 to see every sample, got 2 processes\.$"):
        callback.on_test_start(Two(), task(1))  # type: ignore[arg-type]
