"""``report.html``, one file that opens without a network, and ``report.md``: the answer first, then how it was made.

Both are pure functions of results and summary. A section is a list of blocks, and a new section one more line of
:func:`write`; ``report.html`` beside this file is the page around them.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from string import Template

from tl_robust.claims.effects import Finding
from tl_robust.errors import TLRobustError
from tl_robust.files import write_atomically
from tl_robust.results.names import DECISIONS, MARKS, Names, grid
from tl_robust.results.table import Row
from tl_robust.sinks.report import origins, sections
from tl_robust.sinks.report.blocks import Block, Code, Fold, Markup, Panels, Points, Table, Text, Why
from tl_robust.sinks.report.charts import COLORS, DASHES, SHAPES, figure, limits, lines, packed, strips
from tl_robust.sinks.report.ledger import ledger
from tl_robust.sinks.report.matrix import matrices
from tl_robust.sinks.report.pictures import gallery
from tl_robust.text import plain
from tl_robust.types import Pictures, Result

__all__ = ["figure", "write"]
NUMBER = r"(\d+\.\d %)( \[[^\]]*\])"  # a percentage with its interval, never broken over lines
LONG = 40  # characters of a field that may break over lines
FIGURE = "curves.svg"
WIDE = 8  # columns that a printed page takes upright
SHORT = 8  # a heading of a row that stays in sight while its table scrolls
Section = tuple[str, list[Block]]


def write(
    folder: Path,
    bench: str,
    results: Sequence[Result],
    summary: Sequence[Row],
    config_yaml: str,
    failures: Sequence[Mapping[str, str]] = (),
    findings: Sequence[Finding] = (),
    pictures: Mapping[str, Pictures] | None = None,
    seconds: Mapping[str, float] | None = None,
    *,
    notes: Sequence[str] = (),
    when: str = "",
) -> list[Path]:
    """Write ``report.html`` and ``report.md``; the same arguments give the same bytes.

    Args:
        folder: Where the two files go.
        bench: Title.
        results: The single cells: seeds, clean accuracy, trust and provenance are read from them.
        summary: Means over seeds with intervals, as :func:`tl_robust.results.table.summary` gives them.
        config_yaml: What was asked for.
        failures: One mapping for each cell that failed.
        findings: What was found of the claims.
        pictures: Images by key of an outcome, as :class:`tl_robust.bench.runner.Finished` has them.
        seconds: What the computing took, by kind of the store's entries.
        notes: What a reader must know of the data, a sentence each.
        when: Date of the run, as it reads.

    Returns:
        The paths of both files; ``curves.svg``, the figure of ``report.md``, is beside them.

    Raises:
        ResultsError: The folder cannot be written.
    """
    names = Names.of(row.cell for row in summary)
    answers, charted = sections.answers(results, summary, findings, names, len(failures), notes)
    found: list[Section] = [
        ("The answer", answers),
        ("Failures", origins.failed(failures)),
        ("Accuracy under attack", sections.curves(summary, names, ["robust_accuracy"], charted)),
        ("Transferability", sections.curves(summary, names, sections.TRANSFER)),
        ("Claims", ledger(findings)),
        ("Lineage: who helps the attacker", matrices(results, summary, names)),
        ("Pictures", gallery(results, summary, pictures or {}, names)),
        ("Clean accuracy and whole curves", [*sections.clean(results, names), *sections.whole_curves(summary, names)]),
        ("Trust", origins.trust(results, names)),
        ("Other metrics", sections.others(summary, names)),
        ("Cost", origins.cost(seconds or {})),
        ("How each number was made", origins.made(results, config_yaml)),
    ]
    found = [(title, blocks) for title, blocks in found if blocks]
    facts = [sections.facts(bench, results, when), *([] if answers else notes), sections.ran(results, summary, names)]
    page, text = folder / "report.html", folder / "report.md"
    write_atomically(page, _page(bench, facts, found, summary, names).encode())
    drawn = _figure(folder / FIGURE, [row for row in summary if names.group(row.cell) in charted], names)
    write_atomically(text, plain(_markdown(bench, facts, found, drawn)).encode())
    return [page, text]


def _figure(path: Path, rows: Sequence[Row], names: Names) -> str:
    """Draw the curves of the answer; returns what ``report.md`` shows of them, or why it shows none."""
    if not rows:
        path.unlink(missing_ok=True)  # that of an earlier report
        return ""
    try:
        figure(rows, path, names)
    except TLRobustError as error:
        path.unlink(missing_ok=True)
        return _escaped(f"The figure is missing: {error}")
    return f"![Accuracy under attack over eps]({path.name})"


def _page(bench: str, facts: Sequence[str], found: Sequence[Section], summary: Sequence[Row], names: Names) -> str:
    strategies = list(dict.fromkeys(names.strategy(row.cell) for row in summary))
    keys = _keys(strategies)
    specs: dict[tuple[object, ...], dict[str, object]] = {}
    panels: list[dict[str, object]] = []

    def chart(group: Panels) -> str:
        boxes = []
        for title, metric, rows in group.panels:
            key = (metric, *(eps := grid(rows)))
            if key not in specs:
                chart = lines(metric, eps, strategies, limits(metric, summary)).to_dict()
                specs[key] = {"chart": chart, "eps": eps, "strips": strips(eps), "strategies": strategies}
            label = f"{title}, {names.group(rows[0].cell)}: {metric} over eps; the table below has its values"
            boxes.append(
                f"<figure><figcaption>{html.escape(title)}</figcaption>"
                f'<div class="chart" data-panel="{len(panels)}"></div></figure>'
            )
            panels.append({"spec": list(specs).index(key), "label": label, "lines": packed(rows, names, strategies)})
        return f'<ul class="legend again" aria-hidden="true">{keys}</ul><div class="panels">{"".join(boxes)}</div>'

    parts, nav = [], []
    for place, (title, blocks) in enumerate(found):
        legend = f'<ul class="legend" aria-label="Strategies">{keys}</ul>'
        inside, charted = "", False
        for block in blocks:
            if isinstance(block, Panels):
                inside += chart(block) if charted else legend + chart(block)
                charted = True
            else:
                inside += _html(block)
        parts.append(f'<section id="s{place}"><h2>{html.escape(title)}</h2>{inside}</section>')
        nav.append(f'<li><a href="#s{place}">{html.escape(title)}</a></li>')
    return Template(files(__package__).joinpath("report.html").read_text("utf-8")).substitute(
        title=plain(html.escape(bench)),
        facts=plain("".join(f"<p>{html.escape(line)}</p>" for line in facts)),
        nav=plain("".join(nav)),
        sections=plain("\n".join(parts)),
        charts=json.dumps({"specs": list(specs.values()), "panels": panels}, separators=(",", ":")).replace(
            "<", "\\u003c"
        ),
        bundle=_bundle() if panels else "",
    )


@cache
def _bundle() -> str:
    import vl_convert

    script: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    return script.replace("</script", "<\\/script")


def _keys(strategies: Iterable[str]) -> str:
    """The items of a legend."""
    items = []
    for place, name in enumerate(strategies):
        color, dash, shape = (kind[place % len(kind)] for kind in (COLORS, DASHES, SHAPES))
        dashes = ",".join(map(str, dash))
        line = f'<line x2="40" y1="8" y2="8" stroke="{color}" stroke-width="2" stroke-dasharray="{dashes}"/>'
        mark = f'<path d="{shape}" fill="{color}" transform="translate(20 8) scale(4.5)"/>'
        items.append(f'<li><svg width="40" height="16" aria-hidden="true">{line}{mark}</svg>{html.escape(name)}</li>')
    return "".join(items)


def _html(block: Text | Points | Table | Code | Markup | Fold) -> str:
    if isinstance(block, Markup):
        return block.html
    if isinstance(block, Fold):
        inside = "".join(map(_html, block.blocks))
        return f"<details><summary>{html.escape(block.title)}</summary>{inside}</details>"
    if isinstance(block, Points):
        return f'<ul class="points">{"".join(f"<li>{_prose(item)}</li>" for item in block.items)}</ul>'
    if isinstance(block, Text):
        heading = f"<h3>{html.escape(block.heading)}</h3>" if block.heading else ""
        return heading + (f"<p>{_prose(block.text)}</p>" if block.text else "")
    if isinstance(block, Code):
        return f'<pre tabindex="0"><code>{html.escape(block.text)}</code></pre>'
    title = html.escape(block.title)
    kinds = ["cards"] * block.cards + ["wide"] * (len(block.head) > WIDE)
    kind = f' class="{" ".join(kinds)}"' if kinds else ""
    head = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in block.head)
    labels = block.head if block.cards else [""] * len(block.head)
    body = "".join(
        f"<tr>{''.join(_cell(item, labels[place], place < block.names) for place, item in enumerate(row))}</tr>"
        for row in block.body
    )
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{title}"><table{kind}>'
        f"<caption><span>{title}</span></caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _prose(text: str) -> str:
    return re.sub(NUMBER, r'<span class="number"><strong>\1</strong>\2</span>', html.escape(text))


def _cell(item: str | Why, label: str, name: bool) -> str:
    """A cell; ``label`` is the heading that a card shows before it."""
    text = item if isinstance(item, str) else item.text
    level = next((level for level, mark in (MARKS | DECISIONS).items() if mark == text), "")
    inside = f'<span class="{level}">{text}</span>' if level else html.escape(text)
    if isinstance(item, Why):
        inside += f"<details><summary>Why</summary><p>{html.escape(item.more)}</p></details>"
    shown = f' data-label="{html.escape(label)}"' if label else ""
    if name:
        short = ' class="short"' * (len(text) <= SHORT)
        return f'<th scope="row"{short}{shown}>{inside}</th>'
    long = ' class="long"' * (len(text) > LONG or isinstance(item, Why))
    return f"<td{long}{shown}>{inside}</td>"


def _markdown(bench: str, facts: Sequence[str], found: Sequence[Section], drawn: str) -> str:
    parts = [f"# {_escaped(bench)}", *map(_escaped, facts)]
    for title, blocks in found:
        shown = [_markdown_block(block) for block in blocks]
        if drawn and title == found[0][0]:
            first = next(place for place, block in enumerate(blocks) if isinstance(block, Panels))
            shown[first] = [drawn]  # one figure for all charts of the answer
        texts = [text for block in shown for text in block]
        parts += [f"## {title}", *texts] if texts else []
    return "\n\n".join(parts) + "\n"


def _markdown_block(block: Block) -> list[str]:
    if isinstance(block, Points):
        return ["\n".join(f"- {_escaped(item)}" for item in block.items)]
    if isinstance(block, Text):
        return [text for text in (f"### {_escaped(block.heading)}" * bool(block.heading), _escaped(block.text)) if text]
    if isinstance(block, Fold):
        return [text for inside in block.blocks for text in _markdown_block(inside)]
    if not isinstance(block, Table) or not block.brief:
        return []
    texts = ([item if isinstance(item, str) else f"{item.text} {item.more}" for item in row] for row in block.body)
    lines = [block.head, ["---"] * len(block.head), *texts]
    return [_escaped(block.title), "\n".join(f"| {' | '.join(map(_escaped, line))} |" for line in lines)]


def _escaped(text: str) -> str:
    """No Markdown or HTML of its own, on one line."""
    return re.sub(r"([\\`*<|]|(?<=\])\()", r"\\\1", " ".join(text.split()))
