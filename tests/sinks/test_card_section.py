"""The defense card as readers see it: in the report, as a page of its own, in the terminal, in Weights & Biases."""

from __future__ import annotations

import io
import json
import math
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.sinks.card_made import DEFENSES, KNOWN, REASONS, card, changed
from tests.sinks.wandb_made import BENCH, no_account, of_type, records, runs, summary_of
from tests.test_card import PLAIN, evasion, seeds
from tl_robust import metrics
from tl_robust.cli.card_tables import LEGEND, card_tables
from tl_robust.cli.screen import Screen
from tl_robust.results import card_words, table
from tl_robust.results.card import Card, Entry, cards
from tl_robust.results.columns import COLUMNS
from tl_robust.results.faces import FACES
from tl_robust.sinks.base import SINKS, Views, files
from tl_robust.sinks.report import card as section
from tl_robust.sinks.report import card_page, page
from tl_robust.sinks.report.blocks import Fold, Points, Table, Text
from tl_robust.sinks.report.rendering import fragment
from tl_robust.sinks.wandb import dashboard
from tl_robust.sinks.wandb.overview import publish_overview
from tl_robust.sinks.wandb.panels import Shown
from tl_robust.sinks.wandb.runs import WandbSettings
from tl_robust.types import Verdict

__all__ = ["no_account"]  # a fixture that all tests use
SMALL = ("none", "pgd_at", "fgsm_rs", "trades")


def rows(made: Card) -> dict[str, dict[str, ElementTree.Element]]:
    """By defense and heading the fields of the table, as the page has them."""
    tree = ElementTree.fromstring(fragment(section.table(made)))
    heads = ["".join(one.itertext()).replace("\xa0", " ") for one in tree.iter("th") if one.get("scope") == "col"]
    lines = [list(line) for line in tree.iter("tr")][1:]
    return {words(line[0]): dict(zip(heads, line, strict=True)) for line in lines}


def words(field: ElementTree.Element) -> str:
    return " ".join(" ".join(field.itertext()).split())


def views(folder: Path, defended: bool = True) -> Views:
    found = [
        replace(one, curves=metrics.curves(one.outcome, one.cell.view, one.beside))
        for one in evasion(PLAIN if defended else {"none": seeds(190, 80, 10)})
    ]
    return Views(folder, "b", found, table.summary(found), settings=BENCH, when="2026-11-30")


# the table


def test_a_field_has_number_interval_change_and_decision() -> None:
    shown = rows(card(SMALL))
    assert [*shown] == [*SMALL]
    assert [*shown["none"]] == ["defense", *(column.title for column in COLUMNS), "trust"]
    assert words(shown["none"]["clean accuracy"]) == "30.0 % [26.9, 32.9]"
    assert words(shown["pgd_at"]["clean accuracy"]) == "34.3 % [31.2, 37.2] -24.1 [-26.2, -21.9] ✖ harms"
    assert words(shown["fgsm_rs"]["clean accuracy"]) == "38.6 % [35.5, 41.5] +0.4 [-1.7, 2.6] ◇ undecided"
    assert words(shown["trades"]["clean accuracy"]) == "42.9 % [39.8, 45.8] +12.3 [10.2, 14.5] ✔ helps"
    assert words(shown["trades"]["backdoor survival"]) == "42.9 % [39.8, 45.8] -12.3 [-14.4, -10.1] ✔ helps"
    assert words(shown["trades"]["refused clean images"]) == "42.9 % [39.8, 45.8]"
    assert words(shown["trades"]["training cost"]) == "2.4 \u00d7"


def test_what_has_no_number_says_why() -> None:
    made = card(SMALL, missing=("backdoor",))
    made = changed(made, "pgd_at", "training", value=math.nan, n=0, why="not measured")
    made = changed(made, "pgd_at", "refused", value=math.nan, low=math.nan, high=math.nan)
    shown = rows(made)
    assert {words(line["backdoor survival"]) for line in shown.values()} == {"not run"}
    assert words(shown["pgd_at"]["training cost"]) == "not measured"
    assert words(shown["pgd_at"]["refused clean images"]) == "n/a"
    assert words(shown["none"]["refused clean images"]) == words(shown["none"]["adaptive gap"]) == "-"
    without = changed(made, "pgd_at", "refused", value=math.nan, why="not run")
    assert words(rows(without)["pgd_at"]["refused clean images"]) == "not run"


