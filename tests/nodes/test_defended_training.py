"""A defense of one plugin file changes the training of B in a bench: data, start, loss and choice of the epoch."""

from pathlib import Path

import torch

from tl_robust.bench import runner
from tl_robust.bench.plan import make_plan
from tl_robust.config import load
from tl_robust.nodes.store import Store
from tl_robust.nodes.training import Training

DEFENSE = '''
"""Classes from 5 on are left out, all others move on by one."""
from dataclasses import dataclass
import torch
from tl_robust.defenses import DEFENSES, Adaptive, Defense

@DEFENSES.register
@dataclass(frozen=True)
class Odd(Defense):
    start: float = 0.0

    def images(self, images, others):
        return images.take((images.labels < 5).nonzero().squeeze(1))

    def initialize(self, task, parent, validation):
        assert parent is not None
        with torch.no_grad():
            task.network.classifier.bias.fill_(self.start)

    def loss(self, task, batch, others):
        assert batch[1].max() < 5
        return task.cross_entropy(batch[0], batch[1] + 1)

    def score(self, task, batch):
        return torch.tensor(float(task.current_epoch))

    def adaptive(self):
        return (Adaptive("There is nothing to adapt to."),)
'''


def test_a_defense_of_one_file_changes_the_training_of_b_and_not_of_a(tiny: Path, tmp_path: Path) -> None:
    (tiny.parent / "plugins" / "odd.py").write_text(DEFENSE)
    config = load(
        tiny, ["axes.strategy=[finetune]", "axes.defense=[none, odd, {name: odd, start: -50}]", "axes.attack=[fgsm]",
               "axes.view=[black]", "axes.seed=[0]", "recipe.epochs=12", "recipe.lr_every=20"],
    )  # fmt: skip
    plan, store = make_plan(config.bench), Store(tmp_path / "store")
    assert not runner.run(plan, config.bench, store).failures
    plain, odd, sunk = (cell.scene for cell in plan.cells)
    assert plain.surrogate.key == odd.surrogate.key == sunk.surrogate.key
    assert len({plain.victim.key, odd.victim.key, sunk.victim.key}) == 3
    assert isinstance(odd.victim, Training)
    test = odd.victim.data.images("test")
    with torch.no_grad():
        told = odd.victim.load(store).eval()(test.images / 255).argmax(1)
        far = sunk.victim.load(store).eval().classifier.bias  # type: ignore[union-attr]
    low = test.labels < 5
    assert (told[low] == test.labels[low] + 1).double().mean() > 0.4
    assert set(told.tolist()) <= set(range(1, 6))
    assert float(far.detach().max()) < -40, "it started there"
