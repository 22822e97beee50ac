"""Halves of a training split by fair coins."""

from __future__ import annotations

import pytest
import torch

from tl_robust.data.splits import Draw, Pool
from tl_robust.types import ImageSet


@pytest.fixture(scope="module")
def images() -> ImageSet:
    draw = torch.Generator().manual_seed(0)
    return ImageSet(
        torch.randint(256, (400, 1, 4, 4), dtype=torch.uint8, generator=draw), torch.randint(10, (400,), generator=draw)
    )


@pytest.mark.parametrize("pair", range(3))
def test_both_of_a_pair_have_every_sample_once_and_share_the_validation_part(images: ImageSet, pair: int) -> None:
    pool = Pool.of(images, 0.1)
    heads, tails = (Draw(pair, side, 0, 0.1) for side in (False, True))
    assert torch.equal(heads.members(pool), ~tails.members(pool))
    seen = []
    for draw in (heads, tails):
        half, learn, held = draw.of(images)
        assert len(half) == len(learn) + len(held)
        assert torch.equal(half.images[learn], images.images[pool.learn[draw.members(pool)]])
        assert torch.equal(half.labels[held], images.labels[pool.held])
        seen.append(half.fingerprint)
    assert seen[0] != seen[1]


def test_coins_are_fair_and_keyed_by_pair_and_seed(images: ImageSet) -> None:
    pool = Pool.of(images, 0.1)
    coins = torch.stack([Draw(pair, False, seed, 0.1).members(pool) for pair in range(50) for seed in range(2)])
    share = coins.double().mean()
    assert abs(share - 0.5) < 4 * 0.5 / coins.numel() ** 0.5
    agree = (coins[:, None] == coins[None]).double().mean(-1)
    assert float((agree - torch.eye(100)).max()) < 0.7, "no two draws are alike"
    assert torch.equal(Draw(3, False, 1, 0.1).members(pool), coins[7])


def test_canaries_have_another_label_and_nothing_else_changes(images: ImageSet) -> None:
    clean, pool = Pool.of(images, 0.1), Pool.of(images, 0.1, 0.25)
    changed = pool.images.labels != images.labels
    assert torch.equal(changed[pool.learn], pool.canary)
    assert int(pool.canary.sum()) == round(0.25 * len(pool.learn))
    assert not changed[pool.held].any()
    assert torch.equal(pool.images.images, images.images)
    assert torch.equal(clean.learn, pool.learn)
    assert not clean.canary.any()
    assert pool.images.labels.max() < 10
