"""Halves by fair coins: complementary, keyed, and with a validation part and canaries that are the same for all."""

from __future__ import annotations

import torch

from tl_robust.data.splits import Draw, Pool
from tl_robust.types import ImageSet

SIZE = 600


def images(seed: int = 0) -> ImageSet:
    draw = torch.Generator().manual_seed(seed)
    pictures = torch.randint(256, (SIZE, 1, 2, 2), generator=draw).to(torch.uint8)
    return ImageSet(pictures, torch.arange(SIZE) % 10)


IMAGES = images()
POOL = Pool.of(IMAGES, 0.1)


def test_both_halves_of_a_pair_are_complementary() -> None:
    for pair in range(4):
        first, second = (Draw(pair, tails, 0, 0.1).members(POOL) for tails in (False, True))
        assert torch.equal(first, ~second)


def test_the_coins_are_fair_and_those_of_pairs_and_seeds_are_their_own() -> None:
    pairs = torch.stack([Draw(pair, False, seed, 0.1).members(POOL) for seed in (0, 1) for pair in range(100)]).double()
    assert abs(float(pairs.mean()) - 0.5) < 0.01  # 108,000 coins: six standard errors
    sizes = pairs.sum(1)
    assert len(sizes.unique()) > 10  # coins, and not halves of a fixed size
    together = torch.corrcoef(pairs) - torch.eye(len(pairs))
    assert float(together.abs().max()) < 0.3
    assert torch.equal(Draw(3, False, 1, 0.1).members(POOL).double(), pairs[103])


def test_the_validation_part_is_the_same_for_all_and_no_member_of_any() -> None:
    assert sorted([*POOL.learn.tolist(), *POOL.held.tolist()]) == list(range(SIZE))
    for tails in (False, True):
        draw = Draw(2, tails, 0, 0.1)
        half, learned, held = draw.of(IMAGES)
        assert len(half) == len(learned) + len(held)
        assert torch.equal(half.images[held], IMAGES.images[POOL.held])
        assert torch.equal(half.images[learned], IMAGES.images[POOL.learn[draw.members(POOL)]])


def test_canaries_have_another_label_the_same_in_both_halves_and_all_others_keep_theirs() -> None:
    pool = Pool.of(IMAGES, 0.1, 0.1)
    assert int(pool.canary.sum()) == round(0.1 * len(pool.learn))
    changed = pool.images.labels != IMAGES.labels
    assert torch.equal(changed[pool.learn], pool.canary)
    assert not bool(changed[pool.held].any())
    assert torch.equal(pool.learn, POOL.learn)
    assert len(pool.images.labels[changed].unique()) == 10
    for tails in (False, True):
        draw = Draw(0, tails, 0, 0.1, 0.1)
        half, learned, _ = draw.of(IMAGES)
        assert torch.equal(half.labels[learned], pool.images.labels[pool.learn[draw.members(pool)]])


def test_the_coins_are_those_of_the_images_and_not_of_what_was_drawn_before() -> None:
    torch.manual_seed(5)
    again = Draw(1, False, 0, 0.1).members(POOL)
    torch.rand(7)
    assert torch.equal(again, Draw(1, False, 0, 0.1).members(Pool.of(images(), 0.1)))
    other = Pool.of(images(1), 0.1)
    assert not torch.equal(again, Draw(1, False, 0, 0.1).members(other))
