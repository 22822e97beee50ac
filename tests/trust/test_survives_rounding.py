"""Success that 8 bits undo is amber; what noise may do is not."""

import pytest
import torch
from torch import Tensor, nn

from tests.trust.answered import EPS, labels, made
from tl_robust import attacks, trust
from tl_robust.trust import CHECKS
from tl_robust.types import Evidence, Examination, Outcome, Verdict


def verdict(found: Outcome, **evidence: Examination) -> Verdict:
    return CHECKS["survives_rounding"].verdict(Evidence(found, **evidence))


def fooled(count: int, n: int, by_rounding: bool) -> Outcome:
    """Of ``n`` right samples the first ``count`` are fooled at 8/255; their images may round to the clean ones."""
    label, first = labels(n, 10), torch.arange(n) < count
    adv = torch.stack([label, torch.where(first, (label + 1) % 10, label)])
    size = EPS[:, None].float().repeat(1, n)
    size[1, first] = 0.0 if by_rounding else 1 / 255
    return made(label, label, adv, size=size, clean_a=(label + 3) % 10)


@pytest.mark.parametrize(
    ("count", "n", "level"),
    [(0, 100, "green"), (11, 100, "green"), (12, 100, "amber"), (60, 100, "amber"), (12, 2400, "green"),
     (12, 2399, "amber")],
)  # fmt: skip
def test_images_that_round_to_the_clean_ones(count: int, n: int, level: str) -> None:
    """Twelve of one kind have p = 2 / 2^12, which at two eps is below 0.1 %; of 2,400 they are half a point."""
    found = verdict(fooled(count, n, by_rounding=True))
    assert found.level == level
    if level == "amber":
        assert found.reasons == (
            f"Rounded to 8 bits, adversarial images at eps 0.03137 leave the victim an accuracy of 100.0% instead of "
            f"{1 - count / n:.1%}: the images round to the clean ones.",
        )
    assert verdict(fooled(count, n, by_rounding=False)) == Verdict()


def test_rounding_may_also_help_the_attack() -> None:
    label = labels(100, 10)
    wrong = torch.where(torch.arange(100) < 30, (label + 1) % 10, label)
    size = torch.zeros(2, 100)
    found = verdict(made(label, wrong, torch.stack([wrong, label]), size=size))
    assert found.level == "amber"
    assert "an accuracy of 70.0% instead of 100.0%" in found.reasons[0]


@pytest.mark.parametrize(
    ("lost", "won", "level"), [(0, 0, "green"), (11, 0, "green"), (12, 0, "amber"), (0, 12, "amber"), (20, 12, "green")]
)
def test_the_examined_images_of_pgd(lost: int, won: int, level: str) -> None:
    """The exact test over three eps at 0.1 %: 12 of one kind are 3 * 2 / 2^12 = 0.15 %, 13 are 0.07 %."""
    pgd, rounded = torch.zeros(3, 64, dtype=torch.bool), torch.zeros(3, 64, dtype=torch.bool)
    extra = int(level == "amber")
    pgd[1, : lost + extra * (lost > 0)], rounded[1, 64 - won - extra * (won > 0) :] = True, True
    seen = Examination(
        torch.arange(64), torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64),
        {"survives_rounding/pgd": pgd, "survives_rounding/rounded": rounded},
    )  # fmt: skip
    label = labels(100, 10)
    good = made(label, label)
    assert verdict(good, surrogate=seen).level == level
    assert verdict(good, victim=seen).level == "green"  # its own images are not those that were judged


class Fine(nn.Module):
    """The class is whether the gray levels above 127 sum to more than 0."""

    def forward(self, images: Tensor) -> Tensor:
        off = (images.flatten(1) * 255 - 127).sum(1)
        return torch.stack([-off, off], 1)


def test_a_model_that_hears_what_no_picture_holds() -> None:
    """All pixels at 127 or 127 plus a little: PGD of 0.4 gray levels turns every answer, rounding undoes it."""
    label = labels(60, 2)
    images = torch.full((60, 1, 4, 4), 127 / 255)
    images[label == 1, 0, 0, 0] = 128 / 255
    images[label == 0, 0, 0, 0] = 126 / 255
    attack, eps = attacks.get("pgd"), [0, 0.4 / 255]
    seen = trust.examine(Fine(), images, label, eps, "linf")
    assert bool(seen.seen["survives_rounding/pgd"].all())
    assert not bool(seen.seen["survives_rounding/rounded"].any())
    outcome = attacks.evaluate(attack, surrogate=Fine(), victims={"b": Fine()}, images=images, labels=label, eps=eps)[
        "b"
    ]
    found = verdict(outcome, surrogate=seen)
    assert found.level == "amber"
    assert len(found.reasons) == 2
    assert "leave the surrogate under PGD an accuracy of 100.0% instead of 0.0%" in found.reasons[1]


def test_ordinary_success_survives(digits: tuple[Tensor, Tensor], networks: dict[str, nn.Module]) -> None:
    images, label = digits[0][:60].mul(255).round().div(255), digits[1][:60]
    for eps in ([0, 1 / 255, 8 / 255, 0.1], [0, 0.2 / 255]):
        seen = trust.examine(networks["dtn"], images, label, eps, "linf")
        outcome = attacks.evaluate(
            attacks.get("pgd"), surrogate=networks["dtn"], victims={"b": networks["linear"]}, images=images,
            labels=label, eps=eps,
        )["b"]  # fmt: skip
        assert verdict(outcome, surrogate=seen, victim=seen) == Verdict()
