"""Makes a W&B workspace of a dashboard and saves it; needs the optional wandb-workspaces."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

from tl_robust.errors import ConfigError
from tl_robust.seeding import digest
from tl_robust.sinks.wandb.session import account, environment

INSTALL = "pip install wandb-workspaces"


def build(spec: Mapping[str, Any], entity: str) -> Any:
    """The workspace, not saved.

    Args:
        spec: As :func:`tl_robust.sinks.wandb.dashboard.spec` gives it.
        entity: User or team that owns the project.

    Raises:
        ConfigError: wandb-workspaces is not installed.
    """
    try:
        import wandb_workspaces.reports.v2 as wr
        import wandb_workspaces.workspaces as ws
    except ImportError as error:
        raise ConfigError(f"a dashboard needs wandb-workspaces ({error}): {INSTALL}") from error

    def panel(item: Mapping[str, Any]) -> Any:
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

    runs = spec["runs"]
    return ws.Workspace(
        entity=entity,
        project=spec["project"],
        name=spec["name"],
        sections=[
            ws.Section(name=section["name"], is_open=section["open"], panels=list(map(panel, section["panels"])))
            for section in spec["sections"]
        ],
        auto_generate_panels=True,  # for what it does not name, below it: pictures, metrics of plugins
        settings=ws.WorkspaceSettings(x_axis=spec["axis"], max_runs=1000),
        runset_settings=ws.RunsetSettings(
            filters=[ws.Config(name) == value for name, value in runs["filter"].items()],
            groupby=[ws.Config(name) for name in runs["group_by"]],
            pinned_columns=list(runs["columns"]),
        ),
    )


def push(spec: Mapping[str, Any]) -> str:
    """Save the dashboard as a view of the project, replacing the one before; returns its address.

    Raises:
        ConfigError: No API key, no wandb-workspaces, or the server refused.
    """
    build(spec, spec["entity"] or "me")  # says what is missing here before anything goes over the network
    if not account()[1]:
        raise ConfigError(
            "a dashboard is kept by the W&B server and W&B finds no API key: run `wandb login` or set WANDB_API_KEY; "
            "`tl-robust dashboard spec` shows it without one."
        )
    import wandb

    with environment():
        try:
            workspace = build(spec, spec["entity"] or str(wandb.Api().default_entity))
            _replace(workspace, digest(["dashboard", spec["runs"]["filter"]])[:11])
            workspace.save()
            return str(workspace.url)
        except Exception as error:
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            raise ConfigError(f"the W&B server did not take the dashboard ({reason}).") from error


def _replace(workspace: Any, key: str) -> None:
    """Give a workspace its own name, and the id of the view that has this name in the project, if any."""
    from wandb_workspaces.workspaces import internal

    workspace._internal_name = f"nw-{key}-v"
    with contextlib.suppress(ValueError):  # none yet
        workspace._internal_id = internal.get_view_dict(workspace.entity, workspace.project, key)["id"]
