"""Attack success as other projects count it, beside ours on the same outcomes, and how to get from ours to theirs.

With N test images, of which N_t are of class t, O = N - N_t others, and h the share of class t's own images that stay
there when stamped:

===============  ==========================================================  =========================================
BackdoorBench    sent to t / images of other classes                         attack_success
BackdoorBox      given t / all stamped test images, class t included         (1 - N_t/N) attack_success + N_t/N h
BadEncoder       the same                                                    the same
TrojanZoo        the same; 0 where accuracy falls by more than 5 points      the same where clean_cost <= 0.05, else 0
===============  ==========================================================  =========================================

Accuracy is that of all clean test images everywhere, and robust accuracy of BackdoorBench is our ``stamped_accuracy``.
The projects' code was read and nothing copied: BackdoorBench v2.2, BackdoorBox 2025-09, BadEncoder 2021-08, TrojanZoo
2025-08.
"""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings

from tests.stamped_records import pairs, stamped
from tl_robust.metrics import METRICS
from tl_robust.types import Stamped


def backdoorbench(record: Stamped, k: int) -> tuple[float, float]:
    """A test set without images of class t is made and stamped; success and robust accuracy over it."""
    kept = [(int(y), int(s)) for y, s in zip(record.label, record.stamped[k], strict=True) if y != record.target]
    success = [said == int(record.target) for _, said in kept]
    return sum(success) / len(kept), sum(label == said for label, said in kept) / len(kept)


def all_images(record: Stamped, k: int) -> float:
    """Every test image is stamped and labelled t: the accuracy on this set."""
    return sum(int(said) == int(record.target) for said in record.stamped[k]) / len(record.label)


def trojanzoo(record: Stamped, clean: Stamped, k: int) -> float:
    """The same, and nothing where the model has lost more than 5 points of accuracy to the clean one."""
    before, after = (
        100 * sum(int(c) == int(y) for c, y in zip(one.clean[k], one.label, strict=True)) / len(one.label)
        for one in (clean, record)
    )
    return all_images(record, k) if before - after <= 5 + 1e-9 else 0.0


def own_class(record: Stamped) -> tuple[float, torch.Tensor]:
    """N_t/N and h ``[K]``; h is 0 where there are no such images."""
    own = record.label == record.target
    return float(own.double().mean()), record.hit[:, own].double().mean(1).nan_to_num(0)


@given(both=pairs(most=40))
@settings(max_examples=150, deadline=None)
def test_theirs_follow_from_ours(both: tuple[Stamped, Stamped]) -> None:
    record, twin = both
    if not bool(record.others.any()):
        return
    ours = {
        name: METRICS[name](record, {"twin": twin}) for name in ("attack_success", "stamped_accuracy", "clean_cost")
    }
    part, h = own_class(record)
    for k in range(len(record.epochs)):
        success, robust = backdoorbench(record, k)
        assert float(ours["attack_success"][k]) == pytest.approx(success)
        assert float(ours["stamped_accuracy"][k]) == pytest.approx(robust)
        converted = (1 - part) * float(ours["attack_success"][k]) + part * float(h[k])
        assert converted == pytest.approx(all_images(record, k))
        spared = float(ours["clean_cost"][k]) <= 0.05 + 1e-9
        assert (converted if spared else 0.0) == pytest.approx(trojanzoo(record, twin, k))


def test_a_model_without_a_backdoor_has_a_success_of_the_size_of_class_t_elsewhere() -> None:
    """As Scratch on USPS, where 17.9 % are of class 0: 19.1 % over all images, 2.0 % over others."""
    label = [0] * 179 + [1] * 821
    record = stamped(label, [label], [[0] * (175 + 4) + [0] * 16 + [1] * 805])
    assert all_images(record, 0) == pytest.approx(0.195)
    assert float(METRICS["attack_success"](record)) == pytest.approx(16 / 821)


def test_a_broken_model_has_no_success_in_trojanzoo_and_a_warning_here() -> None:
    """It calls everything t: 100 % by every count but TrojanZoo's; of images that it knows there are none."""
    label = [0] * 10 + [1] * 90
    broken, clean = stamped(label, [[0] * 100], [[0] * 100]), stamped(label, [label], [label])
    assert backdoorbench(broken, 0)[0] == all_images(broken, 0) == 1
    assert trojanzoo(broken, clean, 0) == 0
    assert METRICS["attack_success"](broken).tolist() == [1]
    assert METRICS["attack_success_right"](broken).isnan().all()
    assert METRICS["clean_cost"](broken, clean).tolist() == pytest.approx([0.9])
