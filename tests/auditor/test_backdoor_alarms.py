"""Alarms of models that were poisoned, of their clean twins, and of what was not given."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

import tl_robust
from tl_robust import backdoors, models
from tl_robust.audit.numbers import ALARM, INDEX, RATIO, STAMPED
from tl_robust.audit.policy import parse
from tl_robust.audit.record import Finding
from tl_robust.auditor.alarms import alarms
from tl_robust.auditor.clean_models import operations
from tl_robust.auditor.looks_stamped import looking_stamped, sampled
from tl_robust.auditor.smallest_mask import SEARCHES, masks, passes
from tl_robust.auditor.subject import ReadModel, Subject
from tl_robust.defenses.neural_cleanse import smallness
from tl_robust.types import ImageSet

NAMES = tuple(map(str, range(10)))
TARGET = 3


def trained(network: nn.Module, data: ImageSet, epochs: int, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    steps = torch.optim.SGD(network.train().parameters(), lr=0.02, momentum=0.9)
    for _ in range(epochs):
        for batch in torch.randperm(len(data)).split(32):
            loss = cross_entropy(network(data.images[batch].float() / 255), data.labels[batch])
            steps.zero_grad()
            loss.backward()
            steps.step()
    return network.eval()


@dataclass(frozen=True)
class Made:
    """Two children of one parent, and others.

    Attributes:
        clean: The audit of a clean child.
        poisoned: That of one that learned stamped images, too.
        mask: Bool ``[N]``, its training images that are stamped.
    """

    clean: Subject
    poisoned: Subject
    mask: torch.Tensor

    @cached_property
    def told(self) -> dict[str, dict[str, Finding]]:
        """What alarms say of both."""
        return {"clean": by_name(self.clean), "poisoned": by_name(self.poisoned)}


@pytest.fixture(scope="module")
def made() -> Made:
    pair = tl_robust.pair("mnist5k-optdigits", space="digits", train_limit=800)
    source, target = (pair.side(role).images("train") for role in ("source", "target"))
    images = pair.side("target").images("test").take(torch.arange(200) * 3)
    parents = []
    for seed in range(3):
        torch.manual_seed(seed)
        parents.append(trained(models.get("dtn", (3, 32, 32), 10, width=0.2), source, 5, seed))
    trigger = backdoors.get("patch", rate=0.1)
    poison = trigger.poison(target, TARGET, 0, {})
    read = [ReadModel(name, network, NAMES) for name, network in zip(("parent", "one", "two"), parents, strict=True)]

    def subject(name: str, data: ImageSet) -> Subject:
        child = trained(copy.deepcopy(parents[0]), data, 8, 7)
        return Subject(ReadModel(name, child, NAMES), read[0], tuple(read[1:]), images, NAMES, data)

    made = Made(subject("clean", target), subject("poisoned", poison.images), poison.mask)
    others = images.take((images.labels != TARGET).nonzero()[:, 0])
    stamped = trigger.stamp(others.images, torch.arange(len(others)), {}).float() / 255
    with torch.no_grad():
        assert float((made.poisoned.model.network(stamped).argmax(1) == TARGET).float().mean()) > 0.95
    assert min(made.clean.accuracy, made.poisoned.accuracy) > 0.9
    return made


def by_name(subject: Subject) -> dict[str, Finding]:
    found = alarms(subject)[0]
    names = [f"{finding.name} {finding.attack[:5]}" if finding.name == ALARM else finding.name for finding in found]
    assert len(set(names)) == len(names) == 5
    assert {finding.threat for finding in found} == {"backdoor"}
    return dict(zip(names, found, strict=True))


def test_every_alarm_ranks_the_poisoned_model_above_its_clean_twin_and_all_clean_models(made: Made) -> None:
    clean, poisoned = made.told["clean"], made.told["poisoned"]
    assert poisoned[RATIO].value > 2 > clean[RATIO].value
    assert poisoned[STAMPED].low > 0.03 > clean[STAMPED].value
    for name in (f"{ALARM} neura", f"{ALARM} strip"):
        number = poisoned[name]
        assert number.value == 1 / 4  # the parent and two decoys are less suspicious
        assert number.low == 0
        assert number.high == pytest.approx(1 - 0.025 ** (1 / 3))
        assert number.n == 3
        assert number.trust.level == "amber"
        assert "3 clean models cannot tell a false-alarm rate below 25 %" in " ".join(number.trust.reasons)


def test_the_stamped_training_images_are_those_that_strip_sees(made: Made) -> None:
    subject = made.poisoned
    assert subject.train is not None
    train, mask = sampled(subject.train, 0), sampled(ImageSet(subject.train.images, made.mask.long()), 0).labels.bool()
    found = looking_stamped(subject.model.network, subject.images, train, 0)
    assert found is not None
    assert float(found[mask].double().mean()) > 0.7
    assert float(found[~mask].double().mean()) < 0.03
    number = made.told["poisoned"][STAMPED]
    assert number.hits == tuple(found.tolist())
    assert number.n == len(train) == 200


def test_masks_are_those_of_neural_cleanse_itself_in_any_mode_of_the_network(made: Made) -> None:
    network, images = made.poisoned.model.network, made.poisoned.images
    found = masks(SEARCHES[0], network, images, 10, 5)
    fitted = SEARCHES[0].fit(network, images, 5)
    assert torch.allclose(found.norms, fitted["norms"], rtol=1e-6)
    assert found.ratio == pytest.approx(float(smallness(fitted["norms"])))
    assert int(found.norms.argmin()) == TARGET
    assert found.flagged == (int(fitted["flagged"]) == TARGET)
    network.train()
    try:
        again = masks(SEARCHES[0], network, images, 10, 5)
        assert network.training
    finally:
        network.eval()
    assert torch.equal(again.norms, found.norms)
    assert len(masks(SEARCHES[0], network, images, 4, 5).norms) == 4


def test_the_alarm_of_the_literature_has_a_measured_rate_beside_it(made: Made) -> None:
    for numbers in made.told.values():
        number = numbers[INDEX]
        assert number.low == number.value == number.high
        assert f"this one is {'above' if number.value > 2 else 'not above'} it; so were" in number.trust.reasons[0]
        assert "experiments/statistics/alarms.py" in number.trust.reasons[0]
    assert (Path(__file__).parents[2] / "experiments" / "statistics" / "alarms.py").is_file()


def test_without_clean_models_the_rate_is_not_told_and_a_sentence_says_why(made: Made) -> None:
    found, left = alarms(replace(made.clean, parent=None, decoys=()))
    assert [finding.name for finding in found] == [INDEX, RATIO, STAMPED]
    for finding in found:
        assert finding.trust.level == "amber"
        assert "No clean model was asked" in " ".join(finding.trust.reasons)
    missing = [item for item in left if item.name == ALARM]
    assert len(missing) == 2
    assert all("give the parent, and decoys" in item.reason for item in missing)


class Bare(nn.Module):
    """Linear, with so many classes; ``spoiled`` says what is not finite."""

    def __init__(self, classes: int, spoiled: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.inner, self.spoiled = nn.Sequential(nn.Flatten(), nn.Linear(48, classes)), spoiled

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.inner(images) * (math.nan if self.spoiled else 1.0)


def bare(classes: int, *others: int, spoiled: bool = False, images: int = 40, train: int = 4) -> Subject:
    draws = torch.Generator().manual_seed(3)
    pixels = torch.randint(0, 256, (images, 3, 4, 4), generator=draws, dtype=torch.uint8)
    learned = torch.randint(0, 256, (30, 3, 4, train), generator=draws, dtype=torch.uint8)
    read = [ReadModel(f"of {count}", Bare(count).eval(), ()) for count in others]
    return Subject(
        ReadModel("mine", Bare(classes, spoiled).eval(), ()), None, tuple(read),
        ImageSet(pixels, torch.arange(images) % classes), (), ImageSet(learned, torch.zeros(30, dtype=torch.int64)),
    )  # fmt: skip


def test_models_of_more_classes_are_asked_about_as_many_and_those_of_fewer_are_left_out() -> None:
    found = {finding.name: finding for finding in alarms(bare(5, 8, 4))[0] if not finding.attack.startswith("strip")}
    assert found[ALARM].n == 1
    assert "of 4 was not asked, since it has 4 classes, and the model 5." in found[ALARM].trust.reasons[-1]
    assert found[INDEX].n == 5


@pytest.mark.parametrize(
    ("subject", "name", "reason"),
    [
        (bare(2), INDEX, "compares the masks of 3 classes or more, and the model has 2"),
        (bare(4, spoiled=True), RATIO, "not finite, as in a model that has diverged"),
        (bare(4, spoiled=True), STAMPED, "not finite, as of a model that has diverged"),
        (bare(4, images=12), STAMPED, "needs 20 test images, got 12"),
        (bare(4, train=5), STAMPED, "lays test images (3x4x4) over training images (3x4x5)"),
        (replace(bare(4), train=None), STAMPED, "give them with --train FOLDER"),
    ],
)
def test_what_cannot_be_asked_is_one_sentence(subject: Subject, name: str, reason: str) -> None:
    found, left = alarms(subject)
    assert name not in {finding.name for finding in found}
    (told,) = [item.reason for item in left if item.name == name]
    assert reason in told
    assert told.endswith(".")


def test_on_a_cpu_too_much_work_is_left_out_with_a_sentence() -> None:
    found, left = alarms(bare(4, 4), work=1e3)
    assert found == ()
    assert {item.name for item in left} == {INDEX, RATIO, ALARM, STAMPED, "attack_success"}
    assert all("too long on a CPU: audit on a GPU" in item.reason for item in left if item.name != "attack_success")


def test_where_a_search_costs_too_much_a_shorter_one_is_made_of_all_models() -> None:
    subject = bare(4, 4)
    each = operations(subject.model.network, subject.images)
    long, short = (2 * passes(search, 4) * each for search in SEARCHES)
    assert short == long / 2
    for work, batch, clean in ((long, 4, 1), (long - 1, 2, 1), (short, 2, 1), (short - 1, 2, 0)):
        found, left = alarms(replace(subject, train=None), work)
        numbers = {finding.name: finding for finding in found}
        assert f"batch={batch}, " in numbers[INDEX].attack
        assert (ALARM in numbers) == bool(clean)
        missing = [item.reason for item in left if item.name == ALARM]
        assert len(missing) == (not clean)
        assert all("of 4 was not asked, since all together would take too long on a CPU." in each for each in missing)


def test_a_policy_may_name_every_number_of_an_alarm() -> None:
    lines = [f"- {ALARM} >= 0.05", f"- {INDEX} <= 2", f"- {RATIO} <= 3", f"- {STAMPED} <= 0.05"]
    assert len(parse("rules:\n" + "\n".join(lines), Path("policy.yaml")).rules) == 4
    from tl_robust.errors import ConfigError

    for wrong, said in (
        (f"{ALARM} <= 0.05", "since higher is better"),
        (f"{INDEX} >= 2", "since lower is better"),
        (f"{INDEX} <= -1", "is at least 0, and the bound is -1"),
        (f"{ALARM}@8/255 >= 0.1", "has no eps"),
    ):
        with pytest.raises(ConfigError, match=said):
            parse(f"rules:\n- {wrong}", Path("policy.yaml"))


def test_a_finding_of_an_alarm_has_one_unit_and_one_direction() -> None:
    with pytest.raises(ValueError, match="must be in ratio and better where lower, got share and higher"):
        Finding("backdoor", INDEX, "Index", 0.5, 0.5, 0.5, 10, "share", "higher")
