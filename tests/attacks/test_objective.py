"""What an attack maximizes: gradients against a naive computation, and surrogates that name classes otherwise."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import linear, one_hot

from tl_robust import attacks
from tl_robust.attacks import Attack, Problem, evaluate
from tl_robust.errors import ConfigError, UnknownNameError
from tl_robust.metrics import METRICS
from tl_robust.models.module import NetworkModule
from tl_robust.trust import CHECKS
from tl_robust.types import Evidence, Outcome

EPS = [0.0, 4 / 255, 16 / 255, 64 / 255]
OBJECTIVES = ["label", "prediction", "feature"]


class Net(nn.Module):
    """Convolution, dropout and a last layer; the features are what the last layer is given."""

    def __init__(self, seed: int, classes: int = 4) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.body = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.Tanh(), nn.Dropout(0.5), nn.Flatten())
        self.classifier = nn.Linear(6 * 36, classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(self.body(images))


@dataclass(frozen=True)
class Recorder(Attack):
    """Keeps the gradient at points away from the clean images."""

    found: list[Tensor] = field(default_factory=list)

    def perturb(self, problem: Problem, eps: list[float]) -> Iterator[Tensor]:
        self.found.append(problem.gradient((problem.clean + 0.05 * problem.random()).clamp(0, 1)).gradient)
        yield from (problem.clean for _ in eps)


@dataclass(frozen=True)
class Noise(Attack):
    """Random signs of the full eps."""

    def perturb(self, problem: Problem, eps: list[float]) -> Iterator[Tensor]:
        yield from (problem.clean + size * problem.random().sign() for size in eps)


def data(samples: int = 23, classes: int = 4) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(5)
    images = torch.randint(256, (samples, 3, 8, 8), generator=draw, dtype=torch.uint8).float() / 255
    return images, torch.randint(classes, (samples,), generator=draw)


def naive(model: Net, point: Tensor, clean: Tensor, label: int, objective: str) -> Tensor:
    """The gradient for one image, from the definition and without the package."""
    point = point.clone()[None].requires_grad_()
    if objective == "feature":
        loss = sum(
            (one - other) ** 2
            for one, other in zip(model.body(point)[0], model.body(clean[None])[0].detach(), strict=True)
        )
    else:
        wanted = label if objective == "label" else int(model(clean[None])[0].argmax())
        logits = model(point)[0]
        loss = logits.exp().sum().log() - logits[wanted]
    loss.backward()
    return point.grad[0]


# the gradient


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_gradient_equals_a_naive_one_whatever_the_batch(objective: str) -> None:
    model, (images, labels) = Net(1).double(), data()
    images = images.double()
    attack = Recorder(objective=objective)
    ids = torch.arange(23)
    for part in (ids, *ids.split(5)):
        attack(model, images[part], labels[part], [0.1], sample_id=part, seed=3)
    whole, pieces = attack.found[0], torch.cat(attack.found[1:])
    assert torch.allclose(whole, pieces, atol=1e-12)
    model.eval()
    noise = attacks.base.get_norm("linf").random(3, ids, images)
    points = (images + 0.05 * noise).clamp(0, 1)
    expected = torch.stack(
        [naive(model, points[i], images[i], int(labels[i]), objective) for i in range(23)]
    )  # fmt: skip
    assert torch.allclose(whole, expected, atol=1e-10)
    assert float(whole.abs().max()) > 1e-3


@pytest.mark.parametrize("name", ["fgsm", "pgd"])
def test_prediction_is_label_with_the_surrogates_predictions(name: str) -> None:
    model, (images, labels) = Net(1), data()
    model.eval()
    with torch.no_grad():
        predicted = model(images).argmax(1)
    assert (predicted != labels).any()
    by_prediction = attacks.get(name, objective="prediction")(model, images, None, EPS)
    assert torch.equal(by_prediction, attacks.get(name)(model, images, predicted, EPS))
    assert torch.equal(by_prediction, attacks.get(name, objective="prediction")(model, images, labels, EPS))
    assert torch.equal(by_prediction, attacks.get(name)(model, images, None, EPS))  # no labels: the same
    assert not torch.equal(by_prediction, attacks.get(name)(model, images, labels, EPS))


def test_predictions_are_made_in_eval_mode() -> None:
    """Dropout would turn some predictions around, and BatchNorm would learn from the attack."""
    model, (images, _) = Net(1), data()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    one = attacks.get("fgsm", objective="prediction")(model.train(), images, None, EPS)
    assert model.training
    assert torch.equal(one, attacks.get("fgsm", objective="prediction")(model.eval(), images, None, EPS))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


# features


def test_fgsm_refuses_the_feature_objective() -> None:
    with pytest.raises(ConfigError, match="has none: use pgd"):
        attacks.get("fgsm", objective="feature")
    with pytest.raises(ConfigError, match="random_start of attack 'pgd' must be true: the clean image has no gradient"):
        attacks.get("pgd", objective="feature", random_start=False)


def test_an_unknown_objective_suggests() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'feature'"):
        attacks.get("pgd", objective="features")


def test_pgd_on_features_moves_them_far_and_fools_who_shares_them() -> None:
    """B has A's features and a last layer of its own, as after fine-tuning with mode probe."""
    (images, _), few = data(200), nn.Sequential(nn.Flatten(), nn.Linear(192, 5), nn.Tanh())
    a, b = Net(1), Net(2, classes=3)
    a.body, b.body = few, few
    a.classifier, b.classifier = nn.Linear(5, 4), nn.Linear(5, 3)
    with torch.no_grad():
        clean, right = a.body(images), b(images).argmax(1)

    def harm(attack: Attack) -> tuple[float, float]:
        crafted = attack(a, images, None, [8 / 255], seed=3)[0]
        with torch.no_grad():
            distance = (a.body(crafted) - clean).norm(dim=1).mean()
            return float(distance), float((b(crafted).argmax(1) != right).double().mean())

    far, fooled = harm(attacks.get("pgd", objective="feature"))
    random, by_chance = harm(Noise())
    assert far > 4 * random  # measured: 5.7 times
    assert fooled > 4 * by_chance  # measured: 6 times
    assert by_chance > 0


