"""What a trust check promises: a level with reasons in words for every evidence, and silence on a good one.

Axes: K values of x, N samples.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import torch
from torch import Tensor

from tl_robust.contracts.contract import Contracts, Named, NotAskedError, demand
from tl_robust.contracts.networks import net, pixels
from tl_robust.contracts.records import record_of
from tl_robust.trust import CHECKS
from tl_robust.trust.base import LEVELS, Check
from tl_robust.trust.subject import Subject
from tl_robust.types import Evidence, Outcome, Verdict

EPS = torch.tensor([0, 2, 8, 32], dtype=torch.float64) / 255
N = 200


def cases(named: Named) -> Iterator[tuple[str, Check]]:
    """The check itself."""
    yield "", CHECKS[named.name]


CONTRACTS = Contracts("trust check", cases)


def outcome(right_a: list[int], right_b: list[int] | None = None, **change: Tensor) -> Outcome:
    """Of N samples the first ``right[k]`` are right at each eps; class 0 is right."""
    place = torch.arange(N)

    def classes(right: list[int]) -> Tensor:
        return torch.stack([(place >= count).long() for count in right])

    fields = {
        "sample_id": place, "label": torch.zeros(N, dtype=torch.int64), "clean_a": classes(right_a)[0],
        "clean_b": classes(right_a)[0], "adv_a": classes(right_a), "adv_b": classes(right_b or right_a),
        "size": EPS[:, None].float().repeat(1, N), "eps": EPS, "zero_gradient": torch.zeros(N, dtype=torch.bool),
        "loss_rise": torch.ones(N), "valid": torch.ones(4, N, dtype=torch.bool),
        "same_labels": torch.ones(N, dtype=torch.bool),
    }  # fmt: skip
    return Outcome(**(fields | change))


GOOD = outcome([190, 150, 80, 10])


def _of_evasion(check: Check) -> None:
    if not issubclass(Outcome, check.of):
        raise NotAskedError(f"It reads {check.of.__name__}, of which no good results are made up.")


@CONTRACTS
def says_when_it_warns_and_names_its_paper(check: Check) -> None:
    """Its docstring says when it is amber or red and names the paper with its year; a probe has a docstring, too."""
    text = check.verdict.__doc__ or ""
    demand(
        any(level in text.lower() for level in ("amber", "red")), "a docstring that says when it is amber or red",
        repr(text[:60]), "write so",
    )  # fmt: skip
    demand(re.search(r"\b(19|20)\d\d\b", text), "a paper with its year in the docstring", "none", "name the source")
    demand(check.probe is None or check.probe.__doc__, "a docstring of the probe", "none", "say what it measures")


@CONTRACTS
def is_green_and_silent_on_good_evidence(check: Check) -> None:
    """A victim that is good on clean images and falls with eps is trusted, at all eps, at one, and of one sample."""
    _of_evasion(check)
    one_eps = {key: getattr(GOOD, key)[:1] for key in ("adv_a", "adv_b", "size", "eps", "valid")}
    single = Outcome(**(GOOD.tensors() | one_eps))
    for what, record in (
        ("a good outcome", GOOD), ("one eps", single), ("one sample", single.take(torch.tensor([3]))),
    ):  # fmt: skip
        verdict = check.verdict(Evidence(record))
        demand(
            verdict == Verdict(), f"green without a reason of {what}", _shown(verdict), "warn of what is wrong alone"
        )


@CONTRACTS
def answers_any_evidence_with_a_level_and_reasons(check: Check) -> None:
    """Of random, extreme and nearly empty evidence it gives a level, with a sentence for each that is not green."""
    records = [record_of(check.of)]
    if check.of is Outcome:
        records += [outcome([0, 0, 0, 0]), outcome([N] * 4), outcome([N, 0, N, 0]), outcome([190, 190, 10, 190])]
    for record in records:
        first = record.take(torch.tensor([0]))
        for evidence in (Evidence(record), Evidence(record, iterates=False), Evidence(first)):
            _checked(check.verdict(evidence))


def _checked(verdict: object) -> None:
    if not isinstance(verdict, Verdict):
        demand(False, "a Verdict", type(verdict).__name__, "return Verdict(level, (reason,)) or Verdict()")
        return
    demand(verdict.level in LEVELS, "level green, amber or red", repr(verdict.level), "choose one of them")
    reasons = verdict.reasons
    demand(isinstance(reasons, tuple), "a tuple of reasons", repr(reasons)[:60], "write (reason,) with a comma")
    silent = (verdict.level == "green") == (not reasons)
    demand(silent, "a reason exactly where it is not green", _shown(verdict), "give one sentence with figures")
    for reason in reasons:
        sentence = isinstance(reason, str) and reason.endswith((".", "?")) and reason[:1].upper() == reason[:1]
        demand(sentence, "a reason that is a sentence", repr(reason)[:80], "begin with a capital, end with a full stop")


@CONTRACTS
def only_reads_its_evidence(check: Check) -> None:
    """The record stays as it was, and the answer is the same again."""
    record = record_of(check.of)
    before = {key: tensor.clone() for key, tensor in record.tensors().items()}
    first, again = check.verdict(Evidence(record)), check.verdict(Evidence(record))
    kept = all(torch.equal(before[key], tensor) for key, tensor in record.tensors().items())
    demand(kept, "the record to stay", "changed values", "change clones")
    demand(first == again, f"{_shown(first)} again", _shown(again), "draw nothing")


@CONTRACTS
def measures_plain_tensors_and_leaves_the_model_alone(check: Check) -> None:
    """Its probe gives tensors by name, the same again, and neither weights nor the global generator move."""
    if check.probe is None:
        raise NotAskedError("It measures no model.")
    model = net().requires_grad_(False)
    images, labels = pixels(samples=4)
    state = {key: value.clone() for key, value in model.state_dict().items()}
    draws = torch.get_rng_state()
    seen = [check.probe(Subject(model, images, labels, torch.arange(4), [8 / 255], "linf", 0)) for _ in range(2)]
    plain = isinstance(seen[0], dict) and all(isinstance(value, Tensor) for value in seen[0].values())
    demand(plain, "tensors by name", type(seen[0]).__name__, "return a dict of tensors")
    same = seen[0].keys() == seen[1].keys() and all(
        torch.equal(value.nan_to_num(), seen[1][key].nan_to_num()) for key, value in seen[0].items()
    )
    demand(same, "the same again", "others", "draw with subject.noise, or by the seed of the subject")
    demand(torch.equal(torch.get_rng_state(), draws), "no draw from the global generator", "one or more", "key draws")
    kept = all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    demand(kept, "the weights to stay", "others", "change nothing of the model")


def _shown(verdict: Verdict) -> str:
    return f"{verdict.level} {' '.join(map(str, verdict.reasons))}".strip()
