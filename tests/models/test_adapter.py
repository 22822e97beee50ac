"""PEFT's LoRA adapters merged by the formula: the logits of peft's own merged model, or one sentence."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import torch
from published_made import changed, hf_folder, quiet, vit
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tl_robust.errors import DataError
from tl_robust.models import build
from tl_robust.models.adapter import Adapter
from tl_robust.models.base import NETWORKS
from tl_robust.models.checkpoint import load_checkpoint
from tl_robust.models.checkpoint_file import of_tensors
from tl_robust.models.folders import read_folder

CONFIG, TENSORS = "adapter_config.json", "adapter_model.safetensors"


def peft() -> Any:
    return quiet(pytest.importorskip, "peft")


def trained(model: nn.Module, folder: Path, **settings: Any) -> nn.Module:
    """peft's own merged model, in eval mode, of an adapter with random numbers; both adapter files are written."""
    theirs = peft()
    wrapped = quiet(theirs.get_peft_model, model, theirs.LoraConfig(**settings))
    given = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for value in wrapped.parameters():
            if value.requires_grad:
                value.copy_(0.5 * torch.randn(value.shape, generator=given))
    quiet(wrapped.save_pretrained, str(folder))
    merged: nn.Module = quiet(wrapped.merge_and_unload)
    return merged.eval()


def opened(base: Path, adapter: Path, classes: int = 5) -> nn.Module:
    found = read_folder(base)
    network = build(NETWORKS.component(found.network, found.settings), (3, 32, 32), classes)
    place = f"{base.name}/{found.weights}"
    network.load_state_dict(load_checkpoint(place, base.parent, network, adapter=Adapter.read(adapter)))
    return network.eval()


WAYS: list[dict[str, Any]] = [
    {"r": 4, "lora_alpha": 7, "target_modules": ["q_proj", "v_proj"], "modules_to_save": ["classifier"]},
    {"r": 3, "lora_alpha": 8, "use_rslora": True, "target_modules": ["q_proj"], "modules_to_save": ["classifier"]},
    {"r": 2, "lora_alpha": 5, "target_modules": "all-linear"},
    {"r": 2, "lora_alpha": 5, "target_modules": ["projection"]},  # a convolution
    {
        "r": 4, "lora_alpha": 6, "target_modules": ["q_proj", "k_proj", "fc1"],
        "rank_pattern": {"fc1": 2, r"layers\.0\.attention\.k_proj": 3}, "alpha_pattern": {"q_proj": 9},
    },
]  # fmt: skip


@pytest.mark.parametrize("settings", WAYS, ids=["heads", "rslora", "linear", "convolution", "patterns"])
def test_merged_logits_are_pefts(tmp_path: Path, settings: dict[str, Any]) -> None:
    hf_folder(tmp_path / "base", vit())
    plain, merged = vit(), trained(vit(), tmp_path / "adapter", **settings)
    network, x = opened(tmp_path / "base", tmp_path / "adapter"), torch.rand(3, 3, 32, 32)
    with torch.no_grad():
        given = network.get_submodule("preprocess")(x)
        expected, before = merged(pixel_values=given).logits, plain(pixel_values=given).logits
        torch.testing.assert_close(network(x), expected, rtol=0, atol=1e-5)
    assert (expected - before).abs().max() > 0.1, "the adapter changes the answers"


def test_a_head_of_other_classes_takes_the_place_of_the_bases(tmp_path: Path) -> None:
    hf_folder(tmp_path / "base", vit())
    model = vit()
    model.classifier = nn.Linear(24, 3)
    merged = trained(model, tmp_path / "adapter", r=2, target_modules=["q_proj"], modules_to_save=["classifier"])
    network, x = opened(tmp_path / "base", tmp_path / "adapter", classes=3), torch.rand(3, 3, 32, 32)
    with torch.no_grad():
        expected = merged(pixel_values=network.get_submodule("preprocess")(x)).logits
        torch.testing.assert_close(network(x), expected, rtol=0, atol=1e-5)


