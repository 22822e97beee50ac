"""What a membership inference promises: a score of each sample, larger for members, of what it may look at.

Axes: N samples.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from tl_robust import inference, metrics
from tl_robust.contracts.component import shared
from tl_robust.contracts.contract import Contracts, Named, NotAskedError, demand
from tl_robust.errors import ConfigError, UnknownNameError
from tl_robust.inference import INFERENCES, Inference, Seen, ShadowInference, Told
from tl_robust.inference.scoring import scored
from tl_robust.types import Exposure, Signals

CLASSES = 5


def cases(named: Named) -> Iterator[tuple[str, Inference]]:
    """The inference with its own settings."""
    yield "", inference.get(named.name)


CONTRACTS = Contracts("inference", cases)
shared(CONTRACTS)


def halves(pairs: int, samples: int, seed: int = 0) -> Tensor:
    """Bool ``[2 pairs, samples]`` by fair coins; 2i and 2i + 1 are complements."""
    heads = torch.randint(2, (pairs, samples), generator=torch.Generator().manual_seed(seed)).bool()
    return torch.stack([heads, ~heads], 1).flatten(0, 1)


def signals(member: Tensor, learned: float, tests: int = 40, seed: int = 0) -> list[Signals]:
    """Random logits; those of the label are larger by ``learned`` where the model learned from the sample."""
    draws = torch.Generator().manual_seed(seed)
    label, test_label = (torch.arange(count) % CLASSES for count in (member.shape[1], tests))
    hardness = torch.randn(len(label), CLASSES, generator=draws)
    said = []
    for inside in member:
        logits = hardness + torch.randn(len(label), CLASSES, generator=draws)
        logits[torch.arange(len(label)), label] += learned * inside
        tested = torch.randn(tests, CLASSES, generator=draws)
        said.append(
            Signals(
                sample_id=torch.arange(len(label)), epochs=torch.tensor([1.0]).double(), label=label,
                logits=logits[None], test_label=test_label, test_logits=tested[None],
            )
        )  # fmt: skip
    return said


def exposed(attack: Inference, member: Tensor, said: list[Signals], parent: Signals | None = None) -> Exposure:
    """The record of all models, each attacked with those of the other pairs."""
    canary = torch.zeros(member.shape[1], dtype=torch.bool)
    return scored(attack, said, (), parent or said[0], member, canary)


def seen_by(samples: int = 30, shadows: int = 10, population: int = 25, scale: float = 2.0, seed: int = 0) -> Seen:
    """One victim with shadows that learned from halves."""
    draws = torch.Generator().manual_seed(seed)
    inside = halves(shadows // 2, samples, seed)
    label, other = (torch.arange(count) % CLASSES for count in (samples, population))

    def told(labels: Tensor, *several: int) -> Told:
        return Told(scale * torch.randn(*several, len(labels), CLASSES, generator=draws), labels)

    return Seen(told(label), told(label), told(label, shadows), inside, told(other), told(other, shadows))


@CONTRACTS
def gives_one_finite_score_for_each_sample(attack: Inference) -> None:
    """Scores are float64 ``[N]``, finite, hardly ever equal, the same again, and what was given stays as it was."""
    given, same = seen_by(), seen_by()
    scores = attack.score(given)
    form, right = f"{scores.dtype} {list(scores.shape)}", (scores.shape, scores.dtype) == ((30,), torch.float64)
    demand(right, "torch.float64 [30]", form, "compute in double precision: logits.double()")
    finite = int(scores.isfinite().sum())
    demand(finite == 30, "30 finite scores", finite, "compute in logarithms, and divide by nothing that may be 0")
    distinct = len(scores.unique())
    demand(distinct > 25, "over 25 different scores of 30", distinct, "give a number, no decision")
    todo = "change clones of what is given"
    for name in ("victim", "shadows", "population", "shadow_population"):
        kept = torch.equal(getattr(given, name).logits, getattr(same, name).logits)
        demand(kept, f"the logits of {name} to stay", "changed ones", todo)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        again = attack.score(same)
    demand(torch.equal(again, scores), "the same scores again", "others", "draw nothing, or by a fixed seed")


@CONTRACTS
def does_not_depend_on_the_order_of_samples(attack: Inference) -> None:
    """A sample has the same score wherever it stands."""
    given = seen_by()
    order = torch.randperm(30, generator=torch.Generator().manual_seed(2))
    moved = replace(
        given,
        victim=_taken(given.victim, order),
        parent=None if given.parent is None else _taken(given.parent, order),
        shadows=_taken(given.shadows, order),
        inside=given.inside[:, order],
    )
    straight, shuffled = attack.score(given)[order], attack.score(moved)
    far = float((straight - shuffled).abs().max())
    demand(
        far <= 1e-9, "the same score in another order", f"scores that differ by {far:.3g}", "look at one sample only"
    )


def _taken(told: Told, order: Tensor) -> Told:
    return Told(told.logits[..., order, :], told.labels[order])


@CONTRACTS
def has_no_score_where_the_victim_diverged(attack: Inference) -> None:
    """Where a logit of the victim is NaN or infinite the score is NaN, and only there."""
    for bad in (torch.nan, torch.inf):
        given = seen_by()
        logits = given.victim.logits.clone()
        logits[3, 1] = bad
        scores = attack.score(replace(given, victim=Told(logits, given.victim.labels)))
        nan = scores.isnan().nonzero().flatten().tolist()
        todo = "let NaN pass, and mask what is not finite: seen.victim.loss and margin do"
        demand(nan == [3], f"NaN for the sample with a logit of {bad}, and for no other", f"NaN at {nan}", todo)


@CONTRACTS
def does_not_leave_a_diverged_shadow_out_in_silence(attack: Inference) -> None:
    """Where a shadow's logits are NaN no sample has a score."""
    if not isinstance(attack, ShadowInference):
        raise NotAskedError("It has no shadows.")
    given = seen_by()
    logits, tested = given.shadows.logits.clone(), given.shadow_population.logits.clone()
    logits[:2], tested[:2] = torch.nan, torch.nan  # a pair, so that each sample has one on either side
    broken = replace(
        given, shadows=Told(logits, given.shadows.labels), shadow_population=Told(tested, given.population.labels)
    )
    some = int((~attack.score(broken).isnan()).sum())
    demand(not some, "no score", f"{some} scores", "use no nanmean or nan_to_num over shadows")


