"""Locks: questions that can stop an audit before anything is attacked, asked from cause to symptom.

Where a lock fails, those whose answer would only repeat it or mean nothing are not asked, so that a reader is told the
most specific reason: a model whose last layer is random is no worse than chance for any other reason.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tl_robust.audit.record import Lock
from tl_robust.auditor.subject import Subject
from tl_robust.registry import Registry


@dataclass(frozen=True)
class Answer:
    """What a lock says.

    Attributes:
        passed: None where it could not be asked.
        reason: One plain sentence with figures, and with what to do where it did not pass.
    """

    passed: bool | None
    reason: str


@dataclass(frozen=True)
class Question:
    """A lock.

    Attributes:
        answer: Asks it.
        place: Its place among all, from causes to symptoms; those of one place are asked by name.
        unless: Names of locks whose failure makes this one meaningless: then it is not asked.
    """

    answer: Callable[[Subject], Answer]
    place: int
    unless: tuple[str, ...] = ()


LOCKS: Registry[Question] = Registry("lock", "tl_robust.auditor.locks.named")


def lock(place: int, *, unless: tuple[str, ...] = ()) -> Callable[[Callable[[Subject], Answer]], Question]:
    """Make a function of a :class:`Subject` a lock with the name of its file; a decorator. See :class:`Question`."""

    def register(answer: Callable[[Subject], Answer]) -> Question:
        return LOCKS.register(Question(answer, place, unless), answer.__module__)

    return register


def ask(subject: Subject) -> tuple[Lock, ...]:
    """Ask all locks; the networks are left as they were."""
    asked: dict[str, Lock] = {}
    for name in sorted(LOCKS.names(), key=lambda name: (LOCKS[name].place, name)):
        question = LOCKS[name]
        before = next((other for other in question.unless if other in asked and asked[other].passed is False), "")
        answer = (
            Answer(None, f"Not asked, since {before} failed: repair that first.")
            if before
            else question.answer(subject)
        )
        asked[name] = Lock(name, answer.passed, answer.reason)
    return tuple(asked.values())
