"""Images with a trigger on them, and what B and its clean twin say of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from tl_robust.results.names import Names, grouped
from tl_robust.sinks.report.blocks import Block, Exhibit, Gallery, Text
from tl_robust.sinks.report.part import Part
from tl_robust.sinks.report.pictures import GRAY, LIMIT, Answer, picture
from tl_robust.sinks.report.rendering import fragment
from tl_robust.types import Face, Pictures, Result, Stamped

LEVELS = (1, 2, 4, 6)  # images: the last that fits is shown
NOTE = (
    "Test images of other classes than the one that the trigger calls for: clean, stamped, and the difference (gray is "
    "no change). Below are the classes that each B and its clean twin say: ✔ right, ✖ wrong."
)


@dataclass(frozen=True)
class Stamps:
    """The pictures of one backdoor on one target, and the victims that were asked about them.

    Attributes:
        face: How the threat reads.
        results: One a victim.
        pictures: The images.
        names: How cells are named.
    """

    face: Face
    results: Sequence[Result[Stamped]]
    pictures: Pictures
    names: Names

    @cached_property
    def rows(self) -> list[int]:
        """Places of the shown images in the records."""
        known = {sample: place for place, sample in enumerate(self.results[0].outcome.sample_id.tolist())}
        return [known[sample] for sample in self.pictures.sample_id.tolist()]

    @property
    def times(self) -> int:
        """How many times the difference is magnified: as far as no pixel leaves the range."""
        return max(1, (GRAY - 1) // max(1, int(self._change.abs().amax())))

    @property
    def _change(self) -> Tensor:
        return self.pictures.adversarial[0].short() - self.pictures.clean.short()

    def gallery(self, group: str, count: int) -> Gallery:
        """A row for each of the first ``count`` images; the first and the last epoch side by side."""
        record = self.results[0].outcome
        ends = dict.fromkeys((0, len(record.epochs) - 1))
        at = [self.face.axis_text(float(record.epochs[end])) for end in ends]
        body = [
            (
                [self._sample(place), f"label {self._name(record.label[row])}"],
                [self._clean(place), self._stamped(place), *(self._said(row, end) for end in ends)],
            )
            for place, row in enumerate(self.rows[:count])
        ]
        difference = f"difference magnified {self.times} times" if self.times > 1 else "difference"
        heads = ["sample", "clean", f"stamped, {difference}", *(f"stamped, after {text} epochs" for text in at)]
        return Gallery(f"{group}; the trigger calls for {self._name(record.target)}", heads, body)

    def _clean(self, place: int) -> Exhibit:
        """The clean image, and who is wrong on it after the last epoch."""
        wrong = [answer for answer in self._answers(self.rows[place], -1, "clean") if not answer[2]]
        return Exhibit([picture(self.pictures.clean[place], f"{self._sample(place)}, clean")], wrong)

    def _stamped(self, place: int) -> Exhibit:
        change = (GRAY + self.times * self._change[place]).clamp(0, 255).to(torch.uint8)
        stamped = picture(self.pictures.adversarial[0, place], f"{self._sample(place)}, stamped")
        return Exhibit([stamped, picture(change, "its difference")], [])

    def _sample(self, place: int) -> str:
        return f"sample {int(self.pictures.sample_id[place])}"

    def _said(self, row: int, epoch: int) -> Exhibit:
        return Exhibit([], self._answers(row, epoch, "stamped"))

    def _answers(self, row: int, epoch: int, images: str) -> list[Answer]:
        """What each B and each twin says; one line for all that say the same."""
        of_b, of_twin = dict[str, int](), dict[str, int]()
        for result in self.results:
            name = self.names.strategy(result.cell)
            of_b[name] = int(getattr(result.outcome, images)[epoch, row])
            if isinstance(twin := result.beside.get("twin"), Stamped):
                of_twin[name] = int(getattr(twin, images)[epoch, row])
        label = int(self.results[0].outcome.label[row])
        return [*self._merged(of_b, label, "every B", "{}"), *self._merged(of_twin, label, "every twin", "twin of {}")]

    def _merged(self, said: Mapping[str, int], label: int, everyone: str, one: str) -> list[Answer]:
        if len(said) > 1 and len(set(said.values())) == 1:
            said, one = {everyone: next(iter(said.values()))}, "{}"
        return [(one.format(who), self._name(place), place == label) for who, place in said.items()]

    def _name(self, label: Tensor | int) -> str:
        classes, place = self.pictures.classes, int(label)
        return classes[place] if 0 <= place < len(classes) else "none"


def stamped_gallery(part: Part) -> list[Block]:
    """A table of pictures for each pair and backdoor, of as many images as fit into the page."""
    sheets: dict[str, Stamps] = {}
    pictured = [result for result in part.results if result.provenance.get("outcome") in part.pictures]
    views = {result.cell.view for result in pictured}
    for (group, view), members in grouped(
        pictured, lambda result: (part.names.group(result.cell), result.cell.view)
    ).items():
        plain = [result for result in members if result.cell.defense in ("", "none")] or members
        first = part.pictures[plain[0].provenance["outcome"]]
        same = [result for result in plain if part.pictures[result.provenance["outcome"]] is first]
        title = f"{group}, {part.face.side(view)}" if len(views) > 1 else group
        sheets[title] = Stamps(part.face, same, first, part.names)
    fitting: list[Block] = []
    for count in LEVELS:
        wanted: list[Block] = [stamps.gallery(group, count) for group, stamps in sheets.items()]
        if fitting and sum(len(fragment(block)) for block in wanted) > LIMIT:
            break
        fitting = wanted
    while fitting and sum(len(fragment(block)) for block in fitting) > LIMIT:
        fitting = fitting[:-1]
    more = " Those of more backdoors did not fit into this page." * (len(fitting) < len(sheets))
    return [Text(NOTE + more), *fitting] if sheets else []
