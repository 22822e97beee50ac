"""Random numbers that depend on what they are drawn for and on nothing else."""

import subprocess
import sys

import pytest
import torch
from scipy.stats import kstest

from tl_robust.seeding import derive, digest, generator, normal, uniform


def test_the_digest_is_canonical() -> None:
    assert digest({"b": [1, 2.5], "a": None}) == digest({"a": None, "b": (1, 2.5)})
    assert digest({"a": 1}) == "015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862"  # sha256 of {"a":1}
    values = [1, 1.5, "1", True, None, [1], {"a": 1}, {"a": 2}, {"b": 1}, "é", ["a", "b"], ["ab"], [["a"], "b"]]
    assert len({digest(value) for value in values}) == len(values)
    with pytest.raises(ValueError, match="not JSON compliant"):
        digest(float("nan"))
    with pytest.raises(TypeError, match="not JSON serializable"):
        digest(object())


def test_derived_seeds_are_pinned_and_told_apart() -> None:
    assert derive("train", 0, "mnist") == 4071071754453635696
    assert derive() == 2858069222894195974
    seeds = [derive("a", place) for place in range(1000)] + [derive("b", place) for place in range(1000)]
    assert len(set(seeds)) == 2000
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert derive("a", 12) != derive("a1", 2) != derive("a", 1, 2)
    halves = torch.tensor([seed >> 62 for seed in seeds], dtype=torch.float64)
    assert 0.45 < float(halves.mean()) < 0.55


def test_derived_seeds_are_the_same_in_another_process() -> None:
    code = "from tl_robust.seeding import derive; print(derive('train', {'b': 1, 'a': [2]}))"
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert int(there) == derive("train", {"a": [2], "b": 1})


def test_generators_follow_their_parts() -> None:
    draw = torch.rand(5, generator=generator("x", 1))
    assert torch.equal(draw, torch.rand(5, generator=generator("x", 1)))
    assert not torch.equal(draw, torch.rand(5, generator=generator("x", 2)))


def test_uniform_numbers_equal_splitmix64_in_plain_python() -> None:
    """A change of the generator changes every PGD curve: it must be meant. 24 bits each, exact in float32."""
    mask, golden = 2**64 - 1, 0x9E3779B97F4A7C15

    def mix(x: int) -> int:
        x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & mask
        x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & mask
        return x ^ (x >> 31)

    ids, start = [0, 1, 77, 2**40], derive("uniform", 6, 3)
    keys = [mix((sample * golden + start) & mask) for sample in ids]
    expected = [[mix((key + place * golden) & mask) >> 40 for place in range(1, 5)] for key in keys]
    assert (uniform(6, torch.tensor(ids), (4,), stream=3).double() * 2**24).tolist() == expected
    assert (uniform(0, torch.tensor([0, 1]), (1, 2), stream=3) * 2**24).tolist() == [
        [[16110558, 7148128]],
        [[5484251, 11722379]],
    ]


def test_uniform_numbers_are_uniform() -> None:
    draw = uniform(0, torch.arange(2000), (3, 5, 5)).double()
    assert float(draw.min()) >= 0
    assert float(draw.max()) < 1
    assert float(draw.mean()) == pytest.approx(1 / 2, abs=5 * (1 / 12) ** 0.5 / draw.numel() ** 0.5)
    assert float(draw.var()) == pytest.approx(1 / 12, rel=0.01)
    assert kstest(draw.flatten().numpy(), "uniform").pvalue > 1e-3
    for column in (draw[:, 0, 0, 0], draw[0].flatten(), draw[:, 2, 4, 4]):  # over samples, over pixels of one sample
        assert kstest(column.numpy(), "uniform").pvalue > 1e-3
    assert len(draw.flatten().unique()) > 0.99 * draw.numel()


def test_normal_numbers_are_normal() -> None:
    draw = normal(0, torch.arange(2000), (3, 5, 5)).double()
    assert bool(draw.isfinite().all())
    assert float(draw.mean()) == pytest.approx(0, abs=5 / draw.numel() ** 0.5)
    assert float(draw.var()) == pytest.approx(1, rel=0.02)
    assert kstest(draw.flatten().numpy(), "norm").pvalue > 1e-3
    assert 4 < float(draw.abs().max()) < 6