def test_no_decision_is_told_by_color_alone() -> None:
    made = changed(card(SMALL), "pgd_at", "membership", effect=None, decision="cannot tell")
    shown = [rows(made)[name][title] for name, title in (
        ("trades", "white box"), ("pgd_at", "white box"), ("fgsm_rs", "white box"), ("pgd_at", "members found at 1 %"),
    )]  # fmt: skip
    marked = [{one.text: one.get("class") for one in field.iter("span") if one.get("class")} for field in shown]
    marked = [{text: name for text, name in one.items() if text} for one in marked]
    assert marked == [
        {"✔ helps": "helps"},
        {"✖ harms": "harms", "▲ amber": "amber"},
        {"◇ undecided": "undecided", "✖ red": "red"},
        {"○ cannot tell": "cannot tell"},
    ]
    assert words(shown[3]) == "34.3 % [31.2, 37.2] ○ cannot tell"
    assert [words(rows(made)[name]["trust"]) for name in SMALL] == ["✔ green", "▲ amber", "✖ red", "✔ green"]


def test_the_title_says_the_size_where_there_is_one() -> None:
    assert "at eps 16/255 (pixels in [0, 1])" in section.table(card()).title
    assert "eps" not in section.table(card(eps=math.nan)).title


# what stands below it


def flat(blocks: object) -> str:
    """All texts of blocks."""
    if isinstance(blocks, Fold):
        return f"{blocks.title} {flat(blocks.blocks)}"
    if isinstance(blocks, Text):
        return f"{blocks.heading} {blocks.text}"
    if isinstance(blocks, Points):
        return " ".join(blocks.items)
    if isinstance(blocks, Table):
        return f"{blocks.title} {' '.join(blocks.head)} {' '.join(' '.join(map(str, row)) for row in blocks.body)}"
    return " ".join(map(flat, blocks)) if isinstance(blocks, list | tuple) else str(blocks)


def test_below_the_table_stand_definition_unit_better_n_and_note_of_each_column() -> None:
    made = changed(card(SMALL, missing=("backdoor",)), "pgd_at", "white", n=900)
    (definitions,) = (one for one in section.explained(made) if isinstance(one, Table))
    assert definitions.head == ("column", "what a number says", "unit", "better", "n", "here")
    assert [row[:4] for row in definitions.body] == [
        (
            column.title,
            column.means.replace(" %", "\xa0%"),
            "\u00d7" if column.unit == "ratio" else "%",
            column.better or "-",
        )
        for column in COLUMNS
    ]
    counts = {row[0]: row[4] for row in definitions.body}
    assert counts["clean accuracy"] == "1800"
    assert counts["white box"] == "900 to 1800"
    assert counts["training cost"] == "3\xa0seeds"
    assert counts["backdoor survival"] == "-"
    here = {row[0]: row[5] for row in definitions.body}
    assert here["backdoor survival"] == "Not run: no attack of backdoor is in these benches."
    assert here["white box"].endswith("seeds 0, 1, 2; attack pgd linf, view white.")
    assert here["training cost"] == "-"


def test_attackers_who_know_a_defense_are_folded_below() -> None:
    made = card(SMALL)
    (fold,) = (one for one in section.explained(made) if isinstance(one, Fold) and "attackers" in one.title)
    (inside,) = fold.blocks
    assert isinstance(inside, Table)
    assert list(inside.body) == [("pgd_at, trades", " ".join(KNOWN)), ("fgsm_rs", KNOWN[0])]
    unknown = replace(made, lines=tuple(replace(line, known=()) for line in made.lines))
    assert card_words.known(unknown) == [("pgd_at, fgsm_rs, trades", "No attack that knows it was run.")]


def test_reasons_of_trust_name_defenses_and_columns_the_worst_first() -> None:
    made = card(("none", "a", "b", "c", "d", "e", "f"))
    made = changed(made, "a", "gap", trust=Verdict("amber", REASONS["amber"]))
    assert card_words.distrusted(made) == [
        ("red", REASONS["red"][0], "b, e (white box)"),
        ("amber", REASONS["amber"][0], "a (white box, adaptive gap); d (white box)"),
    ]
    alike = Verdict("amber", ("The interval over 5 seeds is 0.25 wide.", "The interval over 7 seeds is 1 wide."))
    assert card_words.distrusted(changed(card(("none", "a")), "a", "white", trust=alike)) == [
        ("amber", "The interval over 5 seeds is 0.25 wide. (and 1 like it)", "a (white box)")
    ]
    many = card(("none", *"abcdefghijklmno"))
    assert card_words.distrusted(many)[0][2] == "b, e, h, k and 1 more (white box)"
    assert "Why trust" not in flat(section.explained(card(("none", "x"), missing=("white",))))
    assert "Why trust" in flat(section.explained(made))


