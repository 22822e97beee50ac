"""``policy.yaml``: what a model must keep to, one rule a line, and one sentence for each mistake in it.

    rules:
      - robust_accuracy@8/255 >= 0.4
      - robust_accuracy[black]@8/255 >= 0.6
      - parent_price <= 0.1
      - not_worse_than: last.json

A name is that of a metric, ``[black]`` one view of it (all views where there is none), ``@8/255`` the size of evasion.
Nothing in the file is built but texts, so that a tag or an anchor does nothing.
"""

from __future__ import annotations

import difflib
import math
import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import yaml

from tl_robust.audit.numbers import known
from tl_robust.errors import ConfigError, UnknownNameError
from tl_robust.text import plain

OPERATORS = (">=", "<=", ">", "<")
NOT_WORSE = "not_worse_than"
LIMIT = 100_000  # bytes of a file
EXAMPLE = "robust_accuracy@8/255 >= 0.4"
FORM = re.compile(
    r"(?P<name>[^\s@\[\]<>=!~\u2264\u2265]+)\s*(?P<view>\[[^\]]*\])?\s*(?P<eps>@\s*[^\s<>=!~\u2264\u2265]*)?\s*"
    r"(?P<operator>[<>=!~\u2264\u2265]+)\s*(?P<bound>.*)"
)
NUMBER = re.compile(r"[-+]?(\d{1,20}(\.\d{0,20})?|\.\d{1,20})(e[-+]?\d{1,2}|/\d{1,20})?", re.IGNORECASE | re.ASCII)
MEANT = {"=>": ">=", "=<": "<=", "\u2265": ">=", "\u2264": "<="}


@dataclass(frozen=True)
class Rule:
    """A bound on a number.

    Attributes:
        text: As it was written.
        line: Of the file, from 1.
        name: Of the metric.
        view: What the attacker has; empty: every view, so that the worst counts.
        eps: In [0,1] pixel units; NaN where the metric has none.
        operator: ``>=``, ``<=``, ``>`` or ``<``.
        bound: In the unit of the metric.
    """

    text: str
    line: int
    name: str
    view: str
    eps: float
    operator: str
    bound: float


@dataclass(frozen=True)
class NotWorse:
    """No number may be worse than in an earlier audit.

    Attributes:
        text: As it was written.
        line: Of the file, from 1.
        path: The earlier ``audit.json``.
        margin: How much worse a number may be, in its unit, from 0.
    """

    text: str
    line: int
    path: Path
    margin: float = 0.0


@dataclass(frozen=True)
class Policy:
    """What a model must keep to.

    Attributes:
        path: The file.
        rules: At least one.
    """

    path: Path
    rules: tuple[Rule | NotWorse, ...]


def load(path: Path) -> Policy:
    """Read a policy.

    Raises:
        ConfigError: Says what is wrong, in which line, and what to write instead.
    """
    try:
        with path.open("rb") as file:
            content = file.read(LIMIT + 1)
        if len(content) > LIMIT:
            raise ConfigError(f"{path} is no policy: it has more than {LIMIT:,} bytes.")
        return parse(content.decode("utf-8-sig"), path)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the policy {path} ({getattr(error, 'strerror', 'not UTF-8')}).") from error


