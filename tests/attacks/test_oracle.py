"""What a model may return and do to its input; everything else is one sentence that says what to write."""

import copy
from collections import OrderedDict
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tl_robust import attacks
from tl_robust.attacks import Judge, evaluate
from tl_robust.attacks.oracle import Oracle, predicted
from tl_robust.errors import ConfigError
from tl_robust.metrics import METRICS

EPS = [0.0, 8 / 255]
NAMES = ("fgsm", "pgd", "square")
SHORT: dict[str, dict[str, Any]] = {"fgsm": {}, "pgd": {"steps": 2}, "square": {"queries": 5}}


def linear(dtype: torch.dtype = torch.float32) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(192, 10)).to(dtype).eval()


NET = linear()
X = torch.randint(256, (8, 3, 8, 8), generator=torch.Generator().manual_seed(1)) / 255
X[:, 0, 0, 0] = torch.arange(25, 255, 29)[:8] / 255  # further apart than any eps here
Y = NET(X).argmax(1)


def judged(model: Callable[[Tensor], Any], name: str = "pgd", images: Tensor = X, **changes: Any) -> Any:
    named = {"surrogate": model, "victims": {"b": model}, "images": images.clone(), "labels": Y, "eps": EPS} | changes
    return evaluate(attacks.get(name, **SHORT[name]), **named)


@torch.no_grad()
def without_gradient(images: Tensor) -> Tensor:
    return NET(images)


@torch.inference_mode()
def in_inference_mode(images: Tensor) -> Tensor:
    return NET(images)


def by_numpy(images: Tensor) -> Tensor:
    return torch.from_numpy(NET(images).detach().numpy())


class ModelOutput(OrderedDict):  # type: ignore[type-arg]
    """As transformers returns it: a dictionary whose entries are attributes."""

    @property
    def logits(self) -> Tensor:
        return self["logits"]


OTHER: dict[str, tuple[Callable[[Tensor], Any], str]] = {
    "tuple": (lambda x: (NET(x), x), r"a tuple of 2: write lambda images: model\(images\)\[0\]"),
    "list": (lambda x: [NET(x)], r"a list of 1: write lambda images: model\(images\)\[0\]"),
    "dictionary": (lambda x: {"logits": NET(x)}, r'a dictionary: write lambda images: model\(images\)\["logits"\]'),
    "segmentation": (lambda x: OrderedDict(aux=x, out=NET(x)), r'write lambda images: model\(images\)\["out"\]'),
    "other dictionary": (lambda x: {"a": 1, "b": 2}, r"a dictionary of 'a', 'b': return the logits alone"),
    "object": (lambda x: SimpleNamespace(logits=NET(x)), r"SimpleNamespace with logits: .*model\(images\)\.logits"),
    "transformers": (lambda x: ModelOutput(logits=NET(x)), r"ModelOutput with logits: .*model\(images\)\.logits"),
    "nothing": (lambda x: None, r"got None: let its forward pass return them"),
    "array": (lambda x: NET(x).detach().numpy(), r"got ndarray: return a tensor"),
    "class numbers": (lambda x: NET(x).argmax(1), r"whole numbers \(torch\.int64 \[8\]\): return the logits thems"),
    "truth values": (lambda x: NET(x) > 0, r"whole numbers \(torch\.bool \[8, 10\]\)"),
    "complex": (lambda x: NET(x) * 1j, r"complex numbers"),
    "one number": (lambda x: NET(x)[:, 0], r"one number an image .* torch\.stack\(\[torch\.zeros_like\(z\), z\], 1\)"),
    "one column": (lambda x: NET(x)[:, :1], r"one number an image .* torch\.cat\(\[torch\.zeros_like\(z\), z\], 1\)"),
    "one loss": (lambda x: NET(x).sum(), r"got \[\]: reduce it to one row"),
    "maps": (lambda x: NET(x)[:, :, None, None].expand(-1, -1, 4, 4), r"got \[8, 10, 4, 4\]: reduce it to one row"),
    "maps of one pixel": (lambda x: NET(x)[:, :, None, None], r"got \[8, 10, 1, 1\]: write \.flatten\(1\)"),
    "other rows": (lambda x: NET(x)[:5], r"got \[5, 10\]: return one row for each of the 8 images"),
    "too few classes": (lambda x: NET(x)[:, :3], r"got \[8, 3\], but labels up to \d need \d+ classes"),
}  # fmt: skip


@pytest.mark.parametrize("attack", NAMES)
@pytest.mark.parametrize("form", OTHER)
def test_what_is_no_logits_is_refused_with_what_to_write(form: str, attack: str) -> None:
    model, message = OTHER[form]
    with pytest.raises(ConfigError, match=message) as caught:
        judged(model, attack)
    assert str(caught.value).startswith("the surrogate must return logits [8, classes], one row an image")
    assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match=message):
        attacks.get(attack, **SHORT[attack])(model, X, Y, EPS)


