"""Clean images, adversarial ones and their magnified difference, with what the models say, inside the page."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from PIL import Image
from torch import Tensor

from tl_robust.results.names import Names, grouped, telling_eps
from tl_robust.results.table import Row
from tl_robust.sinks.report.blocks import Block, Markup, Text
from tl_robust.sinks.report.matrix import model_name
from tl_robust.text import eps_text
from tl_robust.types import Outcome, Pictures, Result

LIMIT = 450_000  # bytes of the page that pictures may take, a quarter of it ...
MANY = 10_000  # ... where tables and charts have more numbers than this
LEVELS = ((1, 2), (1, 4), (1, 6), (2, 6), (3, 6), (4, 6))  # eps and samples: the last that fits is shown
GRAY = 128
NOTE = (
    "The first sample of each class, before and after the attack, and the difference magnified (gray is no change). "
    "Below are the classes that the models say: ✔ right, ✖ wrong."
)
Answer = tuple[str, str, bool]  # who, which class, whether it is right


@dataclass(frozen=True)
class Shot:
    """A craft group with pictures and the cells that were judged on it.

    Attributes:
        results: One a victim.
        pictures: The images.
        names: How cells are named.
    """

    results: Sequence[Result]
    pictures: Pictures
    names: Names

    @cached_property
    def rows(self) -> list[int]:
        """Places of the shown samples in the outcomes."""
        known = {sample: place for place, sample in enumerate(self.results[0].outcome.sample_id.tolist())}
        return [known[sample] for sample in self.pictures.sample_id.tolist()]

    @property
    def black(self) -> bool:
        """Crafted on the source model."""
        return self.results[0].cell.view == "black"

    @cached_property
    def victims(self) -> str:
        """Names of those judged."""
        return " and ".join(dict.fromkeys(self.names.strategy(result.cell) for result in self.results))

    @cached_property
    def title(self) -> str:
        """View, and what the examples were crafted on."""
        a = f"{model_name(self.results[0].provenance['surrogate'])}, the A of {self.victims}"
        return f"Black box: crafted on {a}" if self.black else f"White box: crafted on {self.victims}"

    @cached_property
    def magnified(self) -> list[int]:
        """How many times the difference is magnified, by eps: as far as no pixel leaves the range."""
        change = (self.pictures.adversarial.short() - self.pictures.clean.short()).abs().flatten(1).amax(1)
        return [max(1, (GRAY - 1) // max(1, amount)) for amount in change.tolist()]

    def place(self, eps: float) -> int:
        """Where an eps stands in the pictures."""
        return int((self.pictures.eps - eps).abs().argmin())

    def times(self, eps: float) -> str:
        """How much the difference is magnified, in words."""
        times = self.magnified[self.place(eps)]
        return f"difference {f'magnified {times} times' if times > 1 else 'as it is'}"

    def label(self, sample: int) -> str:
        """The true class."""
        return self._name(self.results[0].outcome.label[self.rows[sample]])

    def sample(self, sample: int) -> str:
        """Which sample it is."""
        return f"sample {int(self.pictures.sample_id[sample])}, label {self.label(sample)}"

    def answers(self, sample: int, eps: float | None) -> list[Answer]:
        """What A and each B say of the adversarial image; of the clean one where ``eps`` is None."""
        row, first = self.rows[sample], self.results[0].outcome
        place = 0 if eps is None else int((first.eps - eps).abs().argmin())

        def said(outcome: Outcome, model: str) -> int:
            found: Tensor = getattr(outcome, f"clean_{model}" if eps is None else f"adv_{model}")
            return int(found[row] if eps is None else found[place, row])

        found: list[Answer] = []
        if self.black:
            a, same = said(first, "a"), bool(first.same_labels[row])
            who = f"A of {self.victims}" if eps is None else "A"
            found.append((who, self._name(a) if same else f"class {a} of its own", a == int(first.label_a[row])))
        for result in self.results:
            b = said(result.outcome, "b")
            found.append((self.names.strategy(result.cell), self._name(b), b == int(first.label[row])))
        return found

    def difference(self, place: int, sample: int) -> Tensor:
        """The magnified difference, uint8 ``[C,H,W]``; gray is no change."""
        change = self.pictures.adversarial[place, sample].short() - self.pictures.clean[sample].short()
        return (GRAY + self.magnified[place] * change).clamp(0, 255).to(torch.uint8)

    def _name(self, label: Tensor | int) -> str:
        classes = self.pictures.classes
        return classes[int(label)] if int(label) < len(classes) else str(int(label))


@dataclass(frozen=True)
class Sheet:
    """What was crafted of one pair and attack.

    Attributes:
        group: Pair and attack.
        eps: Shown first.
        shots: Black box first.
    """

    group: str
    eps: float
    shots: Sequence[Shot]

    def markup(self, sizes: int, samples: int) -> list[str]:
        """One table with all models at one eps, and a fold for each craft group with the other ``sizes`` - 1."""
        first, shown = self.shots[0], range(min(samples, len(self.shots[0].pictures.sample_id)))
        body = []
        for sample in shown:
            fields = [self._field(shot, self.eps, sample) for shot in self.shots]
            body.append([_row_head(first, sample), self._clean(sample), *fields])
        heads = ["sample", "clean", *(f"{shot.title}; {shot.times(self.eps)}" for shot in self.shots)]
        parts = [_table(f"{self.group}, eps {eps_text(self.eps)}", heads, body)]
        others = [size for size in first.pictures.eps.tolist() if size != self.eps]
        others = others[max(0, len(others) - sizes + 1) :]
        for shot in self.shots if others else ():
            body = [[_row_head(shot, row), *(self._field(shot, size, row) for size in others)] for row in shown]
            heads = ["sample", *(f"eps {eps_text(size)}; {shot.times(size)}" for size in others)]
            inside = _table(f"{self.group}. {shot.title}", heads, body)
            parts.append(f"<details><summary>Other eps. {html.escape(shot.title)}</summary>{inside}</details>")
        return parts

    def _clean(self, sample: int) -> str:
        first = self.shots[0]
        said = dict.fromkeys(answer for shot in self.shots for answer in shot.answers(sample, None))
        wrong = [answer for answer in said if not answer[2]] or [("all models", first.label(sample), True)]
        return _field(_image(first.pictures.clean[sample], f"{first.sample(sample)}, clean"), wrong)

    def _field(self, shot: Shot, eps: float, sample: int) -> str:
        answers, place = shot.answers(sample, eps), shot.place(eps)
        says = "; ".join(f"{who} says {found}" for who, found, _ in answers)
        alt = f"{shot.sample(sample)}, {self.group}, eps {eps_text(eps)}: {says}"
        image = _image(shot.pictures.adversarial[place, sample], alt)
        return _field(image + _image(shot.difference(place, sample), "its difference"), answers)


def gallery(
    results: Sequence[Result], summary: Sequence[Row], pictures: Mapping[str, Pictures], names: Names
) -> list[Block]:
    """A sheet for each pair and attack: samples down, models across; the other eps fold away.

    As many eps and samples are shown as fit into :data:`LIMIT`, so that the page stays small.
    """
    found = [result for result in results if result.provenance.get("outcome") in pictures]
    rows = grouped((row for row in summary if row.metric == "robust_accuracy"), lambda row: names.group(row.cell))
    sheets = []
    for group, members in grouped(found, lambda result: names.group(result.cell)).items():
        unique = {result.provenance["outcome"]: result for result in sorted(members, key=lambda one: one.cell.view)}
        shared = grouped(unique.items(), lambda item: id(pictures[item[0]]))
        shots = [Shot([one for _, one in items], pictures[items[0][0]], names) for items in shared.values()]
        shown = shots[0].pictures.eps.tolist()
        eps = telling_eps(row for row in rows.get(group, ()) if row.eps in (0, *shown))
        sheets.append(Sheet(group, eps or shown[-1], shots))
    room = LIMIT if len(summary) <= MANY else LIMIT // 4
    parts: dict[str, list[str]] = {}
    for level in LEVELS:
        wanted = {sheet.group: sheet.markup(*level) for sheet in sheets}
        if parts and sum(len(part) for markup in wanted.values() for part in markup) > room:
            break
        parts = wanted
    blocks: list[Block] = []
    for group, markup in parts.items():
        room -= sum(map(len, markup))
        blocks += [Text("", group), *map(Markup, markup)] if room >= 0 else []
    more = " Those of more attacks did not fit into this page." if room < 0 else ""
    return [Text(NOTE + more), *blocks] if blocks else []


def _row_head(shot: Shot, sample: int) -> str:
    return f'<th scope="row">{html.escape(shot.sample(sample)).replace(", ", "<br>", 1)}</th>'


def _field(images: str, answers: Sequence[Answer]) -> str:
    lines = "".join(
        f'<li class="{"green" if right else "red"}">{html.escape(f"{who}: {found}")} {"✔" if right else "✖"}</li>'
        for who, found, right in answers
    )
    return f"<td>{images}<ul>{lines}</ul></td>"


def _image(image: Tensor, alt: str) -> str:
    """An ``img`` with the PNG inside; gray where the channels agree."""
    gray = len(image) != 3 or bool((image == image[:1]).all())
    shown = image[0] if gray else image.permute(1, 2, 0)
    file = io.BytesIO()
    Image.fromarray(shown.numpy()).save(file, format="PNG", optimize=True)
    data = base64.b64encode(file.getvalue()).decode()
    return f'<img src="data:image/png;base64,{data}" alt="{html.escape(alt)}">'


def _table(caption: str, heads: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    caption = html.escape(caption)
    head = "".join(f'<th scope="col">{html.escape(title)}</th>' for title in heads)
    rows = "".join(f"<tr>{''.join(row)}</tr>" for row in body)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="Pictures: {caption}"><table class="pictures">'
        f"<caption><span>{caption}</span></caption><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )
