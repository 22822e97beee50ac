"""Folders in which models are published: what the network is, how it prepares images, its classes, its weights.

Two layouts are known, both with a ``config.json`` and weights in ``model.safetensors`` (or ``pytorch_model.bin``):
image classifiers of Hugging Face's transformers, with a ``preprocessor_config.json``, and networks of timm. Files are
read and nothing else: nothing is fetched, and no code that a folder names is run.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tl_robust.errors import ConfigError, DataError
from tl_robust.models.networks.hf import check_config
from tl_robust.models.networks.timm import PLACES
from tl_robust.models.processor import steps_of
from tl_robust.models.published import TEXTS
from tl_robust.registry import Scalar

BIGGEST = 2**24  # bytes of a configuration, which is ten times what ImageNet-21k's names take
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
# What of transformers' config.json changes neither the network nor its weights.
ASIDE = {
    "id2label", "label2id", "num_labels", "transformers_version", "dtype", "torch_dtype", "_name_or_path",
    "problem_type", "return_dict", "output_hidden_states", "output_attentions", "use_cache",
}  # fmt: skip


@dataclass(frozen=True)
class Folder:
    """A published model.

    Attributes:
        network: Registered name of its network.
        settings: Settings of the network.
        classes: Names of its classes in label order, as they are written; empty where the folder has none.
        number: How many classes there are.
        weights: Name of the file of its weights.
    """

    network: str
    settings: Mapping[str, Scalar]
    classes: tuple[str, ...]
    number: int
    weights: str


def read_folder(folder: Path) -> Folder:
    """What a published folder says about its model; its weights are not read yet.

    Raises:
        DataError: It is of no known layout, damaged, or asks for code or a download.
    """
    if not (folder / "config.json").is_file() and (folder / "adapter_config.json").is_file():
        raise DataError(f"{folder} holds an adapter alone: write its base after from:, and this folder after adapter:.")
    said = read_json(folder / "config.json")
    try:
        if isinstance(said.get("pretrained_cfg"), dict) and isinstance(said.get("architecture"), str):
            return _timm(folder, said)
        if "architectures" in said:
            return _hf(folder, said)
    except ConfigError as error:
        raise DataError(f"folder {folder} cannot be used: {error}") from error
    raise DataError(
        f"{folder / 'config.json'} is of no known layout: expected 'architectures' (transformers), or 'architecture' "
        "and 'pretrained_cfg' (timm)."
    )


def read_json(path: Path) -> dict[str, Any]:
    """A mapping from a JSON file.

    Raises:
        DataError: There is none.
    """
    try:
        if path.stat().st_size > BIGGEST:
            raise ValueError(f"{path.stat().st_size} bytes")
        said = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"{path} not found: expected the folder of a published model, with {path.name}.") from error
    except (OSError, ValueError, RecursionError) as error:
        cause = str(error).splitlines()[0]
        raise DataError(f"{path} cannot be read ({cause}): expected JSON; replace the damaged file.") from error
    if not isinstance(said, dict):
        raise DataError(f"{path} holds {type(said).__name__} in place of a mapping: replace the damaged file.")
    return said


def _hf(folder: Path, said: dict[str, Any]) -> Folder:
    check_config(said)
    kept = {key: value for key, value in said.items() if key not in ASIDE and value is not None}
    settings = {
        "config": json.dumps(kept, sort_keys=True),
        "preprocessing": steps_of(read_json(folder / "preprocessor_config.json")).text,
    }
    names = _in_order(said["id2label"], "id2label") if "id2label" in said else ()
    number = len(names) or said.get("num_labels", 0)
    return Folder("hf", settings, names, _counted(number, "id2label"), _weights(folder))


def _timm(folder: Path, said: dict[str, Any]) -> Folder:
    kept = {name: dict(said.get(name) or {}) for name in TEXTS}
    cfg = kept["pretrained_cfg"]
    kept["model_args"].pop("num_classes", None)  # stands beside it, too
    kept["pretrained_cfg"] = {
        key: value
        for key, value in cfg.items()
        if key not in (*PLACES, "num_classes", "label_names", "label_descriptions", "tag") and value is not None
    }
    settings: dict[str, Scalar] = {"arch": said["architecture"], "config": json.dumps(kept, sort_keys=True)}
    listed = said.get("label_names") or cfg.get("label_names")
    names = _in_order(listed, "label_names") if listed else ()
    number = said.get("num_classes", cfg.get("num_classes", len(names)))
    if names and len(names) != number:
        raise ConfigError(f"label_names of config.json has {len(names)} names for {number} classes.")
    return Folder("timm", settings, names, _counted(number, "num_classes"), _weights(folder))


def _counted(number: Any, what: str) -> int:
    if type(number) is not int or number < 2:
        raise ConfigError(f"{what} of config.json must say 2 classes or more, got {number!r}.")
    return number


def _in_order(names: Any, what: str) -> tuple[str, ...]:
    """Names of a list, or of a mapping from labels, which are whole numbers from 0."""
    if isinstance(names, dict):
        try:
            labeled = {int(label): name for label, name in names.items()}
        except ValueError:
            labeled = {}
        if sorted(labeled) != list(range(len(names))):
            raise ConfigError(f"{what} of config.json must have the labels 0 to {len(names) - 1}.")
        names = [labeled[label] for label in range(len(names))]
    if not isinstance(names, list) or not all(isinstance(name, str) and name.strip() for name in names):
        raise ConfigError(f"{what} of config.json must name every class by a text.")
    return tuple(names)


def _weights(folder: Path) -> str:
    for name in WEIGHTS:
        if (folder / name).is_file():
            return name
        if (folder / f"{name}.index.json").is_file():
            raise ConfigError(f"its weights are in several files ({name}.index.json): save them as one {WEIGHTS[0]}.")
    raise ConfigError(f"it has no weights: expected {' or '.join(WEIGHTS)}.")