def test_an_adapter_of_a_network_of_this_package_is_merged(tmp_path: Path) -> None:
    """A convolution and the classifier of DTN, wrapped by peft."""
    torch.manual_seed(0)
    network = build(NETWORKS.component("dtn", {"width": 0.1}), (3, 32, 32), 10).eval()
    save_file(network.state_dict(), tmp_path / "net.safetensors")
    merged = trained(network, tmp_path / "adapter", r=2, lora_alpha=3, target_modules=["features.0", "classifier"])
    again = build(NETWORKS.component("dtn", {"width": 0.1}), (3, 32, 32), 10).eval()
    again.load_state_dict(
        load_checkpoint("net.safetensors", tmp_path, again, adapter=Adapter.read(tmp_path / "adapter"))
    )
    x = torch.rand(3, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(again(x), merged(x), rtol=0, atol=1e-5)


# by hand, without peft

PLAIN: dict[str, Any] = {"peft_type": "LORA", "r": 2, "lora_alpha": 6, "target_modules": ["lin"], "bias": "none"}


def by_hand(folder: Path, tensors: dict[str, Tensor], **entries: Any) -> Adapter:
    folder.mkdir(exist_ok=True)
    (folder / CONFIG).write_text(json.dumps(PLAIN | entries))
    save_file({f"base_model.model.{name}": value.contiguous() for name, value in tensors.items()}, folder / TENSORS)
    return Adapter.read(folder)


def merged(adapter: Adapter, base: dict[str, Tensor]) -> dict[str, Tensor]:
    with ExitStack() as stack:
        return {name: entry.read() for name, entry in adapter.merged(of_tensors(base), stack).items()}


@pytest.mark.parametrize(
    ("entries", "scale"),
    [({}, 3.0), ({"use_rslora": True}, 6 / math.sqrt(2)), ({"alpha_pattern": {"lin": 5}}, 2.5)],
)
@pytest.mark.parametrize("transposed", [False, True])
def test_the_formula(tmp_path: Path, entries: dict[str, Any], scale: float, transposed: bool) -> None:
    base, a, b = torch.randn(5, 4), torch.randn(2, 4), torch.randn(5, 2)
    adapter = by_hand(
        tmp_path / "a", {"lin.lora_A.weight": a, "lin.lora_B.weight": b}, fan_in_fan_out=transposed, **entries
    )
    given = {"lin.weight": base.T if transposed else base, "lin.bias": torch.ones(5)}
    result = merged(adapter, given)
    ours = result["lin.weight"].T if transposed else result["lin.weight"]
    torch.testing.assert_close(ours, base + scale * b @ a)
    assert torch.equal(result["lin.bias"], given["lin.bias"])


PAIR = {"lin.lora_A.weight": torch.ones(2, 4), "lin.lora_B.weight": torch.ones(5, 2)}
HEAD = {"head.weight": torch.ones(3, 5), "head.bias": torch.zeros(3)}
BASE = {"lin.weight": torch.zeros(5, 4), "head.weight": torch.zeros(7, 5), "head.bias": torch.zeros(7)}


def test_a_declared_head_replaces_the_bases(tmp_path: Path) -> None:
    result = merged(by_hand(tmp_path / "a", PAIR | HEAD, modules_to_save=["head"]), BASE)
    assert {name: list(value.shape) for name, value in result.items()} == {
        "lin.weight": [5, 4],
        "head.weight": [3, 5],
        "head.bias": [3],
    }


@pytest.mark.parametrize(
    ("entries", "sentence"),
    [
        ({"peft_type": "LOHA"}, "has peft_type 'LOHA': only 'LORA' can be merged"),
        ({"peft_type": None}, "has peft_type None"),
        ({"use_dora": True}, r"has the option 'use_dora' \(True\), which is not known here"),
        ({"bias": "all"}, "has bias 'all': only adapters with bias 'none'"),
        ({"lora_bias": True}, "has the option 'lora_bias'"),
        ({"target_parameters": ["x"]}, "has the option 'target_parameters'"),
        ({"layer_replication": [[0, 2]]}, "has the option 'layer_replication'"),
        ({"something_new": "x"}, "has the option 'something_new'"),
        ({"init_lora_weights": "pissa"}, "has init_lora_weights 'pissa', which changes its base"),
        ({"r": 0}, "has r 0 and rank_pattern {}: expected numbers above 0"),
        ({"lora_alpha": "x"}, "has lora_alpha 'x'"),
        ({"rank_pattern": {"(": 3}}, "has r 2 and rank_pattern"),
        ({"modules_to_save": "head"}, "has modules_to_save 'head': expected a list of names"),
    ],
)
def test_other_kinds_and_options_are_refused_by_name(tmp_path: Path, entries: dict[str, Any], sentence: str) -> None:
    with pytest.raises(DataError, match=sentence) as caught:
        by_hand(tmp_path / "a", PAIR, **entries)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("tensors", "entries", "sentence"),
    [
        (
            PAIR,
            {"modules_to_save": ["head"]},
            r"declares modules_to_save \['head'\], but its file has no tensor of that",
        ),
        (PAIR | HEAD, {}, "has tensors that are no LoRA and no modules_to_save"),
        (PAIR, {"r": 3}, r"has matrices \[5, 2\] and \[2, 4\] for 'lin', not of rank 3"),
        ({"lin.lora_A.weight": torch.ones(2, 4)}, {}, "changes 'lin', which needs both A and B"),
        ({f"other.{name}": value for name, value in PAIR.items()}, {}, "changes 'other.lin', which its base lacks"),
        (PAIR | {"lin.lora_A.weight": torch.ones(2, 6)}, {}, r"by a tensor \[5, 6\], but its base has \[5, 4\] there"),
        (PAIR | {"lin.lora_magnitude_vector.weight": torch.ones(5)}, {}, "has tensors that are no LoRA"),
        (PAIR | {"lin.lora_embedding_A": torch.ones(5)}, {}, "has tensors that are no LoRA"),
    ],
)
def test_an_adapter_that_does_not_fit_is_one_sentence(
    tmp_path: Path, tensors: dict[str, Tensor], entries: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(DataError, match=sentence) as caught:
        merged(by_hand(tmp_path / "a", tensors, **entries), BASE)
    assert "\n" not in str(caught.value)


def cut(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:20]) and None


