"""What a user sees: progress with time left in a terminal, plain lines elsewhere, one-screen tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Self, get_args

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text
from typing_extensions import override

from tl_robust.claims import Decision, Finding
from tl_robust.engines.observer import Observer
from tl_robust.results.names import Names
from tl_robust.results.table import Row
from tl_robust.text import effect_text, eps_text, p_text, plain
from tl_robust.types import Cell

ROWS = 40
JUDGED = [kind for kind in get_args(Decision) if kind != "not judged"]


class Lines(Observer):
    """Plain progress: one line an item.

    Args:
        console: Where to print.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self._expected: dict[str, int] = {}
        self._done: dict[str, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
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


class Bars(Lines):
    """Progress bars with time left, one a stage."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._progress = Progress(
            TextColumn("{task.fields[stage]:12}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[done]}"),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.description}", markup=False),
            console=console,
            transient=True,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    @override
    def expect(self, stage: str, items: int, work: int) -> None:
        super().expect(stage, items, work)
        if items:
            self._tasks[stage] = self._progress.add_task(
                "", total=work, stage=f"{stage}s", done=f"0/{items}", start=False
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


def observer(console: Console, plain: bool) -> Lines:
    """Bars in a terminal, lines elsewhere or with ``plain``."""
    return Lines(console) if plain or not console.is_terminal else Bars(console)


def claim_line(findings: Sequence[Finding]) -> str:
    """Decisions over all pairs in one line an attack and number of labels; only claims that could be judged."""
    lines = []
    for attack, labels in dict.fromkeys((one.attack, one.labels) for one in findings if not one.pair):
        found = [one for one in findings if (one.attack, one.labels, one.pair) == (attack, labels, "")]
        kinds = [(kind, [one.claim for one in found if one.decision == kind]) for kind in JUDGED]
        parts = [f"{kind} {', '.join(names)}" for kind, names in kinds if names]
        if parts or not labels:
            text = "; ".join(parts) or "none could be judged"
            lines.append(f"Claims under {', '.join(filter(None, [attack, labels]))}: {text}.")
    return "\n".join(lines)


def claim_tables(findings: Sequence[Finding]) -> Iterator[Table]:
    """Decisions with effect and interval, a table an attack."""
    for attack in dict.fromkeys(one.attack for one in findings):
        yield _claim_table(f"Claims under {attack}", [one for one in findings if one.attack == attack])


def _claim_table(title: str, findings: Sequence[Finding]) -> Table:
    pairs, counts = (any(getattr(one, name) for one in findings) for name in ("pair", "labels"))
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for head in ["", *["pair"] * pairs, *["labels"] * counts, "decision", "effect [95 %]", "p"]:
        table.add_column(head, no_wrap=head != "pair")
    table.add_column("what was claimed, and why so", ratio=1)
    styles = {"supported": "green", "refuted": "red", "not judged": "dim"}
    for one in findings:
        effect = effect_text(one.effect, one.low, one.high, one.unit)
        place = [*[one.pair or "all"] * pairs, *[one.labels or "over all"] * counts]
        decision = Text(one.decision, styles.get(one.decision, ""))
        table.add_row(one.claim, *place, decision, effect, p_text(one.p), f"{one.says}\n  {one.reason}")
    return table


def accuracy_tables(summary: Sequence[Row]) -> Iterator[Table | str]:
    """Accuracy under attack over eps: a table for each pair and attack, a row a curve; one screen in all."""
    rows = [row for row in summary if row.metric == "robust_accuracy" and row.eps is not None]
    names = Names.of(row.cell for row in rows)
    groups: dict[str, dict[Cell, dict[float | None, Row]]] = {}
    for row in rows:
        cell = row.cell
        heading = f"{names.group(cell)}: accuracy under attack in %"
        groups.setdefault(heading, {}).setdefault(cell, {})[row.eps] = row
    printed = 0
    for heading, curves in groups.items():
        if printed + len(curves) > ROWS and printed:
            yield f"{len(groups)} tables in all: see summary.csv"
            return
        grid = [eps for eps in next(iter(curves.values())) if eps is not None]
        shown = grid if len(grid) <= 9 else grid[:: -(-len(grid) // 9)]
        table = Table(title=heading, title_justify="left", title_style="bold", box=None, pad_edge=False)
        table.add_column("view", width=5)
        table.add_column("strategy", width=28, no_wrap=True)
        for eps in shown:
            table.add_column(eps_text(eps), justify="right", width=6, no_wrap=True)
        for cell, curve in sorted(curves.items(), key=lambda item: item[0].view):
            table.add_row(cell.view, names.strategy(cell), *(f"{100 * curve[eps].value:.1f}" for eps in shown))
        printed += len(curves)
        yield table
