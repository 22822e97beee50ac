"""One dashboard for all threats of a bench: every key that it reads is in the runs, and every run can be grouped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.sinks import three_threats
from tests.sinks.wandb_made import BENCH, no_account, of_type, records, runs, summary_of
from tl_robust.results.faces import FACES
from tl_robust.sinks.wandb import dashboard
from tl_robust.sinks.wandb.overview import publish_overview
from tl_robust.sinks.wandb.panels import Shown
from tl_robust.sinks.wandb.runs import WandbSettings, _content, publish
from tl_robust.types import Result

__all__ = ["no_account"]  # a fixture that all tests use

GROUPS = ("bench", "threat", "pair", "network", "attack", "view", "defense", "start", "curve", "line", "seed")
UNDEFINED = {"summary:half_life", "summary:safe_after"}  # of these cells


def parts(results: Sequence[Result[Any]]) -> list[Shown]:
    """The threats of results, as the command reads them off a bench."""
    shown = []
    for threat in dict.fromkeys(result.cell.threat for result in results):
        own = [result for result in results if result.cell.threat == threat]
        grid = sorted({x for result in own for x in result.outcome.x.tolist()})
        views = list(dict.fromkeys(result.cell.view for result in own))
        shown.append(Shown(FACES[threat], grid, views, several=True, crafted=threat == "evasion"))
    return shown


@pytest.mark.slow
def test_every_key_is_one_that_runs_have_and_every_run_can_be_grouped(tmp_path: Path) -> None:
    found = three_threats.results()
    settings = WandbSettings(mode="offline")
    assert publish(found, BENCH, tmp_path, settings).problems == ()
    published = publish_overview(three_threats.views(tmp_path), settings, {})
    assert (published.written, published.problems) == (1, ())
    known, seen = set[str](), list[dict[str, Any]]()
    for file in runs(tmp_path):
        lines = records(file)
        (run,) = of_type(lines, "run")
        config = run["config"]["update"]
        known |= {f"config:{name}" for name in config} | {f"summary:{name}" for name in summary_of(lines)}
        rows = [record["item"] for record in of_type(lines, "history")]
        known |= {name.removesuffix("._type") for row in rows for name in row} | {
            f"summary:{name}" for name in rows[-1]
        }
        seen += [config] if run["job_type"] != "overview" else []
        assert all(len(tag) <= 64 for tag in run["tags"])
    assert len(seen) == len(found)
    assert all(config.keys() >= set(GROUPS) for config in seen)
    by_line: dict[str, list[int]] = {}
    for config in seen:
        by_line.setdefault(config["line"], []).append(config["seed"])
    assert all(len(set(seeds)) == len(seeds) for seeds in by_line.values())  # a line is a mean over seeds and no more
    assert {len(seeds) for seeds in by_line.values()} == {1, 2, 3}
    for benches in (["tiny"], ["tiny", "other"]):
        spec = dashboard.spec(benches, settings, parts(found), defended=True)
        assert [section["name"] for section in spec["sections"]] == [
            "Overview", "Evasion: accuracy under attack", "Evasion: Transferability",
            "Backdoor: survival of the backdoor", "Backdoor: Lift and retention",
            "Membership: exposure of training data", "Defense card", "Trust",  # nothing is said of the source here
        ]  # fmt: skip
        assert dashboard.keys(spec) - known - UNDEFINED == set()
        assert spec["axis"] == "Step"


def test_every_key_is_one_that_is_logged() -> None:
    """The same before anything is written, so that it is quick."""
    found = three_threats.results()
    contents = [_content(result, BENCH, WandbSettings(), FACES[result.cell.threat]) for result in found]
    assert all(content.run["config"].keys() >= set(GROUPS) for content in contents)
    seeds: dict[str, list[int]] = {}
    for config in (content.run["config"] for content in contents):
        seeds.setdefault(config["line"], []).append(config["seed"])
    assert all(len(set(own)) == len(own) for own in seeds.values())  # a line is a mean over seeds and no more
    curves = {content.run["config"]["curve"] for content in contents}
    assert len({content.run["config"]["line"] for content in contents}) == 7  # evasion in two views
    assert len(curves) == 5
    known = {f"config:{name}" for content in contents for name in content.run["config"]}
    known |= {f"summary:{name}" for content in contents for name in content.summary}
    known |= {name for content in contents for row in content.history for name in row}
    known |= {f"summary:{name}" for content in contents for name in content.history[-1]}  # as W&B itself does
    spec = dashboard.spec(["tiny"], WandbSettings(), parts(found), defended=True)
    missing = {key for key in dashboard.keys(spec) - known - UNDEFINED if not key.startswith("overview/")}
    assert missing == set()


def test_lines_of_several_benches_name_the_bench() -> None:
    shown = parts(three_threats.results())
    spec = dashboard.spec(["a", "b"], WandbSettings(), shown)
    groups = {panel["group_by"] for section in spec["sections"] for panel in section["panels"] if "group_by" in panel}
    assert groups == {"line"}
    assert spec["runs"]["filter"] == {"bench": ["a", "b"]}
    assert spec["runs"]["group_by"][:2] == ["bench", "threat"]
    assert spec["runs"]["columns"][:2] == ["config:bench", "config:threat"]
    one = dashboard.spec(["a"], WandbSettings(), shown[:1], only="evasion")
    assert (one["name"], one["threats"], one["runs"]["group_by"][0]) == ("a: evasion", ["evasion"], "pair")


def groups(shown: Sequence[Shown]) -> dict[str, str]:
    """By what the lines and bars of each key are grouped."""
    spec = dashboard.spec(["a"], WandbSettings(), shown)
    panels = [panel for section in spec["sections"] for panel in section["panels"] if "group_by" in panel]
    return {panel.get("y", panel.get("key")): panel["group_by"] for panel in panels}


def test_what_views_or_threats_share_is_never_averaged_over_them() -> None:
    shown = parts(three_threats.results())
    by = groups(shown)
    assert by["accuracy/black_box"] == "curve"  # of one view
    assert by["robust/transfer_ratio"] == "curve"  # of two, but it means something in one
    assert by["curve_area"] == "line"  # of two
    assert by["backdoor/false_trigger"] == "curve"  # this threat has one view here
    assert by["clean_accuracy"] == "line"  # of three threats
    one_view = [replace(part, views=part.views[:1]) for part in shown]
    assert (groups(one_view)["clean_accuracy"], groups(one_view)["curve_area"]) == ("line", "curve")
    assert groups(one_view[:1])["clean_accuracy"] == "curve"


@pytest.mark.parametrize("threat", ["evasion", "backdoor", "membership"])
def test_no_section_names_a_threat_but_by_its_face(threat: str) -> None:
    (shown,) = [part for part in parts(three_threats.results()) if part.face.threat == threat]
    spec = dashboard.spec(["a"], WandbSettings(), [shown])
    assert [section["name"] for section in spec["sections"]][1] == shown.title
    assert spec["axis"] == shown.face.axis