def foreign(folder: Path) -> None:
    save_file(
        {name[len("base_model.") :]: value for name, value in load_file(folder / TENSORS).items()}, folder / TENSORS
    )


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (cut(CONFIG), "adapter_config.json cannot be read .*expected JSON"),
        (cut(TENSORS), "cannot be read .*replace the damaged file"),
        (lambda folder: (folder / TENSORS).unlink(), "has no adapter_model.safetensors: save it in this format"),
        (lambda folder: (folder / TENSORS).rename(folder / "adapter_model.bin"), "has no adapter_model.safetensors"),
        (foreign, "has tensors that peft does not name so"),
        (lambda folder: changed(folder / CONFIG, auto_map={"a": "b.c"}), "has the option 'auto_map'"),
    ],
)
def test_damaged_files_are_one_sentence(tmp_path: Path, damage: Callable[[Path], Any], sentence: str) -> None:
    by_hand(tmp_path / "a", PAIR)
    damage(tmp_path / "a")
    with pytest.raises(DataError, match=sentence) as caught:
        merged(Adapter.read(tmp_path / "a"), BASE)
    assert "\n" not in str(caught.value)


def test_the_digest_follows_both_files(tmp_path: Path) -> None:
    first = by_hand(tmp_path / "a", PAIR).digest
    assert by_hand(tmp_path / "b", PAIR).digest == first
    assert by_hand(tmp_path / "b", PAIR, lora_alpha=7).digest != first
    assert by_hand(tmp_path / "b", {name: 2 * value for name, value in PAIR.items()}).digest != first
