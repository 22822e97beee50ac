"""What a metric is: shares of samples, and a formula over them.

Every metric of the protocol is a function of mean values of per-sample indicators. So it is declared by two functions:
``columns`` turns an outcome into indicators ``[M,N]``, ``formula`` turns their means ``[...,M]`` into values
``[...,K]``. The leading axes let one call compute all bootstrap replicates at once. Authors use the two decorators:
:func:`rate` for a share of samples (exact interval) and :func:`statistic` for a formula of accuracies (bootstrap).

Axes: K eps, N samples, M columns, S seeds, R bootstrap replicates.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from tl_robust.metrics.estimate import Draws, clopper_pearson, estimate, korn_graubard, percentiles
from tl_robust.registry import Registry
from tl_robust.types import Curve, Outcome, View


@dataclass(frozen=True)
class Rates:
    """Accuracies that a statistic may combine; any leading axes.

    Accuracy under attack is the share of all samples that are right before and after it.

    Attributes:
        eps: ``[K]``.
        clean_a: Accuracy of the surrogate on clean images, ``[..., 1]``; 1 where it has other labels than the victim.
        clean_b: Accuracy of the victim on clean images, ``[..., 1]``.
        adv_a: Accuracy of the surrogate under its own adversarial images, ``[..., K]``.
        adv_b: Accuracy of the victim under the surrogate's adversarial images, ``[..., K]``.
        white_b: Accuracy of the victim under its own adversarial images, ``[..., K]``; NaN where it was not run.
    """

    eps: Tensor
    clean_a: Tensor
    clean_b: Tensor
    adv_a: Tensor
    adv_b: Tensor
    white_b: Tensor


@dataclass(frozen=True)
class Metric:
    """A registered metric.

    Attributes:
        columns: ``(outcome, white) -> [M,N]`` indicators, float64.
        formula: ``(means [...,M], eps [K]) -> [...,K]``, or ``[...,1]`` for a summary.
        kinds: ``K -> [P,M]``, what the columns of one sample may be at the extremes: the same at all eps.
        base: ``outcome -> [K,N] or [N]`` bool, the samples in the denominator.
        doc: First sentence of the author's docstring.
        unit: ``share``, ``ratio``, ``eps``.
        views: Views it means something in.
        higher_is_better: For the victim's owner; None where neither is.
        needs_white: Needs B's own outcome as the second argument.
        summary: One value for a whole curve instead of one per eps.
        exact: The value is a binomial share: the interval is Clopper and Pearson's.
    """

    columns: Callable[[Outcome, Outcome | None], Tensor]
    formula: Callable[[Tensor, Tensor], Tensor]
    kinds: Callable[[int], Tensor]
    base: Callable[[Outcome], Tensor]
    doc: str
    unit: str
    views: tuple[View, ...]
    higher_is_better: bool | None
    needs_white: bool
    summary: bool
    exact: bool

    def __call__(self, outcome: Outcome, white: Outcome | None = None) -> Tensor:
        """The value per eps.

        Args:
            outcome: What happened.
            white: B attacked directly with the same attack, eps and samples; only for metrics that need it.

        Returns:
            float64 ``[K]``, or ``[1]`` for a summary; NaN where the metric is undefined.
        """
        return self.formula(self._columns(outcome, white).mean(dim=1), outcome.eps)

    def curve(self, outcome: Outcome, white: Outcome | None = None) -> Curve:
        """The values with a 95 % interval over samples.

        Shares have Clopper and Pearson's exact interval (Biometrika 1934), other formulas a percentile bootstrap over
        samples (Efron and Tibshirani 1993, chapter 13) with a fixed seed.
        """
        return self.mean_curve([(outcome, white)])

    def mean_curve(self, seeds: Sequence[tuple[Outcome, Outcome | None]]) -> Curve:
        """The mean over seeds, with a 95 % interval over seeds and samples; see :func:`estimate`.

        With one seed the interval speaks of samples only. Undefined values are left out of a mean.

        Args:
            seeds: One ``(outcome, white)`` per seed, on the same samples and eps.
        """
        eps = seeds[0][0].eps
        if self.exact and len(seeds) == 1:
            value = self(*seeds[0])
            base = self._base(seeds, value)
            low, high = clopper_pearson((value * base[0]).round(), base[0])
        else:
            draws = self.draws(seeds)
            found = estimate(draws, floors=not self.exact)  # a share's interval knows of 0 of N by itself
            value, base = found.value, self._base(seeds, found.value)
            if self.exact:
                low, high = korn_graubard(found, base.double().mean(dim=0))
            else:
                low, high = percentiles(draws) if len(seeds) == 1 else found.interval()
            least, most = self._bounds(eps)
            low, high = torch.minimum(low.clamp(min=least), value), torch.maximum(high.clamp(max=most), value)
        low, high = (end.masked_fill(value.isnan(), torch.nan) for end in (low, high))
        return Curve(eps if not self.summary else eps[:0], value, low, high, base.sum(dim=0))

    def _base(self, seeds: Sequence[tuple[Outcome, Outcome | None]], like: Tensor) -> Tensor:
        """Samples in the denominator at each seed, int64 ``[S,K]``."""
        return torch.stack([self.base(outcome).sum(dim=-1).expand(len(like)) for outcome, _ in seeds])

    def draws(self, seeds: Sequence[tuple[Outcome, Outcome | None]]) -> Draws:
        """The values at every seed, as measured and with the samples drawn again.

        Args:
            seeds: One ``(outcome, white)`` per seed, on the same samples and eps.
        """
        eps = seeds[0][0].eps
        columns_SMN = torch.stack([self._columns(outcome, white) for outcome, white in seeds])
        return Draws.of(columns_SMN, lambda means: self.formula(means, eps), self.kinds(len(eps)))

    def _bounds(self, eps: Tensor) -> tuple[float, float]:
        """Ends of what the value can be."""
        return {"share": (0.0, 1.0), "eps": (float(eps.min()), float(eps.max()))}.get(self.unit, (-math.inf, math.inf))

    def _columns(self, outcome: Outcome, white: Outcome | None) -> Tensor:
        if self.needs_white and white is None:
            raise ValueError("this metric needs B's own outcome as the second argument: metric(black, white)")
        return self.columns(outcome, white)


METRICS: Registry[Metric] = Registry("metric", "tl_robust.metrics.named")


def rate(
    *, views: tuple[View, ...] = ("white", "black"), higher_is_better: bool | None = None
) -> Callable[[Callable[[Outcome], tuple[Tensor, Tensor]]], Metric]:
    """Register a share of samples; a decorator.

    The function returns ``(event [K,N], base [K,N] or [N])``, both bool: the value is the share of ``base`` in which
    ``event`` happened, NaN where ``base`` is empty.
    """

    def register(function: Callable[[Outcome], tuple[Tensor, Tensor]]) -> Metric:
        def columns(outcome: Outcome, white: Outcome | None) -> Tensor:
            event, base = function(outcome)
            base = base.expand_as(event)
            return torch.cat([event & base, base]).to(torch.float64)

        def formula(means: Tensor, eps: Tensor) -> Tensor:
            hits, base = means.split(len(eps), dim=-1)
            return hits / base

        def kinds(k: int) -> Tensor:
            return torch.tensor([[1.0] * 2 * k, [0.0] * k + [1.0] * k], dtype=torch.float64)  # in the base

        def base(outcome: Outcome) -> Tensor:
            return function(outcome)[1]

        return _register(function, columns, formula, kinds, base, "share", views, higher_is_better, exact=True)

    return register


def statistic(
    *,
    unit: str = "ratio",
    views: tuple[View, ...] = ("white", "black"),
    higher_is_better: bool | None = None,
    needs_white: bool = False,
    summary: bool = False,
) -> Callable[[Callable[[Rates], Tensor]], Metric]:
    """Register a formula of accuracies; a decorator.

    The function maps :class:`Rates` to ``[..., K]``, or ``[..., 1]`` with ``summary``.
    """

    def register(function: Callable[[Rates], Tensor]) -> Metric:
        def columns(outcome: Outcome, white: Outcome | None) -> Tensor:
            right_a = (outcome.clean_a == outcome.label_a)[None]
            right_b = (outcome.clean_b == outcome.label)[None]
            adv_a = right_a & (outcome.adv_a == outcome.label_a)
            adv_b = right_b & (outcome.adv_b == outcome.label)
            rows = torch.cat([right_a, right_b, adv_a, adv_b]).to(torch.float64)
            if white is None:
                return torch.cat([rows, torch.full(adv_b.shape, torch.nan, dtype=torch.float64)])
            return torch.cat([rows, (right_b & (white.adv_b == outcome.label)).to(torch.float64)])

        def formula(means: Tensor, eps: Tensor) -> Tensor:
            clean_a, clean_b, *curves = means.split([1, 1, len(eps), len(eps), len(eps)], dim=-1)
            order = eps.argsort() if summary else torch.arange(len(eps))  # a whole curve is read from left to right
            return function(Rates(eps[order], clean_a, clean_b, *(curve[..., order] for curve in curves)))

        def kinds(k: int) -> Tensor:
            of_a = ((0, 0), (1, 0), (1, 1))  # right before and after the attack
            of_b = ((0, 0, 0), (1, 0, 0), (1, 0, 1), (1, 1, 0), (1, 1, 1))  # and after B's own
            rows = [
                [a, b] + [adv_a] * k + [adv_b] * k + [white_b] * k
                for (a, adv_a), (b, adv_b, white_b) in product(of_a, of_b)
            ]
            return torch.tensor(rows, dtype=torch.float64)

        def base(outcome: Outcome) -> Tensor:
            return torch.ones_like(outcome.label, dtype=torch.bool)

        return _register(function, columns, formula, kinds, base, unit, views, higher_is_better, needs_white, summary)

    return register


def _register(
    function: Callable[..., object],
    columns: Callable[[Outcome, Outcome | None], Tensor],
    formula: Callable[[Tensor, Tensor], Tensor],
    kinds: Callable[[int], Tensor],
    base: Callable[[Outcome], Tensor],
    unit: str,
    views: tuple[View, ...],
    higher_is_better: bool | None,
    needs_white: bool = False,
    summary: bool = False,
    exact: bool = False,
) -> Metric:
    doc = (function.__doc__ or "").strip().split("\n\n")[0].replace("\n", " ")
    metric = Metric(columns, formula, kinds, base, doc, unit, views, higher_is_better, needs_white, summary, exact)
    return METRICS.register(metric, function.__module__)
