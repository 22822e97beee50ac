"""Filters in benches: whom they ask, what the record tells of them, and that they meet evasion and clean images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tl_robust import defenses
from tl_robust.bench import runner
from tl_robust.bench.plan import Plan, make_plan
from tl_robust.config import load
from tl_robust.data.pair import DomainModule
from tl_robust.data.splits import split_validation
from tl_robust.defenses.sifting import Filter
from tl_robust.errors import ConfigError
from tl_robust.nodes.store import Store
from tl_robust.nodes.training import Snapshot, Training
from tl_robust.registry import Component
from tl_robust.threats.backdoor import _known_attacks
from tl_robust.types import ImageSet, Stamped

PATCH = "{name: patch, side: 3, rate: 0.1, into: target}"
QUICK = ["axes.strategy=[finetune]", "axes.seed=[0]", "axes.view=[white]", "recipe.epochs=2", "epochs=[2]"]


def plan_of(bench: Path, *more: str) -> Plan:
    return make_plan(load(bench, [*QUICK, *more]).bench)


def victim(plan: Plan, defense: str) -> Training:
    model = next(cell.scene.victim for cell in plan.cells if cell.cell.defense == defense)
    assert isinstance(model, Training)
    return model


def test_a_filter_asks_the_undefended_training_its_early_epoch_or_its_parent(tiny: Path) -> None:
    names = ["none", "spectral", "early_loss", "{name: early_loss, epochs: 2}", "parent_loss"]
    plan = plan_of(tiny, "axes.attack=[fgsm]", f"axes.defense=[{','.join(names)}]")
    plain = victim(plan, "none")
    assert victim(plan, "spectral").others == (("undefended", plain),)
    for text, epoch in (("early_loss", 1), ("early_loss(epochs=2)", 2)):
        ((name, asked),) = victim(plan, text).others
        assert (name, asked) == (f"undefended@{epoch}", Snapshot(plain, epoch))
    ((name, asked),) = victim(plan, "parent_loss").others
    assert plain.parent
    assert (name, asked.key) == ("parent", plain.parent.key)
    trainings = [node for node in plan.nodes if isinstance(node, Training)]
    assert len({node.key for node in trainings}) == 6  # A, B, and four that are filtered: none is trained twice
    (kept,) = (node for node in trainings if node.key == plain.key)
    assert kept.snapshots == (1, 2)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["axes.strategy=[scratch]", "axes.defense=[parent_loss]"], "asks the parent of scratch made_b.*there is none"),
        (["axes.defense=['early_loss(epochs=3)']"], "no snapshot after epoch 3 of .*expected 0 to 2"),
    ],
)
def test_what_cannot_be_asked_is_one_sentence(tiny: Path, more: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        plan_of(tiny, "axes.attack=[fgsm]", *more)
    assert "\n" not in str(caught.value)


def test_a_parent_of_other_classes_cannot_be_asked(tiny: Path) -> None:
    letters = (tiny.parent / "plugins" / "made_a.py").read_text().replace("0123456789", "abcdefghij")
    (tiny.parent / "plugins" / "made_a.py").write_text(letters)
    settings = ["axes.attack=[fgsm]", "space={name: square, side: 8, classes: own}"]
    with pytest.raises(ConfigError, match=r"defense parent_loss asks the parent of .*, which knows other classes\."):
        plan_of(tiny, *settings, "axes.defense=[parent_loss]")


def test_both_threats_meet_a_filter_and_the_record_tells_what_it_did(tiny: Path, tmp_path: Path) -> None:
    filters = ["spectral", "early_loss"]
    config = load(tiny, [*QUICK, f"axes.attack=[fgsm,{PATCH}]", f"axes.defense=[none,{','.join(filters)}]"])
    plan, store = make_plan(config.bench), Store(tmp_path / "store")
    finished = runner.run(plan, config.bench, store)
    assert not finished.failures
    assert {(result.cell.threat, result.cell.defense) for result in finished.results} == {
        (threat, defense) for threat in ("evasion", "backdoor") for defense in ("none", *filters)
    }
    for result in finished.results:
        if result.cell.threat == "backdoor":
            assert ("plain" in result.beside) == (result.cell.defense != "none")
            assert len(result.outcome.sifted_score) == (0 if result.cell.defense == "none" else 70)
            twin = result.beside["twin"]  # a filter stands in front of the clean twin, too
            assert len(twin.sifted_score) == len(result.outcome.sifted_score)
            assert not twin.sifted_poisoned.any()
    records = {
        r.cell.defense: r.beside["plain"] for r in finished.results if "plain" in r.beside and "twin" in r.beside
    }
    assert records.keys() == set(filters)
    for record in records.values():
        assert isinstance(record, Stamped)
        assert int(record.sifted_poisoned.sum()) == 7
        assert bool((record.sifted_label[record.sifted_poisoned] == 0).all())
    removed = {name: int((~record.sifted_kept).sum()) for name, record in records.items()}
    labelled = records["spectral"].sifted_label.bincount()
    assert removed == {"spectral": sum(min(5, int(count) // 2) for count in labelled), "early_loss": 5}


def test_what_is_learned_from_is_what_the_record_says_was_kept(tiny: Path) -> None:
    """Held-out images are never filtered, and the batches of an epoch are exactly those that were kept."""
    training = victim(plan_of(tiny, "axes.attack=[fgsm]", "axes.defense=[parent_loss]"), "parent_loss")
    filter = defenses.parse("parent_loss(expected=0.2)")
    assert isinstance(filter, Filter)
    network = training.build()
    seen: list[ImageSet] = []

    def keep(images: ImageSet) -> ImageSet:
        seen.append(images)
        return filter.images(images, {"parent": network})

    data = DomainModule(training.data, replace(training.recipe, batch_size=7), 3, keep)
    batches = list(data.train_dataloader())
    (offered,) = seen
    every, held_out = training.data.images("train"), split_validation(training.data.images("train"), 0.1)
    assert torch.equal(offered.images, every.images[held_out[0]])
    kept = filter.kept(offered, filter.scores(offered, {"parent": network}))
    assert int(kept.sum()) < len(offered)
    learned = torch.cat([batch[0] for batch in batches]).mul(255).round().to(torch.uint8).flatten(1)
    expected = offered.images[kept].flatten(1)
    assert sorted(map(tuple, learned.tolist())) == sorted(map(tuple, expected.tolist()))
    validated = torch.cat([batch[0] for batch in data.val_dataloader()]).mul(255).round().to(torch.uint8)
    assert sorted(map(tuple, validated.flatten(1).tolist())) == sorted(
        map(tuple, every.images[held_out[1]].flatten(1).tolist())
    )


def test_an_attacker_may_poison_as_the_default_says_where_the_bench_does_not(tiny: Path) -> None:
    """A setting that equals its default is still a change."""
    plan = plan_of(tiny, f"axes.attack=[{PATCH.replace('0.1', '0.05')}]", "axes.defense=[spectral,early_loss]")
    found = {
        cell.cell.defense: [dict(attack.settings) for attack in _known_attacks(cell.method.component, cell.scene)]
        for cell in plan.cells
    }
    own = {"side": 3, "rate": 0.05, "into": "target"}
    half = {"side": 3, "into": "target"}  # rate 0.1, which is the default
    clean, more = own | {"labels": "clean"}, own | {"rate": 0.15}
    assert found == {"spectral": [half], "early_loss": [clean, more]}
    component = plan.cells[0].method.component
    assert isinstance(component, Component)
