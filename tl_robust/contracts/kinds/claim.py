"""What a claim promises: effects read off the results, or a sentence that says what was missing.

Axes: N samples.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from tl_robust.claims import CLAIMS, Comparisons
from tl_robust.claims.claim import Claim
from tl_robust.claims.effects import Effect, MissingError
from tl_robust.contracts.contract import Contracts, Named, NotAskedError, demand
from tl_robust.contracts.records import record_of
from tl_robust.strategies import STRATEGIES
from tl_robust.threats.base import THREATS, Threat
from tl_robust.types import Cell, Outcome, Record, Result, Verdict

SAMPLES = 480  # of made outcomes: enough to know a ratio


@dataclass(frozen=True)
class Asked:
    """A claim and the threat that it speaks of.

    Attributes:
        claim: The claim.
        threat: The threat of its cells.
    """

    claim: Claim
    threat: Threat

    def effects(self, results: Sequence[Result[Any]]) -> list[Effect]:
        """The effects on these results, at their first place or over all.

        Raises:
            MissingError: The claim cannot be judged on them.
        """
        comparisons = Comparisons(results)
        if self.claim.place is not None:
            return self.claim.place(comparisons, comparisons.places[0])
        assert self.claim.bench is not None
        return self.claim.bench(comparisons, comparisons.places)


def cases(named: Named) -> Iterator[tuple[str, Asked]]:
    """The claim with its threat."""
    claim = CLAIMS[named.name]
    if claim.of not in THREATS:
        demand(False, "a registered threat in of=", repr(claim.of), "name one of tl-robust list threat")
    yield "", Asked(claim, THREATS[claim.of])


CONTRACTS = Contracts("claim", cases)


def made(threat: Threat, turned: bool = False) -> list[Result[Any]]:
    """Results of all strategies and views of three seeds in which a later strategy is better; turned, it is worse."""
    results = []
    names = STRATEGIES.names()
    for place, strategy in enumerate(reversed(names) if turned else names):
        for view in threat.face.views or ("black",):
            for seed in range(3):
                good = 0.35 + 0.12 * place + 0.02 * seed + 0.1 * (view == "black")
                record, white = _record(threat.record, good), _record(threat.record, 0.9 * good - 0.06 * place)
                common = "svhn" if strategy == "common_init" else ""
                cell = Cell(
                    "b", "mnist", "usps", "dtn", strategy, common, "none", "method",
                    "linf" if threat.record is Outcome else "", view, seed, 100, *_named(threat),
                )  # fmt: skip
                provenance = {"victim": {"key": f"{strategy}{seed}", "space": "digits", "share": 1.0}}
                results.append(Result(str(cell), cell, record, {"white": white}, {}, Verdict(), provenance))
    return results


def _named(threat: Threat) -> tuple[str, ...]:
    return () if threat.face.threat == "evasion" else (threat.face.threat,)


def _record(kind: type[Record], good: float) -> Record:
    """A record of which this share is right at the first x and less at each further one; others are random."""
    record = record_of(kind)
    if kind is not Outcome:
        return _shifted(record, good)
    record = replace(record.take(torch.arange(SAMPLES) % 60), sample_id=torch.arange(SAMPLES))
    place = torch.arange(SAMPLES)
    label, count = torch.zeros(SAMPLES, dtype=torch.int64), len(record.x)
    keeps = [place < round(SAMPLES * good * (1 - 0.25 * k)) for k in range(count)]
    classes = torch.stack([torch.where(kept, 0, 1) for kept in keeps])
    falls = torch.stack([torch.where(place < round(SAMPLES * (0.9 - 0.25 * k)), 0, 1) for k in range(count)])
    fields = {"label": label, "clean_a": falls[0], "clean_b": classes[0], "adv_a": falls, "adv_b": classes}
    valid = torch.ones(count, SAMPLES, dtype=torch.bool)
    same = {"valid": valid, "same_labels": valid[0], "zero_gradient": ~valid[0]}
    return Outcome(**(record.tensors() | fields | same))


def _shifted(record: Record, good: float) -> Record:
    """Of classes: right in this share of all samples; of scores: higher by it."""
    tensors: dict[str, Any] = dict(record.tensors())
    label = tensors.get("label")
    for name, tensor in tensors.items():
        declared = record.columns()[name]
        if name in ("label", "sample_id", record.AXIS):
            continue
        if tensor.dtype == torch.int64 and declared.axes[-1:] == ("N",) and label is not None:
            kept = torch.arange(60) < round(60 * good)
            tensors[name] = torch.where(kept, label, (label + 1) % 4).expand_as(tensor).clone()
        elif tensor.dtype.is_floating_point and "N" in declared.axes:
            tensors[name] = tensor.roll(round(100 * good), -1) + good  # other samples are high in other results
    return type(record).of(tensors)


@CONTRACTS
def says_what_is_claimed_and_where(asked: Asked) -> None:
    """It is one sentence, with a source, and its function says in a docstring what is compared."""
    claim = asked.claim
    todo = "write @claim('One sentence.', 'where it was said')"
    demand(claim.says.endswith("."), "one sentence with a full stop", repr(claim.says), todo)
    demand(claim.source, "a source", "none", todo)
    function = claim.place or claim.bench
    demand(function is not None and function.__doc__, "a docstring", "none", "say what is compared")


@CONTRACTS
def says_what_is_missing(asked: Asked) -> None:
    """Of results of a single strategy and seed it raises MissingError with a sentence, or gives effects."""
    results = made(asked.threat)
    for few in (results[:1], [result for result in results if result.cell.seed == 0]):
        try:
            _checked(asked.effects(few))
        except MissingError as missing:
            demand(str(missing), "a reason in MissingError", "none", "say what was missing")
        else:
            continue


@CONTRACTS
def gives_effects_of_results(asked: Asked) -> None:
    """Of results of all strategies, views and seeds it gives a list of effects, the same again."""
    results = made(asked.threat)
    try:
        effects, again = asked.effects(results), asked.effects(results)
    except MissingError as missing:
        raise NotAskedError(f"It cannot be judged on made results ({str(missing).rstrip('.')}).") from missing
    _checked(effects)
    same = [_values(effect) for effect in effects] == [_values(effect) for effect in again]
    demand(same, "the same effects again", "others", "draw nothing")


@CONTRACTS
def turns_with_the_results(asked: Asked) -> None:
    """Where the strategies change places its effects are others: what it says follows from the results."""
    try:
        one, other = asked.effects(made(asked.threat)), asked.effects(made(asked.threat, turned=True))
    except MissingError as missing:
        raise NotAskedError(f"It cannot be judged on made results ({str(missing).rstrip('.')}).") from missing
    todo = "compare two sides that differ: more= and less="
    demand([_values(e) for e in one] != [_values(e) for e in other], "other effects of other results", "the same", todo)


def _values(effect: Effect) -> tuple[float, ...]:
    return tuple(round(float(value), 12) for value in effect.mean.value.flatten())


def _checked(effects: object) -> None:
    todo = "return a list of what record.compare gives"
    demand(isinstance(effects, list) and effects, "a list of effects", repr(effects)[:60], todo)
    assert isinstance(effects, list)
    wrong = [type(effect).__name__ for effect in effects if not isinstance(effect, Effect)]
    demand(not wrong, "effects alone", f"{wrong}", todo)