def test_a_victim_is_named() -> None:
    with pytest.raises(ConfigError, match=r"^victim 'other' must return logits .* got a tuple of 1"):
        judged(NET, victims={"b": NET, "other": lambda x: (NET(x),)})
    with pytest.raises(ConfigError, match=r"^victim 'other' must be a callable from images to logits, got str"):
        judged(NET, victims={"other": "resnet"})
    with pytest.raises(ConfigError, match=r"^victims must be names and models, such as \{'b': b\}, got Sequential"):
        judged(NET, victims=NET)


@pytest.mark.parametrize("who", ["surrogate", "victim"])
def test_labels_beyond_the_classes(who: str) -> None:
    labels = Y.clone()
    labels[3] = 12
    small = {} if who == "surrogate" else {"surrogate": lambda x: torch.cat([NET(x), NET(x)], 1)}
    with pytest.raises(ConfigError, match=r"got \[8, 10\], but labels up to 12 need 13 classes: check labels"):
        judged(NET, labels=labels, **small)
    for objective in ("label", "margin", "dlr", "target"):
        with pytest.raises(ConfigError, match="labels up to 12 need 13 classes"):
            attacks.get("pgd", objective=objective)(NET, X, labels, EPS)


@pytest.mark.parametrize("model", [without_gradient, in_inference_mode, by_numpy, lambda x: NET(x.detach())])
def test_a_model_without_gradient_serves_an_attack_that_needs_none(model: Callable[[Tensor], Tensor]) -> None:
    found = judged(model, "square", eps=[0, 0.5])["b"]
    expected = judged(NET, "square", eps=[0, 0.5])["b"]
    assert torch.equal(found.adv_b, expected.adv_b)
    assert (found.adv_b[1] != found.clean_b).any()
    for name in ("fgsm", "pgd"):
        with pytest.raises(ConfigError, match=r"^the surrogate gives no gradient with respect to the images: .*square"):
            judged(model, name)
    weight = torch.rand(192, 10, requires_grad=True)  # then the logits have a gradient, but not of the images
    with pytest.raises(ConfigError, match="gives no gradient with respect to the images"):
        judged(lambda x: x.detach().flatten(1) @ weight, "fgsm")


def test_weights_of_inference_mode() -> None:
    with torch.inference_mode():
        frozen = linear()
    assert torch.equal(judged(frozen, "square")["b"].adv_b, judged(NET, "square")["b"].adv_b)
    assert all(parameter.requires_grad for parameter in frozen.parameters())
    with pytest.raises(ConfigError, match=r"^the surrogate has weights that were made in inference mode"):
        judged(frozen)


def test_errors_of_the_model_itself_stay_as_they_are() -> None:
    def broken(images: Tensor) -> Tensor:
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        judged(broken)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        judged(nn.Sequential(nn.Flatten(), nn.Linear(7, 10)))


# No prediction


def spoiled(rows: Tensor, value: float = torch.nan) -> Callable[[Tensor], Tensor]:
    """Logits that are not finite in one class, for images whose first pixel is one of these rows'."""
    marks = X[rows, 0, 0, 0]

    def model(images: Tensor) -> Tensor:
        hit = (images[:, 0, 0, 0, None] - marks).abs().amin(1) < 0.04
        return NET(images) + torch.where(hit, value, 0.0)[:, None] * (torch.arange(10) == 0)

    return model


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_no_prediction_is_minus_one(value: float) -> None:
    logits = torch.tensor([[1.0, 2.0, 0.0], [0.0, value, 1.0], [value, 3.0, 3.0], [5.0, 3.0, 3.0]])
    assert predicted(logits).tolist() == [1, -1, -1, 0]


