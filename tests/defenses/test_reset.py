"""Which weights a reset makes random, against plain loops."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from tl_robust import defenses, models, strategies
from tl_robust.bench.plan import make_plan
from tl_robust.config import load
from tl_robust.defenses.forgetting import _ranks, covered
from tl_robust.errors import ConfigError
from tl_robust.models.base import build, fresh
from tl_robust.registry import Component
from tl_robust.types import ImageSet, Recipe

SHAPE = (1, 16, 16)
DRAWS = torch.Generator().manual_seed(4)
IMAGES = ImageSet(torch.randint(0, 256, (40, *SHAPE), generator=DRAWS).to(torch.uint8), torch.arange(40) % 4)
QUICK = ["axes.seed=[0]", "axes.strategy=[finetune]", "axes.attack=[fgsm]", "axes.view=[white,black,shadow]"]


def network(seed: int, width: float = 0.05) -> nn.Module:
    torch.manual_seed(seed)
    made = models.get("dtn", SHAPE, 4, width=width)
    for name, buffer in made.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_()
    return made


def started(text: str, width: float = 0.05, **settings: str) -> tuple[dict[str, Tensor], dict[str, Tensor], nn.Module]:
    """The parent's state dict, and what B starts from; B's network."""
    given = {name: value.clone() for name, value in network(99, width).state_dict().items()}
    task = strategies.get("finetune", network(0, width), Recipe(epochs=4), 4, **settings)
    task.defend(defenses.parse(text))
    torch.manual_seed(5)
    task.start_from(given, IMAGES)
    return given, {name: value.clone() for name, value in task.network.state_dict().items()}, task.network


@pytest.mark.parametrize("count", [1, 3])
def test_the_last_blocks_and_the_last_layer_are_fresh_and_the_rest_is_the_parents(count: int) -> None:
    given, found, _ = started(f"reset(blocks={count})")
    kept = tuple(f"features.{place}." for place in range(4 * (4 - count)))
    for name, value in found.items():
        if name.startswith(kept):
            assert torch.equal(value, given[name]), name
        elif name.endswith("running_mean"):
            assert not value.any(), name  # statistics begin anew
        elif value.ndim > 1:
            assert not torch.isclose(value, given[name], atol=1e-6).any(), name
            bound = value[0].numel() ** -0.5  # of torch's uniform start
            assert bound / 2 < float(value.abs().max()) <= bound, name
    assert sum(name.startswith(kept) for name in found) > 0


def test_fresh_weights_follow_the_seed_and_leave_the_generator() -> None:
    first, second = started("reset")[1], started("reset")[1]
    assert all(torch.equal(first[name], second[name]) for name in first)
    plain = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4))  # no name, so that nobody can build it
    torch.manual_seed(1)
    state = torch.get_rng_state()
    other = fresh(plain)
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.isclose(other[0].weight, plain[0].weight).any()
    built = build(Component("dtn", 1, (("width", 0.05),)), SHAPE, 4)
    torch.manual_seed(2)
    drawn = fresh(built).classifier.weight
    torch.manual_seed(2)
    assert torch.equal(drawn, build(Component("dtn", 1, (("width", 0.05),)), SHAPE, 4).classifier.weight)


def test_noise_has_the_spread_of_each_tensor_times_the_setting() -> None:
    given, found, _ = started("reset(noise=0.5)", 0.5)
    for name, value in found.items():
        if name.endswith("weight") and value.numel() > 5000:
            added = value - given[name]
            assert float(added.std() / given[name].std()) == pytest.approx(0.5, rel=0.05), name
            assert abs(float(added.mean())) < 0.05 * float(given[name].std())
        elif name.endswith(("running_mean", "running_var", "tracked")):
            assert torch.equal(value, given[name]), name


def test_coverage_is_a_plain_loops() -> None:
    torch.manual_seed(3)
    layers = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 6, 3, groups=2), nn.Flatten(), nn.Linear(6 * 196, 5)
    )
    found = covered(layers, IMAGES.images)
    assert found.keys() == {"0", "2", "4"}
    total = {"0": torch.zeros(4, 1), "2": torch.zeros(6, 2), "4": torch.zeros(5, 6 * 196)}
    with torch.no_grad():
        for image in IMAGES.images:
            before = image[None] / 255
            for name, layer in layers.named_children():
                after = layer(before)
                if name in total:
                    for out in range(total[name].shape[0]):
                        for place in range(total[name].shape[1]):
                            channel = place + 2 * (out // 3) if name == "2" else place
                            total[name][out, place] += before[0, channel].abs().mean() * after[0, out].abs().mean() / 40
                before = after
    for name, value in total.items():
        assert torch.allclose(found[name], value, rtol=1e-4), name


def test_large_weights_that_are_covered_little_go_first() -> None:
    given, found, made = started("reset(relevance=0.1)")
    made.load_state_dict(given)
    coverage = covered(made, IMAGES.images)
    assert coverage.keys() == {"features.0", "features.4", "features.8", "hidden.0", "classifier"}
    for name in coverage:
        weight, now = given[f"{name}.weight"], found[f"{name}.weight"]
        changed = (weight != now).flatten()
        assert int(changed.sum()) == round(0.1 * weight.numel()), name
        cover = coverage[name].view(*coverage[name].shape, *[1] * (weight.ndim - 2)).expand_as(weight)
        needless = (_ranks(weight.abs()) - _ranks(cover)).float()
        assert float(needless[changed].min()) >= float(needless[~changed].max())
        if len(cover.unique()) > 1:
            assert float(weight.abs().flatten()[changed].mean()) > float(weight.abs().mean())
            assert float(cover.flatten()[changed].mean()) < float(cover.mean())
        assert torch.equal(found[f"{name}.bias"], given[f"{name}.bias"])


def test_ranks_are_those_of_sorting() -> None:
    assert _ranks(torch.tensor([[3.0, 1.0], [2.0, 1.0]])).tolist() == [3, 0, 2, 1]


def test_of_the_whole_network_nothing_of_the_parent_is_left() -> None:
    given, found, _ = started("reset(blocks=4)")
    for name, value in found.items():
        if value.ndim > 1:
            assert not torch.isclose(value, given[name], atol=1e-6).any(), name


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("reset(blocks=0)", "blocks from 1, noise from 0"),
        ("reset(noise=-1)", "reset needs blocks from 1"),
        ("reset(relevance=1.5)", "relevance from 0 to 1"),
        ("reset(noise=1, relevance=0.1)", "reset needs one of blocks, noise and relevance, got reset"),
        ("reset(blocks=2, noise=1)", "leave the others out"),
    ],
)
def test_settings_out_of_range_are_one_sentence(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        defenses.parse(text)


def test_what_cannot_be_reset_is_one_sentence() -> None:
    with pytest.raises(ConfigError, match=r"reset has blocks=5, and this network has 4"):
        started("reset(blocks=5)")
    with pytest.raises(ConfigError, match=r"reset makes blocks random that this strategy never trains"):
        started("reset", mode="probe")
    started("reset", mode="probe_full")
    with pytest.raises(ConfigError, match=r"reset by relevance needs images"):
        defenses.parse("reset(relevance=0.1)").initialize(SimpleNamespace(network=network(0)), None, None)


def test_where_b_starts_from_random_weights_it_is_refused_at_once(tiny: Path) -> None:
    with pytest.raises(ConfigError, match=r"defense reset changes what scratch made_b.* starts from") as caught:
        make_plan(load(tiny, [*QUICK, "axes.defense=[reset]", "axes.strategy=[scratch]"]).bench)
    assert "\n" not in str(caught.value)


def test_the_attacker_with_a_shadow_resets_too(tiny: Path) -> None:
    plan = make_plan(load(tiny, [*QUICK, "axes.defense=[reset]"]).bench)
    (cell,) = (cell for cell in plan.cells if cell.cell.view == "shadow")
    assert cell.play.surrogate == cell.scene.victim.again("shadow")
    assert cell.play.surrogate.defense[0].name == "reset"
    assert cell.play.surrogate.parent == cell.scene.surrogate


@pytest.mark.parametrize("defense", ["reset", "renofeation"])
def test_a_plan_refuses_what_is_random_and_never_trained(tiny: Path, defense: str) -> None:
    more = [f"axes.defense=[{defense}]", "axes.strategy=[{name: finetune, mode: probe}]"]
    with pytest.raises(ConfigError, match=f"{defense} makes blocks random that this strategy never trains"):
        make_plan(load(tiny, [*QUICK, *more]).bench)
    with pytest.raises(ConfigError, match=r"reset has blocks=9, and this network has 4"):
        make_plan(load(tiny, [*QUICK, "axes.defense=['reset(blocks=9)']"]).bench)
