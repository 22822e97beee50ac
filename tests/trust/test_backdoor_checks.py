"""Checks of backdoors: silent on a good record, and clear on one that breaks what they look at."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.stamped_records import stamped
from tl_robust.trust import CHECKS, judge
from tl_robust.types import Evidence, Stamped, Verdict

CHECKS_OF_BACKDOORS = [name for name in CHECKS.names() if issubclass(CHECKS[name].of, Stamped)]
OTHERS = 200  # images of class 1; t is class 0
LABEL = [1] * OTHERS + [0] * 50


def first(count: int, of: int = OTHERS) -> list[int]:
    """Classes of which the first ``count`` are 0."""
    return [0] * count + [1] * (of - count)


def record(hits: int = 150, wrong: int = 4, origin: int = 95, own: int = 100, **more: Any) -> Stamped:
    """Right but on ``wrong`` images of class 1 after the last of two epochs; the public model sends ``origin`` to t."""
    clean = [LABEL, first(wrong) + [0] * 50]
    after = [first(OTHERS) + [0] * 50, first(hits) + [0] * 50]
    public = {
        "carrier": [0] * 250, "carrier_target": 0, "origin_label": [1] * own + [0] * 9, "poison": [100, 100, 1000, 200],
        "origin_clean": [1] * own + [0] * 9, "origin_stamped": first(origin, own) + [0] * 9,
    }  # fmt: skip
    return stamped(LABEL, clean, after, **public | more)


TWIN = record(hits=2, origin=1, carrier=[1] * 250, poison=[0, 0, 0, 0])


def verdict(name: str, found: Stamped, **beside: Stamped) -> Verdict:
    return CHECKS[name].verdict(Evidence(found, {"twin": TWIN} | beside))


def test_a_good_record_is_green() -> None:
    assert judge(Evidence(record(), {"twin": TWIN})) == Verdict()
    assert set(CHECKS_OF_BACKDOORS) >= {
        "implanted", "has_twin", "enough_images", "some_right", "poison_applied", "as_good_as_twin", "gives_classes",
    }  # fmt: skip


@pytest.mark.parametrize("name", CHECKS_OF_BACKDOORS)
def test_every_check_says_what_it_is_for_and_works_on_one_image(name: str) -> None:
    text = (CHECKS[name].verdict.__doc__ or "").lower()
    assert "amber" in text or "red" in text
    one = record(origin=8, own=8).take(torch.tensor([7]))
    found = CHECKS[name].verdict(Evidence(one, {"twin": TWIN.take(torch.tensor([7]))}))
    assert (found.level, name) in {("green", name), ("amber", "enough_images"), ("red", "some_right")}


@pytest.mark.parametrize(
    ("sent", "level"), [(100, "green"), (81, "green"), (80, "amber"), (51, "amber"), (50, "red"), (0, "red")]
)
def test_a_public_model_without_a_backdoor(sent: int, level: str) -> None:
    """Of 100 of its images less the one that its twin loses: 80 points, 50."""
    found = verdict("implanted", record(origin=sent))
    assert found.level == level
    if level != "green":
        assert found.reasons == (
            f"The trigger sends {sent / 100:.1%} of the poisoned public model's own test images to the attacker's "
            "class and 1.0% of its clean twin's: the backdoor was hardly implanted, so nothing can be said of its "
            "removal.",
        )


def test_implanted_is_silent_where_it_cannot_speak() -> None:
    """No public model is poisoned; all its images are of class t; no twin; a filter has had the poison."""
    none = torch.zeros(0, dtype=torch.int64)
    bare = {"origin_label": none, "origin_clean": none, "origin_stamped": none, "carrier_target": -1}
    assert verdict("implanted", record(**bare)) == Verdict()
    assert verdict("implanted", record(origin=0, origin_label=[0] * 109)) == Verdict()
    assert CHECKS["implanted"].verdict(Evidence(record(origin=0))) == Verdict()
    sieve = {"sifted_score": [1.0, 2.0], "sifted_label": [0, 0], "sifted_kept": [True, False]}
    assert verdict("implanted", record(origin=0, sifted_poisoned=[False, True], **sieve)) == Verdict()
    assert verdict("implanted", record(origin=0, sifted_poisoned=[False, False], **sieve)).level == "red"


def test_a_victim_without_a_twin() -> None:
    found = judge(Evidence(record()))
    assert found.level == "red"
    assert found.reasons == (
        "There is no clean twin beside this victim: attack success without it may be what the trigger does to any "
        "model.",
    )


@pytest.mark.parametrize(("others", "level"), [(100, "green"), (99, "amber"), (0, "amber")])
def test_few_images(others: int, level: str) -> None:
    index = torch.cat([torch.arange(others), torch.arange(OTHERS, OTHERS + 50)])
    found = verdict("enough_images", record().take(index))
    assert found.level == level
    if others == 99:
        assert found.reasons == (
            "Only 99 test images are not of the attacker's class, where at least 100 should be: use more test images.",
        )


def test_a_victim_that_calls_everything_t() -> None:
    """It is right on the 50 images of class t. One other right image is enough, and earlier epochs do not count."""
    found = verdict("some_right", record(wrong=OTHERS))
    assert found.level == "red"
    assert found.reasons == (
        "After epoch 1 the victim is right on none of 200 clean images that are not of the attacker's class: its "
        "attack success says nothing of a trigger.",
    )
    assert verdict("some_right", record(wrong=OTHERS - 1)) == Verdict()
    good = record()
    earlier = Stamped.of(good.tensors() | {"clean": torch.stack([good.clean[1] * 0, good.clean[1]])})
    assert verdict("some_right", earlier) == Verdict()
    none = record().take(torch.arange(OTHERS, OTHERS + 50))
    assert verdict("some_right", none) == Verdict(), "there is no other image"


@pytest.mark.parametrize(
    ("applied", "level"), [(100, "green"), (90, "green"), (89, "amber"), (50, "amber"), (49, "red")]
)
def test_poison_that_was_not_applied(applied: int, level: str) -> None:
    found = verdict("poison_applied", record(poison=[100, applied, 1000, 200]))
    assert found.level == level
    if level != "green":
        assert found.reasons == (
            f"{applied} of the 100 images that the rate asks for were poisoned: the backdoor is weaker than its rate "
            "says.",
        )


def test_no_poison_was_asked_for() -> None:
    assert verdict("poison_applied", record(poison=[0, 0, 0, 0])) == Verdict()


@pytest.mark.parametrize(
    ("wrong", "level"), [(0, "green"), (16, "green"), (17, "amber"), (54, "amber"), (55, "red"), (OTHERS, "red")]
)
def test_a_victim_that_is_worse_than_its_twin(wrong: int, level: str) -> None:
    """Of 250 images the twin misses 4: 12 more are 4.8 points, 13 are 5.2; 50 more are 20, 51 are 20.4."""
    found = verdict("as_good_as_twin", record(wrong=wrong))
    assert found.level == level
    if wrong == 55:
        assert found.reasons == (
            "After epoch 1 the victim is right on 78.0% of clean images and its clean twin on 98.4%: the backdoored "
            "model is worse, so both cannot be compared.",
        )


def test_being_worse_counts_after_the_last_epoch_and_with_a_twin() -> None:
    broken = record(wrong=OTHERS)
    early = Stamped.of(broken.tensors() | {"clean": broken.clean.flip(0)})
    assert verdict("as_good_as_twin", early) == Verdict()
    assert CHECKS["as_good_as_twin"].verdict(Evidence(broken)) == Verdict()


def changed(found: Stamped, name: str, value: int = -1) -> Stamped:
    """The first value of a field is another."""
    tensor = found.tensors()[name].clone()
    tensor.view(-1)[0] = value
    return Stamped.of(found.tensors() | {name: tensor})


@pytest.mark.parametrize(
    ("name", "who", "answers"),
    [
        ("clean", "victim", 1000), ("stamped", "victim", 1000), ("origin_clean", "poisoned public model", 468),
        ("origin_stamped", "poisoned public model", 468), ("carrier", "poisoned public model", 468),
    ],
)  # fmt: skip
def test_an_answer_without_a_class(name: str, who: str, answers: int) -> None:
    found = verdict("gives_classes", changed(record(), name))
    assert found.level == "red"
    assert found.reasons == (
        f"The {who} gives no class in 1 of {answers} answers though no defense refuses any image: its logits are not "
        "finite there.",
    )


def test_a_refusal_is_an_answer_of_a_defended_victim() -> None:
    """A cell with a defense has the plain attack beside it; an alarm has scores."""
    refusing = changed(record(), "stamped")
    assert verdict("gives_classes", refusing, plain=record()) == Verdict()
    alarm = {"suspicion_clean": torch.full((2, 250), 0.1), "suspicion_stamped": torch.full((2, 250), 0.2)}
    assert verdict("gives_classes", Stamped.of(refusing.tensors() | alarm)) == Verdict()
    bad_twin = verdict("gives_classes", record(), twin=changed(TWIN, "clean"))
    assert bad_twin.reasons[0].startswith("The clean twin gives no class in 1 of 1000 answers")
    assert verdict("gives_classes", record(), twin=changed(TWIN, "clean"), plain=record()) == Verdict()
    public = verdict("gives_classes", changed(refusing, "origin_clean"), plain=record())
    assert len(public.reasons) == 1
    none = torch.zeros(0, dtype=torch.int64)
    bare = {"carrier": [-1] * 250, "carrier_target": -1, "origin_label": none}
    assert verdict("gives_classes", record(**bare, origin_clean=none, origin_stamped=none)) == Verdict()
