"""Exposure of given models: no config, no store. ``tl_robust.exposure(models, members, images, labels)``.

Axes: M models, S shadows, N samples, Z samples that no model learned from, L classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from tl_robust.errors import ConfigError
from tl_robust.inference import get
from tl_robust.inference.base import Inference, ShadowInference
from tl_robust.inference.scoring import scored
from tl_robust.metrics import curves
from tl_robust.types import Curve, Exposure, Signals

BATCH = 500  # images that a model is asked about at a time
Asked = Callable[[Tensor], Tensor] | Tensor | tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Exposed:
    """What given models give away.

    Attributes:
        record: Scores and members; its models stand in pairs.
        order: int64 ``[M]``, which of the given models stands at each place of the record.
    """

    record: Exposure
    order: Tensor

    @cached_property
    def curves(self) -> dict[str, Curve]:
        """All metrics by name, each with its 95 % interval over pairs and samples."""
        return curves(self.record, "target", {})

    def __getitem__(self, metric: str) -> tuple[float, float, float]:
        """Value of a metric, and both ends of its interval."""
        if metric not in self.curves:
            raise ConfigError(f"no metric {metric!r} of these models. Known: {', '.join(sorted(self.curves))}.")
        curve = self.curves[metric]
        return float(curve.value[-1]), float(curve.low[-1]), float(curve.high[-1])


def exposure(
    models: Sequence[Asked],
    members: Tensor,
    images: Tensor | None,
    labels: Tensor,
    inference: str | Inference = "rmia",
    *,
    population: tuple[Tensor | None, Tensor] | None = None,
    parent: Asked | None = None,
    shadows: Sequence[Asked] = (),
    shadow_members: Tensor | None = None,
) -> Exposed:
    """How well an attacker tells what models learned from.

    Models come in pairs that learned complementary halves, in any order; each is attacked with the models of the other
    pairs as shadows, or with ``shadows``, less those that know its own halves.

    Args:
        models: M models, each a module or function from images to logits ``[N,L]`` (as it is: call ``eval()`` before),
            or its logits ``[N,L]``, or its logits of the images and of the population, ``([N,L], [Z,L])``.
        members: Bool ``[M,N]``, what each learned from.
        images: What the models take, the first axis N; None where all logits are given.
        labels: int64 ``[N]``.
        inference: A name, or what :func:`tl_robust.inference.get` gives; it may say fewer shadows.
        population: Images (None where logits are given) and labels of samples that no model learned from.
        parent: The public model that all started from.
        shadows: S models of which the attacker knows what they learned, in pairs as well.
        shadow_members: Bool ``[S,N]``.

    Raises:
        ConfigError: Something of another shape or type, not finite, or not in pairs.

    >>> draws = torch.Generator().manual_seed(0)
    >>> heads = torch.rand(4, 300, generator=draws) < 0.5
    >>> members, labels = torch.cat([heads, ~heads]), torch.arange(300) % 10
    >>> logits = torch.randn(8, 300, 10, generator=draws)
    >>> logits[:, torch.arange(300), labels] += members.float()
    >>> exposed = exposure(list(logits), members, None, labels, inference="calibrated")
    >>> value, low, high = exposed["auc"]
    >>> 0.5 < low < value < high < 1
    True
    """
    samples = len(labels) if isinstance(labels, Tensor) else 0
    _check_labels("labels", labels)
    order = _paired("members", members, len(models), samples)
    attack = get(inference, pairs=max(len(models) // 2, 3)) if isinstance(inference, str) else inference
    if not shadows and len(models) // 2 < attack.LEAST:
        raise ConfigError(
            f"{attack.name} needs at least {attack.LEAST} pairs of models, got {len(models) // 2}: train more pairs."
        )
    if attack.PARENT and parent is None:
        raise ConfigError(f"{attack.name} compares with the public parent: give parent=.")
    if attack.POPULATION and population is None:
        raise ConfigError(f"{attack.name} compares with samples that no model learned from: give population=.")
    beside, beside_labels = population or (None, labels[:0])
    _check_labels("labels of the population", beside_labels)

    def signals(name: str, model: Asked) -> Signals:
        logits, tested = _logits(name, model, images, beside, samples, len(beside_labels))
        return Signals(
            sample_id=torch.arange(samples), epochs=torch.zeros(1, dtype=torch.float64), label=labels,
            logits=logits[None], test_label=beside_labels, test_logits=tested[None],
        )  # fmt: skip

    said = [signals(f"models[{place}]", models[place]) for place in order.tolist()]
    others: list[Signals] = []
    learned = None
    if len(shadows) and isinstance(attack, ShadowInference):
        if shadow_members is None:
            raise ConfigError("give shadow_members=, what each of the shadows learned from.")
        places = _paired("shadow_members", shadow_members, len(shadows), samples)
        others = [signals(f"shadows[{place}]", shadows[place]) for place in places.tolist()]
        learned = shadow_members[places]
        _check_shadows(attack, members, learned)
    before = None if parent is None else signals("parent", parent)
    classes = {each.logits.shape[-1] for each in (*said, *others, *([before] if before else []))}
    if len(classes) > 1:
        raise ConfigError(f"all models must have the same classes, got {sorted(classes)}.")
    if int(labels.max()) >= min(classes):
        raise ConfigError(f"labels must be below {min(classes)}, the classes of the models, got {int(labels.max())}.")
    canary = torch.zeros(samples, dtype=torch.bool)
    record = scored(attack, said, others, before, members[order], canary, shadow_member=learned)
    return Exposed(record, order)


def _check_labels(name: str, labels: object) -> None:
    if not isinstance(labels, Tensor) or labels.dtype != torch.int64 or labels.ndim != 1:
        raise ConfigError(f"{name} must be an int64 tensor with one axis, got {_seen(labels)}.")


def _paired(name: str, members: object, models: int, samples: int) -> Tensor:
    """An order in which models that learned complementary halves stand after each other, int64 ``[M]``."""
    if not isinstance(members, Tensor) or members.dtype != torch.bool or members.shape != (models, samples):
        raise ConfigError(f"{name} must be bool [{models}, {samples}] (models, samples), got {_seen(members)}.")
    left, order = list(range(models)), list[int]()
    while left:
        one = left.pop(0)
        partner = next((other for other in left if bool((members[other] != members[one]).all())), None)
        if partner is None:
            raise ConfigError(
                f"{name}[{one}] has no complement among the others: train models in pairs, the second from all samples "
                "that the first did not learn from."
            )
        left.remove(partner)
        order += [one, partner]
    return torch.tensor(order)


def _check_shadows(attack: Inference, members: Tensor, learned: Tensor) -> None:
    for place, half in enumerate(members):
        known = (learned == half).all(1) | (learned != half).all(1)
        if int((~known).sum()) // 2 < attack.LEAST - 1:
            raise ConfigError(
                f"the model of members[{place}] needs {attack.LEAST - 1} pairs of shadows for {attack.name} that "
                f"learned other halves than it and its complement, got {int((~known).sum()) // 2}."
            )


def _logits(
    name: str, model: Asked, images: Tensor | None, beside: Tensor | None, samples: int, others: int
) -> tuple[Tensor, Tensor]:
    """Logits of the samples and of the population, float32 ``[N,L]`` and ``[Z,L]``."""
    if isinstance(model, tuple):
        parts = list(model)
    elif isinstance(model, Tensor):
        parts = [model, model[:0]]
    elif images is None or (beside is None and others):
        raise ConfigError(f"{name} is a function of images, so give images and those of the population, not None.")
    else:
        parts = [_ask(model, images), _ask(model, images[:0] if beside is None else beside)]
    for values, count, of in zip(parts, (samples, others), ("samples", "population"), strict=True):
        if not isinstance(values, Tensor) or values.ndim != 2 or len(values) != count:
            raise ConfigError(f"logits of {name} must be [{count}, classes] for the {of}, got {_seen(values)}.")
        if not bool(values.isfinite().all()):
            raise ConfigError(f"logits of {name} are not finite: has it diverged?")
    return parts[0].float(), parts[1].float()


def _ask(model: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    place = next(model.parameters(), torch.zeros(0)).device if isinstance(model, nn.Module) else images.device
    with torch.no_grad():
        return torch.cat([model(part.to(place)).float().cpu() for part in images.split(BATCH)])


def _seen(value: object) -> str:
    return f"{value.dtype} {list(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
