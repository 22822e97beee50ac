"""Craft on the surrogate once, judge every victim in the same pass.

Axes: K eps, N samples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tl_robust.attacks.base import Attack, check_labels, check_tensor
from tl_robust.attacks.norms import check_eps, get_norm
from tl_robust.attacks.oracle import Model, Oracle
from tl_robust.attacks.problem import attackable
from tl_robust.errors import ConfigError
from tl_robust.types import Outcome


class Judge:
    """Collects outcomes batch by batch.

    Args:
        attack: The attack.
        surrogate: The model that gradients come from.
        victims: Name to model; the surrogate itself may be one (white-box) and is then not run twice.
        eps: Sizes in [0,1] pixel units.
        seed: Seed of the attack's random draws.
        same_labels: The surrogate names classes as the labels do; if not, its own predictions stand for them.
        early: Iterative attacks may stop at the first images that fool the surrogate. None: if it is the only victim.
        pool: Images ``[M,C,H,W]`` in [0,1] and labels that attacks may learn from; None: the first batch.
        strict: Refuse a model whose logits are not finite on clean images. If not, such an image has the class -1, no
            prediction, as adversarial images always have, so that one model of many may fail.
        through: What gradients are taken of where the surrogate is guarded by a defense, a name of ``attacks/through``.

    Raises:
        ConfigError: eps or victims are of another form.
    """

    def __init__(
        self,
        attack: Attack,
        surrogate: Model,
        victims: Mapping[str, Model],
        eps: Sequence[float],
        seed: int = 0,
        same_labels: bool = True,
        early: bool | None = None,
        pool: tuple[Tensor, Tensor] | None = None,
        strict: bool = True,
        through: str = "exact",
    ) -> None:
        if not isinstance(victims, Mapping):
            raise ConfigError(f"victims must be names and models, such as {{'b': b}}, got {type(victims).__name__}.")
        self.attack = attack
        self.surrogate = surrogate
        self.victims = dict(victims)
        self.eps = check_eps(eps, attack.norm)
        self.seed = seed
        self.same_labels = same_labels
        self.early = all(victim is surrogate for victim in victims.values()) if early is None else early
        self.pool = pool
        self.strict = strict
        self.through = through
        # The surrogate is kept under the empty name, which no victim has.
        self._oracles = {"": Oracle(surrogate, "the surrogate")} | {
            name: Oracle(victim, f"victim {name!r}") for name, victim in self.victims.items() if victim is not surrogate
        }
        self._fitted: Any = None
        self._batches: list[dict[str, dict[str, Tensor]]] = []

    @torch.inference_mode(False)
    @torch.no_grad()
    def update(self, images: Tensor, labels: Tensor, sample_id: Tensor) -> None:
        """Craft and judge one batch.

        Args:
            images: ``[N,C,H,W]`` in [0,1] or uint8, on the models' device.
            labels: True classes, int64 ``[N]``.
            sample_id: int64 ``[N]``, unique in the test set.

        Raises:
            ConfigError: They are of another form, or a model cannot be used: see :class:`Oracle` and ``strict``.
        """
        models = self._oracles
        known = labels if self.same_labels else None
        if isinstance(images, Tensor) and images.dtype == torch.uint8:
            images = images.to(torch.float32).div_(255)
        with attackable(self.surrogate, *self.victims.values()):
            if self._fitted is None and self.attack.needs_pool:
                self._fit(images, labels)
            problem = self.attack.problem(
                models[""], images, known, sample_id, self.seed, self.early, self._fitted, through=self.through
            )
            images = problem.clean
            if known is None:
                check_labels(labels, len(images))
            for name in models.keys() - {""}:
                models[name].least = max(2, int(labels.max()) + 1) if len(labels) else 2
            shape = len(self.eps), len(images)
            size, valid = images.new_empty(shape, dtype=torch.float32), labels.new_empty(shape, dtype=torch.bool)
            adv = {name: labels.new_empty(shape) for name in models}
            with torch.no_grad():
                clean = {
                    name: model.finite_classes(images) if self.strict else model.classes(images)
                    for name, model in models.items()
                }
            before, seen = images, clean
            for place, adversarial in self.attack.stream(problem, self.eps):
                with torch.no_grad():
                    size[place], valid[place] = _measure(adversarial, images, self.eps[place], self.attack.norm)
                    seen = _judged(models, adversarial, before, seen)
                before = adversarial
                for name, classes in seen.items():
                    adv[name][place] = classes
        rise = (problem.notes.last_loss - problem.notes.first_loss).nan_to_num()
        shared = {
            "sample_id": sample_id, "label": labels, "clean_a": clean[""], "adv_a": adv[""], "size": size,
            "valid": valid, "zero_gradient": problem.notes.zero, "loss_rise": rise,
            "same_labels": torch.full_like(labels, self.same_labels, dtype=torch.bool),
        }  # fmt: skip
        batch = {}
        for name in self.victims:
            own = name if name in models else ""
            batch[name] = {
                key: value.cpu() for key, value in (shared | {"clean_b": clean[own], "adv_b": adv[own]}).items()
            }
        self._batches.append(batch)

    def _fit(self, images: Tensor, labels: Tensor) -> None:
        pool, known = (tensor.to(images.device) for tensor in self.pool or (images, labels))
        self._fitted = self.attack.fitted(
            self._oracles[""],
            pool,
            known if self.same_labels else None,
            self.eps,
            seed=self.seed,
            through=self.through,
        )

    @torch.inference_mode(False)
    def outcomes(self) -> dict[str, Outcome]:
        """One outcome a victim, over all batches so far.

        Raises:
            ConfigError: There was no batch.
        """
        if not self._batches:
            raise ConfigError("no batch was judged: expected a test set with at least one image.")
        eps = torch.tensor(self.eps, dtype=torch.float64)
        return {
            name: Outcome(
                eps=eps,
                **{
                    key: torch.cat([batch[name][key] for batch in self._batches], dim=-1)
                    for key in self._batches[0][name]
                },
            )
            for name in self.victims
        }


def _judged(models: Mapping[str, Oracle], images: Tensor, before: Tensor, seen: dict[str, Tensor]) -> dict[str, Tensor]:
    """Classes ``[N]`` by model; an image that did not change since ``before`` keeps what was ``seen`` then."""
    moved = get_norm("linf").size(images - before) != 0
    if bool(moved.all()):
        return {name: model.classes(images) for name, model in models.items()}
    if not bool(moved.any()):
        return seen
    part = images[moved]
    return {name: seen[name].masked_scatter(moved, model.classes(part)) for name, model in models.items()}


def _measure(adversarial: Tensor, clean: Tensor, eps: float, norm: str) -> tuple[Tensor, Tensor]:
    """Sizes ``[N]`` after rounding to 8 bits, and which images are finite, in [0,1] and within eps."""
    geometry = get_norm(norm)
    size = geometry.size(adversarial.mul(255).round_().div_(255).sub_(clean))
    flat = adversarial.flatten(1)
    low, high = flat.amin(1), flat.amax(1)  # NaN where a value is NaN; torch's aminmax takes 20 times as long
    return size, (low >= 0) & (high <= 1) & (geometry.size(adversarial - clean) <= eps * (1 + 1e-4) + 1e-6)


def evaluate(
    attack: Attack,
    *,
    surrogate: Model,
    victims: Mapping[str, Model],
    images: Tensor,
    labels: Tensor,
    eps: Sequence[float],
    seed: int = 0,
    batch_size: int = 256,
    same_labels: bool = True,
    early: bool | None = None,
    pool: tuple[Tensor, Tensor] | None = None,
    through: str = "exact",
) -> dict[str, Outcome]:
    """Craft on the surrogate and judge every victim: no Trainer, no config, no store.

    Args:
        attack: For example ``attacks.get("pgd", steps=10)``.
        surrogate: Any callable from images in [0,1] to logits ``[N, classes]``.
        victims: Name to model; for the white-box view name the surrogate itself.
        images: ``[N,C,H,W]`` floating point in [0,1], or uint8.
        labels: True classes, int64 ``[N]``.
        eps: Sizes in [0,1] pixel units.
        seed: Seed of the attack's random draws; they do not depend on ``batch_size``.
        batch_size: Images at a time.
        same_labels: The surrogate names classes as ``labels`` do. If not, its own predictions stand for them.
        early: Iterative attacks may stop at the first images that fool the surrogate. None: if it is the only victim.
        pool: Images ``[M,C,H,W]`` in [0,1] and labels that attacks may learn from; None: the first batch.
        through: What gradients are taken of where the surrogate is guarded by a defense, a name of ``attacks/through``.

    Returns:
        One :class:`Outcome` a victim.

    Raises:
        ConfigError: No victim, no image, inputs of another form, or a model that returns anything but finite logits
            which cover the labels, or no gradient where the attack needs one.
    """
    check_tensor("images", images)
    check_tensor("labels", labels)
    judge = Judge(attack, surrogate, victims, eps, seed, same_labels, early, pool, through=through)
    if not victims or len(images) == 0:
        raise ConfigError(f"evaluate needs at least one victim and one image, got {len(victims)} and {len(images)}.")
    if labels.shape[:1] != images.shape[:1] or batch_size < 1:
        raise ConfigError(
            f"evaluate needs a label for each image and batch_size of at least 1, got labels {list(labels.shape)} for "
            f"{len(images)} images and batch_size {batch_size}."
        )
    parameter = next(surrogate.parameters(), None) if isinstance(surrogate, nn.Module) else None
    device = images.device if parameter is None else parameter.device
    for ids in torch.arange(len(images)).split(batch_size):
        judge.update(images[ids].to(device), labels[ids].to(device), ids.to(device))
    return judge.outcomes()
