"""The leaderboard page: rows that can be trusted, submitters side by side, and whatever anybody writes as text."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from tests.sinks import test_leaderboard as files_made
from tests.sinks.backdoor_made import backdoor
from tests.sinks.board_made import HOSTILE, entry, large, seeds
from tests.sinks.exposure_made import exposure
from tests.sinks.exposure_made import result as membership
from tl_robust.cli import main
from tl_robust.cli.commands.export import _submitter
from tl_robust.errors import ConfigError, ResultsError
from tl_robust.results import leaderboard
from tl_robust.results.entry import Entry, Submitter
from tl_robust.results.leaderboard import Board
from tl_robust.results.standings import Line, lines
from tl_robust.sinks import base
from tl_robust.sinks.report import board_page

EXAMPLES = Path(__file__).parents[1] / "experiments" / "leaderboard"

# rows of a board


def shown(*entries: Entry) -> list[Line]:
    return lines(Board(entries))


def at_last(found: Sequence[Line]) -> list[Line]:
    last = max(line.row.eps or 0 for line in found)
    return [line for line in found if line.row.eps == last]


def test_rows_rank_within_their_question_alone() -> None:
    few = {"half": 0.01}
    found = shown(
        *seeds(0.7, strategy="scratch", **few), *seeds(0.3, **few), *seeds(0.1, attack="fgsm", **few),
        *seeds(0.1, view="white", **few), *seeds(0.1, network="other", **few), *seeds(0.1, target_images=9, **few),
    )  # fmt: skip
    ranked = [line for line in at_last(found) if line.rank]
    assert [(line.cell.strategy, line.rank and line.rank.first) for line in ranked] == [("scratch", 1), ("finetune", 2)]
    assert {line.why for line in found if not line.rank} == {"nothing to compare with"}
    assert {line.row.eps for line in found} == {8 / 255, 16 / 255}, "the clean images are no attack"
    assert [name for name, _ in found[0].beside.items()] == ["no attack"]


def test_what_cannot_be_trusted_is_last_and_never_ranked() -> None:
    few = {"half": 0.01}
    good = [*seeds(0.4, strategy="x", **few), *seeds(0.2, strategy="y", **few)]
    red = seeds(0.89, strategy="best", level="red", reasons=["Gradients are masked."], **few)
    last = at_last(shown(*red, *good))
    assert [line.cell.strategy for line in last] == ["x", "y", "best"]
    assert (last[-1].rank, last[-1].why, last[-1].outcast) == (None, "red", True)
    assert last[0].rank
    assert last[0].rank.of == 2, "a red row is no opponent"
    one_red = [*seeds(0.89, strategy="best", count=2, **few), red[2]]
    assert at_last(shown(*one_red, *good))[-1].why == "red", "the worst of its seeds counts"
    nothing = at_last(shown(*red, *seeds(0.4, count=1), *seeds(0.2, strategy="y", count=1)))
    assert nothing[-1].cell.strategy == "best", "where nothing has a rank, too"
    amber = seeds(0.6, strategy="amber", level="amber", reasons=["Few steps."], **few)
    assert at_last(shown(*amber, *good))[0].cell.strategy == "amber"


@pytest.mark.parametrize(("count", "why"), [(1, "1 seed of 3"), (2, "2 seeds of 3")])
def test_few_seeds_have_no_rank(count: int, why: str) -> None:
    found = at_last(
        shown(*seeds(0.8, strategy="lucky", count=count, half=0.01), *seeds(0.5), *seeds(0.1, strategy="z"))
    )
    (line,) = [line for line in found if line.cell.strategy == "lucky"]
    assert (line.rank, line.why) == (None, why)
    assert line.basis == ("stated" if count == 1 else "approximate")


def test_rows_that_intervals_do_not_tell_apart_have_no_rank() -> None:
    found = at_last(shown(*seeds(0.50), *seeds(0.51, strategy="scratch")))
    assert [(line.rank, line.why) for line in found] == [(None, "not told apart")] * 2
    undefined = at_last(shown(*seeds(math.nan), *seeds(0.51, strategy="scratch")))
    assert "no interval" in {line.why for line in undefined}


def test_other_threats_are_read_as_they_tell(tmp_path: Path) -> None:
    cells = [backdoor(seed, strategy) for seed in range(3) for strategy in ("finetune", "scratch")]
    submit(tmp_path, "north", *cells, samples=True)
    found = lines(leaderboard.read([tmp_path]))
    assert [line.row.eps for line in found] == [0.0, 0.0, 1.0, 1.0, 10.0, 10.0], "every epoch is a question"
    assert {line.row.metric for line in found} == {"attack_success"}
    assert set(found[0].beside) == {"accuracy", "clean twin", "accuracy of the twin"}
    assert "epoch 10" in written(tmp_path, leaderboard.read([tmp_path]))


def test_one_cohort_of_pairs_is_enough_and_less_exposure_is_better() -> None:
    def cohort(told: float, defense: str, coins: float) -> Entry:
        record = replace(exposure(told), member=exposure(coins).member)
        made = membership("rmia", record, defense=defense)
        content = entry().content | {"axis": "epochs", "submitter": {"name": "North"}}
        return Entry(Path("x"), content, made.cell, made.curves, made.verdict, {}, made)

    for coins in ([3.0, 3.0], [3.0, 0.3]):  # of the same halves, and of others
        found = shown(cohort(3.0, "none", coins[0]), cohort(0.3, "dp", coins[1]))
        assert [(line.cell.defense, line.rank and line.rank.first) for line in found] == [("dp", 1), ("none", 2)]
        assert {line.row.metric for line in found} == {"auc"}


# submitters


def submit(folder: Path, name: str, *cells: tuple[Any, Any], samples: bool = False, **more: str) -> None:
    leaderboard.write(folder, cells, samples, Submitter(name, **more) if name else None)


def changed(path: Path, value: float = 0.25) -> None:
    content = json.loads(path.read_text())
    robust = content["metrics"]["robust_accuracy"]
    robust["value"][2], robust["low"][2] = value, min(value, robust["low"][2])
    path.write_text(json.dumps(content))


def test_a_file_names_its_submitter_and_others_stay_as_they_were(tmp_path: Path) -> None:
    submit(tmp_path / "named", "Group North", files_made.cell(), contact="n@example.org", paper="https://example.org")
    submit(tmp_path / "plain", "", files_made.cell())
    named, plain = (json.loads(next((tmp_path / name).iterdir()).read_text()) for name in ("named", "plain"))
    assert named.pop("submitter") == {"name": "Group North", "contact": "n@example.org", "paper": "https://example.org"}
    assert (named.pop("schema"), plain.pop("schema")) == ("tl_robust.leaderboard/2", "tl_robust.leaderboard/1")
    assert named == plain
    (one,) = leaderboard.read([tmp_path / "named"]).entries
    assert one.submitter == Submitter("Group North", "n@example.org", "https://example.org")
    (path,) = (tmp_path / "plain").iterdir()
    path.write_text(json.dumps(plain | {"schema": "tl_robust.leaderboard/1", "submitter": {"name": "x"}}))
    with pytest.raises(ResultsError, match="names a submitter, which files of the schema"):
        leaderboard.read([path])


@pytest.mark.parametrize(
    "submitter", [{}, {"name": ""}, {"name": " "}, {"name": 1}, {"name": "x", "more": "y"}, "x", {"name": "a\u202eb"}]
)
def test_a_submitter_that_is_none_is_refused(tmp_path: Path, submitter: object) -> None:
    submit(tmp_path, "x", files_made.cell())
    (path,) = tmp_path.iterdir()
    path.write_text(json.dumps(json.loads(path.read_text()) | {"submitter": submitter}))
    with pytest.raises(ResultsError, match=r"cannot be used: .*(submitter|name|control)"):
        leaderboard.read([path])


def test_submitters_who_differ_stand_side_by_side(tmp_path: Path) -> None:
    for name in ("north", "south"):
        submit(tmp_path / name, name, *(files_made.cell(seed=seed) for seed in range(3)))
    for path in (tmp_path / "south").iterdir():
        changed(path)
    board = leaderboard.read([tmp_path / "north", tmp_path / "south"])
    assert {entry.names for entry in board.entries} == {("north",)}, "tables have those of the folder named first"
    assert {entry.names for entry in board.aside} == {("south",)}
    found = {line.share.owners: line for line in at_last(lines(board))}
    assert found.keys() == {("north",), ("south",)}
    assert found["north",].disputes[0].startswith("south: 25.0 %")
    assert found["south",].disputes[0].startswith("north: ")
    assert any("3 cells of south are disputed" in text for text in leaderboard.sentences(board))
    other_way = leaderboard.read([tmp_path / "south", tmp_path / "north"])
    assert {entry.names for entry in other_way.entries} == {("south",)}


def test_within_a_submitter_contradictions_are_refused(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        submit(tmp_path / folder, "north", files_made.cell())
    assert len(leaderboard.read([tmp_path / "one", tmp_path / "two"]).every) == 1
    changed(next((tmp_path / "two").iterdir()))
    with pytest.raises(ResultsError, match="with other content: keep one of them"):
        leaderboard.read([tmp_path / "one", tmp_path / "two"])
    submit(tmp_path / "three", "south", files_made.cell())
    with pytest.raises(ResultsError, match="with other content: keep one of them"):  # behind a twin of another
        leaderboard.read([tmp_path / "three", tmp_path / "one", tmp_path / "two"])


def test_the_same_numbers_of_two_submitters_are_one_row_with_both(tmp_path: Path) -> None:
    cells = [files_made.cell(seed=seed) for seed in range(3)]
    submit(tmp_path / "north", "north", *cells)
    submit(tmp_path / "south", "south", *cells, samples=True)
    for path in (tmp_path / "south").iterdir():  # computed again, on another machine
        content = json.loads(path.read_text())
        content["provenance"] |= {"device": "another machine", "seconds": 99}
        path.write_text(json.dumps(content))
    board = leaderboard.read([tmp_path / "north", tmp_path / "south"])
    assert (len(board.entries), board.aside) == (3, ())
    assert all(entry.result for entry in board.entries), "the file with samples is the better one"
    found = at_last(lines(board))
    assert [set(line.share.owners) for line in found] == [{"north", "south"}]
    assert found[0].disputes == ()
    page = written(tmp_path, board)
    assert "another machine" in page
    assert "cpu" in page


def test_each_submitter_has_a_row_of_its_own_seeds(tmp_path: Path) -> None:
    submit(tmp_path / "north", "north", *(files_made.cell(seed=seed) for seed in (0, 1)))
    submit(tmp_path / "south", "south", *(files_made.cell(seed=seed) for seed in (1, 2)))
    board = leaderboard.read([tmp_path / "north", tmp_path / "south"])
    assert sorted(entry.cell.seed for entry in board.entries) == [0, 1, 2], (
        "tables average all seeds, as they always did"
    )
    found = {line.share.owners: line for line in at_last(lines(board))}
    assert {owners: line.seeds for owners, line in found.items()} == {("north",): [0, 1], ("south",): [1, 2]}
    assert not any(line.disputes for line in found.values())


def test_numbers_that_their_samples_do_not_give_are_marked(tmp_path: Path) -> None:
    submit(tmp_path / "north", "north", *(files_made.cell(seed=seed) for seed in range(3)), samples=True)
    path = min((tmp_path / "north").iterdir())
    changed(path, 0.97)
    content = json.loads(path.read_text())
    content["metrics"]["robust_accuracy"]["high"][2] = 0.98
    path.write_text(json.dumps(content))
    with pytest.raises(ResultsError, match="was changed after export"):
        leaderboard.read([tmp_path / "north"])
    board = leaderboard.read([tmp_path / "north"], mark=True)
    assert [entry.path for entry in board.aside] == [path]
    assert len(board.entries) == 2
    (line,) = at_last(lines(board))
    assert (line.rank, line.why, line.outcast) == (None, "its samples say other numbers", True)
    assert line.seeds == [0, 1, 2]
    stated = [float(entry.curves["robust_accuracy"].value[2]) for entry in board.every]
    assert (line.basis, line.row.value) == ("approximate", pytest.approx(sum(stated) / 3)), "as it says itself"
    assert "is stated as 0.97, but its samples give 0.4" in " ".join(line.wrong)
    assert any("state numbers that are not those of their samples" in text for text in leaderboard.sentences(board))
    assert "samples disagree" in written(tmp_path, board)


def test_samples_of_another_put_nobodys_numbers_in_doubt(tmp_path: Path) -> None:
    """Who copies a file and adds samples that deny it has a struck row, and the first keeps an honest one."""
    cells = [files_made.cell(seed=seed) for seed in range(3)]
    submit(tmp_path / "north", "north", *cells)
    submit(tmp_path / "south", "south", *cells, samples=True)
    for path in (tmp_path / "north").iterdir():
        changed(path, 0.4)
    for path in (tmp_path / "south").iterdir():
        changed(path, 0.4)
    board = leaderboard.read([tmp_path / "north", tmp_path / "south"], mark=True)
    found = {line.share.owners: line for line in at_last(lines(board))}
    assert {owners: line.outcast for owners, line in found.items()} == {("north",): False, ("south",): True}
    assert found["north",].disputes == ()
    assert {entry.names for entry in board.entries} == {("north",)}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("", "a@example.org", ""), "add --submitter NAME"),
        (("a\nb", "", ""), "control characters"),
        (("a\u202eb", "", ""), "control characters"),
        (("a" * 10_001, "", ""), "more than 10000 letters"),
    ],
)
def test_export_refuses_what_no_reader_would_take(given: tuple[str, str, str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        _submitter(Namespace(**dict(zip(("submitter", "contact", "paper"), given, strict=True))))
    assert _submitter(Namespace(submitter=" ", contact="", paper="")) is None


@pytest.mark.parametrize("wrong", [True, False])
def test_merge_ends_with_one_where_a_file_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], wrong: bool
) -> None:
    monkeypatch.setattr(base, "in_order", lambda: ["leaderboard"])
    monkeypatch.chdir(tmp_path)
    submit(Path("north"), "north", files_made.cell(), samples=True)
    if wrong:
        changed(next(Path("north").iterdir()))
    assert main(["merge", "north", "--out", "all"]) == int(wrong)
    said = capsys.readouterr().out
    assert ("is stated as 0.25, but its samples give" in said) == wrong
    assert ("1 of 1 cells state numbers that are not those of their samples" in said) == wrong
    assert "Leaderboard: all/leaderboard.html" in said
    assert ("✖ samples disagree" in Path("all/leaderboard.html").read_text()) == wrong


# the page


class Parsed(HTMLParser):
    """Tags with their attributes, and the text of the table."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def written(folder: Path, board: Board) -> str:
    board_page.write(board, folder / "leaderboard.html", "merged", "tl_robust 1")
    return (folder / "leaderboard.html").read_text()


