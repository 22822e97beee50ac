"""What the report says: the answer in words, then curves and tables of every number.

Each function returns the blocks of one section; those of one threat get its face and the rows and results of it alone.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import replace

from tl_robust.metrics import METRICS
from tl_robust.results import answer
from tl_robust.results.answer import Said
from tl_robust.results.faces import by_threat, face_of
from tl_robust.results.names import MARKS, Names, grid, grouped, interval, method, number
from tl_robust.results.table import Row
from tl_robust.sinks.base import Views
from tl_robust.sinks.report.blocks import Block, Fold, Panel, Panels, Points, Table, Text
from tl_robust.sinks.report.charts import leading, thin_title
from tl_robust.types import Face, Outcome, Result

OTHERS = 2000  # numbers of metrics without a chart that the page shows, to stay small


def facts(views: Views) -> str:
    """One line: the bench, the date of its run, seeds and devices; as far as they are known."""
    seeds = sorted({result.cell.seed for result in views.results})
    devices = sorted({str(result.provenance["device"]) for result in views.results if "device" in result.provenance})
    parts = [f"Bench {views.bench}", *[f"run of {views.when}"] * bool(views.when)]
    parts += [_several("seed", seeds)] * bool(seeds)
    return ", ".join([*parts, *[f"on {' and '.join(devices)}"] * bool(devices)]) + "."


def ran(views: Views, names: Names) -> str:
    """One sentence: what was run; as far as a summary alone tells where results came without samples."""
    cells = [result.cell for result in views.results] or [row.cell for row in views.summary]
    if not cells:
        return "Nothing has run yet."
    images = dict[str, set[int]]()
    for result in views.results:
        words = face_of(result.cell, views.faces).samples
        images.setdefault(words, set()).add(len(result.outcome.sample_id))
    parts = [
        _several("pair", [names.pair(cell) for cell in cells]),
        _several("strategy", [names.strategy(cell) for cell in cells]).replace("strategys", "strategies"),
        _several("attack", [method(cell) for cell in cells]),
    ]
    for face, rows in by_threat(views.summary, views.faces):
        parts.append(f"{face.axis} {', '.join(map(face.axis_text, grid(rows)))}")
    parts += [f"{' or '.join(map(str, sorted(counts)))} {words}" for words, counts in images.items()]
    return "; ".join(parts) + "."


def _several(word: str, items: Sequence[object]) -> str:
    different = list(dict.fromkeys(map(str, items)))
    return f"{len(different)} {word}{'s'[: len(different) != 1]} ({', '.join(different)})"


def answers(views: Views, names: Names, own: Mapping[str, list[Block]]) -> tuple[list[Block], set[tuple[str, str]]]:
    """The answer in words, then charts of the first pairs and attacks, then a table of all.

    Args:
        views: What is shown.
        names: How cells are named.
        own: What stands in place of this table, by threat; nothing where the table is right.

    Returns:
        The blocks, and threat and name of what was charted.
    """
    said = answer.said(views.summary, views.findings, names, quoted=True, faces=views.faces)
    if not said:
        return [], set()
    threats = list(grouped(said, lambda each: each.face.threat).values())
    seeds = len({result.cell.seed for result in views.results})
    warned = [*views.notes, *answer.caveats(views.summary, views.findings, seeds, views.faces)]
    if views.failures:
        warned.insert(0, "Some cells are missing here, since they failed: see Failures.")
    overall = answer.overall(views.findings)
    blocks: list[Block] = [Points(overall)] if overall else []
    charted, tables = set[tuple[str, str]](), list[Block]()
    rows = grouped(views.summary, lambda row: (row.cell.threat, names.group(row.cell)))
    for members in threats:
        face = members[0].face
        lead = (answer.of_first_attack(members) if face.ranked else members)[: answer.LEAD]
        for each in lead:
            title = f"{face.name}: {each.group}" if len(threats) > 1 else each.group
            heading, *charts, numbers = _curve(face, title, rows[face.threat, each.group], names, leading(face), True)
            words: list[Block] = [Text(_about(face))] if each is lead[0] and face.about else []
            words += [Points(warned)] if each is said[0] and warned else []
            blocks += [heading, Points(each.lines), *words, *charts, numbers]
            charted.add((face.threat, each.group))
        if len(members) > len(lead):
            where = "what they tell stands below" if face.ranked else "their charts are in the next section"
            blocks.append(Text(f"{len(members) - len(lead)} more: {where}."))
        tables += own.get(face.threat) or [_where_it_tells_most(face, members, names)]
    return [*blocks, *tables], charted


def _about(face: Face) -> str:
    """The words of the answer, and what others call the threat."""
    terms = "; ".join(f"{who}: {what}" for who, what in face.terms.items())
    return f"{face.about} Others call it {terms}." if terms else face.about


def _where_it_tells_most(face: Face, said: Sequence[Said], names: Names) -> Table:
    """A row for each strategy: what its victim does untouched, and in each view where the strategies differ most."""
    there = {row.cell.view for each in said for row in each.rows}
    views = [view for view in face.views if view in there]
    untouched = face.baseline is not None
    body = []
    for each in said:
        telling = {view: answer.telling([row for row in each.rows if row.cell.view == view], face) for view in views}
        for strategy, rows in grouped(each.rows, lambda row: names.strategy(row.cell)).items():
            trust = max((row.trust for row in rows), key=list(MARKS).index)
            clean = [interval(row) for row in rows if row.eps == face.baseline][:1] or ["-"]
            at = {row.cell.view: f"{interval(row)} at {face.axis_text(row.eps or 0.0)}" for row in rows
                  if row.eps == telling.get(row.cell.view)}  # fmt: skip
            body.append(
                (each.group, strategy, *clean * untouched, *(at.get(view, "-") for view in views), MARKS[trust])
            )
    head = ("pair, attack", "strategy", *[face.untouched] * untouched, *map(face.side, views), "trust")
    where = {"apart": f"at the {face.axis} where the strategies differ most", "last": f"at the last {face.place}"}
    title = f"{face.measure}, each view {where[face.told]}, mean over seeds"
    return Table(f"{title}, [95 % interval]", head, body, names=2, brief=True, cards=True)


def curves(
    face: Face,
    rows: Sequence[Row],
    names: Names,
    metrics: Sequence[str],
    charted: Container[tuple[str, str]] = frozenset(),
) -> list[Block]:
    """Charts of some metrics over the axis, for each pair and attack that is not charted already, with their tables."""
    shown = [*metrics, *(face.compared[metric] for metric in metrics if metric in face.compared)]
    rows = [row for row in rows if row.metric in shown and row.eps is not None]
    blocks: list[Block] = []
    for group, members in grouped(rows, lambda row: names.group(row.cell)).items():
        if (face.threat, group) not in charted:
            by_view = len(metrics) == 1 or metrics[0] == face.headline
            heading, *charts, numbers = _curve(face, group, members, names, metrics, by_view)
            blocks += [heading, *charts, numbers] if charts or not face.ranked else [numbers]
    there = {row.metric for row in rows}
    return [*_meanings(face, (metric for metric in shown if metric in there)), *blocks] if blocks else []


def _curve(
    face: Face, group: str, rows: Sequence[Row], names: Names, metrics: Sequence[str], by_view: bool
) -> list[Block]:
    curves = grouped((row for row in rows if row.eps is not None), lambda row: (row.metric, row.cell.view))
    views = [view for view in face.views if any(there == view for _, there in curves)]
    lanes = [[(metric, view) for metric in metrics for view in views if (metric, view) in curves]]
    if face.compared:  # what must be seen together stands in one lane
        lanes = [[(metric, place) for metric, place in lanes[0] if place == view] for view in views]
    several = len({view for lane in lanes for _, view in lane}) > 1
    panels: list[Block] = []
    tables: list[Table] = []
    for lane in lanes:
        charts = []
        for metric, view in lane:
            other = face.compared.get(metric, "")
            thin = curves.get((other, view), [])
            name = face.beside.get(metric, metric) if by_view else metric
            title = f"{name}, {face.side(view)}" if several else name
            if by_view and metric == metrics[0]:
                title = f"{face.side(view).capitalize()}: {face.word}" if other else face.views[view]
            alone = face.ranked and len(grid(curves[metric, view])) == 1  # its table says all that there is
            if (thin or not other) and not alone:
                charts.append(Panel(thin_title(face, title, other), metric, curves[metric, view], thin))
            for name, numbers in ((metric, curves[metric, view]), (other, thin)):
                if numbers:
                    tables.append(_by_x(face, f"{name}, {face.side(view)}", numbers, names, metric == metrics[0]))
        panels += [Panels(face, charts)] if charts else []
    return [Text("", group), *panels, Fold(f"Numbers of {group}", tables)]


def _meanings(face: Face, metrics: Iterable[str]) -> list[Block]:
    docs = {metric: METRICS[metric].doc.replace("`", "") for metric in metrics}
    return [Text(f"{metric}: {doc} {face.notes.get(metric, '')}".strip()) for metric, doc in docs.items()]


def _by_x(face: Face, title: str, rows: Sequence[Row], names: Names, brief: bool) -> Table:
    lines = grouped(rows, lambda row: names.strategy(row.cell))
    at = {(row.eps, label): row for label, line in lines.items() for row in line}
    sizes = {row.n for row in rows}
    title += f", n {sizes.pop()}" if len(sizes) == 1 else ", n in parentheses"

    def text(row: Row | None) -> str:
        return "-" if row is None else interval(row) + (f" ({row.n})" if sizes else "")

    body = [(face.axis_text(x), *(text(at.get((x, label))) for label in lines)) for x in grid(rows)]
    return Table(title, (face.axis, *lines), body, brief=brief)


def others(face: Face, rows: Sequence[Row], names: Names) -> list[Block]:
    """Tables of the metrics that have no chart; of a large bench, of the first pairs and attacks."""
    charted = [*leading(face), *face.charts]
    shown = {*charted, *(face.compared.get(metric, "") for metric in charted)}
    rows = [row for row in rows if row.metric not in shown and row.eps is not None]
    blocks, left = _meanings(face, dict.fromkeys(row.metric for row in rows)), OTHERS
    for group, members in grouped(rows, lambda row: names.group(row.cell)).items():
        left -= len(members)
        if left < 0:
            return [*blocks, Text(f"The numbers of more pairs and attacks, {len(rows)} in all, are in summary.csv.")]
        curves = grouped(members, lambda row: f"{row.metric}, {face.side(row.cell.view)}")
        tables = [_by_x(face, title, curve, names, False) for title, curve in curves.items()]
        blocks.append(Fold(f"Numbers of {group}", tables))
    return blocks


def whole_curves(face: Face, rows: Sequence[Row], names: Names) -> list[Block]:
    """The metrics that sum a whole curve up."""
    rows = [row for row in rows if row.eps is None]
    metrics = list(dict.fromkeys(row.metric for row in rows))
    cells = grouped(rows, lambda row: (names.group(row.cell), face.side(row.cell.view), names.strategy(row.cell)))
    at = {(cell, row.metric): interval(row) for cell, members in cells.items() for row in members}
    order = list(dict.fromkeys(group for group, _, _ in cells))
    ranked = sorted(cells, key=lambda cell: (order.index(cell[0]), cell[1]))
    body = [(*cell, *(at.get((cell, metric), "-") for metric in metrics)) for cell in ranked]
    head = ("pair, attack", "view", "strategy", *metrics)
    table = Table("Whole curves, [95 % interval]", head, body, 3, brief=True)
    return [*_meanings(face, metrics), table] if rows else []


def clean(face: Face, results: Sequence[Result], names: Names) -> list[Block]:
    """Accuracy of victim and source model without an attack, of results that have the classes of both."""
    known = [result for result in results if isinstance(result.outcome, Outcome)]

    def accuracy(results: Sequence[Result], model: str) -> str:
        unharmed = [_unharmed(result.outcome, model) for result in results]
        curve = METRICS[face.headline].mean_curve([(outcome, None) for outcome in unharmed])
        value, low, high = (number(float(item[0]), "share") for item in (curve.value, curve.low, curve.high))
        return f"{value} % [{low}, {high}]"

    body = []
    places = grouped(known, lambda result: (names.pair(result.cell), names.strategy(result.cell)))
    for (pair, label), cells in places.items():
        of_view = grouped(cells, lambda cell: cell.cell.view)
        seeds = {view: list({cell.cell.seed: cell for cell in members}.values()) for view, members in of_view.items()}
        first = next(view for view in (*face.views, *seeds) if view in seeds)
        victim = accuracy(seeds[first], "clean_b")
        on_source = seeds.get(next(iter(face.views), ""), [])  # the first view is that of the attacker who has A
        same = [result for result in on_source if bool(result.outcome.same_labels.all())]
        source = accuracy(same, "clean_a") if same else "n/a" if on_source else "-"
        body.append((pair, label, victim, source))
    head = ("pair", "strategy", "victim B", "source model A")
    title = "Clean accuracy on the target's test images, [95 % interval]"
    note = [Text("n/a: the source model has other classes than the target; examples are crafted to change its answer.")]
    return [*note * any(row[3] == "n/a" for row in body), Table(title, head, body, 2, brief=True)] if body else []


def _unharmed(outcome: Outcome, model: str) -> Outcome:
    """The outcome of an attack with eps 0 on ``clean_a`` or ``clean_b``."""
    predicted = outcome.tensors()[model]
    first = {name: outcome.tensors()[name][:1] for name in ("adv_a", "size", "eps", "valid")}
    return replace(outcome, clean_b=predicted, adv_b=predicted[None], **first)