@pytest.mark.parametrize("stream", [0, 1, 5])
def test_normal_numbers_are_box_and_muller_of_two_streams_of_their_own(stream: int) -> None:
    ids = torch.arange(50)
    radius, turn = (uniform(3, ids, (4,), stream=2 * stream + place).double() for place in (0, 1))
    expected = (-2 * torch.log(1 - radius)).sqrt() * torch.cos(2 * torch.pi * turn)
    assert torch.allclose(normal(3, ids, (4,), stream=stream).double(), expected, atol=1e-5)


@pytest.mark.parametrize("kind", [uniform, normal])
def test_neighbors_are_not_correlated(kind) -> None:
    """Neighboring ids, pixels, streams and seeds; five standard errors."""
    ids, shape = torch.arange(3001), (8,)
    draw = kind(0, ids, shape).double()
    bound = 5 / (3000 * 8) ** 0.5
    pairs = {
        "ids": (draw[1:], draw[:-1]),
        "pixels": (draw[:, 1:], draw[:, :-1]),
        "shifted": (draw[1:, :-1], draw[:-1, 1:]),
        "streams": (draw, kind(0, ids, shape, stream=1).double()),
        "streams 0 and 2": (draw, kind(0, ids, shape, stream=2).double()),
        "seeds": (draw, kind(1, ids, shape).double()),
        "far ids": (draw, kind(0, ids + 2**32, shape).double()),
    }
    for name, (left, right) in pairs.items():
        correlation = float(torch.corrcoef(torch.stack([left.flatten(), right.flatten()]))[0, 1])
        assert abs(correlation) < bound, name


def test_normal_and_uniform_of_one_seed_are_told_apart() -> None:
    """The L2 start: direction from normal stream 0 (uniform streams 0, 1), radius from uniform stream 2."""
    ids = torch.arange(4000)
    radius, direction = uniform(0, ids, (1,), stream=2)[:, 0], normal(0, ids, (4,), stream=0)
    both = torch.cat([radius[:, None], direction.abs()], dim=1).double().T
    assert float(torch.corrcoef(both)[0, 1:].abs().max()) < 5 / 4000**0.5


@pytest.mark.parametrize("kind", [uniform, normal])
def test_order_batch_and_neighbors_do_not_matter(kind) -> None:
    ids = torch.tensor([7, 0, 3, 2**40, 12, 5, 999_999])
    draw = kind(5, ids, (3, 7, 7), stream=1)
    order = torch.tensor([6, 2, 0, 1, 5, 4, 3])
    assert torch.equal(kind(5, ids[order], (3, 7, 7), stream=1), draw[order])
    for batch_size in (1, 2, 5):
        parts = torch.cat([kind(5, part, (3, 7, 7), stream=1) for part in ids.split(batch_size)])
        assert torch.equal(parts, draw)


def test_the_global_generator_is_neither_read_nor_moved() -> None:
    draw = normal(0, torch.arange(4), (3,))
    state = torch.get_rng_state()
    torch.rand(1)
    assert torch.equal(normal(0, torch.arange(4), (3,)), draw)
    torch.set_rng_state(state)
    uniform(0, torch.arange(4), (3,))
    generator("a")
    assert torch.equal(torch.get_rng_state(), state)


def test_threads_do_not_matter() -> None:
    draw = uniform(0, torch.arange(300), (3, 32, 32))
    torch.set_num_threads(2)
    try:
        assert torch.equal(uniform(0, torch.arange(300), (3, 32, 32)), draw)
    finally:
        torch.set_num_threads(1)


@pytest.mark.gpu
def test_the_device_does_not_matter() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    ids = torch.arange(100)
    here, there = uniform(3, ids, (3, 32, 32)), uniform(3, ids.cuda(), (3, 32, 32))
    assert there.is_cuda
    assert torch.equal(there.cpu(), here)
    assert torch.allclose(normal(3, ids.cuda(), (3, 32, 32)).cpu(), normal(3, ids, (3, 32, 32)), atol=1e-5)
