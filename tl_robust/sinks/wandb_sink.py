"""Weights & Biases: one run a cell, read back after its end. A view only: what fails is reported, never raised.

``wandb/published/<key>.json`` is written once a run was read back and found as logged; such a cell is skipped.
"""

from __future__ import annotations

import configparser
import contextlib
import functools
import json
import math
import netrc
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from filelock import FileLock

from tl_robust.errors import ConfigError
from tl_robust.files import write_atomically
from tl_robust.seeding import digest
from tl_robust.sinks.table import rows as table_rows
from tl_robust.types import Result

VERSION = 1  # of what is logged: another version publishes every cell again
RECORD = "published/{}.json"
README = b"Runs of Weights & Biases. View: `wandb leet .` Upload: `wandb sync offline-run-*`\n"
MODES = {"online": "online", "offline": "offline", "disabled": "disabled", "run": "online", "dryrun": "offline"}
ON = ("silent", "disable_git", "sagemaker_disable", "x_disable_stats", "x_disable_machine_info")
OFF = ("use_dot_wandb", "symlink", "save_code", "x_save_requirements")
QUIET = {**dict.fromkeys(ON, True), **dict.fromkeys(OFF, False), "console": "off", "init_timeout": 30}
KEPT = ("API_KEY", "IDENTITY_TOKEN_FILE", "BASE_URL", "ENTITY", "CONFIG_DIR", "INSECURE_DISABLE_SSL")


@dataclass(frozen=True)
class WandbSettings:
    """Where and how runs are published.

    Attributes:
        project: W&B project that the runs go to.
        entity: User or team that owns the project; empty for the account's default.
        mode: ``online``, ``offline`` or ``disabled``; ``auto`` is online only where an API key is found.
    """

    project: str = "tl_robust"
    entity: str = ""
    mode: str = "auto"

    def __post_init__(self) -> None:
        if self.mode not in ("auto", "online", "offline", "disabled"):
            raise ConfigError(f"wandb.mode must be auto, online, offline or disabled, got {self.mode!r}.")
        if not 0 < len(self.project) <= 128 or set(self.project) & set("/\\#?%:"):
            raise ConfigError(f"wandb.project must be 1 to 128 characters without / \\ # ? % :, got {self.project!r}.")


@dataclass(frozen=True)
class Published:
    """What a publish did.

    Attributes:
        mode: ``online``, ``offline`` or ``disabled``; offline also where an online server failed.
        folder: Folder of the runs.
        written: Cells whose run was written and read back.
        skipped: Cells whose run was there unchanged.
        problems: One sentence for each cell that is not there as logged.
    """

    mode: str
    folder: Path
    written: int = 0
    skipped: int = 0
    problems: tuple[str, ...] = ()


def resolve_mode(settings: WandbSettings) -> str:
    """The mode that will be used: ``WANDB_MODE`` wins, then the setting, then what ``wandb offline`` saved.

    Reads the environment and files only: no prompt, no network.

    Raises:
        ConfigError: ``WANDB_MODE`` is unknown, or the mode is online and no API key is found.
    """
    mode = os.environ.get("WANDB_MODE") or settings.mode
    if mode not in (*MODES, "auto"):
        raise ConfigError(f"WANDB_MODE must be online, offline or disabled, got {mode!r}.")
    saved, key_found = _account()
    wanted = MODES.get(saved, "online") if mode == "auto" else MODES[mode]
    if wanted == "online" and not key_found and mode != "auto":
        raise ConfigError("W&B finds no API key: run `wandb login`, set WANDB_API_KEY or use wandb.mode=offline.")
    return "offline" if wanted == "online" and not key_found else wanted