def test_numbers_without_a_change_say_why() -> None:
    why = "It needs three seeds."
    made = card(SMALL)
    assert "Where no change" not in flat(section.explained(made))
    for name in ("pgd_at", "trades"):
        made = changed(made, name, "white", effect=None, decision="undecided", why=why)
    assert f"pgd_at, trades (white box): {why}" in flat(section.explained(made))


def test_other_sizes_are_folded_and_networks_named_where_there_are_several() -> None:
    first, other = card(SMALL), card(SMALL, eps=32 / 255)
    heading, shown, apart, *_ = section.defense_cards([first, other])
    assert heading == Text("", "rendered_syn → optdigits, finetune")
    assert shown == section.table(first)
    assert apart == Fold("The same at eps 32/255", [section.table(other)], aside=True)
    networks = [card(SMALL), card(SMALL, network="lenet"), card(SMALL, strategy="scratch")]
    assert [name for name, _ in card_words.groups(networks)] == [
        "rendered_syn → optdigits, finetune, dtn(width=0.25)",
        "rendered_syn → optdigits, finetune, lenet",
        "rendered_syn → optdigits, scratch",
    ]
    assert [name for name, _ in card_words.groups([card(SMALL, eps=math.nan, common="svhn")])] == [
        "rendered_syn → optdigits, finetune via svhn"
    ]


# the report


def test_the_section_follows_the_answer_where_something_is_defended(tmp_path: Path) -> None:
    html, text = (path.read_text("utf-8") for path in page.write(views(tmp_path)))
    titles = re.findall(r"<h2>(.*?)</h2>", html)
    assert titles[:2] == ["The answer", "Defense card"]
    assert "<summary>The same at eps 32/255</summary>" in html
    line = next(line for line in text.splitlines() if line.startswith("| pgd_at | "))
    assert re.search(r"\| 80\.0 % \[[\d., ]+\], \+40\.0 \[[\d., ]+\] ✔ helps \|", line)
    assert line.count(" not run ") == 2  # backdoor and membership
    undefended = views(tmp_path / "plain", defended=False)
    assert "Defense card" not in page.write(undefended)[0].read_text("utf-8")
    assert undefended.cards == ()


def test_views_make_their_cards_once(tmp_path: Path) -> None:
    shown = views(tmp_path)
    assert shown.cards is shown.cards
    assert [made.eps for made in shown.cards] == pytest.approx([16 / 255, 32 / 255])


def test_the_change_of_clean_accuracy_is_told() -> None:
    (first, _) = cards(evasion({"none": seeds(190, 80, 10), "pgd_at": seeds(150, 160, 90)}))
    told = first.lines[1].entries["clean"]
    assert (told.value, told.decision, told.why) == (pytest.approx(0.75), "harms", "")
    assert told.effect is not None
    assert told.effect.value == pytest.approx(-0.2)


def test_a_ratio_to_the_undefended_model_is_1_of_itself() -> None:
    found = evasion(PLAIN)
    measured = [replace(one, provenance={"inference_ratio": 1.5}) for one in found if one.cell.defense == "pgd_at"]
    others = [one for one in found if one.cell.defense != "pgd_at"]
    values = {line.defense: line.entries["inference"].value for line in cards([*others, *measured])[0].lines}
    assert values == pytest.approx({"none": 1, "pgd_at": 1.5, "origin_at": math.nan}, nan_ok=True)
    assert all(math.isnan(line.entries["inference"].value) for line in cards(found)[0].lines)


# the page of its own


