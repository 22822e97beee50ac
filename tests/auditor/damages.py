"""Files that an audit must refuse, each damaged in its own way."""

from __future__ import annotations

import io
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from tests.auditor.tiny_models import pixels, trained
from tl_robust.models import NETWORKS, build


class Runs:
    """Unpickled, it makes a file."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self.canary,)


def content(write: Callable[[Any], object]) -> bytes:
    """What ``write`` writes into a file."""
    made = io.BytesIO()
    write(made)
    return made.getvalue()


def put(path: Path, made: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(made)


def weights(folder: Path, canary: Path) -> None:
    """``good.*`` and what is wrong with it."""
    state = load_file(folder / "oak_child0.safetensors")
    arrays = {name: value.numpy() for name, value in state.items()}
    nested = {"state_dict": {f"model.{name}": value for name, value in state.items()}, "epoch": 1}
    good = {
        "safetensors": (folder / "oak_child0.safetensors").read_bytes(),
        "npz": content(lambda file: np.savez(file, **arrays)),
        "pt": content(lambda file: torch.save(state, file)),
        "ckpt": content(lambda file: torch.save(nested, file)),
    }
    for kind, made in good.items():
        put(folder / f"good.{kind}", made)
        put(folder / f"cut.{kind}", made[: len(made) * 2 // 3])
        put(folder / f"stub.{kind}", made[:20])
        put(folder / f"empty.{kind}", b"")
        for other in good.keys() - {kind, "ckpt"}:
            put(folder / f"was_{kind}.{other}", made)
    put(folder / "weights.h5", good["safetensors"])
    wide = build(NETWORKS.component("dtn", {"width": 0.2, "norm": "group", "dropout": 0.0}), (3, 8, 8), 4)
    save_file(wide.state_dict(), folder / "other.safetensors")
    part = {name: value for name, value in state.items() if not name.startswith("features.0")}
    save_file(part, folder / "part.safetensors")
    infinite = {name: value.clone() for name, value in state.items()}
    infinite["classifier.bias"][0] = float("inf")
    save_file(infinite, folder / "infinite.safetensors")
    runs = Runs(canary)
    put(folder / "runs_raw.pt", pickle.dumps(runs))
    put(folder / "runs.pt", content(lambda file: torch.save({"a": runs}, file)))
    put(folder / "runs.ckpt", content(lambda file: torch.save({"state_dict": state, "hyper": runs}, file)))
    put(folder / "whole.pt", content(lambda file: torch.save(trained(0, steps=0), file)))
    put(folder / "runs.npz", content(lambda file: np.savez(file, a=np.array([runs], dtype=object))))


def references(folder: Path, canary: Path) -> None:
    runs, logits = Runs(canary), np.zeros((8, 4))
    made = {
        "runs": content(lambda file: np.savez(file, logits=np.array([runs], dtype=object))),
        "runs_raw": pickle.dumps(runs),
        "cut": content(lambda file: np.savez(file, logits=logits))[:100],
        "empty": b"",
        "unnamed": content(lambda file: np.savez(file, outputs=logits)),
        "flat": content(lambda file: np.savez(file, logits=logits[0])),
        "words": content(lambda file: np.savez(file, logits=np.array([["a"]]))),
        "npy": content(lambda file: np.save(file, logits)),
    }
    for name, each in made.items():
        put(folder / f"reference_{name}.npz", each)


def pictures(folder: Path) -> None:
    one, two = ((folder / "photos" / name).read_bytes() for name in ("ant/0.png", "bee/1.png"))
    put(folder / "texts" / "ant" / "a.txt", b"x")
    put(folder / "loose" / "a.png", one)
    put(folder / "broken" / "ant" / "a.png", b"nothing")
    put(folder / "broken" / "bee" / "b.png", two)
    put(folder / "cut_image" / "ant" / "a.png", one[:90])
    put(folder / "cut_image" / "bee" / "b.png", two)
    put(folder / "single" / "ant" / "a.png", one)
    (folder / "void").mkdir()


def arrays(folder: Path, canary: Path) -> None:
    """Domains ``npz:NAME`` in ``data``."""
    runs = Runs(canary)
    tensors, labels = pixels("test")
    images = tensors.permute(0, 2, 3, 1).numpy()
    objects = np.array([runs] * 40, dtype=object)
    for name, made in {
        "fine": {"images": images, "labels": labels.numpy()},
        "runs": {"images": objects, "labels": labels.numpy()},
        "runs_labels": {"images": images, "labels": objects},
        "bent": {"images": np.zeros((40, 5)), "labels": labels.numpy()},
        "fewer": {"images": images[:7], "labels": labels.numpy()},
        "nameless": {"pixels": images, "labels": labels.numpy()},
    }.items():
        for split in ("train", "test"):
            put(folder / "data" / f"{name}_{split}.npz", content(lambda file, made=made: np.savez(file, **made)))
    whole = (folder / "data" / "fine_test.npz").read_bytes()
    for name, damaged in {"cut": whole[:500], "empty": b"", "runs_raw": pickle.dumps(runs)}.items():
        for split in ("train", "test"):
            put(folder / "data" / f"{name}_{split}.npz", damaged)


def adapters(folder: Path) -> None:
    """LoRA adapters of the hidden layer of ``oak``."""
    height, width = load_file(folder / "oak.safetensors")["hidden.0.weight"].shape
    low, high = "base_model.model.hidden.0.lora_A.weight", "base_model.model.hidden.0.lora_B.weight"
    fitting = {low: torch.ones(2, width) / 100, high: torch.ones(height, 2) / 100}

    def adapter(name: str, tensors: dict[str, Any] | None = None, **said: Any) -> Path:
        place = folder / name
        place.mkdir()
        config = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["hidden.0"]} | said
        (place / "adapter_config.json").write_text(json.dumps(config))
        save_file(tensors or fitting, place / "adapter_model.safetensors")
        return place

    adapter("adapter")
    adapter("adapter_kind", peft_type="IA3")
    adapter("adapter_bent", fitting | {low: torch.ones(2, 3)})
    adapter("adapter_foreign", {name.replace("hidden", "hiden"): value for name, value in fitting.items()})
    adapter("adapter_option", use_dora=True)
    (adapter("adapter_bare") / "adapter_model.safetensors").unlink()
    cut = adapter("adapter_cut") / "adapter_model.safetensors"
    cut.write_bytes(cut.read_bytes()[:60])
    put(adapter("adapter_empty") / "adapter_model.safetensors", b"")
    put(adapter("adapter_config_cut") / "adapter_config.json", b"{")
    put(adapter("adapter_config_empty") / "adapter_config.json", b"")


def policies(folder: Path) -> None:
    rules = {
        "typo": b"rules:\n- robustaccuracy@8/255 >= 0.1\n",
        "empty": b"",
        "binary": b"\xff\xfe\x00",
        "cut": b"rules: [",
        "size": b"rules:\n- robust_accuracy@1/255 >= 0.1\n",
        "view": b"rules:\n- robust_accuracy[grey]@16/255 >= 0.1\n",
        "tag": b"rules: !!python/object/apply:os.system ['touch canary']\n",
        "last_gone": b"rules:\n- not_worse_than: gone.json\n",
        "last_cut": b"rules:\n- not_worse_than: cut.json\n",
        "last_other": b"rules:\n- not_worse_than: other.json\n",
        "last_empty": b"rules:\n- not_worse_than: empty.json\n",
    }
    for name, made in rules.items():
        put(folder / f"policy_{name}.yaml", made)
    for name, made in {"cut": b'{"schema": ', "other": b'{"schema": "else/1"}', "empty": b""}.items():
        put(folder / f"{name}.json", made)
