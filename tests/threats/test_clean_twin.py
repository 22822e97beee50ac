"""What a poisoned training shares with its clean twin, and what an attacker who owns the training adds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.threats.backdoor_cells import (
    PATCH,
    cell_of,
    planned,
    run,
    same,
    stamping_of,
    trained,
    weights_of,
)
from tl_robust.data.pair import DomainModule
from tl_robust.data.splits import split_validation
from tl_robust.errors import ConfigError
from tl_robust.nodes.guarded import Guarded
from tl_robust.nodes.hands import Hands
from tl_robust.nodes.models import WEIGHTS
from tl_robust.nodes.poisoning import learned
from tl_robust.nodes.training import Training

STILL = """
from dataclasses import dataclass
from tl_robust.backdoors import BACKDOORS, Backdoor

@BACKDOORS.register
@dataclass(frozen=True)
class Still(Backdoor):
    labels: str = "clean"
    rate: float = 0.05

    def stamp(self, images, sample_id, fitted):
        return images.clone()
"""
BARE = """
from torch import nn
from tl_robust.models import NETWORKS

@NETWORKS.register
class Bare(nn.Module):
    def __init__(self, image_shape, classes):
        super().__init__()
        self.body = nn.Sequential(nn.AvgPool2d(8), nn.Flatten(), nn.Linear(48, classes))

    def forward(self, images):
        return self.body(images)
"""


def test_a_poison_that_changes_nothing_gives_the_very_weights_of_the_twin(tiny: Path) -> None:
    """Start, order of batches, augmentation, dropout and choice of the epoch are shared: only poison can differ."""
    (tiny.parent / "plugins" / "still.py").write_text(STILL)
    finished, plan, store = run(tiny, "recipe.augment=crop", "recipe.epochs=3", attack="{name: still, target: '3'}")
    assert not finished.failures
    (cell,) = plan.cells
    own, twin = trained(cell.victim), trained(cell.scene.victim)
    assert own.key != twin.key
    assert own.draws == twin.key == twin.draws
    assert own.parent is not None
    assert twin.parent is not None
    for one, other in ((own, twin), (own.parent, twin.parent)):
        assert same(store.load(WEIGHTS, one.key), store.load(WEIGHTS, other.key))
    record, twins = finished.results[0].outcome, finished.results[0].beside["twin"]
    for name in ("clean", "stamped", "carrier", "origin_clean", "origin_stamped", "sample_id", "size_l2"):
        assert torch.equal(getattr(record, name), getattr(twins, name)), name
    assert torch.equal(record.clean, record.stamped)
    assert record.poison.tolist() == [4, 4, 70, 7]  # 5 % of 70; all of class t as before
    assert twins.poison.tolist() == [0, 0, 0, 0]


def test_a_poisoned_a_starts_as_its_twin_and_ends_otherwise(tiny: Path) -> None:
    finished, plan, store = run(tiny)
    assert not finished.failures
    (cell,) = plan.cells
    own, twin = (trained(model) for model in (cell.play.surrogate, cell.scene.surrogate))
    taken, taken_of_twin = (weights_of(training, store, (0, 1)) for training in (own, twin))
    assert same(taken[0], taken_of_twin[0])
    assert not same(taken[1], taken_of_twin[1])
    b = trained(cell.victim)
    assert same(weights_of(b, store, (0,))[0], store.load(WEIGHTS, own.key)), "B starts from the poisoned A"
    record = finished.results[0].outcome
    poison, images = own.poison, learned(own.data, own.recipe)
    assert poison
    made = poison.of(images, own.seed, {})
    assert record.poison.tolist() == [14, 14, 70, 7 + 14]
    assert int((made.images.labels == 3).sum()) == 7 + 14
    assert record.seen.tolist() == [0, 70, 140]


def test_the_validation_part_is_clean_and_the_same(tiny: Path) -> None:
    own = trained(cell_of(tiny).play.surrogate)
    assert own.poison
    clean = DomainModule(own.data, own.recipe, 5)
    dirty = DomainModule(own.data, own.recipe, 5, poison=lambda images: own.poison.of(images, own.seed, {}))  # type: ignore[union-attr]
    for one, other in zip(clean.val_dataloader(), dirty.val_dataloader(), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    images = own.data.images("train")
    places, held = split_validation(images, own.recipe.val_share)
    mask = own.poison.of(images.take(places), own.seed, {}).mask
    seen = dict[int, bool]()
    for one, other in zip(clean.train_dataloader(), dirty.train_dataloader(), strict=True):
        assert torch.equal(one[2], other[2]), "the same order"
        changed = (one[0] != other[0]).flatten(1).any(1)
        assert bool((other[1][changed] == 3).all())
        assert torch.equal(one[1][~changed], other[1][~changed])
        seen |= dict(zip(one[2].tolist(), changed.tolist(), strict=True))
    assert set(seen) == set(places.tolist())
    assert {place for place, changed in seen.items() if changed} == set(places[mask].tolist())
    assert not set(held.tolist()) & set(seen)


def test_a_snapshot_is_what_a_shorter_run_ends_with(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where draws are the same, nothing depends on how long a run will be: a survival curve is one run of B."""
    finished, plan, store = run(tiny)
    assert not finished.failures
    monkeypatch.setattr(Training, "draws", "one for all")
    b = trained(plan.cells[0].victim)
    b = replace(b, recipe=replace(b.recipe, select="last", epochs=4, lr_every=2))
    long = weights_of(b, store, (0, 1, 2, 3, 4))
    for epochs in (1, 2, 3):
        short = replace(b, recipe=replace(b.recipe, epochs=epochs))
        records, _ = short.make(Hands({"accelerator": "cpu"}, 16), store)
        assert same(records[short.key], long[epochs]), epochs
    assert not same(long[1], long[2])


