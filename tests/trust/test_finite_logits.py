"""No finite logits, no prediction: red wherever it is seen, and silent elsewhere."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.trust.answered import answers, labels, made
from tl_robust import trust
from tl_robust.bench import runner
from tl_robust.bench.plan import make_plan
from tl_robust.claims import decide
from tl_robust.config import load
from tl_robust.engines.observer import Observer
from tl_robust.nodes.store import Store
from tl_robust.trust import CHECKS
from tl_robust.types import Evidence, Examination, Outcome, Verdict

LABEL = labels(100, 10)
GOOD = answers(LABEL, 90, 10)


def verdict(found: Outcome, **evidence: Examination) -> Verdict:
    return CHECKS["finite_logits"].verdict(Evidence(found, **evidence))


@pytest.mark.parametrize("who", ["a", "b"])
@pytest.mark.parametrize("count", [1, 40])
def test_one_class_of_minus_one_is_red(who: str, count: int) -> None:
    name = {"a": "The surrogate", "b": "The victim"}[who]
    none = torch.where(torch.arange(100) < count, -1, GOOD)
    clean = verdict(replace(made(LABEL, GOOD), **{f"clean_{who}": none}))
    assert clean == Verdict("red", (
        f"{name} gives logits that are not finite for {count} of 100 clean images: no prediction.",
    ))  # fmt: skip
    adversarial = verdict(replace(made(LABEL, GOOD), **{f"adv_{who}": torch.stack([GOOD, none])}))
    assert adversarial == Verdict("red", (
        f"{name} gives logits that are not finite for {count} of 200 adversarial images: no prediction.",
    ))  # fmt: skip


def test_every_class_from_zero_on_is_a_prediction() -> None:
    assert verdict(made(LABEL, GOOD)) == verdict(made(LABEL, torch.zeros_like(LABEL))) == Verdict()


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_an_examined_model_is_seen_and_not_attacked(value: float) -> None:
    """One logit of one class, for images that are bright in a corner."""

    def broken(images: Tensor) -> Tensor:
        logits = images.flatten(1)[:, :5].clone()
        logits[images[:, 0, 0, 0] > 0.5, 3] = value
        return logits

    images = torch.rand(40, 1, 4, 4, generator=torch.Generator().manual_seed(0)) / 3
    images[:4, 0, 0, 0] = 0.9
    seen = trust.examine(broken, images, labels(40, 5), [0.1], "linf")
    assert not any(name.startswith(("unbounded", "zero_gradients")) for name in seen.seen)
    for role, who in (("surrogate", "The surrogate"), ("victim", "The victim")):
        found = verdict(made(LABEL, GOOD), **{role: seen})
        assert found.level == "red"
        assert found.reasons[0] == (
            f"{who} gives logits that are not finite for 4 of 40 examined clean images: no prediction."
        )
    assert len(verdict(made(LABEL, GOOD), surrogate=seen, victim=seen).reasons) == 2  # once a model: clean and noise


def test_overflow_that_only_noise_reaches_is_seen() -> None:
    images = torch.rand(40, 1, 4, 4, generator=torch.Generator().manual_seed(0)) / 3

    def overflows(x: Tensor) -> Tensor:
        return x.flatten(1)[:, :5] + torch.where(x.amax((1, 2, 3)) > 0.5, torch.inf, 0.0)[:, None]

    seen = trust.examine(overflows, images, labels(40, 5), [0.01], "linf")
    (reason,) = verdict(made(LABEL, GOOD), surrogate=seen).reasons
    assert "examined noise images" in reason
    plain = trust.examine(lambda x: x.flatten(1)[:, :5], images, labels(40, 5), [0.01], "linf")
    assert verdict(made(LABEL, GOOD), surrogate=plain, victim=plain) == Verdict()


def test_noise_without_a_prediction_is_no_second_class() -> None:
    """Of a model that names one class, `unbounded` says so."""

    def constant(images: Tensor) -> Tensor:
        logits = torch.eye(5)[:1] + 0 * images.flatten(1)[:, :5]
        logits[images.amax((1, 2, 3)) > 0.5, 3] = torch.nan
        return logits

    images = torch.rand(40, 1, 4, 4, generator=torch.Generator().manual_seed(0)) / 3
    seen = trust.examine(constant, images, labels(40, 5), [0.01], "linf")
    assert seen.seen["unbounded/classes"].tolist() == [1]


def test_a_bench_of_a_training_that_diverged_is_red_and_does_not_fail(tiny: Path, tmp_path: Path) -> None:
    """Attack, examination, pictures and claims: all of them meet logits that are not finite."""
    options = ["recipe.lr=1e30", "axes.seed=[0,1]", "axes.strategy=[scratch,finetune]"]
    bench = load(tiny, options).bench
    finished = runner.run(make_plan(bench), bench, Store(tmp_path / "store"), Observer())
    assert finished.failures == finished.missing == ()
    assert {result.verdict.level for result in finished.results} == {"red"}
    for result in finished.results:
        assert any("not finite" in reason for reason in result.verdict.reasons)
        assert float(result.curves["robust_accuracy"].value.max()) == 0
    assert len(finished.pictures) > 0
    assert {finding.decision for finding in decide(finished.results)} == {"not judged"}


def test_a_refusal_is_a_prediction_where_a_model_may_refuse() -> None:
    """A refused image is class -1, too; of such a model only what the examination saw is told."""
    refused = replace(made(LABEL, GOOD), clean_b=torch.where(torch.arange(100) < 9, -1, GOOD))
    flags = {"finite_logits/clean": torch.zeros(5, dtype=torch.bool), "finite_logits/noise": torch.zeros(5).bool()}
    places = torch.arange(5)

    def examined(**more: Tensor) -> Examination:
        seen = flags | {f"finite_logits/{name}": value for name, value in more.items()}
        return Examination(places, torch.tensor([0.1], dtype=torch.float64), seen)

    rejects = torch.tensor([True])
    assert verdict(refused, victim=examined()).level == "red"
    assert verdict(refused, victim=examined(rejects=rejects)) == Verdict()
    assert verdict(refused, surrogate=examined(), victim=examined(rejects=rejects)) == Verdict()
    broken = examined(rejects=rejects, noise=places == 2)
    assert verdict(refused, victim=broken).reasons == (
        "The victim gives logits that are not finite for 1 of 5 examined noise images: no prediction.",
    )
