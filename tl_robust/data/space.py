"""A space: the common input shape and label set that source and target are mapped into."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad

from tl_robust.data.names import Names
from tl_robust.registry import Component, Registry
from tl_robust.types import ImageSet

CHUNK = 4096  # images resized at a time, since as floats they take four times their memory


class Space:
    """Common input shape and classes; a subclass sets the three attributes.

    Attributes:
        classes: Names of the classes, in label order.
        image_shape: ``(C, H, W)``.
        inner: Side that smaller images are resized to before they are padded to the full side.
    """

    VERSION: ClassVar[int] = 1
    classes: Names
    image_shape: tuple[int, int, int]
    inner: int

    def pair_classes(self, source: Names, target: Names) -> Names:
        """The classes of a pair in this space, in label order; empty where each domain keeps its own.

        Args:
            source: Class names of the source, in its label order; an empty name is no class.
            target: Class names of the target, likewise.
        """
        return self.classes

    def map(self, images: ImageSet, classes: Names, labels: Names) -> ImageSet | None:
        """Map a domain's images and labels into this space.

        Sides up to ``inner`` are resized to ``inner`` and padded, larger ones resized to the full side; gray images
        get equal channels. Labels follow the class names; samples of other classes are left out.

        Args:
            images: The domain's own images.
            classes: The domain's class names in its label order.
            labels: The class names in the new label order.

        Returns:
            The images that have one of these classes, or None where no image has.
        """
        place = {label: index for index, label in enumerate(labels)}
        mapped = torch.tensor([place.get(label, -1) for label in classes])[images.labels]
        shared = mapped >= 0
        if not bool(shared.all()):
            index = shared.nonzero().squeeze(1)
            if len(index) == 0:
                return None
            return ImageSet(self._fit(images.images[index]), mapped[index])
        return ImageSet(self._fit(images.images), mapped)

    def _fit(self, images: Tensor) -> Tensor:
        channels, height, width = self.image_shape
        if images.shape[-2:] != (height, width):
            small = max(images.shape[-2:]) <= self.inner
            side = [self.inner, self.inner] if small else [height, width]
            if list(images.shape[-2:]) != side:
                images = torch.cat([_resize(chunk, side) for chunk in images.split(CHUNK)])
            if small:
                rows, columns = height - self.inner, width - self.inner
                images = pad(images, [columns // 2, columns - columns // 2, rows // 2, rows - rows // 2])
        if images.shape[1] == 1:
            return images.expand(-1, channels, -1, -1).contiguous()
        return images


def _resize(images: Tensor, side: list[int]) -> Tensor:
    resized = interpolate(images.to(torch.float32), side, mode="bilinear", antialias=True)
    return resized.round().clamp(0, 255).to(torch.uint8)


def labels_of(own: Names, shared: Names) -> Names:
    """The labels of a domain: the pair's classes if it has any of them, else its own (an empty name is no class)."""
    return shared if set(own) & set(shared) - {""} else tuple(dict.fromkeys(name for name in own if name))


SPACES: Registry[type[Space]] = Registry("space", "tl_robust.data.spaces")


def get_space(space: Component) -> Space:
    """The space of a name with settings."""
    return SPACES[space.name](**dict(space.settings))
