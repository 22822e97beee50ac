"""SARIF 2.1.0, as code scanning reads it: a rule for each check, a result for each of its answers.

``kind`` says what became of a check: ``pass``, ``fail``, ``open`` (undecided), ``review`` (red trust),
``notApplicable`` (not run, not asked), ``informational`` (a number that no rule of a policy judges). Only a ``fail``
has a level (section 3.27.10 of the standard). Rules and fingerprints depend on no value, so that the same check of the
next audit is the same alert. An audit that measured nothing says so in a result that is ``open``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote

from tl_robust.audit.decisions import Decision, exit_code
from tl_robust.audit.policy import Rule
from tl_robust.audit.record import Audit, Finding
from tl_robust.audit.terms import words
from tl_robust.audit.words import interval_text, origin_text, place_text, version_of
from tl_robust.seeding import digest
from tl_robust.text import eps_text, plain

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
FINGERPRINT = "tlRobustAudit/v1"
KINDS = {"pass": "pass", "fail": "fail", "undecided": "open", "review": "review"}
ASKED = {True: "pass", False: "fail", None: "notApplicable"}


@dataclass(frozen=True)
class _Answer:
    """What becomes a result.

    Attributes:
        rule: Its id.
        about: What the rule asks, whatever the answer.
        kind: Of SARIF.
        message: Sentences.
        identity: What tells it from other answers to the same rule, without any value.
        terms: What others call it.
        line: Of the policy; 0 for an answer about the model.
        properties: For programs.
    """

    rule: str
    about: str
    kind: str
    message: str
    identity: str = ""
    terms: Mapping[str, str] = field(default_factory=dict)
    line: int = 0
    properties: Mapping[str, Any] = field(default_factory=dict)


def sarif(audit: Audit, decisions: Sequence[Decision] = (), policy: str = "", strict: bool = False) -> dict[str, Any]:
    """The log file of one run.

    Args:
        audit: What was found.
        decisions: What a policy says of it.
        policy: The file of the policy, as the user wrote it.
        strict: As the exit code was asked for.
    """
    answers = list(_answers(audit, decisions))
    about = {answer.rule: answer for answer in answers}
    places = {rule: place for place, rule in enumerate(about)}
    taxa = _taxa(answers)
    code = exit_code(audit, decisions, strict)
    driver = {"name": "tl_robust", **version_of(audit), "rules": [_rule(item, taxa) for item in about.values()]}
    run: dict[str, Any] = {
        "tool": {"driver": driver},
        "invocations": [{"executionSuccessful": not audit.failed_locks, "exitCode": code, "endTimeUtc": audit.date}],
        "artifacts": [
            {"location": {"uri": uri(file.path)}, "length": file.size, "hashes": {"sha-256": file.sha256}}
            for file in audit.model.files
        ],
        "results": list(_results(answers, places, uri(audit.model.files[0].path), uri(policy) if policy else "")),
        "columnKind": "unicodeCodePoints",
    }
    if taxa:
        run["taxonomies"] = [{"name": who, "taxa": [{"id": word} for word in known]} for who, known in taxa.items()]
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}


def uri(path: str) -> str:
    """A path as a relative reference, or as a ``file`` URI where it is absolute."""
    posix = PurePosixPath(path)
    return ("file://" if posix.is_absolute() else "") + quote(str(posix))


def _answers(audit: Audit, decisions: Sequence[Decision]) -> Iterator[_Answer]:
    for lock in audit.locks:
        title = f"Lock: {lock.name.replace('_', ' ')}"
        yield _Answer(f"lock/{lock.name}", title, ASKED[lock.passed], lock.reason)
    for decision in decisions:
        rule = decision.rule
        name, asked = "not_worse_than", "No number is worse than in an earlier audit"
        if isinstance(rule, Rule):
            size = "" if rule.eps != rule.eps else eps_text(rule.eps)
            name = "/".join(filter(None, (rule.name, rule.view, size)))
            asked = f"Policy: {name} keeps to its bound"
        terms = {who: text for finding in decision.findings[:1] for who, text in finding.terms.items()}
        message = f"{rule.text}: {decision.reason}"
        yield _Answer(f"policy/{name}", asked, KINDS[decision.kind], message, terms=terms, line=rule.line)
    for finding in audit.measured:
        yield _measured(finding)
    if audit.origin:
        kind = "review" if audit.origin.trust.level == "red" else "informational"
        text = " ".join((origin_text(audit.origin), *audit.origin.trust.reasons))
        yield _Answer("origin/which_parent", "Which public parent it comes from", kind, text, terms=audit.origin.terms)
    for item in audit.not_run:
        rule_id = "/".join(filter(None, (item.threat, item.name)))
        about = f"{item.name.replace('_', ' ').capitalize()} of {item.threat or 'this model'}"
        yield _Answer(f"not_run/{rule_id}", about, "notApplicable", f"Not run: {item.reason}", terms=item.terms)
    if not audit.measured:
        stopped = " since a lock stopped the audit" * bool(audit.failed_locks)
        message = f"Nothing was measured{stopped}: this file says nothing of the model."
        yield _Answer("audit/nothing_measured", "Something was measured", "open", message)


def _measured(finding: Finding) -> _Answer:
    where = "/".join(filter(None, (finding.threat, finding.name, finding.view)))
    kind = "review" if finding.trust.level == "red" else "informational"
    trust = "" if finding.trust.level == "green" else f" Trust is {finding.trust.level}: "
    text = f"{finding.title}: {interval_text(finding)}{place_text(finding)}, n = {finding.n}.{trust}"
    numbers = {name: getattr(finding, name) for name in ("value", "low", "high", "n", "unit")}
    numbers = {name: value for name, value in numbers.items() if value == value}  # JSON has no NaN
    return _Answer(where, finding.title, kind, text + " ".join(finding.trust.reasons), finding.key, finding.terms, 0,
                   {**numbers, "trust": finding.trust.level})  # fmt: skip


def _results(
    answers: Sequence[_Answer], places: Mapping[str, int], model: str, policy: str
) -> Iterator[dict[str, Any]]:
    seen: dict[str, int] = {}
    for answer in answers:
        at_model: dict[str, Any] = {"physicalLocation": {"artifactLocation": {"uri": model}}}
        region = {"artifactLocation": {"uri": policy}, "region": {"startLine": answer.line}}
        in_policy = bool(answer.line and policy)
        mark = digest([answer.rule, answer.identity, policy if in_policy else model])[:32]
        seen[mark] = seen.get(mark, 0) + 1
        result: dict[str, Any] = {
            "ruleId": answer.rule,
            "ruleIndex": places[answer.rule],
            "kind": answer.kind,
            "level": "error" if answer.kind == "fail" else "none",
            "message": {"text": _text(answer.message)},
            "locations": [{"physicalLocation": region} if in_policy else at_model],
            "partialFingerprints": {FINGERPRINT: f"{mark}:{seen[mark]}"},
        }
        if in_policy:
            result["relatedLocations"] = [at_model]
        if answer.properties:
            result["properties"] = dict(answer.properties)
        yield result


def _rule(answer: _Answer, taxa: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    targets = [(who, word) for who, text in answer.terms.items() for word in words(text)]
    places = list(taxa)
    rule: dict[str, Any] = {"id": answer.rule, "shortDescription": {"text": _text(answer.about)}}
    if targets:
        rule["relationships"] = [
            {
                "target": {
                    "id": word,
                    "index": taxa[who].index(word),
                    "toolComponent": {"name": who, "index": places.index(who)},
                },
                "kinds": ["relevant"],
            }
            for who, word in targets
        ]
    return rule


def _taxa(answers: Sequence[_Answer]) -> dict[str, list[str]]:
    """All words of others that some rule names, by who has them."""
    found: dict[str, dict[str, None]] = {}
    for answer in answers:
        for who, text in answer.terms.items():
            found.setdefault(who, {}).update(dict.fromkeys(words(text)))
    return {who: list(known) for who, known in found.items() if known}


def _text(text: str) -> str:
    """A text in which no name is a link or a placeholder (section 3.11 of the standard)."""
    return plain(text).replace("](", "] (").replace("{", "{{").replace("}", "}}")
