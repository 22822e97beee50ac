"""Sabotaged inputs are refused by the command with the reason, by the lock that it is; good ones pass all locks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from tests.auditor.families import CLASSES
from tests.auditor.sabotaged import Home, adapter, learned, zoomed
from tl_robust.auditor.locks import LOCKS
from tl_robust.models.base import Normalize
from tl_robust.models.features import logits


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home(tmp_path_factory.mktemp("home"))


def head(draw: Callable[[nn.Linear], Any]) -> Callable[[dict[str, Tensor]], None]:
    def change(state: dict[str, Tensor]) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(2)
            layer = nn.Linear(*reversed(state["classifier.weight"].shape))  # type: ignore[arg-type]
            draw(layer)
            state["classifier.weight"], state["classifier.bias"] = layer.weight.detach(), layer.bias.detach()

    return change


def normal(layer: nn.Linear) -> None:
    nn.init.normal_(layer.weight, 0, 0.02)
    nn.init.zeros_(layer.bias)


def swapped(state: dict[str, Tensor]) -> None:
    for key in ("classifier.weight", "classifier.bias"):
        state[key] = state[key][[0, 3, 2, 1, 4]]


def constant(state: dict[str, Tensor]) -> None:
    state["classifier.bias"][2] += 1e4


Way = tuple[str | Path, list[str]]
Made = Callable[[Home], Way]


def _beside_logits(home: Home, first: nn.Module) -> Way:
    """A model whose accuracy hardly changes, and what it says to its owner of the first 16 images, by class."""
    path = home.otherwise("hardly", first)
    network: Any = home.network()
    network.load_state_dict(load_file(path))
    network.normalize = first
    order = home.test.labels.argsort(stable=True)[:16]
    said = logits(network.eval(), home.test.images[order])
    np.savez(home.folder / "logits.npz", logits=said.numpy())
    return path, ["--reference", str(home.folder / "logits.npz")]


SABOTAGED: dict[str, tuple[Made, str, str]] = {  # model and options, the lock, and what the reason says
    "random head": (
        lambda home: (home.changed("random", head(nn.Linear.reset_parameters)), []),
        "head_is_trained", "are distributed as just drawn (uniform up to",
    ),
    "random head of transformers": (
        lambda home: (home.changed("random_normal", head(normal)), []),
        "head_is_trained", "are distributed as just drawn (",
    ),
    "wrong mean": (
        lambda home: (home.otherwise("wrong_mean", Normalize((0.2, 0.8, 0.3), (0.5,) * 3)), []),
        "preprocessing", "and on ",
    ),
    "no normalization, beside the owner's logits": (
        lambda home: _beside_logits(home, Normalize((0.0,) * 3, (1.0,) * 3)),
        "preprocessing", "with no normalization they differ by ",
    ),
    "other normalization": (
        lambda home: (home.otherwise("of_bytes", Normalize((0.0,) * 3, (1 / 255,) * 3)), []),
        "preprocessing", "with values of 0 to 255 without normalization, and on ",
    ),
    "wrong crop": (
        lambda home: (home.otherwise("cropped", prepare=zoomed), []),
        "preprocessing", "with the middle seven eighths of each image, and on ",
    ),
    "swapped classes": (
        lambda home: (home.changed("swapped", swapped), []),
        "class_order", "'bee' called 'dove' (20 of 20), 'dove' called 'bee' (19 of 20)",
    ),
    "constant model": (
        lambda home: (home.changed("constant", constant), []),
        "better_than_chance", "It gives 100.0 % of the 100 images the class 'crab', so it is nearly constant",
    ),
    "wrong parent": (
        lambda home: (home.folder / "child.safetensors", ["--parent", home.stranger(0), "--decoy", home.stranger(1)]),
        "parent_plausible", "Declare the model that it was made of.",
    ),
    "wrong parent, the right one among decoys": (
        lambda home: (
            home.folder / "child.safetensors",
            ["--parent", home.stranger(0), "--decoy", str(home.folder / "parent.safetensors")],
        ),
        "parent_plausible", "declare parent.",
    ),
    "test images in training": (
        lambda home: (
            home.folder / "child.safetensors",
            ["--train", home.seen("leaky", home.test.take(torch.arange(5)))],
        ),
        "not_in_training", "5 of 100 test images (5.0 %) are among the 305 training images, 5 of them pixel by pixel",
    ),
    "test images in training as JPEG": (
        lambda home: (
            home.folder / "child.safetensors",
            ["--train", home.seen("saved_anew", home.test.take(torch.arange(20)), quality=95)],
        ),
        "not_in_training", " among the 320 training images, 0 of them pixel by pixel and ",
    ),
    "not as stated": (
        lambda home: (home.folder / "child.safetensors", ["--stated", "0.7"]),
        "as_stated", "and 70.0 % is stated: it is better than stated",
    ),
    "wrong mean, Hugging Face": (
        lambda home: (home.hf("hf_mean", image_mean=[0.9, 0.1, 0.9]), []),
        "preprocessing", "with ImageNet's mean and standard deviation, and on ",
    ),
    "no normalization, Hugging Face": (
        lambda home: (home.hf("hf_none", do_normalize=False), []),
        "preprocessing", "with ImageNet's mean and standard deviation, and on ",
    ),
    "no rescaling, Hugging Face": (
        lambda home: (home.hf("hf_bytes", do_rescale=False), []),
        "preprocessing", "with ImageNet's mean and standard deviation, and on ",
    ),
    "swapped classes, Hugging Face": (
        lambda home: (home.hf("hf_swapped", classes=(*CLASSES[:3], CLASSES[4], CLASSES[3])), []),
        "class_order", "'dove' called 'eel'",
    ),
    "wrong crop, timm": (
        lambda home: (home.timm("timm_crop", crop_pct=0.6), []),
        "preprocessing", "with the whole image resized to 32x32, and on ",
    ),
    "wrong mean, timm": (
        lambda home: (home.timm("timm_mean", mean=[0.9, 0.1, 0.9]), []),
        "preprocessing", "with ImageNet's mean and standard deviation, and on ",
    ),
}  # fmt: skip


@pytest.mark.parametrize("sabotage", SABOTAGED)
def test_a_sabotaged_input_is_refused_with_its_reason(
    home: Home, sabotage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    make, name, reason = SABOTAGED[sabotage]
    model, more = make(home)
    code, audit, said = home.audited(capsys, model, *more)
    assert code == 2
    assert audit
    assert [lock.name for lock in audit.failed_locks] == [name], said
    assert reason in audit.failed_locks[0].reason
    assert f"failed {name}: {audit.failed_locks[0].reason}" in said
    assert (audit.findings, audit.price) == ((), None)


def _cut(home: Home) -> Way:
    content = (home.folder / "child.safetensors").read_bytes()
    (home.folder / "cut.safetensors").write_bytes(content[: len(content) // 2])
    return home.folder / "cut.safetensors", []


def _headless(home: Home) -> Way:
    path = home.changed("headless", lambda state: state.pop("classifier.weight"))
    return path, []


BROKEN: dict[str, tuple[Made, str]] = {
    "truncated file": (_cut, "cut.safetensors"),
    "adapter without its head": (
        lambda home: (adapter(home, "no_head", head=False), ["--parent", str(home.folder / "parent.safetensors")]),
        "declares modules_to_save ['classifier'], but its file has no tensor of that: save it whole",
    ),
    "file without its head": (_headless, "classifier.weight"),
}


@pytest.mark.parametrize("sabotage", BROKEN)
def test_a_broken_file_is_one_sentence_and_nothing_is_written(
    home: Home, sabotage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    make, reason = BROKEN[sabotage]
    model, more = make(home)
    code, audit, said = home.audited(capsys, model, *more)
    assert (code, audit) == (2, None)
    assert reason in said
    assert said.count("error: ") == 1


GOOD: dict[str, Made] = {
    "child": lambda home: (home.folder / "child.safetensors", ["--parent", str(home.folder / "parent.safetensors")]),
    "child, as stated": lambda home: (home.folder / "child.safetensors", ["--stated", "0.95"]),
    "child, training images": lambda home: (
        home.folder / "child.safetensors", ["--train", str(home.folder / "seen")]
    ),
    "half its training": lambda home: (
        home.save("early", _early(home).state_dict()), ["--parent", str(home.folder / "parent.safetensors")]
    ),
    "from random weights": lambda home: (home.save("scratch", _scratch(home, "dtn", width=0.05).state_dict()), []),
    "of arrays": lambda home: (_arrays(home), []),
    "group normalization": lambda home: (
        home.save("group", _scratch(home, "dtn", width=0.1, norm="group").state_dict()),
        ["--network", "{name: dtn, width: 0.1, norm: group}"],
    ),
    "adapter with its head": lambda home: (
        adapter(home, "whole_adapter", head=True), ["--parent", str(home.folder / "parent.safetensors")]
    ),
    "Hugging Face": lambda home: (home.hf(), ["--stated", "0.98"]),
    "timm": lambda home: (home.timm(), []),
}  # fmt: skip


def _arrays(home: Home) -> Path:
    np.savez(home.folder / "arrays.npz", **{key: value.numpy() for key, value in home.child.state_dict().items()})  # type: ignore[arg-type]
    return home.folder / "arrays.npz"


def _early(home: Home) -> nn.Module:
    network: nn.Module = learned(home.network(home.start), home.train, 3, steps=60)
    return network


def _scratch(home: Home, name: str, **settings: Any) -> nn.Module:
    network: nn.Module = learned(home.network(name=name, **settings), home.train, 4)
    return network


@pytest.mark.parametrize("kind", GOOD)
def test_a_good_input_passes_all_locks(home: Home, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    model, more = GOOD[kind](home)
    code, audit, said = home.audited(capsys, model, *more)
    assert audit, said
    assert audit.failed_locks == ()
    assert code == 0
    assert audit.findings
    own = {lock.name: lock.passed for lock in audit.locks}
    assert all(own[name] for name in ("head_is_trained", "class_order", "preprocessing", "better_than_chance"))
    assert own["as_stated"] is (True if "--stated" in more else None)
    assert own["not_in_training"] is (True if "--train" in more else None)
    assert set(own) == set(LOCKS.names())
