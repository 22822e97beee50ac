"""How the table by parent reads, on a page, in a terminal and as ``by_parent.csv``."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from tl_robust.audit.by_parent import Line, Mean, Setting, lead
from tl_robust.files import write_atomically
from tl_robust.results.names import grouped, measured, number
from tl_robust.results.table import defused
from tl_robust.text import effect_text, plain

UNDECLARED = "none declared"
HEADS = (
    "parent", "models", "clean accuracy", "under transfer from it", "worst of them", "white box", "price of the parent",
    "claimed", "alarms", "trust",
)  # fmt: skip
MEANS = ("clean", "transfer", "white", "price")
COLUMNS = (
    "parent", "sha256", "eps", "norm", "transfer_attack", "white_attack", "models",
    *(f"{name}{part}" for name in MEANS for part in ("", "_low", "_high", "_n")),
    "transfer_least", "looked_for", "claimed", "claimed_of_others", "watched", "alarms", "trust",
)  # fmt: skip


def by_setting(lines: Iterable[Line]) -> dict[Setting, list[Line]]:
    """Lines that may be compared, in their order."""
    return grouped(lines, lambda line: line.setting)


def name(line: Line) -> str:
    """What readers call the parent."""
    return line.name or UNDECLARED


def mean_text(mean: Mean, models: int, points: bool = False) -> tuple[str, str]:
    """A mean and its interval: ``85.0 %`` and ``[70.2, 94.3]``, with its number of models where not all have it."""
    value = measured(mean.value, "share")
    value = value.replace(" %", " points") if points else value
    ends = "" if math.isnan(mean.low + mean.high) else f"[{number(mean.low, 'share')}, {number(mean.high, 'share')}]"
    return value, " ".join(filter(None, (ends, f"n = {mean.n}" if 0 < mean.n < models else "")))


def least_text(line: Line) -> str:
    """The least accuracy of all models under transfer."""
    return measured(line.least, "share")


def claimed_text(line: Line) -> str:
    """How often the parent was found as the parent: ``2 of 3``, and of how many models of others."""
    own = f"{line.claimed} of {line.asked}" if line.asked else "not asked"
    return own + f", and {line.claimed_of_others} of others" * bool(line.claimed_of_others)


def alarms_text(line: Line) -> str:
    """At how many models a sign of a backdoor was clearer than at every clean model: ``1 of 3``."""
    return f"{line.alarms} of {line.watched}" if line.watched else "not asked"


def answers(lines: Sequence[Line]) -> list[str]:
    """What the table says, a sentence or a few for each setting: which parent to start from, and how surely."""
    return [_answer(members) for members in by_setting(lines).values()]


def _answer(members: Sequence[Line]) -> str:
    compared = [line for line in members if line.transfer.n]
    if not compared:
        return "No parent stands before another: nothing was crafted on one."
    first, *others = compared
    kept = f"{measured(first.transfer.value, 'share')} under what is crafted on it"
    whose = f"its {first.transfer.n} models keep" if first.transfer.n > 1 else "its one model keeps"
    if not others:
        return f"Only models of {first.name} were attacked from their parent, so nothing is compared: {whose} {kept}."
    second = others[0]
    change, low, high = lead(first, second)
    gap = effect_text(change, low, high, "share").removesuffix(" [nan, nan]")
    said = f"Start from {first.name}: {whose} {kept}, {gap} beside {second.name}"
    single = [line.name for line in (first, second) if line.transfer.n == 1]
    chance = "the choice of images" if single else "the choice of images and of models"
    sure = f"which is more than {chance} explains." if low > 0 else f"but {chance} explains as much."
    sentences = [f"{said}, {sure}"]
    if single:
        sentences.append(f"Of {' and '.join(single)} there is one model, and another may say otherwise: audit more.")
    if first.data != second.data:
        sentences.append("Both were judged on different images, so that their tasks may differ and not the parents.")
    return " ".join(sentences)


def write(path: Path, lines: Iterable[Line]) -> None:
    """Write ``by_parent.csv``: numbers with six significant digits, ``nan`` where undefined.

    Raises:
        ResultsError: It cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(map(_row, lines))
    write_atomically(path, text.getvalue().encode(errors="backslashreplace"))


def _row(line: Line) -> list[str]:
    setting = line.setting
    texts = (line.name, line.digest, f"{setting.eps:.6g}", setting.norm, setting.transfer, setting.white)
    means = [getattr(line, each) for each in MEANS]
    numbers = [cell for mean in means for cell in (*map(_six, (mean.value, mean.low, mean.high)), str(mean.n))]
    counts = (line.asked, line.claimed, line.claimed_of_others, line.watched, line.alarms)
    return [
        *(defused(plain(text)) for text in texts), str(len(line.models)), *numbers, _six(line.least),
        *map(str, counts), line.trust.level,
    ]  # fmt: skip


def _six(value: float) -> str:
    return f"{value:.6g}"
