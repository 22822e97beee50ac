"""Backdoors in cells of a bench: what is poisoned, what the clean twin shares, and whose attack counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tl_robust.bench import runner
from tl_robust.bench.plan import Plan, PlannedCell, make_plan
from tl_robust.config import load
from tl_robust.data.mapped import split_validation
from tl_robust.data.pair import DomainModule
from tl_robust.errors import ConfigError
from tl_robust.models import build
from tl_robust.nodes.guarded import Guarded
from tl_robust.nodes.hands import Hands
from tl_robust.nodes.models import WEIGHTS, Model
from tl_robust.nodes.poisoning import Poison, learned
from tl_robust.nodes.stamping import Stamping
from tl_robust.nodes.store import Store
from tl_robust.nodes.training import Snapshot, Training
from tl_robust.registry import Component
from tl_robust.threats.backdoor import BackdoorPlay
from tl_robust.threats.base import THREATS
from tl_robust.types import Stamped

PATCH = "{name: patch, side: 2, rate: 0.2, target: '3'}"
QUICK = ["axes.seed=[0]", "workers=1", "recipe.epochs=2"]
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
KNOWN = """
from dataclasses import dataclass
from tl_robust.defenses import DEFENSES, Adaptive, Defense
from tl_robust.models.guard import Guard

@DEFENSES.register
@dataclass(frozen=True)
class Known(Defense):
    NEUTRAL = {}

    def wrap(self, network, fitted):
        return Guard(network)

    def adaptive(self):
        return (
            Adaptive("It changes nothing."),
            Adaptive("Fewer images, which keep their labels.", backdoor="labels=clean, rate=0.05"),
            Adaptive("A trigger without a place.", backdoor="blend"),
            Adaptive("A fainter one.", backdoor="blend(alpha=0.1, rate=0.1)"),
        )
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


def planned(bench: Path, *overrides: str, attack: str = PATCH, strategy: str = "finetune") -> Plan:
    own = [f"axes.attack=[{attack}]", f"axes.strategy=[{strategy}]"]
    return make_plan(load(bench, [*QUICK, *own, *overrides]).bench)


def cell_of(bench: Path, *overrides: str, attack: str = PATCH, strategy: str = "finetune") -> PlannedCell:
    (cell,) = planned(bench, *overrides, attack=attack, strategy=strategy).cells
    return cell


def run(bench: Path, *overrides: str, attack: str = PATCH) -> tuple[runner.Finished, Plan, Store]:
    own = [f"axes.attack=[{attack}]", "axes.strategy=[finetune]"]
    config = load(bench, [*QUICK, *own, *overrides])
    plan, store = make_plan(config.bench), Store(bench.parent / "store")
    return runner.run(plan, config.bench, store), plan, store


def play_of(cell: PlannedCell) -> BackdoorPlay:
    assert isinstance(cell.play, BackdoorPlay)
    return cell.play


def stamping_of(cell: PlannedCell, beside: str = "") -> Stamping:
    """The first of the cell's own stampings, or of those beside it."""
    (address, *_) = play_of(cell).beside[beside] if beside else play_of(cell).outcome
    (found,) = {node.key: node for node in cell.play.nodes if node.key == address.key}.values()
    assert isinstance(found, Stamping)
    return found


def trainings(model: Model) -> list[Training]:
    return [node for node in model.nodes if isinstance(node, Training)]


def trained(model: Model) -> Training:
    training = model.trained
    assert isinstance(training, Training)
    return training


def poisoned(model: Model) -> set[str]:
    """Domains whose training under a model is poisoned."""
    return {training.data.domain for training in trainings(model) if training.poison}


@pytest.mark.parametrize(
    ("strategy", "into", "in_a", "in_b", "carrier"),
    [
        ("scratch", "source", {"made_a"}, set(), "made_a"),
        ("finetune", "source", {"made_a"}, {"made_a"}, "made_a"),
        ("common_init", "source", {"made_a"}, set(), "made_a"),
        ("scratch", "target", set(), {"made_b"}, None),
        ("finetune", "target", set(), {"made_b"}, None),
        ("common_init", "target", set(), {"made_b"}, None),
        ("common_init", "common", {"made_c"}, {"made_c"}, "made_c"),
    ],
)
def test_the_right_training_is_poisoned_and_no_other(
    tiny: Path, strategy: str, into: str, in_a: set[str], in_b: set[str], carrier: str | None
) -> None:
    attack = PATCH.replace("}", f", into: {into}}}")
    cell = cell_of(tiny, attack=attack, strategy=strategy)
    clean = cell_of(tiny, "axes.view=[black]", attack="fgsm", strategy=strategy)
    assert cell.cell.view == into
    assert poisoned(cell.play.surrogate) == in_a
    assert poisoned(cell.victim) == in_b
    # the clean scene is the one of every other threat
    assert [model.key for model in (cell.scene.surrogate, cell.scene.victim)] == [
        model.key for model in (clean.scene.surrogate, clean.scene.victim)
    ]
    assert (cell.victim.key == cell.scene.victim.key) == (not in_b)
    twin, own = stamping_of(cell, "twin"), stamping_of(cell)
    assert [model.trained for model in twin.victims] == [cell.scene.victim] * 3
    assert not any(poisoned(model) for model in twin._asked)
    assert own.epochs == twin.epochs == (0, 1, 2)
    for stamping in (own, twin):
        assert (stamping.carrier.data.domain if stamping.carrier else None) == carrier
        assert (stamping.target, stamping.fit) == (3, None)
    if own.carrier and twin.carrier:
        assert poisoned(own.carrier.model) == {carrier}
        assert twin.carrier.model.key in {model.key for model in trainings(cell.scene.surrogate)}
    assert own.poisoned
    assert own.poisoned.data.domain == (carrier or "made_b")
    assert twin.poisoned is None


