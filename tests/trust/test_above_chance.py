"""A network that knows nothing is red, with its rate; a weak one that knows something is not."""

import math

import pytest
import torch
from torch import Tensor, nn

from tests.trust.answered import answers, labels, made
from tl_robust import attacks, trust
from tl_robust.models.networks.dtn import DTN
from tl_robust.trust import CHECKS
from tl_robust.trust.checks.above_chance import exchanged
from tl_robust.trust.exact import at_least
from tl_robust.types import Evidence, Outcome, Verdict


def verdict(found: Outcome) -> Verdict:
    return CHECKS["above_chance"].verdict(Evidence(found))


@pytest.mark.parametrize("classes", [2, 4, 10])
@pytest.mark.parametrize("count", [40, 200, 1000])
def test_the_boundary_is_that_of_the_exact_test(classes: int, count: int) -> None:
    """At 1 %: the fewest right answers that always naming one class reaches with less than that."""
    label = labels(count, classes)
    enough = next(right for right in range(count) if at_least(right, count, 1 / classes) <= 0.01)
    assert verdict(made(label, answers(label, enough, classes))) == Verdict()
    found = verdict(made(label, answers(label, enough - 1, classes)))
    assert found.level == "red"
    assert found.reasons == (
        f"The victim is right on {(enough - 1) / count:.1%} of {count} clean images, and always naming the most "
        f"frequent of {classes} classes is on {1 / classes:.1%}: no better than chance, so its robustness says "
        "nothing.",
    )


def test_chance_is_what_the_most_frequent_class_gives() -> None:
    """90 of 100 are of one class: 91 right answers are no knowledge, 97 are."""
    label = (torch.arange(100) >= 90).long()
    for right, level in ((90, "red"), (91, "red"), (97, "green")):
        given = torch.where(torch.arange(100) < right, label, 1 - label)
        assert verdict(made(label, given)).level == level
    assert verdict(made(label, torch.zeros(100, dtype=torch.int64))).level == "red"  # always the most frequent


@pytest.mark.parametrize("count", [1, 2, 6])
def test_silent_where_no_answer_could_tell(count: int) -> None:
    """Two classes, six images: all right is 1 in 64. One class: always naming it is right."""
    label = labels(count, 2)
    assert verdict(made(label, label)) == verdict(made(label, 1 - label)) == Verdict()
    one = torch.full((300,), 4)
    assert verdict(made(one, one)) == verdict(made(one, one - 1)) == Verdict()
    assert verdict(made(labels(8, 2), 1 - labels(8, 2))).level == "red"  # the least that can tell


def test_clusters_with_names_by_luck_are_no_knowledge() -> None:
    """All images of two classes get one name: 20 % right, and any other two classes would be as many."""
    label = labels(500, 10)
    lucky = torch.where(label < 5, 0, 5)
    found = verdict(made(label, lucky))
    assert at_least(100, 500, 0.1) < 1e-9
    assert found.level == "red"
    assert "is right on 20.0% of 500 clean images, and with the names of its classes exchanged" in found.reasons[0]
    four = labels(500, 4)  # too few names to exchange: the binomial decides alone
    assert verdict(made(four, torch.where(four < 2, 0, 2))).level == "green"


def test_no_prediction_is_not_right() -> None:
    label = labels(200, 10)
    given = torch.where(torch.arange(200) < 25, label, -1)
    assert "12.5% of 200" in verdict(made(label, given)).reasons[0]
    assert verdict(made(label, torch.where(torch.arange(200) < 100, label, -1))) == Verdict()


def test_the_surrogate_counts_where_it_has_the_labels_and_is_another_model() -> None:
    label = labels(200, 10)
    good, bad = answers(label, 180, 10), answers(label, 15, 10)
    ignorant = made(label, good, clean_a=bad, adv_a=bad.repeat(2, 1))
    assert [reason[:13] for reason in verdict(ignorant).reasons] == ["The surrogate"]
    assert verdict(ignorant).level == "red"
    others = made(
        label, good, clean_a=bad, adv_a=bad.repeat(2, 1), same_labels=torch.zeros(200, dtype=torch.bool)
    )  # its own predictions stand for labels
    assert verdict(others) == Verdict()
    assert len(verdict(made(label, bad)).reasons) == 1  # one model, one reason
    both = made(label, bad, clean_a=answers(label, 14, 10), adv_a=bad.repeat(2, 1))
    assert len(verdict(both).reasons) == 2


def test_a_network_without_useful_steps_is_red_and_every_trained_one_is_not(
    digits: tuple[Tensor, Tensor], networks: dict[str, nn.Module]
) -> None:
    """Untrained networks whose BatchNorm has seen images, of ten seeds: their names are not by knowledge."""
    images, label = (part[:400] for part in digits)

    def level(network: nn.Module) -> Verdict:
        with torch.no_grad():
            return verdict(made(label, network(images).argmax(1)))

    with torch.random.fork_rng(devices=[]):
        for seed in range(10):
            torch.manual_seed(seed)
            untrained = DTN((3, 16, 16), 10, width=0.25)
            with torch.no_grad():
                for part in images.split(100):
                    untrained.train()(part)
            found = level(untrained.eval())
            assert found.level == "red", seed
            assert "% of 400 clean images" in found.reasons[0]
    for network in networks.values():
        assert level(network) == Verdict()
    attack = attacks.get("fgsm")
    found = trust.verdicts(
        attack, surrogate=networks["dtn"], victims={"b": untrained}, images=images, labels=label, eps=[0, 0.1]
    )["b"]
    assert found.level == "red"
    assert any("no better than chance" in reason for reason in found.reasons)


@pytest.mark.parametrize("classes", [5, 6])
@pytest.mark.parametrize("share", [1.0, 0.95])
def test_few_classes_are_exchanged_in_all_ways(classes: int, share: float) -> None:
    """One of 120 ways is the right one, which draws would hold too often by luck for a p-value of 1 %."""
    label = torch.arange(200) % classes
    predicted = torch.where(torch.arange(200) < 200 * share, label, (label + 1) % classes)
    assert exchanged(predicted, label) == pytest.approx(1 / math.factorial(classes))
