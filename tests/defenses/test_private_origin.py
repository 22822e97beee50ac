"""A private origin: B starts from a second A, and whoever attacks has the first alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tl_robust.backdoors.named.patch import Patch
from tl_robust.bench.plan import Plan, make_plan
from tl_robust.config import load
from tl_robust.errors import ConfigError
from tl_robust.nodes.isolation import isolated as isolated_model
from tl_robust.nodes.training import Training
from tl_robust.threats.backdoor import _trainings

QUICK = ["axes.seed=[0]", "axes.strategy=[finetune]", "axes.attack=[fgsm]", "axes.view=[white,black,shadow]"]


def planned(bench: Path, defense: str, *more: str) -> tuple[Training, Training, Plan]:
    """B, the isolated B, and the plan."""
    plan = make_plan(load(bench, [*QUICK, f"axes.defense=[none,'{defense}']", *more]).bench)
    plain, isolated = (next(c for c in plan.cells if (c.cell.defense != "none") == which) for which in (False, True))
    return plain.scene.victim, isolated.scene.victim, plan


def shadow_of(plan: Plan) -> Training:
    (cell,) = (c for c in plan.cells if c.cell.view == "shadow" and c.cell.defense != "none")
    assert isinstance(cell.play.surrogate, Training)
    return cell.play.surrogate


def test_b_starts_from_another_draw_of_a_that_the_attacker_has_not(tiny: Path) -> None:
    b, isolated, plan = planned(tiny, "private_origin")
    public = plan.cells[0].scene.surrogate
    assert b.parent == public
    assert isolated.parent == public.again("private")
    assert isolated.parent.key != public.key
    assert (isolated.data, isolated.by, isolated.recipe, isolated.defense) == (b.data, b.by, b.recipe, ())
    for cell in plan.cells:  # in no view does he craft on what came from the private A
        if cell.cell.defense != "none":
            assert cell.scene.surrogate == public
            used = {node.key for node in cell.play.surrogate.nodes}
            assert (isolated.parent.key in used) == (cell.cell.view == "white")


def test_the_shadow_is_made_from_the_public_a(tiny: Path) -> None:
    b, _, plan = planned(tiny, "private_origin")
    assert shadow_of(plan) == b.again("shadow")


def test_b_and_a_of_the_same_origin_get_two_origins(tiny: Path) -> None:
    _, isolated, plan = planned(tiny, "private_origin", "axes.strategy=[common_init]")
    public = plan.cells[0].scene.surrogate
    assert isolated.parent == public.parent.again("private")


@pytest.mark.parametrize("first", [True, False])
def test_it_goes_with_a_repair_in_either_order(tiny: Path, first: bool) -> None:
    names = ["private_origin", "distill"] if first else ["distill", "private_origin"]
    b, student, plan = planned(tiny, " + ".join(names))
    teacher = dict(student.others)["teacher"]
    private = plan.cells[0].scene.surrogate.again("private")
    assert student.parent is None
    assert isinstance(teacher, Training)
    assert (teacher.parent, teacher.salt) == (private, "")
    shadow = dict(shadow_of(plan).others)["teacher"]
    assert shadow == b.again("shadow")


def test_it_goes_with_a_defense_that_asks_the_parent(tiny: Path) -> None:
    _, filtered, plan = planned(tiny, "parent_loss + private_origin")
    private = plan.cells[0].scene.surrogate.again("private")
    assert filtered.parent == dict(filtered.others)["parent"] == private
    assert filtered.defense[0].name == "parent_loss"
    assert len(filtered.defense) == 1  # it joins in no training itself


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["axes.strategy=[scratch]"], "'private_origin' changes nothing with strategy 'scratch'"),
        (["axes.strategy=[as_is]"], "'private_origin' changes nothing with strategy 'as_is'"),
    ],
)
def test_where_there_is_no_origin_it_is_refused(tiny: Path, more: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        planned(tiny, "private_origin", *more)
    assert "\n" not in str(caught.value)


def poisoned(bench: Path, defense: str, attack: str, *more: str) -> tuple[Training, Training]:
    """A and B of the plain attack on the defense."""
    changes = [QUICK[0], QUICK[1], f"axes.attack=[{attack}]", "epochs=[0,1]", f"axes.defense=['{defense}']", *more]
    (cell,) = make_plan(load(bench, changes).bench).cells
    stamping = cell.play.stampings[0]
    victim = stamping.victims[-1].trained
    assert isinstance(victim, Training)
    assert isinstance(stamping.poisoned, Training)
    return stamping.poisoned, victim


PATCH = "{name: patch, side: 3, rate: 0.2, margin: 0}"


def test_who_poisons_the_images_of_a_poisons_the_private_one_too(tiny: Path) -> None:
    public, victim = poisoned(tiny, "private_origin", PATCH)
    private = victim.parent
    assert isinstance(private, Training)
    assert (public.salt, private.salt) == ("", "private")
    assert private.poison == public.poison
    assert public.poison
    assert private.data == public.data
    assert private.seed == public.seed, "which says which of the images are poisoned"
    assert victim.poison is None
    plain, own = poisoned(tiny, "none", PATCH)
    assert (plain.key, own.parent) == (public.key, public)


def test_the_private_start_of_both_is_poisoned_with_the_common_images(tiny: Path) -> None:
    common = PATCH.replace("}", ", into: common}")
    public, victim = poisoned(tiny, "private_origin", common, "axes.strategy=[common_init]")
    assert isinstance(victim.parent, Training)
    assert victim.parent == public.again("private")
    assert victim.parent.poison == public.poison
    assert public.poison


def test_of_what_is_private_that_alone_is_poisoned_which_learns_from_these_images(tiny: Path) -> None:
    """B from a private A from a private C: poison of C's images is not put into A's."""
    changes = [QUICK[0], "axes.strategy=[common_init]", f"axes.attack=[{PATCH}]", "epochs=[0]", "axes.defense=[none]"]
    (cell,) = make_plan(load(tiny, changes).bench).cells
    a, b = cell.scene.surrogate, cell.scene.victim
    assert isinstance(a, Training)
    assert isinstance(b, Training)
    assert a.parent == b.parent
    victim = isolated_model(replace(b, parent=a))
    scene = replace(cell.scene, victim=victim)
    for into, public in (("common", a.parent), ("source", a)):
        private, known = _trainings(Patch(into=into), scene)
        assert known == public
        assert (private.salt, private.data) == ("private", known.data)
        assert private in victim.nodes


def test_who_owns_the_training_of_the_public_a_reaches_that_alone(tiny: Path) -> None:
    public, victim = poisoned(tiny, "private_origin", "{name: latent, side: 3, rate: 0.2, margin: 0}")
    assert public.poison
    assert isinstance(victim.parent, Training)
    assert (victim.parent.salt, victim.parent.poison) == ("private", None)


def test_poison_of_the_target_leaves_the_private_a_clean(tiny: Path) -> None:
    _, victim = poisoned(tiny, "private_origin", PATCH.replace("}", ", into: target}"))
    assert victim.poison
    assert isinstance(victim.parent, Training)
    assert (victim.parent.salt, victim.parent.poison) == ("private", None)


@pytest.mark.parametrize("names", ["private_origin + origin_at", "origin_at + private_origin"])
def test_images_are_made_on_the_public_a_even_where_b_starts_from_the_private_one(tiny: Path, names: str) -> None:
    _, isolated, plan = planned(tiny, names)
    public = plan.cells[0].scene.surrogate
    assert isolated.parent == public.again("private")
    assert dict(isolated.others) == {"origin": public}
    shadow = shadow_of(plan)
    assert shadow.parent == dict(shadow.others)["origin"] == public
