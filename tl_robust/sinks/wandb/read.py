"""Reads a W&B run back from its folder with W&B's own reader, and says what it lacks."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tl_robust.sinks.wandb.limits import Measures, measure


@dataclass(frozen=True)
class Needed:
    """A file that a run refers to.

    Attributes:
        path: Where it is.
        size: Bytes; None where the run does not say.
        md5: Of its content, in base64; empty where the run does not say.
    """

    path: Path
    size: int | None = None
    md5: str = ""

    @property
    def fault(self) -> str:
        """What is wrong with it; empty if nothing."""
        if not self.path.is_file():
            return f"lacks the file {self.path}"
        if self.size not in (None, self.path.stat().st_size):
            return f"has {self.path.stat().st_size} of {self.size} bytes of {self.path}"
        if self.md5 and base64.b64encode(hashlib.md5(self.path.read_bytes()).digest()).decode() != self.md5:
            return f"has another content in {self.path}"
        return ""


@dataclass(frozen=True)
class RunFile:
    """What a ``.wandb`` file holds.

    Attributes:
        ids: Run ids; one in a whole file.
        rows: History rows, without media and W&B's own fields.
        exits: Exit codes; one in the file of a run that ended.
        needed: Files beside it that it refers to.
        complaint: What the reader said.
        measures: What of it has a bound.
    """

    ids: frozenset[str]
    rows: tuple[Mapping[str, float], ...]
    exits: tuple[int, ...]
    needed: tuple[Needed, ...]
    complaint: str
    measures: Measures = field(default_factory=Measures)

    @property
    def ended(self) -> bool:
        """It was written to its end."""
        return len(self.exits) == 1

    @property
    def fault(self) -> str:
        """What an upload of it would lack; empty if nothing."""
        if not self.ended:
            return f"has no exit record after {len(self.rows)} rows"
        return next((needed.fault for needed in self.needed if needed.fault), "")


def read(file: Path) -> RunFile:
    """Read a run.

    Args:
        file: ``<folder of runs>/<folder of the run>/run-<id>.wandb``. Paths of artifacts in it are relative to the
            folder of runs, so that it may be moved.
    """
    from wandb.util import get_core_path

    command = [get_core_path(), "leet", "inspect", "-json", "-no-observability", "-run-file", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    records: dict[str, list[dict[str, Any]]] = {}
    for line in done.stdout.splitlines():
        record = json.loads(line)
        records.setdefault(record["type"], []).append(record[record["type"]])
    return RunFile(
        ids=frozenset(str(run["run_id"]) for run in records.get("run", ())),
        rows=tuple(_plain(row["item"]) for row in records.get("history", ())),
        exits=tuple(record.get("exit_code", 0) for record in records.get("exit", ())),
        needed=tuple(_needed(file.parent, records)),
        complaint=done.stderr.strip(),
        measures=measure(records, file.parent),
    )


def check(file: Path, key: str, rows: Sequence[Mapping[str, float]]) -> str:
    """Read a run's ``.wandb`` file; says what differs from the id and the history rows that were logged, or nothing."""
    run = read(file)
    if len(run.rows) != len(rows) or not run.ended:
        why = run.complaint or "disk full, or killed while writing"
        return f"has {len(run.rows)} of {len(rows)} rows and {len(run.exits)} exit records ({why})"
    if run.rows != tuple(rows) or run.exits != (0,) or run.ids != {key}:
        return "does not hold what was logged"
    return run.fault


def _plain(item: Mapping[str, float]) -> dict[str, float]:
    """A row without what W&B adds (``_step``) and without media, whose fields read ``name.field``."""
    return {name: value for name, value in item.items() if not name.startswith("_") and "." not in name}


def _needed(folder: Path, records: Mapping[str, Sequence[Mapping[str, Any]]]) -> Iterator[Needed]:
    for listing in records.get("files", ()):
        yield from (Needed(folder / "files" / file["path"]) for file in listing["files"])
    for artifact in records.get("artifact", ()):
        manifest = artifact.get("manifest", {})
        if "manifest_file_path" in manifest:
            yield Needed(folder.parent / manifest["manifest_file_path"])
        for entry in manifest.get("contents", ()):
            if "local_path" in entry:
                yield Needed(folder.parent / entry["local_path"], int(entry.get("size", 0)), entry["digest"])