def test_the_distance_of_features_grows_with_eps() -> None:
    model, (images, _) = Net(1).eval(), data()
    crafted = attacks.get("pgd", objective="feature")(model, images, None, EPS)
    with torch.no_grad():
        distance = [float((model.body(batch) - model.body(images)).norm(dim=1).mean()) for batch in crafted]
    assert distance[0] == 0
    assert distance == sorted(distance)
    assert distance[1] > 0


@pytest.mark.parametrize("surrogate", [nn.Sequential(nn.Flatten(), nn.Linear(192, 4)), lambda images: images.mean(1)])
def test_a_surrogate_without_a_last_layer_is_one_sentence(surrogate: Any) -> None:
    images, labels = data()
    with pytest.raises(ConfigError, match=r"^objective 'feature' needs .* 'classifier'.*use objective[^.]*\.$"):
        attacks.get("pgd", objective="feature")(surrogate, images, labels, EPS)


def test_the_sentence_names_the_network_and_not_its_wrapper() -> None:
    images, labels = data()
    wrapped = NetworkModule(nn.Sequential(nn.Flatten(), nn.Linear(192, 4)))
    with pytest.raises(ConfigError, match="; Sequential has none"):
        attacks.get("pgd", objective="feature")(wrapped, images, labels, EPS)


def test_a_last_layer_that_is_never_called_is_one_sentence() -> None:
    class Functional(Net):
        def forward(self, images: Tensor) -> Tensor:
            return linear(self.body(images), self.classifier.weight)

    images, labels = data()
    with pytest.raises(ConfigError, match="Functional never calls its module 'classifier'"):
        attacks.get("pgd", objective="feature")(Functional(1), images, labels, EPS)


def test_a_wrapped_network_has_the_same_features() -> None:
    model, (images, _) = Net(1), data()
    attack = attacks.get("pgd", objective="feature")
    assert torch.equal(attack(NetworkModule(model), images, None, EPS), attack(model, images, None, EPS))


def test_no_hook_is_left_on_the_model_even_after_an_error() -> None:
    model, (images, labels) = Net(1), data()
    attack = attacks.get("pgd", objective="feature")
    attack(model, images, labels, EPS)
    hooks = [module._forward_pre_hooks for module in model.modules()]
    assert not any(hooks)

    class Fails(nn.Linear):
        def forward(self, features: Tensor) -> Tensor:
            raise RuntimeError("no luck")

    model.classifier = Fails(6 * 36, 4)
    with pytest.raises(RuntimeError, match="no luck"):
        attack(model, images, labels, EPS)
    assert not model.classifier._forward_pre_hooks
    assert all(parameter.requires_grad for parameter in model.parameters())


# a surrogate with other labels


def judged(batch_size: int = 23, **settings: Any) -> tuple[dict[str, Outcome], Net, Net, Tensor, Tensor]:
    """A has 7 classes, B has 3; the labels are B's."""
    a, b, (images, labels) = Net(1, 7), Net(2, 3), data(classes=3)
    found = evaluate(
        attacks.get("pgd", **settings), surrogate=a, victims={"b": b}, images=images, labels=labels, eps=EPS, seed=3,
        batch_size=batch_size, same_labels=False,
    )  # fmt: skip
    return found, a.eval(), b.eval(), images, labels


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("batch_size", [23, 5])
def test_other_labels_leave_the_surrogates_prediction(objective: str, batch_size: int) -> None:
    outcomes, a, b, images, labels = judged(batch_size, objective=objective)
    outcome = outcomes["b"]
    with torch.no_grad():
        clean_a, clean_b = a(images).argmax(1), b(images).argmax(1)
        crafted = attacks.get("pgd", objective=objective)(a, images, clean_a, EPS, seed=3)
        adv_a, adv_b = (torch.stack([model(batch).argmax(1) for batch in crafted]) for model in (a, b))
    assert torch.equal(outcome.label, labels)
    assert torch.equal(outcome.label_a, clean_a)
    assert int(outcome.label_a.max()) > 2
    assert not outcome.same_labels.any()
    assert (torch.equal(outcome.clean_a, clean_a), torch.equal(outcome.clean_b, clean_b)) == (True, True)
    assert (torch.equal(outcome.adv_a, adv_a), torch.equal(outcome.adv_b, adv_b)) == (True, True)
    assert bool(outcome.valid.all())
    assert not outcome.zero_gradient.any()
    assert (outcome.adv_a[-1] != clean_a).double().mean() > 0.5  # the attack works