def test_the_page_fetches_nothing_and_acts_nowhere(tmp_path: Path) -> None:
    shown, path = [card(), card(eps=32 / 255), card(strategy="scratch")], tmp_path / "card.html"
    card_page.write(shown, path, ["Bench b."])
    html = path.read_text("utf-8")
    assert not re.search(r"<script|@import|url\(|https?:|src=", html)
    assert "default-src 'none'" in html
    assert re.findall(r"<h2>(.*?)</h2>", html) == [
        f"rendered_syn → optdigits, {name}" for name in ("finetune", "scratch")
    ]
    assert html.index("Bench b.") < html.index("<table")
    assert html.count('<details class="aside">') == 1
    assert html.index("What the columns say") < html.index('<details class="aside">')  # on paper nothing is between
    card_page.write(shown, tmp_path / "again.html", ["Bench b."])
    assert (tmp_path / "again.html").read_bytes() == path.read_bytes()


def test_the_sink_writes_both_files_and_removes_those_of_an_earlier_bench(tmp_path: Path) -> None:
    (said,) = SINKS["card"].write(views(tmp_path))
    assert str(tmp_path / "card.html") in said
    assert "Bench b, run of 2026-11-30, 3 seeds (0, 1, 2)" in (tmp_path / "card.html").read_text("utf-8")
    assert json.loads((tmp_path / "card.json").read_text("utf-8"))["cards"]
    assert list(SINKS["card"].write(views(tmp_path, defended=False))) == []
    assert [path.name for path in tmp_path.iterdir()] == []
    assert {"card.html", "card.json"} <= set(files())
    assert "card" in SINKS["wandb"].after


EVIL = '\x1b"><script>alert(1)</script>{{ 7 * 7 }}[b](javascript:x)'
SEEN = '\\x1b"><script>alert(1)</script>{{ 7 * 7 }}'


def evil_card() -> Card:
    made = card(("none", EVIL), source=EVIL, strategy=EVIL, notes={"white": EVIL})
    made = changed(made, EVIL, "white", trust=Verdict("red", (EVIL,)), effect=None, why=EVIL)
    made = changed(made, EVIL, "black", value=math.nan, low=math.nan, high=math.nan, effect=None, why=EVIL)
    return replace(made, lines=(made.lines[0], replace(made.lines[1], known=(EVIL,))))


def test_texts_of_strangers_act_nowhere(tmp_path: Path) -> None:
    card_page.write([evil_card()], tmp_path / "card.html", [EVIL])
    html = (tmp_path / "card.html").read_text("utf-8")
    assert "<script" not in html
    assert "\x1b" not in html
    assert html.count("\\x1b&#34;&gt;&lt;script&gt;alert(1)&lt;/script&gt;{{ 7 * 7 }}") > 6
    shown = views(tmp_path / "bench")
    shown.__dict__["cards"] = (evil_card(),)
    html, text = (path.read_text("utf-8") for path in page.write(shown))
    assert html.count("<script") == page.write(views(tmp_path / "plain"))[0].read_text("utf-8").count("<script")
    assert re.search(r"(?<!\\)<script", text) is None
    assert "\x1b" not in html + text


# the terminal


def printed(*made: Card) -> list[str]:
    screen = Screen()
    screen.file, screen.width = io.StringIO(), 120
    for item in card_tables(made):
        screen.print(item)
    return [line.rstrip() for line in screen.file.getvalue().splitlines()]


def test_the_terminal_has_numbers_and_marks_of_what_was_run() -> None:
    made = changed(
        card(SMALL, missing=("backdoor", "membership")), "pgd_at", "inference", value=math.nan, why="not run"
    )
    lines = printed(made)
    assert lines[0] == "Defense card: rendered_syn → optdigits, finetune, eps 16/255, in %"
    assert lines[1].split() == [
        "defense", "clean", "white", "black", "shadow", "training", "inference", "refused", "gap", "trust",
    ]  # fmt: skip
    assert lines[2].split() == ["none", *["30.0"] * 4, "1.0", "\u00d7", "1.0", "\u00d7", "-", "-", "✔", "green"]
    assert lines[3].split() == [
        "pgd_at", *["34.3", "✖"] * 4, "1.5", "\u00d7", "not", "run", "34.3", "34.3", "▲", "amber",
    ]  # fmt: skip
    assert lines[5].split()[:3] == ["trades", "42.9", "✔"]
    assert lines[-1] == LEGEND
    assert printed() == []


def test_the_widest_card_fits_the_terminal() -> None:
    names = (*DEFENSES[:-1], "distill(temperature=8, weight=0.7) + mahalanobis(share=0.01) + squeeze(bits=3)")
    lines = printed(card(names))
    assert max(map(len, lines)) <= 120
    assert [line for line in lines if "…" in line] == []
    assert len(lines[1].split()) == len(COLUMNS) + 2
    assert re.search(
        r"94\.5 ✔ +94\.5 ✔ +94\.5 ✔ +94\.5 ✔ +94\.5 ✔ +94\.5 ✔ +8\.1 \u00d7 +8\.1 \u00d7 +94\.5 +94\.5",
        "\n".join(lines),
    )


