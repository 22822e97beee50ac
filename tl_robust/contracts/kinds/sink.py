"""What a sink promises: it writes the files that it declares and no others, and says where they are."""

from __future__ import annotations

import inspect
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from tl_robust import metrics
from tl_robust.contracts.contract import Contracts, Named, demand
from tl_robust.results import table
from tl_robust.results.leaderboard import Board
from tl_robust.sinks.base import SINKS, Sink, Views
from tl_robust.types import Cell, Outcome, Result, Verdict

EPS = torch.tensor([0, 4, 8], dtype=torch.float64) / 255


def cases(named: Named) -> Iterator[tuple[str, Sink]]:
    """The sink."""
    yield "", SINKS[named.name]


CONTRACTS = Contracts("sink", cases)


def _result(strategy: str, view: str, seed: int, defense: str = "none") -> Result[Any]:
    rights = [60 - 2 * seed, 44 + seed, 20 + 8 * (strategy == "scratch")]
    place = torch.arange(80)

    def classes(counts: Sequence[int]) -> torch.Tensor:
        return torch.stack([(place >= count).long() for count in counts])

    flags = torch.zeros(80, dtype=torch.bool)
    outcome = Outcome(
        place, torch.zeros(80, dtype=torch.int64), classes([70])[0], classes(rights)[0], classes([70, 20, 5]),
        classes(rights), EPS[:, None].float().expand(3, 80), EPS, flags, ~flags.expand(3, 80), ~flags,
    )  # fmt: skip
    cell = Cell("bench", "source", "target", "dtn", strategy, "", defense, "fgsm", "linf", view, seed, 100)
    beside = {"white": outcome, "plain": outcome} if defense != "none" else {"white": outcome}
    a = {"key": "a" * 8, "domain": "source", "by": "scratch", "parent": None}
    provenance = {"surrogate": a, "victim": {"key": "b" * 8, "domain": "target", "by": strategy, "parent": a}}
    key = cell.key("0" * 8, dict.fromkeys(beside, "1" * 8))
    return Result(key, cell, outcome, beside, metrics.curves(outcome, view, beside), Verdict(), provenance)


def results_of(defended: bool) -> list[Result[Any]]:
    """Cells of two strategies, views and seeds; with a defense beside none where it is asked."""
    return [
        _result(strategy, view, seed, defense)
        for strategy in ("scratch", "finetune")
        for view in ("white", "black")
        for seed in (0, 1)
        for defense in ("none", *["squeeze"] * defended)
    ]


@contextmanager
def views_of(results: Sequence[Result[Any]], **facts: Any) -> Iterator[Views]:
    """All that is known of made results, in a folder of their own."""
    with tempfile.TemporaryDirectory() as folder:
        rows = [row for result in results for row in table.rows(result)]
        summary = table.summary(results) if results else []
        settings = {"wandb": {"mode": "disabled"}}
        yield Views(Path(folder), "bench", results, summary, rows, settings=settings, when="a day", **facts)


def written(sink: Sink, views: Views) -> tuple[dict[str, bytes], list[str]]:
    """Files that the sink has written, and what it says, after those whose files it reads."""
    for name in sink.after:
        if name in SINKS and name != "wandb":
            list(SINKS[name].write(views))
    before = _files(views.folder)
    said = list(sink.write(views))
    after = _files(views.folder)
    return {name: content for name, content in after.items() if before.get(name) != content}, said


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@CONTRACTS
def says_what_it_writes_and_reads(sink: Sink) -> None:
    """It or its file has a docstring, and the sinks whose files it reads exist."""
    text = sink.write.__doc__ or getattr(inspect.getmodule(sink.write), "__doc__", "")
    demand(text, "a docstring", "none", "say what it writes")
    unknown = [name for name in sink.after if name not in SINKS]
    demand(not unknown, "after= with names of sinks", ", ".join(unknown), "name one of tl-robust list sink")
    paths = [name for name in sink.files if Path(name).is_absolute() or ".." in Path(name).parts]
    demand(not paths, "files inside the folder of the bench", ", ".join(paths), "give names without a folder")


@CONTRACTS
def writes_the_files_that_it_declares(sink: Sink) -> None:
    """Of a bench, of one with a defense and of files that were merged every declared file is written, and no other."""
    seen: set[str] = set()
    for results, facts in ((results_of(False), {}), (results_of(True), {}), ([], {"board": Board(())})):
        with views_of(results, **facts) as views:
            files, said = written(sink, views)
            more = [name for name in files if name not in sink.files]
            todo = "declare it: @sink(files=(...)), so that it is moved away with the others"
            demand(not more, "no file but those declared", ", ".join(more), todo)
            texts = all(isinstance(text, str) and text for text in said)
            demand(texts, "sentences for the terminal", repr(said)[:60], "yield texts")
            seen |= {name for name in sink.files if (views.folder / name).is_file()}
    lacking = [name for name in sink.files if name not in seen]
    demand(not lacking, f"the files {', '.join(sink.files)}", f"no {', '.join(lacking)}", "write it into views.folder")


@CONTRACTS
def writes_the_same_of_the_same_results(sink: Sink) -> None:
    """The same results give the same bytes, in another folder and a second time."""
    contents = []
    for _ in range(2):
        with views_of(results_of(False)) as views:
            written(sink, views)
            contents.append({name: path.read_bytes() for name in sink.files if (path := views.folder / name).is_file()})
    other = [name for name in contents[0] if contents[0][name] != contents[1].get(name)]
    demand(not other, "the same files again", ", ".join(other), "write no time, path or random name")


@CONTRACTS
def takes_a_bench_of_which_nothing_has_run(sink: Sink) -> None:
    """Without any result, and with one that failed, it raises nothing."""
    failure = {"node": "a training", "cause": "no luck", "trace": ""}
    with views_of([], failures=[failure]) as views:
        written(sink, views)


@CONTRACTS
def changes_no_result(sink: Sink) -> None:
    """The records stay as they were."""
    results = results_of(False)
    before = [{key: value.clone() for key, value in result.outcome.tensors().items()} for result in results]
    with views_of(results) as views:
        written(sink, views)
    kept = all(
        torch.equal(value, result.outcome.tensors()[key])
        for result, known in zip(results, before, strict=True)
        for key, value in known.items()
    )
    demand(kept, "the records to stay", "changed values", "change clones")
