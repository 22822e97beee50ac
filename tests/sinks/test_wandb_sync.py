"""Offline runs are checked, broken in all the ways that they break, and uploaded to a stand-in for W&B's server."""

from __future__ import annotations

import argparse
import io
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from tests.sinks.test_wandb_overview import offline as overview
from tests.sinks.wandb_made import API_KEY, BENCH, EPS, Server, no_account, of_type, records, result, runs, server
from tl_robust.cli.commands import sync
from tl_robust.errors import ConfigError
from tl_robust.sinks.wandb import limits as wandb_limits
from tl_robust.sinks.wandb import runs as wandb_sink
from tl_robust.sinks.wandb import session as wandb_session
from tl_robust.sinks.wandb import sync as wandb_sync
from tl_robust.sinks.wandb.runs import WandbSettings, publish
from tl_robust.sinks.wandb.sync import home_of, upload, verify

__all__ = ["no_account"]  # a fixture that all tests use


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two cells and an overview, written once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_MODE", "offline")
        folder = tmp_path_factory.mktemp("results") / "tiny"
        publish([result(seed) for seed in range(2)], BENCH, folder, WandbSettings())
        overview(folder)
    return folder


@pytest.fixture
def folder(published: Path, tmp_path: Path) -> Path:
    """A copy elsewhere."""
    return Path(shutil.copytree(published, tmp_path / "results" / "tiny"))


