"""Every registered defense and threat has a page with its sections, and every registered name stands on a page."""

import re
from pathlib import Path

import pytest

from handbook import facts
from tl_robust.config.reading import load
from tl_robust.defenses import parse
from tl_robust.errors import ConfigError
from tl_robust.registry import kinds, names_in, settings_of

DOCS = Path(__file__).parent.parent / "docs"
SECTIONS = ("Paper", "Formula", "Settings", "Attacked by who knows it", "Known failure", "Example")
THREATS = {"evasion": "evasion", "backdoor": "backdoors", "membership": "membership"}
HOMES = {
    "attack": "attacks.md",
    "backdoor": "threats/backdoors.md",
    "claim": "reading/claims.md",
    "defense": "defenses/index.md",
    "inference": "threats/membership.md",
    "lock": "audit.md",
    "metric": "metrics.md",
    "objective": "attacks.md",
    "gradient trick": "attacks.md",
    "step rule": "attacks.md",
    "threat": "threats/index.md",
    "trust check": "reading/trust.md",
    "way through a guard": "attacks.md",
}


OURS = {kind: names_in(package) for kind, package in kinds().items()}  # and none that another test has registered


def _page(path: str, kind: str, name: str) -> str:
    file = DOCS / path
    assert file.is_file(), (
        f"{kind} {name!r} has no page: write docs/{path} with the sections {', '.join(SECTIONS)}; "
        "docs/defenses/distill.md shows how, and <!-- facts: defense distill settings --> brings the settings."
    )
    text = file.read_text(encoding="utf-8")
    missing = [section for section in SECTIONS if f"\n## {section}\n" not in text]
    assert not missing, (
        f"docs/{path} lacks the section {', '.join(missing)}: write it, a reader looks for it on every such page."
    )
    return text


def _benches(text: str) -> list[str]:
    return [block for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL) if block.startswith("name:")]


@pytest.mark.parametrize("name", OURS["defense"])
def test_every_defense_has_a_page_whose_example_is_a_bench(name: str, tmp_path: Path) -> None:
    text = _page(f"defenses/{name}.md", "defense", name)
    for part in ("settings", "adaptive", "terms"):
        assert f"<!-- facts: defense {name} {part} -->" in text, f"docs/defenses/{name}.md does not show its {part}"
    assert re.search(r"https://(arxiv\.org|doi\.org)/|no paper", text, re.IGNORECASE), "which paper is it from?"
    (block,) = _benches(text)
    file = tmp_path / "example.yaml"
    file.write_text(block)
    defenses = [str(defense) for defense in load(file).bench.axes.defense]
    assert any(defense.startswith(name) for defense in defenses), f"the example of {name} has {defenses}"


@pytest.mark.parametrize("name", OURS["threat"])
def test_every_threat_has_a_page_whose_examples_are_benches(name: str, tmp_path: Path) -> None:
    text = _page(f"threats/{THREATS.get(name, name)}.md", "threat", name)
    assert f"<!-- facts: claim {name} -->" in text, "which of its claims are judged?"
    assert _benches(text)
    for block in _benches(text):
        file = tmp_path / "example.yaml"
        file.write_text(block)
        assert load(file).bench.axes.pair


@pytest.mark.parametrize("kind", sorted(HOMES))
def test_every_registered_name_stands_on_its_page(kind: str) -> None:
    shown = facts.replaced((DOCS / HOMES[kind]).read_text(encoding="utf-8"))
    known = facts.known_names(kind)
    words = [known[name].id if kind == "claim" else f"`{name}`" for name in OURS[kind]]
    if kind in ("attack", "backdoor", "inference"):
        words = [f"\n### {name}\n" for name in OURS[kind]]
    missing = [word.strip("#\n ") for word in words if word not in shown]
    assert not missing, f"docs/{HOMES[kind]} does not name {', '.join(missing)}: add <!-- facts: {kind} --> to it."


@pytest.mark.parametrize("kind", ["attack", "backdoor", "defense", "inference"])
def test_every_setting_is_explained(kind: str) -> None:
    for name in OURS[kind]:
        item = facts.known_names(kind)[name]
        silent = set(settings_of(item)) - set(facts.described(item))
        assert not silent, f"{kind} {name!r} says nothing of {', '.join(sorted(silent))}: add it under Attributes."


def test_settings_and_attackers_are_those_of_the_code() -> None:
    page = facts.replaced((DOCS / "defenses" / "squeeze.md").read_text(encoding="utf-8"))
    assert "| `bits` | `3` | Bits of a channel of a pixel, from 1 to 8, which images have. |" in page
    for attack in parse("squeeze").adaptive():
        assert attack.why.split("(")[0] in page
    assert "straight_through" in page
    assert "AML.M0010" in page
    assert "facts:" not in page
    assert "| `amplitude` | `40/255` | In [0,1] pixel units. |" in facts.facts_of("backdoor sine settings")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("defens distill", "unknown kind 'defens distill'"),
        ("defense distil settings", "unknown defense 'distil'"),
        ("defense distill setings", "unknown part of facts 'setings'"),
    ],
)
def test_a_line_that_names_nothing_ends_the_build(line: str, said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)) as raised:
        facts.replaced(f"# Page\n\n<!-- facts: {line} -->\n", "defenses/distill.md")
    assert "defenses/distill.md: the line" in str(raised.value)


def test_pictures_of_the_gallery_are_small_and_described() -> None:
    shown = re.findall(r"!\[(.*)\]\((gallery/.*)\)", (DOCS / "gallery.md").read_text(encoding="utf-8"))
    files = {file.relative_to(DOCS).as_posix(): file.stat().st_size for file in (DOCS / "gallery").iterdir()}
    assert {file for _, file in shown} == files.keys()
    assert max(files.values()) <= 120_000
    assert sum(files.values()) <= 1_000_000
    assert all(len(text) > 40 for text, _ in shown), "a picture is described for who does not see it"


@pytest.mark.docs
def test_every_example_can_be_planned(tmp_path: Path) -> None:
    pages = sorted([*DOCS.glob("defenses/*.md"), *DOCS.glob("threats/*.md"), DOCS / "attacks.md"])
    planned = 0
    for page in pages:
        for block in _benches(page.read_text(encoding="utf-8")):
            file = tmp_path / "example.yaml"
            file.write_text(block)
            assert load(file, [f"data.cache={tmp_path / 'cache'}"]).plan.cells, f"{page} plans nothing"
            planned += 1
    assert planned > len(OURS["defense"])
