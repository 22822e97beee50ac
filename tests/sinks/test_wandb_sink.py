"""W&B runs are written offline for real and read back with W&B's own reader."""

from __future__ import annotations

import math
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import wandb

from tests.sinks.wandb_made import API_KEY, BENCH, EPS, no_account, of_type, records, result, runs, summary_of
from tl_robust.errors import ConfigError
from tl_robust.results import table
from tl_robust.sinks.wandb import runs as wandb_sink
from tl_robust.sinks.wandb.runs import Published, WandbSettings, check, publish, resolve_mode
from tl_robust.types import Result

__all__ = ["no_account"]  # a fixture that all tests use


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections of this process to anything but the local service fail."""

    def refuse(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_UNIX:
            raise AssertionError(f"a connection to {address}")
        original(self, address)

    original = socket.socket.connect
    monkeypatch.setattr(socket.socket, "connect", refuse)


def offline(results: list[Result], folder: Path, **settings: str) -> Published:
    return publish(results, BENCH, folder, WandbSettings(mode="offline", **settings))


@pytest.mark.usefixtures("no_network")
def test_a_run_is_read_back_as_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    cwd = tmp_path / "cwd"
    cwd.mkdir()
    monkeypatch.chdir(cwd)
    # Traps: a distributed worker inside a sweep of another program.
    for name, value in {"RANK": "1", "SLURM_PROCID": "1", "WANDB_SWEEP_ID": "s", "WANDB_RESUME": "must"}.items():
        monkeypatch.setenv(name, value)
    environ, ticks = dict(os.environ), []
    cells = [result(seed) for seed in range(2)]
    published = publish(cells, BENCH, Path("results"), WandbSettings(mode="offline"), ticks.append)
    assert published == Published("offline", Path("results/wandb"), written=2)
    assert ticks == cells
    assert dict(os.environ) == environ
    assert capfd.readouterr() == ("", "")
    assert [path.name for path in cwd.iterdir()] == ["results"]
    assert not (tmp_path / "home").exists()

    files = runs(cwd / "results")
    found = {of_type(records(file), "run")[0]["run_id"]: records(file) for file in files}
    assert len(files) == 2
    assert set(found) == {cell.key for cell in cells}
    mine = found[cells[0].key]
    run = of_type(mine, "run")[0]
    assert (run["run_group"], run["job_type"], run["project"]) == ("tiny", "black", "tl_robust")
    assert run["display_name"] == "print to hand (500 images), finetune, pgd(steps=3) linf, black, seed 0"
    config = run["config"]["update"]
    assert (config["seed"], config["strategy"], config["attack"]) == (0, "finetune", "pgd(steps=3)")
    assert config["provenance"]["surrogate"] == cells[0].provenance["surrogate"]
    assert config["bench_config"] == BENCH

    items = [record["item"] for record in of_type(mine, "history")]
    assert [item["eps"] for item in items] == EPS
    assert [item["robust/robust_accuracy"] for item in items] == [14 / 20, 10 / 20, 6 / 20]
    low, high = items[1]["robust/robust_accuracy_low"], items[1]["robust/robust_accuracy_high"]
    assert (low, high) == pytest.approx((0.2720, 0.7280), abs=1e-4)  # Clopper and Pearson, 10 of 20
    names = {name for item in items for name in item}
    assert not {name for name in names if "seed" in name or cells[0].key in name}

    metrics = of_type(mine, "metric")
    assert {record["name"]: record["options"]["hidden"] for record in metrics if "name" in record} == {"eps": True}
    assert {record["glob_name"]: record["step_metric"] for record in metrics if "glob_name" in record} == {
        "robust/*": "eps",
        "accuracy/*": "eps",
    }
    models = {"surrogate_key": "a" * 8, "victim_key": "b" * 8, "victim_domain": "hand", "parent_key": "a" * 8}
    assert models.items() <= config.items()
    places = {
        "pair": "print-hand",
        "start": "finetune",
        "curve": "print to hand (500 images), dtn, finetune, pgd(steps=3) linf",
    }
    assert places.items() <= config.items()
    summary = summary_of(mine)
    assert (summary["clean_accuracy"], summary["n"]) == (14 / 20, 20)
    assert (summary["trust"], summary["trust_reasons"]) == ("amber", "Few samples. One seed.")
    assert summary["curve_area"] == cells[0].curves["curve_area"].value.item()
    assert "robust/robust_accuracy" not in summary  # the value at the last eps would pass for the run's
    assert [item["exit_code"] for item in of_type(mine, "exit")] == [0]


def test_a_service_that_was_started_in_another_folder_writes_where_it_should(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wandb.init(mode="offline", dir=tmp_path).finish()  # its service goes on
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    published = publish([result()], BENCH, Path("results"), WandbSettings(mode="offline"))
    assert (published.written, published.problems) == (1, ())


def test_every_figure_of_the_table_is_in_the_run(tmp_path: Path) -> None:
    cell = result()
    offline([cell], tmp_path)
    found = records(runs(tmp_path)[0])
    at: dict[float | None, dict[str, Any]] = {
        record["item"]["eps"]: record["item"] for record in of_type(found, "history")
    }
    at[None] = summary_of(found)
    rows = table.rows(cell)
    assert {row.metric for row in rows} == cell.curves.keys() > {"robust_accuracy", "transfer_ratio"}
    for row in rows:
        name = row.metric if row.eps is None else f"robust/{row.metric}"
        figures = {"": row.value, "_low": row.low, "_high": row.high, "_n": row.n}
        known = {f"{name}{end}": figure for end, figure in figures.items() if math.isfinite(figure)}
        assert known.items() <= at[row.eps].items()
        if row.eps is not None and math.isfinite(row.value):
            place = ("0", "2_255", "8_255")[EPS.index(row.eps)]
            assert at[None][f"at/{place}/{row.metric}"] == row.value
    assert [at[eps]["accuracy/black_box"] for eps in EPS] == [14 / 20, 10 / 20, 6 / 20]
    assert (at[None]["trust"], at[None]["trust_rank"]) == ("amber", 1)
    assert not {name for name in at[None] if "." in name.removeprefix("_wandb.")}  # W&B would nest it


def test_a_second_publish_skips_and_a_change_replaces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cells = [result(seed) for seed in range(2)]
    offline(cells, tmp_path)
    before = runs(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(wandb_sink, "_session", None)  # a session would fail
        ticks: list[Result] = []
        again = publish(cells, BENCH, tmp_path, WandbSettings(mode="offline"), ticks.append)
    assert (again.written, again.skipped, again.problems) == (0, 2, ())
    assert ticks == cells
    assert runs(tmp_path) == before

    changed = offline([result(0, right=15), cells[1]], tmp_path)
    assert (changed.written, changed.skipped) == (1, 1)
    assert len(runs(tmp_path)) == 2
    mine = next(file for file in runs(tmp_path) if cells[0].key in file.name)
    assert of_type(records(mine), "history")[0]["item"]["robust/robust_accuracy"] == 15 / 20
    assert offline([cells[1]], tmp_path, project="other").written == 1
    assert len(runs(tmp_path)) == 2


def test_an_interrupted_publish_is_replaced(tmp_path: Path) -> None:
    def interrupt(cell: Result) -> None:
        raise KeyboardInterrupt

    cells = [result(seed) for seed in range(2)]
    with pytest.raises(KeyboardInterrupt):
        publish(cells, BENCH, tmp_path, WandbSettings(mode="offline"), interrupt)
    left = runs(tmp_path)
    assert len(left) == 1
    (tmp_path / "wandb" / f"offline-run-20200101_000000-{cells[1].key}").mkdir()  # a kill leaves less than a file
    assert offline(cells, tmp_path).written == 2
    assert len(list((tmp_path / "wandb").glob("*run-*"))) == 2


def test_a_truncated_run_is_named_and_repaired(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def truncate(*arguments: Any) -> str:
        file = arguments[0]
        if cells[1].key in file.name:
            os.truncate(file, file.stat().st_size // 2)
        return check(*arguments)

    cells = [result(seed) for seed in range(3)]
    with monkeypatch.context() as patch:
        patch.setattr(wandb_sink, "check", truncate)
        published = offline(cells, tmp_path)
    assert (published.written, published.skipped) == (2, 0)
    (problem,) = published.problems
    assert str(cells[1].cell) in problem
    assert " of 3 rows and 0 exit records" in problem
    repaired = offline(cells, tmp_path)
    assert (repaired.written, repaired.skipped, repaired.problems) == (1, 2, ())

    intact = next(file for file in runs(tmp_path) if cells[0].key in file.name)
    os.truncate(intact, intact.stat().st_size - 1)  # later, for example by a copy to a full disk
    assert offline(cells, tmp_path).written == 1


def test_check_compares_id_numbers_and_end(tmp_path: Path) -> None:
    cell = result()
    offline([cell], tmp_path)
    (file,) = runs(tmp_path)
    rows = [
        {name: value for name, value in record["item"].items() if not name.startswith("_")}
        for record in of_type(records(file), "history")
    ]
    assert check(file, cell.key, rows) == ""
    assert "3 of 2 rows" in check(file, cell.key, rows[:2])
    assert "what was logged" in check(file, "another", rows)
    assert "what was logged" in check(file, cell.key, [rows[0], rows[1], rows[2] | {"robust/robust_accuracy": 0.9}])
    assert "0 of 3 rows" in check(file.with_name("missing.wandb"), cell.key, rows)


def test_undefined_values_are_left_out(tmp_path: Path) -> None:
    cell = result()
    curve = cell.curves["transfer_ratio"]
    undefined = replace(curve, value=torch.tensor([torch.nan, 0.5, torch.inf], dtype=torch.float64))
    half = replace(cell.curves["half_eps"], value=torch.tensor([torch.nan], dtype=torch.float64))
    curves = {**cell.curves, "transfer_ratio": undefined, "half_eps": half}
    provenance = {"seconds": float("nan")}
    published = offline([replace(cell, curves=curves, provenance=provenance)], tmp_path)
    assert (published.written, published.problems) == (1, ())
    found = records(runs(tmp_path)[0])
    items = [record["item"] for record in of_type(found, "history")]
    assert [item.get("robust/transfer_ratio", "absent") for item in items] == ["absent", 0.5, "absent"]
    assert [item["eps"] for item in items] == EPS
    assert "half_eps" not in summary_of(found)


def test_a_lost_service_is_a_problem_and_no_crash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any) -> Path:
        raise ConnectionResetError("Connection lost\ndetails")

    monkeypatch.setattr(wandb_sink, "_log", fail)
    published = offline([result()], tmp_path)
    assert (published.written, published.skipped) == (0, 0)
    assert published.problems == (f"{result().cell}: W&B offline failed (ConnectionResetError: Connection lost).",)


def test_online_without_a_server_goes_on_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(start: Any, home: Path, content: Any, mode: str) -> Path:
        if mode == "online":
            raise TimeoutError("no answer")
        return log(start, home, content, mode)

    log = wandb_sink._log
    monkeypatch.setattr(wandb_sink, "_log", unreachable)
    monkeypatch.setenv("WANDB_API_KEY", API_KEY)
    cells = [result(seed) for seed in range(2)]
    published = publish(cells, BENCH, tmp_path, WandbSettings())
    assert (published.mode, published.written) == ("offline", 2)
    assert published.problems == (f"{cells[0].cell}: W&B online failed (TimeoutError: no answer).",)
    monkeypatch.delenv("WANDB_API_KEY")
    assert publish(cells, BENCH, tmp_path, WandbSettings()).skipped == 2
    monkeypatch.setenv("WANDB_API_KEY", API_KEY)
    assert publish(cells, BENCH, tmp_path, WandbSettings()).skipped == 0  # offline runs are no online runs


def test_disabled_writes_nothing_and_imports_nothing(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from tl_robust.sinks.wandb.runs import WandbSettings, publish\n"
        f"published = publish([None], {{}}, Path({str(tmp_path / 'results')!r}), WandbSettings())\n"
        "assert published.mode == 'disabled' and 'wandb' not in sys.modules"
    )
    environ = os.environ | {"WANDB_MODE": "disabled"}
    done = subprocess.run([sys.executable, "-c", program], env=environ, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not (tmp_path / "results").exists()


def test_settings_are_checked() -> None:
    with pytest.raises(ConfigError, match=r"auto, online, offline or disabled, got 'ofline'"):
        WandbSettings(mode="ofline")
    with pytest.raises(ConfigError, match=r"wandb\.share must be all or numbers, got 'number'"):
        WandbSettings(share="number")
    for project in ("", "a/b", "a" * 129):
        with pytest.raises(ConfigError, match=r"wandb\.project"):
            WandbSettings(project=project)


def test_mode_is_resolved_from_environment_and_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def prompt(*arguments: object) -> None:
        raise AssertionError("a prompt")

    monkeypatch.setattr("builtins.input", prompt)
    monkeypatch.setattr("getpass.getpass", prompt)
    home = tmp_path / "home"
    home.mkdir()
    assert resolve_mode(WandbSettings()) == "offline"
    with pytest.raises(ConfigError, match="wandb login"):
        resolve_mode(WandbSettings(mode="online"))

    (home / ".netrc").write_text(f"machine elsewhere.org login user password {API_KEY}\n")
    assert resolve_mode(WandbSettings()) == "offline"
    with monkeypatch.context() as patch:
        patch.setenv("WANDB_BASE_URL", "https://elsewhere.org")
        assert resolve_mode(WandbSettings()) == "online"
    (home / ".netrc").write_text(f"machine api.wandb.ai login user password {API_KEY}\n")
    assert resolve_mode(WandbSettings()) == "online"
    (home / ".netrc").unlink()

    monkeypatch.setenv("WANDB_API_KEY", API_KEY)
    assert resolve_mode(WandbSettings()) == "online"
    assert resolve_mode(WandbSettings(mode="offline")) == "offline"
    (home / ".config" / "wandb").mkdir(parents=True)
    (home / ".config" / "wandb" / "settings").write_text("[default]\nmode = offline\n")
    assert resolve_mode(WandbSettings()) == "offline"  # the user ran `wandb offline`
    assert resolve_mode(WandbSettings(mode="online")) == "online"

    for given, mode in {"disabled": "disabled", "offline": "offline", "dryrun": "offline", "online": "online"}.items():
        monkeypatch.setenv("WANDB_MODE", given)
        assert resolve_mode(WandbSettings(mode="disabled" if mode != "disabled" else "online")) == mode
    monkeypatch.setenv("WANDB_MODE", "onlin")
    with pytest.raises(ConfigError, match=r"WANDB_MODE must be online, offline or disabled, got 'onlin'"):
        resolve_mode(WandbSettings())


def test_the_callers_own_run_goes_on(tmp_path: Path) -> None:
    import wandb

    settings = wandb.Settings(silent=True, console="off", x_disable_stats=True)
    with wandb.init(mode="offline", id="own", dir=tmp_path, settings=settings) as own:
        publish([result()], BENCH, tmp_path / "results", WandbSettings(mode="offline"))
        own.log({"after": 1.0})
    wandb.teardown()
    (mine,), (cell,) = runs(tmp_path), runs(tmp_path / "results")
    assert [record["item"]["after"] for record in of_type(records(mine), "history")] == [1.0]
    assert [record["exit_code"] for record in of_type(records(mine), "exit")] == [0]
    assert [record["item"]["eps"] for record in of_type(records(cell), "history")] == EPS
