"""Bounds of Weights & Biases, and which of them a run oversteps.

Numbers are W&B's own (its advice: https://docs.wandb.ai/models/track/limits) where it is not said that they are ours,
which keep a bench of 500 cells readable.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LONGEST_TAG = 64  # characters; wandb.init refuses a longer tag
LONGEST_NAME = 128  # characters of a run, group, project or artifact; the server refuses a longer one
LONGEST_KEY = 100  # characters of a key of media: W&B makes names of artifacts (128) and of files (255 bytes) of it
TABLE_ROWS = 10_000  # of a table in a run; the client leaves out the rows behind (wandb.Table.MAX_ROWS)
TABLE_PAGES = 20  # ours: so many keys for one long table, 200,000 rows (wandb.Table.MAX_ARTIFACT_ROWS)
PICTURES = 100  # ours: each is a key and so a panel; W&B takes 108 images of one key (wandb.Image.MAX_ITEMS)
KEYS = 10_000  # distinct keys of a project, for pages that load fast (advice)
FILES = 1_000  # of a run, without those of artifacts (advice)
CONFIG_BYTES = 10_000_000  # of the configuration of a run (advice)
VALUE_BYTES = 1_000_000  # of one value that is no media (advice)
ROW_BYTES = 25_000_000  # of one call of log, media apart (advice)
PAGE_BYTES = 50_000_000  # ours: a page in a panel is loaded as a whole by everyone who opens the dashboard


@dataclass(frozen=True)
class Measures:
    """What of a run has a bound.

    Attributes:
        keys: Distinct keys of history and summary.
        longest_key: The longest of them.
        config_bytes: Of the configuration as JSON.
        value_bytes: Of the widest value that is no media, with its key.
        row_bytes: Of the widest row of the history, as JSON.
        table_rows: Of the longest table, with its key.
        files: Beside the run, without those of artifacts.
        page_bytes: Of the largest of these files, with its name.
        names: Characters of name, group and tags of the run, by what they are.
    """

    keys: int = 0
    longest_key: str = ""
    config_bytes: int = 0
    value_bytes: tuple[int, str] = (0, "")
    row_bytes: int = 0
    table_rows: tuple[int, str] = (0, "")
    files: int = 0
    page_bytes: tuple[int, str] = (0, "")
    names: Mapping[str, int] | None = None


def measure(records: Mapping[str, Sequence[Mapping[str, Any]]], folder: Path) -> Measures:
    """Measure a run.

    Args:
        records: Of its file, by type, as W&B's own reader gives them.
        folder: Of the run; its ``files`` are measured where they are there.
    """
    items = [row["item"] for row in records.get("history", ())]
    changes = [record.get("update", {}) for record in records.get("summary", ())]
    values = [pair for item in (*items, *changes) for pair in item.items() if not pair[0].startswith("_")]
    media = {name.removesuffix("._type") for name, _ in values if name.endswith("._type")}
    own = [(name, value) for name, value in values if name.rpartition(".")[0] not in media]
    rows = [(int(value), name.removesuffix(".nrows")) for name, value in values if name.endswith(".nrows")]
    listed = {file["path"] for listing in records.get("files", ()) for file in listing["files"]}
    sizes = [(path.stat().st_size, name) for name in sorted(listed) if (path := folder / "files" / name).is_file()]
    names = {}
    for run in records.get("run", ()):
        names = {"name": len(run.get("display_name", "")), "group": len(run.get("run_group", ""))}
        names |= {f"tag {tag[:20]}": len(tag) for tag in run.get("tags", ())}
    config = [run.get("config", {}).get("update", {}) for run in records.get("run", ())]
    keys = {name for name, _ in own} | media
    return Measures(
        keys=len(keys),
        longest_key=max(keys, key=len, default=""),
        config_bytes=_bytes(config[0]) if config else 0,
        value_bytes=max(((_bytes(value), name) for name, value in own), default=(0, "")),
        row_bytes=max((_bytes(item) for item in items), default=0),
        table_rows=max(rows, default=(0, "")),
        files=len(listed),
        page_bytes=max(sizes, default=(0, "")),
        names=names,
    )


def overstepped(run: Measures) -> Iterator[str]:
    """One sentence for each bound that a run oversteps: what it has, and what W&B takes or advises."""
    advised, kept = "and W&B advises at most", "and W&B takes at most"
    size, name = run.value_bytes
    rows, table = run.table_rows
    heavy, file = run.page_bytes
    counts = [
        (run.keys, KEYS, f"has {run.keys} keys, {advised} {KEYS} in a project"),
        (len(run.longest_key), LONGEST_NAME, f"has the key {run.longest_key[:40]}... of {len(run.longest_key)} "
         f"characters, {kept} {LONGEST_NAME}"),
        (run.config_bytes, CONFIG_BYTES, f"has a configuration of {_size(run.config_bytes)}, {advised} "
         f"{_size(CONFIG_BYTES)}"),
        (size, VALUE_BYTES, f"has a value of {_size(size)}, {name}, {advised} {_size(VALUE_BYTES)}"),
        (run.row_bytes, ROW_BYTES, f"has a row of {_size(run.row_bytes)}, {advised} {_size(ROW_BYTES)}"),
        (rows, TABLE_ROWS, f"has a table of {rows} rows, {table}, {kept} {TABLE_ROWS}"),
        (run.files, FILES, f"has {run.files} files, {advised} {FILES}"),
        (heavy, PAGE_BYTES, f"has a file of {_size(heavy)}, {file}, and a panel should have at most "
         f"{_size(PAGE_BYTES)}"),
    ]  # fmt: skip
    yield from (sentence for count, bound, sentence in counts if count > bound)
    for what, length in (run.names or {}).items():
        bound = LONGEST_TAG if what.startswith("tag") else LONGEST_NAME
        if length > bound:
            yield f"has a {what} of {length} characters, {kept} {bound}"


def _bytes(value: Any) -> int:
    return len(json.dumps(value, default=str))


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB"
