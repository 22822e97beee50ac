"""A report with text: its words are those of the results, its panels read keys that runs have, names stay names."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.sinks import three_threats
from tests.sinks.test_all_threats import parts
from tests.sinks.wandb_made import API_KEY, no_account, server
from tl_robust.errors import ConfigError
from tl_robust.results import answer, table
from tl_robust.sinks.wandb import dashboard, published_report, report
from tl_robust.sinks.wandb.session import WandbSettings
from tl_robust.sinks.wandb.tables import TRUST_COLUMNS

__all__ = ["no_account"]  # a fixture that all tests use

# wandb-workspaces itself still uses what pydantic deprecates
library = pytest.mark.filterwarnings("ignore::DeprecationWarning")
HOSTILE = "x](https://evil.example) <img src=x> ![y](z) $a$ | www.evil.example `c` \u202e\x1b[2J"


def made(folder: Path, **given: Any) -> dict[str, Any]:
    views = three_threats.views(folder, **given)
    return report.spec([views], WandbSettings(), parts(views.results), defended=True)


def of_kind(spec: Mapping[str, Any], kind: str) -> list[dict[str, Any]]:
    return [block for block in spec["blocks"] if block["kind"] == kind]


def texts(spec: Mapping[str, Any]) -> str:
    return "\n".join(line for block in spec["blocks"] for line in [block.get("text", ""), *block.get("items", ())])


def test_it_has_the_answer_the_claims_the_panels_of_each_threat_and_where_it_comes_from(tmp_path: Path) -> None:
    views = three_threats.views(tmp_path, when="2026-11-30", program="abc 1.0", notes=["Left out: a class."])
    spec = report.spec([views], WandbSettings(), parts(views.results), defended=True)
    headings = [block["text"] for block in of_kind(spec, "heading")]
    assert headings == [
        "The answer", "How to read it", "Evasion: accuracy under attack", "Backdoor: survival of the backdoor",
        "Membership: exposure of training data", "Claims", "Defense card", "Trust and limits", "Where it comes from",
    ]  # fmt: skip
    assert of_kind(spec, "points")[0]["items"] == answer.lines(views.summary, views.findings, 3)
    shown = texts(spec)
    for sentence in (line for each in answer.said(views.summary, views.findings, quoted=True) for line in each.lines):
        assert " ".join(sentence.split()) in shown
    assert "Left out: a class." in shown
    assert "date: 2026-11-30" in shown
    assert "program: abc 1.0" in shown
    decided = [finding for finding in views.findings if finding.decision != "not judged"]
    claims, trust = of_kind(spec, "table")
    assert [row[0] for row in claims["rows"]] == [finding.claim for finding in decided]
    assert decided
    assert trust["columns"][0] == "trust"
    assert {row[0] for row in trust["rows"]} == {"amber"}
    dashboard_keys = dashboard.keys(dashboard.spec(["tiny"], WandbSettings(), parts(views.results), defended=True))
    assert report.keys(spec) <= dashboard_keys  # of which another test shows that runs have them
    assert len(of_kind(spec, "panels")) == 5  # three threats, card, trust
    assert json.loads(json.dumps(spec)) == spec


def test_settings_of_a_machine_stay_there(tmp_path: Path) -> None:
    settings = {"name": "tiny", "eps": [0], "data": {"root": "/home/someone/data"}, "results": "/home/someone/results"}
    spec = made(tmp_path, settings=settings, text="results: /home/someone")
    assert of_kind(spec, "code")[0]["code"] == "name: tiny\neps:\n- 0\n"
    assert "someone" not in json.dumps(spec)


def test_one_threat_and_several_benches(tmp_path: Path) -> None:
    views = three_threats.views(tmp_path)
    spec = report.spec([views, replace(views, bench="other")], WandbSettings(), parts(views.results)[:1])
    assert [block["text"] for block in of_kind(spec, "heading") if block["level"] == 2] == ["tiny", "other"]
    assert spec["runs"]["filter"] == {"bench": ["tiny", "other"]}
    panels = [panel for block in of_kind(spec, "panels") for panel in block["panels"]]
    assert {panel["group_by"] for panel in panels if "group_by" in panel} == {"line"}
    assert "Backdoor: survival" not in texts(spec)
    assert {row[2].partition(",")[0] for row in of_kind(spec, "table")[0]["rows"]} == {"tiny", "other"}


def leaves(item: Any) -> Iterator[dict[str, Any]]:
    """Every node of a report's document."""
    if isinstance(item, dict):
        yield item
        for value in item.values():
            yield from leaves(value)
    elif isinstance(item, list):
        for value in item:
            yield from leaves(value)