def test_no_clean_model_has_another_key(tiny: Path) -> None:
    """A bench of evasion gives the twin: nothing of it is trained again."""
    both = planned(tiny, "axes.view=[black]", attack=f"fgsm, {PATCH}", strategy="scratch, finetune")
    evasion = planned(tiny, "axes.view=[black]", attack="fgsm", strategy="scratch, finetune")
    known = {node.key for node in evasion.trainings}
    assert known <= {node.key for node in both.trainings}
    new = [node for node in both.trainings if node.key not in known]
    assert all(isinstance(node, Training) and poisoned(node) for node in new)
    assert len(new) == 2, "A, and the B that starts from it"


@pytest.mark.parametrize(
    ("attack", "strategy", "said"),
    [
        ("{name: patch, into: common}", "finetune", "into: common needs a common start that is trained here, which"),
        ("{name: patch, into: common}", "scratch", "into: common needs a common start that is trained here, which"),
        ("{name: patch, target: ten}", "finetune", r"must be a class of made_a \(0, 1, .*\), got 'ten'"),
        ("{name: patch, rate: 0.001}", "finetune", "use a rate of at least"),
        ("{name: patch, rate: 0.95}", "finetune", "rate 0.95 of patch asks for"),
        ("{name: patch, rate: 0.2, labels: clean}", "finetune", "are of the target class, which labels: clean"),
        ("{name: patch, side: 40}", "finetune", r"patch needs 41 pixels \(side \+ margin\), but images have 32x32"),
        ("{name: latent, into: target}", "finetune", "latent adds to the loss of what it poisons"),
        ("{name: patch, rat: 0.1}", "finetune", "did you mean 'rate'"),
        ("patc", "finetune", "did you mean 'patch'"),
        ("{name: warp, rate: 0.5}", "finetune", "and cover 2 of warp ask for"),
    ],
)
def test_what_cannot_be_poisoned_is_said_before_anything_runs(
    tiny: Path, attack: str, strategy: str, said: str
) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        planned(tiny, attack=attack, strategy=strategy)
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith((".", "?"))


def test_a_public_checkpoint_cannot_be_poisoned_but_what_is_made_of_it_can(tiny: Path) -> None:
    torch.manual_seed(0)
    network = build(Component("dtn", 1, (("width", 0.05),)), (3, 32, 32), 10)
    np.savez(tiny.parent / "net.npz", **{name: value.numpy() for name, value in network.state_dict().items()})
    declared = "\ncheckpoints:\n  net: {from: net.npz, network: {name: dtn, width: 0.05}, classes: digits}\n"
    tiny.write_text(tiny.read_text() + declared + f"data: {{root: '{tiny.parent}', cache: ''}}\n")
    pair = "axes.pair=['checkpoint:net-made_b']"
    with pytest.raises(ConfigError, match=r"into: source needs a source that is trained here, which .* does not have"):
        planned(tiny, pair)
    cell = cell_of(tiny, pair, attack=PATCH.replace("}", ", into: target}"))
    assert poisoned(cell.victim) == {"made_b"}
    with pytest.raises(ConfigError, match="needs a victim that is trained here, and checkpoint:net is not"):
        planned(tiny, pair, strategy="as_is")


# what a clean twin shares


def weights_of(training: Training, store: Store, epochs: Sequence[int]) -> dict[int, dict[str, Tensor]]:
    node = replace(training, snapshots=tuple(epochs))
    records, _ = node.make(Hands({"accelerator": "cpu"}, 16), store)
    return {epoch: records[Snapshot(training, epoch).key] for epoch in epochs}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    assert one.keys() == other.keys()
    return all(torch.equal(value, other[name]) for name, value in one.items())


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
        run(tiny, "axes.network=[bare]", attack="latent")
    assert "\n" not in str(caught.value)


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


# those who know the defense


