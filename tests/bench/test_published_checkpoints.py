"""Folders of timm and transformers, and LoRA adapters, as checkpoints of a bench."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from by_hand import PUBLISHED, VIT, trained
from safetensors.torch import save_file
from torch import Tensor

from tl_robust import models
from tl_robust.bench.plan import Plan, make_plan
from tl_robust.cli import main
from tl_robust.config import load
from tl_robust.errors import ConfigError
from tl_robust.nodes.models import Public

BENCH = ["axes.seed=[0]", "recipe.epochs=1", "eps=[0,16/255]", "axes.attack=[fgsm]", "axes.strategy=[finetune]"]
NET = {"name": "dtn", "width": 0.05}
PROCESSOR = {
    "image_processor_type": "ViTImageProcessor", "size": {"height": 32, "width": 32}, "resample": 2,
    "image_mean": [0.4, 0.5, 0.6], "image_std": [0.2, 0.3, 0.25],
}  # fmt: skip


def declared(bench: Path, **checkpoint: Any) -> Path:
    """The tiny bench with one checkpoint, ``net``, below its folder."""
    text = json.dumps({"net": checkpoint})
    root = f"data: {{root: '{bench.parent}', cache: ''}}"
    bench.write_text(f"{bench.read_text()}\ncheckpoints: {text}\n{root}\n")
    return bench


def planned(bench: Path, *overrides: str) -> Plan:
    return make_plan(load(bench, [*BENCH, "axes.pair=['checkpoint:net-made_b']", *overrides]).bench)


def public(plan: Plan) -> Public:
    (found,) = [item for item in plan.trainings if isinstance(item, Public)]
    return found


def lora(folder: Path, **entries: Any) -> dict[str, Tensor]:
    """An adapter of the linear layer of DTN, of rank 2 and with random numbers."""
    given, size = torch.Generator().manual_seed(3), classifier().shape
    parts = {"A": torch.randn(2, size[1], generator=given), "B": torch.randn(size[0], 2, generator=given)}
    folder.mkdir(exist_ok=True)
    save_file(
        {f"base_model.model.classifier.lora_{part}.weight": value for part, value in parts.items()},
        folder / "adapter_model.safetensors",
    )
    said = {"peft_type": "LORA", "r": 2, "lora_alpha": 6, "bias": "none"} | entries
    (folder / "adapter_config.json").write_text(json.dumps(said))
    return parts


def state() -> dict[str, Tensor]:
    torch.manual_seed(3)
    return dict(models.get("dtn", (3, 32, 32), 10, width=0.05).state_dict())


def classifier() -> Tensor:
    return state()["classifier.weight"]


@pytest.fixture
def net(tiny: Path) -> Path:
    save_file(state(), tiny.parent / "net.safetensors")
    return tiny


def test_an_adapter_is_merged_and_is_part_of_the_key(net: Path) -> None:
    parts = lora(net.parent / "adapter")
    text = net.read_text()
    plain = public(planned(declared(net, **{"from": "net.safetensors", "network": NET, "classes": "digits"})))
    assert "adapter" not in plain.spec
    net.write_text(text)
    adapted = {"from": "net.safetensors", "network": NET, "classes": "digits", "adapter": "adapter"}
    first = public(planned(declared(net, **adapted)))
    weights, _ = trained(first)
    torch.testing.assert_close(weights["classifier.weight"], classifier() + 3 * parts["B"] @ parts["A"])
    assert torch.equal(weights["features.0.weight"], state()["features.0.weight"])
    assert first.origin()["by"] == "net.safetensors + adapter"
    assert plain.key != first.key
    lora(net.parent / "adapter", lora_alpha=7)
    assert public(planned(net)).key not in (plain.key, first.key)


@pytest.mark.parametrize(
    ("entries", "sentence"),
    [({"peft_type": "IA3"}, "has peft_type 'IA3': only 'LORA'"), ({"use_dora": True}, "has the option 'use_dora'")],
)
def test_another_kind_of_adapter_is_refused_at_plan_time(
    net: Path, entries: dict[str, Any], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    lora(net.parent / "adapter", **entries)
    declared(net, **{"from": "net.safetensors", "network": NET, "classes": "digits", "adapter": "adapter"})
    assert main(["plan", str(net), *BENCH, "axes.pair=['checkpoint:net-made_b']"]) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1


@pytest.fixture
def folder(tiny: Path) -> Path:
    """A folder of transformers with a small random ViT, whose classes are the digits."""
    pytest.importorskip("transformers")
    place = tiny.parent / "vit"
    place.mkdir()
    torch.manual_seed(0)
    network = models.get("hf", (3, 32, 32), 10, **PUBLISHED["hf"])
    names = {str(label): str(label) for label in range(10)}
    (place / "config.json").write_text(json.dumps(VIT | {"id2label": names, "model_type": "vit"}))
    (place / "preprocessor_config.json").write_text(json.dumps(PROCESSOR))
    tensors = {name.removeprefix("model."): value for name, value in network.state_dict().items()}
    save_file(tensors, place / "model.safetensors")
    return tiny


def test_a_folder_is_enough(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    declared(folder, **{"from": "vit"})
    model = public(planned(folder))
    assert model.labels == tuple("0123456789")
    assert model.network.name == "hf"
    pair = "axes.pair=['checkpoint:net-made_b']"
    assert main(["run", str(folder), *BENCH, pair, f"results={folder.parent / 'r'}"]) == 0
    table = (folder.parent / "r" / "tiny" / "table.csv").read_text()
    assert "checkpoint:net" in table
    assert "hf(config=#" in table


def test_a_folder_whose_classes_share_a_name_can_be_used(folder: Path) -> None:
    names = {str(label): "crane" if label in (3, 5) else f"bird {label}" for label in range(10)}
    (folder.parent / "vit" / "config.json").write_text(json.dumps(VIT | {"id2label": names, "model_type": "vit"}))
    labels = public(planned(declared(folder, **{"from": "vit"}))).labels
    assert (labels[3], labels[4], labels[5]) == ("crane (3)", "bird 4", "crane (5)")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda said: {**said, "auto_map": {"AutoModel": "m.M"}}, "'auto_map', so it names code of its own"),
        (lambda said: {**said, "architectures": ["ViTModel"]}, "must be one class ending in ForImageClassification"),
        (lambda said: {**said, "image_size": 40}, "cannot take images"),
    ],
)
def test_a_folder_that_cannot_be_used_is_refused_at_plan_time(
    folder: Path, change: Callable[[Any], Any], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    config = folder.parent / "vit" / "config.json"
    config.write_text(json.dumps(change(json.loads(config.read_text()))))
    declared(folder, **{"from": "vit"})
    assert main(["plan", str(folder), *BENCH, "axes.pair=['checkpoint:net-made_b']"]) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1


def test_what_the_folder_says_is_not_said_again(folder: Path) -> None:
    declared(folder, **{"from": "vit", "network": "dtn"})
    with pytest.raises(ConfigError, match=r"checkpoints\.net has network: beside a folder, whose config\.json says"):
        planned(folder)