def test_the_table_is_whole_without_its_script(tmp_path: Path) -> None:
    board = large(600)
    page = Parsed(written(tmp_path, board))
    rows = [attributes for tag, attributes in page.tags if tag == "tr"][1:]
    assert len(rows) == 600
    assert sum("on" in (attributes["class"] or "").split() for attributes in rows) == board_page.AT_ONCE
    form = next(attributes for tag, attributes in page.tags if tag == "form")
    assert "hidden" in form
    scripts = re.findall(r"<script>(.*?)</script>", (tmp_path / "leaderboard.html").read_text(), re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(scripts[0].encode()).digest()).decode()
    policy = next(attributes["content"] for tag, attributes in page.tags if "http-equiv" in attributes)
    assert len(scripts) == 1
    assert f"script-src 'sha256-{digest}'" in str(policy)
    assert "default-src 'none'" in str(policy)


def test_hostile_names_are_texts(tmp_path: Path) -> None:
    made = [
        entry(
            0.5 + place / 100,
            submitter=name,
            about={"contact": name, "paper": name},
            folder=name[:50].replace("/", ""),
            level="amber",
            reasons=[name],
            **dict.fromkeys(("source", "target", "network", "strategy", "defense", "attack", "common"), name),
        )
        for place, name in enumerate(HOSTILE)
    ]
    plain = Parsed(written(tmp_path, Board((entry(level="amber", reasons=["x"]),))))
    text = written(tmp_path, Board(tuple(made)))
    page = Parsed(text)
    assert {tag for tag, _ in page.tags} == {tag for tag, _ in plain.tags} | {"section"}
    assert {name for _, attributes in page.tags for name in attributes if name.startswith("on")} == set()
    assert [attributes["href"] for tag, attributes in page.tags if tag == "a"] == ["#board"], "no address is a link"
    assert "\u202e" not in text
    assert "\\u202etxt.exe" in text
    assert text.count("a" * 10_000) <= 12, "a long name stands whole in the numbers and in reasons alone"
    data = json.loads(text.partition('id="data">')[2].partition("</script>")[0])
    assert {name for name in HOSTILE if "\u202e" not in name} <= set(data["texts"])
    assert not [text for text in data["texts"] if "\u202e" in text], "the CSV is made of these"
    assert data["risky"]
    assert all((place in data["risky"]) == text.startswith("=") for place, text in enumerate(data["texts"]))


