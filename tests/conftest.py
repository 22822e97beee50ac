"""A tiny bench on made domains, quick enough to run many times."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.auditor.families import Family
from tests.auditor.families import made as made_family
from tl_robust import registry
from tl_robust.attacks import ATTACKS
from tl_robust.attacks.objectives.base import OBJECTIVES
from tl_robust.attacks.rules.base import RULES
from tl_robust.attacks.through import THROUGH
from tl_robust.attacks.tricks.base import TRICKS
from tl_robust.auditor.locks import LOCKS
from tl_robust.backdoors import BACKDOORS
from tl_robust.claims import CLAIMS
from tl_robust.data.domain import DOMAINS
from tl_robust.data.mapped import _fingerprint, _half, _labels, _limited, _taken
from tl_robust.data.pair import PAIRS
from tl_robust.data.space import SPACES
from tl_robust.defenses import DEFENSES
from tl_robust.engines.base import ENGINES
from tl_robust.inference import INFERENCES
from tl_robust.metrics import METRICS
from tl_robust.models import NETWORKS
from tl_robust.nodes.kind import KINDS
from tl_robust.sinks.base import SINKS
from tl_robust.strategies import STRATEGIES
from tl_robust.threats.base import THREATS
from tl_robust.trust import CHECKS

collect_ignore = ["one_file"]  # plugins: what imports them registers them

TINY_DOMAIN = """
import torch
from tl_robust.data.domain import DOMAINS, Domain
from tl_robust.seeding import generator
from tl_robust.types import ImageSet

@DOMAINS.register
class Made(Domain):
    \"\"\"Noisy patterns, one a class; made for tests.\"\"\"

    classes = tuple("0123456789")

    def read(self, split, root, download):
        pattern = torch.rand(10, 1, 8, 8, generator=generator("pattern"))
        noise = torch.rand(80, 1, 8, 8, generator=generator(__name__, split))
        labels = torch.arange(80) % 10
        return ImageSet(((0.7 * pattern[labels] + 0.3 * noise) * 255).to(torch.uint8), labels)
"""
TINY_BENCH = """
name: tiny
eps: [0, 4/255, 16/255]
axes:
  pair: [made_a-made_b]
  network: [{name: dtn, width: 0.05}]
  strategy: [scratch, finetune, common_init]
  common: [made_c]
  attack: [fgsm, {name: pgd, steps: 2}]
  seed: [0, 1]
recipe: {epochs: 2, batch_size: 32, lr: 0.05, momentum: 0.9}
trainer: {accelerator: cpu}
workers: 1
plugins: [plugins]
"""


@pytest.fixture(autouse=True)
def _registries() -> Iterator[None]:
    """Forget what a test registers."""
    kinds = (
        ATTACKS, BACKDOORS, CHECKS, CLAIMS, DEFENSES, DOMAINS, ENGINES, INFERENCES, LOCKS, METRICS, NETWORKS, PAIRS,
        SINKS, SPACES, STRATEGIES, THREATS, RULES, TRICKS, OBJECTIVES, THROUGH,
    )  # fmt: skip
    before = []
    for kind in kinds:
        kind.names()  # walks the package once
        before.append((dict(kind._items), dict(kind._modules)))
    entries = dict(KINDS)  # after the walks, which import the modules that make kinds
    loaded = dict(registry._loaded_plugins)
    yield
    for kind, (items, modules) in zip(kinds, before, strict=True):
        kind._items, kind._modules = items, modules
    KINDS.clear()
    KINDS.update(entries)
    registry._loaded_plugins.clear()
    registry._loaded_plugins.update(loaded)
    for kept in (_labels, _limited, _taken, _half, _fingerprint):
        kept.cache_clear()


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """The bench file of a tiny bench; its plugin folder holds the domains made_a to made_d."""
    folder = tmp_path / "plugins"
    folder.mkdir()
    for letter in "abcd":
        (folder / f"made_{letter}.py").write_text(TINY_DOMAIN)
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY_BENCH)
    return path


@pytest.fixture(scope="session")
def family(tmp_path_factory: pytest.TempPathFactory) -> Family:
    """A public parent, a child and unrelated models as files, trained once for all tests of audits."""
    return made_family(tmp_path_factory.mktemp("family"))