def test_the_same_labels_are_the_labels() -> None:
    a, (images, labels) = Net(1), data()
    outcome = evaluate(attacks.get("fgsm"), surrogate=a, victims={"a": a}, images=images, labels=labels, eps=EPS)["a"]
    assert bool(outcome.same_labels.all())
    assert torch.equal(outcome.label_a, labels)
    assert torch.equal(outcome.take(torch.tensor([4, 2])).label_a, labels[[4, 2]])


def test_metrics_of_a_surrogate_with_other_labels() -> None:
    outcomes, *_ = judged()
    outcome = outcomes["b"]
    changed = outcome.adv_a != outcome.clean_a
    right, wrong = outcome.clean_b == outcome.label, outcome.adv_b != outcome.label
    accuracy = METRICS["surrogate_accuracy"](outcome)
    assert accuracy[0] == 1
    assert accuracy.tolist() == pytest.approx((~changed).double().mean(1).tolist())
    assert METRICS["same_mistake"](outcome).isnan().all()
    curve = METRICS["same_mistake"].curve(outcome)
    assert curve.low.isnan().all()
    assert curve.n.tolist() == [0] * 4
    by_hand = [
        sum(bool(c and r and w) for c, r, w in zip(changed[k], right, wrong[k], strict=True))
        / max(1, sum(bool(c and r) for c, r in zip(changed[k], right, strict=True)))
        for k in range(1, 4)
    ]
    match = METRICS["match_rate"](outcome)
    assert match[0].isnan()  # nothing is fooled at eps 0
    assert match[1:].tolist() == pytest.approx(by_hand)
    assert max(by_hand) > 0
    harm_b = right.double().mean() - (right & ~wrong).double().mean(1)
    ratio = METRICS["surrogate_ratio"](outcome)
    assert ratio[1:].tolist() == pytest.approx((harm_b / changed.double().mean(1))[1:].tolist())


def test_what_speaks_of_the_victim_alone_does_not_see_the_surrogates_labels() -> None:
    outcomes, _, b, images, labels = judged()
    black = outcomes["b"]
    white = evaluate(attacks.get("pgd"), surrogate=b, victims={"b": b}, images=images, labels=labels, eps=EPS)["b"]
    other = Outcome(**black.tensors() | {"same_labels": ~black.same_labels, "adv_a": black.adv_a * 0})
    for name in ("transfer_ratio", "robust_accuracy", "error_rate", "fooling_rate", "half_eps", "curve_area"):
        own = white if METRICS[name].beside else None
        assert torch.equal(METRICS[name](black, own).nan_to_num(-1), METRICS[name](other, own).nan_to_num(-1)), name
    assert METRICS["transfer_ratio"](black, white)[1:].isfinite().all()


def test_trust_checks_read_the_surrogates_own_labels() -> None:
    outcomes, *_ = judged()
    outcome = outcomes["b"]
    of_evasion = {name for name in CHECKS.names() if isinstance(outcome, CHECKS[name].of)}
    names = of_evasion - {"above_chance"}  # these networks have learned nothing
    assert {CHECKS[name].verdict(Evidence(outcome)).level for name in names} == {"green"}
    weak = Outcome(**outcome.tensors() | {"adv_a": outcome.adv_a.flip(0)})  # right again at the largest eps
    verdict = CHECKS["falling_curve"].verdict(Evidence(weak))
    assert verdict.level == "amber"
    assert "rises to 100.0%" in verdict.reasons[0]


def test_a_victim_with_other_labels_is_judged_by_the_true_ones() -> None:
    """B that is always right is never fooled, whatever A says."""
    images, labels = data(classes=3)
    answers = one_hot(labels, 3).float()
    outcome = evaluate(
        attacks.get("pgd"), surrogate=Net(1, 7), victims={"b": lambda batch: answers}, images=images, labels=labels,
        eps=EPS, same_labels=False,
    )["b"]  # fmt: skip
    assert METRICS["robust_accuracy"](outcome).tolist() == [1.0] * 4
    assert METRICS["match_rate"](outcome)[-1] == 0