def publish(
    results: Sequence[Result],
    config: Mapping[str, Any],
    folder: Path,
    settings: WandbSettings,
    tick: Callable[[Result], None] = lambda result: None,
) -> Published:
    """Publish one run a cell; skip those that are there unchanged.

    Args:
        results: Cells.
        config: The bench's configuration, kept in every run under ``bench_config``.
        folder: Results folder of the bench; runs go to its ``wandb``.
        settings: Project, entity and mode.
        tick: Called after each cell, for progress.

    Raises:
        ConfigError: See :func:`resolve_mode`.
        ResultsError: The folder cannot be written.
    """
    mode, home, problems = resolve_mode(settings), folder / "wandb", list[str]()
    if mode == "disabled":
        return Published(mode, home)
    pending, logged, written = list[tuple[Result, dict[str, Any]]](), [], 0
    write_atomically(home / "README.md", README)
    with FileLock(home / ".lock"):  # a second bench on this folder would remove runs that are still being written
        for result in results:
            content = _content(result, config, settings)
            if _is_published(home, content, mode):
                tick(result)
            else:
                pending.append((result, content))
        skipped = len(results) - len(pending)
        while pending:
            with _session() as start:
                while pending:
                    result, content = pending[0]
                    try:
                        logged.append((result, content, mode, _log(start, home, content, mode)))
                    except Exception as error:  # noqa: BLE001 - a view must not stop the bench; the user is told
                        reason = f"{type(error).__name__}: {error}".splitlines()[0]
                        problems.append(f"{result.cell}: W&B {mode} failed ({reason}).")
                        if mode == "online":  # the cell again, with a new service: this one still holds the run's id
                            mode = "offline"
                            break
                    tick(pending.pop(0)[0])
        for result, content, how, file in logged:  # a file is complete for certain only when W&B's service has ended
            problem = check(file, result.key, content["history"])
            if problem:
                problems.append(f"{result.cell}: its W&B run {problem}; publish again to replace it.")
            else:
                entry = {"mode": how, "bytes": file.stat().st_size, "file": "/".join(file.parts[-2:])}
                write_atomically(
                    home / RECORD.format(result.key), json.dumps(entry | {"digest": digest(content)}).encode()
                )
                written += 1
    return Published(mode, home, written, skipped, tuple(problems))


