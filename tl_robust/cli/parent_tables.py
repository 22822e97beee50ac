"""The table by parent as the terminal shows it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.table import Table

from tl_robust.audit import parent_words as words
from tl_robust.audit.by_parent import ORDER, Line, Refused
from tl_robust.results.names import MARKS
from tl_robust.text import plain

HEADS = ("parent", "models", "clean", "transfer", "worst", "white", "price", "claimed", "alarms", "trust")


def parent_tables(lines: Sequence[Line], refused: Sequence[Refused]) -> Iterator[Table | str]:
    """A table for each setting, what it says, and the models without numbers.

    Args:
        lines: As :func:`tl_robust.audit.by_parent.lines` gives them.
        refused: Models without numbers.
    """
    for (setting, members), answer in zip(words.by_setting(lines).items(), words.answers(lines), strict=True):
        title = f"By parent: {plain(setting.text) or 'nothing was attacked'}; means over models, in % [95 % interval]"
        table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
        for place, head in enumerate(HEADS):
            numbers = place in range(1, 7)
            table.add_column(head, justify="right" if numbers else "left", overflow="fold", no_wrap=numbers)
        for line in members:
            table.add_row(*map(plain, _cells(line)))
        yield table
        yield answer
    if lines:
        yield ORDER
    for item in refused:
        yield f"✖ {item.name} (parent: {item.parent or words.UNDECLARED}) has no numbers: {item.reason}"


def _cells(line: Line) -> tuple[str, ...]:
    count = len(line.models)
    clean, transfer, white, price = (
        "\n".join(filter(None, words.mean_text(getattr(line, name), count))).replace(" %", "") for name in words.MEANS
    )
    least = words.least_text(line).replace(" %", "")
    claimed = words.claimed_text(line)
    return (
        words.name(line), str(count), clean, transfer, least, white, price, claimed, words.alarms_text(line),
        MARKS[line.trust.level],
    )  # fmt: skip