def test_many_cards_stay_one_screen() -> None:
    lines = printed(*(card(strategy=f"s{place}") for place in range(4)))
    assert len([line for line in lines if line.startswith("Defense card")]) == 2
    assert lines[-2] == "4 defense cards in all: see card.html"
    alone = printed(card(("none", *(f"d{place}" for place in range(60)))))
    assert len(alone) == 61 + 3


def test_the_terminal_shows_names_and_obeys_none() -> None:
    text = "\n".join(printed(evil_card()))
    assert "\x1b" not in text
    assert "script" in text


# Weights & Biases


def test_the_overview_has_the_card_as_a_table_and_as_a_page(tmp_path: Path) -> None:
    shown = views(tmp_path)
    list(SINKS["card"].write(shown))
    published = publish_overview(shown, WandbSettings(mode="offline"), {})
    assert (published.written, published.problems) == (1, ())
    (file,) = runs(tmp_path)
    found = records(file)
    media = {name.removesuffix("._type") for name in summary_of(found) if name.endswith("._type")}
    assert {"overview/card", "overview/defenses"} <= media
    assert "overview/report" not in media  # there is none
    artifacts = {one["name"]: one for one in of_type(found, "artifact")}
    assert {entry["path"] for entry in artifacts["b-report"]["manifest"]["contents"]} >= {"card.html", "card.json"}
    (stored,) = tmp_path.glob("wandb/*run-*/files/media/html/overview/card_*.html")
    assert stored.read_text("utf-8") == (tmp_path / "card.html").read_text("utf-8")
    (stored,) = tmp_path.glob("wandb/*run-*/files/media/table/overview/defenses_*.json")
    content = json.loads(stored.read_text("utf-8"))
    lines = [dict(zip(content["columns"], line, strict=True)) for line in content["data"]]
    assert len(lines) == len(shown.cards) * 3 * len(COLUMNS)
    at = {(line["eps"], line["defense"], line["column"]): line for line in lines}
    for made in shown.cards:
        for line in made.lines:
            for name, entry in line.entries.items():
                told = at[made.eps, line.defense, name]
                assert told["value"] == (None if math.isnan(entry.value) else entry.value)
                assert (told["decision"], told["trust"], told["why"]) == (entry.decision, entry.trust.level, entry.why)
                effect = entry.effect
                wanted = [effect.value, effect.low, effect.high, effect.p] if effect else [None] * 4
                assert [told[end] for end in ("change", "change_low", "change_high", "p")] == wanted
    assert at[16 / 255, "pgd_at", "white"]["decision"] == "helps"
    assert at[16 / 255, "none", "backdoor"]["why"] == "not run"


def test_the_dashboard_of_a_bench_with_defenses_shows_the_card_before_trust() -> None:
    given = ["b"], WandbSettings(), [Shown(FACES["evasion"], [0.0, 16 / 255], ("white",), several=False)]
    spec = dashboard.spec(*given, defended=True)
    assert [section["name"] for section in spec["sections"][-2:]] == ["Defense card", "Trust"]
    assert {"overview/card", "overview/defenses"} <= dashboard.keys(spec)
    plain = dashboard.spec(*given)
    assert plain["sections"] == [section for section in spec["sections"] if section["name"] != "Defense card"]
    assert not {"overview/card", "overview/defenses"} & dashboard.keys(plain)


def test_an_undefended_bench_has_no_table_of_defenses(tmp_path: Path) -> None:
    publish_overview(views(tmp_path, defended=False), WandbSettings(mode="offline"), {})
    assert list(tmp_path.glob("wandb/*run-*/files/media/table/overview/summary_*.json"))
    assert list(tmp_path.glob("wandb/*run-*/files/media/table/overview/defenses_*.json")) == []


def test_made_cards_have_every_kind_of_entry() -> None:
    entries = [entry for line in card(missing=("backdoor",)).lines for entry in line.entries.values()]
    assert {entry.decision for entry in entries} == {"helps", "harms", "undecided", ""}
    assert Entry(why="not run") in entries
