"""Backdoors of attackers who know the defense: each has a twin of its own, and the most successful counts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.threats.backdoor_cells import cell_of, play_of
from tl_robust.defenses import DEFENSES
from tl_robust.defenses.adversarial import Adversarial
from tl_robust.defenses.robust_origin import RobustOrigin
from tl_robust.nodes.store import Store
from tl_robust.threats.base import THREATS, Reading
from tl_robust.types import Stamped

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


@pytest.mark.parametrize(("text", "why"), [
    ("labels=clean, rate=0.9", "rate 0.9"),  # more than class t has
    ("", "It declares none."),
    ("patch(rate=0.2, side=2)", ""),  # the plain attack is that of someone who knows
])  # fmt: skip
def test_a_defense_that_nobody_poisons_knowingly_is_red(tiny: Path, text: str, why: str) -> None:
    first = KNOWN.index('            Adaptive("Fewer')
    attacks = f'            Adaptive("More.", backdoor={text!r}),\n' if text else ""
    (tiny.parent / "plugins" / "known.py").write_text(KNOWN[:first] + attacks + "        )\n")
    cell = cell_of(tiny, "axes.defense=[known]")
    play = play_of(cell)
    assert len(play.stampings) == 1
    ((verdict, _),) = THREATS["backdoor"].verdicts(
        [Reading(cell, RECORD, {"twin": RECORD})], Store(tiny.parent / "store")
    )
    assert [why in reason for reason in verdict.reasons if "knows the defense" in reason] == [True] * bool(why)
    assert verdict.level == "red" or not why
    undefended = cell_of(tiny, "axes.defense=[none]")
    reading = Reading(undefended, RECORD, {"twin": RECORD})
    ((verdict, _),) = THREATS["backdoor"].verdicts([reading], Store(tiny.parent / "store"))
    assert not any("knows the defense" in reason for reason in verdict.reasons)


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


@pytest.mark.parametrize("name", DEFENSES.names())
def test_every_defense_is_poisoned_by_who_knows_it(tiny: Path, name: str) -> None:
    """So that no number of the backdoors is red since nobody tried; where A must be clean, B's images are poisoned."""
    into = "target" if DEFENSES[name].ON == "origin" else "source"
    eps = ", eps: 8/255" if issubclass(DEFENSES[name], Adversarial | RobustOrigin) else ""
    patch = f"{{name: patch, side: 2, rate: 0.1, into: {into}}}"
    strategy = "{name: finetune, mode: frozen_bn}" if name == "dp" else "finetune"
    changes = ["recipe.select=last", f"axes.defense=[{{name: {name}{eps}}}]"]
    play = play_of(cell_of(tiny, *changes, attack=patch, strategy=strategy))
    assert play.untried == ""
    poisons = {str(stamping.poisoned.poison.backdoor) for stamping in play.stampings if stamping.poisoned}
    plain = name in ("squeezing_distance", "activation_clusters", "random_removal", "spectral")
    assert len(poisons) > (0 if plain else 1), "of these the plain attack is that of who knows it"
