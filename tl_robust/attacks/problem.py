"""One batch to attack: the surrogate, the clean images, the objective, the norm and the keyed random draws.

Axes: N samples, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from tl_robust.attacks.logits import finite_rows, fooled, margin
from tl_robust.attacks.norms import Norm, per_sample
from tl_robust.attacks.oracle import Model as Model
from tl_robust.attacks.oracle import Oracle, no_gradient
from tl_robust.attacks.reach import modules_behind
from tl_robust.seeding import derive, normal, uniform


@contextmanager
def attackable(*models: Model) -> Iterator[None]:
    """Put models in eval mode and freeze them, allow input gradients whatever the caller's mode, restore all after.

    Modules behind functions and objects are found, too: see :func:`tl_robust.attacks.reach.modules_behind`.
    """
    callables = (model.model if isinstance(model, Oracle) else model for model in models)
    modules = list(dict.fromkeys(module for model in callables for module in modules_behind(model)))
    modes = [(module, module.training) for model in modules for module in model.modules()]
    frozen = [
        parameter
        for model in modules
        for parameter in model.parameters()
        if parameter.requires_grad and not parameter.is_inference()  # torch refuses to give a gradient back to those
    ]
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        try:
            for model in modules:
                model.eval()
            for parameter in frozen:
                parameter.requires_grad_(False)
            yield
        finally:
            for module, training in modes:
                module.training = training
            for parameter in frozen:
                parameter.requires_grad_(True)


@dataclass(frozen=True)
class Seen:
    """What one evaluation at a batch of images showed.

    Attributes:
        loss: ``[N]``, what is maximized.
        gradient: ``[N,C,H,W]``, its gradient with respect to the images.
        fooled: bool ``[N]``, the model to be fooled is so at these very images: see :func:`logits.fooled`. None where
            the gradient was taken elsewhere (at transformed or neighboring images), and where gradients are those of
            another function and no attack asks since it takes all its steps anyway.
    """

    loss: Tensor
    gradient: Tensor
    fooled: Tensor | None = None


@dataclass(frozen=True)
class Notes:
    """What was seen on the way, for the trust checks; written by the first and the last evaluation of each sample.

    Attributes:
        zero: bool ``[N]``, the first gradient was zero in every pixel.
        first_loss: ``[N]``, loss at the first evaluation; NaN before it.
        last_loss: ``[N]``, loss at the last evaluation.
    """

    zero: Tensor
    first_loss: Tensor
    last_loss: Tensor

    @classmethod
    def blank(cls, count: int, device: torch.device) -> Notes:
        """Notes before the first evaluation."""
        nan = torch.full((count,), torch.nan, device=device)
        return cls(torch.zeros(count, dtype=torch.bool, device=device), nan, nan.clone())

    def write(self, place: Tensor, loss: Tensor, gradient: Tensor) -> None:
        """Take down one evaluation of the samples at ``place``."""
        fresh, loss = self.first_loss[place].isnan(), loss.float()
        if count := int(fresh.sum()):
            first, new, of_new = (gradient, place, loss)
            if count < len(fresh):
                first, new, of_new = gradient[fresh], place[fresh], loss[fresh]
            self.zero[new] = first.flatten(1).abs().amax(1) == 0  # a third of the time of any()
            self.first_loss[new] = of_new
        self.last_loss[place] = loss


class Goal(Protocol):
    """What an attack maximizes, as a problem asks it; :class:`Objective` is the base of all that are registered."""

    def observe(self, model: Model, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits, and what the loss looks at."""

    def loss(self, observed: Tensor, reference: Tensor) -> Tensor:
        """What is maximized, ``[N]``."""

    def reference(self, problem: Problem) -> Tensor:
        """What the loss compares with."""


