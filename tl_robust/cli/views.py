"""The end of a run: all that is known of the bench goes to the sinks, and what a person wants first to the terminal."""

from __future__ import annotations

import time
from dataclasses import asdict

from rich.console import Console

from tl_robust import claims
from tl_robust.bench.runner import Finished
from tl_robust.cli.card_tables import card_tables
from tl_robust.cli.terminal import accuracy_tables, claim_line
from tl_robust.config import Config
from tl_robust.config.schema import BenchFile
from tl_robust.data.left_out import left_out
from tl_robust.errors import BenchFailedError
from tl_robust.nodes.examination import EXAMINATIONS
from tl_robust.nodes.models import WEIGHTS
from tl_robust.nodes.provenance import commit, versions
from tl_robust.nodes.store import Store
from tl_robust.nodes.training import Training
from tl_robust.results import answer, earlier, table
from tl_robust.sinks.base import Problem, Views, files, sentences_of_sinks


def write(config: Config, finished: Finished, console: Console, publish: bool) -> None:
    """Write all views of the results and print the one-screen tables.

    Args:
        config: The bench.
        finished: Its results.
        console: Where to print.
        publish: See :class:`Views`.

    Raises:
        BenchFailedError: Some cells have no result, or a sink failed.
    """
    views = views_of(config, finished, publish)
    if moved := earlier.keep(views.folder, config.text, files(), asdict(BenchFile())):
        console.print(moved, style="yellow", soft_wrap=True)
    places, broken = list[str](), list[str]()
    for sentence in sentences_of_sinks(views, broken):
        if isinstance(sentence, Problem):
            console.print(f"warning: {sentence}", style="yellow", soft_wrap=True)
        else:
            places.append(sentence)
    if total := sum(finished.seconds.values()):
        checks = finished.seconds.get(EXAMINATIONS.folder, 0.0)
        console.print(f"Trust checks: {checks:.0f} s, {checks / total:.1%} of all computing.", soft_wrap=True)
    for item in (*accuracy_tables(views.summary, views.faces), *card_tables(views.cards)):
        console.print(item)
    console.print(claim_line(views.findings), soft_wrap=True)
    for line in answer.lines(views.summary, views.findings, len(config.bench.axes.seed), views.faces):
        console.print(line, soft_wrap=True, markup=False)
    for place in places:
        console.print(place, soft_wrap=True)
    if finished.failures or finished.missing:
        for failure in finished.failures:
            console.print(f"failed: {failure.node}: {failure.cause}", style="red", soft_wrap=True)
        raise BenchFailedError(
            f"{len(finished.missing)} cells have no result; the first cause of each is in "
            f"{views.folder / 'failures.json'}. The others are done and kept; the same command tries again."
        )
    if broken:
        raise BenchFailedError(f"these sinks failed: {', '.join(broken)}. The results and all other views are whole.")


def views_of(config: Config, finished: Finished, publish: bool) -> Views:
    """Everything that sinks may show of a bench that ran."""
    store = Store(config.results / "store")
    return Views(
        folder=config.results / config.bench.name,
        bench=config.bench.name,
        results=finished.results,
        summary=table.summary(finished.results),
        rows=[row for result in finished.results for row in table.rows(result)],
        findings=claims.decide(finished.results),
        failures=[asdict(failure) for failure in finished.failures],
        pictures=finished.pictures,
        seconds=finished.seconds,
        notes=[f"Left out: {sentence}" for sentence in left_out(config.plan.sides)],
        when=_date(config, store),
        text=config.text,
        settings=config.settings,
        weights={
            f"{model}, {model.network}": store.file(WEIGHTS, model.key)
            for model in config.plan.trainings
            if isinstance(model, Training)
        },
        program=f"{commit()} {versions()['tl_robust']}",
        publish=publish,
    )


def _date(config: Config, store: Store) -> str:
    """The day on which the last of the shown attacks was computed; a report that is made again has the same."""
    addresses = {address.key: address for planned in config.plan.cells for address in planned.play.outcome}
    paths = [store.file(address.kind, address.key) for address in addresses.values()]
    times = [path.stat().st_mtime for path in paths if path.is_file()]
    return time.strftime("%Y-%m-%d", time.localtime(max(times))) if times else ""