@pytest.fixture
def remote(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with server() as running:
        monkeypatch.setenv("WANDB_BASE_URL", running.address)
        monkeypatch.setenv("WANDB_API_KEY", API_KEY)
        yield running


def command(folder: Path, *options: str) -> tuple[int, str]:
    parser, printed = argparse.ArgumentParser(), io.StringIO()
    sync.arguments(parser)
    console = Console(file=printed, width=200, markup=False, highlight=False)
    try:
        return sync.run(parser.parse_args([str(folder), *options]), console), printed.getvalue()
    except ConfigError as error:
        return error.exit_code, f"{printed.getvalue()}{error}"


def test_a_check_names_what_oversteps_a_bound_and_calls_the_run_whole(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, said = command(folder, "--check")
    assert (code, "limit:" in said) == (0, False)
    monkeypatch.setattr(wandb_limits, "KEYS", 9)
    code, said = command(folder, "--check")
    assert code == 0  # it can be uploaded
    assert said.count("limit:") == 3
    assert "keys, and W&B advises at most 9 in a project." in said


def problem_of(folder: Path, key: str) -> str:
    (found,) = [run.problem for run in verify(folder / "wandb") if run.key == key]
    return found


def run_of(folder: Path, key: str) -> Path:
    (found,) = [file for file in runs(folder) if key in file.name]
    return found


def test_whole_runs_pass_and_are_not_called_uploaded(folder: Path) -> None:
    found = verify(folder / "wandb")
    assert [(run.problem, run.uploaded) for run in found] == [("", False)] * 3
    code, printed = command(folder, "--check")
    assert code == 0
    assert "3 offline runs, 3 whole, 0 uploaded before" in printed


def test_a_full_disk_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = result().key
    file = run_of(folder, key)
    size = file.stat().st_size
    os.truncate(file, size // 2)
    expected = f"is cut off at {size // 2} of {size} bytes: the disk was full or a copy stopped; run the bench again"
    assert problem_of(folder, key).startswith(expected)
    monkeypatch.setattr(wandb_sync, "SPARE", 1 << 62)
    assert "the disk is full;" in problem_of(folder, key)
    code, printed = command(folder, "--check")
    assert code == 1
    assert f"damaged: {folder}/wandb/{file.parent.name} is cut off" in printed


def last_record(content: bytes) -> int:
    """Where the last record of a ``.wandb`` file begins; its exit record is longer where the run took a second.

    The file is a LevelDB log: blocks of 32 KiB with parts of records, each with a header of checksum, length and place.
    """
    place, last = 7, 0  # behind the file's own header
    while place + 7 <= len(content):
        left = 32768 - place % 32768
        if left < 7:  # no header fits: padding
            place += left
            continue
        length, kind = struct.unpack_from("<HB", content, place + 4)
        if kind in (1, 2):  # whole, or the first part
            last = place
        place += 7 + length
    return last


@pytest.mark.parametrize("seconds", [0.0, 1.2])
def test_the_last_record_is_the_exit_however_long_the_run_took(tmp_path: Path, seconds: float) -> None:
    with wandb_session.session() as start, start(id="timed", dir=tmp_path, mode="offline") as run:
        run.log({"eps": 0.0})
        time.sleep(seconds)
    (file,) = runs(tmp_path)
    whole = file.read_bytes()
    assert len(of_type(records(file), "exit")) == 1
    os.truncate(file, last_record(whole))
    assert of_type(records(file), "exit") == []
    assert len(of_type(records(file), "history")) == 1


def test_a_run_without_exit_record_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = result().key
    file = run_of(folder, key)
    (folder / "wandb" / wandb_sink.RECORD.format(key)).unlink()  # it is written after the run's end
    whole = file.read_bytes()
    os.truncate(file, last_record(whole))
    assert of_type(records(file), "exit") == []
    expected = "was killed while it was written: it has no exit record after 3 rows; run the bench again"
    assert problem_of(folder, key).startswith(expected)
    with monkeypatch.context() as patch:
        patch.setattr(wandb_sync, "SPARE", 1 << 62)
        assert problem_of(folder, key).startswith("was cut off by a full disk: it has no exit record after 3 rows")
    file.unlink()
    (problem,) = [run.problem for run in verify(folder / "wandb") if not run.key]
    assert problem.startswith("was killed before its first record")


def test_a_killed_program_is_told(folder: Path) -> None:
    program = (
        "import wandb\n"
        f"run = wandb.init(mode='offline', id='killed', dir={str(folder)!r}, settings=wandb.Settings(silent=True))\n"
        "run.log({'eps': 0.0})\nprint('logged', flush=True)\ninput()\n"
    )
    pipe, environ = subprocess.PIPE, os.environ | {"WANDB_MODE": "offline"}
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=pipe, stdout=pipe, env=environ, start_new_session=True
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == b"logged\n"
        os.killpg(process.pid, signal.SIGKILL)  # W&B's service too
    assert problem_of(folder, "killed").startswith("was killed while it was written: it has no exit record")


def test_missing_rows_are_told(folder: Path) -> None:
    key = result().key
    file = folder / "wandb" / wandb_sink.RECORD.format(key)
    file.write_text(json.dumps(json.loads(file.read_text()) | {"rows": 4}))
    assert problem_of(folder, key).startswith("has 3 of 4 rows;")


def test_without_a_key_it_checks_and_says_what_is_missing(folder: Path) -> None:
    os.truncate(run_of(folder, result().key), 100)
    code, printed = command(folder)
    assert code == 2
    assert "is cut off at 100" in printed
    assert "2 whole" in printed
    assert "2 runs wait for upload and W&B finds no API key: run `wandb login` or set WANDB_API_KEY" in printed


def test_an_upload_is_whole_and_made_once(folder: Path, remote: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    environ = dict(os.environ)
    assert command(folder)[0] == 0
    assert dict(os.environ) == environ
    for seed in range(2):
        rows = remote.lines[result(seed).key]
        assert [(row["eps"], row["robust/robust_accuracy"]) for row in rows] == [
            (eps, (14 - 4 * place) / 20) for place, eps in enumerate(EPS)
        ]
    report = (folder / "report.html").read_bytes()
    assert remote.received["tiny-report/report.html"] == report
    assert {f"tiny-tables/{name}.table.json" for name in ("accuracy", "claims", "lineage")} <= remote.received.keys()
    assert sum(name.startswith("media/images/") for name in remote.received) == 3
    assert not (folder / "wandb" / "wandb").exists()  # W&B's logs

    remote.calls.clear()
    code, printed = command(folder)
    assert (code, remote.calls) == (0, [])
    assert "3 uploaded before" in printed
    assert "0 runs uploaded" in printed
    with monkeypatch.context() as patch:
        patch.setattr(wandb_sink, "_session", None)  # a session would fail
        cells = [result(seed) for seed in range(2)]
        again = publish(cells, BENCH, folder, WandbSettings(mode="online"))
    assert (again.skipped, again.problems) == (2, ())


def test_a_refused_file_is_no_upload(folder: Path, remote: Server) -> None:
    remote.refused = "tiny-report/table.csv"
    code, printed = command(folder)
    assert code == 1
    (failed,) = [line for line in printed.splitlines() if line.startswith("failed:")]
    assert "was not uploaded as a whole; W&B said:" in failed
    assert "403" in failed
    assert "2 runs uploaded" in printed
    remote.refused = "none"
    code, printed = command(folder)
    assert code == 0
    assert "2 uploaded before" in printed
    assert "1 runs uploaded" in printed
    assert "tiny-report/table.csv" in remote.received


def test_a_damaged_run_is_not_uploaded(folder: Path, remote: Server) -> None:
    os.truncate(run_of(folder, result().key), 100)
    code, printed = command(folder)
    assert code == 1
    assert "2 runs uploaded" in printed
    assert result(0).key not in remote.lines
    assert result(1).key in remote.lines


def test_a_server_that_does_not_answer_is_told_at_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", API_KEY)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    with pytest.raises(ConfigError, match=r"http://127\.0\.0\.1:9 does not answer .*: nothing was uploaded"):
        upload(folder / "wandb", verify(folder / "wandb"))


def test_the_folder_is_found_by_path_and_by_name(folder: Path) -> None:
    results, home = folder.parent, folder / "wandb"
    assert [home_of(str(folder)), home_of(str(home)), home_of("tiny", results)] == [home] * 3
    with pytest.raises(ConfigError, match=r"no W&B runs of 'tini': .*\(there: tiny\); run the bench first"):
        home_of("tini", results)
