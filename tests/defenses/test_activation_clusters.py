"""Two clusters in each label against a search of every division in two, and silhouettes by their definition."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch

from tests.defenses.given import Given, Numbers, auroc, poisoned_problem, set_of
from tl_robust.defenses.activation_clusters import ActivationClusters


def spread(points: Numbers, inside: Numbers) -> float:
    """Squared distances to the two means, which 2-means makes small."""
    return float(sum(((part - part.mean(0)) ** 2).sum() for part in (points[inside], points[~inside])))


def best_division(points: Numbers) -> Numbers:
    """Of all divisions in two the one with the least spread; True: the part that is not larger."""
    every = (
        np.isin(np.arange(len(points)), places)
        for size in range(1, len(points) // 2 + 1)
        for places in combinations(range(len(points)), size)
    )
    return min(every, key=lambda inside: spread(points, inside))


def silhouette(points: Numbers, inside: Numbers) -> float:
    """Rousseeuw, 1987: (b - a) / max(a, b), with mean distances to one's own and to the other cluster."""
    values = []
    for place, point in enumerate(points):
        away = np.sqrt(((points - point) ** 2).sum(1))
        own, other = inside == inside[place], inside != inside[place]
        if own.sum() == 1:
            values.append(0.0)
            continue
        a, b = away[own].sum() / (own.sum() - 1), away[other].mean()
        values.append((b - a) / max(a, b))
    return float(np.mean(values))


def reduced(features: Numbers, components: int) -> Numbers:
    centered = features - features.mean(0)
    axes = np.linalg.eigh(centered.T @ centered)[1][:, ::-1][:, :components]
    return np.asarray(centered @ axes)


@pytest.mark.parametrize("seed", range(12))
def test_each_label_is_divided_as_the_search_says(seed: int) -> None:
    """Labels of 10 images with 1 to 5 of them moved away by more or less, so that some are flagged and some are not."""
    draw = np.random.default_rng(seed)
    features = draw.normal(120, 8, (3, 10, 5))
    for own in features:
        own[: draw.integers(1, 6)] += draw.uniform(15, 50)
    images = set_of(features.reshape(30, 5), [label for label in range(3) for _ in range(10)])
    filter = ActivationClusters(components=3)
    scores = filter.scores(images, {"undefended": Given(5)})
    kept = filter.kept(images, scores).numpy().reshape(3, 10)
    pixels = images.images.numpy().reshape(3, 10, 5) / 255.0
    for label, found in enumerate(scores.double().numpy().reshape(3, 10)):
        points = reduced(pixels[label], 3)
        flagged = bool(found.max() > 0)
        nearer = found + (0 if flagged else 2)
        inside, best = nearer > 0, best_division(points)
        assert inside.sum() <= 5
        assert spread(points, inside) <= 1.1 * spread(points, best)  # 2-means may end beside the optimum
        if silhouette(points, best) > 0.5:  # but not where the clusters are apart
            assert inside.sum() == 5 or list(inside) == list(best)
            assert list(inside) in (list(best), list(~best))
        means = [points[part].mean(0) for part in (inside, ~inside)]
        small, large = (np.sqrt(((points - mean) ** 2).sum(1)) for mean in means)
        assert nearer == pytest.approx((large - small) / np.sqrt(((means[0] - means[1]) ** 2).sum()), abs=1e-4)
        assert flagged == (silhouette(points, inside) > 0.15 and inside.sum() / 10 < 0.35)
        assert list(~kept[label]) == list(inside & flagged)


def test_the_thresholds_decide_whether_anything_is_removed() -> None:
    images, poisoned = poisoned_problem(0.05)
    for filter, removes in (
        (ActivationClusters(), True),
        (ActivationClusters(silhouette=0.95), False),
        (ActivationClusters(share=0.05), False),
    ):
        scores = filter.scores(images, {"undefended": Given(12)})
        inside = (images.labels == 0).numpy()
        assert bool((~filter.kept(images, scores))[torch.from_numpy(poisoned)].all()) == removes
        assert not (~filter.kept(images, scores))[torch.from_numpy(~poisoned & inside)].any()
        assert auroc(scores[torch.from_numpy(inside)], poisoned[inside]) == 1  # inside t the ranks do not depend on it


@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_label_that_has_no_two_clusters_is_kept(count: int) -> None:
    images = set_of(np.full((count, 4), 100.0), [2] * count)
    scores = ActivationClusters().scores(images, {"undefended": Given(4)})
    assert scores.tolist() == [-2] * count


def test_equal_features_but_one_are_two_clusters() -> None:
    features = np.full((20, 4), 100.0)
    features[7] += 90
    scores = ActivationClusters().scores(set_of(features, [1] * 20), {"undefended": Given(4)})
    assert [place for place in range(20) if scores[place] > 0] == [7]
