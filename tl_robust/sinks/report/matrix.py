"""The lineage matrix: what examples crafted on one model do to another, and how the two are related."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tl_robust.results.names import Names, grouped, interval, number, telling_x
from tl_robust.results.table import Row
from tl_robust.sinks.report.blocks import Block, Field, Fold, Matrix, Table, Text
from tl_robust.types import Face, Outcome, Result

SCALE = (  # cividis (Nunez, Anderton, Renslow, PLOS ONE 2018): the same order of lightness to color-blind readers
    "00224e", "123570", "3b496c", "575d6d", "707173", "8a8678", "a59c74", "c3b369", "e1cc55", "fee838",
)  # fmt: skip
ITSELF = "the victim itself"
RELATIONS = {
    "white box": "one model",
    "its parent": "the victim starts from it",
    "same start": "both start from one model",
    "unrelated": "no common origin",
}


@dataclass(frozen=True)
class Place:
    """One entry of a matrix.

    Attributes:
        surrogate: Name of the row.
        victim: Name of the column.
        relation: How they are related.
        rows: The headline metric along the axis.
    """

    surrogate: str
    victim: str
    relation: str
    rows: Sequence[Row]


def model_name(model: Mapping[str, Any]) -> str:
    """What trained a model and from what: ``finetune usps from mnist``; its seed is left out."""
    name = str(model.get("domain", "")) if "epochs" not in model else f"{model['by']} {model['domain']}"
    return " from ".join([name, *(str(parent.get("domain", "")) for parent in _ancestors(model))])


def _ancestors(model: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    while isinstance(parent := model.get("parent"), Mapping):
        yield parent
        model = parent


def _relation(surrogate: Mapping[str, Any], victim: Mapping[str, Any]) -> str:
    own, others = ({model.get("key") for model in (start, *_ancestors(start))} for start in (surrogate, victim))
    if surrogate.get("key") == victim.get("key"):
        return "white box"
    return "its parent" if surrogate.get("key") in others else "same start" if own & others else "unrelated"


def matrices(face: Face, results: Sequence[Result], summary: Sequence[Row], names: Names) -> list[Block]:
    """One matrix for each target and attack, where the cells differ most, with its numbers as a table."""
    headline = (row for row in summary if row.metric == face.headline and row.eps is not None)
    curves = grouped(headline, lambda row: row.cell)
    targets: dict[str, dict[tuple[str, str, bool], Place]] = {}
    for result in results:
        a, b = (result.provenance.get(role) for role in ("surrogate", "victim"))
        rows = curves.get(replace(result.cell, seed=-1))
        if rows and isinstance(a, Mapping) and isinstance(b, Mapping) and isinstance(result.outcome, Outcome):
            place = Place(model_name(a), model_name(b), _relation(a, b), rows)
            key = place.surrogate, place.victim, place.relation == "white box"
            targets.setdefault(names.target(result.cell), {}).setdefault(key, place)
    blocks: list[Block] = []
    for target, fields in targets.items():
        places = list(fields.values())
        x = telling_x((row for place in places for row in place.rows), face)
        if x is not None:
            title = f"{target}, {face.at(x)}"
            blocks += [Text("", target), _matrix(f"{face.measure} in %, {title}, mean over seeds", x, places)]
            numbers = _numbers(f"{face.measure}, {title}, [95 % interval]", face.word, x, places)
            blocks.append(Fold(f"Numbers of {target}", [numbers]))
    note = (
        "A row is the model that examples are crafted on, a column the model that is judged; the word in a field says "
        f"how the two are related: {'; '.join(f'{word}, {meaning}' for word, meaning in RELATIONS.items())}."
    )
    return [Text(note), *blocks] if blocks else []


def _matrix(label: str, x: float, places: Sequence[Place]) -> Matrix:
    rows: dict[str, dict[str, Place]] = {}
    for place in sorted(places, key=lambda place: place.relation == "white box"):
        rows.setdefault(ITSELF if place.relation == "white box" else place.surrogate, {})[place.victim] = place
    victims = list(dict.fromkeys(place.victim for place in places))
    fields = [(surrogate, [_field(at.get(victim), x) for victim in victims]) for surrogate, at in rows.items()]
    return Matrix(label, victims, fields, [f"#{stop}" for stop in SCALE])


def _field(place: Place | None, x: float) -> Field | None:
    row = next((row for row in place.rows if row.eps == x), None) if place else None
    if place is None or row is None or math.isnan(row.value):
        return None
    ground, ink = _colors(row.value)
    return Field(number(row.value, "share"), place.relation, f"{interval(row)}, n {row.n}", ground, ink)


def _colors(value: float) -> tuple[str, str]:
    """The ground of a share, and the ink that stands out more from it."""
    place = min(max(value, 0.0), 1.0) * (len(SCALE) - 1)
    below = min(int(place), len(SCALE) - 2)
    low, high = (bytes.fromhex(SCALE[stop]) for stop in (below, below + 1))
    mixed = [round(a + (b - a) * (place - below)) for a, b in zip(low, high, strict=True)]
    linear = [
        c / 3294.6 if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in mixed
    ]  # WCAG 2, relative luminance
    bright = sum(weight * light for weight, light in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
    return f"#{bytes(mixed).hex()}", "#fff" if bright < 0.179 else "#000"


def _numbers(title: str, word: str, x: float, places: Iterable[Place]) -> Table:
    body = [
        (place.surrogate, place.victim, place.relation, interval(row), str(row.n))
        for place in places
        for row in place.rows
        if row.eps == x
    ]
    return Table(title, ("crafted on", "judged on", "related", word, "n"), body, names=2)
