"""Facts of the package in the pages of the documentation: settings, defaults, attacks, terms, checks, claims.

A line of a page such as ``<!-- facts: defense distill settings -->`` is replaced by what the code says when the site
is built, so that no page can contradict it. A line has a kind as ``tl-robust list`` names it (``defense``, ``trust
check``), perhaps a name of this kind, and perhaps a part: ``settings``, ``adaptive``, ``terms`` or ``about``. Without a
name it is replaced by all names of the kind, and ``<!-- facts: claim evasion -->`` by the claims about one threat.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from tl_robust.errors import ConfigError, UnknownNameError
from tl_robust.registry import Registry, kinds, registry, settings_of

LINE = re.compile(r"^<!-- facts: (?P<what>.+?) -->$", re.MULTILINE)
known_kinds = cache(kinds)  # both read all sources of the package
known_names = cache(registry)
ROLE = re.compile(r":\w+:`~?(?:[\w.]+\.)?(\w+)`")
SECTION = re.compile(r"^(Attributes|Args|Returns|Raises|Axes):", re.MULTILINE)


def replaced(markdown: str, source: str = "a page") -> str:
    """A page with its lines of facts replaced.

    Args:
        markdown: The page.
        source: Its file, for the sentence of an error.

    Raises:
        ConfigError: A line names no kind, name or part that there is.
    """

    def facts(line: re.Match[str]) -> str:
        try:
            return facts_of(line["what"])
        except (ConfigError, UnknownNameError) as error:
            raise ConfigError(f"{source}: the line {line[0]!r} cannot be replaced: {error}") from error

    return LINE.sub(facts, markdown)


def facts_of(what: str) -> str:
    """Markdown for one line, such as ``defense distill settings``."""
    kind = max((kind for kind in known_kinds() if f"{what} ".startswith(f"{kind} ")), key=len, default="")
    if not kind:
        raise UnknownNameError("kind", what, known_kinds())
    known, (name, _, part) = known_names(kind), what.removeprefix(kind).strip().partition(" ")
    if not name:
        return ALL.get(kind, _sections)(known)
    if kind == "claim" and name in known_names("threat"):
        return _claims(known, name)
    parts = PARTS if part else {"": _whole}
    if part not in parts:
        raise UnknownNameError("part of facts", part, parts)
    return parts[part](known[name])


def about(item: object) -> str:
    """What its author says of it, without the list of settings, as Markdown."""
    return _markdown(SECTION.split(_doc(item))[0])


def settings(item: object) -> str:
    """Its settings, their defaults and what they are, as a table."""
    own = settings_of(item)
    if not own:
        return "It has no settings."
    said = described(item)
    rows = [(f"`{name}`", f"`{shown(name, value)}`", said.get(name, "")) for name, value in own.items()]
    return _table(("setting", "default", "what it is"), rows)


def described(item: object) -> dict[str, str]:
    """What is said of each setting, from the docstrings of its class and the bases of that."""
    found: dict[str, str] = {}
    for base in reversed(inspect.getmro(item) if inspect.isclass(item) else ()):
        text = inspect.cleandoc(vars(base).get("__doc__") or "").partition("Attributes:\n")[2]
        text = SECTION.split(text)[0]
        for entry in re.finditer(r"^    (\w+): (.+?)(?=^    \w+: |\Z)", text, re.MULTILINE | re.DOTALL):
            found[entry[1]] = _markdown(" ".join(entry[2].split()))
    return found


def shown(name: str, value: object) -> str:
    """A default as it stands in a bench file; sizes in pixel units are fractions of 255."""
    steps = round(255 * value) if name in ("eps", "amplitude") and isinstance(value, float) else 0
    if steps and steps / 255 == value:
        return f"{steps}/255"
    if isinstance(value, bool):
        return str(value).lower()
    return "''" if value == "" else str(value)


def adaptive(item: Any) -> str:
    """The attacks of someone who has read a defense, as a table, with its settings at their defaults."""
    rows = [
        (attack.view or ("poison" if attack.backdoor else "every"), _how(attack), _markdown(attack.why))
        for attack in item().adaptive()
    ]
    return _table(("view", "what is changed", "why"), rows)


def terms(item: Any) -> str:
    """What others call it, in one line."""
    face = getattr(item, "face", item)
    if isinstance(known := getattr(item, "terms", None), property):
        known = item().terms
    words: Mapping[str, str] = known or getattr(item, "TERMS", None) or getattr(face, "terms", {})
    listed = "; ".join(f"{who}: {text}" for who, text in words.items())
    return f"What others call it: {listed}." if listed else "Others have no term for it."


def _how(attack: Any) -> str:
    if not attack.exists:
        return "no such attack is known: every number is red"
    parts = {"gradients": attack.through, "objective": attack.objective, "tricks": attack.tricks,
             "attack": attack.attack, "trigger": attack.backdoor}  # fmt: skip
    if attack.backdoor:
        del parts["gradients"]
    return ", ".join(f"{what} `{text}`" for what, text in parts.items() if text)


def _whole(item: object) -> str:
    return "\n\n".join([about(item), settings(item), terms(item)])


def _sections(known: Registry[Any]) -> str:
    return "\n\n".join(f"### {name}\n\n{_whole(known[name])}" for name in known.names())


def _listed(known: Registry[Any]) -> str:
    """A table of names with what each is, for kinds that need no more."""
    rows = [
        (f"`{name}`", _markdown(_doc(known[name]).partition("\n\n")[0]), _brief(known[name])) for name in known.names()
    ]
    if not any(settings for _, _, settings in rows):
        return _table(("name", "what it is"), [row[:2] for row in rows])
    return _table(("name", "what it is", "settings and their defaults"), rows)


def _brief(item: object) -> str:
    return ", ".join(f"`{name}={shown(name, value)}`" for name, value in settings_of(item).items())


def _defenses(known: Registry[Any]) -> str:
    rows = [
        (f"[`{name}`]({name}.md)", _first(known[name]), ", ".join(f"`{key}`" for key in settings_of(known[name])))
        for name in known.names()
    ]
    return _table(("defense", "what it is", "settings"), rows)


def _metrics(known: Registry[Any]) -> str:
    signs = {True: "higher", False: "lower", None: "neither"}
    heads = ("metric", "what it is", "unit", "better for the owner", "views", "needs beside")
    rows: dict[str, list[tuple[str, ...]]] = {}
    for name in known.names():
        metric = known[name]
        rows.setdefault(metric.of.__name__, []).append((
            f"`{name}`", _markdown(metric.doc), metric.unit, signs[metric.higher_is_better],
            ", ".join(metric.views) or "all", ", ".join(f"`{beside}`" for beside in metric.beside) or "nothing",
        ))  # fmt: skip
    return "\n\n".join(f"### {RECORDS.get(record, record)}\n\n{_table(heads, rows[record])}" for record in sorted(rows))


def _checks(known: Registry[Any]) -> str:
    rows: dict[str, list[tuple[str, str, str]]] = {}
    for name in known.names():
        when, _, why = _doc(known[name].verdict).partition("\n\n")
        rows.setdefault(known[name].of.__name__, []).append((f"`{name}`", _markdown(when), _markdown(why, joined=True)))
    heads = ("check", "when it is amber or red", "why, and who asks for it")
    return "\n\n".join(f"### {RECORDS.get(record, record)}\n\n{_table(heads, rows[record])}" for record in sorted(rows))


def _claims(known: Registry[Any], threat: str = "") -> str:
    names = [name for name in known.names() if threat in ("", known[name].of)]
    claims = sorted(names, key=lambda name: (known[name].of, known[name].id[0], int(known[name].id[1:] or 0)))
    rows = [
        (known[name].id, known[name].of, _markdown(known[name].says), _markdown(known[name].source), known[name].family,
         "every x" if known[name].every else "the mean")
        for name in claims
    ]  # fmt: skip
    return _table(("claim", "threat", "what it says", "source", "family", "judged by"), rows)


def _threats(known: Registry[Any]) -> str:
    faces = [known[name].face for name in known.names()]
    rows = [(f"`{face.threat}`", face.title, f"`{face.headline}`", face.axis, terms(face)) for face in faces]
    return _table(("threat", "title", "headline metric", "axis", "terms"), rows)


RECORDS = {
    "Outcome": "Of evasion", "Stamped": "Of backdoors", "Exposure": "Of membership", "Record": "Of every threat",
}  # fmt: skip
PARTS: dict[str, Callable[[Any], str]] = {"settings": settings, "adaptive": adaptive, "terms": terms, "about": about}
ALL: dict[str, Callable[[Registry[Any]], str]] = {
    "defense": _defenses, "metric": _metrics, "trust check": _checks, "claim": _claims, "threat": _threats,
    "gradient trick": _listed, "lock": _listed, "objective": _listed, "step rule": _listed,
    "way through a guard": _listed,
}  # fmt: skip


def _doc(item: object) -> str:
    """What its author says: of the item, or of a function that it is made of."""
    own = {} if inspect.isclass(item) or inspect.isfunction(item) else vars(item)
    made_of = [function.__doc__ for function in own.values() if inspect.isfunction(function)]
    return inspect.cleandoc(next(filter(None, [*made_of, item.__doc__]), ""))


def _first(item: object) -> str:
    module = inspect.getmodule(item)
    return _markdown((inspect.cleandoc((module and module.__doc__) or "")).partition("\n\n")[0], joined=True)


def _markdown(text: str, joined: bool = False) -> str:
    """A docstring as Markdown: roles and double backquotes become code, and nothing else is markup."""
    text = ROLE.sub(r"`\1`", text).replace("``", "`").strip()
    code = re.compile(r"(`[^`]*`)")
    text = "".join(part if code.fullmatch(part) else re.sub(r"([*<_])", r"\\\1", part) for part in code.split(text))
    return " ".join(text.split()) if joined else text


def _table(heads: tuple[str, ...], rows: list[Any]) -> str:
    cells = [heads, tuple("---" for _ in heads), *rows]
    return "\n".join("| " + " | ".join(_cell(text) for text in row) + " |" for row in cells)


def _cell(text: str) -> str:
    return " ".join(str(text).split()).replace("|", "&#124;")
