"""What a ``preprocessor_config.json`` of transformers says about images, as the steps of a network's first layer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tl_robust.errors import ConfigError
from tl_robust.models.preprocessing import Preprocessing

INTERPOLATIONS = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "box"}  # Pillow's numbers
CONVNEXT_SHARE, CONVNEXT_WARPS = 224 / 256, 384  # below that side a crop follows, from there on none


@dataclass(frozen=True)
class Kind:
    """What a processor does where its configuration does not say.

    Attributes:
        square: A size of one number is both sides, else the shorter one.
        crop: It crops.
    """

    square: bool
    crop: bool


KINDS = {
    "Beit": Kind(True, False),
    "Bit": Kind(False, True),
    "CLIP": Kind(False, True),
    "ConvNext": Kind(False, False),
    "DeiT": Kind(True, True),
    "MobileNetV1": Kind(False, True),
    "MobileNetV2": Kind(False, True),
    "Pvt": Kind(True, False),
    "Siglip": Kind(True, False),
    "ViT": Kind(True, False),
}
HARMLESS = {"do_convert_rgb", "do_reduce_labels", "do_resize", "do_center_crop", "do_rescale", "do_normalize"}


def steps_of(said: Mapping[str, Any]) -> Preprocessing:
    """The steps of a processor's configuration.

    Args:
        said: The content of ``preprocessor_config.json``.

    Raises:
        ConfigError: It names code of its own, another kind of processor or step, or lacks something.
    """
    if said.get("auto_map"):
        raise ConfigError("preprocessor_config.json has 'auto_map', so it names code of its own, which is never run.")
    named = str(said.get("image_processor_type") or said.get("feature_extractor_type"))
    short = re.sub(r"(ImageProcessor|FeatureExtractor)(Fast|Pil)?$", "", named)
    if short not in KINDS:
        raise ConfigError(f"preprocessor_config.json has the image processor {named!r}: known are {', '.join(KINDS)}.")
    for key, value in said.items():
        if key.startswith("do_") and value and key not in HARMLESS:
            raise ConfigError(f"preprocessor_config.json has the step {key!r}, which is not known here.")
    kind, resize, crop = KINDS[short], tuple[int, ...](), tuple[int, ...]()
    if said.get("do_resize", True):
        resize = _sides(said, "size", said.get("default_to_square", kind.square))
    if said.get("do_center_crop", kind.crop) and short != "ConvNext":
        crop = _sides(said, "crop_size", True)
    if short == "ConvNext" and resize:
        share = said.get("crop_pct", CONVNEXT_SHARE)
        if len(resize) != 1 or not isinstance(share, float | int) or not 0 < share <= 1:
            raise ConfigError("preprocessor_config.json of ConvNext needs size: shortest_edge, and crop_pct up to 1.")
        crop = (resize[0], resize[0])
        resize = (int(resize[0] / share),) if resize[0] < CONVNEXT_WARPS else crop
    factor = 255 * _number(said, "rescale_factor", 1 / 255) if said.get("do_rescale", True) else 255.0
    factor = 1.0 if abs(factor - 1) < 1e-6 else factor
    normal = said.get("do_normalize", True)
    mean, std = (
        _channels(said, key) if normal else usual
        for key, usual in (("image_mean", (0.0,) * 3), ("image_std", (1.0,) * 3))
    )
    interpolation = INTERPOLATIONS.get(said.get("resample", 2 if short == "ViT" else None))
    if interpolation is None and resize:
        raise ConfigError(
            f"resample of preprocessor_config.json must be one of {', '.join(map(str, INTERPOLATIONS))}, "
            f"got {said.get('resample')!r}."
        )
    return Preprocessing(
        tuple(value / factor for value in mean),
        tuple(value / factor for value in std),
        resize,
        crop,
        interpolation or "bilinear",
        low=True,
    )


def _sides(said: Mapping[str, Any], key: str, square: bool) -> tuple[int, ...]:
    size = said.get(key)
    if isinstance(size, int):
        return (size, size) if square else (size,)
    given = {name: side for name, side in size.items() if side is not None} if isinstance(size, dict) else {}
    if given.keys() == {"height", "width"}:
        return (given["height"], given["width"])
    if given.keys() == {"shortest_edge"}:
        return (given["shortest_edge"],) if key == "size" else (given["shortest_edge"],) * 2
    raise ConfigError(
        f"{key} of preprocessor_config.json must be height and width, or shortest_edge, in whole pixels, got {size!r}."
    )


def _channels(said: Mapping[str, Any], key: str) -> tuple[float, ...]:
    value = said.get(key)
    values = (value,) * 3 if isinstance(value, float | int) else value
    if not isinstance(values, list | tuple) or not all(type(number) in (int, float) for number in values):
        raise ConfigError(f"{key} of preprocessor_config.json must be 3 numbers, one a channel, got {value!r}.")
    return tuple(values)


def _number(said: Mapping[str, Any], key: str, usual: float) -> float:
    value = said.get(key, usual)
    if type(value) not in (int, float) or not value > 0:
        raise ConfigError(f"{key} of preprocessor_config.json must be a number above 0, got {value!r}.")
    return float(value)
