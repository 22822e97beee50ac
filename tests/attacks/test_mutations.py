"""Faults that attack libraries really had, put in on purpose: for each, a test of this suite must fail."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import test_early
import test_exactness
import test_judge
import test_norms
import torch
from torch import Tensor, nn

from tl_robust import attacks
from tl_robust.attacks import base, judge, norms
from tl_robust.attacks.named import ascent
from tl_robust.attacks.named.ascent import Ascent
from tl_robust.attacks.norms import L2, Linf
from tl_robust.attacks.objectives.label import Label
from tl_robust.attacks.problem import Problem, Seen
from tl_robust.attacks.rules import apgd, momentum

Test = Callable[[], None]


def pgd_is_a_plain_loop(norm: str = "linf") -> None:
    test_exactness.test_pgd_equals_a_plain_loop_bit_for_bit_at_every_eps(norm, True, 10, 0.25)


def fgsm_is_a_plain_loop() -> None:
    test_exactness.test_fgsm_equals_a_plain_loop_bit_for_bit_at_every_eps("linf")


def the_optimum_is_reached() -> None:
    test_exactness.test_on_a_linear_model_the_closed_form_optimum_is_reached("l2", "pgd", {"steps": 60}, 2)


def an_eps_is_the_same_alone_and_in_a_grid() -> None:
    images, labels = test_exactness.data()
    attack, eps = attacks.get("mi"), [0.01, 0.05]
    together = attack(test_exactness.net(), images, labels, eps)
    assert all(
        torch.equal(attack(test_exactness.net(), images, labels, [size])[0], found)
        for size, found in zip(eps, together, strict=True)
    )


def batches_do_not_matter() -> None:
    images, labels = test_exactness.data()
    model, ids = test_exactness.net().double(), torch.arange(12)
    images, attack = images.double(), attacks.get("pgd")
    parts = [attack(model, images[i], labels[i], [0.05], sample_id=i) for i in ids.split(5)]
    assert torch.allclose(torch.cat(parts, 1), attack(model, images, labels, [0.05]), atol=1e-12)


def the_model_is_attacked_in_eval_mode() -> None:
    images, labels = test_exactness.data()
    model = test_exactness.net()
    expected = attacks.get("fgsm")(model, images, labels, [0.1])
    assert torch.equal(attacks.get("fgsm")(model.train(), images, labels, [0.1]), expected)


def the_best_iterate_is_kept() -> None:
    """With steps of the whole ball the loss goes up and down; what is kept has the largest of all losses seen."""
    images, labels = test_exactness.data(40)
    model, seen = test_exactness.net(), []

    def recording(x: Tensor) -> Tensor:
        logits = model(x)
        seen.append(nn.functional.cross_entropy(logits.detach(), labels, reduction="none"))
        return logits

    found = attacks.get("ascent", rule="apgd", step_size=2.0, steps=12)(recording, images, labels, [0.2])[0]
    seen = seen[-13:]  # twelve gradients and the last images
    kept = nn.functional.cross_entropy(model(found), labels, reduction="none")
    assert torch.allclose(kept, torch.stack(seen).amax(0), atol=1e-5)


def a_restart_never_harms() -> None:
    images, labels = test_exactness.data(40)
    model, one = test_exactness.net(), attacks.get("pgd", steps=2)
    many = attacks.get("pgd", steps=2, restarts=4)

    def margins(attack: attacks.Attack) -> Tensor:
        logits = model(attack(model, images, labels, [0.05])[0])
        right = logits.gather(1, labels[:, None]).squeeze(1)
        return logits.scatter(1, labels[:, None], -torch.inf).amax(1) - right

    assert bool((margins(many) >= margins(one)).all())
    assert bool((margins(many) > margins(one)).any())


def what_falls_stays_fallen() -> None:
    model, images, labels = test_early.train()
    test_early.test_what_falls_stays_fallen_and_is_within_its_eps("pgd", "linf", (model, images, labels))


@contextmanager
def _train_mode(*models: Any) -> Iterator[None]:
    with torch.inference_mode(False), torch.enable_grad():
        yield


@dataclass(frozen=True)
class Fault:
    """Where it is put in, what stands there instead, and the test that must see it."""

    place: Any
    name: str
    wrong: Callable[..., Any]
    test: Test


_gradient, _step, _project, _loss = Problem.gradient, Linf.step, L2.project, Label.loss
_perturb, _momentum = Ascent.perturb, momentum._Momentum.__init__
_first: dict[int, Seen] = {}


def _stale(self: Problem, images: Tensor, note: bool = True) -> Seen:
    return _first.setdefault(id(self), _gradient(self, images))


_kept: dict[str, Tensor] = {}


def _half(self: Ascent, problem: Problem, eps: list[float]) -> Iterator[Tensor]:
    return _perturb(self, problem, [size / 2 for size in eps])


def _keep_the_sum(
    self: momentum._Momentum, problem: Problem, eps: float, length: float, steps: int, *rest: Any
) -> None:
    _momentum(self, problem, eps, length, steps, *rest)
    if "sum" in _kept:
        self.sum = _kept["sum"]
    _kept["sum"] = self.sum + 1e3 * problem.clean


def _truncated(adversarial: Tensor, clean: Tensor, eps: float, norm: str) -> tuple[Tensor, Tensor]:
    size = norms.get_norm(norm).size(adversarial.mul(255).floor().div(255) - clean)
    return size, torch.ones_like(size, dtype=torch.bool)


FAULTS = {
    "wrong sign": Fault(Linf, "step", lambda *given: -_step(*given), pgd_is_a_plain_loop),
    "wrong sign of one step": Fault(Linf, "step", lambda *given: -_step(*given), fgsm_is_a_plain_loop),
    "no clip": Fault(
        Problem, "clip", lambda self, images, eps: self.clean + self.norm.project(images - self.clean, eps),
        pgd_is_a_plain_loop,
    ),
    "no projection": Fault(L2, "project", lambda self, delta, eps: delta, lambda: pgd_is_a_plain_loop("l2")),
    "projection of what is inside": Fault(
        L2, "project", lambda self, delta, eps: delta * norms.per_sample(eps / self.size(delta), delta),
        lambda: test_norms.test_the_projection_leaves_what_is_inside_and_is_idempotent("l2"),
    ),
    "identity": Fault(
        Ascent, "perturb", lambda self, task, eps: iter([task.clean] * len(eps)), the_optimum_is_reached
    ),
    "stale gradient": Fault(Problem, "gradient", _stale, pgd_is_a_plain_loop),
    "train mode": Fault(base, "attackable", _train_mode, the_model_is_attacked_in_eval_mode),
    "wrong label": Fault(
        Label, "loss", lambda self, seen, label: _loss(self, seen, (label + 1) % 5), fgsm_is_a_plain_loop
    ),
    "eps off by a half": Fault(Ascent, "perturb", _half, the_optimum_is_reached),
    "truncating save": Fault(
        judge, "_measure", _truncated, test_judge.test_sizes_are_measured_after_rounding_to_8_bits
    ),
    "batch-dependent randomness": Fault(
        Problem, "random", lambda self: torch.rand_like(self.clean) * 2 - 1, batches_do_not_matter
    ),
    "randomness by place in the batch": Fault(
        Problem, "random", lambda self: self.norm.random(self.seed, torch.arange(len(self)), self.clean),
        batches_do_not_matter,
    ),
    "best iterate dropped": Fault(apgd._APGD, "end", lambda self, task, images: images, the_best_iterate_is_kept),
    "momentum not reset": Fault(
        momentum._Momentum, "__init__", _keep_the_sum, an_eps_is_the_same_alone_and_in_a_grid
    ),
    "last restart kept": Fault(
        Ascent, "_strongest",
        lambda self, task, eps: self._walk(task.restarted(3), eps, self._start(task.restarted(3), eps)),
        a_restart_never_harms,
    ),
    "all restarts the same": Fault(Problem, "restarted", lambda self, number: self, a_restart_never_harms),
    "each eps from the start": Fault(
        ascent, "cascade",
        lambda task, eps, attempts: (attempts[0](task, size, task.clean) for size in eps),
        what_falls_stays_fallen,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_the_tests_pass_without_the_fault_and_fail_with_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fault = FAULTS[name]
    fault.test()
    _first.clear(), _kept.clear()
    monkeypatch.setattr(fault.place, fault.name, fault.wrong)
    with pytest.raises(AssertionError):
        fault.test()
