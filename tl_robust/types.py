"""The records that layers hand to each other. All are frozen; tensors inside them are never modified.

Axes: K eps, N samples, C channels, H height, W width.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any, Generic, Literal

import torch
from torch import Tensor
from typing_extensions import TypeVar

from tl_robust.errors import ConfigError, DataError
from tl_robust.records import Record, column
from tl_robust.seeding import digest

View = str  # of a threat, such as white, black or shadow: whose model the attacker has
Level = Literal["green", "amber", "red"]


@dataclass(frozen=True)
class ImageSet:
    """Images and labels of one split of one domain.

    Attributes:
        images: uint8 ``[N,C,H,W]``.
        labels: int64 ``[N]``.

    Raises:
        DataError: Shapes or types differ from that, or there is no image.
    """

    images: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        images, labels = self.images, self.labels
        if images.dtype != torch.uint8 or images.ndim != 4:
            raise DataError(f"images must be uint8 [N,C,H,W], got {images.dtype} {list(images.shape)}.")
        if labels.dtype != torch.int64 or labels.shape != images.shape[:1]:
            raise DataError(
                f"labels must be int64 [{len(images)}], one for each image, got {labels.dtype} {list(labels.shape)}."
            )
        if len(labels) == 0:
            raise DataError("a split has no images: expected at least one.")

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: Tensor) -> ImageSet:
        """The samples at ``index`` (int64 ``[M]``), in that order."""
        return ImageSet(self.images.index_select(0, index), self.labels.index_select(0, index))

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of shape, pixels and labels."""
        content = hashlib.sha256(str(tuple(self.images.shape)).encode())
        content.update(self.images.contiguous().numpy().data)
        content.update(self.labels.contiguous().numpy().data)
        return content.hexdigest()


def _are_epochs(given: object) -> bool:
    return isinstance(given, tuple) and all(isinstance(epoch, int) and epoch >= 1 for epoch in given)


@dataclass(frozen=True)
class Recipe:
    """How one network is trained: stochastic gradient descent, as in the paper's public code.

    Attributes:
        epochs: Passes over the training part.
        batch_size: Images a step (on each device).
        lr: Learning rate, above 0.
        momentum: In [0, 1).
        nesterov: Nesterov's momentum.
        weight_decay: L2 penalty.
        lr_factor: The learning rate is multiplied by this ...
        lr_every: ... every so many epochs, or ...
        lr_at: ... after these epochs, where any are given.
        augment: What is done to training images, a name of ``data/augment.py``; never to those that are attacked.
        val_share: Share of the training split that is held out to choose the epoch, in (0, 0.5].
        select: ``best`` keeps the epoch with the highest validation accuracy (first of equals), ``last`` the last.
            ``test`` learns from the whole training split and keeps the epoch with the highest accuracy on the test
            split, as the paper's code does: results are then too good.
    """

    epochs: int = 10
    batch_size: int = 128
    lr: float = 0.01
    momentum: float = 0.5
    nesterov: bool = False
    weight_decay: float = 1e-6
    lr_factor: float = 0.5
    lr_every: int = 50
    lr_at: tuple[int, ...] = ()
    augment: str = "none"
    val_share: float = 0.1
    select: str = "best"

    def __post_init__(self) -> None:
        if isinstance(self.lr_at, list):  # as YAML has it
            object.__setattr__(self, "lr_at", tuple(self.lr_at))
        for name, good, expected in (
            ("epochs", self.epochs >= 1, "at least 1"),
            ("batch_size", self.batch_size >= 2, "at least 2"),
            ("lr", self.lr > 0, "above 0"),
            ("momentum", 0 <= self.momentum < 1, "in [0, 1)"),
            ("momentum", self.momentum > 0 or not self.nesterov, "above 0 with nesterov"),
            ("weight_decay", self.weight_decay >= 0, "at least 0"),
            ("lr_factor", 0 < self.lr_factor <= 1, "in (0, 1]"),
            ("lr_every", self.lr_every >= 1, "at least 1"),
            ("lr_at", _are_epochs(self.lr_at), "a list of epochs from 1 on"),
            ("val_share", 0 < self.val_share <= 0.5, "in (0, 0.5]"),
            ("select", self.select in ("best", "last", "test"), "best, last or test"),
        ):
            if not good:
                raise ConfigError(f"recipe.{name} must be {expected}, got {getattr(self, name)!r}.")