@CONTRACTS
def tells_by_chance_what_no_model_knows(attack: Inference) -> None:
    """Of models that learned nothing, its AUC is a half, with 2, 4 and 8 pairs: it cannot see who is a member."""
    for pairs in (2, 4, 8):
        if pairs < attack.LEAST:
            continue
        held = 0
        for seed in range(5):
            member = halves(pairs, 1000, seed)
            tried = replace(attack, pairs=pairs)
            record = exposed(tried, member, signals(member, 0.0, seed=seed), signals(member[:1], 0.0, seed=99)[0])
            curve = metrics.get("auc").curve(record)
            far = abs(float(curve.value) - 0.5)
            todo = "compare the victim with shadows on the same samples, and use no membership of the victim"
            demand(far < 0.03, f"an AUC of 0.5 with {pairs} pairs", f"{float(curve.value):.3f}", todo)
            held += float(curve.low) <= 0.5 <= float(curve.high)
        demand(held >= 3, "intervals that hold 0.5 in most of 5 draws", f"{held} of 5", "treat all samples alike")


@CONTRACTS
def gives_members_larger_scores(attack: Inference) -> None:
    """Of models that learned by heart, members have larger scores: its AUC is above 0.6."""
    member = halves(6, 300)
    tried = replace(attack, pairs=max(6, attack.LEAST))
    record = exposed(tried, member, signals(member, 2.0), signals(member[:1], 0)[0])
    area = float(metrics.get("auc")(record))
    demand(area > 0.6, "an AUC above 0.6", f"{area:.3f}", "turn the sign, so that larger means a member")


@CONTRACTS.once
def refuses_settings_out_of_range_in_one_sentence(named: Named) -> None:
    """Too few pairs, another side or too many canaries are one sentence with the setting's name."""
    tried: tuple[dict[str, Any], ...] = (
        {"pairs": INFERENCES[named.name].LEAST - 1}, {"side": "both"}, {"canaries": 0.6}, {"pears": 3},
    )  # fmt: skip
    for bad in tried:
        said, (setting,) = "", bad
        try:
            inference.get(named.name, **bad)
        except (ConfigError, UnknownNameError) as error:
            said = str(error)
        expected = "pears" if setting == "pears" else f"setting '{setting}' of {named.name} must be "
        right = expected in said and "\n" not in said and said.endswith(".")
        demand(right, f"a sentence with {expected!r}", repr(said), "call super().__post_init__() in __post_init__")
