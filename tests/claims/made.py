"""Made results: so many of the samples right, by strategy, view, eps and seed."""

from collections.abc import Mapping, Sequence

import torch

from tl_robust.types import Cell, Level, Outcome, Result, Verdict

EPS = (0.0, 4 / 255, 8 / 255)
SAMPLES = 200
Counts = Sequence[Sequence[int]]  # by seed, by eps


def outcome(right: Sequence[int], right_a: Sequence[int], eps: Sequence[float] = EPS) -> Outcome:
    """The first ``right`` samples are right at each eps, and so many of the surrogate."""
    label, flag = torch.zeros(SAMPLES, dtype=torch.int64), torch.zeros(SAMPLES, dtype=torch.bool)
    adv_a, adv_b = (
        torch.stack([(torch.arange(SAMPLES) >= count).long() for count in counts]) for counts in (right_a, right)
    )
    size = torch.tensor(eps).float()[:, None].expand(-1, SAMPLES)
    return Outcome(
        torch.arange(SAMPLES), label, adv_a[0], adv_b[0], adv_a, adv_b, size, torch.tensor(eps, dtype=torch.float64),
        flag, ~flag.expand(len(eps), -1), ~flag,
    )  # fmt: skip


def results(
    black: Mapping[str, Counts],
    white: Mapping[str, Counts],
    *,
    pair: str = "mnist-usps",
    attack: str = "fgsm",
    images: int = 100,
    space: str = "digits",
    levels: Mapping[tuple[str, str, int], Level] | None = None,
    share: float | None = None,
    eps: Sequence[float] = EPS,
) -> list[Result]:
    """One result for each strategy, view and seed; the surrogate of the black box falls to 20 of 200."""
    source, target = pair.split("-")
    found = []
    for strategy, seeds in white.items():
        for seed, right in enumerate(seeds):
            own = outcome(right, right, eps)
            views = {"white": own}
            if strategy in black:
                views["black"] = outcome(black[strategy][seed], [190, *[20] * (len(right) - 1)], eps)
            for view, here in views.items():
                common = "svhn" if strategy == "common_init" else ""
                cell = Cell("b", source, target, "dtn", strategy, common, "none", attack, "linf", view, seed, images)  # type: ignore[arg-type]
                level = (levels or {}).get((strategy, view, seed), "green")
                key = f"{pair}{strategy}{attack}{view}{seed}{images}"
                asked = {} if share is None else {"share": share}
                made = {"victim": {"key": key, "space": space} | asked}
                found.append(Result(key, cell, here, {"white": own}, {}, Verdict(level), made))
    return found


def around(middle: Sequence[int], seeds: int = 3) -> Counts:
    """Seeds that differ by two samples."""
    return [[middle[0], *(count + off for count in middle[1:])] for off in (-2, 0, 2, -1, 1)[:seeds]]