def check(file: Path, key: str, rows: Sequence[Mapping[str, float]]) -> str:
    """Read a run's ``.wandb`` file; says what differs from the id and the history rows that were logged, or nothing."""
    from wandb.util import get_core_path

    command = [get_core_path(), "leet", "inspect", "-json", "-no-observability", "-run-file", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    records = [json.loads(line) for line in done.stdout.splitlines()]
    found = [record["history"]["item"] for record in records if record["type"] == "history"]
    ids = {record["run"]["run_id"] for record in records if record["type"] == "run"}
    codes = [record["exit"].get("exit_code", 0) for record in records if record["type"] == "exit"]
    if len(found) != len(rows) or len(codes) != 1:
        why = done.stderr.strip() or "disk full, or killed while writing"
        return f"has {len(found)} of {len(rows)} rows and {len(codes)} exit records ({why})"
    logged = [{name: row[name] for name in row if not name.startswith("_")} for row in found]
    return "" if logged == list(rows) and codes == [0] and ids == {key} else "does not hold what was logged"


def _account() -> tuple[str, bool]:
    """The mode in W&B's settings file, empty if none, and whether an API key is found."""
    environ, file = os.environ, configparser.ConfigParser(default_section="default", interpolation=None)
    found = bool(environ.get("WANDB_API_KEY") or environ.get("WANDB_IDENTITY_TOKEN_FILE"))
    with contextlib.suppress(configparser.Error, UnicodeDecodeError):
        file.read(Path(environ.get("WANDB_CONFIG_DIR", "~/.config/wandb")).expanduser() / "settings")
    host = urlsplit(environ.get("WANDB_BASE_URL") or file.defaults().get("base_url", "https://api.wandb.ai")).netloc
    with contextlib.suppress(OSError, netrc.NetrcParseError, UnicodeDecodeError):
        found = found or host in netrc.netrc(Path(environ.get("NETRC", "~/.netrc")).expanduser()).hosts
    return file.defaults().get("mode", ""), found


def _content(result: Result, config: Mapping[str, Any], settings: WandbSettings) -> dict[str, Any]:
    """Everything that is logged; undefined values (NaN) are left out, since W&B would keep them as strings."""
    history: dict[float, dict[str, float]] = {eps: {"eps": eps} for eps in result.outcome.eps.tolist()}
    right = (result.outcome.clean_b == result.outcome.label).double()
    summary: dict[str, Any] = {"clean_accuracy": right.mean().item(), "n": len(right), "trust": result.verdict.level}
    for row in table_rows(result):
        at, name = (summary, row.metric) if row.eps is None else (history[row.eps], f"robust/{row.metric}")
        values = {name: row.value, f"{name}_low": row.low, f"{name}_high": row.high}
        at |= {name: value for name, value in values.items() if math.isfinite(value)}
    summary["trust_reasons"] = " ".join(result.verdict.reasons)
    parts = {**asdict(result.cell), "provenance": dict(result.provenance), "bench_config": dict(config)}
    run: dict[str, Any] = {"id": result.key, "project": settings.project, "entity": settings.entity or None}
    run |= {"name": str(result.cell)[:128], "group": result.cell.bench, "job_type": result.cell.view}
    run["tags"] = sorted({result.cell.strategy[:64], result.cell.view, result.verdict.level})
    run["config"] = json.loads(json.dumps(parts, default=str), parse_constant=str)
    return {"version": VERSION, "run": run, "history": list(history.values()), "summary": summary}


def _is_published(home: Path, content: Mapping[str, Any], mode: str) -> bool:
    try:
        record = json.loads((home / RECORD.format(content["run"]["id"])).read_bytes())
        same = record["digest"] == digest(content) and record["mode"] in (mode, "online")
        return bool(same and (home / record["file"]).stat().st_size == record["bytes"])
    except (OSError, ValueError, TypeError, KeyError):
        return False


def _log(start: Callable[..., Any], home: Path, content: Mapping[str, Any], mode: str) -> Path:
    """Replace a cell's run; returns its ``.wandb`` file."""
    for stale in home.glob(f"*run-*-{content['run']['id']}*"):  # `wandb sync` would upload it as well
        shutil.rmtree(stale)
    with start(**content["run"], dir=home.parent, mode=mode) as run:
        run.define_metric("eps", hidden=True, summary="none")
        run.define_metric("robust/*", step_metric="eps", summary="none")  # the last eps does not sum the run up
        for row in content["history"]:
            run.log(row)
        run.summary.update(content["summary"])
        return Path(run.settings.sync_file)


@contextlib.contextmanager
def _session() -> Iterator[Callable[..., Any]]:
    """Gives a ``wandb.init`` with one service for all runs, a silent terminal and no variables of other programs."""
    import wandb

    settings = wandb.Settings.model_validate({**QUIET, "finish_timeout": 120, "finish_timeout_raises": True})
    before, alone = dict(os.environ), wandb.run is None
    with tempfile.TemporaryDirectory(prefix="tl_robust_wandb_") as cache:
        for name in before:
            if name.startswith("WANDB_") and name.removeprefix("WANDB_") not in KEPT:
                del os.environ[name]  # a sweep's or a parent's run id, a resume mode would rename or merge our runs
        os.environ |= {"WANDB_CACHE_DIR": cache, "WANDB_ERROR_REPORTING": "false"}
        try:
            if alone:
                wandb.setup(settings)
            yield functools.partial(wandb.init, reinit="create_new", settings=settings)  # else init gives the first run
        finally:
            if alone:  # else the caller's own run goes on with this service
                with contextlib.suppress(Exception, SystemExit):  # what a failed service lost is found by the check
                    wandb.teardown()
            del os.environ["WANDB_CACHE_DIR"], os.environ["WANDB_ERROR_REPORTING"]
            os.environ.update(before)