def test_the_attacks_of_who_knows_the_defense_have_twins_of_their_own(tiny: Path) -> None:
    (tiny.parent / "plugins" / "known.py").write_text(KNOWN)
    cell = cell_of(tiny, "axes.defense=[known]")
    play = play_of(cell)
    poisons = [stamping.poisoned.poison for stamping in play.stampings if stamping.poisoned]
    names = [str(poison.backdoor) for poison in poisons if poison]
    assert names == [
        "patch(rate=0.2, side=2)",
        "patch(labels=clean, rate=0.05, side=2)",
        "blend(rate=0.2)",
        "blend(alpha=0.1)",  # a rate of 0.1 is the default, and replaces the plain attack's
    ]
    assert all(stamping.target == 3 for stamping in play.stampings)
    twins = {name: [address.key for address in several] for name, several in play.beside.items()}
    assert len(set(twins["twin"])) == 3, "both patches are stamped alike, each blend otherwise"
    assert twins["plain"] == [play.outcome[0].key]

    # the most successful counts, beside its own twin
    def made(hits: float, seed: int) -> Stamped:
        record = RECORD
        told = torch.zeros(1, 100, dtype=torch.int64) + 1
        told[0, : round(100 * hits)] = 3
        return replace(record, stamped=told, sample_id=torch.arange(100) + seed)

    threat = THREATS["backdoor"]
    for best in range(4):
        hits, floors = [0.5, 0.4, 0.3, 0.2], [0.1, 0.0, 0.0]
        hits[best] = 0.9
        records = {address.key: made(hit, 0) for address, hit in zip(play.outcome, hits, strict=True)}
        for key, floor in zip(dict.fromkeys(twins["twin"]), floors, strict=True):
            records[key] = made(floor, 1000)
        outcome, beside = threat.gathered(play, records)
        assert outcome is records[play.outcome[best].key]
        assert beside["twin"] is records[twins["twin"][best]]
        assert beside["plain"] is records[play.outcome[0].key]
    # an attack that only its trigger makes strong is not chosen
    records[play.outcome[2].key], records[twins["twin"][2]] = made(1.0, 0), made(0.95, 0)
    records[play.outcome[3].key] = made(0.6, 0)
    assert threat.gathered(play, records)[0] is records[play.outcome[3].key]


@pytest.mark.parametrize(("attack", "text", "known"), [
    ("{name: patch, labels: clean, rate: 0.05}", "labels=dirty, rate=0.1", "patch"),
    ("{name: sine, labels: dirty, rate: 0.1}", "labels=clean, rate=0.05", "sine"),
    ("{name: patch, side: 3}", "blend", "blend"),
    ("{name: patch, target: '4'}", "blend(target=5)", "blend(target=5)"),
])  # fmt: skip
def test_an_attacker_may_go_back_to_a_default(tiny: Path, attack: str, text: str, known: str) -> None:
    (tiny.parent / "plugins" / "known.py").write_text(
        KNOWN.replace("labels=clean, rate=0.05", text)
        .replace('            Adaptive("A trigger without a place.", backdoor="blend"),\n', "")
        .replace('            Adaptive("A fainter one.", backdoor="blend(alpha=0.1, rate=0.1)"),\n', "")
    )
    _, other = play_of(cell_of(tiny, "axes.defense=[known]", attack=attack)).stampings
    assert other.poisoned
    assert other.poisoned.poison
    assert str(other.poisoned.poison.backdoor) == known.partition("(")[0]
    assert other.target == (5 if "5" in known else 0 if "4" not in attack else 4)


def test_poison_is_in_the_key_where_it_changes_anything(tiny: Path) -> None:
    def key(attack: str) -> str:
        return cell_of(tiny, attack=attack).victim.key

    plain = key(PATCH)
    changed = [PATCH.replace("0.2", "0.1"), PATCH.replace("'3'", "'4'"), PATCH.replace("side: 2", "side: 3")]
    assert len({plain, *map(key, changed)}) == 4
    assert key(PATCH.replace("}", ", labels: dirty}")) == plain, "a default"
    assert key(PATCH.replace("}", ", wake: 3}")) == plain, "it comes after"
    assert key(PATCH.replace("'3'", "3")) == plain, "a number names a class, too"
    component = Component("patch", 1, (("rate", 0.2),))
    assert Poison(component, 3).spec == Poison(component, 3, joins=False).spec, "nothing is added to the loss"


RECORD = Stamped(
    sample_id=torch.arange(100),
    epochs=torch.tensor([0.0], dtype=torch.float64),
    seen=torch.tensor([0]),
    label=torch.ones(100, dtype=torch.int64),
    target=torch.tensor(3),
    clean=torch.ones(1, 100, dtype=torch.int64),
    stamped=torch.ones(1, 100, dtype=torch.int64),
    size_linf=torch.ones(100),
    size_l2=torch.ones(100),
    carrier=torch.ones(100, dtype=torch.int64),
    carrier_target=torch.tensor(3),
    origin_label=torch.zeros(0, dtype=torch.int64),
    origin_clean=torch.zeros(0, dtype=torch.int64),
    origin_stamped=torch.zeros(0, dtype=torch.int64),
    poison=torch.zeros(4, dtype=torch.int64),
)
