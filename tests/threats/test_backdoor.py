"""Backdoors in cells of a bench: which training is poisoned, what cannot be, and which keys move."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.threats.backdoor_cells import (
    PATCH,
    cell_of,
    planned,
    poisoned,
    stamping_of,
    trainings,
)
from tl_robust.errors import ConfigError
from tl_robust.models import build
from tl_robust.nodes.poisoning import Poison
from tl_robust.nodes.training import Training
from tl_robust.registry import Component


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


def test_a_filter_does_not_see_what_goes_on_from_a_clean_model(tiny: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"latent goes on from a clean made_a, which spectral\(on=origin\) would not see"
    ):
        planned(tiny, "axes.defense=[{name: spectral, on: origin}]", attack="latent")


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
