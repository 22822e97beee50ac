"""Weights: who stands in the order of whom, on networks whose start is known."""

import pytest
import torch
from torch import nn

from tl_robust.auditor.origin.weights import compared, kept, relation

SIZES = (24, 16)


class Small(nn.Module):
    """Two hidden layers; the mean filter and the spread of inputs are what data would give all networks."""

    def __init__(self, seed: int, classes: int = 4, rename: bool = False) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(3, SIZES[0], 3), nn.BatchNorm2d(SIZES[0])
        self.second = nn.Linear(SIZES[0], SIZES[1])
        self.classifier = nn.Linear(SIZES[1], classes)
        draw = torch.Generator().manual_seed(seed)
        shared = torch.Generator().manual_seed(12345)
        with torch.no_grad():
            for weight in (self.first.weight, self.second.weight):
                scale = 0.2 + torch.rand(weight.shape[1:], generator=shared)
                mean = torch.randn(weight.shape[1:], generator=shared)
                weight.copy_(mean + scale * torch.randn(weight.shape, generator=draw))
        if rename:
            self.body = nn.ModuleList([self.first, self.norm, self.second])
            del self.first, self.norm, self.second


def learned(start: nn.Module, seed: int, size: float = 1.0) -> nn.Module:
    """The network after a change of low rank, as training gives."""
    after = Small(0)
    after.load_state_dict(start.state_dict())
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in (after.first.weight, after.second.weight):
            flat = weight.flatten(1)
            change = torch.randn(len(flat), 1, generator=draw) @ torch.randn(1, flat.shape[1], generator=draw)
            weight += size * change.view_as(weight)
    return after


def z_of(one: nn.Module, other: nn.Module) -> float:
    return relation(compared(one, other)).z


def test_networks_that_were_trained_apart_are_standard_normal() -> None:
    """Though their filters share mean and spread, by which a plain cosine would take them for relatives."""
    found = torch.tensor([z_of(Small(seed), Small(1000 + seed)) for seed in range(400)])
    assert abs(float(found.mean())) < 0.15
    assert 0.9 < float(found.std()) < 1.1
    assert float((found > 1.645).double().mean()) < 0.09


def test_filters_of_very_different_size_do_not_move_that() -> None:
    found = []
    for seed in range(300):
        one, other = Small(seed), Small(1000 + seed)
        with torch.no_grad():
            for network, place in ((one, seed), (other, 7 * seed + 3)):
                network.second.weight[place % 16] *= 100
                network.first.weight[place % 24] *= 100
        found.append(z_of(one, other))
    assert 0.85 < float(torch.tensor(found).std()) < 1.15
    assert max(found) < 4


def test_a_descendant_is_far_beyond_chance_whatever_was_done_to_it() -> None:
    parent = learned(Small(1), 2)
    child, noisy, pruned = (learned(parent, 3, 0.5) for _ in range(3))
    with torch.no_grad():
        for network, change in ((noisy, 0.5), (pruned, 0.0)):
            for weight in (network.first.weight, network.second.weight):
                weight += change * weight.std() * torch.randn_like(weight)
        for weight in (pruned.first.weight, pruned.second.weight):
            weight *= weight.abs() > weight.abs().median()
    for network in (parent, child, noisy, pruned):
        found = relation(compared(network, parent))
        assert found.z > 8
        assert kept(compared(network, parent)) > 0.9
    assert relation(compared(parent, parent)).score == pytest.approx(1, abs=0.06)


def test_the_order_of_the_units_is_what_counts() -> None:
    parent, child = Small(1), Small(1)
    with torch.no_grad():
        child.first.weight.copy_(child.first.weight.roll(1, 0))
        child.second.weight.copy_(child.second.weight.roll(1, 0))
    assert z_of(child, parent) < 3


def test_a_network_of_the_same_start_does_not_keep_what_was_learned() -> None:
    start = Small(1)
    parent, twin, child = learned(start, 2), learned(start, 3), learned(learned(start, 2), 4)
    assert z_of(twin, parent) > 8
    assert kept(compared(twin, parent)) < 0.7
    assert kept(compared(child, parent)) > 0.95
    assert kept(compared(Small(7), Small(8))) < 0.9 or z_of(Small(7), Small(8)) < 3


def test_last_layer_vectors_and_small_tensors_are_left_out() -> None:
    pairs = compared(Small(1), Small(2, classes=20))
    assert [list(one.shape) for one, _ in pairs] == [[24, 3, 3, 3], [16, 24]]
    assert len(compared(Small(1, classes=20), Small(2, classes=20))) == 2


def test_tables_of_positions_have_an_order_and_are_left_out() -> None:
    one, other = Small(1), Small(2)
    for network in (one, other):
        network.register_parameter("bias_table", nn.Parameter(torch.arange(160.0).view(16, 10)))
        network.places = nn.Embedding(16, 10)
    assert len(compared(one, other)) == 2


def test_names_that_differ_are_matched_by_order_and_shape() -> None:
    parent, renamed = Small(1), Small(1, rename=True)
    assert not {"first.weight"} & set(renamed.state_dict())
    assert z_of(renamed, parent) > 8


def test_weights_of_another_architecture_do_not_fit() -> None:
    class Other(Small):
        def __init__(self) -> None:
            super().__init__(1)
            self.second = nn.Linear(SIZES[0], 40)
            self.first = nn.Conv2d(3, 12, 3)

    assert compared(Small(1), Other()) == []
    part = Other()
    part.first = Small(1).first  # all that fits is the smaller part
    part.second = nn.Linear(SIZES[0], 15)
    whole = Small(1)
    whole.second = nn.Linear(SIZES[0], 60)
    assert compared(whole, part) == []
    assert len(compared(part, whole)) == 1
    assert compared(nn.Identity(), Small(1)) == []
    assert compared(Small(1), nn.Identity()) == []
    assert compared(nn.Identity(), nn.Identity()) == []


def test_nothing_of_a_tensor_and_what_is_not_finite_is_no_evidence() -> None:
    empty, broken = Small(1), Small(1)
    with torch.no_grad():
        for weight in (empty.first.weight, empty.second.weight):
            weight.zero_()
        for weight in (broken.first.weight, broken.second.weight):
            weight.fill_(torch.nan)
    for network in (empty, broken):
        found = relation(compared(network, Small(1)))
        assert (found.z, found.score) == (0, 0)
        assert kept(compared(network, Small(1))) == 0
