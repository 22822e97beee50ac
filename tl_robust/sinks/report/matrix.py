"""The lineage matrix: what examples crafted on one model do to another, and how the two are related."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tl_robust.results.names import Names, grouped, interval, number, telling_eps
from tl_robust.results.table import Row
from tl_robust.sinks.report.blocks import Block, Fold, Markup, Table, Text
from tl_robust.text import eps_text
from tl_robust.types import Result

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
        rows: Accuracy of the victim at every eps.
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
    own, others = ({model.get("key") for model in (one, *_ancestors(one))} for one in (surrogate, victim))
    if surrogate.get("key") == victim.get("key"):
        return "white box"
    return "its parent" if surrogate.get("key") in others else "same start" if own & others else "unrelated"


def matrices(results: Sequence[Result], summary: Sequence[Row], names: Names) -> list[Block]:
    """One matrix for each target and attack, at the eps that tells most, with its numbers as a table."""
    curves = grouped(
        (row for row in summary if row.metric == "robust_accuracy" and row.eps is not None), lambda row: row.cell
    )
    found: dict[str, dict[tuple[str, str], Place]] = {}
    for result in results:
        a, b = (result.provenance.get(role) for role in ("surrogate", "victim"))
        rows = curves.get(replace(result.cell, seed=-1))
        if rows and isinstance(a, Mapping) and isinstance(b, Mapping):
            place = Place(model_name(a), model_name(b), _relation(a, b), rows)
            found.setdefault(names.target(result.cell), {}).setdefault((place.surrogate, place.victim), place)
    blocks: list[Block] = []
    for title, fields in found.items():
        places = list(fields.values())
        eps = telling_eps(row for place in places for row in place.rows)
        if eps is not None:
            blocks += [Text("", title), Markup(_matrix(title, eps, places))]
            blocks.append(Fold(f"Numbers of {title}", [_numbers(title, eps, places)]))
    note = (
        "A row is the model that examples are crafted on, a column the model that is judged; the word in a field says "
        f"how the two are related: {'; '.join(f'{word}, {meaning}' for word, meaning in RELATIONS.items())}."
    )
    return [Text(note), *blocks] if blocks else []


def _matrix(title: str, eps: float, places: Sequence[Place]) -> str:
    rows: dict[str, dict[str, Place]] = {}
    for place in sorted(places, key=lambda place: place.relation == "white box"):
        rows.setdefault(ITSELF if place.relation == "white box" else place.surrogate, {})[place.victim] = place
    victims = list(dict.fromkeys(place.victim for place in places))
    label = html.escape(f"Accuracy of the victim in %, {title}, eps {eps_text(eps)}, mean over seeds")
    head = "".join(f'<th scope="col">{html.escape(victim)}</th>' for victim in victims)
    body = "".join(
        f'<tr><th scope="row">{html.escape(row)}</th>{"".join(_field(at.get(name), eps) for name in victims)}</tr>'
        for row, at in rows.items()
    )
    ramp = f"linear-gradient(90deg,{','.join(f'#{stop}' for stop in SCALE)})"
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{label}"><table class="matrix">'
        f"<caption><span>{label}</span></caption><thead><tr><th scope='col'>crafted on ↓ judged on →</th>{head}</tr>"
        f"</thead><tbody>{body}</tbody></table></div>"
        f'<p class="scale" aria-hidden="true">0 % <span style="background:{ramp}"></span> 100 %</p>'
    )


def _field(place: Place | None, eps: float) -> str:
    row = next((row for row in place.rows if row.eps == eps), None) if place else None
    if place is None or row is None or math.isnan(row.value):
        return '<td class="none">not run</td>'
    ground, ink = _colors(row.value)
    text = html.escape(f"{interval(row)}, n {row.n}")
    return (
        f'<td style="background:{ground};color:{ink}" title="{text}"><b>{number(row.value, "share")}</b>'
        f"<small>{place.relation}</small></td>"
    )


def _colors(value: float) -> tuple[str, str]:
    """The ground of a share, and the ink that stands out more from it."""
    place = min(max(value, 0.0), 1.0) * (len(SCALE) - 1)
    below = min(int(place), len(SCALE) - 2)
    low, high = (bytes.fromhex(SCALE[stop]) for stop in (below, below + 1))
    mixed = [round(a + (b - a) * (place - below)) for a, b in zip(low, high, strict=True)]
    linear = [
        c / 3294.6 if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in mixed
    ]  # WCAG 2, relative luminance
    bright = sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
    return f"#{bytes(mixed).hex()}", "#fff" if bright < 0.179 else "#000"


def _numbers(title: str, eps: float, places: Iterable[Place]) -> Table:
    body = [
        (place.surrogate, place.victim, place.relation, interval(row), str(row.n))
        for place in places
        for row in place.rows
        if row.eps == eps
    ]
    head = ("crafted on", "judged on", "related", "accuracy", "n")
    return Table(f"Accuracy of the victim, {title}, eps {eps_text(eps)}, [95 % interval]", head, body, names=2)
