"""Makes a W&B workspace of a dashboard and saves it; needs the optional wandb-workspaces."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

from tl_robust.errors import ConfigError
from tl_robust.seeding import digest
from tl_robust.sinks.wandb.library import column, filters, library, panel
from tl_robust.sinks.wandb.session import account, default_entity, environment


def build(spec: Mapping[str, Any], entity: str) -> Any:
    """The workspace, not saved.

    Args:
        spec: As :func:`tl_robust.sinks.wandb.dashboard.spec` gives it.
        entity: User or team that owns the project.

    Raises:
        ConfigError: wandb-workspaces is not installed.
    """
    wr, ws = library("reports.v2", "a dashboard"), library("workspaces", "a dashboard")
    sections = [(section, [panel(wr, item) for item in section["panels"]]) for section in spec["sections"]]
    runs = spec["runs"]
    return ws.Workspace(
        entity=entity,
        project=spec["project"],
        name=spec["name"],
        sections=[ws.Section(name=item["name"], is_open=item["open"], panels=panels) for item, panels in sections],
        auto_generate_panels=True,  # for what it does not name, below it: pictures, metrics of plugins
        settings=ws.WorkspaceSettings(x_axis=spec["axis"], max_runs=1000),
        runset_settings=ws.RunsetSettings(
            filters=filters(ws.Config, runs),
            groupby=[ws.Config(name) for name in runs["group_by"]],
            pinned_columns=list(map(column, runs["columns"])),
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
    with environment():
        try:
            only = [spec["only"]] * bool(spec["only"])  # the view of one threat does not replace that of all
            workspace = build(spec, spec["entity"] or default_entity())
            _replace(workspace, digest(["dashboard", spec["runs"]["filter"], *only])[:11])
            workspace.save()
            return str(workspace.url)
        except Exception as error:
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            raise ConfigError(f"the W&B server did not take the dashboard ({reason}).") from error


def _replace(workspace: Any, key: str) -> None:
    """Give a workspace its own name, and the id of the view that has this name in the project, if any."""
    internal = library("workspaces.internal", "a dashboard")
    workspace._internal_name = f"nw-{key}-v"
    with contextlib.suppress(ValueError):  # none yet
        workspace._internal_id = internal.get_view_dict(workspace.entity, workspace.project, key)["id"]
