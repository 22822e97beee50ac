"""Losses of logits against their formulas written out, and where they have gradients."""

import pytest
import torch
from torch import Tensor

from tl_robust.attacks import Problem
from tl_robust.attacks.norms import get_norm
from tl_robust.attacks.objectives import OBJECTIVES
from tl_robust.errors import ConfigError


def cases(classes: int) -> tuple[Tensor, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(classes)
    logits = torch.randn(40, classes, generator=draw, dtype=torch.float64) * 5
    label = torch.randint(classes, (40,), generator=draw)
    target = (label + torch.randint(1, classes, (40,), generator=draw)) % classes
    return logits, label, target


@pytest.mark.parametrize("classes", [2, 3, 4, 10])
def test_the_formulas(classes: int) -> None:
    logits, label, target = cases(classes)
    pair = torch.stack([label, target], 1)
    found = {
        "margin": OBJECTIVES.parse("margin").loss(logits, label),
        "dlr": OBJECTIVES.parse("dlr").loss(logits, label),
        "towards": OBJECTIVES.parse("target").loss(logits, pair),
        "ratio": OBJECTIVES.parse("target(form=dlr)").loss(logits, pair),
    }
    for place in range(len(logits)):
        z, y, t = logits[place].tolist(), int(label[place]), int(target[place])
        down = sorted(z, reverse=True)
        margin = max(value for number, value in enumerate(z) if number != y) - z[y]
        spread = down[0] - down[2] if classes > 2 else 1  # too few classes: nothing to divide by
        width = down[0] - (down[2] + down[3]) / 2 if classes > 3 else 1
        assert float(found["margin"][place]) == pytest.approx(margin)
        assert float(found["dlr"][place]) == pytest.approx(margin / spread)
        assert float(found["ratio"][place]) == pytest.approx((z[t] - z[y]) / width)
        assert float(found["towards"][place]) == pytest.approx(float(logits[place].log_softmax(0)[t]))


@pytest.mark.parametrize("classes", [2, 3, 4, 10])
@pytest.mark.parametrize("text", ["margin", "dlr", "target", "target(form=dlr)"])
def test_every_loss_has_a_gradient_where_the_model_is_right(text: str, classes: int) -> None:
    logits, _, _ = cases(classes)
    label = logits.argmax(1)
    for away in range(1, classes):
        part = logits.clone().requires_grad_()
        reference = torch.stack([label, (label + away) % classes], 1) if "target" in text else label
        OBJECTIVES.parse(text).loss(part, reference).sum().backward()
        assert float(part.grad.abs().amax(1).min()) > 1e-4


@pytest.mark.parametrize("text", ["dlr", "target(form=dlr)"])
def test_the_ratio_is_free_of_scale_and_shift(text: str) -> None:
    logits, label, target = cases(10)
    reference = torch.stack([label, target], 1) if "target" in text else label
    goal = OBJECTIVES.parse(text)
    assert torch.allclose(goal.loss(logits, reference), goal.loss(1e4 * logits - 17, reference))


def test_the_target_is_the_rank_and_begins_anew() -> None:
    logits, label, _ = cases(4)
    images = torch.zeros(len(logits), 1, 1, 1, dtype=torch.float64)
    for rank in range(1, 8):
        for restart in range(3):
            goal = OBJECTIVES.parse(f"target(rank={rank})")
            problem = Problem(lambda x: logits, goal, images, label, torch.arange(40), 0, get_norm("linf"))
            found = problem.restarted(restart).reference
            for place in range(len(logits)):
                order = sorted(range(4), key=lambda number, place=place: -float(logits[place, number]))
                others = [number for number in order if number != int(label[place])]
                assert found[place].tolist() == [int(label[place]), others[(rank - 1 + restart) % 3]]


@pytest.mark.parametrize("text", ["target(form=cw)", "target(rank=0)"])
def test_bad_settings(text: str) -> None:
    with pytest.raises(ConfigError, match="needs form ce or dlr and rank of at least 1, got"):
        OBJECTIVES.parse(text)
