"""Nodes made without an engine: a test says which weights the store holds, and looks at what ``make`` returns."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from torch import Tensor

from tl_robust.models.base import NETWORKS
from tl_robust.nodes.crafting import CraftGroup
from tl_robust.nodes.hands import Hands
from tl_robust.nodes.models import WEIGHTS, Model, Public
from tl_robust.nodes.node import Made
from tl_robust.nodes.payload import pack_weights
from tl_robust.nodes.progress import Advance, nothing
from tl_robust.nodes.store import Store
from tl_robust.nodes.training import Training
from tl_robust.types import Outcome

EXTRAS = {"hf": "transformers", "timm": "timm"}  # networks that want a library of their own
VIT = {
    "architectures": ["ViTForImageClassification"], "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
    "intermediate_size": 16, "image_size": 32, "patch_size": 8,
}  # fmt: skip
PUBLISHED: dict[str, dict[str, Any]] = {  # settings of such networks that are small
    "hf": {"config": json.dumps(VIT), "preprocessing": '{"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}'},
    "timm": {"arch": "vit_tiny_patch16_224", "config": '{"model_args": {"img_size": 32, "depth": 2}}'},
}
NETWORK_NAMES = [
    pytest.param(name, marks=pytest.mark.skipif(find_spec(EXTRAS.get(name, "torch")) is None, reason="an extra"))
    for name in NETWORKS.names()
]
MADE = {"seconds": 1.5, "device": "cpu", "versions": {"torch": "2.9"}, "commit": ""}
State = dict[str, Tensor]


def hands(advance: Advance = nothing, **options: Any) -> Hands:
    """Hands on the CPU that attack 16 images at a time."""
    return Hands({"accelerator": "cpu"} | options, 16, advance)


@contextmanager
def store_of(*models: tuple[Model, Mapping[str, Tensor]]) -> Iterator[Store]:
    """A store that holds these weights of these models, and nothing else."""
    with TemporaryDirectory() as folder:
        store = Store(Path(folder))
        for model, weights in models:
            store.write(WEIGHTS, model.key, pack_weights(weights), model.spec, MADE)
        yield store


def trained(
    training: Training | Public, parent: Mapping[str, Tensor] | None = None, advance: Advance = nothing, **options: Any
) -> tuple[State, Made]:
    """The weights of a training from these weights of its parent, and the facts of how they were made."""
    inherited = [(training.parent, parent)] if training.parent and parent is not None else []
    with store_of(*inherited) as store:
        records, facts = training.make(hands(advance, **options), store)
    assert records.keys() == {training.key}
    return dict(records[training.key]), facts


def attacked(
    group: CraftGroup, weights: Mapping[Model, Mapping[str, Tensor]], advance: Advance = nothing, **options: Any
) -> tuple[dict[str, Outcome], Made]:
    """The outcomes of a craft group by the key of the victim, with these weights of its models."""
    with store_of(*weights.items()) as store:
        records, facts = group.make(hands(advance, **options), store)
    assert records.keys() == group.entries.keys()
    return {victim.key: records[group.judgment(victim).key] for victim in group.victims}, facts
