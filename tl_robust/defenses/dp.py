"""Differential privacy: the gradient of each image is clipped, and noise is added to every step.

Source: Abadi et al., "Deep Learning with Differential Privacy", CCS 2016; accountant: Gopi et al., "Numerical
Composition of Differential Privacy", NeurIPS 2021. Steps and accountant are those of opacus.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, ClassVar

from torch import Generator, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer
from typing_extensions import override

from tl_robust.defenses.adaptive import Adaptive
from tl_robust.defenses.base import DEFENSES, Defense, Loader, Task
from tl_robust.errors import ConfigError
from tl_robust.registry import Component, Scalar
from tl_robust.seeding import derive
from tl_robust.types.terms import NIST, Terms

ACCOUNTANTS = ("prv", "rdp")
EPSILON_ERROR = 0.01  # of the PRV accountant; its upper bound is what is claimed
DELTA_ERROR = 1e-3  # the same, as a share of delta
TOLERANCE = 0.01  # how much of epsilon the noise may leave unused
OPTIONS = {  # of the Trainer, with the values at which every step is the one that is counted
    "devices": ("1",),
    "num_nodes": ("1",),
    "precision": ("32", "32-true", "64", "64-true"),
    "accumulate_grad_batches": ("1",),
    "gradient_clip_val": ("0", "0.0"),
    "limit_train_batches": ("1.0",),
    "overfit_batches": ("0", "0.0"),
    "max_steps": ("-1",),
    "max_time": (),
    "fast_dev_run": ("False",),
}


@DEFENSES.register
@dataclass(frozen=True)
class Dp(Defense):
    """Training with differential privacy for each image of the victim's training part, whose number is not private.

    A batch is a Poisson sample. The gradient of each image is clipped to norm ``clip``, Gaussian noise of deviation
    noise x clip is added to their sum, and it is divided by the expected size; an empty batch is noise alone. A claim
    is about adding or removing one image, counted over all steps. Draws follow from the key, so
    that a claim holds for who does not know the key. A step takes 6 times as long as without for 60 images and 9 times
    for 240 (dtn of width 0.25, one CPU core).

    Attributes:
        epsilon: What is claimed, from 0.05 to 100; the noise follows from it, where ``noise`` is not given.
        delta: Above 0 and below 1 / n for n images.
        clip: Norm that the gradient of an image is clipped to, above 0.
        sampling: Chance of each image to be in a batch, above 0, at most 1; an epoch has the rounded inverse of steps.
        lr: Learning rate in place of the recipe's; 0: the recipe's. One that is tuned on private images is a leak.
        noise: Noise multiplier, at least 0, in place of the one that follows from ``epsilon``: nothing is claimed then.
            0 is the control arm of clipping without noise, 1000 must give chance; -1: from ``epsilon``.
        accountant: ``prv``, or ``rdp``: Renyi orders, which ask for about a tenth more noise.
    """

    TERMS: ClassVar[Terms] = {NIST: "mitigation, differential privacy"}

    epsilon: float = 8.0
    delta: float = 1e-4
    clip: float = 1.0
    sampling: float = 0.2
    lr: float = 0.0
    noise: float = -1.0
    accountant: str = "prv"

    def __post_init__(self) -> None:
        for name, good, expected in (
            ("epsilon", 0.05 <= self.epsilon <= 100, "from 0.05, near the accountant's own error, to 100"),
            ("delta", 0 < self.delta < 1, "above 0 and below 1 / n for n images"),
            ("clip", 0 < self.clip < math.inf, "above 0"),
            ("sampling", 0 < self.sampling <= 1, "above 0 and at most 1"),
            ("lr", 0 <= self.lr < math.inf, "above 0, or 0 for the recipe's"),
            ("noise", self.noise == -1 or 0 <= self.noise < math.inf, "at least 0, or -1 for that of epsilon"),
            ("accountant", self.accountant in ACCOUNTANTS, " or ".join(ACCOUNTANTS)),
        ):
            if not good:
                raise ConfigError(f"setting {name!r} of defense 'dp' must be {expected}, got {getattr(self, name)}.")

    @property
    @override
    def privacy(self) -> tuple[float, float] | None:
        return (self.epsilon, self.delta) if self.noise == -1 else None

    @property
    @override
    def component(self) -> Component:
        """With what is claimed, even where it is the default: no table and no key is without epsilon and delta."""
        own = super().component
        claimed = {"epsilon": self.epsilon, "delta": self.delta} if self.privacy else {}
        return replace(own, settings=tuple(sorted((dict(own.settings) | claimed).items())))

    def multiplier(self, steps: int) -> float:
        """The noise multiplier of so many steps."""
        if self.noise != -1:
            return self.noise
        return _multiplier(self.accountant, self.epsilon, self.delta, self.sampling, steps)

    def spent(self, steps: int) -> float:
        """Epsilon of so many steps at :attr:`delta`; infinite without noise."""
        noise = self.multiplier(steps)
        return _epsilon(self.accountant, noise, self.delta, self.sampling, steps) if noise else math.inf

    @override
    def account(self, epochs: int, samples: int) -> dict[str, Any]:
        steps = epochs * max(1, round(1 / self.sampling))
        noise, spent = self.multiplier(steps), self.spent(steps)
        return {
            "accountant": self.accountant,
            "opacus": _opacus().__version__,
            "epsilon": self.epsilon if self.privacy else None,
            "delta": self.delta,
            "clip": self.clip,
            "sampling": self.sampling,
            "noise": noise,
            "steps": steps,
            "images": samples,
            "spent": spent if spent < math.inf else None,
        }

    @override
    def check(self, task: Task, samples: int, options: Mapping[str, Scalar]) -> None:
        opacus = _opacus()
        for name, usual in OPTIONS.items():
            if (value := options.get(name)) is not None and str(value) not in usual:
                raise ConfigError(
                    f"defense 'dp' counts every step, on one device and in full precision: leave out "
                    f"trainer.{name}={value}."
                )
        if task.recipe.select != "last":
            raise ConfigError(
                f"defense 'dp' needs recipe.select=last, got {task.recipe.select!r}: a choice of the epoch is not in "
                "its account."
            )
        if self.delta * samples >= 1:
            raise ConfigError(
                f"setting 'delta' of defense 'dp' must be below 1 / n = {1 / samples:.2g} for the {samples} images "
                f"that are learned from, got {self.delta:g}."
            )
        if not task.steady:
            raise ConfigError(
                "what is frozen changes during this training, which defense 'dp' cannot follow: fine-tune with mode: "
                "full, frozen_bn or probe."
            )
        for module in task.network.modules():
            own = [weight for weight in module.parameters(recurse=False) if weight.requires_grad]
            if isinstance(module, _BatchNorm) and (own or module.training):
                raise ConfigError(
                    "BatchNorm mixes the images of a batch, so that defense 'dp' cannot train it: use a network with "
                    "norm: group, or fine-tune with mode: frozen_bn or mode: probe."
                )
            if isinstance(module, nn.GroupNorm) and module.num_groups == module.num_channels and own:
                raise ConfigError("GroupNorm of one channel a group may erase its input: use fewer groups.")
        try:
            opacus.grad_sample.GradSampleHooks(task.network).cleanup()
        except NotImplementedError as error:
            cause = " ".join(str(error).split())[:200]
            raise ConfigError(
                f"defense 'dp' cannot tell the gradients of single images in this network: {cause}"
            ) from error

    @override
    def optimizer(self, task: Task, optimizer: Optimizer, batches: Loader, seed: int) -> Optimizer:
        self.check(task, batches.samples, {})
        trainer = getattr(task, "trainer", None)
        if trainer is not None and (trainer.world_size > 1 or trainer.accumulate_grad_batches > 1):
            raise ConfigError("defense 'dp' needs one device, and trainer.accumulate_grad_batches=1.")
        if getattr(batches, "sampling", 0.0) != self.sampling:
            raise ConfigError(f"defense 'dp' needs Poisson batches: give the data module sampling={self.sampling:g}.")
        steps = task.recipe.epochs * len(batches)
        if self.lr and task.global_step == 0:
            for group in optimizer.param_groups:
                group["lr"] = self.lr
        expected = max(1.0, self.sampling * batches.samples)
        return _private(task, optimizer, self.multiplier(steps), self.clip, expected, steps, seed)

    @override
    def adaptive(self) -> tuple[Adaptive, ...]:
        return (
            Adaptive("It changes the training and nothing about the answers: the network's own gradient."),
            Adaptive("What one image can do is bounded, so more images are poisoned.", backdoor="rate=0.2"),
        )


def _opacus() -> Any:
    try:
        import opacus.accountants.utils
        import opacus.grad_sample
        import opacus.optimizers
    except ImportError:
        raise ConfigError("defense 'dp' needs opacus: pip install 'tl_robust[dp]'.") from None
    return opacus


@cache
def _epsilon(accountant: str, noise: float, delta: float, sampling: float, steps: int) -> float:
    counting = _opacus().accountants.create_accountant(mechanism=accountant)
    counting.history = [(noise, sampling, steps)]
    errors = {"eps_error": EPSILON_ERROR, "delta_error": delta * DELTA_ERROR} if accountant == "prv" else {}
    with warnings.catch_warnings():  # the bound by Renyi orders, which PRV only limits its mesh with
        warnings.filterwarnings("ignore", "Optimal order is the")
        return float(counting.get_epsilon(delta, **errors))


@cache
def _multiplier(accountant: str, epsilon: float, delta: float, sampling: float, steps: int) -> float:
    """The least noise found for which epsilon is not exceeded, and missed by at most :data:`TOLERANCE`.

    Epsilon falls nearly as a power of the noise, so each guess lies on the line through the two ends of the bracket on
    logarithmic scales: a few calls of an accountant that takes a quarter of a second, where halving needs a dozen.
    """

    def of(noise: float) -> float:
        return _epsilon(accountant, noise, delta, sampling, steps)

    low = high = 1.0
    while of(high) > epsilon:
        low, high = high, 2 * high
    while of(low) <= epsilon:
        low, high = low / 2, low
    aim = epsilon - TOLERANCE / 2
    while epsilon - of(high) > TOLERANCE:
        share = math.log(of(low) / aim) / math.log(of(low) / of(high))
        noise = low * (high / low) ** min(max(share, 0.05), 0.95)
        low, high = (noise, high) if of(noise) > epsilon else (low, noise)
    return high


def _private(
    task: Task, inner: Optimizer, noise: float, clip: float, expected: float, steps: int, seed: int
) -> Optimizer:
    opacus = _opacus()

    class Private(opacus.optimizers.DPOptimizer):  # type: ignore[misc, name-defined]
        """Draws of a step are keyed by its number, empty batches are steps, and none is taken beyond the account."""

        def pre_step(self, closure: Any = None) -> Any:
            step = task.global_step
            if step >= steps:
                raise ConfigError(f"defense 'dp' has counted {steps} steps, and the Trainer goes on: let it end there.")
            if any(len(weight.grad_sample) for weight in self.params if weight.grad_sample is not None) is False:
                for weight in self.params:
                    weight.grad_sample = weight.new_zeros((0, *weight.shape))
            self.generator.manual_seed(derive("noise", seed, step))
            return super().pre_step(closure)

        def step(self, closure: Any = None) -> Any:
            last = task.global_step + 1 == steps
            result = super().step(closure)
            if last:
                hooks.cleanup()
            return result

    hooks = opacus.grad_sample.GradSampleHooks(task.network)
    device = next(task.network.parameters()).device
    return Private(
        inner,
        noise_multiplier=noise,
        max_grad_norm=clip,
        expected_batch_size=expected,
        generator=Generator(device),
    )
