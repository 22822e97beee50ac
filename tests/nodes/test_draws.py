"""Other draws and earlier epochs of a training: their keys differ only as they should, and nodes travel light."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from by_hand import hands, store_of, trained

from tl_robust.bench.plan import make_plan
from tl_robust.config import load
from tl_robust.data.domain import DataSettings
from tl_robust.data.mapped import DomainInSpace
from tl_robust.data.space import SPACES
from tl_robust.errors import ConfigError
from tl_robust.nodes.crafting import CraftGroup
from tl_robust.nodes.forest import Forest
from tl_robust.nodes.models import Model
from tl_robust.nodes.training import Snapshot, Training
from tl_robust.registry import Component
from tl_robust.types import Recipe

DATA = DomainInSpace("optdigits", SPACES.component("digits"), DataSettings(train_limit=150, test_limit=40))
DTN = Component("dtn", 1, (("width", 0.1),))
ROOT = Training(DATA, DTN, Recipe(epochs=2, batch_size=32, lr=0.05), 0, Component("scratch", 1))
CHILD = replace(ROOT, by=Component("finetune", 1), parent=ROOT)


# again


def test_another_draw_differs_in_its_salt_alone() -> None:
    other = CHILD.again("shadow")
    assert other.spec == CHILD.spec | {"salt": "shadow"}
    assert "salt" not in CHILD.spec
    assert other.key != CHILD.key
    assert other.parent == CHILD.parent
    assert replace(other, salt="") == CHILD
    assert CHILD.again("shadow").key == other.key
    assert len({CHILD.key, other.key, CHILD.again("more").key, other.again("more").key}) == 4
    assert str(other) == f"{CHILD} (shadow)"
    assert other.origin() == CHILD.origin() | {"key": other.key, "draw": "shadow"}


def test_another_draw_has_other_weights_of_the_same_network() -> None:
    one, _ = trained(ROOT)
    other, _ = trained(ROOT.again("shadow"))
    assert one.keys() == other.keys()
    assert not torch.equal(one["features.0.weight"], other["features.0.weight"])


def test_the_train_of_a_lineage_draws_again_where_it_is_told_to() -> None:
    train = Forest(DTN, lambda domain: ROOT.recipe, 0, Component("finetune", 1))
    assert train(DATA) == ROOT
    assert train(DATA, salt="second").key == ROOT.again("second").key
    assert train(DATA, parent=ROOT) == CHILD


def test_what_others_trained_cannot_be_drawn_again(tiny: Path) -> None:
    class Given(Training):
        again = Model.again

    with pytest.raises(ConfigError, match=r"was trained by others, so it cannot be trained again with another seed\.$"):
        Given(**{name: getattr(ROOT, name) for name in ROOT.__dataclass_fields__}).again("shadow")


# snapshots


def test_snapshots_are_no_part_of_a_trainings_key() -> None:
    some = replace(ROOT, snapshots=(1, 2))
    assert (some.key, some.spec) == (ROOT.key, ROOT.spec)
    assert some == ROOT
    one, two = Snapshot(ROOT, 1), Snapshot(ROOT, 2)
    assert list(some.entries) == [ROOT.key, one.key, two.key]
    assert list(ROOT.entries) == [ROOT.key]
    assert some.entries[one.key] == one.spec == {"kind": "snapshot", "training": ROOT.key, "epoch": 1}
    assert len({ROOT.key, one.key, two.key, Snapshot(CHILD, 1).key}) == 4
    assert Snapshot(some, 1).key == one.key


def test_a_snapshot_is_made_by_the_node_of_its_training() -> None:
    snapshot = Snapshot(CHILD, 1)
    *before, node = snapshot.nodes
    assert before == [ROOT]
    assert isinstance(node, Training)
    assert node.key == CHILD.key
    assert list(node.entries) == [CHILD.key, snapshot.key]
    assert [address.key for address in snapshot.addresses] == [snapshot.key]
    more = node.joined(Snapshot(CHILD, 2).nodes[-1])
    assert more.snapshots == (1, 2)
    assert more.joined(CHILD) is more
    assert (snapshot.parent, snapshot.labels, snapshot.title) == (ROOT, CHILD.labels, CHILD.title)
    assert str(snapshot) == f"{CHILD}, after epoch 1"
    assert snapshot.origin() == CHILD.origin() | {"key": snapshot.key, "after": 1}


def test_a_snapshot_is_drawn_again_with_its_training() -> None:
    assert Snapshot(CHILD, 1).again("shadow") == Snapshot(CHILD.again("shadow"), 1)


@pytest.mark.parametrize("epoch", [-1, 3])
def test_there_are_no_epochs_beyond_the_recipes(epoch: int) -> None:
    with pytest.raises(ConfigError, match=rf"no snapshot after epoch {epoch} of .*: expected 0 to 2\.$"):
        Snapshot(ROOT, epoch)


def test_a_child_of_a_snapshot_starts_from_its_weights() -> None:
    still = replace(ROOT.recipe, lr=1e-9, epochs=1)
    child = replace(CHILD, parent=Snapshot(ROOT, 1), recipe=still)
    assert child.key != replace(CHILD, recipe=still).key
    assert [str(need.key) for need in child.needs] == [Snapshot(ROOT, 1).key]
    with store_of() as store:
        records, _ = replace(ROOT, snapshots=(1,)).make(hands(), store)
    early = records[Snapshot(ROOT, 1).key]
    found, _ = trained(child, early)
    assert torch.allclose(found["classifier.weight"], early["classifier.weight"], atol=1e-6)
    assert not torch.allclose(early["classifier.weight"], records[ROOT.key]["classifier.weight"], atol=1e-4)


# pickling


def test_nodes_travel_light_and_know_their_keys(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = make_plan(load(tiny).bench)
    assert {node.KIND.folder for node in plan.nodes} == {"weights", "outcomes", "examinations", "pictures"}
    pickled = []
    for node in plan.nodes:
        assert node.work > 0  # which reads images
        assert node.entries
        pickled.append(pickle.dumps(node))
    assert max(map(len, pickled)) < 20_000
    assert len(pickle.dumps(plan.nodes)) < 4000 * len(plan.nodes)

    def read(data: DomainInSpace, split: str) -> None:
        raise AssertionError("an image was read")

    monkeypatch.setattr(DomainInSpace, "images", read)
    for node, content in zip(plan.nodes, pickled, strict=True):
        copy = pickle.loads(content)
        assert copy == node
        assert (copy.key, copy.spec, copy.KIND) == (node.key, node.spec, node.KIND)
        assert copy.KIND is node.KIND
        assert copy.needs == node.needs
        if isinstance(node, CraftGroup):
            assert copy.victims == node.victims
            assert copy.entries == node.entries
