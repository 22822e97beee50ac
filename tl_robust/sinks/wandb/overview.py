"""One W&B run a bench, for what no single cell shows: claims, curves of all strategies, lineage, report, weights.

Its id is the bench's, so a changed overview replaces the one before. It is offline-capable and may be moved: artifacts
are copied into the run's folder and named relative to the folder of runs, where `wandb sync` is run.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from tl_robust.errors import ResultsError
from tl_robust.files import scratch_folder
from tl_robust.results.faces import face_of
from tl_robust.results.names import MARKS, grouped, telling_x
from tl_robust.results.table import Row
from tl_robust.seeding import digest
from tl_robust.sinks.base import Views
from tl_robust.sinks.report.drawing import draw
from tl_robust.sinks.report.figures import figure
from tl_robust.sinks.wandb import limits
from tl_robust.sinks.wandb.runs import Content, Published, WandbSettings, publish_runs, resolve_mode
from tl_robust.sinks.wandb.tables import LINEAGE, Table, judged, paged, tables
from tl_robust.sinks.wandb.trial import group_of, headlines, trial_config, trial_id
from tl_robust.text import plain
from tl_robust.types import Face

LIMIT = 200_000_000  # bytes of weights: a view should not fill a disk or a quota
UNFIT = r"[^\w .,()=-]+"  # for the name of a file
UNSAFE = r"[^a-zA-Z0-9_.-]+"  # for the name of an artifact
FILES = (
    "report.html", "report.md", "curves.svg", "card.html", "card.json", "table.csv", "summary.csv", "config.yaml",
)  # fmt: skip
WITH_IMAGES = ("report.html",)
PAGES = {"report.html": "overview/report", "card.html": "overview/card"}  # shown as panels


def publish_overview(views: Views, settings: WandbSettings, pictures: Mapping[str, bytes]) -> Published:
    """Publish the bench's overview run; skip it where it is there unchanged.

    Args:
        views: What is shown. The run goes to ``wandb`` in its folder, where tables and report are written already.
            Weights are left out above 200 MB in all, which is said.
        settings: Project, entity and mode.
        pictures: PNG by name, shown with it under ``pictures/``.

    Returns:
        As :func:`tl_robust.sinks.wandb.runs.publish`: a view only, so what fails is in ``problems``, never raised.

    Raises:
        ConfigError: See :func:`tl_robust.sinks.wandb.runs.resolve_mode`.
    """
    mode, home = resolve_mode(settings), views.folder / "wandb"
    if mode == "disabled" or not views.results:
        return Published(mode, home)
    if settings.share == "numbers":
        views, pictures = replace(views, weights={}), {}
    bench, (files, notes) = views.results[0].cell.bench, _affordable(views.weights)
    try:
        overview = _Overview(views, pictures, files)
        content = overview.content(bench, settings)
        done = publish_runs([content], views.folder, mode)
    except Exception as error:  # noqa: BLE001 - a view must not stop the bench; the user is told
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        return Published(mode, home, problems=(*notes, f"overview of {bench}: not published ({reason})."))
    return replace(done, problems=(*notes, *overview.lost, *done.problems))


def _affordable(weights: Mapping[str, Path]) -> tuple[dict[str, Path], tuple[str, ...]]:
    """The weights that are published, and what is said of the others."""
    there = {name: path for name, path in weights.items() if path.is_file()}
    notes = [f"overview: its weights {name} are not at {weights[name]}." for name in weights if name not in there]
    total = sum(path.stat().st_size for path in there.values())
    if total > LIMIT:
        size, limit = total / 1e6, LIMIT / 1e6
        return {}, (*notes, f"overview: weights of {size:.0f} MB are not published, the limit is {limit:.0f} MB.")
    return there, tuple(notes)


def safe_name(name: str) -> str:
    """A name that W&B takes; where something had to go, a digest tells it from other names.

    >>> safe_name("digits"), safe_name("größe"), safe_name("größe") == safe_name("gr\u00f6sse")
    ('digits', 'gr-e-b0e6dcaa', False)
    """
    safe = re.sub(UNSAFE, "-", name)[:100]
    return safe if safe == name else f"{safe}-{digest(name)[:8]}"


@dataclass(frozen=True)
class _Overview:
    views: Views
    pictures: Mapping[str, bytes]
    weights: dict[str, Path]
    lost: list[str] = field(default_factory=list)

    def content(self, bench: str, settings: WandbSettings) -> Content:
        results, config = self.views.results, dict(self.views.settings)
        pages, sentences = paged(self.tables)
        self.lost.extend(sentences)
        texts = {path.name: path.read_bytes() for path in self.files(settings.share == "numbers")}
        for page in (name for name in PAGES if len(texts.get(name, b"")) > limits.PAGE_BYTES):
            size, most = len(texts[page]) / 1e6, limits.PAGE_BYTES / 1e6
            self.lost.append(
                f"overview: {page} has {size:.0f} MB, more than {most:.0f} MB, and is kept as a file alone."
            )
        trial = trial_id(settings)
        run: dict[str, Any] = {"id": trial or digest(["overview", bench])[:16]}
        run["project"] = settings.project
        run |= {"entity": settings.entity or None, "name": f"{bench}: overview"[: limits.LONGEST_NAME]}
        run["group"] = group_of(bench, settings)
        run |= {"job_type": "overview", "tags": ["overview"], "config": {"bench": bench, "bench_config": config}}
        run["config"] |= trial_config(settings)
        levels = Counter(str(result.verdict.level) for result in results)
        decisions = Counter(finding.decision for finding in self.views.findings)
        counts = {f"cells_{level}": levels[level] for level in MARKS}
        counts |= {f"claims_{decision}": count for decision, count in decisions.items()}

        def media(started: Any, home: Path, mode: str) -> dict[str, Any]:
            images = self.images()  # drawn only where they are logged
            place = home if mode == "offline" else None
            return _media(started, place, bench, pages, images, texts, self.weights)

        contents = texts | dict(self.pictures)
        hashes = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
        sizes = [[name, path.parent.name, path.stat().st_size] for name, path in self.weights.items()]
        stamp = digest([[table.rows for table in pages.values()], hashes, sizes])
        row = {"overview/cells": len(results), **headlines(self.views.summary, self.views.faces)}
        return Content(
            f"overview of {bench}", run, [row], counts, media, stamp, sweep=settings.sweep * bool(trial_id(settings))
        )

    def files(self, without_images: bool) -> list[Path]:
        names = [name for name in FILES if not (without_images and name in WITH_IMAGES)]
        return [path for name in names if (path := self.views.folder / name).is_file()]

    @cached_property
    def tables(self) -> dict[str, Table]:
        return tables(self.views)

    def images(self) -> dict[str, bytes]:
        first = dict(list(self.pictures.items())[: limits.PICTURES])
        if left := len(self.pictures) - len(first):
            most = limits.PICTURES
            self.lost.append(f"overview: {left} of {len(self.pictures)} pictures are not shown, the limit is {most}.")
        own, faces = {f"pictures/{name}": content for name, content in first.items()}, self.views.faces
        try:
            with scratch_folder("tl_robust_wandb_") as scratch:
                figure(self.views.summary, path := scratch / "curves.png", faces=faces)
                curves = path.read_bytes()
            matrix = {}
            if LINEAGE in self.tables:
                matrix["overview/lineage_matrix"] = _matrix(self.tables[LINEAGE], judged(self.views), faces)
        except ResultsError as error:  # the run is worth more than its charts
            self.lost.append(f"overview: published without its charts: {error}")
            return own
        return {"overview/curves": curves, **matrix, **own}


def _matrix(lineage: Table, judged: Sequence[Row], faces: Mapping[str, Face]) -> bytes:
    """The lineage matrix where the cells differ most, as a PNG."""
    import altair as alt

    face = face_of(judged[0].cell, faces)
    x, lanes = telling_x(judged, face), []
    for target, rows in grouped((row for row in lineage.rows if row[1] == x), lambda row: row[0]).items():
        cells = [
            {"crafted on": row[2], "judged on": victim, "share": value}
            for row in rows
            for victim, value in zip(lineage.columns[3:], row[3:], strict=True)
            if value is not None
        ]
        title = alt.Title(target, subtitle=f"{face.word} at {face.at(x or 0.0)}")
        base = alt.Chart(alt.InlineData(values=cells)).encode(
            x=alt.X("judged on:N", sort=None, axis=alt.Axis(labelAngle=-30, labelLimit=300)),
            y=alt.Y("crafted on:N", sort=None, axis=alt.Axis(labelLimit=300)),
        )
        color = alt.Color("share:Q", scale=alt.Scale(domain=[0, 1], scheme="cividis"), legend=None)
        ink = alt.when("datum.share < 0.6").then(alt.value("white")).otherwise(alt.value("black"))
        text = base.mark_text(fontSize=13).encode(text=alt.Text("share:Q", format=".1%"), color=ink)
        lanes.append((base.mark_rect().encode(color=color) + text).properties(title=title, width=alt.Step(110)))
    chart = alt.vconcat(*lanes).resolve_scale(x="independent", y="independent").configure(background="white")
    return draw(chart.to_dict(), "png", scale=2)


def _media(
    run: Any,
    home: Path | None,
    bench: str,
    tables: Mapping[str, Table],
    images: Mapping[str, bytes],
    texts: Mapping[str, bytes],
    weights: Mapping[str, Path],
) -> dict[str, Any]:
    """Log the artifacts, and give tables, images and report as what is logged in one row.

    Args:
        run: The run.
        home: Folder that the files of artifacts are named relative to; None keeps absolute paths.
        bench: Its name, for those of the artifacts.
        tables: By key.
        images: PNG by key.
        texts: Files by name.
        weights: Files by name.
    """
    import wandb

    name = safe_name(bench)
    logged: dict[str, Any] = {key: wandb.Table(list(table.columns), table.rows) for key, table in tables.items()}
    artifacts = {kind: wandb.Artifact(f"{name}-{kind}", kind) for kind in ("tables", "report", "weights")}
    with scratch_folder("tl_robust_wandb_") as scratch:
        for key, table in logged.items():
            artifacts["tables"].add(table, key.rpartition("/")[2])
        for file, content in texts.items():
            (path := scratch / file).write_bytes(content)  # as hashed: another process may write a new report
            artifacts["report"].add_file(str(path), file)
        for file, path in weights.items():
            entry_name = f"{re.sub(UNFIT, '-', file)}{path.suffix}"
            taken = entry_name in artifacts["weights"].manifest.entries
            artifacts["weights"].add_file(str(path), f"{digest(file)[:8]}-{entry_name}" if taken else entry_name)
        for artifact in artifacts.values():
            for entry in artifact.manifest.entries.values():
                if home and entry.local_path:
                    entry.local_path = os.path.relpath(entry.local_path, home.absolute())
            if artifact.manifest.entries:
                run.log_artifact(artifact)
        for key, table in logged.items():  # else it would log each table a second time, with absolute paths
            table.bind_to_run(run, key, 0)
        for key, content in images.items():
            (path := scratch / f"{digest(key)[:16]}.png").write_bytes(content)
            caption = plain(key.partition("/")[2])
            safe = re.sub(r"[^a-zA-Z0-9/]+", "_", key)  # as W&B can search and sort it
            cut = safe[: limits.LONGEST_KEY]
            key = f"{cut}_{digest(key)[:8]}" if safe in logged or cut != safe else safe
            logged[key] = wandb.Image(str(path), caption=caption)
            logged[key].bind_to_run(run, key, 0)  # copies it into the run's folder before it goes
    for page in (name for name in PAGES if name in texts and len(texts[name]) <= limits.PAGE_BYTES):
        logged[PAGES[page]] = wandb.Html(texts[page].decode(), inject=False)
    return logged