@pytest.mark.parametrize(
    ("paper", "link"),
    [
        ("https://arxiv.org/abs/2008.11089", True), ("https://example.org", True), ("javascript:alert(1)", False),
        ("JaVaScRiPt:alert(1)", False), ("https://a.org@b.org/", False), ("http://example.org", False),
        ("data:text/html,x", False), ("https://example.org/\" onclick=x", False), ("https://ex\u0430mple.org", False),
        (" https://example.org", False), ("//example.org", False), ("A title", False),
    ],
)  # fmt: skip
def test_only_a_plain_address_is_a_link(tmp_path: Path, paper: str, link: bool) -> None:
    page = Parsed(written(tmp_path, Board((entry(about={"paper": paper}),))))
    assert [attributes["href"] for tag, attributes in page.tags if tag == "a"][1:] == [paper] * 2 * link
    assert paper in page.texts


def test_numbers_beside_the_table_are_those_of_the_rows(tmp_path: Path) -> None:
    board = Board((*seeds(0.7, strategy="scratch", half=0.01), *seeds(0.3, half=0.01)))
    text = written(tmp_path, board)
    data = json.loads(text.partition('id="data">')[2].partition("</script>")[0])
    names = list(data["columns"])
    for line, packed in zip(lines(board), data["rows"], strict=True):
        fields = dict(zip(names, packed, strict=True))
        assert (fields["value"], fields["low"], fields["high"]) == (line.row.value, line.row.low, line.row.high)
        assert fields["rank"] == (line.rank and line.rank.first)
        assert data["texts"][fields["strategy"]] == line.cell.strategy
        assert [data["texts"][place] for place in fields["submitter"]] == ["North"]


