"""What a lineage may say: who trains and with which settings, at roots too; drawn again; and B that is A."""

from pathlib import Path

import pytest
import torch

from tl_robust.bench import runner
from tl_robust.bench.plan import Plan, make_plan
from tl_robust.config import load
from tl_robust.data.domain import DataSettings
from tl_robust.data.mapped import DomainInSpace
from tl_robust.data.space import SPACES
from tl_robust.errors import ConfigError, UnknownNameError
from tl_robust.nodes.forest import Forest
from tl_robust.nodes.models import Checkpoint, Public
from tl_robust.nodes.store import Store
from tl_robust.registry import Component, load_plugins
from tl_robust.strategies import STRATEGIES, trained_by
from tl_robust.types import Recipe

SHIFTED = '''
"""A is pre-trained on labels that are moved on; a stand-in for any pre-training of a kind of its own."""
from tl_robust.strategies import STRATEGIES
from tl_robust.strategies.finetune import FineTune


@STRATEGIES.register
class Shifted(FineTune):
    def __init__(self, network, recipe, classes, shift: int = 1, mode: str = "full"):
        super().__init__(network, recipe, classes, mode=mode)
        self.shift = shift

    @staticmethod
    def lineage(train, source, target, common):
        mode = dict(train.own.settings).get("mode", "full")
        a = train(source, by=train.own)
        return a, train(target, parent=a, by=STRATEGIES.component("finetune", {"mode": mode}))

    def training_step(self, batch, index):
        return super().training_step((batch[0], (batch[1] + self.shift) % 10), index)
'''


def planned(bench: Path, *overrides: str) -> Plan:
    (bench.parent / "plugins" / "shifted.py").write_text(SHIFTED)
    return make_plan(load(bench, ["axes.seed=[0]", "axes.attack=[fgsm]", "axes.view=[black]", *overrides]).bench)


@pytest.mark.parametrize(
    ("by", "root", "expected"),
    [
        (None, True, "scratch"),
        (None, False, "finetune(mode=probe)"),
        ("finetune", True, "finetune"),
        ("common_init", False, "common_init(mode=probe)"),
        (STRATEGIES.component("finetune", {"classifier": "fresh"}), True, "finetune(classifier=fresh)"),
        (STRATEGIES.component("finetune"), False, "finetune"),
        (Component("finetune", 1, (("mode", "full"), ("blocks", 2))), False, "finetune(blocks=2)"),
    ],
)
def test_a_name_has_settings_below_a_parent_and_a_component_its_own(
    by: str | Component | None, root: bool, expected: str
) -> None:
    own = STRATEGIES.component("common_init", {"mode": "probe"})
    assert str(trained_by(own, by, root)) == expected


def test_a_component_that_cannot_be_is_said() -> None:
    own = STRATEGIES.component("scratch")
    with pytest.raises(UnknownNameError, match=r"^unknown strategy 'scrach'; did you mean 'scratch'"):
        trained_by(own, Component("scrach", 1), True)
    with pytest.raises(UnknownNameError, match=r"^unknown setting of strategy 'finetune' 'mod'; did you mean 'mode'"):
        trained_by(own, Component("finetune", 1, (("mod", "full"),)), False)


def test_a_root_is_trained_with_the_settings_of_its_strategy(tiny: Path, tmp_path: Path) -> None:
    """Of two cells that differ in the shift alone, each A says the label that it was told, and B starts from it."""
    plan = planned(
        tiny, "axes.strategy=[{name: shifted, shift: 3}, {name: shifted, shift: 7, mode: probe}]",
        "recipe.epochs=12", "recipe.select=last",
    )  # fmt: skip
    assert [str(cell.scene.surrogate.by) for cell in plan.cells] == ["shifted(shift=3)", "shifted(mode=probe, shift=7)"]
    assert [str(cell.scene.victim.by) for cell in plan.cells] == ["finetune", "finetune(mode=probe)"]
    store = Store(tmp_path / "store")
    assert not runner.run(plan, load(tiny).bench, store).failures
    for cell, shift in zip(plan.cells, (3, 7), strict=True):
        test = cell.scene.surrogate.data.images("test")
        with torch.no_grad():
            told = cell.scene.surrogate.load(store).eval()(test.images / 255).argmax(1)
        assert ((told - test.labels) % 10 == shift).double().mean() > 0.6


def test_a_public_source_is_not_trained_in_ones_own_way(tiny: Path) -> None:
    space = SPACES.component("digits")
    public = Public(Checkpoint("net", "net.pt", tiny.parent, Component("dtn", 1), tuple("0123456789")), space)
    forest = Forest(Component("dtn", 1), lambda _: Recipe(), 0, STRATEGIES.component("scratch"))
    for named in ({"by": forest.own}, {"salt": "shadow"}):
        with pytest.raises(
            ConfigError, match=r"^checkpoint:net is trained already, and strategy scratch would train it"
        ):
            forest(public, **named)  # type: ignore[arg-type]
    assert forest(public) is public
    assert forest(public, by="scratch") is public


def test_a_salt_draws_the_same_training_again(tiny: Path) -> None:
    load_plugins(tiny.parent / "plugins")
    data = DomainInSpace("made_a", SPACES.component("digits"), DataSettings(cache=""))
    forest = Forest(Component("dtn", 1), lambda _: Recipe(), 0, STRATEGIES.component("finetune", {"mode": "probe"}))
    first, again, other = forest(data), forest(data, salt="shadow"), forest(data, salt="member 2")
    assert len({first.key, again.key, other.key}) == 3
    assert again.spec == first.spec | {"salt": "shadow"}
    assert "salt" not in first.spec, "keys of before stay"
    child = forest(data, again, salt="shadow")
    assert child.parent is again
    assert child.spec == forest(data, again).spec | {"salt": "shadow"}


def test_as_is_has_one_model_and_attacks_it(tiny: Path) -> None:
    plan = planned(tiny, "axes.strategy=[as_is]", "axes.view=[white]")
    (cell,) = plan.cells
    assert cell.scene.victim is cell.scene.surrogate
    assert [str(training.by) for training in plan.trainings] == ["scratch"]
    assert cell.scene.surrogate.key in {training.key for training in planned(tiny, "axes.strategy=[scratch]").trainings}
