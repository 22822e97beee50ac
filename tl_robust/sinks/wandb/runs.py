"""Weights & Biases: one run a cell, read back after its end. A view only: what fails is reported, never raised.

``wandb/published/<key>.json`` is written once a run was read back and found as logged; such a run is skipped.
"""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from tl_robust.files import write_atomically
from tl_robust.results.faces import FACES, face_of
from tl_robust.results.names import MARKS
from tl_robust.results.table import rows as table_rows
from tl_robust.seeding import digest
from tl_robust.sinks.wandb.keys import axis_key, places, side_key
from tl_robust.sinks.wandb.limits import LONGEST_NAME, LONGEST_TAG
from tl_robust.sinks.wandb.read import check
from tl_robust.sinks.wandb.session import WandbSettings, resolve_mode
from tl_robust.sinks.wandb.session import session as _session
from tl_robust.sinks.wandb.trial import group_of, trial_config
from tl_robust.types import Face, Outcome, Result

__all__ = ["Content", "Published", "WandbSettings", "check", "publish", "publish_runs", "resolve_mode"]

VERSION = 3  # of what is logged: another version publishes every run again
RECORD = "published/{}.json"
README = (
    b"Runs of Weights & Biases. View: `wandb leet .` Check and upload: `tl-robust sync ..`, or here, in this folder, "
    b"`wandb sync offline-run-*`. It may be copied: all files that the runs need are in it.\n"
)
FIGURES = ("", "_low", "_high", "_n")  # of a metric: its value, its interval and the samples it rests on


@dataclass(frozen=True)
class Content:
    """Everything that is logged to one run.

    Attributes:
        title: As messages name it.
        run: Arguments of ``wandb.init``.
        history: Rows, each logged in one call.
        summary: Values of the whole run.
        media: Gives what is logged beside the first row, from the run, the folder of runs and the mode.
        stamp: Changes when the media do.
        axis: What the curves run over, a key of every row; empty where the run has none.
        sections: What stands before the keys of the curves.
        sweep: The sweep of which this is the run of a trial; empty where it is not.
    """

    title: str
    run: Mapping[str, Any]
    history: Sequence[Mapping[str, float]]
    summary: Mapping[str, Any]
    media: Callable[[Any, Path, str], Mapping[str, Any]] | None = None
    stamp: object = None
    axis: str = ""
    sections: tuple[str, ...] = ()
    sweep: str = ""

    @property
    def key(self) -> str:
        """The run's id."""
        return str(self.run["id"])

    @property
    def digest(self) -> str:
        """SHA-256 of all of it."""
        return digest([VERSION, dict(self.run), list(self.history), dict(self.summary), self.stamp])


@dataclass(frozen=True)
class Published:
    """What a publish did.

    Attributes:
        mode: ``online``, ``offline`` or ``disabled``; offline also where an online server failed.
        folder: Folder of the runs.
        written: Runs that were written and read back.
        skipped: Runs that were there unchanged.
        problems: One sentence for each run that is not there as logged.
    """

    mode: str
    folder: Path
    written: int = 0
    skipped: int = 0
    problems: tuple[str, ...] = ()


def publish(
    results: Sequence[Result],
    config: Mapping[str, Any],
    folder: Path,
    settings: WandbSettings,
    tick: Callable[[Result], None] = lambda result: None,
    faces: Mapping[str, Face] = FACES,
) -> Published:
    """Publish one run a cell; skip those that are there unchanged.

    Args:
        results: Cells.
        config: The bench's configuration, kept in every run under ``bench_config``.
        folder: Results folder of the bench; runs go to its ``wandb``.
        settings: Project, entity and mode.
        tick: Called after each cell, for progress.
        faces: How each threat reads.

    Raises:
        ConfigError: See :func:`resolve_mode`.
        ResultsError: The folder cannot be written.
    """
    mode = resolve_mode(settings)
    if mode == "disabled":
        return Published(mode, folder / "wandb")
    by_key = {result.key: result for result in results}
    contents = [_content(result, config, settings, face_of(result.cell, faces)) for result in results]
    return publish_runs(contents, folder, mode, lambda content: tick(by_key[content.key]))


def publish_runs(
    contents: Sequence[Content], folder: Path, mode: str, tick: Callable[[Content], None] = lambda content: None
) -> Published:
    """Publish runs; skip those that are there unchanged.

    Args:
        contents: What is logged, one a run.
        folder: Results folder of the bench; runs go to its ``wandb``.
        mode: ``online`` or ``offline``.
        tick: Called after each run, for progress.

    Raises:
        ResultsError: The folder cannot be written.
    """
    home, problems, written = folder / "wandb", list[str](), 0
    pending, logged = list[Content](), list[tuple[Content, str, Path]]()
    write_atomically(home / "README.md", README)
    with FileLock(home / ".lock"):  # a second bench on this folder would remove runs that are still being written
        for content in contents:
            if _is_published(home, content, mode):
                tick(content)
            else:
                pending.append(content)
        skipped = len(contents) - len(pending)
        while pending:
            with _session() as start:
                while pending:
                    content = pending[0]
                    try:
                        logged.append((content, mode, _log(start, home, content, mode)))
                    except Exception as error:  # noqa: BLE001 - a view must not stop the bench; the user is told
                        reason = f"{type(error).__name__}: {error}".splitlines()[0]
                        problems.append(f"{content.title}: W&B {mode} failed ({reason}).")
                        if mode == "online":  # the run again, with a new service: this one still holds its id
                            mode = "offline"
                            break
                    tick(pending.pop(0))
        with ThreadPoolExecutor(os.cpu_count()) as pool:  # a program of W&B's reads each file
            # a file is complete for certain only when W&B's service has ended
            read_back = list(pool.map(lambda item: check(item[2], item[0].key, item[0].history), logged))
        for (content, how, file), problem in zip(logged, read_back, strict=True):
            (file.parent / "logs" / "debug-core.log").unlink(missing_ok=True)  # a link to what went with the service
            if problem:
                problems.append(f"{content.title}: its W&B run {problem}; publish again to replace it.")
            else:
                entry = {"mode": how, "bytes": file.stat().st_size, "file": "/".join(file.parts[-2:])}
                entry |= {"rows": len(content.history), "digest": content.digest}
                write_atomically(home / RECORD.format(content.key), json.dumps(entry).encode())
                written += 1
    return Published(mode, home, written, skipped, tuple(problems))


