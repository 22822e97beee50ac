"""The optional wandb-workspaces: panels as it wants them, and one sentence where it is missing."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from typing import Any

from tl_robust.errors import ConfigError

INSTALL = "pip install 'tl_robust[dashboard]'"


def library(name: str, what: str) -> Any:
    """A module of wandb-workspaces.

    Args:
        name: ``workspaces``, ``reports.v2`` or what else it has.
        what: What needs it, for the sentence.

    Raises:
        ConfigError: It is not installed.
    """
    try:
        importlib.import_module("wandb_workspaces")
        importlib.import_module("wandb_workspaces")
        return importlib.import_module(f"wandb_workspaces.{name}")
    except ImportError as error:
        raise ConfigError(f"{what} needs wandb-workspaces ({error}): {INSTALL}") from error


def panel(wr: Any, item: Mapping[str, Any]) -> Any:
    """A panel of a dashboard or report.

    Args:
        wr: ``wandb_workspaces.reports.v2``.
        item: As :mod:`tl_robust.sinks.wandb.panels` gives it.
    """
    title, kind = item["title"], item["kind"]
    if kind == "line":
        return wr.LinePlot(
            title=title,
            x=item["x"],
            y=[item["y"]],
            range_x=tuple(item["range_x"]),
            range_y=tuple(item["range_y"] or (None, None)),
            groupby=wr.Config(item["group_by"]),
            groupby_aggfunc=item["center"],
            groupby_rangefunc=item["band"],
            max_runs_to_show=1000,
        )
    if kind == "bar":
        grouping = {"groupby": wr.Config(item["group_by"]), "groupby_aggfunc": item["center"]}
        return wr.BarPlot(title=title, metrics=[item["key"]], **grouping, max_runs_to_show=1000)
    if kind == "scatter":
        return wr.ScatterPlot(title=title, x=wr.SummaryMetric(item["x"]), y=wr.SummaryMetric(item["y"]))
    if kind == "media":
        return wr.MediaBrowser(title=title, media_keys=item["keys"])
    return wr.WeavePanelSummaryTable(table_name=item["key"])


def filters(config: Any, runs: Mapping[str, Any]) -> list[Any]:
    """The filters of a set of runs.

    Args:
        config: ``Config`` of wandb-workspaces' filters.
        runs: What its configuration has; of a list, one of these.
    """
    wanted = runs["filter"].items()
    return [config(name).isin(value) if isinstance(value, list) else config(name) == value for name, value in wanted]


def condition(runs: Mapping[str, Any]) -> str:
    """The same as one sentence of W&B's language of filters, which a report wants.

    The library writes such a sentence without escapes, and a quotation mark in a name would end the name.

    >>> print(condition({"filter": {"bench": "it's"}}))
    Config("bench") == "it's"
    >>> print(condition({"filter": {"bench": ["a", "b"]}}))
    Config("bench") in ["a", "b"]
    """
    parts = [
        f"Config({json.dumps(name)}) {'in' if isinstance(value, list) else '=='} {json.dumps(value)}"
        for name, value in runs["filter"].items()
    ]
    return " and ".join(parts)


def column(name: str) -> str:
    """A column of the table of runs: W&B keeps each entry of a configuration under ``value``."""
    return f"{name}.value" if name.startswith("config:") else name
