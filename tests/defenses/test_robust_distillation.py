"""RSLAD: the loss against a plain loop, the lineage of teacher and student, and the epoch that is kept."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tl_robust import defenses, strategies
from tl_robust.bench import runner
from tl_robust.bench.plan import Plan, make_plan
from tl_robust.config import load
from tl_robust.defenses import Composed, build
from tl_robust.defenses.distill import Distill
from tl_robust.errors import ConfigError
from tl_robust.nodes.models import WEIGHTS
from tl_robust.nodes.store import Store
from tl_robust.nodes.training import Snapshot, Training
from tl_robust.seeding import derive, generator, normal
from tl_robust.strategies import TransferTask
from tl_robust.types import Recipe

EPS = 16 / 255
QUICK = ["axes.seed=[0]", "axes.strategy=[finetune]", "axes.attack=[fgsm]", "axes.view=[white,black,shadow]"]
IMAGES = torch.rand(20, 1, 8, 8, generator=generator("rslad"), dtype=torch.float64)
LABELS, IDS = torch.arange(20) % 10, torch.arange(20) + 5


class Small(nn.Module):
    """Convolution, batch statistics, dropout; in double precision, so that formulas agree to the last digits."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.body = nn.Sequential(nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.Tanh(), nn.Dropout(0.5), nn.Flatten())
        self.classifier = nn.Linear(6 * 36, 10)
        with torch.no_grad():
            self.classifier.weight.mul_(4)
        self.double()

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(self.body(images))


def task_of(defense: Distill, recipe: Recipe | None = None) -> TransferTask:
    recipe = recipe or Recipe(epochs=2, batch_size=20, lr=0.05)
    task = strategies.get("scratch", Small(1), recipe, 10).defend(defense, {"teacher": Small(2)})
    task.defense_seed = 11
    return task.train()


def loss_of(task: TransferTask, labels: Tensor = LABELS) -> Tensor:
    assert task.defense is not None
    torch.manual_seed(3)  # of dropout
    return task.defense.loss(task, (IMAGES, labels, IDS), task._others)


def divergence(teacher: Tensor, student: Tensor) -> Tensor:
    """KL(teacher || student) of each image, from probabilities."""
    return (teacher * (teacher.log() - student.log())).sum(1)


def plain_rslad(eps: float = EPS) -> nn.Module:
    """The student, with the gradient of the loss; the loss is an attribute of it."""
    student, teacher = Small(1), Small(2).eval()
    with torch.no_grad():
        soft = teacher(IMAGES).softmax(1)
    student.eval()
    draw = normal(derive(derive("attack", 11, 0), "start"), IDS, (1, 8, 8))
    start = IMAGES + 0.001 * draw.double()
    images = torch.minimum(torch.maximum(start, IMAGES - eps), IMAGES + eps).clamp(0, 1)
    for _ in range(10):
        images = images.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(divergence(soft, student(images).softmax(1)).sum(), images)
        images = (images + eps / 4 * gradient.sign()).detach()
        images = torch.minimum(torch.maximum(images, IMAGES - eps), IMAGES + eps).clamp(0, 1)
    student.train()
    torch.manual_seed(3)
    away = divergence(soft, student(images).softmax(1)).mean()
    near = divergence(soft, student(IMAGES).softmax(1)).mean()
    student.loss = 5 / 6 * away + 1 / 6 * near
    student.loss.backward()
    return student


def test_the_loss_and_its_gradient_are_a_plain_loops() -> None:
    task, plain = task_of(Distill(eps=EPS, robust=True)), plain_rslad()
    found = loss_of(task)
    assert found.item() == pytest.approx(plain.loss.item(), abs=1e-6)
    found.backward()
    for (name, own), other in zip(task.network.named_parameters(), plain.parameters(), strict=True):
        assert torch.allclose(own.grad, other.grad, atol=1e-6), name
    assert all(weight.grad is None for weight in task._others["teacher"].parameters())
    assert task.training
    assert task.network.training
    assert not task._others["teacher"].training
    assert int(task.network.body[1].num_batches_tracked) == 2, "the attack moves no statistics"
    other = loss_of(task_of(Distill(eps=EPS / 2, robust=True)))
    assert abs(other.item() - found.item()) > 1e-4
    assert torch.equal(loss_of(task_of(Distill(eps=EPS, robust=True)), LABELS.flip(0)), found), "no label is asked"


def test_the_epoch_is_chosen_under_attack_and_not_on_test_images() -> None:
    robust, plain = Distill(eps=EPS, robust=True), Distill()
    task = task_of(robust).eval()
    labels = task(IMAGES).argmax(1)
    right = robust.score(task, (IMAGES, labels, IDS))
    assert right is not None
    assert right.shape == (20,)
    assert 0 < int(right.sum()) < 20, "all are right without an attack"
    assert plain.score(task, (IMAGES, labels, IDS)) is None
    by_test = Recipe(epochs=2, batch_size=20, lr=0.05, select="test")
    with pytest.raises(ConfigError, match=r"needs recipe\.select=best or last, got 'test'"):
        robust.check(task_of(robust, by_test), 20, {})
    plain.check(task_of(plain, by_test), 20, {})
    with pytest.raises(ConfigError, match=r"has no eps outside a bench: give it one"):
        Distill(robust=True).check(task_of(robust), 20, {})


