"""A record of another threat is checked, cut, stored and shared by its declarations alone."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor

from tl_robust.nodes.payload import pack_outcome, pack_record, unpack_outcome, unpack_record
from tl_robust.results.packing import pack, unpack
from tl_robust.types import Outcome, Record, column


@dataclass(frozen=True)
class Noise(Record):
    """Images with noise: right or wrong at each strength, and a score that may be missing."""

    AXIS = "sigma"

    sigma: Tensor = column("K", torch.float64)
    label: Tensor = column("N", torch.int64)
    noisy: Tensor = column("N K", torch.int64)
    score: Tensor = column("N", torch.float32, optional=True)


def noise(samples: int = 6, **more: Tensor) -> Noise:
    label = torch.arange(samples) % 3
    noisy = torch.stack([label, (label + 1) % 3], dim=1)
    fields = {"sample_id": torch.arange(samples) * 5, "sigma": torch.tensor([0.0, 0.5], dtype=torch.float64)}
    return Noise(**(fields | {"label": label, "noisy": noisy} | more))


def outcome() -> Outcome:
    label, adv = torch.tensor([0, 1, 2]), torch.tensor([[0, 1, 2], [300, -1, 2]])
    eps = torch.tensor([0.0, 0.25], dtype=torch.float64)
    size, flags = torch.tensor([[0.0, 0, 0], [0.1, 0.2, 0.25]]), torch.tensor([True, False, True])
    return Outcome(torch.tensor([7, 8, 70_000]), label, label, label, adv, adv, size, eps, flags, adv > 1, ~flags)


def equal(first: Record, second: Record) -> bool:
    pairs = zip(first.tensors().items(), second.tensors().items(), strict=True)
    return type(first) is type(second) and all(
        name == other and one.dtype == two.dtype and torch.equal(one, two) for (name, one), (other, two) in pairs
    )


def test_a_record_says_what_curves_are_drawn_over_and_fills_what_was_not_measured() -> None:
    assert noise().x.tolist() == [0.0, 0.5]
    assert noise().score.tolist() == [0.0] * 6
    assert list(noise().tensors()) == ["sample_id", "sigma", "label", "noisy", "score"]
    assert outcome().x.tolist() == [0.0, 0.25]
    assert outcome().loss_rise.dtype == torch.float32


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("noisy", torch.zeros(2, 6, dtype=torch.int64), r"\(6, 2\), got \(2, 6\)"),
        ("label", torch.zeros(5, dtype=torch.int64), r"\(6,\), got \(5,\)"),
        ("score", torch.zeros(7), r"\(6,\), got \(7,\)"),
        ("sigma", torch.zeros(3, dtype=torch.float64), r"\(6, 3\), got \(6, 2\)"),
        ("label", torch.tensor(1), r"\(6,\), got \(\)"),
    ],
)
def test_every_field_has_its_declared_shape(name: str, value: Tensor, expected: str) -> None:
    with pytest.raises(ValueError, match=rf"Noise\.\w+ must have shape {expected}"):
        noise(**{name: value})


def test_samples_are_taken_along_their_own_axis() -> None:
    taken = noise().take(torch.tensor([4, 1]))
    assert taken.sample_id.tolist() == [20, 5]
    assert taken.noisy.tolist() == [[1, 2], [1, 2]]
    assert taken.sigma.tolist() == [0.0, 0.5]
    assert outcome().take(torch.tensor([1])).adv_a.tolist() == [[1], [-1]]


@pytest.mark.parametrize("record", [noise(), noise(score=torch.rand(6)), outcome()])
def test_what_is_stored_and_shared_comes_back(record: Record) -> None:
    assert equal(unpack_record(type(record), pack_record(record)), record)
    assert equal(unpack(type(record), json.loads(json.dumps(pack(record)))), record)


def test_the_bytes_of_an_outcome_are_those_of_its_arrays_in_the_order_that_stores_have() -> None:
    names = [
        "sample_id",
        "label",
        "clean_a",
        "clean_b",
        "adv_a",
        "adv_b",
        "size",
        "eps",
        "zero_gradient",
        "valid",
        "same_labels",
        "loss_rise",
    ]
    file = io.BytesIO()
    np.savez_compressed(file, **{name: getattr(outcome(), name).numpy() for name in names})
    assert pack_outcome(outcome()) == file.getvalue()
    assert equal(unpack_outcome(file.getvalue()), outcome())


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"label": torch.zeros(6)}, "label is torch.float32, expected torch.int64"),
        ({"sigma": torch.zeros(2)}, "sigma is torch.float32, expected torch.float64"),
        ({"later": torch.zeros(6)}, r"not the arrays of Noise .*'later'"),
        ({"label": torch.zeros(5, dtype=torch.int64)}, "must have shape"),
    ],
)
def test_what_is_read_must_be_what_is_declared(change: dict[str, Tensor], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Noise.of(noise().tensors() | change)
    with pytest.raises(ValueError, match=r"not the arrays of Noise .*label"):
        Noise.of({name: tensor for name, tensor in noise().tensors().items() if name != "label"})


def test_a_shared_record_has_the_kinds_of_numbers_that_are_declared() -> None:
    packed = pack(noise())
    with pytest.raises(ValueError, match="label cannot be float64"):
        unpack(Noise, packed | {"label": packed["sigma"]})
    with pytest.raises(ValueError, match="sigma cannot be int8"):
        unpack(Noise, packed | {"sigma": packed["label"]})
