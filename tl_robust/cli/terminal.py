"""What a user sees: progress with time left in a terminal, plain lines elsewhere, one-screen tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Self, get_args

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text
from typing_extensions import override

from tl_robust.claims import Decision, Finding
from tl_robust.engines.observer import Observer
from tl_robust.metrics import METRICS
from tl_robust.nodes.kind import KINDS
from tl_robust.results.answer import Numbers, beside, headline_rows
from tl_robust.results.faces import FACES, by_threat, face_of
from tl_robust.results.names import Names, grouped, method, number
from tl_robust.results.names import unit as unit_of
from tl_robust.results.table import Row
from tl_robust.text import effect_text, p_text, plain
from tl_robust.types import Cell, Face

ROWS = 40
SLOWEST = 1800.0  # seconds of an epoch up to which time left is known: adversarial training may take minutes for one
JUDGED = [kind for kind in get_args(Decision) if kind != "not judged"]


class Lines(Observer):
    """Progress as plain lines, one for each item that is done.

    Args:
        console: Where to print.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self._expected: dict[str, int] = {}
        self._done: dict[str, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    @override
    def expect(self, stage: str, items: int, work: int) -> None:
        self._expected[stage], self._done[stage] = items, 0

    @override
    def end(self, stage: str, label: str, seconds: float, note: str) -> None:
        self._done[stage] += 1
        place = f"{self._done[stage]}/{self._expected[stage]}"
        self.console.print(f"{stage} {place}  {label}  {seconds:.1f} s{'  ' + note if note else ''}", soft_wrap=True)

    @override
    def drop(self, stage: str, work: int) -> None:
        self._expected[stage] -= 1

    @override
    def warn(self, message: str) -> None:
        self.console.print(f"warning: {message}", style="yellow", soft_wrap=True)


class _Work(ProgressColumn):
    """How much of a stage's work is done, where it has a unit."""

    @override
    def render(self, task: Task) -> Text:
        unit = task.fields["unit"]
        return Text(f"{task.completed:.0f}/{task.total or 0:.0f} {unit}" if unit else "", "dim")


class Bars(Lines):
    """Progress bars with the work done and time left, one a stage."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._progress = Progress(
            TextColumn("{task.fields[stage]:12}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[done]}"),
            _Work(),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.description}", markup=False),
            console=console,
            transient=True,
            speed_estimate_period=SLOWEST,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._progress.stop()

    @override
    def expect(self, stage: str, items: int, work: int) -> None:
        super().expect(stage, items, work)
        if items:
            self._tasks[stage] = self._progress.add_task(
                "", total=work, stage=f"{stage}s", done=f"0/{items}", unit=_unit(stage), start=False
            )

    @override
    def begin(self, stage: str, label: str) -> None:
        self._progress.start_task(self._tasks[stage])
        self._progress.update(self._tasks[stage], description=plain(label))

    @override
    def advance(self, stage: str, work: int) -> None:
        self._progress.advance(self._tasks[stage], work)

    @override
    def end(self, stage: str, label: str, seconds: float, note: str) -> None:
        self._done[stage] += 1
        self._show(stage)

    @override
    def drop(self, stage: str, work: int) -> None:
        super().drop(stage, work)
        task = self._tasks[stage]
        total = next(item.total for item in self._progress.tasks if item.id == task) or 0
        self._progress.update(task, total=total - work)
        self._show(stage)

    def _show(self, stage: str) -> None:
        done = f"{self._done[stage]}/{self._expected[stage]}"
        self._progress.update(self._tasks[stage], done=done, description="")


def _unit(stage: str) -> str:
    """What the work of a stage is counted in."""
    return next((kind.unit for kind in KINDS.values() if kind.title == stage), "")


def observer(console: Console, plain: bool) -> Lines:
    """Bars in a terminal, lines elsewhere or with ``plain``."""
    return Lines(console) if plain or not console.is_terminal else Bars(console)


def claim_line(findings: Sequence[Finding]) -> str:
    """Decisions over all pairs in one line an attack and number of labels; only claims that could be judged."""
    lines = []
    over_all_pairs = [finding for finding in findings if not finding.pair]
    places = grouped(over_all_pairs, lambda finding: (finding.attack, finding.labels))
    for (attack, labels), members in places.items():
        kinds = [(kind, [finding.claim for finding in members if finding.decision == kind]) for kind in JUDGED]
        decisions = [f"{kind} {', '.join(claims)}" for kind, claims in kinds if claims]
        if decisions or not labels:
            text = "; ".join(decisions) or "none could be judged"
            lines.append(f"Claims under {', '.join(filter(None, [attack, labels]))}: {text}.")
    return "\n".join(lines)


def claim_tables(findings: Sequence[Finding]) -> Iterator[Table]:
    """Decisions with effect and interval, a table an attack."""
    for attack, members in grouped(findings, lambda finding: finding.attack).items():
        yield _claim_table(f"Claims under {attack}", members)


def _claim_table(title: str, findings: Sequence[Finding]) -> Table:
    pairs, counts = (any(getattr(finding, name) for finding in findings) for name in ("pair", "labels"))
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for head in ["", *["pair"] * pairs, *["labels"] * counts, "decision", "effect [95 %]", "p"]:
        table.add_column(head, no_wrap=head != "pair")
    table.add_column("what was claimed, and why so", ratio=1)
    styles = {"supported": "green", "refuted": "red", "not judged": "dim"}
    for finding in findings:
        effect = effect_text(finding.effect, finding.low, finding.high, finding.unit)
        place = [*[finding.pair or "all"] * pairs, *[finding.labels or "over all"] * counts]
        decision = Text(finding.decision, styles.get(finding.decision, ""))
        words = f"{finding.says}\n  {finding.reason}"
        table.add_row(finding.claim, *place, decision, effect, p_text(finding.p), words)
    return table


def accuracy_tables(summary: Sequence[Row], faces: Mapping[str, Face] = FACES) -> Iterator[Table | str]:
    """The headline metric along its axis: a table for each pair and attack, a row a curve; one screen in all.

    Below each curve stand those that are never left out beside it.
    """
    every = headline_rows(summary, faces)
    names = Names.of(row.cell for row in every)
    numbers = {(row.cell, row.eps, row.metric): row for row in summary}
    alone = grouped((row for row in every if face_of(row.cell, faces).ranked), lambda row: (names.pair(row.cell),
                    row.cell.attack, row.cell.view))  # fmt: skip
    at_one_place = [row for members in alone.values() if len({row.eps for row in members}) == 1 for row in members]
    rows = [row for row in every if row not in at_one_place]
    gathered = grouped(at_one_place, lambda row: (row.cell.threat, names.pair(row.cell), row.cell.view, row.eps))
    for members in gathered.values():
        yield _gathered(face_of(members[0].cell, faces), members, numbers, names)
    groups: dict[str, tuple[Face, dict[Cell, list[Row]]]] = {}
    for face, members in by_threat(rows, faces):
        measure = face.title[:1].lower() + face.title[1:]
        for row in members:
            heading = f"{names.group(row.cell)}: {measure}{_in_percent(face)}"
            groups.setdefault(heading, (face, {}))[1].setdefault(row.cell, []).append(row)
    printed = 0
    for heading, (face, curves) in groups.items():
        lines = [line for cell in sorted(curves, key=lambda cell: cell.view)
                 for line in _lines(face, curves[cell], numbers, names)]  # fmt: skip
        if printed + len(lines) > ROWS and printed:
            yield f"{len(groups)} tables in all: see summary.csv"
            return
        grid = [row.eps for row in next(iter(curves.values())) if row.eps is not None]
        columns = grid if len(grid) <= 9 else grid[:: -(-len(grid) // 9)]
        if face.told == "last" and grid[-1] not in columns:
            columns[-1] = grid[-1]
        table = Table(title=heading, title_justify="left", title_style="bold", box=None, pad_edge=False)
        table.add_column("view", width=max(5, *(len(cell.view) for cell in curves)))
        table.add_column(f"strategy, at {face.place}" if face.place else "strategy", width=28, no_wrap=True)
        for x in columns:
            table.add_column(face.axis_text(x), justify="right", width=6, no_wrap=True)
        for view, name, curve in lines:
            values = [number(curve[x].value, unit_of(curve[x].metric)) if x in curve else "-" for x in columns]
            table.add_row(view, name, *values, style="" if view else "dim")
        printed += len(lines)
        yield table


def _in_percent(face: Face) -> str:
    return " in %" * (METRICS[face.headline].unit == "share")


def _gathered(face: Face, rows: Sequence[Row], numbers: Numbers, names: Names) -> Table:
    """All attacks at the one place of their axis, the one that tells most first; what is never left out in columns."""
    words = list(dict.fromkeys(word for row in rows for word, _ in beside(face, row, numbers)))
    first = rows[0]
    where = f"{names.pair(first.cell)}, {face.side(first.cell.view)}, {face.at(first.eps or 0.0)}"
    heading = f"{where}: {face.word}{_in_percent(face)}"
    table = Table(title=heading, title_justify="left", title_style="bold", box=None, pad_edge=False)
    longest = max(*(len(method(row.cell)) for row in rows), *(len(names.strategy(row.cell)) + 2 for row in rows))
    table.add_column("strategy", width=min(max(28, longest), 44))  # a longer one is wrapped
    for word in [face.word, *words]:
        table.add_column(word, justify="right", width=max(8, len(word)), no_wrap=True)
    attacks = grouped(sorted(rows, key=lambda row: -row.value), lambda row: method(row.cell))
    left = ROWS
    for place, (attack, members) in enumerate(attacks.items()):
        left -= 1 + len(members)
        if left < 0 and place:
            table.add_row(Text(f"{len(attacks) - place} more in summary.csv", "dim"))
            break
        table.add_row(Text(attack, "bold"))
        for row in members:
            others = dict(beside(face, row, numbers))
            texts = [number(one.value, unit_of(one.metric)) if one else "-" for one in [row, *map(others.get, words)]]
            table.add_row(f"  {names.strategy(row.cell)}", *texts)
    return table


def _lines(
    face: Face, curve: Sequence[Row], numbers: Numbers, names: Names
) -> Iterator[tuple[str, str, dict[float | None, Row]]]:
    """View, name and values of a curve, and of those that stand below it."""
    cell = curve[0].cell
    yield cell.view, names.strategy(cell), {row.eps: row for row in curve}
    others = [item for row in curve for item in beside(face, row, numbers)]
    for words, members in grouped(others, lambda item: item[0]).items():
        yield "", f"  {words}", {row.eps: row for _, row in members}