@dataclass(frozen=True)
class Outcome(Record):
    """The record of evasion: what happened when one victim met one surrogate's adversarial examples.

    Attributes:
        sample_id: int64 ``[N]``, place of the sample in the test split.
        label: int64 ``[N]``, true class.
        clean_a: int64 ``[N]``, class that the surrogate A predicts on the clean image.
        clean_b: int64 ``[N]``, the same for the victim B.
        adv_a: int64 ``[K,N]``, class that A predicts on the adversarial image.
        adv_b: int64 ``[K,N]``, the same for B.
        size: float32 ``[K,N]``, norm of the perturbation, measured after rounding to 8 bits, in [0,1] pixel units.
        eps: float64 ``[K]``, allowed norm in [0,1] pixel units.
        zero_gradient: bool ``[N]``, the surrogate's first gradient was zero in every pixel.
        valid: bool ``[K,N]``, the adversarial image is finite, in [0,1] and within eps.
        same_labels: bool ``[N]``, A names classes as B does; where not, A's own prediction on the clean image stood for
            the label in crafting, and A is fooled when it changes.
        loss_rise: float32 ``[N]``, what the objective gained from the first evaluation to the last, over all eps; 0
            where it was not seen.
    """

    AXIS = "eps"

    label: Tensor = column("N", torch.int64)
    clean_a: Tensor = column("N", torch.int64)
    clean_b: Tensor = column("N", torch.int64)
    adv_a: Tensor = column("K N", torch.int64)
    adv_b: Tensor = column("K N", torch.int64)
    size: Tensor = column("K N", torch.float32)
    eps: Tensor = column("K", torch.float64)
    zero_gradient: Tensor = column("N", torch.bool)
    valid: Tensor = column("K N", torch.bool)
    same_labels: Tensor = column("N", torch.bool)
    loss_rise: Tensor = column("N", torch.float32, optional=True)

    @property
    def label_a(self) -> Tensor:
        """int64 ``[N]``, the class that A is right to give: the label, or its own prediction where labels differ.

        -2, which no model gives, where A's own prediction would stand for the label and A made none (-1).
        """
        own = torch.where(self.clean_a < 0, -2, self.clean_a)
        return torch.where(self.same_labels, self.label, own)

    def worst(self, *others: Outcome) -> Outcome:
        """The worst case for B over several attacks, for each sample and eps alone: never more right than under any.

        It is the first of them under which B is fooled (another class than the label), else the first under which B
        gives no prediction (-1: it refused), else this one. Of clean images, where all should agree, the same. A
        gradient is zero where it was in every attack, and the loss rose as it did where it rose most.
        """
        outcomes = self.beside(*others)

        def first(name: str) -> Tensor:
            classes = torch.stack([getattr(outcome, name) for outcome in outcomes])
            return ((classes != self.label).long() * (1 + (classes >= 0).long())).argmax(0)

        zero = torch.stack([outcome.zero_gradient for outcome in outcomes]).all(0)
        rise = torch.stack([outcome.loss_rise for outcome in outcomes]).amax(0)
        chosen = self.chosen(outcomes, {"N": first("clean_b"), "K N": first("adv_b")})
        return replace(chosen, zero_gradient=zero, loss_rise=rise)


R = TypeVar("R", bound=Record, default=Outcome, covariant=True)


@dataclass(frozen=True)
class Curve:
    """A metric over eps, or what else stands on the axis of its threat, with its interval.

    Attributes:
        eps: ``[K]``, the ``x`` of the record, of evasion in [0,1] pixel units; empty for a metric that sums a whole
            curve up (then K is 1 below).
        value: ``[K]``; NaN where the metric is undefined.
        low: ``[K]``, lower end of the interval.
        high: ``[K]``, upper end.
        n: int64 ``[K]``, samples in the denominator.
    """

    eps: Tensor
    value: Tensor
    low: Tensor
    high: Tensor
    n: Tensor


@dataclass(frozen=True)
class Examination:
    """What the trust checks measured of one model on a sample of a test set; the same for all attacks on it.

    Attributes:
        sample_id: int64 ``[S]``, places of the examined samples in the test split, ascending.
        eps: float64 ``[E]``, the examined part of the eps grid, ascending and above 0, in [0,1] pixel units.
        seen: Measurements by name; each check says which it makes and what they mean.
    """

    sample_id: Tensor
    eps: Tensor
    seen: Mapping[str, Tensor]


@dataclass(frozen=True)
class Pictures:
    """A few samples as they were attacked, rounded to 8 bits; the same for all victims of these examples.

    Attributes:
        sample_id: int64 ``[M]``, places of the samples in the test split.
        eps: float64 ``[E]``, a part of the eps grid, ascending and above 0, in [0,1] pixel units.
        clean: uint8 ``[M,C,H,W]``.
        adversarial: uint8 ``[E,M,C,H,W]``.
        classes: Names of the test set's classes, in label order.
    """

    sample_id: Tensor
    eps: Tensor
    clean: Tensor
    adversarial: Tensor
    classes: tuple[str, ...]


