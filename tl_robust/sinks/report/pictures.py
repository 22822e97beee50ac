"""Clean images, adversarial ones and their magnified difference, with what the models say, inside the page."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from PIL import Image
from torch import Tensor

from tl_robust.results.names import Names, grouped, telling_x
from tl_robust.results.table import Row
from tl_robust.sinks.report.blocks import Block, Exhibit, Fold, Gallery, Picture, Text
from tl_robust.sinks.report.matrix import model_name
from tl_robust.sinks.report.rendering import fragment
from tl_robust.types import Face, Outcome, Pictures, Result

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
        face: How the threat reads.
        results: One a victim.
        pictures: The images.
        names: How cells are named.
    """

    face: Face
    results: Sequence[Result]
    pictures: Pictures
    names: Names

    @cached_property
    def rows(self) -> list[int]:
        """Places of the shown samples in the outcomes."""
        known = {sample: place for place, sample in enumerate(self.results[0].outcome.sample_id.tolist())}
        return [known[sample] for sample in self.pictures.sample_id.tolist()]

    @property
    def view(self) -> str:
        """Who the attacker is."""
        return self.results[0].cell.view

    @cached_property
    def victims(self) -> str:
        """Names of those judged."""
        return " and ".join(dict.fromkeys(self.names.strategy(result.cell) for result in self.results))

    @cached_property
    def title(self) -> str:
        """View, and what the examples were crafted on."""
        side = self.face.side(self.view).capitalize()
        if self.view == self.face.direct:
            return f"{side}: crafted on {self.victims}"
        source = self.view == next(iter(self.face.views), "")
        of = f"the A of {self.victims}" if source else f"against {self.victims}"
        return f"{side}: crafted on {model_name(self.results[0].provenance['surrogate'])}, {of}"

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
            classes: Tensor = getattr(outcome, f"clean_{model}" if eps is None else f"adv_{model}")
            return int(classes[row] if eps is None else classes[place, row])

        answers: list[Answer] = []
        if self.view != self.face.direct:
            a, same = said(first, "a"), bool(first.same_labels[row])
            who = f"A of {self.victims}" if eps is None else "A"
            answers.append((who, self._name(a) if same else f"class {a} of its own", a == int(first.label_a[row])))
        for result in self.results:
            b = said(result.outcome, "b")
            answers.append((self.names.strategy(result.cell), self._name(b), b == int(first.label[row])))
        return answers

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
        shots: In the order of the views.
    """

    group: str
    eps: float
    shots: Sequence[Shot]

    def blocks(self, sizes: int, samples: int) -> list[Block]:
        """One table with all models at one eps, and a fold for each craft group with the other ``sizes`` - 1."""
        first, shown = self.shots[0], range(min(samples, len(self.shots[0].pictures.sample_id)))
        body = []
        for sample in shown:
            fields = [self._field(shot, self.eps, sample) for shot in self.shots]
            body.append((_row_head(first, sample), [self._clean(sample), *fields]))
        heads = ["sample", "clean", *(f"{shot.title}; {shot.times(self.eps)}" for shot in self.shots)]
        blocks: list[Block] = [Gallery(f"{self.group}, {first.face.at(self.eps)}", heads, body)]
        others = [size for size in first.pictures.eps.tolist() if size != self.eps]
        others = others[max(0, len(others) - sizes + 1) :]
        for shot in self.shots if others else ():
            body = [(_row_head(shot, row), [self._field(shot, size, row) for size in others]) for row in shown]
            heads = ["sample", *(f"{shot.face.at(size)}; {shot.times(size)}" for size in others)]
            table = Gallery(f"{self.group}. {shot.title}", heads, body)
            blocks.append(Fold(f"Other {shot.face.axis}. {shot.title}", [table]))
        return blocks

    def _clean(self, sample: int) -> Exhibit:
        first = self.shots[0]
        said = dict.fromkeys(answer for shot in self.shots for answer in shot.answers(sample, None))
        wrong = [answer for answer in said if not answer[2]] or [("all models", first.label(sample), True)]
        return Exhibit([picture(first.pictures.clean[sample], f"{first.sample(sample)}, clean")], wrong)

    def _field(self, shot: Shot, eps: float, sample: int) -> Exhibit:
        answers, place = shot.answers(sample, eps), shot.place(eps)
        says = "; ".join(f"{who} says {name}" for who, name, _ in answers)
        alt = f"{shot.sample(sample)}, {self.group}, {shot.face.at(eps)}: {says}"
        adversarial = picture(shot.pictures.adversarial[place, sample], alt)
        return Exhibit([adversarial, picture(shot.difference(place, sample), "its difference")], answers)


def gallery(
    face: Face, results: Sequence[Result], summary: Sequence[Row], pictures: Mapping[str, Pictures], names: Names
) -> list[Block]:
    """A sheet for each pair and attack: samples down, models across; the other eps fold away.

    As many eps and samples are shown as fit into :data:`LIMIT`, so that the page stays small.
    """
    pictured = [
        result
        for result in results
        if isinstance(result.outcome, Outcome) and result.provenance.get("outcome") in pictures
    ]
    rows = grouped((row for row in summary if row.metric == face.headline), lambda row: names.group(row.cell))
    sheets = []
    for group, members in grouped(pictured, lambda result: names.group(result.cell)).items():
        ranked = sorted(members, key=lambda result: result.cell.view)
        unique = {result.provenance["outcome"]: result for result in ranked}
        shared = grouped(unique.items(), lambda item: id(pictures[item[0]]))
        shots = [Shot(face, [result for _, result in items], pictures[items[0][0]], names) for items in shared.values()]
        shown = shots[0].pictures.eps.tolist()
        eps = telling_x((row for row in rows.get(group, ()) if row.eps in (0, *shown)), face)
        sheets.append(Sheet(group, eps or shown[-1], shots))
    room = LIMIT if len(summary) <= MANY else LIMIT // 4
    fitting, bytes_of = dict[str, list[Block]](), dict[str, int]()
    for level in LEVELS:
        wanted = {sheet.group: sheet.blocks(*level) for sheet in sheets}
        sizes = {group: sum(len(fragment(block)) for block in blocks) for group, blocks in wanted.items()}
        if fitting and sum(sizes.values()) > room:
            break
        fitting, bytes_of = wanted, sizes
    blocks: list[Block] = []
    for group, sheet_blocks in fitting.items():
        room -= bytes_of[group]
        blocks += [Text("", group), *sheet_blocks] if room >= 0 else []
    more = " Those of more attacks did not fit into this page." if room < 0 else ""
    return [Text(NOTE + more), *blocks] if blocks else []


def _row_head(shot: Shot, sample: int) -> list[str]:
    return shot.sample(sample).split(", ", 1)


def picture(image: Tensor, alt: str) -> Picture:
    """A PNG, gray where the channels agree."""
    gray = len(image) != 3 or bool((image == image[:1]).all())
    shown = image[0] if gray else image.permute(1, 2, 0)
    file = io.BytesIO()
    Image.fromarray(shown.numpy()).save(file, format="PNG", optimize=True)
    return Picture(base64.b64encode(file.getvalue()).decode(), alt)
