"""What else a model may have been trained with: other ways to prepare images, one change at a time.

They act where a network prepares images: at its layer that does, else before it. Nothing of it is changed.

Axes: N images, C channels, H height, W width, L classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from tl_robust.models.base import Normalize
from tl_robust.models.features import logits
from tl_robust.models.preprocessing import Preprocess, Preprocessing, center_crop, resized

Numbers = tuple[float, ...]
USUAL: dict[str, tuple[Numbers, Numbers]] = {  # of images in [0,1]
    "ImageNet's mean and standard deviation": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "mean 0.5 and standard deviation 0.5": ((0.5,) * 3, (0.5,) * 3),
    "no normalization": ((0.0,) * 3, (1.0,) * 3),
    "CIFAR-10's mean and standard deviation": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "CLIP's mean and standard deviation": ((0.4815, 0.4578, 0.4082), (0.2686, 0.2613, 0.2758)),
    "values of 0 to 255 without normalization": ((0.0,) * 3, (1 / 255,) * 3),
}
GRAY = {"MNIST's mean and standard deviation": ((0.1307,), (0.3081,))}
SHARES = (0.875, 0.95)  # of the shorter side that usual crops keep
ALIKE = 0.02  # of a standard deviation: means and standard deviations that differ by less are the same


@dataclass(frozen=True)
class Alternative:
    """Another way to prepare images.

    Attributes:
        name: As it reads after ``with``.
        prepare: From what the preparing layer is given, ``[N,C,H,W]`` in [0,1], to what it hands on.
    """

    name: str
    prepare: Callable[[Tensor], Tensor]


def preparing(network: nn.Module) -> nn.Module | None:
    """The layer that prepares images; None where the network says of none."""
    kinds: tuple[type[nn.Module], ...] = (Preprocess, Normalize)
    return next((module for kind in kinds for module in network.modules() if isinstance(module, kind)), None)


def steps_text(network: nn.Module) -> str:
    """How a network prepares images, as it reads after ``with``."""
    layer = preparing(network)
    if not isinstance(layer, Preprocess | Normalize):
        return "its images as they are"
    mean, std = (", ".join(f"{float(value):.3g}" for value in numbers.flatten()) for numbers in (layer.mean, layer.std))
    steps = layer.steps if isinstance(layer, Preprocess) else None
    geometry = [
        f"{what} to {'x'.join(map(str, sides))}"
        for what, sides in (("resized", steps.resize), ("cropped", steps.crop))
        if sides
    ] if steps else []  # fmt: skip
    return ", ".join([f"mean {mean} and standard deviation {std}", *geometry])


def alternatives(network: nn.Module, images: Tensor, others: Sequence[tuple[str, nn.Module]] = ()) -> list[Alternative]:
    """Ways to prepare images that differ from the network's own, and from each other.

    Args:
        network: What is audited.
        images: uint8 ``[N,C,H,W]``, whose own mean and spread are tried, too.
        others: Networks by name, such as its parent, whose steps are tried.
    """
    layer, channels = preparing(network), images.shape[1]
    mean, std = _numbers(layer, channels)
    steps = layer.steps if isinstance(layer, Preprocess) else None
    found = list(_normalizations(mean, std, images, others, steps))
    if channels == 3:
        found.append(Alternative("blue, green, red in place of red, green, blue", _through(mean, std, steps, bgr=True)))
    return [*found, *_geometries(mean, std, steps, others)]


def asked(network: nn.Module, alternative: Alternative, images: Tensor) -> Tensor:
    """Logits ``[N,L]`` of uint8 images ``[N,C,H,W]`` that were prepared otherwise; the network is left as it was."""
    layer = preparing(network)
    if layer is None:
        hook = network.register_forward_pre_hook(lambda _, inputs: (alternative.prepare(inputs[0]), *inputs[1:]))
    else:
        hook = layer.register_forward_hook(lambda _, inputs, output: alternative.prepare(inputs[0]).to(output))
    try:
        return logits(network, images).cpu()
    finally:
        hook.remove()


def _numbers(layer: nn.Module | None, channels: int) -> tuple[Numbers, Numbers]:
    if not isinstance(layer, Preprocess | Normalize):
        return (0.0,) * channels, (1.0,) * channels
    mean, std = (tuple(float(value) for value in numbers.flatten()) for numbers in (layer.mean, layer.std))
    return mean * (channels // len(mean)), std * (channels // len(std))


def _through(
    mean: Numbers, std: Numbers, steps: Preprocessing | None, *, bgr: bool = False
) -> Callable[[Tensor], Tensor]:
    """Resize and crop as ``steps`` say, then turn the channels around and normalize."""

    def prepare(images: Tensor) -> Tensor:
        if steps is not None:
            plain = replace(steps, mean=(0.0,) * 3, std=(1.0,) * 3)
            images = Preprocess(plain).to(images.device)(images)
        images = images.flip(1) if bgr else images
        center, spread = (torch.tensor(numbers).to(images)[:, None, None] for numbers in (mean, std))
        return (images - center) / spread

    return prepare


def _normalizations(
    mean: Numbers,
    std: Numbers,
    images: Tensor,
    others: Sequence[tuple[str, nn.Module]],
    steps: Preprocessing | None,
) -> Iterator[Alternative]:
    channels = len(mean)
    given = images.double() / 255
    own = given.mean((0, 2, 3)).tolist(), given.std((0, 2, 3)).clamp(min=1 / 255).tolist()
    tried = {name: (_fitting(m, channels), _fitting(s, channels)) for name, (m, s) in USUAL.items()}
    if channels == 1:
        tried |= GRAY
    tried["mean and standard deviation of these images"] = tuple(own[0]), tuple(own[1])
    for name, network in others:
        if (layer := preparing(network)) is not None:
            tried[f"the mean and standard deviation of {name}"] = _numbers(layer, channels)
    scaled = tuple(value / 255 for value in mean), tuple(value / 255 for value in std)
    tried["values of 0 to 255 before its normalization"] = scaled
    seen = [(mean, std)]
    for name, numbers in tried.items():
        if all(len(part) == channels for part in numbers) and not any(_alike(numbers, other) for other in seen):
            seen.append(numbers)
            yield Alternative(name, _through(*numbers, steps))


def _fitting(numbers: Numbers, channels: int) -> Numbers:
    return numbers if channels == len(numbers) else (sum(numbers) / len(numbers),) * channels


def _alike(one: tuple[Numbers, Numbers], other: tuple[Numbers, Numbers]) -> bool:
    """Whether two differ by less than a fiftieth of a standard deviation."""
    return all(
        abs(first - second) < ALIKE * spread
        for part in (0, 1)
        for first, second, spread in zip(one[part], other[part], other[1], strict=True)
    )


def _geometries(
    mean: Numbers, std: Numbers, steps: Preprocessing | None, others: Sequence[tuple[str, nn.Module]]
) -> Iterator[Alternative]:
    """Other sizes and crops; the network is given images of the size that it is given now."""
    if steps is None or not (steps.resize or steps.crop):
        name = "the middle seven eighths of each image"
        yield Alternative(name, lambda images: _through(mean, std, None)(_zoomed(images)))
        return
    size = steps.crop or steps.resize
    size = size if len(size) == 2 else size * 2
    short = min(size)
    tried = {
        f"the whole image resized to {size[0]}x{size[1]}": replace(steps, resize=size, crop=()),
        f"the shorter side resized to {short} and cropped": replace(steps, resize=(short,), crop=size),
        **{
            f"the shorter side resized to {int(short / share)} and cropped": replace(
                steps, resize=(int(short / share),), crop=size
            )
            for share in SHARES
        },
    }
    for name, network in others:
        layer = preparing(network)
        if isinstance(layer, Preprocess) and (layer.steps.crop or layer.steps.resize):
            same = replace(layer.steps, mean=steps.mean, std=steps.std)
            tried[f"the resizing and cropping of {name}"] = same
    seen = [steps]
    for name, other in tried.items():
        if other not in seen and _gives(other) == size:
            seen.append(other)
            yield Alternative(name, _through(mean, std, other))


def _gives(steps: Preprocessing) -> tuple[int, ...]:
    size = steps.crop or steps.resize
    return size if len(size) == 2 else size * 2


def _zoomed(images: Tensor) -> Tensor:
    height, width = images.shape[-2:]
    inner = max(1, round(height * SHARES[0])), max(1, round(width * SHARES[0]))
    return resized(center_crop(images, inner), (height, width), "bilinear")
