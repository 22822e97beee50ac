"""What every registered inference promises; a plugin gets these tests by being registered."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tl_robust import inference, metrics
from tl_robust.errors import ConfigError, UnknownNameError
from tl_robust.inference import INFERENCES, ShadowInference, Told
from tl_robust.registry import Scalar

sys.path.insert(0, str(Path(__file__).parents[1] / "inference"))
from plain import exposed, halves, seen, signals

LIRA: list[dict[str, Scalar]] = [
    {"mode": mode, "variance": variance} for mode in ("online", "offline") for variance in ("own", "shared", "shrunken")
]
MODES: list[tuple[str, dict[str, Scalar]]] = [
    *((name, {}) for name in inference.names()),
    ("parent_gap", {"signal": "margin"}),
    ("calibrated", {"signal": "loss", "over": "out"}),
    *(("lira", settings) for settings in LIRA),
    ("rmia", {"mode": "offline"}),
]
EVERY = pytest.mark.parametrize(
    ("name", "settings"), MODES, ids=["-".join([name, *map(str, each.values())]) for name, each in MODES]
)


@EVERY
def test_one_finite_score_for_each_sample_and_nothing_is_changed(name: str, settings: dict[str, Scalar]) -> None:
    given, same = seen(), seen()
    scores = inference.get(name, **settings).score(given)
    assert (scores.shape, scores.dtype) == ((30,), torch.float64)
    assert scores.isfinite().all()
    assert len(scores.unique()) > 25, "ties are broken"
    assert (given.shadows.logits == same.shadows.logits).all()
    assert (inference.get(name, **settings).score(same) == scores).all()


@EVERY
@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_logits_of_a_victim_that_diverged_have_no_score(name: str, settings: dict[str, Scalar], bad: float) -> None:
    given = seen()
    logits = given.victim.logits.clone()
    logits[3, 1] = bad
    scores = inference.get(name, **settings).score(replace(given, victim=Told(logits, given.victim.labels)))
    assert scores.isnan().nonzero().flatten().tolist() == [3]


@EVERY
def test_a_shadow_that_diverged_is_not_left_out_in_silence(name: str, settings: dict[str, Scalar]) -> None:
    given, attack = seen(), inference.get(name, **settings)
    if not isinstance(attack, ShadowInference):
        pytest.skip("it has no shadows")
    logits, tested = given.shadows.logits.clone(), given.shadow_population.logits.clone()
    logits[:2], tested[:2] = torch.nan, torch.nan  # a pair, so that each sample has one on either side
    broken = replace(
        given, shadows=Told(logits, given.shadows.labels), shadow_population=Told(tested, given.population.labels)
    )
    assert attack.score(broken).isnan().all()


@EVERY
@pytest.mark.parametrize("pairs", [2, 4, 8])
def test_what_no_model_knows_is_told_by_chance(name: str, settings: dict[str, Scalar], pairs: int) -> None:
    if pairs < INFERENCES[name].LEAST:
        pytest.skip("it needs more pairs")
    held, seeds = 0, 5
    attack = inference.get(name, pairs=pairs, **settings)
    for seed in range(seeds):
        member = halves(pairs, 1000, seed)
        record = exposed(attack, member, signals(member, 0.0, seed=seed), signals(member[:1], 0.0, seed=99)[0])
        curve = metrics.get("auc").curve(record)
        assert abs(float(curve.value) - 0.5) < 0.03
        held += float(curve.low) <= 0.5 <= float(curve.high)
    assert held >= 3


@EVERY
def test_what_models_learned_is_seen(name: str, settings: dict[str, Scalar]) -> None:
    member = halves(6, 300)
    record = exposed(inference.get(name, pairs=6, **settings), member, signals(member, 2.0), signals(member[:1], 0)[0])
    assert float(metrics.get("auc")(record)) > 0.6


def test_a_setting_out_of_its_range_or_unknown_is_refused_in_one_sentence() -> None:
    for name in inference.names():
        for bad in ({"pairs": INFERENCES[name].LEAST - 1}, {"side": "both"}, {"canaries": 0.6}):
            with pytest.raises(ConfigError, match=rf"^setting '{next(iter(bad))}' of {name} must be [^\n]+\.$"):
                inference.get(name, **bad)
        with pytest.raises(UnknownNameError, match="pears"):
            inference.get(name, pears=3)
