"""What a user sees: progress with time left in a terminal, plain lines elsewhere, one-screen tables."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from tl_robust.bench.observer import Stage
from tl_robust.sinks.table import Row

ROWS = 40
STAGES: dict[Stage, str] = {"training": "trainings", "attack": "attacks"}


class Lines:
    """Plain progress: one line an item.

    Args:
        console: Where to print.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self._expected: dict[Stage, int] = {}
        self._done: dict[Stage, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def expect(self, stage: Stage, items: int, work: int) -> None:
        """See :class:`Observer`."""
        self._expected[stage], self._done[stage] = items, 0

    def begin(self, stage: Stage, label: str) -> None:
        """See :class:`Observer`."""

    def advance(self, stage: Stage, work: int) -> None:
        """See :class:`Observer`."""

    def end(self, stage: Stage, label: str, seconds: float, note: str) -> None:
        """See :class:`Observer`."""
        self._done[stage] += 1
        place = f"{self._done[stage]}/{self._expected[stage]}"
        self.console.print(f"{stage} {place}  {label}  {seconds:.1f} s{'  ' + note if note else ''}", soft_wrap=True)

    def drop(self, stage: Stage, work: int) -> None:
        """See :class:`Observer`."""
        self._expected[stage] -= 1

    def warn(self, message: str) -> None:
        """See :class:`Observer`."""
        self.console.print(f"warning: {message}", style="yellow", soft_wrap=True)


class Bars(Lines):
    """Progress bars with time left, one for trainings and one for attacks."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._progress = Progress(
            TextColumn("{task.fields[stage]:9}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[done]}"),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.description}"),
            console=console,
            transient=True,
        )
        self._tasks: dict[Stage, TaskID] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def expect(self, stage: Stage, items: int, work: int) -> None:
        """See :class:`Observer`."""
        super().expect(stage, items, work)
        if items:
            self._tasks[stage] = self._progress.add_task(
                "", total=work, stage=STAGES[stage], done=f"0/{items}", start=False
            )

    def begin(self, stage: Stage, label: str) -> None:
        """See :class:`Observer`."""
        self._progress.start_task(self._tasks[stage])
        self._progress.update(self._tasks[stage], description=label)

    def advance(self, stage: Stage, work: int) -> None:
        """See :class:`Observer`."""
        self._progress.advance(self._tasks[stage], work)

    def end(self, stage: Stage, label: str, seconds: float, note: str) -> None:
        """See :class:`Observer`."""
        self._done[stage] += 1
        self._show(stage)

    def drop(self, stage: Stage, work: int) -> None:
        """See :class:`Observer`."""
        super().drop(stage, work)
        task = self._tasks[stage]
        total = next(item.total for item in self._progress.tasks if item.id == task) or 0
        self._progress.update(task, total=total - work)
        self._show(stage)

    def _show(self, stage: Stage) -> None:
        done = f"{self._done[stage]}/{self._expected[stage]}"
        self._progress.update(self._tasks[stage], done=done, description="")


def observer(console: Console, plain: bool) -> Lines:
    """Bars in a terminal, lines elsewhere or with ``plain``."""
    return Lines(console) if plain or not console.is_terminal else Bars(console)


def eps_label(eps: float) -> str:
    """An eps as people write it: ``8/255`` where it is one."""
    level = eps * 255
    return f"{round(level)}/255" if level and abs(level - round(level)) < 1e-6 else f"{eps:.4g}"


def accuracy_table(summary: Sequence[Row]) -> Table:
    """Accuracy under attack over eps, a row for each line of the curves, at most one screen."""
    rows = [row for row in summary if row.metric == "robust_accuracy" and row.eps is not None]
    grid = sorted({row.eps for row in rows if row.eps is not None})
    shown = grid if len(grid) <= 9 else grid[:: -(-len(grid) // 9)]
    table = Table(title="Accuracy under attack in %, mean over seeds", title_justify="left", box=None, pad_edge=False)
    for name in ("pair", "attack", "view", "strategy"):
        table.add_column(name, no_wrap=True)
    for eps in shown:
        table.add_column(eps_label(eps), justify="right", no_wrap=True)
    lines: dict[tuple[str, str, str, str], dict[float, Row]] = {}
    for row in rows:
        cell = row.cell
        common = f" ({cell.common})" if cell.common else ""
        view: str = cell.view
        key = (f"{cell.source}-{cell.target}", f"{cell.attack} {cell.norm}", view, cell.strategy + common)
        if len({row.cell.network for row in rows}) > 1:
            key = (f"{key[0]} {cell.network}", *key[1:])
        lines.setdefault(key, {})[row.eps or 0.0] = row
    before: tuple[str, ...] = ("", "", "")
    for key, line in sorted(lines.items(), key=lambda item: item[0][:3])[:ROWS]:
        # a name is printed where it changes, so that the eye finds the groups
        head = [name if key[: place + 1] != before[: place + 1] else "" for place, name in enumerate(key[:3])]
        values = [f"{100 * line[eps].value:.1f}" if eps in line else "" for eps in shown]
        table.add_row(*head, key[3], *values)
        before = key[:3]
    if len(lines) > ROWS:
        table.caption = f"{len(lines) - ROWS} more rows in summary.csv"
    return table