@library
def test_the_library_makes_a_report_that_says_the_same(tmp_path: Path) -> None:
    pytest.importorskip("wandb_workspaces")
    spec = made(tmp_path)
    built = published_report.build(spec, "")
    model = json.loads(built._to_model().spec.model_dump_json(by_alias=True, exclude_none=True))
    nodes = list(leaves(model["blocks"]))
    words = {node["text"] for node in nodes if isinstance(node.get("text"), str)}
    wanted = {line for block in spec["blocks"] for line in [block.get("text", ""), *block.get("items", ())]}
    assert wanted - words == set()
    grids = [node for node in nodes if node.get("type") == "panel-grid"]
    assert len(grids) == len(of_kind(spec, "panels"))
    for grid, block in zip(grids, of_kind(spec, "panels"), strict=True):
        panels = grid["metadata"]["panelBankSectionConfig"]["panels"]
        assert len(panels) == len(block["panels"])
        lines = [panel["config"]["metrics"] for panel in panels if panel["viewType"] == "Run History Line Plot"]
        assert lines == [[panel["y"]] for panel in block["panels"] if panel["kind"] == "line"]
        assert '"tiny"' in json.dumps(grid["metadata"]["runSets"][0]["filters"])
    tables = [node["content"] for node in nodes if node.get("type") == "markdown-block"]
    assert [text.count("\n") for text in tables] == [len(block["rows"]) + 1 for block in of_kind(spec, "table")]
    assert built.title == spec["title"]


@library
def test_names_of_strangers_are_shown_and_do_nothing(tmp_path: Path) -> None:
    pytest.importorskip("wandb_workspaces")
    found = [replace(one, cell=replace(one.cell, source=HOSTILE)) for one in three_threats.results()]
    views = replace(three_threats.views(tmp_path), results=found, summary=table.summary(found))
    findings = [replace(finding, pair=HOSTILE, says=HOSTILE) for finding in views.findings]
    spec = report.spec([replace(views, findings=findings)], WandbSettings(), parts(found))
    shown = json.dumps(spec, ensure_ascii=False)
    assert "\u202e" not in shown
    assert "\x1b" not in shown
    model = published_report.build(spec, "")._to_model().spec.model_dump(by_alias=True)
    nodes = list(leaves(model["blocks"]))
    assert not [node for node in nodes if node.get("type") in ("link", "image", "latex")]
    claims, trust = [node["content"] for node in nodes if node.get("type") == "markdown-block"]
    acting = re.sub(r"\\.", "", claims + trust)  # what is left when all that is escaped is gone
    for sign in ("[", "<", "$", "`", "://", "www.", "!["):
        assert sign in HOSTILE
        assert sign not in acting
    for text, columns in ((claims, report.CLAIM_COLUMNS), (trust, TRUST_COLUMNS)):
        assert {line.count("|") - line.count("\\|") for line in text.splitlines()} == {len(columns) + 1}


@library
@pytest.mark.parametrize("name", ["it's", 'a "b"', "a\\b", "größe", "x' or Config('bench') != '", ["it's", 'a "b"']])
def test_a_name_with_quotation_marks_filters_its_runs(name: str | list[str]) -> None:
    pytest.importorskip("wandb_workspaces")
    spec: dict[str, Any] = {"title": "t", "description": "", "project": "p", "entity": ""}
    spec |= {"runs": {"filter": {"bench": name}}, "blocks": [{"kind": "panels", "panels": []}]}
    model = published_report.build(spec, "")._to_model().spec.model_dump(by_alias=True)
    (grid,) = [node for node in leaves(model["blocks"]) if node.get("type") == "panel-grid"]
    (condition,) = grid["metadata"]["runSets"][0]["filters"]["filters"]
    assert (condition["key"]["name"], condition["value"]) == ("bench", name)


@library
def test_a_push_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = made(tmp_path)
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "wandb_workspaces", None)
        missing = r"a report needs wandb-workspaces .*: pip install 'tl_robust\[dashboard\]'"
        with pytest.raises(ConfigError, match=missing):
            published_report.push(spec)
    pytest.importorskip("wandb_workspaces")
    with pytest.raises(ConfigError, match="no API key: run `wandb login`"):
        published_report.push(spec)


@library
def test_each_push_makes_a_report_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb_workspaces")
    spec = {**made(tmp_path), "entity": "me"}
    monkeypatch.setenv("WANDB_API_KEY", API_KEY)
    with server() as remote:
        monkeypatch.setenv("WANDB_BASE_URL", remote.address)
        first, second = (published_report.push(spec) for _ in range(2))
        saved = list(remote.views.values())
    assert first != second
    assert "/me/tl_robust/reports/" in first
    assert [view["displayName"] for view in saved] == [spec["title"]] * 2
    blocks = json.loads(saved[0]["spec"])["blocks"]
    assert [block["type"] for block in blocks].count("panel-grid") == 5
    assert "survival of the backdoor" in saved[0]["spec"]
