"""Exposure of given models from Python."""

from __future__ import annotations

import doctest

import pytest
import torch
from torch import Tensor, nn

import tl_robust
from tl_robust.contracts.kinds.inference import halves, signals
from tl_robust.errors import ConfigError
from tl_robust.inference import get as get_inference
from tl_robust.inference import given, names
from tl_robust.inference.scoring import _others
from tl_robust.metrics import get

MEMBERS = halves(4, 200)
SAID = signals(MEMBERS, 1.5)
LABELS, TEST_LABELS = SAID[0].label, SAID[0].test_label
MODELS = [(each.logits[0], each.test_logits[0]) for each in SAID]
POPULATION = (None, TEST_LABELS)


def test_the_example_of_the_docstring_holds() -> None:
    assert doctest.testmod(given).attempted > 5
    assert not doctest.testmod(given).failed


@pytest.mark.parametrize("name", names())
def test_one_call_gives_all_metrics_with_intervals(name: str) -> None:
    found = tl_robust.exposure(MODELS, MEMBERS, None, LABELS, name, population=POPULATION, parent=MODELS[0])
    value, low, high = found["auc"]
    assert low < value < high
    assert value == pytest.approx(float(get("auc")(found.record)))
    if name not in ("parent_gap", "loss"):
        assert low > 0.55


def test_pairs_are_found_in_any_order() -> None:
    turned = torch.tensor([6, 0, 3, 5, 1, 7, 2, 4])
    found = tl_robust.exposure([MODELS[i] for i in turned], MEMBERS[turned], None, LABELS, population=POPULATION)
    assert (MEMBERS[turned][found.order] == found.record.member).all()
    assert (found.record.member[0::2] != found.record.member[1::2]).all()
    plain = tl_robust.exposure(MODELS, MEMBERS, None, LABELS, population=POPULATION)
    assert found["auc"][0] == pytest.approx(plain["auc"][0], abs=1e-12)


def test_modules_are_asked_as_their_logits_would_be_given() -> None:
    torch.manual_seed(0)
    networks = [nn.Linear(6, 5) for _ in MODELS]
    images, beside = torch.rand(200, 6), torch.rand(40, 6)
    asked = tl_robust.exposure(networks, MEMBERS, images, LABELS, population=(beside, TEST_LABELS))
    with torch.no_grad():
        logits = [(network(images), network(beside)) for network in networks]
    told = tl_robust.exposure(logits, MEMBERS, None, LABELS, population=POPULATION)
    torch.testing.assert_close(asked.record.score, told.record.score)


def test_shadows_that_know_a_models_halves_are_left_out_for_it() -> None:
    """The same models as shadows are what the other pairs are, so that the answer is the same."""
    own = tl_robust.exposure(MODELS, MEMBERS, None, LABELS, "calibrated", population=POPULATION)
    again = tl_robust.exposure(
        MODELS, MEMBERS, None, LABELS, "calibrated", shadows=MODELS, shadow_members=MEMBERS, population=POPULATION
    )
    torch.testing.assert_close(own.record.score, again.record.score)
    one = tl_robust.exposure(
        MODELS[:2], MEMBERS[:2], None, LABELS, "calibrated", shadows=MODELS[2:], shadow_members=MEMBERS[2:],
        population=POPULATION,
    )  # fmt: skip
    torch.testing.assert_close(one.record.score, own.record.score[:, :2])


def broken(logits: Tensor) -> Tensor:
    logits = logits.clone()
    logits[0, 0] = torch.nan
    return logits


@pytest.mark.parametrize(("change", "says"), [
    ({"members": MEMBERS.float()}, r"members must be bool \[8, 200\]"),
    ({"members": MEMBERS[:, :9]}, r"got torch.bool \[8, 9\]"),
    ({"members": MEMBERS[[0, 1, 2, 3, 4, 5, 6, 6]]}, r"members\[6\] has no complement"),
    ({"labels": LABELS.float()}, "labels must be an int64 tensor"),
    ({"labels": LABELS + 9}, "labels must be below 5"),
    ({"models": MODELS[:2], "members": MEMBERS[:2]}, "needs at least 2 pairs of models, got 1"),
    ({"models": [(broken(MODELS[0][0]), MODELS[0][1]), *MODELS[1:]]}, r"models\[0\] are not finite"),
    ({"models": [(MODELS[0][0][:7], MODELS[0][1]), *MODELS[1:]]}, r"models\[0\] must be \[200, classes\]"),
    ({"models": [nn.Flatten(), *MODELS[1:]]}, "is a function of images"),
    ({"population": None}, "give population="),
    ({"inference": "parent_gap"}, "give parent="),
    ({"shadows": MODELS}, "give shadow_members="),
    ({"shadows": MODELS[:2], "shadow_members": MEMBERS[:2]}, r"members\[0\] needs 1 pairs of shadows"),
])  # fmt: skip
def test_bad_input_is_refused_in_one_sentence(change: dict[str, object], says: str) -> None:
    whole: dict[str, object] = {
        "models": MODELS, "members": MEMBERS, "images": None, "labels": LABELS, "population": POPULATION
    }  # fmt: skip
    with pytest.raises(ConfigError, match=says) as raised:
        tl_robust.exposure(**whole | change)  # type: ignore[arg-type]
    assert "\n" not in str(raised.value)


def test_few_shadows_are_those_of_other_pairs_in_turn_and_never_the_partner() -> None:
    attack = get_inference("calibrated", pairs=4, shadows=4)
    chosen = [_others(attack, model, MEMBERS, None).tolist() for model in range(8)]
    assert chosen[:2] == [[2, 3, 4, 5]] * 2
    assert chosen[7] == [0, 1, 2, 3]
    assert all(other // 2 != model // 2 for model, others in enumerate(chosen) for other in others)
    assert [sum(others.count(shadow) for others in chosen) for shadow in range(8)] == [4] * 8
