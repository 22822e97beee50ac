"""Any classification network of the library timm."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from tl_robust.errors import ConfigError, UnknownNameError
from tl_robust.models.base import NETWORKS, check_color
from tl_robust.models.preprocessing import Preprocess, Preprocessing
from tl_robust.models.published import TEXTS, check_takes, library, trunk

IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}  # timm's own default
# What would read a file, fetch something, or is said otherwise here.
REFUSED = ("pretrained", "checkpoint_path", "pretrained_cfg", "pretrained_cfg_overlay", "cache_dir", "num_classes")
PLACES = ("url", "file", "hf_hub_id", "hf_hub_filename", "state_dict", "source", "license", "paper_name", "paper_ids")


@NETWORKS.register
class Timm(nn.Module):
    """A network of timm by its name, with fresh weights; nothing is fetched.

    The first layers prepare the images as timm does in tests, with what ``config`` says, else with timm's own
    configuration of the architecture. Weights have timm's names after ``model.``.

    Args:
        image_shape: ``(3, H, W)``.
        classes: Number of logits.
        arch: A name of ``timm.list_models()``.
        config: JSON of the parts ``model_args`` and ``pretrained_cfg`` of a published ``config.json``.
        resize: Side of the square that images are resized to, with the interpolation of the configuration and no crop;
            0 leaves them as they are, -1 does as the configuration says.
    """

    VERSION = 1

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        classes: int,
        arch: str = "resnet18",
        config: str = "",
        resize: int = -1,
    ) -> None:
        timm = library("timm", "timm")
        super().__init__()
        check_color("timm", image_shape[0])
        if not -1 <= resize <= 1024:
            raise ConfigError(f"setting 'resize' of network 'timm' must be -1 to 1024, got {resize}.")
        if not timm.is_model(arch):
            raise UnknownNameError("arch of network 'timm'", arch, timm.list_models())
        said = _parts(config)
        arguments = said["model_args"]
        for name in REFUSED:
            if name in arguments:
                raise ConfigError(f"model_args of network 'timm' has {name!r}, which no published network needs.")
        own = {key: value for key, value in said["pretrained_cfg"].items() if key not in PLACES}
        try:
            model = timm.create_model(
                arch, pretrained=False, pretrained_cfg=own or None, num_classes=classes, **arguments
            )
        except (TypeError, ValueError, RuntimeError, AssertionError, KeyError, AttributeError) as error:
            cause = (str(error).splitlines() or [type(error).__name__])[0]
            raise ConfigError(f"timm cannot build {arch!r} with this configuration ({cause}).") from error
        self.model: nn.Module = model
        self.preprocess = Preprocess(_steps({**model.pretrained_cfg, **own}, arguments, resize))
        check_takes(self, image_shape, f"{arch!r} of network 'timm'", image_shape)

    @property
    def _asked(self) -> Any:
        return self.model

    @property
    def classifier(self) -> nn.Module:
        """What timm calls the classifier."""
        found: nn.Module = self._asked.get_classifier()
        return found

    @property
    def blocks(self) -> list[nn.Module]:
        """Modules with parameters, in timm's order; see :func:`tl_robust.models.published.trunk`."""
        return trunk(self.model, self.classifier)

    def forward(self, images: Tensor) -> Tensor:
        """Images ``[N,3,H,W]`` in [0,1] to logits ``[N,classes]``."""
        logits: Tensor = self.model(self.preprocess(images))
        return logits


def _parts(config: str) -> dict[str, dict[str, Any]]:
    try:
        said = json.loads(config or "{}")
    except ValueError:
        said = None
    parts = {name: said.get(name) or {} for name in TEXTS} if isinstance(said, dict) else {}
    if not parts or not all(isinstance(part, dict) for part in parts.values()) or set(said) - set(TEXTS):
        raise ConfigError(
            f"setting 'config' of network 'timm' must be JSON with {' and '.join(TEXTS)}, got {config[:80]!r}."
        )
    return parts


def _steps(cfg: Mapping[str, Any], arguments: Mapping[str, Any], resize: int) -> Preprocessing:
    """What timm does to images in tests, from its configuration of a network.

    Raises:
        ConfigError: Another kind of preprocessing.
    """
    normal: dict[str, Any] = {name: tuple(cfg.get(name) or usual) for name, usual in IMAGENET.items()}
    interpolation = cfg.get("interpolation") or "bicubic"
    if resize >= 0:
        square = (resize, resize) if resize else ()
        return Preprocessing(**normal, resize=square, interpolation=interpolation)
    size, share, mode = cfg.get("input_size"), cfg.get("crop_pct") or 0.875, cfg.get("crop_mode") or "center"
    if "img_size" in arguments:
        side = arguments["img_size"]
        size = (3, *side) if isinstance(side, list | tuple) else (3, side, side)
    if not isinstance(size, list | tuple) or len(size) != 3 or not all(type(side) is int for side in size):
        raise ConfigError(f"input_size of network 'timm' must be three whole numbers, got {size!r}.")
    if not isinstance(share, int | float) or not 0 < share <= 1:
        raise ConfigError(f"crop_pct of network 'timm' must be above 0 and at most 1, got {share!r}.")
    crop = (size[1], size[2])
    before = tuple(math.floor(side / share) for side in crop)
    if mode == "squash":
        return Preprocessing(**normal, resize=before, crop=crop, interpolation=interpolation)
    if mode != "center" or crop[0] != crop[1]:
        what = f"crop_mode {mode!r}" if mode != "center" else f"a center crop to {crop[0]}x{crop[1]}"
        raise ConfigError(f"network 'timm' cannot prepare images with {what}: set resize.")
    return Preprocessing(**normal, resize=before[:1], crop=crop, interpolation=interpolation)
