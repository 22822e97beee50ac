"""White-box curves that stop at the first success: fewer gradients, never more samples right, each success real."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from tl_robust import attacks
from tl_robust.attacks import Attack, evaluate

EPS = {"linf": [k / 255 for k in (0, 1, 2, 4, 6, 8, 12, 16)], "l2": [0, 0.1, 0.3, 0.6, 1], "l1": [0, 1, 3, 8, 16]}
NAMES = ["pgd", "mi", "ni", "di", "apgd_ce", "apgd_t", "vmi"]


class Counting(nn.Module):
    """Counts images that a gradient was taken at."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.inner = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 4))
        self.gradients = 0

    def forward(self, images: Tensor) -> Tensor:
        self.gradients += len(images) if images.requires_grad else 0
        return self.inner(images)


def train() -> tuple[Counting, Tensor, Tensor]:
    """A net that tells four textures apart, and 60 images that it was not trained on."""
    model = Counting()
    draw = torch.Generator().manual_seed(1)
    kinds = torch.rand(4, 3, 8, 8, generator=draw)
    labels = torch.arange(360) % 4
    images = (0.25 * kinds[labels] + 0.75 * torch.rand(360, 3, 8, 8, generator=draw)).clamp(0, 1)
    steps = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(60):
        steps.zero_grad()
        cross_entropy(model(images[60:]), labels[60:]).backward()
        steps.step()
    return model.eval(), images[:60], labels[:60]


@pytest.fixture(scope="module")
def trained() -> tuple[Counting, Tensor, Tensor]:
    return train()


def attack_of(name: str, norm: str) -> Attack:
    few = {"apgd_ce": {"steps": 10}, "apgd_t": {"steps": 6, "restarts": 3}, "vmi": {"tricks": "variance(copies=2)"}}
    return attacks.get(name, norm=norm, **few.get(name, {}))


def right(model: nn.Module, adversarial: Tensor, labels: Tensor) -> Tensor:
    with torch.no_grad():
        return torch.stack([model(batch).argmax(1) == labels for batch in adversarial])


@pytest.mark.parametrize("norm", list(EPS))
@pytest.mark.parametrize("name", NAMES)
def test_what_falls_stays_fallen_and_is_within_its_eps(name: str, norm: str, trained) -> None:
    model, images, labels = trained
    attack, eps = attack_of(name, norm), EPS[norm]
    found = attack(model, images, labels, eps, early=True)
    standing = right(model, found, labels)
    assert 0 < int(standing[-1].sum()) + 5 < int(standing[0].sum())  # the curve falls here, so the test can fail
    assert not (standing[1:] & ~standing[:-1]).any()
    for before, now, stood in zip(found, found[1:], standing, strict=False):
        assert torch.equal(before[~stood], now[~stood])  # what fooled the model serves every larger eps
    geometry = attacks.base.get_norm(norm)
    for batch, allowed in zip(found, eps, strict=True):
        assert bool((geometry.size(batch - images) <= allowed * (1 + 1e-5) + 1e-6).all())


@pytest.mark.parametrize("norm", list(EPS))
@pytest.mark.parametrize("name", NAMES)
def test_it_is_as_strong_as_each_eps_alone(name: str, norm: str, trained) -> None:
    model, images, labels = trained
    attack, eps = attack_of(name, norm), EPS[norm]
    early = right(model, attack(model, images, labels, eps, early=True), labels).sum(1)
    alone = right(model, attack(model, images, labels, eps), labels).sum(1)
    assert bool((early <= alone + (2 if attack.tricks else 1)).all())  # of 60: another path, other draws


def test_it_takes_a_third_of_the_gradients(trained) -> None:
    model, images, labels = trained
    attack, eps = attacks.get("pgd"), [k / 255 for k in range(2, 34, 2)]

    def gradients(early: bool) -> int:
        model.gradients = 0
        attack(model, images, labels, eps, early=early)
        return model.gradients

    assert gradients(False) == 16 * 10 * len(images)
    assert gradients(True) * 3 <= gradients(False)


@pytest.mark.parametrize("name", ["pgd", "apgd_t", "vmi"])
def test_it_does_not_depend_on_batch_and_order(name: str, trained) -> None:
    model, images, labels = trained
    model = model.double()
    try:
        order = torch.randperm(60)
        attack, given = attack_of(name, "linf"), (images.double(), labels)
        whole = attack(model, *given, EPS["linf"], early=True)
        parts = [attack(model, given[0][i], labels[i], EPS["linf"], sample_id=i, early=True) for i in order.split(17)]
        assert float((torch.cat(parts, 1) - whole[:, order]).abs().max()) < 1e-9
    finally:
        model.float()


def test_what_the_model_gets_wrong_is_left_alone(trained) -> None:
    model, images, _ = trained
    wrong = (model(images).argmax(1) + 1) % 4
    found = attacks.get("pgd", random_start=False)(model, images, wrong, [0.1], early=True)[0]
    assert torch.equal(found, images)


def test_the_judge_stops_early_where_the_surrogate_is_the_only_victim(trained) -> None:
    model, images, labels = trained
    other = Counting().eval()

    def judged(victims: dict[str, nn.Module], **named: bool) -> Tensor:
        return evaluate(
            attacks.get("pgd"), surrogate=model, victims=victims, images=images, labels=labels, eps=EPS["linf"],
            **named,
        )["a"].size  # fmt: skip

    alone, both = judged({"a": model}), judged({"a": model, "b": other})
    assert torch.equal(both, judged({"a": model}, early=False))
    assert torch.equal(alone, judged({"a": model, "b": other}, early=True))
    assert not torch.equal(alone, both)
    few = {"surrogate": model, "images": images, "labels": labels, "eps": EPS["linf"]}
    plain, stopped = (
        evaluate(attacks.get("fgsm"), victims=victims, **few)["a"]
        for victims in ({"a": model}, {"a": model, "b": other})
    )
    assert torch.equal(plain.adv_a, stopped.adv_a)  # one step has nothing to stop


def test_ascents_from_the_clean_image_share_its_gradient_and_change_nothing(
    trained: tuple[Counting, Tensor, Tensor],
) -> None:
    model, images, labels = trained
    attack = attacks.get("pgd", random_start=False, steps=4)
    eps = [2 / 255, 4 / 255, 8 / 255]
    before = model.gradients
    together = attack(model, images, labels, eps)
    assert model.gradients - before == len(images) * (1 + 3 * 3)
    assert torch.equal(together, torch.cat([attack(model, images, labels, [size]) for size in eps]))
