"""Scores equal those of the papers, written as loops over samples and shadows."""

from __future__ import annotations

from dataclasses import replace
from math import exp, log

import numpy as np
import pytest
import torch
from scipy.stats import norm, t
from torch import Tensor

from tl_robust import inference
from tl_robust.contracts.kinds.inference import seen_by as seen
from tl_robust.errors import ConfigError
from tl_robust.inference import Seen, Told


def p(told: Told, sample: int, model: int | None = None) -> float:
    """Probability of the label, as a softmax is written down."""
    row = (told.logits if model is None else told.logits[model])[sample].double().numpy()
    powers = np.exp(row - row.max())
    return float(powers[told.labels[sample]] / powers.sum())


def phi(told: Told, sample: int, model: int | None = None) -> float:
    chance = p(told, sample, model)
    return log(chance / (1 - chance))


def sides(given: Seen, sample: int) -> tuple[list[float], list[float]]:
    """phi of the shadows that learned from a sample, and of those that did not."""
    inside: list[float] = []
    outside: list[float] = []
    for shadow in range(len(given.inside)):
        (inside if given.inside[shadow, sample] else outside).append(phi(given.shadows, sample, shadow))
    return inside, outside


def pooled(given: Seen, side: int) -> float:
    squares = [
        (value - np.mean(values)) ** 2 for i in range(len(given.victim.labels))
        for values in [sides(given, i)[side]] for value in values
    ]  # fmt: skip
    freedom = sum(len(sides(given, i)[side]) - 1 for i in range(len(given.victim.labels)))
    return float(sum(squares) / freedom)


def spread(given: Seen, sample: int, side: int, variance: str) -> float:
    own = float(np.var(sides(given, sample)[side], ddof=1))
    if variance == "own":
        return own
    if variance == "shared":
        return pooled(given, side)
    n = len(sides(given, sample)[side])
    return (4 * pooled(given, side) + n * own) / (4 + n)


def same(scores: Tensor, plain: list[float], error: float = 1e-9) -> None:
    assert scores.dtype == torch.float64
    np.testing.assert_allclose(scores.numpy(), plain, rtol=error, atol=error)


@pytest.mark.parametrize("variance", ["own", "shared", "shrunken"])
def test_lira_online_is_the_ratio_of_two_densities(variance: str) -> None:
    given, plain = seen(), []
    for i in range(30):
        own, logs = phi(given.victim, i), []
        for side, values in enumerate(sides(given, i)):
            center, scale = np.mean(values), spread(given, i, side, variance) ** 0.5
            shrunken = variance == "shrunken"
            logs.append(t.logpdf(own, 4 + len(values), center, scale) if shrunken else norm.logpdf(own, center, scale))
        plain.append(logs[0] - logs[1])
    same(inference.get("lira", variance=variance).score(given), plain)


@pytest.mark.parametrize("variance", ["own", "shared", "shrunken"])
def test_lira_offline_orders_as_the_tail_of_the_one_sided_test(variance: str) -> None:
    given, plain, tails = seen(), [], []
    for i in range(30):
        center, scale = np.mean(sides(given, i)[1]), spread(given, i, 1, variance) ** 0.5
        plain.append((phi(given.victim, i) - center) / scale)
        tails.append(-norm.logsf(phi(given.victim, i), center, scale))
    scores = inference.get("lira", mode="offline", variance=variance).score(given)
    same(scores, plain)
    assert (scores.argsort() == torch.tensor(tails).argsort()).all()


