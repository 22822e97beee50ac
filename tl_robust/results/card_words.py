"""How the entries of a defense card read, wherever it is shown."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence

from tl_robust.claims.comparisons import UNDEFENDED
from tl_robust.results.card import Card, Entry, Line
from tl_robust.results.columns import Column
from tl_robust.results.names import EFFECTS, MARKS, K, grouped, number
from tl_robust.text import effect_text, first_few

TIMES = "\u00d7"  # behind a multiple
NOTHING = "-"  # where a column has nothing to say of a line
NOT_RUN = "not run"
NUMBERS = r"\d+(\.\d+)?"
CALM = "green"  # the level of trust of which nothing needs to be said


def value_text(line: Line, column: Column) -> str:
    """The number of a line in a column with its unit, or the words in place of one: ``41.0 %``, ``not run``.

    ``-`` where the column says nothing of undefended models.
    """
    entry = line.entries[column.name]
    if math.isnan(entry.value):
        return NOTHING if column.own and line.defense == UNDEFENDED else entry.why or "n/a"
    return f"{entry.value:.1f} {TIMES}" if column.unit == "ratio" else f"{number(entry.value, column.unit)} %"


def ends_text(entry: Entry, column: Column) -> str:
    """The interval of a number without its unit: ``[38.1, 44.0]``; empty where there is none."""
    if any(math.isnan(item) for item in (entry.value, entry.low, entry.high)):
        return ""
    return f"[{', '.join(number(end, column.unit) for end in (entry.low, entry.high))}]"


def change_text(entry: Entry, column: Column) -> tuple[str, ...]:
    """What the defense changes, and the interval of that: ``("+12.3", "[10.0, 15.0]")``, shares in points.

    Nothing where it was not told beside the undefended twin.
    """
    if not entry.effect or math.isnan(entry.effect.value):
        return ()
    text = effect_text(entry.effect.value, entry.effect.low, entry.effect.high, column.unit)
    change, ends = text.replace(" points", "").split(" ", 1)
    return change, ends


def decision_text(entry: Entry) -> str:
    """What the change says, as a mark and a word; empty where nothing is judged."""
    return EFFECTS.get(entry.decision, "")


def told(card: Card) -> tuple[Column, ...]:
    """The columns that have a number of some line."""
    return tuple(
        column for column in card.columns if not all(math.isnan(line.entries[column.name].value) for line in card.lines)
    )


def groups(cards: Iterable[Card]) -> list[tuple[str, list[Card]]]:
    """The cards of each pair, network and strategy under one heading, the eps that is shown first before the others."""
    kept = grouped(cards, lambda card: (card.source, card.target, card.network, card.strategy, card.common))
    networks = grouped(kept, lambda key: key[:2] + key[3:])
    headings = []
    for key, members in kept.items():
        several = len(networks[key[:2] + key[3:]]) > 1
        heading = members[0].title.rpartition(", eps ")[0] or members[0].title
        headings.append((f"{heading}, {key[2]}" if several else heading, members))
    return headings


def samples_text(card: Card, column: Column) -> str:
    """How many samples the numbers of a column rest on, over all seeds: ``1800``, ``900 to 1800``; ``-`` of costs."""
    counts = sorted({entry.n for line in card.lines if (entry := line.entries[column.name]).n})
    if not counts:
        return NOTHING
    words = "\xa0seeds" * (column.unit == "ratio")
    return (f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}") + words


def unit_text(column: Column) -> str:
    """The unit of a column: percent, or multiples of the undefended B."""
    return TIMES if column.unit == "ratio" else "%"


def known(card: Card) -> list[tuple[str, str]]:
    """What attackers do who know a defense, those against whom they do the same together: names, and sentences."""
    lines = grouped((line for line in card.lines if line.defense != UNDEFENDED), lambda line: line.known)
    nobody = "No attack that knows it was run."
    return [(", ".join(line.defense for line in members), " ".join(why) or nobody) for why, members in lines.items()]


def distrusted(card: Card) -> list[tuple[str, str, str]]:
    """Every reason why a number is trusted less than fully: the level, the reason, and of whom, the worst first.

    Reasons that are the same but for their numbers, such as those of several seeds, stand once.
    """
    found = [
        ((entry.trust.level, reason), line.defense, column.title)
        for line in card.lines
        for column in card.columns
        if (entry := line.entries[column.name]).trust.level != CALM
        for reason in entry.trust.reasons
    ]
    alike = grouped(dict.fromkeys(key for key, *_ in found), lambda key: (key[0], re.sub(NUMBERS, "0", key[1])))
    first = {key: members[0] for members in alike.values() for key in members}
    whose = _whose([(first[key], defense, title) for key, defense, title in found])
    told = []
    for members in alike.values():
        level, reason = members[0]
        others = f" (and {len(members) - 1} like it)" * (len(members) > 1)
        told.append((level, reason + others, whose[members[0]]))
    return sorted(told, key=lambda item: -list(MARKS).index(item[0]))


def untold(card: Card) -> list[tuple[str, str]]:
    """Every reason why a number that is there stands without a change, and of whom."""
    found = [
        (entry.why, line.defense, column.title)
        for line in card.lines
        for column in card.columns
        if (entry := line.entries[column.name]).why and not math.isnan(entry.value)
    ]
    return list(_whose(found).items())


def _whose(found: Sequence[tuple[K, str, str]]) -> dict[K, str]:
    """By reason the defenses and columns it is of: ``squeeze, distill (white box, adaptive gap); none (white box)``."""
    texts = {}
    for reason, members in grouped(dict.fromkeys(found), lambda item: item[0]).items():
        titles = {
            defense: ", ".join(title for _, _, title in own)
            for defense, own in grouped(members, lambda item: item[1]).items()
        }
        by_titles = grouped(titles.items(), lambda item: item[1])
        texts[reason] = "; ".join(
            f"{first_few([name for name, _ in own], 4, count=True)} ({title})" for title, own in by_titles.items()
        )
    return texts
