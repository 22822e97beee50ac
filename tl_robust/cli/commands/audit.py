"""Audit a fine-tuned model: what an attacker can do who knows its public parent, and what that parent costs.

MODEL, PARENT and DECOY are files (.safetensors, .npz, .pt, .ckpt; then --network says what they hold), folders of
Hugging Face or timm, a folder with a LoRA adapter, or mappings as below checkpoints: of a bench file. Nothing is
trained, and nothing fetched but weights of torchvision that you name. Exit code: 0 passed; 1 a rule of the policy is
broken; 2 a lock failed, or an input cannot be used; 3 with --strict, something is undecided.
example: tl-robust audit mine.safetensors --parent public.safetensors --network resnet18 --data images/
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from tl_robust.cli.commands.base import plugin_folders
from tl_robust.errors import ConfigError

if TYPE_CHECKING:
    from tl_robust.audit.decisions import Decision
    from tl_robust.audit.record import Audit


def arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("model", help="the model that is audited")
    add("--parent", help="the public model that it was made of")
    add(
        "--data", required=True, help="folder of test images (CLASS/IMAGE or test/CLASS/IMAGE), or a domain: npz:photos"
    )
    add("--decoy", dest="decoys", action="append", metavar="MODEL", help="one that it was not made of; several times")
    add("--network", help="of files of weights alone: resnet18, '{name: torchvision_backbone, arch: ...}'")
    add("--classes", help="names in the order of the model's logits, with commas, or a file with one a line")
    add("--train", help="images that the model was trained on (DATA/train where there is one)")
    add("--stated", help="accuracy that its owner states, such as 0.93")
    add("--reference", metavar="FILE", help=".npz with logits [R,L] that its own pipeline gives for the first R images")
    add("--images", type=int, help="at most so many test images; 0: all (500)")
    add("--eps", nargs="+", help="sizes of evasion in [0,1] pixel units, the largest in force (8/255)")
    add("--norm", help="linf or l2 (linf)")
    add("--transfer", nargs="+", metavar="ATTACK", help="from the parent; the worst of them counts (fgsm mi di)")
    add("--strong", metavar="ATTACK", help="on the model itself (strong, with fewer steps)")
    add("--space", help="what images are made to be, such as digits (squares as large as they are)")
    add("--root", help="folder of domains (data)")
    add("--policy", type=Path, metavar="FILE", help="rules that the model must keep to")
    add("--strict", action="store_true", help="exit code 3 where a rule is undecided")
    add("--despite", action="append", metavar="LOCK", help="a lock whose failure is written down and does not stop it")
    add("--seed", type=int, help="of all draws (0)")
    add("--out", type=Path, metavar="FOLDER", help="where to (RESULTS/audits/MODEL)")
    add("--results", metavar="FOLDER", help="its store keeps what is computed (results)")
    add("--workers", type=int, help="processes; 0: one a CPU core, at most 4 (0)")
    add("--accelerator", help="cpu, gpu or auto (auto)")
    plugin_folders(parser)
    add("--json", action="store_true", help="print audit.json, too")
    add("--plain", action="store_true", help="lines instead of progress bars")


def run(parsed: argparse.Namespace, console: Console) -> int:
    """Run the command; returns the exit code of the policy."""
    from tl_robust.audit import policy as policies
    from tl_robust.audit.decisions import decide, earlier_of, exit_code
    from tl_robust.auditor.conduct import conduct
    from tl_robust.auditor.options import OPTIONS, request_of
    from tl_robust.cli.terminal import observer
    from tl_robust.engines.processes import Processes

    given = {name: value for name, value in vars(parsed).items() if name in OPTIONS and value is not None}
    request = request_of(given, "--")
    check_folder(parsed.out)
    policy = policies.load(parsed.policy) if parsed.policy else None  # a mistake in it is told before anything runs
    earlier = earlier_of(policy) if policy else {}
    with observer(console, parsed.plain) as watch:
        audit = conduct(request, watch, Processes())
    decisions = decide(audit, policy, earlier) if policy else []
    folder = parsed.out or request.results / "audits" / audit.model.name
    write(audit, decisions, str(parsed.policy or ""), folder, parsed.strict)
    for line in lines(audit, decisions):
        console.print(line, soft_wrap=True, markup=False)
    console.print(
        f"Risk sheet: {folder / 'risk.html'}, audit.json, audit.sarif, bom.cdx.json, model_card.md", soft_wrap=True
    )
    if parsed.json:
        print((folder / "audit.json").read_text())  # noqa: T201
    return exit_code(audit, decisions, parsed.strict)


def check_folder(out: Path | None) -> None:
    """Check before anything runs that ``--out`` can be a folder.

    Raises:
        ConfigError: It is a file, or lies below one.
    """
    for path in (out, *out.parents) if out else ():
        if path.exists() and not path.is_dir():
            raise ConfigError(f"--out {out} cannot be a folder, since {path} is a file: choose another one.")


def write(audit: Audit, decisions: Sequence[Decision], policy: str, folder: Path, strict: bool) -> None:
    """Write all that a user takes away.

    Raises:
        ResultsError: A file cannot be written.
    """
    from tl_robust.audit import audit_file
    from tl_robust.audit.bom import bom
    from tl_robust.audit.model_card import model_card
    from tl_robust.audit.sarif import sarif
    from tl_robust.files import write_atomically
    from tl_robust.sinks.report import audit_page

    audit_file.write(folder / "audit.json", audit)
    audit_page.write(audit, folder / "risk.html", decisions, policy)
    for name, made in (("audit.sarif", sarif(audit, decisions, policy, strict)), ("bom.cdx.json", bom(audit))):
        write_atomically(folder / name, f"{json.dumps(made, indent=1, allow_nan=False)}\n".encode())
    write_atomically(folder / "model_card.md", model_card(audit, decisions).encode())


def lines(audit: Audit, decisions: Sequence[Decision]) -> list[str]:
    """What stands in the terminal: locks, the numbers in force, what was not run, and what a policy says."""
    from tl_robust.audit import words

    said = [f"{words.LOCKED[lock.passed]}  {lock.name}: {lock.reason}" for lock in audit.locks]
    for finding in words.in_force(audit):
        trust = (
            "" if finding.trust.level == "green" else f"  [{finding.trust.level}: {' '.join(finding.trust.reasons)}]"
        )
        said.append(f"{finding.title}: {words.interval_text(finding)}{words.place_text(finding)}{trust}")
    if audit.price:
        said.append(f"{words.price_text(audit.price)}.")
    if audit.origin:
        said.append(words.origin_text(audit.origin))
    said += [f"{words.NOT_RUN}  {item.name}: {item.reason}" for item in audit.not_run]
    return said + [f"{words.DECIDED[decision.kind]}  {decision.rule.text}: {decision.reason}" for decision in decisions]
