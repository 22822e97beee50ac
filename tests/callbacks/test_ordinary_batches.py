"""The callback with the loaders and Trainers that people have: pairs, dictionaries, several precisions."""

from typing import Any

import pytest
import torch
from lightning import LightningModule, Trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from tl_robust import attacks
from tl_robust.callbacks import TransferAttack
from tl_robust.callbacks.transfer_attack import read_batch
from tl_robust.errors import ConfigError
from tl_robust.types import Outcome

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning"),  # Lightning 2.6 uses what torch 2.9 warns about
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*bf16 is supported for historical reasons"),
]
X = torch.randint(256, (10, 3, 8, 8), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
Y = torch.arange(10)
EPS = [0, 0.05]


class Module(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.network = nn.Sequential(nn.Flatten(), nn.Linear(192, 10))

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images)  # type: ignore[no-any-return]

    def test_step(self, batch: Any, index: int) -> None:
        pass


class Rows(Dataset[Any]):
    def __init__(self, make: Any) -> None:
        self.make = make

    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, place: int) -> Any:
        return self.make(X[place] / 255, int(Y[place]), place)


def victim() -> nn.Module:
    torch.manual_seed(5)
    return nn.Sequential(nn.Flatten(), nn.Linear(192, 10))


def attacked(data: Any, victims: dict[str, nn.Module] | None = None, size: int = 4, **options: Any) -> Outcome:
    callback = TransferAttack(attacks.get("pgd", steps=2), {"b": victim()} if victims is None else victims, EPS)
    trainer = Trainer(
        callbacks=[callback], accelerator="cpu", devices=1, logger=False, inference_mode=False,
        enable_progress_bar=False, enable_checkpointing=False, enable_model_summary=False, **options,
    )  # fmt: skip
    loader = data if isinstance(data, list | DataLoader) else DataLoader(data, batch_size=size)
    trainer.test(Module(), loader, verbose=False)
    return callback.outcomes["b" if victims is None else next(iter(victims))]


def same(one: Outcome, other: Outcome) -> None:
    for name, value in one.tensors().items():
        assert torch.equal(value, other.tensors()[name]), name


FORMS = {
    "pairs": lambda image, label, place: (image, label),
    "lists": lambda image, label, place: [image, label],
    "uint8": lambda image, label, place: (X[place], label),
    "image and label": lambda image, label, place: {"image": image, "label": label, "path": "x.png"},
    "images and labels": lambda image, label, place: {"labels": label, "images": image},
    "pixel_values": lambda image, label, place: {"pixel_values": image, "labels": label},
    "with ids": lambda image, label, place: {"pixel_values": image, "labels": label, "sample_id": place},
}


@pytest.mark.parametrize("form", FORMS)
def test_ordinary_batches_are_judged_as_ours(form: str) -> None:
    expected = attacked(TensorDataset(X / 255, Y, torch.arange(10)))
    assert expected.sample_id.tolist() == list(range(10))
    found = attacked(Rows(FORMS[form]))
    same(found, expected)
    again = attacked(Rows(FORMS[form]), size=3)  # draws follow the running place, not the place in the batch
    assert torch.allclose(again.loss_rise, expected.loss_rise, atol=1e-5)
    assert torch.equal(again.sample_id, expected.sample_id)
    other = attacked(TensorDataset(X / 255, Y, torch.arange(10) + 50))
    assert not torch.equal(expected.loss_rise, other.loss_rise), "the draws follow the ids"


def test_counting_begins_anew_in_each_test_and_goes_on_over_loaders() -> None:
    callback = TransferAttack(attacks.get("fgsm"), {}, EPS)
    trainer = Trainer(
        callbacks=[callback], accelerator="cpu", devices=1, logger=False, inference_mode=False,
        enable_progress_bar=False, enable_checkpointing=False, enable_model_summary=False,
    )  # fmt: skip
    for loaders in (1, 2):
        trainer.test(
            Loaders() if loaders > 1 else Module(),
            [DataLoader(TensorDataset(X / 255, Y), batch_size=4)] * loaders,
            verbose=False,
        )
        assert callback.outcomes["surrogate"].sample_id.tolist() == list(range(10 * loaders))


class Loaders(Module):
    def test_step(self, batch: Any, index: int, dataloader_idx: int = 0) -> None:
        pass


@pytest.mark.parametrize(
    ("batch", "form"),
    [
        (X, "Tensor"),
        ((X,), r"a tuple of torch\.uint8 \[10, 3, 8, 8\]"),
        ((X, Y, Y, Y), "a tuple of torch"),
        ((X, [1, 2]), r"a tuple of torch\.uint8 \[10, 3, 8, 8\], list"),
        ((X, Y, ["a"] * 10), r".*torch\.int64 \[10\], list"),
        ((X, Y, torch.rand(10)), r".*torch\.int64 \[10\], torch\.float32 \[10\]"),
        ({"image": X}, "a dictionary of image"),
        ({"picture": X, "label": Y}, "a dictionary of picture, label"),
        ({}, "a dictionary of nothing"),
        ("text", "str"),
    ],
)
def test_other_batches_are_refused_in_one_sentence(batch: Any, form: str) -> None:
    with pytest.raises(ConfigError, match=rf"^TransferAttack takes batches of \(images, labels\), .* got {form}"):
        read_batch(batch)


def test_ids_that_come_twice_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"^TransferAttack needs an id of its own for each sample"):
        attacked(TensorDataset(X / 255, Y, torch.zeros(10, dtype=torch.int64)))


@pytest.mark.parametrize("precision", ["64-true", "bf16-true", "16-true", "bf16-mixed"])
def test_victims_keep_their_precision_and_outcomes_stand(precision: Any) -> None:
    plain, other = victim(), victim().double()
    before = {name: value.clone() for name, value in plain.state_dict().items()}
    found = attacked(TensorDataset(X / 255, Y, torch.arange(10)), {"b": plain, "c": other}, precision=precision)
    assert {value.dtype for value in plain.parameters()} == {torch.float32}
    assert {value.dtype for value in other.parameters()} == {torch.float64}
    assert all(torch.equal(value, before[name]) for name, value in plain.state_dict().items())
    assert bool(found.valid.all())
    expected = attacked(TensorDataset(X / 255, Y, torch.arange(10)), {"b": plain})
    assert (found.clean_b == expected.clean_b).sum() >= 9  # half precision rounds the images themselves
    if precision == "64-true":
        assert torch.equal(found.clean_b, expected.clean_b)


def test_a_module_whose_logits_are_not_finite() -> None:
    def broken() -> nn.Module:
        net = victim()
        net[1].bias.data[2] = torch.nan  # type: ignore[index,union-attr,operator]
        return net

    with pytest.raises(ConfigError, match=r"^victim 'b' gives logits that are not finite .* for 4 of 4 images"):
        attacked(TensorDataset(X / 255, Y), {"b": broken()})
    callback = TransferAttack(attacks.get("fgsm"), {"b": broken()}, EPS, strict=False)
    callback.on_test_start(Trainer(accelerator="cpu", logger=False, enable_checkpointing=False), Module())
    callback.on_test_batch_end(None, Module(), None, (X, Y), 0)  # type: ignore[arg-type]
    assert callback._judge is not None
    assert callback._judge.outcomes()["b"].adv_b.tolist() == [[-1] * 10] * 2
