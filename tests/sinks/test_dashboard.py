"""The dashboard reads keys that runs have, and becomes a workspace where wandb-workspaces is installed."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tests.sinks.exposure_made import CELLS, DECAY
from tests.sinks.test_wandb_overview import cells
from tests.sinks.test_wandb_overview import offline as overview
from tests.sinks.wandb_made import API_KEY, BENCH, EPS, no_account, of_type, records, runs, server, summary_of
from tl_robust.cli.commands import dashboard as command
from tl_robust.errors import ConfigError, UnknownNameError
from tl_robust.results.faces import FACES
from tl_robust.sinks.wandb import dashboard
from tl_robust.sinks.wandb import workspace as wandb_dashboard
from tl_robust.sinks.wandb.panels import Shown
from tl_robust.sinks.wandb.runs import WandbSettings, publish

__all__ = ["no_account"]  # a fixture that all tests use

# wandb-workspaces itself still uses what pydantic deprecates
library = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def spec_of(
    views: Sequence[str] = ("white", "black"), grid: Sequence[float] = EPS, several: bool = False
) -> dict[str, Any]:
    """The dashboard of a bench of evasion."""
    return dashboard.spec(["tiny"], WandbSettings(), [Shown(FACES["evasion"], grid, views, several, crafted=True)])


SPEC = spec_of()


def test_every_key_is_one_that_runs_have(tmp_path: Path) -> None:
    publish(cells(), BENCH, tmp_path, WandbSettings(mode="offline"))
    overview(tmp_path)
    known = {"eps"}
    for file in runs(tmp_path):
        found = records(file)
        known |= {f"config:{name}" for name in of_type(found, "run")[0]["config"]["update"]}
        known |= {f"summary:{name}" for name in summary_of(found)}
        known |= {name.removesuffix("._type") for record in of_type(found, "history") for name in record["item"]}
    for several in (False, True):
        spec = spec_of(several=several)
        assert dashboard.keys(spec) - known == set()
    assert dashboard.keys({**SPEC, "sections": [{"panels": [{"kind": "table", "key": "typo"}]}]}) - known == {"typo"}


def test_lines_are_means_over_seeds_only() -> None:
    lines = [panel for section in SPEC["sections"] for panel in section["panels"] if panel["kind"] == "line"]
    assert {(line["center"], line["group_by"]) for line in lines if line["y"].startswith("accuracy/")} == {
        ("mean", "start")
    }
    shared = {(line["center"], line["group_by"]) for line in lines if line["y"].startswith("robust/")}
    assert shared == {("mean", "start")}  # each of these means something in one view
    assert {line["y"]: line["band"] for line in lines[:2]} == {
        "accuracy/black_box": "stddev",
        "accuracy/white_box": "stddev",
    }
    assert {line["band"] for line in lines} == {"stddev", "minmax"}
    assert {line["y"] for line in lines} >= {"robust/transfer_ratio"}
    assert not {name for name in SPEC["runs"]["group_by"] if name == "seed"}
    several = spec_of(("white",), several=True)
    lines = [panel for section in several["sections"] for panel in section["panels"] if panel["kind"] == "line"]
    assert {(line["group_by"], line["y"]) for line in lines} == {("curve", "accuracy/white_box")}  # no transfer


def test_the_columns_spread_over_the_eps_grid() -> None:
    def shown(eps: list[float]) -> list[str]:
        spec = spec_of(("white",), eps)
        return [name.split("/")[1] for name in spec["runs"]["columns"] if "/" in name]

    assert shown([0.0, *(k / 255 for k in range(1, 9))]) == ["1_255", "3_255", "6_255", "8_255"]
    assert shown([0.0, 2 / 255]) == ["2_255"]
    assert shown([0.0]) == []


def parsed(*given: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    command.arguments(parser)
    return parser.parse_args(given)


def test_the_command_prints_the_spec_without_the_library(
    tiny: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wandb_workspaces", None)
    monkeypatch.setitem(sys.modules, "wandb", None)
    assert command.run(parsed("spec", str(tiny)), Console()) == 0
    spec = json.loads(capsys.readouterr().out)
    assert (spec["name"], spec["project"], spec["runs"]["filter"]) == (
        "tiny: robustness",
        "tl_robust",
        {"bench": "tiny"},
    )
    assert spec["sections"][1]["panels"][0]["group_by"] == "curve"  # two attacks
    assert spec["sections"][1]["panels"][0]["range_x"] == [0, 16 / 255]
    assert spec["axis"] == "eps"
    with pytest.raises(UnknownNameError, match="unknown threat of these benches 'evasio'; did you mean 'evasion'"):
        command.run(parsed("spec", str(tiny), "--threat", "evasio"), Console())


@library
def test_a_push_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "wandb_workspaces", None)
        with pytest.raises(ConfigError, match=r"needs wandb-workspaces .*: pip install 'tl_robust\[dashboard\]'"):
            wandb_dashboard.push(SPEC)
    pytest.importorskip("wandb_workspaces")
    with pytest.raises(ConfigError, match="no API key: run `wandb login`"):
        wandb_dashboard.push(SPEC)


@library
def test_a_workspace_is_made_of_it() -> None:
    pytest.importorskip("wandb_workspaces")
    workspace = wandb_dashboard.build(SPEC, "me")
    view = json.loads(workspace._to_model().spec.model_dump_json(by_alias=True, exclude_none=True))
    (runset,) = view["section"]["runSets"]
    assert [key["name"] for key in runset["grouping"]] == ["view.value", "start.value"]
    assert '"tiny"' in json.dumps(runset["filters"])
    assert {"summary:at/8_255/robust_accuracy", "config:pair.value"} <= runset["runFeed"]["columnPinned"].keys()
    assert workspace.auto_generate_panels is True
    sections = {one["name"]: one["panels"] for one in view["section"]["panelBankConfig"]["sections"]}
    assert [*sections] == ["Overview", "Evasion: accuracy under attack", "Evasion: Transferability", "Trust"]
    assert [len(panels) for panels in sections.values()] == [7, 7, 3, 2]
    line = sections["Evasion: accuracy under attack"][0]["config"]
    assert (line["xAxis"], line["metrics"], line["groupBy"]) == ("eps", ["accuracy/black_box"], "start.value")
    assert (line["groupAgg"], line["groupArea"], line["aggregate"]) == ("mean", "stddev", True)


@library
def test_a_second_push_replaces_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb_workspaces")
    monkeypatch.setenv("WANDB_API_KEY", API_KEY)
    with server() as remote:
        monkeypatch.setenv("WANDB_BASE_URL", remote.address)
        first, second = (wandb_dashboard.push({**SPEC, "entity": "me"}) for _ in range(2))
        other = wandb_dashboard.push({**SPEC, "entity": "me", "runs": {**SPEC["runs"], "filter": {"bench": "other"}}})
        alone = wandb_dashboard.push({**SPEC, "entity": "me", "only": "evasion"})
        views = list(remote.views.values())
    assert first == second != other
    assert alone not in (first, other)  # the view of one threat does not replace that of all
    assert [view.get("id") for view in views] == [f"id-{views[0]['name']}", None, None]
    assert views[0]["displayName"] == "tiny: robustness"


def test_every_key_of_membership_is_one_that_runs_have(tmp_path: Path) -> None:
    face = FACES["membership"]
    publish([*CELLS, *DECAY], BENCH, tmp_path, WandbSettings(mode="offline"))
    known = {"epochs", *(f"overview/{name}" for name in ("curves", "report", "claims", "answer", "trust"))}
    lasts = set()
    for file in runs(tmp_path):
        found = records(file)
        rows = [record["item"] for record in of_type(found, "history")]
        summary = summary_of(found)
        assert summary["auc"] == pytest.approx(rows[-1]["membership/auc"])
        assert summary["epsilon_bound"] == pytest.approx(rows[-1]["membership/epsilon_bound"])
        lasts.add(max(row["epochs"] for row in rows))
        known |= {f"config:{name}" for name in of_type(found, "run")[0]["config"]["update"]}
        known |= {f"summary:{name}" for name in summary} | {name for row in rows for name in row}
        known |= {f"summary:{name}" for name in rows[-1]}  # W&B itself adds the last row of a history
    assert lasts == {2, 12}
    spec = dashboard.spec(["tiny"], WandbSettings(), [Shown(face, (), ("target", "source"), several=True)])
    assert dashboard.keys(spec) - known == set()
    exposed = [panel for panel in spec["sections"][1]["panels"] if panel.get("y", panel.get("key")).startswith("exp")]
    assert [panel["kind"] for panel in exposed] == ["bar", "bar", "line", "line"]
    assert [panel["range_y"] for panel in exposed[2:]] == [None, None]  # around chance, not from 0 to 1
    assert "summary:auc" in spec["runs"]["columns"]