def parse(text: str, path: Path) -> Policy:
    """The policy that a text holds.

    Args:
        text: YAML.
        path: Its file: errors name it, and an earlier audit is looked for beside it.

    Raises:
        ConfigError: As in :func:`load`.
    """
    try:
        top = yaml.compose(text, yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not valid YAML: {plain(' '.join(str(error).split()))}.") from error
    except RecursionError as error:
        raise ConfigError(f"{path}: values stand too deep inside each other.") from error
    shape = f"{path} must have rules: and below it one rule a line, such as - {EXAMPLE}"
    if not isinstance(top, yaml.MappingNode):
        raise ConfigError(f"{shape}.")
    for key, _ in top.value:
        if key.value != "rules":
            raise ConfigError(f"{path}, line {_line(key)}: {UnknownNameError('key', _shown(key), ['rules'])}")
    lists = [value for _, value in top.value]
    if len(lists) != 1 or not isinstance(lists[0], yaml.SequenceNode) or not lists[0].value:
        raise ConfigError(f"{shape}; there is none.")
    rules: list[Rule | NotWorse] = []
    for node in lists[0].value:
        try:
            rule = _not_worse(node, path) if isinstance(node, yaml.MappingNode) else _rule(node)
            if earlier := next((other for other in rules if _same(other, rule)), None):
                raise ConfigError(f"rule {rule.text!r} stands in line {earlier.line} already.")
        except ConfigError as error:
            raise ConfigError(f"{path}, line {_line(node)}: {error}") from error
        rules.append(rule)
    return Policy(path, tuple(rules))


def _same(first: Rule | NotWorse, second: Rule | NotWorse) -> bool:
    return "".join(first.text.split()) == "".join(second.text.split())


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _shown(node: yaml.Node) -> str:
    return plain(node.value)[:100] if isinstance(node, yaml.ScalarNode) else "a list or mapping"


def _not_worse(node: yaml.MappingNode, path: Path) -> NotWorse:
    parts = {_shown(key): value for key, value in node.value}
    if unknown := next((key for key in parts if key not in (NOT_WORSE, "margin")), None):
        hint = f"a bound is one text without a colon, such as {EXAMPLE}"
        raise ConfigError(f"{UnknownNameError('rule', unknown, [NOT_WORSE, 'margin'])} Or, if it is a bound: {hint}.")
    named = parts.get(NOT_WORSE)
    if len(parts) != len(node.value) or not isinstance(named, yaml.ScalarNode) or not named.value:
        raise ConfigError(f"{NOT_WORSE} must name the file of an earlier audit once, such as {NOT_WORSE}: last.json.")
    margin = 0.0
    if "margin" in parts and not 0 <= (margin := _number(_shown(parts["margin"]), "the margin")) < 1:
        raise ConfigError(f"the margin must be at least 0 and below 1, got {margin:g}.")
    text = f"{NOT_WORSE}: {_shown(named)}" + (f", margin: {margin:g}" if margin else "")
    return NotWorse(text, _line(node), path.parent / named.value, margin)


def _rule(node: yaml.Node) -> Rule:
    text = _shown(node)
    if not isinstance(node, yaml.ScalarNode) or not (found := FORM.fullmatch(text.strip())):
        raise ConfigError(f"rule {text!r} is no bound: write a metric, an operator and a number, such as {EXAMPLE}.")
    name, operator = found["name"], found["operator"]
    facts = known(name)
    if operator not in OPERATORS:
        close = MEANT.get(operator) or next(iter(difflib.get_close_matches(operator, OPERATORS, 1, 0.3)), ">=")
        raise ConfigError(f"operator {operator!r} is none of {', '.join(OPERATORS)}; did you mean {close!r}?")
    _directed(name, operator)
    bound = _number(found["bound"].strip(), "the bound")
    least, most = facts.bounds
    if not least <= bound <= most:
        ends = f"at least {least:g}" if math.isinf(most) else f"a share from {least:g} to {most:g}"
        raise ConfigError(f"{name} is {ends}, and the bound is {found['bound'].strip()}.")
    view = (found["view"] or "")[1:-1].strip()
    if found["view"] and not view:
        raise ConfigError(f"there is no view between the brackets of {text!r}, such as {name}[black].")
    return Rule(text.strip(), _line(node), name, view, _eps(name, found["eps"]), operator, bound)


def _directed(name: str, operator: str) -> None:
    """Refuse a bound that a weaker model keeps more easily."""
    better = known(name).better
    if better and (better == "higher") == operator.startswith("<"):
        right, word = (">=", "higher") if better == "higher" else ("<=", "lower")
        raise ConfigError(f"{name} {operator} asks for a weaker model, since {word} is better: write {name} {right}.")


def _eps(name: str, written: str | None) -> float:
    sized = known(name).sized
    if written is None:
        if sized == "always":
            raise ConfigError(f"{name} depends on the size of the perturbation: write it with eps, as {name}@8/255.")
        return math.nan
    if sized == "never":
        raise ConfigError(f"{name} has no eps: write it without {written.strip()}.")
    eps = _number(written[1:].strip(), f"eps of {name}")
    if not 0 <= eps <= 1e6:
        raise ConfigError(f"eps of {name} must be a number from 0, got {written[1:].strip()}.")
    return eps


def _number(text: str, what: str) -> float:
    """A number, or a fraction as ``8/255``."""
    try:
        if not NUMBER.fullmatch(text):  # 1e999999999 would be worked out
            raise ValueError
        return float(Fraction(text))
    except (ValueError, ArithmeticError) as error:
        raise ConfigError(f"{what} must be a number such as 0.4 or 8/255, got {text!r}.") from error
