"""A model as it is asked: what it must return, in which precision, and that it may spoil what it is given.

Axes: N samples, L classes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from tl_robust.attacks.logits import finite_rows
from tl_robust.attacks.logits import predicted as predicted
from tl_robust.attacks.reach import guard_in, modules_behind
from tl_robust.errors import ConfigError

Model = Callable[[Tensor], Tensor]
HALF = (torch.float16, torch.bfloat16)
_ENTRIES = ("logits", "out", "output", "outputs", "scores", "preds")  # under which keys models return their logits
_PRECISION = re.compile(r"dtype|scalar type|[Ii]nput type|tensor type")


class Oracle:
    """A model that is asked for logits: every question of an attack or a judge goes through here.

    Anything but floating-point logits ``[N,L]`` with two or more classes that cover the labels is refused with one
    sentence that says what to write. Logits of half precision come back in float32.

    A model of another precision than the images is asked in its own. A model that changes its input in place gets a
    copy. Both are found out by the first questions, so that a plain model is asked as if it stood here itself.
    Other attributes are the model's.

    Args:
        model: Any callable from images in [0,1] to logits.
        name: As messages name it.

    Attributes:
        model: The model.
        least: Number of classes that the labels need.
        rejects: The model has one logit more than classes, the last: it refuses where that is the largest.

    Raises:
        ConfigError: Not callable.
    """

    def __init__(self, model: Model, name: str = "the model") -> None:
        if not callable(model):
            raise ConfigError(f"{name} must be a callable from images to logits, got {type(model).__name__}.")
        self.model, self.name = model, name
        self.least = 2
        guard = guard_in(model)
        self.rejects = guard is not None and guard.rejects
        self._copies: bool | None = None  # it changes its input in place; None: not known yet
        self._dtype: torch.dtype | None = None  # its precision, where it refuses that of the images

    @classmethod
    def of(cls, model: Model, name: str = "the model") -> Oracle:
        """The oracle of a model; an oracle is its own."""
        return model if isinstance(model, cls) else cls(model, name)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "model":  # copy and pickle ask for these before there is a model
            raise AttributeError(name)
        return getattr(self.model, name)

    @property
    def plain(self) -> bool:
        """Whether it takes the images as they are, so far as is known."""
        return not self._copies and self._dtype is None

    def __call__(self, images: Tensor) -> Tensor:
        """Logits ``[N,L]`` of images ``[N,C,H,W]``, which may hold values that are not finite.

        Raises:
            ConfigError: What the model returned is no such tensor, or it cannot take the images.
        """
        logits = self._output(images)
        what = _what_else(logits) or _shape(logits, len(images), self.least, self.rejects)
        if what:
            raise ConfigError(
                f"{self.name} must return logits [{len(images)}, classes], one row an image and one column a class, "
                f"{what}."
            )
        return logits.float() if logits.dtype in HALF else logits

    def classes(self, images: Tensor) -> Tensor:
        """Predicted classes, int64 ``[N]``; -1 where there is no prediction: see :func:`predicted`."""
        return predicted(self(images), self.rejects)

    def finite_classes(self, images: Tensor) -> Tensor:
        """The same where all logits must be finite.

        Raises:
            ConfigError: They are not.
        """
        logits = self(images)
        self.refuse_unless(finite_rows(logits))
        return predicted(logits, self.rejects)

    def refuse_unless(self, finite: Tensor) -> None:
        """Refuse logits that are no prediction.

        Args:
            finite: bool ``[N]``, whether the logits of a sample are finite.

        Raises:
            ConfigError: One is not.
        """
        bad = int((~finite).sum())
        if bad:
            raise ConfigError(
                f"{self.name} gives logits that are not finite (NaN or infinite) for {bad} of {len(finite)} images, "
                "which is no prediction: look for weights that diverged, a division by zero or a logarithm of 0."
            )

    def _output(self, images: Tensor) -> Any:
        asked = images if self._dtype is None else images.to(self._dtype)
        if asked is images and (self._copies is not False or images.is_inference()):
            asked = images.clone()
        before = _version(asked)
        try:
            output = self.model(asked)
        except RuntimeError as error:
            return self._otherwise(images, error)
        changed = _version(asked) != before
        if asked is images and changed:
            raise ConfigError(
                f"{self.name} changes the images that it is given in place, now and then: write "
                "lambda images: model(images.clone())."
            )
        if self._copies is None and asked.dtype == images.dtype:
            self._copies = changed or not torch.equal(
                asked, images
            )  # a change by images.data.sub_ does not raise the version
        return output

    def _otherwise(self, images: Tensor, error: RuntimeError) -> Any:
        """Ask again in a way that the model can answer, or say what it needs; other errors are the model's own."""
        text = str(error)
        if "leaf" in text and "in-place" in text and not self._copies:
            self._copies = True
            return self._output(images)
        if "nference tensor" in text:
            raise ConfigError(
                f"{self.name} has weights that were made in inference mode, which give no gradient: make or load it "
                "outside torch.inference_mode, or write copy.deepcopy(model) there."
            ) from error
        if not _PRECISION.search(text):
            raise error
        own = _precision(self.model)
        if own not in (None, images.dtype, self._dtype):
            self._dtype = own
            return self._output(images)
        raise ConfigError(
            f"{self.name} does not take images of {images.dtype} ({text.splitlines()[0].rstrip('.')}): give it the "
            "precision of the images, such as model.float(), or cast inside it."
        ) from error


