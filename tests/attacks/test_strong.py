"""The cascade: what each attack may see, what is kept, and what its parts find alone."""

import dataclasses
from functools import lru_cache

import pytest
import torch
from torch import Tensor, nn

from tl_robust import attacks
from tl_robust.attacks.named.strong import Strong
from tl_robust.errors import ConfigError

GRIDS = pytest.mark.parametrize(("norm", "eps"), [("linf", [0.003, 0.007, 0.015]), ("l2", [0.04, 0.1, 0.22])])
CHEAP = {"steps": 8, "targets": 3, "queries": 40}
SAMPLES = 28


@lru_cache
def net() -> nn.Module:
    torch.manual_seed(3)
    module = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.Tanh(), nn.Flatten(), nn.Linear(6 * 64, 5)).double()
    with torch.no_grad():
        module[-1].weight.mul_(4)
    return module


def data() -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(5)
    images = torch.rand(SAMPLES, 3, 8, 8, generator=draw, dtype=torch.float64)
    labels = net()(images).argmax(1)
    labels[:4] = (labels[:4] + 1) % 5  # wrong from the outset
    return images, labels


def margins(images: Tensor, labels: Tensor) -> Tensor:
    with torch.no_grad():
        logits = net()(images)
    others = logits.scatter(1, labels[:, None], -torch.inf).amax(1)
    return others - logits.gather(1, labels[:, None]).squeeze(1)


@GRIDS
def test_white_box_keeps_what_fell_and_leaves_no_more_than_its_parts_alone(norm: str, eps: list[float]) -> None:
    images, labels = data()
    attack = attacks.get("strong", norm=norm, **CHEAP)
    found = attack(net(), images, labels, eps, early=True)
    standing = torch.stack([margins(x, labels) <= 0 for x in found])
    assert standing[:, :4].sum() == 0
    assert torch.equal(found[:, :4], images[:4].expand(len(eps), -1, -1, -1, -1))
    assert standing[0].sum() > standing[-1].sum()
    for before, after in zip(range(len(eps) - 1), range(1, len(eps)), strict=True):
        assert not bool((standing[after] & ~standing[before]).any())
        assert torch.equal(found[after][~standing[before]], found[before][~standing[before]])
    for part in attack.parts:
        alone = part(net(), images, labels, eps, early=True)
        for place, left in enumerate(standing.sum(1)):
            assert int(left) <= int((margins(alone[place], labels) <= 0).sum()), part


@GRIDS
def test_each_part_sees_only_what_the_parts_before_left(
    norm: str, eps: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    images, labels = data()
    seen: list[tuple[str, float, Tensor, int]] = []
    named = {type(part): part.title for part in attacks.get("strong", norm=norm, **CHEAP).parts}
    methods = {kind: "search" if title == "square" else "perturb" for kind, title in named.items()}
    for kind, original in {kind: getattr(kind, name) for kind, name in methods.items()}.items():

        def watched(
            self: attacks.Attack, problem: attacks.Problem, eps: float, *rest: Tensor, inner=original
        ) -> object:
            result = inner(self, problem, eps, *rest)
            images = result if isinstance(result, Tensor) else next(result)
            if rest:  # the search goes on from the best images so far
                assert bool((rest[0] != problem.clean).flatten(1).any(1).all())
                assert bool((margins(images, problem.label) >= margins(rest[0], problem.label) - 1e-9).all())
            fallen = int((margins(images, problem.label) > 0).sum())
            seen.append((self.title, eps if rest else eps[0], problem.sample_id, fallen))
            return result if isinstance(result, Tensor) else iter([images])

        monkeypatch.setattr(kind, methods[kind], watched)
    for early in (True, False):
        seen.clear()
        attacks.get("strong", norm=norm, **CHEAP)(net(), images, labels, eps, early=early)
        assert {title for title, *_ in seen} == {"apgd_ce", "apgd_t", "square"}
        assert [size for _, size, _, _ in seen] == sorted(size for _, size, _, _ in seen)
        left, at = (SAMPLES - 4 if early else SAMPLES), 0.0
        for _, size, ids, fallen in seen:
            if not early and size != at:
                left, at = SAMPLES, size
            assert len(ids) == left
            left -= fallen


@GRIDS
def test_in_transfer_the_first_that_fools_counts_else_the_largest_margin(norm: str, eps: list[float]) -> None:
    """Small sizes leave samples that no part fools; there the margin is the best of all parts."""
    images, labels = data()
    attack = attacks.get("strong", norm=norm, **CHEAP)
    for size in eps:
        found = attack(net(), images, labels, [size])[0]
        kinds = [dataclasses.replace(attack, targets=0, queries=0), dataclasses.replace(attack, queries=0), attack]
        results = [kind(net(), images, labels, [size])[0] for kind in kinds]
        values = [margins(result, labels) for result in results]
        fooled = values[0] > 0
        assert torch.equal(found[fooled], results[0][fooled])
        assert torch.equal(found[values[1] > 0], results[1][values[1] > 0])
        assert bool((values[1][~fooled] >= values[0][~fooled]).all())
        assert bool((values[2] >= values[1]).all())
    first = attacks.get("apgd_ce", norm=norm, steps=CHEAP["steps"])
    assert attack.parts[0] == first


def test_the_parts_have_the_budget_that_is_asked_for() -> None:
    parts = Strong().parts
    assert [part.title for part in parts] == ["apgd_ce"] + ["apgd_t"] * 9 + ["square"]
    assert {part.steps for part in parts[:-1]} == {100}
    assert [part.objective for part in parts[1:-1]] == [f"target(form=dlr, rank={rank})" for rank in range(1, 10)]
    assert parts[-1].queries == 5000
    assert [part.title for part in Strong(targets=0, queries=0).parts] == ["apgd_ce"]


@GRIDS
def test_the_notes_are_of_one_loss(norm: str, eps: list[float]) -> None:
    images, labels = data()
    whole = attacks.get("strong", norm=norm, **CHEAP).craft(net(), images, labels, eps)
    first = attacks.get("strong", norm=norm, steps=8, targets=0, queries=0).craft(net(), images, labels, eps)
    assert torch.equal(whole.notes.first_loss, first.notes.first_loss)
    assert torch.equal(whole.notes.last_loss, first.notes.last_loss)


@GRIDS
def test_batches_and_order_do_not_matter(norm: str, eps: list[float]) -> None:
    images, labels = data()
    attack = attacks.get("strong", norm=norm, steps=4, targets=2, queries=20)
    for early in (True, False):
        whole = attack(net(), images, labels, eps, early=early)
        order = torch.randperm(SAMPLES, generator=torch.Generator().manual_seed(1))
        parts = [attack(net(), images[ids], labels[ids], eps, sample_id=ids, early=early) for ids in order.split(15)]
        assert float((torch.cat(parts, 1) - whole[:, order]).abs().max()) < 1e-5


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"norm": "l1"}, "norm of attack 'strong' must be linf or l2, got l1"),
        ({"objective": "label"}, "objective of attack 'strong' must be margin: its attacks have their own, got label"),
        ({"steps": 0}, "steps of attack 'strong' must be at least 1, got 0"),
        ({"targets": -1}, "targets of attack 'strong' must be 0 or more, got -1"),
        ({"queries": -1}, "queries of attack 'strong' must be 0 or more, got -1"),
    ],
)
def test_bad_settings(settings: dict[str, float | str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        attacks.get("strong", **settings)