@dataclass(frozen=True)
class Evidence(Generic[R]):
    """All that a trust check may look at; without a parameter, of evasion.

    Attributes:
        outcome: What happened to every sample.
        beside: Other records of the same samples by name, as :attr:`Result.beside`.
        surrogate: The examination of A; None where none was made.
        victim: The same of B.
        iterates: The attack refines its images in many steps or queries.
        twins: Cells of other settings whose outcome is bit for bit the same, in words that name both.
        untried: Why no attack knows the defense of B; empty where one does, and where there is no defense.
    """

    outcome: R
    beside: Mapping[str, R] = field(default_factory=dict)
    surrogate: Examination | None = None
    victim: Examination | None = None
    iterates: bool = True
    twins: tuple[str, ...] = ()
    untried: str = ""

    @property
    def white(self) -> R | None:
        """B attacked directly with the same attack; None where it was not run."""
        return self.beside.get("white")


@dataclass(frozen=True)
class Verdict:
    """Whether a number is to be believed.

    Attributes:
        level: ``green``, ``amber`` or ``red``.
        reasons: One clear sentence for each check that is not green.
    """

    level: Level = "green"
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class Cell:
    """The coordinates of one point of the grid, as they stand in ``table.csv``.

    A coordinate that came later has a default and stands last: where it is at its default, the cell has the key that it
    had before.
    """

    bench: str
    source: str
    target: str
    network: str
    strategy: str
    common: str
    defense: str
    attack: str
    norm: str
    view: View
    seed: int
    target_images: int
    threat: str = "evasion"

    def coordinates(self) -> dict[str, str | int]:
        """Fields by name without those at their default: what keys are digests of."""
        defaults = {item.name: item.default for item in fields(self)}
        return {name: value for name, value in vars(self).items() if value != defaults[name]}

    def key(self, outcome: str, beside: Mapping[str, str]) -> str:
        """16 hex digits of the SHA-256 of coordinates and keys of records: the id of its W&B run and its file's name.

        Args:
            outcome: Key of its record.
            beside: Keys of the records beside it, by name.
        """
        others = {name: key for name, key in beside.items() if name != "white"}
        return digest([self.coordinates(), outcome, beside.get("white"), *[others] * bool(others)])[:16]

    def __str__(self) -> str:
        common = f" via {self.common}" if self.common else ""
        threat = f"{self.threat}, " if "threat" in self.coordinates() else ""
        return (
            f"{threat}{self.source} to {self.target} ({self.target_images} images), {self.strategy}{common}, "
            f"{self.attack} {self.norm}, {self.view}, seed {self.seed}"
        )


@dataclass(frozen=True)
class Face:
    """How readers meet a threat: what tables, charts and dashboards say of it.

    Attributes:
        threat: Its registered name.
        title: What its main chart shows.
        axis: What the column ``eps`` of its tables holds: ``eps``, or another x axis.
        headline: The metric of the main chart, of the first section and of the terminal.
        views: What the attacker may know, by name, with a heading for each.
        charts: Metrics that are drawn, too.
        notes: What must be said of a metric wherever it is shown, by its name.
        prefix: Begins the names of its metrics in Weights & Biases.
        baseline: Where on the axis nobody attacks; None where that is nowhere.
        terms: Its name in other taxonomies, by taxonomy.
    """

    threat: str
    title: str
    axis: str
    headline: str
    views: Mapping[str, str]
    charts: tuple[str, ...] = ()
    notes: Mapping[str, str] = field(default_factory=dict)
    prefix: str = ""
    baseline: float | None = None
    terms: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Result(Generic[R]):
    """Everything known of one cell; without a parameter, of evasion.

    Attributes:
        key: See :meth:`Cell.key`.
        cell: Coordinates.
        outcome: The record of every sample.
        beside: Other records of the same samples by name: ``white``, B attacked directly with the same attack;
            ``plain``, a defended B without the attacks that know its defense. What was not run is absent.
        curves: Metric name to curve.
        verdict: Trust.
        provenance: Keys of A, B and outcome, versions, device, commit, seconds.
        doubts: Trust in metrics that rest on another record, by name.
    """

    key: str
    cell: Cell
    outcome: R
    beside: Mapping[str, R]
    curves: Mapping[str, Curve]
    verdict: Verdict
    provenance: Mapping[str, Any] = field(default_factory=dict)
    doubts: Mapping[str, Verdict] = field(default_factory=dict)

    def trust(self, metric: str) -> Verdict:
        """Trust in a metric."""
        return self.doubts.get(metric, self.verdict)
