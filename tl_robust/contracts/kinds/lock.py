"""What a lock promises: an answer with a reason of any model and images, which stay as they were.

Axes: N images.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from tl_robust.auditor.locks.base import LOCKS, Answer, Question
from tl_robust.auditor.subject import ReadModel, Subject
from tl_robust.contracts.contract import Contracts, Named, demand
from tl_robust.contracts.networks import Net
from tl_robust.seeding import generator
from tl_robust.types import ImageSet

CLASSES = ("ant", "bee", "crab")
COUNT = 120


@dataclass(frozen=True)
class Asked:
    """A lock with its name.

    Attributes:
        name: Registered name.
        question: The lock.
    """

    name: str
    question: Question


def cases(named: Named) -> Iterator[tuple[str, Asked]]:
    """The lock."""
    yield "", Asked(named.name, LOCKS[named.name])


CONTRACTS = Contracts("lock", cases)


def images_of(count: int = COUNT, draw: str = "test") -> ImageSet:
    """Noisy patterns, one a class, uint8 ``[N,3,8,8]``."""
    pattern = torch.rand(3, 3, 8, 8, generator=generator("lock"))
    noise = torch.rand(count, 3, 8, 8, generator=generator("lock", draw))
    labels = torch.arange(count) % 3
    return ImageSet(((0.6 * pattern[labels] + 0.4 * noise) * 255).to(torch.uint8), labels)


@lru_cache
def _trained() -> dict[str, Tensor]:
    """Weights of a linear model that knows the patterns: it looks where the mean image of a class is bright."""
    data = images_of(300, "train")
    pixels = data.images.flatten(1).float() / 255
    means = torch.stack([pixels[data.labels == place].mean(0) for place in range(3)])
    weight = 4 * (means - means.mean(0))
    return {"1.weight": weight, "1.bias": -(weight * (means + means.mean(0)) / 2).sum(1)}


def network(how: str) -> nn.Module:
    """A model that knows the patterns, one with random weights, one with a single answer, or one of NaN."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        model = Net(nn.Flatten(), nn.Linear(192, 3)).eval().requires_grad_(False)
    state = _trained()
    if how in ("good", "nan", "constant"):
        model.load_state_dict(state)
    if how == "nan":
        model.load_state_dict({name: torch.full_like(value, torch.nan) for name, value in state.items()})
    if how == "constant":
        model.load_state_dict({"1.weight": torch.zeros(3, 192), "1.bias": torch.tensor([1.0, 0, 0])})
    return model


def subjects() -> Iterator[tuple[str, Subject]]:
    """Audits that differ in the model, in how many images there are, and in what the owner gives."""
    for how in ("good", "random", "constant", "nan"):
        yield f"a {how} model", subject(how)
    yield "a single image", subject("good", count=1)
    parent = ReadModel("parent", network("random"), CLASSES)
    yield (
        "all that an owner can give",
        subject(
            "good", parent=parent, decoys=(ReadModel("decoy", network("constant"), CLASSES),), stated=0.9,
            train=images_of(60, "train"), reference=torch.zeros(5, 3),
        ),
    )  # fmt: skip


def subject(how: str, count: int = COUNT, **more: Any) -> Subject:
    """An audit of a model on the patterns."""
    known: dict[str, Any] = {"parent": None, "decoys": (), "stated": math.nan} | more
    return Subject(ReadModel("mine", network(how), CLASSES), images=images_of(count), classes=CLASSES, **known)


@CONTRACTS
def says_when_it_fails(asked: Asked) -> None:
    """Its docstring says when an audit is stopped."""
    text = asked.question.answer.__doc__ or ""
    demand(re.search(r"\b[Ff]ails?\b", text), "a docstring that says when it fails", repr(text[:60]), "write so")


@CONTRACTS
def has_a_place_among_the_others(asked: Asked) -> None:
    """Its place is a number, and those whose failure makes it meaningless are asked before it."""
    question = asked.question
    demand(type(question.place) is int, "a whole number as place", repr(question.place), "write @lock(place=60)")
    for other in question.unless:
        known = other in LOCKS and (LOCKS[other].place, other) < (question.place, asked.name)
        demand(known, f"{other!r} of unless among the locks before it", "none", "name a lock with a lower place")


@CONTRACTS
def answers_with_a_sentence(asked: Asked) -> None:
    """Of any model and images it passes, fails or could not be asked, with one sentence as reason."""
    for what, one in subjects():
        answer = asked.question.answer(one)
        todo = "return Answer(passed, 'One sentence with figures.')"
        demand(isinstance(answer, Answer), f"an Answer about {what}", type(answer).__name__, todo)
        known = answer.passed is None or isinstance(answer.passed, bool)
        demand(known, f"True, False or None about {what}", repr(answer.passed), "write bool(...)")
        reason = answer.reason
        sentence = isinstance(reason, str) and reason.endswith(".") and "\n" not in reason
        sentence = sentence and (reason[0].isupper() or reason[0].isdigit())
        demand(sentence, f"a sentence about {what}", repr(reason)[:80], todo)


@CONTRACTS
def leaves_model_and_images_alone(asked: Asked) -> None:
    """Weights and images stay as they were, and the answer is the same again."""
    one = subject("good")
    state = {key: value.clone() for key, value in one.model.network.state_dict().items()}
    pixels, draws = one.images.images.clone(), torch.get_rng_state()
    first, again = asked.question.answer(one), asked.question.answer(one)
    kept = all(torch.equal(value, state[key]) for key, value in one.model.network.state_dict().items())
    demand(kept, "the weights to stay", "others", "change a copy of the network")
    demand(torch.equal(one.images.images, pixels), "the images to stay", "changed ones", "change a clone")
    demand(torch.equal(torch.get_rng_state(), draws), "no draw from the global generator", "one or more", "use seeding")
    demand(first == again, first.reason, again.reason, "draw by subject.seed")
