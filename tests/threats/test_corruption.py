"""A threat of one class: what B says of corrupted images, beside a loop over single images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tl_robust.config import load
from tl_robust.errors import ConfigError, UnknownNameError
from tl_robust.metrics import get as metric
from tl_robust.models.guard import Guard, refusing
from tl_robust.nodes.hands import Hands
from tl_robust.registry import Component
from tl_robust.threats.base import THREATS
from tl_robust.threats.corruption import BATCH, Corrupting, Corruption, Draws, corruption
from tl_robust.trust import judge
from tl_robust.types import Corrupted, Evidence, ImageSet

COUNT = BATCH + 3


@dataclass(frozen=True)
class Snow(Corruption):
    """Noise of a share of the strength, and white."""

    white: float = 0.5

    def corrupt(self, images: Tensor, strength: float, draws: Draws) -> Tensor:
        return images + strength * (draws.uniform("snow") - 0.5) + strength * self.white


@pytest.fixture
def snow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(THREATS, "_items", dict(THREATS._items))
    monkeypatch.setattr(THREATS, "_modules", dict(THREATS._modules))
    Snow.__module__ = "snow"
    THREATS.names()
    corruption(axis="depth")(Snow)


class Victim:
    key, addresses = "victim", ()

    def __init__(self, network: nn.Module) -> None:
        self.network = network

    def load(self, store: Any) -> nn.Module:
        return self.network

    def __str__(self) -> str:
        return "a victim"


def images() -> ImageSet:
    draw = torch.Generator().manual_seed(3)
    pixels = torch.randint(0, 256, (COUNT, 1, 4, 4), generator=draw, dtype=torch.uint8)
    return ImageSet(pixels, torch.arange(COUNT) % 5)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 5)).eval()


def made(model: nn.Module, seed: int = 7, **settings: float) -> Corrupted:
    component = THREATS["snow"].METHODS.component("snow", settings)
    test: Any = SimpleNamespace(images=lambda split: images())
    victim: Any = Victim(model)
    node = Corrupting("snow", component, test, victim, (0.0, 0.3, 1.0), seed)
    told: list[int] = []
    store: Any = None
    records, how = node.make(Hands({"accelerator": "cpu"}, 0, told.append), store)
    assert sum(told) == node.work == COUNT
    assert how["device"]
    record: Corrupted = records[node.key]
    return record


@pytest.mark.usefixtures("snow")
def test_it_is_what_a_loop_over_single_images_says() -> None:
    model, record, whole = network(), made(network(), white=0.2), images()
    for place in (0, 1, BATCH - 1, BATCH, COUNT - 1):
        image = whole.images[place : place + 1].float() / 255
        draws = Draws(7, torch.tensor([place]), image)
        for k, strength in enumerate((0.0, 0.3, 1.0)):
            snowy = (image + strength * (draws.uniform("snow") - 0.5) + strength * 0.2).clamp(0, 1)
            assert int(record.corrupted[k, place]) == int(model(snowy).argmax())
    assert torch.equal(record.clean, record.corrupted[0])
    assert not torch.equal(record.clean, record.corrupted[2])
    accuracy = metric("corrupted_accuracy")(record)
    assert torch.equal(accuracy, (record.corrupted == record.label).double().mean(1))
    assert metric("uncorrupted_accuracy")(record).tolist() == [float(accuracy[0])] * 3


@pytest.mark.usefixtures("snow")
def test_seed_and_settings_count_and_the_process_does_not() -> None:
    first = made(network())
    torch.rand(5)
    assert torch.equal(made(network()).corrupted, first.corrupted)
    assert not torch.equal(made(network(), seed=8).corrupted, first.corrupted)
    assert not torch.equal(made(network(), white=-0.5).corrupted, first.corrupted)


@pytest.mark.usefixtures("snow")
def test_a_refused_image_is_no_class_and_not_right() -> None:
    class Refuses(Guard):
        rejects = True

        def after(self, logits: Tensor, images: Tensor) -> Tensor:
            return refusing(logits, images.flatten(1).mean(1) - 0.75, False)

    record = made(Refuses(network()))
    assert not (record.clean == -1).any()
    assert (record.corrupted[2] == -1).any()


@pytest.mark.usefixtures("snow")
def test_a_model_that_knows_nothing_is_red() -> None:
    record = made(network())
    corrupted = torch.cat([record.label[None], record.corrupted[1:]])
    knowing = Corrupted(record.sample_id, record.strength, record.label, record.label, corrupted)
    assert judge(Evidence(record, {})).level == "red"
    assert judge(Evidence(knowing, {})).level == "green"


@pytest.mark.parametrize("strength", [(0.0, 0.3), (0.3, 0.5)], ids=["with 0", "without 0"])
@pytest.mark.parametrize("moved", [0, 1, 7])
def test_other_answers_at_strength_0_are_amber_and_counted(moved: int, strength: tuple[float, ...]) -> None:
    label = torch.arange(40) % 5
    first = label.clone()
    first[:moved] = -1
    record = Corrupted(
        torch.arange(40), torch.tensor(strength, dtype=torch.float64), label, label, torch.stack([first, label * 0])
    )
    verdict = judge(Evidence(record, {}))
    if not moved or strength[0]:
        assert (verdict.level, verdict.reasons) == ("green", ())
        return
    assert verdict.level == "amber"
    (reason,) = verdict.reasons
    assert f"answers differently on {moved} of 40 images at strength 0 than on the images as they are" in reason


def test_every_part_of_what_is_computed_is_in_the_key() -> None:
    test: Any = SimpleNamespace(images=lambda split: images())
    victim: Any = Victim(network())
    plain = ("snow", Component("snow", 1), test, victim, (0.0, 0.3), 7)
    other: Any = Victim(network())
    other.key = "other"
    more = images()
    fewer: Any = SimpleNamespace(images=lambda split: ImageSet(more.images[:9], more.labels[:9]))
    changes = {
        0: "hail", 1: Component("snow", 2), 2: fewer, 3: other, 4: (0.0, 0.4), 5: 8
    }  # fmt: skip
    keys = {Corrupting(*plain).key}
    for place, value in changes.items():
        keys.add(Corrupting(*plain[:place], value, *plain[place + 1 :]).key)  # type: ignore[arg-type]
    assert len(keys) == 7


@pytest.mark.parametrize(
    ("corrupt", "sentence"),
    [
        (lambda x: x.add_(0.1), "changed the images that it was given"),
        (lambda x: x[:, :, :2], r"must give torch.float32 \[2, 1, 4, 4\].*got torch.float32 \[2, 1, 2, 4\]"),
        (lambda x: x.double(), "got torch.float64"),
        (lambda x: x / 0, "numbers that are not finite"),
    ],
)
def test_what_a_corruption_may_not_give(corrupt: Any, sentence: str) -> None:
    class Bad(Corruption):
        def corrupt(self, images: Tensor, strength: float, draws: Draws) -> Tensor:
            result: Tensor = corrupt(images)
            return result

    given = torch.rand(2, 1, 4, 4)
    with pytest.raises(ConfigError, match=sentence):
        Bad().corrupted(given, 0.5, Draws(0, torch.arange(2), given))


@pytest.mark.usefixtures("snow")
def test_another_word_for_the_strength_is_answered_with_the_axis(tmp_path: Path) -> None:
    entry = "{name: snow, dept: [0, 1]}"
    (tmp_path / "b.yaml").write_text(
        f"name: b\naxes: {{pair: [mnist5k-optdigits], strategy: [finetune], attack: [{entry}]}}\neps: [0]\n"
    )
    with pytest.raises(UnknownNameError) as raised:
        load(tmp_path / "b.yaml")
    assert str(raised.value) == "unknown setting of snow 'dept'; did you mean 'depth'? Known: depth, white."


@pytest.mark.usefixtures("snow")
def test_strengths_below_zero_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"snow needs strengths from 0, such as depth"):
        THREATS["snow"].method(Component("snow", 1), (-0.1, 0.5))
