"""Audit many models, and show by public parent which backbone is the best to start from.

FILE.yaml names models: and parents: (name: file, folder or entry as below checkpoints: of a bench file; a model has
parent: NAME), data: and other options of an audit. Or give files audit.json, or folders with some, whoever made them.
Exit code: the worst of all audits, where 2 (a lock failed, an input cannot be used) is worse than 1 (a rule of the
policy is broken), and that is worse than 3 (with --strict: undecided).
example: tl-robust audits backbones.yaml --policy policy.yaml
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from tl_robust.cli.commands import audit as one
from tl_robust.errors import InputError, ResultsError, TLRobustError

if TYPE_CHECKING:
    from tl_robust.audit.by_parent import Refused
    from tl_robust.audit.policy import Policy
    from tl_robust.audit.record import Audit
    from tl_robust.auditor.many_file import Asked

WORST = (2, 1, 3, 0)  # exit codes, the worst first


def arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("paths", nargs="+", type=Path, metavar="FILE", help="a .yaml file; or audit.json files and folders with some")
    add("--policy", type=Path, metavar="POLICY", help="rules that each model must keep to")
    add("--strict", action="store_true", help="exit code 3 where a rule is undecided")
    add("--out", type=Path, metavar="FOLDER", help="where to (RESULTS/audits/FILE, or a folder that was given alone)")
    add("--plain", action="store_true", help="lines instead of progress bars")


def run(parsed: argparse.Namespace, console: Console) -> int:
    """Run the command; returns the worst exit code."""
    from tl_robust.audit import by_parent, parent_words
    from tl_robust.audit import policy as policies
    from tl_robust.auditor import many_file
    from tl_robust.cli.parent_tables import parent_tables
    from tl_robust.sinks.report import parents_page

    written = [path for path in parsed.paths if path.suffix in (".yaml", ".yml")]
    if written and len(parsed.paths) > 1:
        raise InputError(f"{written[0]} must stand alone: give one .yaml file, or audit.json files and folders.")
    one.check_folder(parsed.out)
    policy = policies.load(parsed.policy) if parsed.policy else None  # a mistake in it is told before anything runs
    codes: list[int] = []
    if written:
        asked = many_file.read(written[0])
        folder = parsed.out or asked[0].request.results / "audits" / written[0].stem
        audits, refused = _conduct(asked, policy, folder, parsed, console, codes)
    else:
        alone = parsed.paths[0] if len(parsed.paths) == 1 and parsed.paths[0].is_dir() else Path("results/audits")
        folder = parsed.out or alone
        audits, refused = _read(parsed.paths, policy, parsed, codes)
    lines, refused = by_parent.lines(audits), [*by_parent.refused(audits), *refused]
    parent_words.write(folder / "by_parent.csv", lines)
    parents_page.write(lines, refused, folder / "by_parent.html")
    for item in parent_tables(lines, refused):
        console.print(item, soft_wrap=isinstance(item, str), markup=False)
    console.print(f"By parent: {folder / 'by_parent.html'}, by_parent.csv", soft_wrap=True)
    return min(codes, key=WORST.index, default=0)


def _conduct(
    asked: Sequence[Asked],
    policy: Policy | None,
    folder: Path,
    parsed: argparse.Namespace,
    console: Console,
    codes: list[int],
) -> tuple[list[Audit], list[Refused]]:
    """Audit one model after the other, and write what is found of each."""
    from tl_robust.audit.by_parent import Refused
    from tl_robust.audit.decisions import decide, earlier_of, exit_code
    from tl_robust.auditor.many import conduct_all
    from tl_robust.cli.terminal import observer
    from tl_robust.engines.processes import Processes

    earlier = earlier_of(policy) if policy else {}
    audits: list[Audit] = []
    refused: list[Refused] = []
    with observer(console, parsed.plain) as watch:
        for place, done in enumerate(conduct_all(asked, watch, Processes()), 1):
            name = done.asked.name
            try:
                if done.audit is None:
                    raise done.error or AssertionError
                decisions = decide(done.audit, policy, earlier) if policy else []
                one.write(done.audit, decisions, str(parsed.policy or ""), folder / name, parsed.strict)
            except TLRobustError as error:
                refused.append(Refused(name, done.asked.parent, str(error)))
                codes.append(error.exit_code)
                said = f"no numbers: {error}"
            else:
                audits.append(done.audit)
                codes.append(exit_code(done.audit, decisions, parsed.strict))
                said = f"{folder / name / 'risk.html'}"
            console.print(f"{place} of {len(asked)}  {name}: {said}", soft_wrap=True, markup=False)
    return audits, refused


def _read(
    paths: Sequence[Path], policy: Policy | None, parsed: argparse.Namespace, codes: list[int]
) -> tuple[list[Audit], list[Refused]]:
    """Audits of others; a file that is none does not stop the table unless there is no other."""
    from tl_robust.audit.audit_file import read
    from tl_robust.audit.by_parent import Refused
    from tl_robust.audit.decisions import decide, earlier_of, exit_code

    earlier = earlier_of(policy) if policy else {}
    audits: list[Audit] = []
    refused: list[Refused] = []
    first: InputError | None = None
    for path in _files(paths):
        try:
            audit = read(path)
            decisions = decide(audit, policy, earlier) if policy else []
        except InputError as error:
            first = first or error
            refused.append(Refused(str(path), "", str(error)))
            codes.append(error.exit_code)
            continue
        audits.append(audit)
        codes.append(exit_code(audit, decisions, parsed.strict))
    if not audits and first:
        raise first
    return audits, refused


def _files(paths: Sequence[Path]) -> Iterator[Path]:
    """Each file once: of folders those below them that are named ``audit.json``."""
    seen = set()
    for path in paths:
        found = sorted(path.rglob("audit.json")) if path.is_dir() else [path]
        if not found:
            raise ResultsError(f"{path} holds no audit.json: give a folder in which `tl-robust audit` has written.")
        for file in found:
            if file.resolve() not in seen:
                seen.add(file.resolve())
                yield file
