"""Checks the offline W&B runs of a bench and uploads those that are whole, once each."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from filelock import FileLock

from tl_robust.errors import ConfigError
from tl_robust.files import write_atomically
from tl_robust.sinks.wandb.limits import overstepped
from tl_robust.sinks.wandb.read import read
from tl_robust.sinks.wandb.runs import RECORD
from tl_robust.sinks.wandb.session import account, environment, server

AGAIN = "run the bench again, which replaces it"
LOSSES = ("file transfer:", "sender:", "filestream:", "runsync:")  # parts of W&B whose errors mean that data was lost
SPARE = 10_000_000  # bytes free, below which a disk counts as full


@dataclass(frozen=True)
class OfflineRun:
    """A run in a folder of offline runs.

    Attributes:
        name: Its folder.
        key: Its id; empty where it has no file.
        uploaded: An upload ended well; nothing is left to do.
        problem: One sentence on what is wrong, empty where it is whole.
        limits: What oversteps a bound of W&B, a sentence each: it can be uploaded, and is slow or cut there.
    """

    name: str
    key: str = ""
    uploaded: bool = False
    problem: str = ""
    limits: tuple[str, ...] = ()


def home_of(bench: str, results: Path = Path("results")) -> Path:
    """The folder of runs of a bench.

    Args:
        bench: Its folder of results, the ``wandb`` folder in it, or its name under ``results``.
        results: Folder of results.

    Raises:
        ConfigError: There is no such folder.
    """
    for folder in (Path(bench), results / bench):
        for home in (folder / "wandb", folder):
            if home.is_dir() and (home.name == "wandb" or any(home.glob("offline-run-*"))):
                return home
    known = ", ".join(sorted(path.parent.name for path in results.glob("*/wandb"))) or "none"
    raise ConfigError(
        f"no W&B runs of {bench!r}: expected a bench's folder of results or its name in {results}/ (there: {known}); "
        "run the bench first."
    )


def verify(home: Path) -> list[OfflineRun]:
    """Read every offline run: rows, exit record and the files that it refers to.

    Args:
        home: Folder of runs; may be a copy, also of a part.
    """
    return [_verified(folder, _record(home, folder)) for folder in sorted(home.glob("offline-run-*"))]


def upload(home: Path, runs: Sequence[OfflineRun]) -> list[OfflineRun]:
    """Upload the whole runs that were not, by `wandb sync` in the folder of runs, and keep a record of each.

    Args:
        home: Folder of runs.
        runs: As :func:`verify` gives them.

    Returns:
        All runs; those whose upload failed with a problem.

    Raises:
        ConfigError: There is something to upload, and no API key or no answer of the server.
    """
    todo = [run for run in runs if not run.uploaded and not run.problem]
    if not todo:
        return list(runs)
    if not account()[1]:
        raise ConfigError(
            f"{len(todo)} runs wait for upload and W&B finds no API key: run `wandb login` or set WANDB_API_KEY, "
            "then give the same command again (--check needs no key)."
        )
    _reach(server())
    command = [sys.executable, "-m", "wandb", "sync", *(run.name for run in todo)]
    with FileLock(home / ".lock"), environment() as scratch:
        environ = os.environ | {"WANDB_DIR": str(scratch)}  # for its logs
        # in the folder of runs: paths in them are relative to it
        done = subprocess.run(command, cwd=home, env=environ, capture_output=True, text=True, check=False)
        lost = dict(reversed(list(_losses(scratch))))  # the first of each is the cause of the others
    said = next((line for line in reversed((done.stdout + done.stderr).splitlines()) if line.strip()), "nothing")
    return [_uploaded(home, run, lost.get(run.name, ""), said) if run in todo else run for run in runs]


def _reach(address: str) -> None:
    """Say at once that there is no way to the server: `wandb sync` would try for hours.

    Raises:
        ConfigError: No answer.
    """
    try:
        urllib.request.urlopen(urllib.request.Request(address, method="HEAD"), timeout=20).close()
    except urllib.error.HTTPError:
        pass  # an answer
    except (OSError, ValueError) as error:
        raise ConfigError(f"the W&B server {address} does not answer ({error}): nothing was uploaded.") from error


def _losses(logs: Path) -> Iterator[tuple[str, str]]:
    """Folders of runs of which something was not uploaded, and what: W&B itself calls such an upload finished."""
    for line in (line for file in logs.rglob("debug-sync*.log") for line in file.read_text().splitlines()):
        with contextlib.suppress(ValueError, KeyError, AttributeError):
            record = json.loads(line)
            if record["level"] == "ERROR" and record["msg"].startswith(LOSSES):
                yield Path(record["sync_path"]).parent.name, record["msg"]


def _uploaded(home: Path, run: OfflineRun, lost: str, said: str) -> OfflineRun:
    """Keep a record where W&B left its mark: publishing again then skips the run, and so does the next sync."""
    mark = _mark(home / run.name, run.key)
    if lost or not mark.exists():
        mark.unlink(missing_ok=True)
        return replace(run, problem=f"was not uploaded as a whole; W&B said: {lost or said}")
    record = _record(home, home / run.name)
    if record:
        write_atomically(home / RECORD.format(run.key), json.dumps({**record, "mode": "online"}).encode())
    return replace(run, uploaded=True)


def _verified(folder: Path, record: Mapping[str, Any]) -> OfflineRun:
    file = next(folder.glob("run-*.wandb"), None)
    if file is None:
        return OfflineRun(folder.name, problem=f"was killed before its first record; {AGAIN}.")
    key, size, run = _key(file), file.stat().st_size, read(file)
    full = shutil.disk_usage(folder).free < SPARE
    problem = run.fault
    if size < record.get("bytes", 0):
        why = "the disk is full" if full else "the disk was full or a copy stopped"
        problem = f"is cut off at {size} of {record['bytes']} bytes: {why}"
    elif not run.ended:
        problem = f"was {'cut off by a full disk' if full else 'killed while it was written'}: it {problem}"
    elif not problem and len(run.rows) != record.get("rows", len(run.rows)):
        problem = f"has {len(run.rows)} of {record['rows']} rows"
    if problem:
        return OfflineRun(folder.name, key, problem=f"{problem}; {AGAIN}.")
    return OfflineRun(folder.name, key, _mark(folder, key).exists(), limits=tuple(overstepped(run.measures)))


def _record(home: Path, folder: Path) -> Mapping[str, Any]:
    """What publishing noted of the run in this folder; empty where nothing was."""
    for file in folder.glob("run-*.wandb"):
        try:
            record: dict[str, Any] = json.loads((home / RECORD.format(_key(file))).read_bytes())
        except (OSError, ValueError):
            continue
        if record.get("file") == f"{folder.name}/{file.name}":
            return record
    return {}


def _key(file: Path) -> str:
    return file.stem.removeprefix("run-")


def _mark(folder: Path, key: str) -> Path:
    """The file that `wandb sync` leaves beside a run that it uploaded."""
    return folder / f"run-{key}.wandb.synced"
