"""A space: the common input shape and label set that source and target are mapped into."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad

from tl_robust.errors import DataError
from tl_robust.registry import Registry
from tl_robust.types import ImageSet


class Space:
    """Common input shape and classes; a subclass sets the three.

    Attributes:
        classes: Names of the classes, in label order.
        image_shape: ``(C, H, W)``.
        inner: Side that smaller images are resized to before they are padded to the full side.
    """

    VERSION: ClassVar[int] = 1
    classes: ClassVar[tuple[str, ...]]
    image_shape: ClassVar[tuple[int, int, int]]
    inner: ClassVar[int]

    def map(self, images: ImageSet, classes: tuple[str, ...], name: str) -> ImageSet:
        """Map a domain's images and labels into this space.

        Sides up to ``inner`` are resized to ``inner`` and padded, larger ones resized to the full side; gray images
        get equal channels. Labels follow the class names; samples of other classes are left out.

        Args:
            images: The domain's own images.
            classes: The domain's class names in label order.
            name: The domain's name, for errors.

        Raises:
            DataError: No class is shared.
        """
        place = {label: index for index, label in enumerate(self.classes)}
        labels = torch.tensor([place.get(label, -1) for label in classes])[images.labels]
        shared = labels >= 0
        if not bool(shared.any()):
            raise DataError(f"{name} shares no class with its space ({', '.join(self.classes)}).")
        if not bool(shared.all()):
            images, labels = images.take(shared.nonzero().squeeze(1)), labels[shared]
        return ImageSet(self._fit(images.images), labels)

    def _fit(self, images: Tensor) -> Tensor:
        channels, height, width = self.image_shape
        if images.shape[-2:] != (height, width):
            small = max(images.shape[-2:]) <= self.inner
            side = [self.inner, self.inner] if small else [height, width]
            if list(images.shape[-2:]) != side:
                resized = interpolate(images.to(torch.float32), side, mode="bilinear", antialias=True)
                images = resized.round().clamp(0, 255).to(torch.uint8)
            if small:
                rows, columns = height - self.inner, width - self.inner
                images = pad(images, [columns // 2, columns - columns // 2, rows // 2, rows - rows // 2])
        return images.expand(-1, channels, -1, -1).contiguous() if images.shape[1] == 1 else images


SPACES: Registry[type[Space]] = Registry("space", "tl_robust.data.spaces")
