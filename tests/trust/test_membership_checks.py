"""Checks of membership: silent on a good record, and clear on one that breaks what they look at."""

from __future__ import annotations

import pytest
import torch

from tests.exposure_records import made_exposure
from tl_robust import inference
from tl_robust.data.splits import Pool
from tl_robust.registry import Scalar
from tl_robust.threats.exposed import _apart, doubts, poor, warnings
from tl_robust.trust import CHECKS, judge, worst
from tl_robust.types import Evidence, Exposure, ImageSet, Verdict


def good() -> Exposure:
    return made_exposure(epochs=(4,), samples=300, null_samples=300)


def warned(record: Exposure, side: str = "target") -> Verdict:
    return worst(list(warnings(record, side)))


def test_a_good_record_is_green() -> None:
    assert judge(Evidence(good())) == Verdict()
    assert warned(good()) == Verdict()


def test_a_score_that_is_not_a_number_is_red() -> None:
    record = good()
    record.score[0, 3, 7] = torch.nan
    assert CHECKS["scored"].verdict(Evidence(record)).level == "red"
    assert CHECKS["scored"].verdict(Evidence(good())).level == "green"


@pytest.mark.parametrize(("accuracy", "level"), [(0.9, "green"), (0.6, "amber")])
def test_shadows_unlike_their_victims_are_amber(accuracy: float, level: str) -> None:
    record = made_exposure(epochs=(4,), null_samples=400, shadow_accuracy=accuracy)
    found = CHECKS["like_shadows"].verdict(Evidence(record))
    assert found.level == level
    none = made_exposure(epochs=(4,), null_samples=400, shadow_accuracy=accuracy, shadows=0)
    assert CHECKS["like_shadows"].verdict(Evidence(none)).level == "green"


def test_an_inference_that_tells_apart_what_nobody_learned_is_red() -> None:
    found = warned(made_exposure(epochs=(4,), null_samples=300, null_d=0.5))
    assert found.level == "red"
    assert "leaks" in found.reasons[0]


def test_one_of_twenty_controls_may_miss_a_half_by_chance() -> None:
    assert not _apart(0.478, 0.459, 0.497)
    assert _apart(0.478, 0.470, 0.486)
    assert not _apart(0.49, 0.489, 0.491), "so little does not matter"


def test_a_parent_that_knows_the_target_is_red_and_one_of_the_source_is_not() -> None:
    record = made_exposure(epochs=(0, 4), samples=300, null_samples=300)
    assert "parent has seen" in warned(record).reasons[0]
    assert warned(record, "source") == Verdict()
    assert warned(made_exposure(epochs=(0, 4), samples=300, null_samples=300, d=(0, 1))) == Verdict()


@pytest.mark.parametrize(("d", "level"), [(5.0, "red"), (0.0, "green")])
def test_a_claim_of_privacy_that_the_audit_refutes_is_red(d: float, level: str) -> None:
    found = warned(made_exposure(epochs=(4,), samples=400, null_samples=300, d=d, claim=(1.0, 1e-5)))
    assert found.level == level
    assert ("Claim violated" in str(found.reasons)) == (level == "red")


@pytest.mark.parametrize(("d", "level"), [(5.0, "amber"), (0.5, "green")])
def test_memorized_canaries_are_said_without_being_asked(d: float, level: str) -> None:
    found = warned(made_exposure(epochs=(4,), null_samples=300, canaries=0.2, canary_d=d))
    assert found.level == level
    assert ("memorize" in str(found.reasons)) == (level == "amber")


def test_few_non_members_gray_the_rates_that_need_them_and_say_how_many_pairs_would_do() -> None:
    record = made_exposure(models=8, samples=300, epochs=(4,))  # 1,200 decisions on non-members
    found = doubts(record)
    assert set(found) == {"tpr_at_0_1_percent"}
    assert "34 pairs or more" in found["tpr_at_0_1_percent"].reasons[0]
    assert doubts(made_exposure(models=68, samples=300, epochs=(4,))) == {}


@pytest.mark.parametrize(("name", "settings", "shadows", "level"), [
    ("rmia", {}, 2, "amber"), ("rmia", {}, 4, "green"), ("loss", {}, 0, "green"),
    ("lira", {"variance": "own"}, 62, "amber"), ("lira", {"variance": "own"}, 64, "green"), ("lira", {}, 22, "green"),
])  # fmt: skip
def test_few_shadows_are_amber(name: str, settings: dict[str, Scalar], shadows: int, level: str) -> None:
    record = made_exposure(epochs=(4,), shadows=shadows)
    found = worst(list(poor(record, inference.get(name, pairs=40, **settings).enough, 0)))
    assert found.level == level
    assert (f"{shadows} shadows are few" in str(found.reasons)) == (level == "amber")


def test_an_image_that_both_halves_may_have_is_amber() -> None:
    draw = torch.Generator().manual_seed(0)
    images = ImageSet(torch.randint(256, (200, 1, 4, 4), generator=draw).to(torch.uint8), torch.arange(200) % 4)
    assert Pool.of(images, 0.1).repeated == 0
    pool = Pool.of(images, 0.1)
    images.images[pool.learn[[3, 50, 70]]] = images.images[pool.learn[9]].clone()
    images.images[pool.held[0]] = images.images[pool.learn[20]].clone()  # the validation part is in both halves
    assert Pool(images, pool.learn, pool.held, pool.canary).repeated == 4
    assert "4 of 300 samples have an identical copy" in str(worst(list(poor(good(), 0, 4))).reasons)