# attackers who own the training


def test_latent_goes_on_from_the_clean_model(tiny: Path) -> None:
    latent = PATCH.replace("patch", "latent")
    finished, plan, store = run(tiny, attack=latent)
    assert not finished.failures
    (cell,) = plan.cells
    own, twin = (trained(model) for model in (cell.play.surrogate, cell.scene.surrogate))
    assert own.parent == twin
    assert own.recipe == twin.recipe
    assert own.poison
    assert own.poison.adds
    assert own.poison.fit
    assert own.poison.fit.model == twin
    assert own.clean == twin
    assert trained(cell.victim).draws == cell.scene.victim.key, "B draws as its twin"
    assert same(weights_of(own, store, (0,))[0], store.load(WEIGHTS, twin.key))
    plain = replace(own, poison=replace(own.poison, joins=False))
    assert plain.key != own.key
    records, _ = replace(plain, snapshots=()).make(Hands({"accelerator": "cpu"}, 16), store)
    assert not same(records[plain.key], store.load(WEIGHTS, own.key)), "what it adds to the loss counts"
    for stamping in (stamping_of(cell), stamping_of(cell, "twin")):
        assert stamping.fit == own.poison.fit


def test_latent_on_a_network_without_a_last_layer_fails_in_a_sentence(tiny: Path) -> None:
    (tiny.parent / "plugins" / "bare.py").write_text(BARE)
    with pytest.raises(ConfigError, match="network 'bare' does not say what its last layer is") as caught:
        planned(tiny, "axes.network=[bare]", attack="latent")
    assert "\n" not in str(caught.value)


def test_what_b_cost_is_known_without_what_is_public(tiny: Path) -> None:
    finished, plan, store = run(tiny)
    (cell,), (result,) = plan.cells, finished.results
    spent = store.manifest(WEIGHTS, trained(cell.victim).key)["made"]["seconds"]
    assert result.provenance["victim_seconds"] == spent > 0


# waking


@pytest.mark.parametrize("attack", ["patch", "latent"])
def test_a_few_stamped_images_wake_both_in_the_same_way(tiny: Path, attack: str) -> None:
    waking = PATCH.replace("patch", attack).replace("}", ", wake: 3}")
    finished, plan, _ = run(tiny, attack=waking)
    assert not finished.failures
    (cell,) = plan.cells
    own, twin = (trained(stamping_of(cell, name).victims[0]) for name in ("woken", "woken_twin"))
    assert [own.parent, twin.parent] == [cell.victim, cell.scene.victim]
    assert own.poison == twin.poison
    assert own.draws == twin.draws
    assert own.draws not in {cell.victim.key, cell.scene.victim.key}
    assert own.poison
    assert not own.poison.adds, "a user's loss is his own"
    images = learned(own.data, own.recipe)
    made = own.poison.of(images, own.seed, {})
    assert int(made.mask.sum()) == 3
    assert own.recipe.epochs == 3
    beside = finished.results[0].beside
    for name in ("woken", "woken_twin"):
        assert beside[name].epochs.tolist() == [3]
    assert beside.keys() == {"twin", "woken", "woken_twin"}


def test_a_guarded_victim_is_woken_behind_its_guard(tiny: Path) -> None:
    cell = cell_of(tiny, "axes.defense=[squeeze]", attack=PATCH.replace("}", ", wake: 3}"))
    for name in ("woken", "woken_twin"):
        (victim,) = stamping_of(cell, name).victims
        assert isinstance(victim, Guarded)
        assert trained(victim).poison
