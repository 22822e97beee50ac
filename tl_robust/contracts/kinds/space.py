"""What a space promises: images of any size and channels become bytes of one shape, and labels follow class names.

Axes: N images.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from tl_robust.contracts.component import shared
from tl_robust.contracts.contract import Contracts, Named, demand
from tl_robust.data.space import SPACES, Space, labels_of
from tl_robust.seeding import generator
from tl_robust.types import ImageSet

SIZES = ((1, 8), (1, 28), (3, 32), (3, 50))  # channels, side


def cases(named: Named) -> Iterator[tuple[str, Space]]:
    """The space with its own settings."""
    yield "", SPACES[named.name]()


CONTRACTS = Contracts("space", cases)
shared(CONTRACTS)


def images_of(channels: int, side: int, classes: int) -> ImageSet:
    """Random images, two a class."""
    count = 2 * classes
    pixels = torch.randint(0, 256, (count, channels, side, side), generator=generator(channels, side))
    return ImageSet(pixels.to(torch.uint8), torch.arange(count) % classes)


def _names(space: Space) -> tuple[str, ...]:
    own = ("ant", "bee", "crab")
    return labels_of(own, space.pair_classes(own, own)) if not space.classes else tuple(space.classes)


@CONTRACTS
def has_a_shape_and_different_classes(space: Space) -> None:
    """Its shape is three whole numbers, its inner side fits in, and no class is named twice."""
    shape = tuple(space.image_shape)
    right = len(shape) == 3 and all(isinstance(side, int) and side > 0 for side in shape)
    demand(right, "image_shape (C, H, W)", repr(space.image_shape), "set it to three whole numbers")
    inner = 0 < space.inner <= min(shape[1:])
    demand(inner, f"inner of 1 to {min(shape[1:])}", space.inner, "set it to the side before padding")
    classes = tuple(space.classes)
    demand(len(set(classes)) == len(classes), "different classes", repr(classes)[:60], "name each class once")


@CONTRACTS
def maps_images_of_any_size_into_its_shape(space: Space) -> None:
    """Gray and colored images of 8 to 50 pixels become uint8 of its shape, the same again, and stay as they were."""
    names = _names(space)
    for channels, side in SIZES:
        data = images_of(channels, side, len(names))
        before = data.images.clone()
        mapped, again = (space.map(data, names, names) for _ in range(2))
        what = f"uint8 {[len(data), *space.image_shape]} of images {[channels, side, side]}"
        form = "None" if mapped is None else f"{mapped.images.dtype} {list(mapped.images.shape)}"
        right = mapped is not None and mapped.images.dtype == torch.uint8
        right = right and mapped is not None and mapped.images.shape == (len(data), *space.image_shape)
        demand(right, what, form, "leave map to the base class, or keep what it promises")
        assert mapped is not None
        assert again is not None
        demand(torch.equal(mapped.images, again.images), "the same images again", "others", "draw nothing")
        demand(torch.equal(data.images, before), "the images to stay", "changed ones", "change a clone")


@CONTRACTS
def gives_labels_by_class_name(space: Space) -> None:
    """A class keeps its name wherever it stands, and images of classes that are not its own are left out."""
    names = _names(space)
    turned = (*names[::-1], "something else")
    data = images_of(3, 32, len(turned))
    mapped = space.map(data, turned, names)
    todo = "find the place of a label by the name of its class"
    if mapped is None:
        demand(False, "images of its classes", "none", todo)
        return
    expected = [names[::-1][label] for label in data.labels.tolist() if label < len(names)]
    found = [names[label] for label in mapped.labels.tolist()]
    demand(found == expected, f"classes {expected[:4]} ...", f"{found[:4]} ...", todo)
    nothing = space.map(data, ("other",) * len(turned), names)
    demand(nothing is None, "None where no image has a class of it", nothing, todo)