@pytest.mark.parametrize("attack", NAMES)
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_clean_images_without_prediction_are_refused_or_recorded(attack: str, value: float) -> None:
    rows = torch.tensor([2, 5])
    model, made = spoiled(rows, value), attacks.get(attack, **SHORT[attack])
    with pytest.raises(
        ConfigError, match=r"logits that are not finite \(NaN or infinite\) for 2 of 8 images"
    ) as caught:
        judged(model, attack)
    assert str(caught.value).startswith("the surrogate ")
    with pytest.raises(ConfigError, match=r"^victim 'b' gives logits that are not finite"):
        judged(NET, attack, victims={"b": model})
    for early in (True, False):
        with pytest.raises(ConfigError, match=r"^the surrogate gives logits that are not finite"):
            made(model, X, Y, [8 / 255], early=early)
    judge = Judge(made, model, {"b": model, "c": NET}, EPS, strict=False)
    judge.update(X, Y, torch.arange(8))
    outcomes = judge.outcomes()
    for name, outcome in outcomes.items():
        assert (outcome.clean_a[rows] == -1).all()
        assert (outcome.clean_b[rows] == (-1 if name == "b" else Y[rows])).all()
        assert int((outcome.clean_a == -1).sum()) == 2
        assert bool(outcome.valid.all())  # no gradient of NaN spoils the images
    assert (outcomes["b"].adv_b[:, rows] == -1).all()
    good = torch.ones(8, dtype=torch.bool).index_fill(0, rows, value=False)  # the others are attacked as ever
    alone = evaluate(made, surrogate=NET, victims={"b": NET, "c": NET}, images=X, labels=Y, eps=EPS, early=False)["c"]
    assert torch.equal(outcomes["c"].adv_b[:, good], alone.adv_b[:, good])


@pytest.mark.parametrize("early", [True, False])
@pytest.mark.parametrize("attack", [*NAMES, "apgd_ce", "mimicry"])
def test_adversarial_images_without_prediction_are_never_robust(attack: str, early: bool) -> None:
    """The model overflows as soon as an image moves; argmax would give class 0, which is the label."""
    net = Sharp()
    labels = torch.zeros(8, dtype=torch.int64)
    steps = {"apgd_ce": {"steps": 3, "restarts": 2}, "mimicry": {"steps": 2}} | SHORT
    outcome = evaluate(
        attacks.get(attack, **steps[attack]), surrogate=net, victims={"b": net}, images=net.clean, labels=labels,
        eps=EPS, early=early,
    )["b"]  # fmt: skip
    assert outcome.clean_b.tolist() == [0] * 8
    assert outcome.adv_b[1].tolist() == [-1] * 8
    assert bool(outcome.valid.all())
    assert METRICS["robust_accuracy"](outcome).tolist() == [1, 0]


class Sharp(nn.Module):
    """Finite on its clean images alone."""

    def __init__(self) -> None:
        super().__init__()
        self.clean = X.clone()
        self.classifier = nn.Linear(192, 3)
        nn.init.constant_(self.classifier.bias, 0.0)
        with torch.no_grad():
            self.classifier.bias[0] = 100.0

    def forward(self, images: Tensor) -> Tensor:
        known = (images.detach()[:, None] == self.clean).flatten(2).all(2).any(1)
        return self.classifier(images.flatten(1)) + torch.where(known, 0.0, torch.nan)[:, None]


def test_a_surrogate_with_other_labels_and_no_prediction() -> None:
    judge = Judge(
        attacks.get("pgd", steps=2), spoiled(torch.tensor([1])), {"b": NET}, EPS, same_labels=False, strict=False
    )
    judge.update(X, Y, torch.arange(8))
    outcome = judge.outcomes()["b"]
    assert outcome.clean_a[1] == -1
    assert outcome.label_a[1] != -1, "where A has no prediction, having none again is not right"
    assert bool(outcome.valid.all())


# Models that change their input


class InPlace(nn.Module):
    def __init__(self, way: str) -> None:
        super().__init__()
        self.inner, self.way, self.calls = linear(), way, 0

    def forward(self, images: Tensor) -> Tensor:
        self.calls += 1
        if self.way == "none":
            return self.inner((images - 0.5) / 0.25)
        target = {"plain": images, "data": images.data, "detached": images.detach(), "later": images}[self.way]
        if self.way == "later" and self.calls < 4:
            return self.inner((images - 0.5) / 0.25)
        target.sub_(0.5).div_(0.25)
        return self.inner(images)


@pytest.mark.parametrize("attack", NAMES)
@pytest.mark.parametrize("way", ["plain", "data"])
def test_a_model_that_changes_its_input_is_asked_about_copies(way: str, attack: str) -> None:
    kept = X.clone()
    for surrogate in (InPlace(way), NET):
        expected = InPlace("none") if surrogate is not NET else NET
        named = {"labels": Y, "early": False}
        found = judged(surrogate, attack, victims={"b": InPlace(way), "c": NET, "d": surrogate}, images=kept, **named)
        plain = judged(expected, attack, victims={"b": InPlace("none"), "c": NET, "d": expected}, images=X, **named)
        for name in found:
            for field, value in plain[name].tensors().items():
                assert torch.equal(getattr(found[name], field), value), (name, field)
    assert torch.equal(kept, X)


def test_a_model_that_begins_to_change_its_input_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^victim 'b' changes the images that it is given in place, now and then"):
        judged(NET, victims={"b": InPlace("later")}, eps=[0, 0.01, 0.02, 0.03, 0.04])
    late = InPlace("later")
    images = late.inner(X).argmax(1)  # as a surrogate, a leaf that requires grad, it is asked again with a copy
    assert attacks.get("pgd", steps=6)(late, X, images, [0.1]).isfinite().all()