class Problem:
    """What an attack works on. It is made by :meth:`Attack.craft`; attacks read it and ask it for gradients.

    Attributes:
        model: What gradients are taken of and the objective looks at: images in [0,1] to logits, checked, in eval mode
            and frozen; what else is asked of it, the surrogate has.
        guard: The model to be fooled: margin, success, early stop and the best image kept are read off it. It is the
            same as ``model`` unless an attacker goes around a defense; see ``attacks/through``.
        objective: What is maximized.
        clean: Clean images ``[N,C,H,W]``.
        label: int64 ``[N]``, the class that the model must no longer give.
        sample_id: int64 ``[N]``, keys of the random draws.
        seed: Seed of the random draws; each restart has its own.
        norm: Geometry.
        early: The model is the only victim: the first images that fool it are enough, and what fools it within a small
            eps does so within every larger one.
        fitted: What :meth:`Attack.fit` returned.
        strict: Logits that are not finite at the first question are refused; else, and later, they give no gradient.
        restart: Number of the restart, from 0.
    """

    def __init__(
        self,
        model: Model,
        objective: Goal,
        clean: Tensor,
        label: Tensor,
        sample_id: Tensor,
        seed: int,
        norm: Norm,
        early: bool = False,
        fitted: Any = None,
        strict: bool = False,
        guard: Model | None = None,
    ) -> None:
        self.model, self.objective, self.clean, self.label = Oracle.of(model, "the surrogate"), objective, clean, label
        self.guard = self.model if guard is None else Oracle.of(guard, "the surrogate")
        self.model.least = self.guard.least = max(2, int(label.max()) + 1) if len(label) else 2
        self.sample_id, self.seed, self.norm, self.early, self.fitted = sample_id, seed, norm, early, fitted
        self.strict = strict
        self._begun: list[bool] = []  # shared by all copies, of which only the first question of all is strict
        self.restart = 0
        self.notes = Notes.blank(len(clean), clean.device)
        self._place = torch.arange(len(clean), device=clean.device)
        self._reference: Tensor | None = None
        self._first: Seen | None = None

    def __len__(self) -> int:
        return len(self.clean)

    @property
    def reference(self) -> Tensor:
        """What the objective compares with, ``[N, ...]``: labels, clean features, ..."""
        if self._reference is None:
            self._reference = self.objective.reference(self).detach()
        return self._reference

    def gradient(self, images: Tensor, *, note: bool = True) -> Seen:
        """Loss and gradient at ``images [N,C,H,W]``; a sample's are free of its batch.

        What the clean images themselves gave is kept: ascents that start there for every eps share their first
        gradient. With ``note`` they are taken down in the notes; see :meth:`note`.
        """
        if images is self.clean:
            self._first = seen = self._first or self._evaluate(images)
        else:
            seen = self._evaluate(images)
        if note:
            self.note(seen)
        return seen

    def _evaluate(self, images: Tensor) -> Seen:
        reference = self.reference
        images = images.detach().requires_grad_()
        with torch.enable_grad():
            logits, observed = self.objective.observe(self.model, images)
            loss = self.objective.loss(observed, reference)
            gradient = torch.autograd.grad(loss.sum(), images, allow_unused=True)[0] if loss.requires_grad else None
        if gradient is None:
            raise no_gradient(self.model.name)
        logits = logits.detach()
        finite = self._finite(logits)
        if not bool(finite.all()):
            # A gradient of NaN would make the next images NaN, too.
            gradient = torch.where(per_sample(finite, gradient), gradient, 0.0)
        return Seen(loss.detach(), gradient, self._fooled(images, logits, finite))

    @torch.no_grad()
    def _fooled(self, images: Tensor, logits: Tensor, finite: Tensor) -> Tensor | None:
        """Whether the guard is fooled; it is asked again where ``logits`` are those of another function."""
        if self.guard is self.model:
            return fooled(logits, self.label, self.guard.rejects, finite)
        return fooled(self.guard(images.detach()), self.label, self.guard.rejects) if self.early else None

    def note(self, seen: Seen) -> None:
        """Take down what an evaluation showed: where tricks average over several, the mean."""
        self.notes.write(self._place, seen.loss, seen.gradient)

    @torch.no_grad()
    def loss(self, images: Tensor) -> Tensor:
        """The loss alone, ``[N]``; needs no gradient."""
        return self.objective.loss(self.objective.observe(self.model, images)[1], self.reference)

    @torch.no_grad()
    def margin(self, images: Tensor) -> Tensor:
        """Largest logit of another class minus that of the label, ``[N]``: above 0 where the guard is fooled.

        Infinite where the logits are not finite: the model then gives no prediction, so not the label either. Where
        the guard refuses the image it is 0 or less; see :mod:`tl_robust.attacks.logits`.
        """
        logits = self.guard(images)
        return margin(logits, self.label, self.guard.rejects).masked_fill(~self._finite(logits), torch.inf)

    def _finite(self, logits: Tensor) -> Tensor:
        """Which samples have a prediction, bool ``[N]``; at the first question all must where the problem is strict."""
        finite = finite_rows(logits)
        if self.strict and not self._begun:
            self._begun.append(True)
            self.model.refuse_unless(finite)
        return finite

    def clip(self, images: Tensor, eps: float) -> Tensor:
        """The images brought back into the eps ball around the clean ones and into [0,1], ``[N,C,H,W]``."""
        return self.norm.project(images - self.clean, eps).add_(self.clean).clamp_(0, 1)

    def random(self) -> Tensor:
        """A draw from the unit ball of the norm for each sample, ``[N,C,H,W]``, the same at every call."""
        return self.norm.random(self.seed, self.sample_id, self.clean)

    def uniform(self, shape: Sequence[int], *draw: int | str) -> Tensor:
        """Uniform numbers in [0,1), ``[N, *shape]``, keyed by sample and by the name of the draw."""
        return uniform(derive(self.seed, *draw), self.sample_id, shape).to(self.clean)

    def normal(self, shape: Sequence[int], *draw: int | str) -> Tensor:
        """Standard normal numbers ``[N,*shape]``, keyed in the same way."""
        return normal(derive(self.seed, *draw), self.sample_id, shape).to(self.clean)

    def take(self, index: Tensor) -> Problem:
        """The same for the samples at ``index`` (int64 ``[M]`` or bool ``[N]``)."""
        copy = self._copy()
        for name in ("clean", "label", "sample_id", "_place"):
            setattr(copy, name, getattr(self, name)[index])
        copy._reference = None if self._reference is None else self._reference[index]
        copy._first = None
        return copy

    def restarted(self, number: int) -> Problem:
        """The same with the random draws, and where the objective has several targets the target, of a restart."""
        if number == self.restart:
            return self
        copy = self._copy()
        copy.restart, copy._reference, copy._first = number, None, None
        copy.seed = derive(self.seed, "restart", number)
        return copy

    def towards(self, objective: Goal) -> Problem:
        """The same with another objective."""
        copy = self._copy()
        copy.objective, copy._reference, copy._first = objective, None, None
        return copy

    def _copy(self) -> Problem:
        copy = object.__new__(Problem)
        copy.__dict__.update(self.__dict__)
        return copy
