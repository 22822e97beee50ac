"""A W&B Report of one or several benches as plain values: the answer in words with panels beside it.

``published_report`` makes a W&B Report of it. Words come from the results, panels show the runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from tl_robust.results import answer
from tl_robust.results.faces import face_of
from tl_robust.results.names import DECISIONS, MARKS
from tl_robust.sinks.base import Views
from tl_robust.sinks.wandb import panels
from tl_robust.sinks.wandb.limits import LONGEST_NAME
from tl_robust.sinks.wandb.panels import Lines, Shown
from tl_robust.sinks.wandb.session import WandbSettings
from tl_robust.sinks.wandb.tables import TRUST_COLUMNS, reasons
from tl_robust.text import effect_text, p_text, plain

Block = dict[str, Any]
HERE = ("results", "engine", "workers", "wandb", "plugins", "data")  # settings that tell of a machine, not of numbers
ROWS = 60  # of a table in the text
GROUPS = 6  # pairs and attacks of a threat that are answered for in words
CLAIM_COLUMNS = ("claim", "says", "where", "decision", "effect", "p", "rests on")
CONTENT = ("text", "items", "rows", "panels", "code")  # what a block shows; an empty one is left out
READING = (
    "A line or bar is a mean over seeds, with their deviation or range; the sentences have 95 % intervals over samples "
    "and seeds.",
    f"Trust: {', '.join(MARKS.values())}. A number that is not green may be quoted with its reason only.",
    "A claim is supported or refuted where its whole interval is on one side of 0 and its corrected p-value is below "
    "0.05, else undecided; it is not judged where the bench cannot tell.",
)


def spec(
    benches: Sequence[Views], settings: WandbSettings, shown: Sequence[Shown], defended: bool = False
) -> dict[str, Any]:
    """The report of some benches.

    Args:
        benches: What is known of each.
        settings: Project and entity.
        shown: Their threats.
        defended: They have defenses, so that there is a defense card.

    Returns:
        JSON-able: ``title``, ``description``, ``entity``, ``project``, ``runs`` (filter) and ``blocks``, each with its
        ``kind``: ``heading`` (level, text), ``text``, ``points`` (items), ``table`` (columns, rows), ``panels`` or
        ``code`` (language, code). Nothing in a text is meant as Markdown.
    """
    names = [views.bench for views in benches]
    title = f"{', '.join(names)}: robustness of transfer learning"
    faces = [part.face for part in shown]
    blocks = [_heading("The answer")]
    for views in benches:
        blocks += [_heading(views.bench, 2)] * (len(benches) > 1)
        blocks.append(_points(answer.lines(views.summary, views.findings, _seeds(views), views.faces)))
    blocks += [_heading("How to read it"), _points([*READING, *(face.about for face in faces if face.about)])]
    for part in shown:
        by = Lines.of(part, len(benches), len(shown))
        blocks += [_heading(part.title), *_said(benches, part)]
        blocks.append({"kind": "panels", "panels": [*panels.of_threat(part, by), *panels.of_wholes(part, by)]})
    if claims := [row for views in benches for row in _claims(views, shown, len(benches) > 1)]:
        blocks += [_heading("Claims"), *_table(CLAIM_COLUMNS, claims)]
    if defended:
        blocks += [_heading("Defense card"), {"kind": "panels", "panels": panels.of_card()}]
    blocks.append(_heading("Trust and limits"))
    for views in benches:
        blocks += _trust(views, shown, len(benches) > 1)
    blocks.append({"kind": "panels", "panels": panels.of_trust()})
    blocks.append(_heading("Where it comes from"))
    for views in benches:
        blocks += _provenance(views)
    return {
        "title": plain(title)[:LONGEST_NAME],
        "description": f"{sum(len(_own(views, shown)) for views in benches)} cells of {len(benches)} "
        f"bench{'es' * (len(benches) > 1)}; the text is of the results as they were when this was written.",
        "entity": settings.entity,
        "project": settings.project,
        "runs": {"filter": {"bench": names[0] if len(names) == 1 else names}},
        "blocks": [
            block for block in blocks if any(block.get(name) for name in ("text", "items", "rows", "panels", "code"))
        ],
    }


def keys(of: Mapping[str, Any]) -> set[str]:
    """All keys of runs that the panels of a report read, as those of a dashboard."""
    return panels.keys_of(panel for block in of["blocks"] for panel in block.get("panels", ()))


def _said(benches: Sequence[Views], part: Shown) -> Iterator[Block]:
    """What is said of a threat, for each pair and attack."""
    for views in benches:
        answers = answer.said(views.summary, views.findings, quoted=True, faces=views.faces)
        own = [each for each in answers if each.face.threat == part.face.threat]
        for each in own[:GROUPS]:
            where = f"{views.bench}: " * (len(benches) > 1) + each.group
            yield _text(where)
            yield _points(each.lines)
        if (left := len(own) - GROUPS) > 0:
            yield _text(f"{left} more pairs or attacks of {views.bench} are in its own report and in the panels.")


def _claims(views: Views, shown: Sequence[Shown], several: bool) -> Iterator[list[str]]:
    threats = {part.face.threat for part in shown}
    for finding in views.findings:
        if finding.threat in threats and finding.decision != "not judged":
            where = [views.bench] * several + [finding.pair or "all pairs", finding.labels, finding.attack.rstrip()]
            effect = effect_text(finding.effect, finding.low, finding.high, finding.unit)
            rests = f"{finding.seeds} {finding.units}, {finding.n} {finding.judged}"
            names = [finding.claim, finding.says, ", ".join(filter(None, where)), DECISIONS[finding.decision]]
            yield [*names, effect, p_text(finding.p), rests]


def _trust(views: Views, shown: Sequence[Shown], several: bool) -> Iterator[Block]:
    own = _own(views, shown)
    levels = [f"{sum(result.verdict.level == level for result in own)} {mark}" for level, mark in MARKS.items()]
    sentences = [f"{f'{views.bench}: ' * several}{len(own)} cells, {', '.join(levels)}.", *views.notes]
    if views.failures:
        sentences.append(f"{len(views.failures)} parts of the bench failed, and what rests on them is missing.")
    yield _points(sentences)
    yield from _table(TRUST_COLUMNS, [list(map(str, row)) for row in reasons(own)])


def _provenance(views: Views) -> Iterator[Block]:
    made = [result.provenance for result in views.results]
    facts = {"bench": [views.bench], "date": [views.when], "program": [views.program]}
    facts |= {name: [_flat(item[name]) for item in made if item.get(name)] for name in ("commit", "device", "versions")}
    told = {name: [value for value in dict.fromkeys(values) if value] for name, values in facts.items()}
    yield _points(
        [f"{name}: {'; '.join(values)}" for name, values in {"bench": [views.bench], **told}.items() if values]
    )
    settings = {name: value for name, value in views.settings.items() if name not in HERE}
    if settings:
        yield {"kind": "code", "language": "yaml", "code": plain(yaml.safe_dump(settings, sort_keys=False))}


def _flat(fact: Any) -> str:
    return ", ".join(f"{name} {value}" for name, value in fact.items()) if isinstance(fact, Mapping) else str(fact)


def _own(views: Views, shown: Sequence[Shown]) -> list[Any]:
    """The results of the threats that are shown."""
    threats = {part.face.threat for part in shown}
    return [result for result in views.results if face_of(result.cell, views.faces).threat in threats]


def _seeds(views: Views) -> int:
    return len({result.cell.seed for result in views.results})


def _heading(text: str, level: int = 1) -> Block:
    return {"kind": "heading", "level": level, "text": plain(text)}


def _text(text: str) -> Block:
    return {"kind": "text", "text": plain(text)}


def _points(items: Sequence[str]) -> Block:
    return {"kind": "points", "items": [plain(" ".join(item.split())) for item in items]}


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[Block]:
    shown = [[plain(" ".join(item.split())) for item in row] for row in rows[:ROWS]]
    yield {"kind": "table", "columns": list(columns), "rows": shown}
    if len(rows) > ROWS:
        yield _text(f"{len(rows) - ROWS} more rows are in the table of the overview run.")
