"""Any image classifier of Hugging Face's library transformers, from its own configuration."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from tl_robust.errors import ConfigError
from tl_robust.models.base import NETWORKS, check_color
from tl_robust.models.preprocessing import Preprocess, Preprocessing
from tl_robust.models.published import check_takes, last_layer, library, trunk

SUFFIX = "ForImageClassification"
# Keys, at any depth, that would run code of others, fetch something, or change what weights mean.
REFUSED = {
    "auto_map": "it names code of its own, which is never run",
    "custom_pipelines": "it names code of its own, which is never run",
    "quantization_config": "its weights are quantized",
    "use_timm_backbone": "its backbone would be fetched",
    "use_pretrained_backbone": "its backbone would be fetched",
    "backbone": "its backbone would be fetched",
}


@NETWORKS.register
class HF(nn.Module):
    """A class ``...ForImageClassification`` of transformers with fresh weights.

    Nothing is fetched, and no code that a configuration names is run.
    The first layers prepare the images as ``preprocessing`` says; of what the library answers, the logits are taken.
    Weights have the library's names after ``model.``.

    Args:
        image_shape: ``(3, H, W)``.
        classes: Number of logits.
        config: JSON of the published ``config.json``.
        preprocessing: JSON of :class:`tl_robust.models.preprocessing.Preprocessing`.
    """

    VERSION = 1

    def __init__(
        self, image_shape: tuple[int, int, int], classes: int, config: str = "", preprocessing: str = ""
    ) -> None:
        transformers = library("transformers", "hf")
        super().__init__()
        check_color("hf", image_shape[0])
        try:
            said = json.loads(config)
        except ValueError:
            said = None
        if not isinstance(said, dict):
            raise ConfigError(
                "network 'hf' needs the JSON of a config.json as setting 'config': declare the folder under "
                "checkpoints: {from: FOLDER}, which fills it."
            )
        check_config(said)
        self.model: nn.Module = _made(transformers, said, classes)
        self.preprocess = Preprocess(Preprocessing.parse(preprocessing))
        check_takes(self, image_shape, f"{said['architectures'][0]} of network 'hf'", image_shape)

    @property
    def classifier(self) -> nn.Module:
        """The last layer with weights, whatever the network calls it."""
        return last_layer(self.model)

    @property
    def blocks(self) -> list[nn.Module]:
        """Modules with parameters, in the library's order; see :func:`tl_robust.models.published.trunk`."""
        return trunk(self.model, self.classifier)

    def forward(self, images: Tensor) -> Tensor:
        """Images ``[N,3,H,W]`` in [0,1] to logits ``[N,classes]``."""
        logits: Tensor = self.model(pixel_values=self.preprocess(images)).logits
        return logits

    def names_here(self, names: list[str]) -> dict[str, str]:
        """The names of a published file, without those that the library passes over, and what it calls them now."""
        ignored = getattr(self.model, "_keys_to_ignore_on_load_unexpected", None) or ()
        rename = _renaming(self.model)
        return {name: rename(name) for name in names if not any(re.search(pattern, name) for pattern in ignored)}


def check_config(config: Mapping[str, Any]) -> None:
    """Check that a ``config.json`` describes an image classifier of the library's own.

    Raises:
        ConfigError: It asks for code, for a download or for quantized weights, or is of another kind.
    """
    for key, value in _everywhere(config):
        if key in REFUSED and value:
            raise ConfigError(f"config.json has {key!r}, so {REFUSED[key]}: use a model without it.")
        if "attn_implementation" in key and isinstance(value, str) and "/" in value:
            raise ConfigError(f"config.json has {key!r} {value!r}, so code would be fetched: remove that entry.")
    named = config.get("architectures")
    if not isinstance(named, list) or len(named) != 1 or not str(named[0]).endswith(SUFFIX):
        raise ConfigError(f"architectures of config.json must be one class ending in {SUFFIX}, got {named!r}.")


def _everywhere(value: Any) -> Iterator[tuple[str, Any]]:
    """Every key of nested mappings and lists, with its value."""
    inside = (
        value.items()
        if isinstance(value, Mapping)
        else ((("", item) for item in value) if isinstance(value, list) else ())
    )
    for key, item in inside:
        yield str(key), item
        yield from _everywhere(item)


def _made(transformers: Any, said: Mapping[str, Any], classes: int) -> nn.Module:
    name = said["architectures"][0]
    found: Any = getattr(transformers, name, None)
    if transformers.PreTrainedModel not in getattr(found, "__mro__", ()):
        raise ConfigError(
            f"transformers {transformers.__version__} has no class {name!r}: use a version that has, or another model."
        )
    if found.config_class.model_type == "timm_wrapper":
        raise ConfigError("config.json wraps a network of timm: use timm's own layout of that model.")
    try:
        config = found.config_class.from_dict({**said, "num_labels": classes})
        try:
            model: nn.Module = found(config)
        except (NotImplementedError, RuntimeError):  # some read sizes from tensors, which hold no numbers on meta
            with torch.device("cpu"):
                model = found(config)
    except Exception as error:  # whatever a library raises for settings that it does not know
        cause = (str(error).splitlines() or [""])[0] or type(error).__name__
        raise ConfigError(f"transformers cannot build {name} with this config.json ({cause}).") from error
    return model.float()


def _renaming(model: nn.Module) -> Any:
    """What the library does to the names in a file, which it changed in version 5; nothing where it does not say."""
    try:
        from transformers.conversion_mapping import get_model_conversion_mapping
        from transformers.core_model_loading import WeightRenaming, rename_source_key
    except ImportError:
        return lambda name: name
    steps = [step for step in get_model_conversion_mapping(model) if isinstance(step, WeightRenaming)]
    prefix, own = getattr(model, "base_model_prefix", None) or None, model.state_dict()

    def rename(name: str) -> str:
        return name if name in own else str(rename_source_key(name, steps, [], prefix, own)[0])

    return rename
