"""Membership in an audit: models that have learned by heart, models that saw neither side, and sides that differ."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

import tl_robust
from tl_robust import models
from tl_robust.audit.record import Finding
from tl_robust.auditor.membership import Blind, membership, same_classes, sides
from tl_robust.auditor.subject import ReadModel, Subject
from tl_robust.auditor.told_apart import Apart, Interval, enough
from tl_robust.metrics.estimate import TAIL
from tl_robust.types import ImageSet

DRAWS = torch.Generator().manual_seed(0)
NAMES = tuple(map(str, range(10)))


def trained(data: ImageSet, epochs: int, seed: int, start: nn.Module | None = None) -> nn.Module:
    torch.manual_seed(seed)
    network = models.get("dtn", (3, 32, 32), 10, width=0.2)
    if start:
        network.load_state_dict(start.state_dict())
    steps = torch.optim.Adam(network.train().parameters(), lr=2e-3)
    for _ in range(epochs):
        for batch in torch.randperm(len(data)).split(20):
            loss = nn.functional.cross_entropy(network(data.images[batch].float() / 255), data.labels[batch])
            steps.zero_grad()
            loss.backward()
            steps.step()
    return network.eval()


@pytest.fixture(scope="module")
def digits() -> ImageSet:
    return tl_robust.pair("mnist5k-optdigits", space="digits").side("source").images("train")


def drawn(digits: ImageSet, seed: int, *counts: int) -> list[ImageSet]:
    order = torch.randperm(len(digits), generator=torch.Generator().manual_seed(seed))
    return [digits.take(places) for places in order[: sum(counts)].split(list(counts))]


@pytest.fixture(scope="module")
def overfitted(digits: ImageSet) -> Subject:
    """Parent of other digits with the same classes, and a child that has 150 noisy images by heart."""
    before, members, others = drawn(digits, 0, 300, 150, 200)
    wrong = torch.randint(0, 10, (150,), generator=torch.Generator().manual_seed(1))
    keep = torch.rand(150, generator=torch.Generator().manual_seed(2)) < 0.7
    members = ImageSet(members.images, torch.where(keep, members.labels, wrong))
    parent = trained(before, 6, 0)
    child = trained(members, 25, 1, parent)
    return Subject(ReadModel("child", child, NAMES), ReadModel("parent", parent, NAMES), (), others, NAMES, members)


def by_name(subject: Subject) -> dict[str, Finding]:
    found, left = membership(subject)
    assert [item.name for item in left] == ["rmia"]
    assert all((one.threat, one.view) == ("membership", "target") for one in found)
    return {one.name: one for one in found}


def test_what_an_overfitted_model_has_by_heart_is_found(overfitted: Subject) -> None:
    found = by_name(replace(overfitted, parent=None))
    assert set(found) == {"auc", "tpr_at_1_percent", "advantage"}
    assert found["auc"].low > 0.6
    assert found["advantage"].low > 0.1
    assert {one.attack for one in found.values()} == {"loss"}
    few = found["tpr_at_1_percent"]
    assert few.low == 0
    assert "hold no threshold of 1 %" in few.trust.reasons[0]
    assert f"{enough()} would" in few.trust.reasons[0]
    assert "give the parent or a decoy" in found["auc"].trust.reasons[0]


def test_the_worst_of_two_inferences_has_ends_that_hold_whichever_was_chosen(overfitted: Subject) -> None:
    both, one = by_name(overfitted), by_name(replace(overfitted, parent=None))
    assert both["auc"].value >= one["auc"].value
    alone = sides(overfitted, overfitted.train)
    child, parent = overfitted.model, overfitted.parent
    losses = [[told.loss for told in alone.told(model)] for model in (child, parent)]
    loss = [-own for own in losses[0]]
    gap = [before - own for own, before in zip(*losses, strict=True)]

    def area(inside: Tensor, outside: Tensor) -> float:
        return float(((inside[:, None] > outside).double() + (inside[:, None] == outside).double() / 2).mean())

    assert both["auc"].value == pytest.approx(max(area(*loss), area(*gap)))
    assert both["auc"].attack == ("loss" if area(*loss) >= area(*gap) else "parent_gap")
    assert one["auc"].value == pytest.approx(area(*loss))


def test_of_each_class_there_are_as_many_members_as_others_and_other_seeds_draw_others(overfitted: Subject) -> None:
    found = sides(overfitted, overfitted.train)
    outside = overfitted.images.labels[found.places]
    assert torch.equal(found.members.labels, outside)
    for label in range(10):
        least = min(int((images.labels == label).sum()) for images in (overfitted.train, overfitted.images))
        assert int((outside == label).sum()) == least
    assert len(found.places.unique()) == len(found.places)
    again, other = sides(overfitted, overfitted.train), sides(replace(overfitted, seed=1), overfitted.train)
    assert torch.equal(again.places, found.places)
    assert not torch.equal(other.places, found.places)


def test_where_the_model_saw_neither_side_the_truth_is_half_in_nearly_all_intervals(digits: ImageSet) -> None:
    network, parent = trained(drawn(digits, 5, 400)[0], 3, 3), trained(drawn(digits, 6, 400)[0], 3, 4)
    held, beyond, runs = {"auc": 0, "tpr_at_1_percent": 0, "advantage": 0}, 0, 30
    for seed in range(runs):
        inside, outside = drawn(digits, 100 + seed, 200, 200)
        subject = Subject(
            ReadModel("mine", network, NAMES), ReadModel("parent", parent, NAMES), (), outside, NAMES, inside, seed=seed
        )
        found = by_name(subject)
        for name, truth in (("auc", 0.5), ("tpr_at_1_percent", 0.01), ("advantage", 0.0)):
            held[name] += found[name].low <= truth <= found[name].high
        beyond += found["auc"].trust.level != "green"
    assert min(held.values()) >= 27
    assert beyond <= 4


def test_where_a_blind_model_tells_the_sides_apart_trust_is_red_and_says_so(digits: ImageSet) -> None:
    network, parent = trained(drawn(digits, 5, 400)[0], 3, 3), trained(drawn(digits, 6, 400)[0], 3, 4)
    inside, outside = drawn(digits, 9, 200, 200)
    noisy = outside.images.float() + 120 * torch.randn(outside.images.shape, generator=DRAWS)
    outside = ImageSet(noisy.clamp(0, 255).to(torch.uint8), outside.labels)
    mine, public = ReadModel("mine", network, NAMES), ReadModel("public", parent, NAMES)
    found = by_name(Subject(mine, public, (), outside, NAMES, inside))
    assert found["auc"].low > 0.55  # though nobody learned from either
    for one in found.values():
        assert one.trust.level == "red"
        assert "Blind baseline: public, which is taken to have learned from neither" in " ".join(one.trust.reasons)
    other = ReadModel("other classes", parent, tuple("abcdefghij"))
    assert not same_classes(other, Subject(mine, other, (), outside, NAMES, inside))
    by_confidence = by_name(Subject(mine, None, (other,), outside, NAMES, inside))["auc"]
    assert by_confidence.attack == "loss"
    assert by_confidence.trust.level == "red"
    assert "other classes" in by_confidence.trust.reasons[0]


def test_blind_baselines_are_weighed_against_what_the_model_shows() -> None:
    strong = Apart(torch.arange(100.0, 200).double(), torch.arange(0.0, 110).double())
    levels = [
        Blind((("parent", Interval(*numbers)),)).verdict(strong).level
        for numbers in ((0.52, 0.45, 0.59), (0.6, 0.53, 0.67), (0.4, 0.33, 0.47), (0.8, 0.73, 0.87), (0.2, 0.13, 0.27))
    ]
    assert levels == ["green", "amber", "amber", "red", "red"]
    assert Blind(()).verdict(strong).level == "amber"


class Bare(nn.Module):
    def __init__(self, spoiled: bool = False, classes: int = 3) -> None:
        super().__init__()
        self.inner, self.spoiled = nn.Sequential(nn.Flatten(), nn.Linear(48, classes)), spoiled

    def forward(self, images: Tensor) -> Tensor:
        return self.inner(images) * (math.nan if self.spoiled else 1.0)


def images(count: int, width: int = 4, label: int | None = None) -> ImageSet:
    pixels = torch.randint(0, 256, (count, 3, 4, width), generator=torch.Generator().manual_seed(count))
    labels = torch.arange(count) % 3 if label is None else torch.full((count,), label)
    return ImageSet(pixels.to(torch.uint8), labels)


@pytest.mark.parametrize(
    ("train", "spoiled", "reason"),
    [
        (None, False, "give --train FOLDER"),
        (images(40, width=5), False, "Training images (3x4x5) and test images (3x4x4) must have one shape"),
        (images(9), False, "have 9 of the same classes in common, and 20 are needed"),
        (images(40, label=7), False, "have 0 of the same classes in common"),
        (images(40), True, "says what is not finite"),
    ],
)
def test_what_cannot_be_inferred_is_one_sentence(train: ImageSet | None, spoiled: bool, reason: str) -> None:
    subject = Subject(ReadModel("mine", Bare(spoiled).eval(), ("a", "b", "c")), None, (), images(60), ("a", "b", "c"))
    found, (left,) = membership(replace(subject, train=train))
    assert found == ()
    assert left.name == "auc"
    assert reason in left.reason
    assert left.reason.endswith(".")


def test_a_blind_model_of_other_classes_is_asked_how_sure_it_is_and_not_about_labels() -> None:
    mine, other = ReadModel("mine", Bare().eval(), tuple("abc")), ReadModel("two", Bare(classes=2).eval(), tuple("xy"))
    subject = Subject(mine, None, (other,), images(60), tuple("abc"), images(45))
    found = sides(subject, images(45))
    ((name, interval),) = Blind.of(found).areas
    sure = [told.logits.double().softmax(1).amax(1) for told in found.told(other)]
    above = sure[0][:, None] > sure[1]
    assert name == "two"
    assert interval.value == pytest.approx(float(above.double().mean()), abs=1e-3)


def test_one_inference_has_the_usual_interval(overfitted: Subject) -> None:
    alone = sides(overfitted, overfitted.train)
    inside, outside = (-told.loss for told in alone.told(overfitted.model))
    found = by_name(replace(overfitted, parent=None))["auc"]
    usual = Apart(inside, outside).area(TAIL)
    assert (found.low, found.high) == (usual.low, usual.high)
