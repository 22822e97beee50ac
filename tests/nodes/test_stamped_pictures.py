"""Stamped pictures are the images that victims were asked about, one node for all of them, of the smallest seed."""

from __future__ import annotations

import pickle
from pathlib import Path

import torch

from tl_robust.backdoors import build
from tl_robust.bench.plan import Plan, make_plan
from tl_robust.bench.runner import run
from tl_robust.config import load
from tl_robust.nodes.pictures import PICTURES
from tl_robust.nodes.stamped_pictures import StampedPictures
from tl_robust.nodes.store import Store

TRIAL = ("axes.attack=[{name: patch, side: 3}]", "epochs=[0,1]", "axes.seed=[1,0]")


def pictured(plan: Plan) -> list[StampedPictures]:
    return [node for node in plan.nodes if isinstance(node, StampedPictures)]


def test_pictures_are_the_stamped_images_of_the_run(tiny: Path) -> None:
    config = load(tiny, TRIAL)
    plan, store = make_plan(config.bench), Store(tiny.parent / "r" / "store")
    finished = run(plan, config.bench, store)
    assert not finished.failures
    (node,) = pictured(plan)
    found = store.load(PICTURES, node.key)
    test, trigger = node.test.images("test"), build(node.stamp)
    whole = trigger.stamp(test.images, torch.arange(len(test)), {})
    assert torch.equal(found.clean, test.images[found.sample_id])
    assert torch.equal(found.adversarial[0], whole[found.sample_id])
    labels = test.labels[found.sample_id]
    assert node.target not in labels.tolist()
    assert len(labels.unique()) == len(labels)
    shown = [cell.play.key for cell in plan.cells if cell.cell.seed == 0]
    assert set(finished.pictures) == set(node.outcomes) == set(shown)
    for result in finished.results:
        if result.provenance["outcome"] in finished.pictures:
            assert torch.equal(result.outcome.sample_id[found.sample_id], found.sample_id)
            assert torch.equal(result.outcome.label[found.sample_id], labels)


def test_victims_share_one_node_that_another_process_can_have(tiny: Path) -> None:
    node, other = (
        StampedPictures(found.stamp, found.target, found.test, found.fit, (name,))
        for name in ("a", "b")
        for found in pictured(make_plan(load(tiny, TRIAL).bench))
    )
    assert node.key == other.key
    assert node.joined(other).outcomes == ("a", "b")
    assert node.joined(other).joined(node).outcomes == ("a", "b")
    assert pickle.loads(pickle.dumps(node)).key == node.key
