"""Which parent: what is claimed of a child, a stranger and relatives, by which evidence, and what the lock says."""

from __future__ import annotations

import math
from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from tl_robust import models
from tl_robust.auditor.locks import LOCKS
from tl_robust.auditor.origin import origin
from tl_robust.auditor.subject import ReadModel, Subject
from tl_robust.types import ImageSet

CLASSES = tuple("abcd")
DRAW = torch.Generator().manual_seed(5)
IMAGES = ImageSet(torch.randint(0, 256, (60, 3, 16, 16), generator=DRAW, dtype=torch.uint8), torch.arange(60) % 4)


def network(seed: int, classes: int = 4, width: float = 0.2) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return models.get("dtn", (3, 16, 16), classes, width=width, norm="group").eval()


def tuned(parent: nn.Module, seed: int, size: float = 0.3) -> nn.Module:
    """A child: another last layer, and all other weights moved by this part of their spread."""
    child, draw = deepcopy(parent), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in child.named_parameters():
            spread = float(value.std()) if value.ndim > 1 else 0.1
            part = 1.0 if name.startswith("classifier") else size
            value += part * spread * torch.randn(value.shape, generator=draw)
    return child


def read(name: str, one: nn.Module) -> ReadModel:
    return ReadModel(name, one, CLASSES)


PARENT = network(0)
CHILD = read("child", tuned(PARENT, 1))
DECOYS = tuple(read(f"decoy {seed}", network(seed)) for seed in (11, 12, 13))
KNOWN = Subject(CHILD, read("parent", PARENT), DECOYS, IMAGES, CLASSES)


class Callable_(nn.Module):  # noqa: N801
    """What can only be asked."""

    def __init__(self, inside: nn.Module) -> None:
        super().__init__()
        self._ask = [inside]

    def forward(self, images: Tensor) -> Tensor:
        out: Tensor = self._ask[0](images)
        return out


def lock(subject: Subject) -> tuple[bool | None, str]:
    answer = LOCKS["parent_plausible"].answer(subject)
    return answer.passed, answer.reason


def test_the_parent_of_a_child_is_claimed_by_weights() -> None:
    found = origin(KNOWN)
    assert found
    assert found.claimed == "parent"
    assert {one.evidence for one in found.candidates} == {"weights"}
    assert found.candidates[0].certainty > 0.99
    assert all(one.certainty < 0.2 for one in found.candidates[1:])
    assert "order of those of parent" in found.reason
    assert found.terms == {"MITRE ATLAS": "AML.T0007"}
    assert lock(KNOWN)[0] is True


def test_the_place_of_the_parent_among_the_candidates_does_not_matter() -> None:
    hidden = replace(KNOWN, parent=DECOYS[0], decoys=(DECOYS[1], read("parent", PARENT)))
    found = origin(hidden)
    assert found
    assert found.claimed == "parent"
    passed, reason = lock(hidden)
    assert passed is False
    assert "declare parent" in reason


def test_a_stranger_has_no_parent() -> None:
    strange = replace(KNOWN, model=read("stranger", network(99)))
    found = origin(strange)
    assert found
    assert found.claimed == ""
    assert "any candidate" in found.reason
    passed, reason = lock(strange)
    assert passed is False
    assert reason.endswith("Declare the model that it was made of.")


@pytest.mark.parametrize(("model", "passed"), [(CHILD, True), (read("stranger", network(99)), False)])
def test_one_candidate_is_enough_by_weights(model: ReadModel, passed: bool) -> None:
    alone = Subject(model, read("parent", PARENT), (), IMAGES, CLASSES)
    found = origin(alone)
    assert found
    assert bool(found.claimed) is passed
    assert lock(alone)[0] is passed


def test_features_count_where_tensors_do_not_fit() -> None:
    folded = deepcopy(CHILD.network)
    folded.features = nn.Sequential(*(Wrapped(layer) for layer in folded.features))
    folded.hidden = nn.Sequential(*(Wrapped(layer) for layer in folded.hidden))
    found = origin(replace(KNOWN, model=read("child", folded)))
    assert found
    assert (found.claimed, found.candidates[0].evidence) == ("parent", "features")