def planned(bench: Path, defense: str, *more: str) -> Plan:
    return make_plan(load(bench, [*QUICK, f"axes.defense=[none,{defense}]", *more]).bench)


def student_of(plan: Plan) -> Training:
    (student,) = {c.scene.victim.key: c.scene.victim for c in plan.cells if c.cell.defense != "none"}.values()
    assert isinstance(student, Training)
    return student


@pytest.mark.parametrize(
    ("more", "parts"),
    [("", {"eps": 4 / 255}), (", by: trades", {"eps": 4 / 255, "beta": 1.0}), (", by: fgsm_rs", {"eps": 4 / 255})],
)
def test_the_teacher_is_the_strategys_b_trained_adversarially(tiny: Path, more: str, parts: dict[str, float]) -> None:
    plan = planned(tiny, f"{{name: distill, robust: true{more}}}", "space=digits")
    b = plan.cells[0].scene.victim
    student = student_of(plan)
    teacher = dict(student.others)["teacher"]
    assert isinstance(teacher, Training)
    assert (student.parent, student.by.name, student.data) == (None, "scratch", b.data)
    assert teacher.parent == b.parent == plan.cells[0].scene.surrogate
    assert (teacher.recipe, teacher.by) == (b.recipe, b.by)
    (part,) = teacher.defense
    assert (part.name, dict(part.settings)) == (more.partition(": ")[2] or "pgd_at", pytest.approx(parts))
    assert dict(student.defense[0].settings)["eps"] == pytest.approx(4 / 255)
    lineage = build(student.defense).lineage(None, plan.cells[0].scene.surrogate, b)
    assert (lineage.public, lineage.victim, lineage.private) == (b.parent, student, (teacher,))
    shadow = next(c.play.surrogate for c in plan.cells if c.cell.view == "shadow" and c.cell.defense != "none")
    assert dict(shadow.others)["teacher"].key == teacher.again("shadow").key
    white = next(c.play for c in plan.cells if c.cell.view == "white" and c.cell.defense != "none")
    attacks = [str(group.attack) for group in white.groups]
    assert attacks == ["fgsm", "fgsm(objective=margin)", "strong(queries=200, steps=20, targets=3)"]


def test_a_plain_distillation_is_the_training_that_it_was(tiny: Path) -> None:
    student = student_of(planned(tiny, "distill"))
    assert student.spec["defense"] == [{"name": "distill", "version": 1, "settings": ()}]
    assert not dict(student.others)["teacher"].defense
    assert str(defenses.parse("distill(temperature=2)")) == "distill(temperature=2.0)"


def test_a_bench_trains_teacher_and_student_and_nothing_of_its_start_is_as(tiny: Path) -> None:
    more = ["axes.view=[black]", "recipe.epochs=1", "eps=[8/255]"]
    config = load(tiny, [*QUICK, "axes.defense=['distill(robust=True)']", *more])
    plan, store = make_plan(config.bench), Store(tiny.parent / "store")
    assert not runner.run(plan, config.bench, store).failures
    student = plan.cells[0].scene.victim
    assert isinstance(student, Training)
    for model in (student, dict(student.others)["teacher"]):
        assert store.manifest(WEIGHTS, model.key)["made"]["remark"].startswith("under attack ")
    start = Snapshot(student, 0)
    made, _ = start.nodes[-1].make(__import__("by_hand").hands(), store)
    fresh = made[start.key]
    for model in (plan.cells[0].scene.surrogate, dict(student.others)["teacher"]):
        theirs = store.load(WEIGHTS, model.key)
        drawn = [name for name, value in fresh.items() if value.is_floating_point() and float(value.float().std()) > 0]
        assert len(drawn) > 4
        assert not any(torch.allclose(fresh[name], theirs[name], atol=1e-4) for name in drawn)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "distill(robust=True, temperature=2)",
            r"^distill with robust has no temperature and no weight, got distill\(",
        ),
        ("distill(robust=True, weight=0.5)", r"^distill with robust has no temperature and no weight, got distill\("),
        ("distill(eps=8/255)", r"^by, eps and beta of distill go with robust=True alone, got distill\("),
        ("distill(by=trades)", r"^by, eps and beta of distill go with robust=True alone, got distill\("),
        ("distill(robust=True, by=dp)", r"^setting 'by' of distill must be one of pgd_at, fgsm_rs, trades, got 'dp'"),
        ("distill(robust=True, beta=2)", r"^distill needs beta with by: trades alone, got distill\("),
        ("distill(robust=True, eps=2)", r"^eps of defense 'pgd_at' must be above 0 and at most 1"),
    ],
)
def test_a_setting_out_of_place_is_one_sentence(text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        defenses.parse(text)
    assert "\n" not in str(caught.value)


def test_a_second_loss_on_the_teacher_is_refused_before_anything_runs(tiny: Path) -> None:
    assert isinstance(defenses.parse("trades + distill"), Composed)
    with pytest.raises(
        ConfigError, match=r"^only one defense can set the loss, got trades\(.*\) and pgd_at\(eps=4/255\)"
    ):
        planned(tiny, "trades + distill(robust=True)")
    with pytest.raises(ConfigError, match=r"trains at eps 32/255, and the bench attacks at 4/255 to 16/255"):
        planned(tiny, "{name: distill, robust: true, eps: 32/255}")