def test_an_empty_board_gives_a_page(tmp_path: Path) -> None:
    assert "0 rows" in written(tmp_path, Board(()))


def test_the_documentation_names_the_options_and_limits() -> None:
    text = (EXAMPLES.parents[1] / "docs" / "leaderboard.md").read_text()
    for option in ("--samples", "--submitter", "--contact", "--paper", "--out"):
        assert option in text
    assert f"The first {board_page.AT_ONCE} rows" in text


# the examples


def test_the_examples_are_small_and_rank() -> None:
    files = sorted(EXAMPLES.glob("*/*.json"))
    assert {path.parent.name for path in files} == {"north", "south"}
    assert max(path.stat().st_size for path in files) < 20_000
    found = at_last(lines(leaderboard.read([EXAMPLES / "north", EXAMPLES / "south"])))
    assert [(line.cell.strategy, line.share.owners[0], line.rank and line.rank.first) for line in found] == [
        ("scratch", "Group North", 1), ("finetune", "Group South", 2), ("finetune", "Group North", 2),
        ("scratch", "Group South", None),
    ]  # fmt: skip
    assert [line.basis for line in found] == ["samples", "approximate", "samples", "stated"]


@pytest.mark.docs
def test_the_documented_merge_says_what_the_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = EXAMPLES.parents[1]
    blocks = re.findall(r"^```\n(.*?)\n```$", (root / "docs" / "leaderboard.md").read_text(), re.DOTALL | re.MULTILINE)
    (place,) = [place for place, block in enumerate(blocks) if block.startswith("tl-robust merge ")]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    (tmp_path / "experiments").symlink_to(root / "experiments")
    assert main(blocks[place].split()[1:]) == 0
    said = [line.rstrip() for line in capsys.readouterr().out.strip().splitlines()]
    assert said == [line.rstrip() for line in blocks[place + 1].splitlines()]
    assert (tmp_path / "merged" / "leaderboard.html").is_file()