def no_gradient(name: str) -> ConfigError:
    """The refusal of a model that a gradient attack cannot use."""
    return ConfigError(
        f"{name} gives no gradient with respect to the images: take torch.no_grad, inference_mode, detach or numpy "
        "out of its forward pass, or use an attack that needs none, such as square."
    )


def _what_else(output: object) -> str:
    """What stands in place of a tensor of floating-point numbers, and what to write; empty where it is one."""
    if isinstance(output, Tensor):
        if output.is_floating_point():
            return ""
        shape = f"{output.dtype} {list(output.shape)}"
        if output.is_complex():
            return f"got complex numbers ({shape}): return real ones"
        return f"got whole numbers ({shape}): return the logits themselves, not the classes that argmax makes of them"
    kind = type(output).__name__
    if isinstance(getattr(output, "logits", None), Tensor):
        return f"got an object {kind} with logits: write lambda images: model(images).logits"
    if isinstance(output, Mapping):
        key = next((key for key in _ENTRIES if isinstance(output.get(key), Tensor)), None)
        if key:
            return f'got a dictionary: write lambda images: model(images)["{key}"]'
        return f"got a dictionary of {', '.join(map(repr, list(output)[:5])) or 'nothing'}: return the logits alone"
    if isinstance(output, tuple | list) and output:
        return f"got a {kind} of {len(output)}: write lambda images: model(images)[0] where the logits come first"
    if output is None:
        return "got None: let its forward pass return them"
    return f"got {kind}: return a tensor"


def _shape(logits: Tensor, count: int, least: int, rejects: bool) -> str:
    """What is wrong with the shape, and what to write; empty where nothing is."""
    shape = list(logits.shape)
    if logits.ndim == 2 and shape[0] == count and shape[1] >= least + rejects:
        return ""
    if shape in ([count], [count, 1]):
        join = "torch.stack" if logits.ndim == 1 else "torch.cat"
        return (
            f"got one number an image ({shape}): make two columns of a single logit z by "
            f"{join}([torch.zeros_like(z), z], 1)"
        )
    if logits.ndim != 2:
        todo = "write .flatten(1) behind it" if set(shape[2:]) == {1} else "reduce it to one row an image"
        return f"got {shape}: {todo}"
    if shape[0] != count:
        return f"got {shape}: return one row for each of the {count} images"
    more = " and one logit more, for what the model refuses" if rejects else ""
    return f"got {shape}, but labels up to {least - 1} need {least} classes{more}: check labels and model"


def _precision(model: Model) -> torch.dtype | None:
    """Type of the first floating-point weights."""
    tensors = chain.from_iterable(chain(module.parameters(), module.buffers()) for module in modules_behind(model))
    return next((tensor.dtype for tensor in tensors if tensor.is_floating_point()), None)


def _version(tensor: Tensor) -> int:
    return -1 if tensor.is_inference() else tensor._version
