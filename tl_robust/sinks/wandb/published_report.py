"""Makes a W&B Report of its plain values and saves it; needs the optional wandb-workspaces."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from tl_robust.errors import ConfigError
from tl_robust.sinks.report.markdown import escaped
from tl_robust.sinks.wandb.library import condition, library, panel
from tl_robust.sinks.wandb.session import account, default_entity, environment

WIDE, HIGH, ACROSS = 12, 8, 2  # of a panel, in units of a grid that is 24 wide; panels in a row


def build(spec: Mapping[str, Any], entity: str) -> Any:
    """The report, not saved.

    Args:
        spec: As :func:`tl_robust.sinks.wandb.report.spec` gives it.
        entity: User or team that owns the project; empty for a report that is only looked at, of which W&B's server
            need not know the project.

    Raises:
        ConfigError: wandb-workspaces is not installed.
    """
    wr = library("reports.v2", "a report")

    def runset() -> Any:
        return wr.Runset(
            entity=entity,
            project=spec["project"] if entity else "",
            name=", ".join(_listed(spec["runs"]["filter"]["bench"])),
            filters=condition(spec["runs"]),
        )

    def block(item: Mapping[str, Any]) -> Any:
        kind = item["kind"]
        if kind == "heading":
            return {1: wr.H1, 2: wr.H2, 3: wr.H3}[item["level"]](text=item["text"])
        if kind == "text":
            return wr.P(text=item["text"])
        if kind == "points":
            return wr.UnorderedList(items=list(item["items"]))
        if kind == "table":
            return wr.MarkdownBlock(text=table(item["columns"], item["rows"]))
        if kind == "code":
            return wr.CodeBlock(code=item["code"], language=item["language"])
        grid = [panel(wr, each) for each in item["panels"]]
        for place, each in enumerate(grid):
            row, column = divmod(place, ACROSS)
            each.layout = wr.Layout(x=column * WIDE, y=row * HIGH, w=WIDE, h=HIGH)
        return wr.PanelGrid(runsets=[runset()], panels=grid)

    return wr.Report(
        project=spec["project"],
        entity=entity or "nobody",
        title=spec["title"],
        description=spec["description"],
        blocks=[wr.TableOfContents(), *map(block, spec["blocks"])],
        width="fluid",
    )


def push(spec: Mapping[str, Any]) -> str:
    """Save the report in its project and return its address.

    Each time it is a new one: what people wrote into an earlier one stays.

    Raises:
        ConfigError: No API key, no wandb-workspaces, or the server refused.
    """
    build(spec, "")  # says what is missing here before anything goes over the network
    if not account()[1]:
        raise ConfigError(
            "a report is kept by the W&B server and W&B finds no API key: run `wandb login` or set WANDB_API_KEY; "
            "without --push the report is printed as JSON."
        )
    with environment():
        try:
            return str(build(spec, spec["entity"] or default_entity()).save().url)
        except Exception as error:
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            raise ConfigError(f"the W&B server did not take the report ({reason}).") from error


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown, whose cells are shown as they are: no link, picture, formula or HTML of theirs."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _cell(text: str) -> str:
    """Also addresses and formulas, which Markdown of W&B makes links and pictures of without any sign around them."""
    return re.sub(r"(\$|(?<=[a-zA-Z])://|(?<=www)\.|!(?=\[)|\[)", r"\\\1", escaped(text))


def _listed(value: str | Sequence[str]) -> Sequence[str]:
    return [value] if isinstance(value, str) else value
