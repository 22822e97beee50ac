"""What a corruption of images promises: nothing at strength 0, the same again, and the same in any batch and order.

Axes: N images, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NoReturn, Protocol

import torch
from torch import Tensor

from tl_robust.contracts.contract import BrokenError, Contracts, NotAskedError, demand
from tl_robust.errors import ConfigError
from tl_robust.seeding import generator
from tl_robust.threats.corruption import Corruption, Draws


class Asked(Protocol):
    """What contracts of threats are asked of, as far as corruptions need it."""

    @property
    def threat(self) -> Any:
        """The threat."""


STRENGTHS = (0.0, 0.1, 0.5)
SHAPE = (6, 3, 32, 32)  # as those of the space of digits
TOLERANCE = 1e-6
DRAW = 'draw with draws.normal("name") or draws.uniform("name"), which are keyed by seed and sample'


def gives_finite_images_of_the_same_form(asked: Asked) -> None:
    """What a corruption gives has the shape and type of the images, has finite numbers, and leaves the images alone."""
    for corruption in _corruptions(asked):
        for strength in STRENGTHS:
            images = _images()
            after = _raw(corruption, images, torch.arange(len(images)), strength)
            at = f"at strength {strength:g}"
            expected = f"the images that it was given to stay as they are {at}"
            demand(torch.equal(images, _images()), expected, "others", "begin with images = images.clone()")
            form = f"{images.dtype} {list(images.shape)}"
            if not isinstance(after, Tensor):
                raise BrokenError(f"images {form} {at}", type(after).__name__, "return the corrupted images")
            got = f"{after.dtype} {list(after.shape)}"
            demand(got == form, f"images {form} {at}, as it was given", got, "return images of the same form")
            demand(after.isfinite().all(), f"finite numbers {at}", "others", "guard each division, root and logarithm")


def gives_the_images_back_at_strength_0(asked: Asked) -> None:
    """A corruption of strength 0 changes no pixel by more than 1e-6, so that a curve begins at the clean accuracy."""
    for corruption in _corruptions(asked):
        far = _far(_after(corruption, _images(), torch.arange(SHAPE[0]), 0.0), _images())
        todo = 'let every change grow from none at strength 0, such as images + strength * draws.normal("name")'
        demand(far <= TOLERANCE, "the images as they were at strength 0", _differ(far), todo)


def corrupts_alike_again_and_draws_by_its_draws(asked: Asked) -> None:
    """The same images are corrupted in the same way again, without a draw from torch's global generator."""
    for corruption in _corruptions(asked):
        for strength in STRENGTHS:
            state, ids = torch.get_rng_state(), torch.arange(SHAPE[0])
            first = _after(corruption, _images(), ids, strength)
            drawn = not torch.equal(torch.get_rng_state(), state)
            demand(not drawn, "no draw from torch's global generator", "one or more", DRAW)
            far = _far(_after(corruption, _images(), ids, strength), first)
            demand(far <= TOLERANCE, f"the same images again at strength {strength:g}", _differ(far), DRAW)


def corrupts_each_image_for_itself(asked: Asked) -> None:
    """An image is corrupted in the same way alone, in any batch and in any order."""
    for corruption in _corruptions(asked):
        for strength in STRENGTHS:
            images, ids = _images(), torch.arange(SHAPE[0])
            whole = _after(corruption, images.clone(), ids, strength)
            order = torch.tensor([3, 0, 5, 1, 4, 2])
            turned = _after(corruption, images[order], ids[order], strength)
            singles = [_after(corruption, images[i : i + 1].clone(), ids[i : i + 1], strength) for i in range(len(ids))]
            for what, other, same in (("in batches of 1", torch.cat(singles), whole), ("turned", turned, whole[order])):
                where = "in another order" if what == "turned" else what
                expected = f"the same images {where} at strength {strength:g}"
                far = _far(other, same)
                demand(far <= TOLERANCE, expected, _differ(far), f"{DRAW}, and take no mean over the batch")


OF_A_CORRUPTION = (
    gives_finite_images_of_the_same_form,
    gives_the_images_back_at_strength_0,
    corrupts_alike_again_and_draws_by_its_draws,
    corrupts_each_image_for_itself,
)


def add(contracts: Contracts) -> None:
    """Add what corruptions promise to the contracts of threats."""
    for function in OF_A_CORRUPTION:
        contracts(function)


def _corruptions(asked: Asked) -> Iterator[Corruption]:
    """The corruptions among the methods of a threat, with their own settings.

    Raises:
        NotAskedError: There is none.
    """
    kinds = [asked.threat.METHODS[name] for name in asked.threat.METHODS.names()]
    kinds = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Corruption)]
    if not kinds:
        raise NotAskedError("It corrupts no images by a Corruption.")
    for kind in kinds:
        try:
            made = kind()
        except ConfigError as error:
            _refuse(error)
        yield made


def _images() -> Tensor:
    """The same made images each time, float32 ``[6,3,32,32]`` in [0,1]; one is black, and one white."""
    images = torch.rand(SHAPE, generator=generator("images to corrupt"))
    images[1], images[2] = 0, 1
    return images


def _raw(corruption: Corruption, images: Tensor, ids: Tensor, strength: float) -> object:
    """What ``corrupt`` returns, whatever that is.

    Raises:
        NotAskedError: It refuses this strength in a sentence.
    """
    try:
        return corruption.corrupt(images, strength, Draws(0, ids, images))
    except ConfigError as error:
        _refuse(error)


def _after(corruption: Corruption, images: Tensor, ids: Tensor, strength: float) -> Tensor:
    """What a bench shows to a model.

    Raises:
        NotAskedError: It is no image of the right form, which another contract says.
    """
    try:
        return corruption.corrupted(images, strength, Draws(0, ids, images))
    except ConfigError as error:
        _refuse(error)


def _refuse(error: ConfigError) -> NoReturn:
    raise NotAskedError(f"It cannot be asked for this ({str(error).rstrip('.')}).") from error


def _far(left: Tensor, right: Tensor) -> float:
    return float((left - right).abs().max())


def _differ(far: float) -> str:
    return f"pixels that differ by up to {far:.3g}"