@pytest.mark.parametrize(("mode", "a"), [("online", 0.3), ("offline", 0.3), ("offline", 0.0), ("offline", 1.0)])
@pytest.mark.parametrize("gamma", [1.0, 2.0])
def test_rmia_is_the_share_of_the_population_that_is_passed(mode: str, a: float, gamma: float) -> None:
    given, shares, ratios = seen(), [], []
    shadows = len(given.inside)
    beside = [
        p(given.population, z) / (mean if mode == "online" else ((1 + a) * mean + 1 - a) / 2)
        for z in range(25)
        for mean in [np.mean([p(given.shadow_population, z, s) for s in range(shadows)])]
    ]
    for i in range(30):
        into = [p(given.shadows, i, s) for s in range(shadows) if given.inside[s, i]]
        out = [p(given.shadows, i, s) for s in range(shadows) if not given.inside[s, i]]
        mean = np.mean([np.mean(into), np.mean(out)]) if mode == "online" else ((1 + a) * np.mean(out) + 1 - a) / 2
        ratios.append(p(given.victim, i) / mean)
        shares.append(sum(ratios[-1] / z >= gamma for z in beside))
    scores = inference.get("rmia", mode=mode, a=a, gamma=gamma).score(given)
    assert len(set(shares)) > 5, "the case is rich"
    assert (scores * 26).floor().tolist() == shares
    assert (scores.argsort() == torch.tensor(ratios).argsort()).all(), "ties are broken by the ratio"
    same(scores, [(share + log(r) / (1 + abs(log(r))) / 2 + 0.5) / 26 for share, r in zip(shares, ratios, strict=True)])


def test_loss_and_parent_gap_are_differences_of_cross_entropies() -> None:
    given = seen()
    same(inference.get("loss").score(given), [log(p(given.victim, i)) for i in range(30)])
    assert given.parent
    gap = [log(p(given.victim, i)) - log(p(given.parent, i)) for i in range(30)]
    same(inference.get("parent_gap").score(given), gap)
    margin = [phi(given.victim, i) - phi(given.parent, i) for i in range(30)]
    same(inference.get("parent_gap", signal="margin").score(given), margin)


def test_calibrated_subtracts_how_hard_a_sample_is() -> None:
    given, margins, losses = seen(), [], []
    for i in range(30):
        inside, outside = sides(given, i)
        margins.append(float(phi(given.victim, i) - (np.mean(inside) + np.mean(outside)) / 2))
        out = [-log(p(given.shadows, i, s)) for s in range(10) if not given.inside[s, i]]
        losses.append(float(np.mean(out) + log(p(given.victim, i))))
    same(inference.get("calibrated").score(given), margins)
    same(inference.get("calibrated", signal="loss", over="out").score(given), losses)


def test_a_model_that_is_almost_sure_loses_no_digits() -> None:
    told = Told(torch.tensor([[1e3, 0.0], [0.0, 1e3], [40.0, 0.0]]), torch.zeros(3, dtype=torch.int64))
    assert told.margin.tolist() == [1e3, -1e3, 40]
    assert float(told.loss[2]) == pytest.approx(exp(-40), rel=1e-9)


@pytest.mark.parametrize("settings", [{}, {"mode": "offline"}, {"mode": "offline", "a": 1.0}])
def test_rmia_orders_where_no_probability_is_a_float(settings: dict[str, object]) -> None:
    given = seen(scale=2000.0)
    scores = inference.get("rmia", **settings).score(given)  # type: ignore[arg-type]
    assert scores.isfinite().all()
    assert len(scores.unique()) > 15


def test_lira_has_no_answer_without_a_variance() -> None:
    given = seen()
    only = given.inside.clone()
    only[:, 0] = False
    only[0, 0] = True  # a single shadow learned from the first sample
    lone = replace(given, inside=only)
    assert inference.get("lira", variance="own").score(lone).isnan().tolist() == [True] + [False] * 29
    for variance in ("shared", "shrunken"):
        assert inference.get("lira", variance=variance).score(lone).isfinite().all()
    alike = replace(given, shadows=Told(given.shadows.logits[:1].expand(10, -1, -1), given.shadows.labels))
    for mode in ("online", "offline"):
        assert inference.get("lira", mode=mode).score(alike).isnan().all()


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("loss", {"pairs": 1}, "at least 2, since thresholds come from other pairs"),
        ("lira", {"pairs": 2}, "at least 3, since it compares shadows of other pairs"),
        ("rmia", {"shadows": 5}, "even number from 2 to 22"),
        ("rmia", {"knowledge": "all"}, "must be lineage, recipe, other_parent, got 'all'"),
        ("loss", {"side": "both"}, "must be target or source, got 'both'"),
        ("loss", {"canaries": 0.9}, "must be in \\[0, 0.5\\]"),
        ("parent_gap", {"side": "source"}, "asks the parent, whose own training data"),
    ],
)
def test_a_wrong_setting_is_one_sentence(name: str, settings: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        inference.get(name, **settings)  # type: ignore[arg-type]
