"""The defense card as blocks: what each defense does to every threat, and under the table all that a reader needs."""

from __future__ import annotations

from collections.abc import Sequence

from tl_robust.results import card_words as words
from tl_robust.results.card import LEVEL, Card, Line
from tl_robust.results.columns import Column
from tl_robust.results.names import MARKS
from tl_robust.sinks.report.blocks import Block, Fold, Measured, Points, Table, Text
from tl_robust.text import eps_text

HEADS = ("column", "what a number says", "unit", "better", "n", "here")
READ = (
    "A cell has the mean over the seeds with its 95 % interval. Row none is the same B without a defense.",
    "Below it stands what the defense changes beside row none, on the same seeds and images, in points with a 95 % "
    "interval, and what that says: helps, harms, undecided (it may be either), or cannot tell (there is nothing to "
    f"defend against here). It is said at a two-sided level of {LEVEL:g} after Holm's correction over the defenses of "
    "a column; the intervals are not corrected.",
    "Costs are multiples of what the undefended B takes. Amber or red in a cell is its trust; the last column has the "
    "worst of the row.",
    "An attacker chooses: read a row by its worst column.",
)
ATTACKERS = "What is tried beside the plain attack; a number in the table is the worst case over all of them"


def defense_cards(cards: Sequence[Card]) -> list[Block]:
    """Of each pair and strategy the table at the middle eps, those at others folded, and what explains them.

    Args:
        cards: As :func:`tl_robust.results.card.cards` gives them; none give no blocks.
    """
    return [block for heading, members in words.groups(cards) for block in (Text("", heading), *one(members))]


def one(cards: Sequence[Card]) -> list[Block]:
    """The blocks of one pair and strategy.

    Args:
        cards: At least one: the eps that is shown first, then the others.
    """
    first, *others = cards
    apart = [Fold(f"The same at eps {eps_text(card.eps)}", [table(card)], aside=True) for card in others]
    return [table(first), *apart, *explained(first)]


def table(card: Card) -> Table:
    """A row for each defense, the undefended B first."""
    size = "" if card.eps != card.eps else f" at eps {eps_text(card.eps)} (pixels in [0, 1])"
    title = f"Defenses{size}: mean over seeds, [95 % interval]; below it the change beside none in points"
    head = ("defense", *(_whole(column.title) for column in card.columns), "trust")
    body: list[tuple[str | Measured, ...]] = [
        (line.defense, *(_measured(line, column) for column in card.columns), MARKS[line.trust.level])
        for line in card.lines
    ]
    return Table(title, head, body, brief=True, cards=True)


def _whole(text: str) -> str:
    """No percentage is broken over lines."""
    return text.replace(" %", "\xa0%")


def _measured(line: Line, column: Column) -> Measured:
    entry = line.entries[column.name]
    value = words.value_text(line, column)
    trust = "" if entry.trust.level == words.CALM else MARKS[entry.trust.level]
    decision = words.decision_text(entry)
    return Measured(value, words.ends_text(entry, column), words.change_text(entry, column), decision, trust)


def explained(card: Card) -> list[Block]:
    """What the columns say, the notes, what attackers do who know each defense, and what is trusted less than fully."""
    body = [
        (
            column.title, _whole(column.means), words.unit_text(column), column.better or words.NOTHING,
            words.samples_text(card, column), card.notes.get(column.name, words.NOTHING),
        )
        for column in card.columns
    ]  # fmt: skip
    blocks: list[Block] = [Points(READ), Table("What the columns say", HEADS, body, cards=True)]
    if untold := words.untold(card):
        reasons = [f"{whose}: {why}" for why, whose in untold]
        blocks += [Text("", "Where no change is told"), Points(reasons)]
    attackers = Table(ATTACKERS, ("defense", "what attackers do who know it"), words.known(card), cards=True)
    blocks.append(Fold("What attackers do who know each defense", [attackers]))
    if trust := [(MARKS[level], reason, whose) for level, reason, whose in words.distrusted(card)]:
        title = "Reasons, and the numbers they are of"
        blocks.append(Fold("Why trust is not green", [Table(title, ("trust", "why", "of"), trust, cards=True)]))
    return blocks