def _content(result: Result, config: Mapping[str, Any], settings: WandbSettings, face: Face) -> Content:
    """A cell's run; undefined values (NaN) are left out, since W&B would keep them as strings."""
    cell, verdict = result.cell, result.verdict
    history: dict[float, dict[str, float]] = {x: {face.axis: x} for x in result.outcome.x.tolist()}
    summary: dict[str, Any] = {}
    if isinstance(result.outcome, Outcome):
        summary["clean_accuracy"] = (result.outcome.clean_b == result.outcome.label).double().mean().item()
        summary["n"] = len(result.outcome.label)
    elif accuracy := result.curves.get(face.accuracy):
        place = int(accuracy.eps.argmax())
        summary |= {"clean_accuracy": accuracy.value[place].item(), "n": int(accuracy.n[place])}
    summary |= {"trust": verdict.level, "trust_rank": list(MARKS).index(verdict.level)}
    last = max(history, default=None)
    for row in table_rows(result):
        at, name = (summary, row.metric) if row.eps is None else (history[row.eps], f"{face.prefix}/{row.metric}")
        figures = dict(zip(FIGURES, (row.value, row.low, row.high, row.n), strict=True))
        at |= {f"{name}{end}": figure for end, figure in figures.items() if math.isfinite(figure)}
        if row.eps is not None and math.isfinite(row.value):
            summary[f"at/{axis_key(face, row.eps)}/{row.metric}"] = row.value
            if row.metric == face.headline:  # each view gets a panel of its own: panels cannot filter runs
                at[side_key(face, cell.view)] = row.value
        told = row.metric in (face.headline, *face.whole)
        if face.told == "last" and told and row.eps == last and math.isfinite(row.value):
            summary[row.metric] = row.value  # where the axis ends is known when it has run
    summary["trust_reasons"] = " ".join(verdict.reasons)
    run: dict[str, Any] = {"id": result.key, "project": settings.project, "entity": settings.entity or None}
    run |= {"name": str(cell)[:LONGEST_NAME], "group": group_of(cell.bench, settings)}
    run["job_type"] = cell.view[:LONGEST_TAG]
    run["tags"] = sorted({tag[:LONGEST_TAG] for tag in (cell.strategy, cell.view, cell.threat, verdict.level) if tag})
    parts: dict[str, Any] = {
        **cell.coordinates(),
        **places(cell),
        **_lineage(result.provenance),
        **trial_config(settings),
    }
    parts |= {"provenance": dict(result.provenance), "bench_config": dict(config)}
    run["config"] = json.loads(json.dumps(parts, default=str), parse_constant=str)
    sections = face.prefix, face.word
    return Content(str(cell), run, list(history.values()), summary, axis=face.axis, sections=sections)


def _lineage(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Keys, domains and strategies of A, B and B's parent, each under a name of its own to filter and group by."""
    victim = provenance.get("victim", {})
    models = {"surrogate": provenance.get("surrogate", {}), "victim": victim, "parent": victim.get("parent")}
    known = {role: model for role, model in models.items() if isinstance(model, Mapping)}
    return {
        f"{role}_{name}": model[name]
        for role, model in known.items()
        for name in ("key", "domain", "by")
        if name in model
    }


def _is_published(home: Path, content: Content, mode: str) -> bool:
    try:
        record = json.loads((home / RECORD.format(content.key)).read_bytes())
        same = record["digest"] == content.digest and record["mode"] in (mode, "online")
        return bool(same and (home / record["file"]).stat().st_size == record["bytes"])
    except (OSError, ValueError, TypeError, KeyError):
        return False


def _log(start: Callable[..., Any], home: Path, content: Content, mode: str) -> Path:
    """Replace a run; returns its ``.wandb`` file."""
    for stale in home.glob(f"*run-*-{content.key}*"):  # `wandb sync` would upload it as well
        shutil.rmtree(stale)
    with start(
        content.sweep, **content.run, dir=home.parent.absolute(), mode=mode
    ) as run:  # its server may stand elsewhere
        if content.axis:
            run.define_metric(content.axis, hidden=True, summary="none")
        for section in content.sections:
            run.define_metric(f"{section}/*", step_metric=content.axis, summary="none")  # its last value is no summary
        file = Path(run.settings.sync_file)
        os.environ["WANDB_DATA_DIR"] = str(file.parent)  # where it puts the files of artifacts
        media = content.media(run, home, mode) if content.media else {}
        for place, row in enumerate(content.history):
            run.log({**row, **(media if place == 0 else {})})
        run.summary.update(dict(content.summary))
        return file
