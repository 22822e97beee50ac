"""Many audits, one after the other: what one of them cannot do does not stop the others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tl_robust.audit.record import Audit
from tl_robust.auditor.conduct import conduct
from tl_robust.auditor.many_file import Asked
from tl_robust.engines.base import Engine
from tl_robust.engines.observer import Observer
from tl_robust.errors import TLRobustError


@dataclass(frozen=True)
class Conducted:
    """What became of an audit.

    Attributes:
        asked: What was asked for.
        audit: The record; None where there is none.
        error: Why there is none.
    """

    asked: Asked
    audit: Audit | None
    error: TLRobustError | None = None


def conduct_all(
    asked: Sequence[Asked], observer: Observer | None = None, engine: Engine | None = None
) -> Iterator[Conducted]:
    """Conduct audits in their order; they share the store, so that nothing is computed twice.

    Args:
        asked: As :func:`tl_robust.auditor.many_file.read` gives them.
        observer: Hears of progress.
        engine: Who computes; this process where None.
    """
    for each in asked:
        try:
            yield Conducted(each, conduct(each.request, observer, engine))
        except TLRobustError as error:
            yield Conducted(each, None, error)
