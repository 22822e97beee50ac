"""Scores equal those of plain loops over the formulas of the papers."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from tl_robust import inference
from tl_robust.errors import ConfigError
from tl_robust.inference import Seen, Told

SHADOWS, SAMPLES, POPULATION, CLASSES = 10, 40, 25, 4


@pytest.fixture(scope="module")
def seen() -> Seen:
    draw = torch.Generator().manual_seed(3)

    def logits(*shape: int) -> Tensor:
        return 3 * torch.randn(*shape, CLASSES, generator=draw)

    labels = torch.randint(CLASSES, (SAMPLES,), generator=draw)
    others = torch.randint(CLASSES, (POPULATION,), generator=draw)
    heads = torch.rand(SHADOWS // 2, SAMPLES, generator=draw) < 0.5
    return Seen(
        Told(logits(SAMPLES), labels), Told(logits(SAMPLES), labels), Told(logits(SHADOWS, SAMPLES), labels),
        torch.cat([heads, ~heads]), Told(logits(POPULATION), others), Told(logits(SHADOWS, POPULATION), others),
    )  # fmt: skip


def probability(logits: Tensor, label: int) -> float:
    weights = np.exp(logits.double().numpy() - logits.double().numpy().max())
    return float(weights[label] / weights.sum())


def phi(logits: Tensor, label: int) -> float:
    p = probability(logits, label)
    return float(np.log(p / (1 - p)))


def told(seen: Seen) -> list[tuple[float, list[float], list[float]]]:
    """Of each sample the margin of the victim, of shadows that learned from it, and of the others."""
    rows = []
    for n, label in enumerate(seen.victim.labels.tolist()):
        margins = [phi(logits[n], label) for logits in seen.shadows.logits]
        inside = [margin for margin, one in zip(margins, seen.inside[:, n], strict=True) if one]
        outside = [margin for margin, one in zip(margins, seen.inside[:, n], strict=True) if not one]
        rows.append((phi(seen.victim.logits[n], label), inside, outside))
    return rows


def pooled(groups: list[list[float]]) -> float:
    squares = sum(float(((np.array(group) - np.mean(group)) ** 2).sum()) for group in groups)
    return squares / sum(len(group) - 1 for group in groups)


def spread(groups: list[list[float]], n: int, kind: str) -> float:
    own, shared, count = float(np.var(groups[n], ddof=1)), pooled(groups), len(groups[n])
    return {"own": own, "shared": shared, "shrunken": (4 * shared + count * own) / (4 + count)}[kind]


@pytest.mark.parametrize(("mode", "variance"), list(product(("online", "offline"), ("own", "shared", "shrunken"))))
def test_lira_is_the_ratio_of_two_densities(seen: Seen, mode: str, variance: str) -> None:
    rows = told(seen)
    inside, outside = [row[1] for row in rows], [row[2] for row in rows]
    wanted = []
    for n, (own, learned, others) in enumerate(rows):
        scales = [np.sqrt(spread(groups, n, variance)) for groups in (inside, outside)]
        if mode == "offline":
            wanted.append((own - np.mean(others)) / scales[1])
        elif variance == "shrunken":
            densities = [
                stats.t.logpdf(own, 4 + len(group), np.mean(group), scale)
                for group, scale in zip((learned, others), scales, strict=True)
            ]
            wanted.append(densities[0] - densities[1])
        else:
            first, second = (
                stats.norm.logpdf(own, np.mean(group), scale)
                for group, scale in zip((learned, others), scales, strict=True)
            )
            wanted.append(first - second)
    score = inference.get("lira", mode=mode, variance=variance).score(seen)
    assert np.abs(score.numpy() - np.array(wanted)).max() < 1e-9


@pytest.mark.parametrize("mode", ["online", "offline"])
def test_rmia_is_the_share_of_a_population_that_is_passed(seen: Seen, mode: str) -> None:
    def usual(logits: Tensor, label: int, inside: Tensor | None, n: int) -> float:
        p = [probability(each[n], label) for each in logits]
        if inside is None:
            mean = float(np.mean(p))
            return (1.3 * mean + 0.7) / 2 if mode == "offline" else mean
        learned = [value for value, one in zip(p, inside[:, n], strict=True) if one]
        others = [value for value, one in zip(p, inside[:, n], strict=True) if not one]
        if mode == "offline":
            return float((1.3 * np.mean(others) + 0.7) / 2)
        return float((np.mean(learned) + np.mean(others)) / 2)

    def ratio(told: Told, shadows: Told, inside: Tensor | None, n: int) -> float:
        label = int(told.labels[n])
        return probability(told.logits[n], label) / usual(shadows.logits, label, inside, n)

    beside = [ratio(seen.population, seen.shadow_population, None, z) for z in range(POPULATION)]
    own = [ratio(seen.victim, seen.shadows, seen.inside, n) for n in range(SAMPLES)]
    passed = np.array([sum(value / other >= 2 for other in beside) for value in own])
    score = inference.get("rmia", mode=mode).score(seen).numpy() * (POPULATION + 1)
    assert (np.floor(score) == passed).all()
    assert (np.diff(score[np.lexsort((own, passed))]) > 0).all(), "ties are broken by the ratio"


def test_calibration_is_watsons_or_by_margins_of_both_sides(seen: Seen) -> None:
    labels, losses = seen.victim.labels.tolist(), []
    for n, label in enumerate(labels):
        outside = [
            -np.log(probability(logits[n], label))
            for logits, one in zip(seen.shadows.logits, seen.inside[:, n], strict=True) if not one
        ]  # fmt: skip
        losses.append(np.mean(outside) + np.log(probability(seen.victim.logits[n], label)))
    watson = inference.get("calibrated", signal="loss", over="out").score(seen)
    assert np.abs(watson.numpy() - losses).max() < 1e-9
    margins = [own - (np.mean(inside) + np.mean(outside)) / 2 for own, inside, outside in told(seen)]
    assert np.abs(inference.get("calibrated").score(seen).numpy() - margins).max() < 1e-9


def test_loss_and_parent_gap(seen: Seen) -> None:
    assert seen.parent
    labels = seen.victim.labels.tolist()
    own, public = (
        np.array([np.log(probability(told.logits[n], label)) for n, label in enumerate(labels)])
        for told in (seen.victim, seen.parent)
    )
    assert np.abs(inference.get("loss").score(seen).numpy() - own).max() < 1e-9
    assert np.abs(inference.get("parent_gap").score(seen).numpy() - (own - public)).max() < 1e-9


def test_a_model_that_is_almost_sure_loses_no_digits() -> None:
    sure = Told(torch.tensor([[1000.0, 0.0, 0.0]]), torch.tensor([0]))
    assert float(sure.margin) == pytest.approx(1000 - np.log(2), abs=1e-9)


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