class Wrapped(nn.Module):
    """A layer whose weights are kept as vectors."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self._layer = [layer]
        self.flat = nn.ParameterList([value.detach().flatten() for value in layer.parameters()])
        if isinstance(layer, nn.Linear | nn.GroupNorm):
            self.bias = nn.Parameter(layer.bias.detach())

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self._layer[0](x)
        return out


def test_a_callable_is_judged_by_decisions_which_need_others() -> None:
    asked = replace(KNOWN, model=read("child", Callable_(tuned(PARENT, 1, 0.0))))
    found = origin(asked)
    assert found
    assert (found.claimed, found.candidates[0].evidence, found.trust.level) == ("parent", "decisions", "amber")
    assert found.candidates[0].certainty > 0.5
    assert lock(asked)[0] is True
    alone = replace(asked, decoys=())
    single = origin(alone)
    assert single
    assert (single.claimed, math.isnan(single.candidates[0].certainty)) == ("", True)
    assert "give decoys" in single.reason
    assert lock(alone)[0] is None


def test_a_callable_stranger_has_no_parent() -> None:
    for seed in range(30, 36):
        strange = replace(KNOWN, model=read("stranger", Callable_(network(seed))))
        found = origin(strange)
        assert found
        assert found.claimed == ""
        assert lock(strange)[0] is None


def test_weights_that_fit_one_candidate_count_where_it_is_the_parent() -> None:
    other = read("other architecture", network(5, width=0.3))
    found = origin(replace(KNOWN, decoys=(other, *DECOYS)))
    assert found
    assert (found.claimed, found.candidates[0].evidence) == ("parent", "weights")
    assert next(one for one in found.candidates if one.name == other.name).certainty == 0
    stranger = replace(KNOWN, model=read("stranger", network(99)), decoys=(other,))
    unknown = origin(stranger)
    assert unknown
    assert (unknown.claimed, unknown.candidates[0].evidence) == ("", "decisions")


def test_the_closer_of_two_relatives_is_claimed_and_the_other_named() -> None:
    sibling = read("sibling", tuned(PARENT, 2, 0.5))
    found = origin(replace(KNOWN, parent=sibling, decoys=(read("parent", PARENT), *DECOYS)))
    assert found
    assert found.claimed == "parent"
    assert "sibling is related, too" in found.reason


def test_of_two_with_the_same_weights_both_are_named_and_none_is_claimed() -> None:
    probe = deepcopy(PARENT)
    with torch.no_grad():
        probe.classifier.weight.add_(1)
    twins = replace(KNOWN, decoys=(read("probe of it", probe), *DECOYS))
    found = origin(twins)
    assert found
    assert found.claimed == ""
    assert "parent and probe of it are both related" in found.reason
    assert found.candidates[0].certainty == pytest.approx(0.5, abs=0.01)
    assert lock(twins)[0] is True


def test_a_common_start_is_no_parent() -> None:
    def trained(seed: int) -> nn.Module:
        after, draw = deepcopy(PARENT), torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for value in after.state_dict().values():
                if value.ndim > 1:
                    flat = value.flatten(1)
                    change = torch.randn(len(flat), 1, generator=draw) @ torch.randn(1, flat.shape[1], generator=draw)
                    value += 2 * float(value.std()) * change.view_as(value)
        return after

    twin = Subject(read("twin", trained(1)), read("parent", trained(2)), DECOYS, IMAGES, CLASSES)
    found = origin(twin)
    assert found
    assert (found.claimed, found.candidates[0].name, found.candidates[0].certainty) == ("", "parent", 0.0)
    assert "the same start" in found.reason
    assert lock(twin)[0] is None


def test_without_candidates_there_is_no_origin() -> None:
    bare = replace(KNOWN, parent=None, decoys=())
    assert origin(bare) is None
    passed, reason = lock(bare)
    assert passed is None
    assert "--parent" in reason


def test_answers_that_are_not_finite_claim_nothing() -> None:
    broken = deepcopy(PARENT)
    with torch.no_grad():
        broken.classifier.bias.fill_(torch.nan)
    subject = replace(KNOWN, model=read("broken", Callable_(broken)))
    found = origin(subject)
    assert found
    assert (found.claimed, found.trust.level) == ("", "red")
    assert lock(subject)[0] is None


def test_networks_are_left_as_they_were() -> None:
    before = {name: value.clone() for name, value in PARENT.state_dict().items()}
    mode = CHILD.network.train().training
    origin(replace(KNOWN, model=CHILD))
    assert CHILD.network.training is mode
    CHILD.network.eval()
    assert all(torch.equal(value, before[name]) for name, value in PARENT.state_dict().items())