def test_a_plain_model_is_copied_for_once() -> None:
    seen = []

    def model(images: Tensor) -> Tensor:
        seen.append(images.data_ptr())
        return NET(images)

    oracle = Oracle(model)
    for _ in range(3):
        oracle(X)
    assert [place == X.data_ptr() for place in seen] == [False, True, True]
    assert copy.deepcopy(oracle)(X).shape == (8, 10)


# Precisions


PRECISIONS = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


@pytest.mark.parametrize("attack", NAMES)
@pytest.mark.parametrize("weights", PRECISIONS)
@pytest.mark.parametrize("images", PRECISIONS)
def test_each_model_is_asked_in_its_own_precision(images: torch.dtype, weights: torch.dtype, attack: str) -> None:
    given, model = X.to(images), linear(weights)
    outcome = judged(model, attack, given, victims={"b": model, "c": NET})
    assert bool(outcome["b"].valid.all())
    assert (outcome["c"].clean_b == Y).sum() >= 7  # rounding moves an image near a border
    assert float(outcome["b"].size[1].max()) <= 8.5 / 255 + 1e-6
    made = attacks.get(attack, **SHORT[attack])(model, given, Y, EPS)
    assert made.dtype == (torch.float64 if images == torch.float64 else torch.float32)
    assert float((made[1] - given.to(made.dtype)).abs().max()) <= 8 / 255 + 1e-6
    assert (made[1] != given.to(made.dtype)).any()
    assert {parameter.dtype for parameter in model.parameters()} == {weights}


def test_a_function_of_one_precision_says_so() -> None:
    weight = torch.rand(192, 10)
    assert judged(lambda x: x.flatten(1) @ weight)["b"].valid.all()
    with pytest.raises(ConfigError, match=r"^the surrogate does not take images of torch\.float64 \(.*\): give it the"):
        judged(lambda x: x.flatten(1) @ weight, images=X.double())


# Images and eps


@pytest.mark.parametrize("over", [1.0000001, -1e-7, 1 + 9e-7])
def test_a_resize_may_end_a_rounding_beyond_the_range(over: float) -> None:
    images = X.clone()
    images[0, 0, 0, 0] = over
    made = attacks.get("fgsm")(NET, images, Y, [0.0, 0.03])
    assert float(made.min()) >= 0
    assert float(made.max()) <= 1
    assert torch.equal(made, attacks.get("fgsm")(NET, images.clamp(0, 1), Y, [0.0, 0.03]))
    assert not 0 <= float(images[0, 0, 0, 0]) <= 1, "the caller's tensor is left alone"
    assert judged(NET, images=images)["b"].valid.all()


@pytest.mark.parametrize("over", [1.000003, 1.00001, -0.00001])
def test_what_is_beyond_the_range_is_shown_beyond_it(over: float) -> None:
    images = X.clone()
    images[0, 0, 0, 0] = over
    with pytest.raises(ConfigError, match=r"images must be in \[0, 1\], got ") as caught:
        attacks.get("fgsm")(NET, images, Y, [0.03])
    low, high = map(float, str(caught.value).partition("got ")[2].partition(";")[0].split(" to "))
    assert low < 0 or high > 1


@pytest.mark.parametrize("eps", [8 / 255, torch.tensor(0.1), "8/255", "1", None, [0.1, "x"], [[0.1]], [None]])
def test_eps_is_a_list_of_numbers(eps: Any) -> None:
    calls = (
        lambda: attacks.get("pgd")(NET, X, Y, eps=eps),
        lambda: judged(NET, eps=eps),
        lambda: attacks.get("universal").fitted(NET, X, Y, eps),
    )
    for call in calls:
        with pytest.raises(
            ConfigError, match=r"^eps must be a list of sizes in \[0,1\] pixel units, such as \[8/255\]"
        ):
            call()
    assert attacks.get("fgsm")(NET, X, Y, torch.tensor([0.0, 0.1])).shape[0] == 2


def test_arrays_and_lists_are_no_tensors() -> None:
    with pytest.raises(ConfigError, match=r"^images must be a tensor, got ndarray: write torch\.as_tensor\(images\)"):
        attacks.get("pgd")(NET, X.numpy(), Y, [0.1])
    with pytest.raises(ConfigError, match=r"^labels must be a tensor, got list"):
        judged(NET, labels=Y.tolist())
    with pytest.raises(ConfigError, match=r"^labels must be a tensor, got list"):
        attacks.get("pgd")(NET, X, Y.tolist(), [0.1])
