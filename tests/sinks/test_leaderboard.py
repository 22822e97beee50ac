"""Files for sharing: they fit the schema, what is read back is what was written, and the rest is refused."""

import base64
import csv
import json
import math
import zlib
from collections.abc import Sequence
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jsonschema
import pytest
import torch

from tests.test_records import Noise, noise
from tl_robust import metrics
from tl_robust.errors import ResultsError
from tl_robust.metrics import METRICS, rate
from tl_robust.results import leaderboard, table
from tl_robust.results.leaderboard import Origin
from tl_robust.results.means import mean_rows
from tl_robust.results.packing import pack, unpack
from tl_robust.seeding import digest, generator
from tl_robust.threats.base import THREATS
from tl_robust.types import Cell, Outcome, Result, Verdict, View

SCHEMA = json.loads(files("tl_robust.results").joinpath("leaderboard.schema.json").read_text())
EPS = (0.0, 4 / 255, 16 / 255)


def outcome(*parts: object, images: int = 60) -> Outcome:
    draw = generator("leaderboard", *parts)
    label = torch.arange(images) % 10

    def answers(*shape: int, hit: float) -> torch.Tensor:
        wrong = torch.randint(10, shape, generator=draw)
        return torch.where(torch.rand(shape, generator=draw) < hit, label, wrong)

    flags = torch.rand(2, images, generator=draw) < 0.5
    return Outcome(
        sample_id=torch.arange(images) * 7,
        label=label,
        clean_a=answers(images, hit=0.9),
        clean_b=answers(images, hit=0.9),
        adv_a=answers(3, images, hit=0.4),
        adv_b=answers(3, images, hit=0.6),
        size=torch.rand(3, images, generator=draw),
        eps=torch.tensor(EPS, dtype=torch.float64),
        zero_gradient=flags[0],
        valid=flags.any(0).expand(3, -1).contiguous(),
        same_labels=torch.ones(images, dtype=torch.bool),
        loss_rise=torch.rand(images, generator=draw),
    )


def cell(view: View = "black", seed: int = 0, strategy: str = "finetune", **more: Any) -> tuple[Result, Origin]:
    """A result with all its metrics, and its origin."""
    where = {"bench": "small", "source": "a", "target": "b", "network": "dtn", "common": "", "defense": "none"}
    where |= {"attack": "fgsm", "norm": "linf", "target_images": 80, "seed": seed, "view": view, "strategy": strategy}
    place = Cell(**(where | more))  # type: ignore[arg-type]
    own, white = outcome(view, seed, strategy), outcome("white", seed, strategy)
    keys = {name: digest([name, seed, strategy]) for name in ("white", "black", "a", "b", "images")}
    curves = metrics.curves(own, view, {"white": white})
    origins = {role: {"key": keys[role], "domain": role, "images": 80, "parent": None} for role in ("a", "b")}
    made = {"outcome": keys[view], "surrogate": origins["a"], "victim": origins["b"], "device": "cpu", "commit": "c"}
    made |= {"versions": {"torch": "2.9"}, "seconds": 1.5, "gate": {"gap": math.nan}}
    key = place.key(keys[view], {"white": keys["white"]})
    result = Result(key, place, own, {"white": white}, curves, Verdict("amber", ("Few steps.",)), made)
    return result, Origin(3 * (view == "white"), {"white": keys["white"]}, digest(strategy)[:16], 90, keys["images"])


def written(folder: Path, *cells: tuple[Result, Origin], samples: bool = False) -> list[dict[str, Any]]:
    paths = leaderboard.write(folder, cells, samples)
    return [json.loads(path.read_text()) for path in paths]


def lines(folder: Path, rows: Sequence[table.Row], columns: Sequence[str]) -> bytes:
    table.write(folder / "rows.csv", rows, columns)
    return (folder / "rows.csv").read_bytes()


# writing


@pytest.mark.parametrize("samples", [False, True])
def test_files_fit_the_schema_and_say_all(tmp_path: Path, samples: bool) -> None:
    found = cell(), cell("white")
    contents = written(tmp_path, *found, samples=samples)
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert [path.stem for path in sorted(tmp_path.iterdir())] == sorted(result.key for result, _ in found)
    for content, (result, origin) in zip(contents, found, strict=True):
        jsonschema.validate(content, SCHEMA)
        assert content["cell"] == vars(result.cell)
        assert (content["cell"]["threat"], content["axis"]) == ("evasion", "eps")
        assert content["metrics"].keys() == result.curves.keys()
        for name, curve in result.curves.items():
            stated = content["metrics"][name]
            for part in ("value", "low", "high", "n"):
                numbers = [math.nan if number is None else number for number in stated[part]]
                assert numbers == pytest.approx(getattr(curve, part).tolist(), nan_ok=True)
            assert stated["unit"] == METRICS[name].unit
        assert content["trust"] == {"level": "amber", "reasons": ["Few steps."]}
        assert content["data"] == {
            "source_images": 90, "target_images": 80, "test_images": 60, "test_fingerprint": origin.fingerprint,
        }  # fmt: skip
        assert content["provenance"]["seconds"] == 1.5
        assert content["provenance"]["gate"] == {"gap": None}
        assert ("samples" in content) == samples
        assert "NaN" not in (tmp_path / f"{result.key}.json").read_text()


def test_undefined_numbers_are_null(tmp_path: Path) -> None:
    (content,) = written(tmp_path, cell())
    assert content["metrics"]["transfer_ratio"]["value"] != [None] * 3
    result, origin = cell(seed=1)
    curve = result.curves["transfer_ratio"]
    curve.value[1] = math.nan
    (content,) = written(tmp_path / "other", (result, origin))
    assert content["metrics"]["transfer_ratio"]["value"][1] is None
    (entry,) = leaderboard.read([tmp_path / "other"]).entries
    assert entry.curves["transfer_ratio"].value.isnan().tolist() == [False, True, False]


def test_outcomes_come_back_as_they_were() -> None:
    before = outcome("packed")
    packed = pack(before)
    assert packed["label"]["dtype"] == "int8"
    assert packed["sample_id"]["dtype"] == "int16", "up to 413"
    assert packed["valid"]["dtype"] == "bool"
    after = unpack(Outcome, json.loads(json.dumps(packed)))
    for name, tensor in before.tensors().items():
        other = after.tensors()[name]
        assert other.dtype == tensor.dtype
        assert torch.equal(other, tensor)


# reading back


def test_with_samples_everything_comes_back(tmp_path: Path) -> None:
    found = [cell(seed=seed) for seed in (0, 1)] + [cell("white", seed) for seed in (0, 1)]
    results = [result for result, _ in found]
    written(tmp_path / "board", *reversed(found), samples=True)
    board = leaderboard.read([tmp_path / "board"])
    assert [entry.cell.view for entry in board.entries] == ["black", "black", "white", "white"], "places are kept"
    again = {result.key: result for result in board.results}
    for result in results:
        assert again[result.key].verdict == result.verdict
        assert torch.equal(again[result.key].outcome.adv_b, result.outcome.adv_b)
        assert again[result.key].beside.keys() == {"white"}
    keys = [entry.key for entry in board.entries]
    ordered = sorted(results, key=lambda result: keys.index(result.key))
    rows = [row for result in ordered for row in table.rows(result)]
    assert lines(tmp_path, board.rows, table.COLUMNS) == lines(tmp_path, rows, table.COLUMNS)
    summary = table.summary(ordered)
    assert lines(tmp_path, board.summary, table.SUMMARY_COLUMNS) == lines(tmp_path, summary, table.SUMMARY_COLUMNS)


def test_without_samples_the_stated_numbers_come_back(tmp_path: Path) -> None:
    found = [cell(seed=seed) for seed in range(5)]
    written(tmp_path / "board", *found)
    board = leaderboard.read([tmp_path / "board"])
    assert board.results == []
    rows = {tuple(map(str, (row.cell, row.metric, row.eps))): row for result, _ in found for row in table.rows(result)}
    assert len(board.rows) == len(rows)
    for row in board.rows:
        other = rows[tuple(map(str, (row.cell, row.metric, row.eps)))]
        assert (row.value, row.low, row.high) == pytest.approx((other.value, other.low, other.high), nan_ok=True)
        assert (row.n, row.trust, row.key) == (other.n, other.trust, other.key)
    exact = {(row.metric, row.eps): row for row in table.summary([result for result, _ in found])}
    for row in board.summary:
        other = exact[row.metric, row.eps]
        assert (row.value, row.n, row.trust) == (pytest.approx(other.value, nan_ok=True), other.n, other.trust)
        assert row.cell == other.cell
        assert row.metric != "robust_accuracy" or row.high - row.low > 0.8 * (other.high - other.low)


def test_means_of_rows() -> None:
    result, _ = cell()
    (row,) = [row for row in table.rows(result) if row.metric == "robust_accuracy" and row.eps == 0]

    def mean(*values: float, half: float = 0.05) -> table.Row:
        cells = [table.replace(row.cell, seed=seed) for seed in range(len(values))]
        parts = [
            table.replace(row, cell=place, value=value, low=value - half, high=value + half)
            for place, value in zip(cells, values, strict=True)
        ]
        (one,) = mean_rows(parts)
        return one

    assert (mean(0.5).low, mean(0.5).high) == pytest.approx((0.45, 0.55)), "one seed: its own interval"
    same = mean(0.5, 0.5, 0.5)
    assert (same.value, same.low, same.high, same.n) == pytest.approx((0.5, 0.45, 0.55, 180), abs=1e-3), "one test set"
    assert same.low < 0.45, "seeds that agree are no endless freedom"
    nothing = mean(0.5, 0.5, 0.5, half=0.0)
    assert nothing.value == 0.5
    assert math.isnan(nothing.low)
    assert math.isnan(nothing.high)
    apart = mean(0.4, 0.5, 0.6, half=0.0)
    assert (apart.low, apart.high) == pytest.approx((0.5 - 4.303 * 0.1 / 3**0.5, 0.5 + 4.303 * 0.1 / 3**0.5), abs=1e-3)
    assert mean(0.0, 1.0, 1.0).high == 1
    gap = mean(0.4, math.nan, 0.4)
    assert (gap.value, gap.n) == (0.4, 180)
    assert math.isnan(mean(math.nan, math.nan).value)


def test_folders_are_merged_and_twins_count_once(tmp_path: Path) -> None:
    both = [cell(seed=0), cell(seed=1)]
    written(tmp_path / "one", *both)
    written(tmp_path / "two", both[0], cell(seed=2), samples=True)
    board = leaderboard.read([tmp_path / "one", tmp_path / "two"])
    assert sorted(entry.cell.seed for entry in board.entries) == [0, 1, 2]
    assert sorted(result.cell.seed for result in board.results) == [0, 2], "a twin with samples is the better one"
    single = leaderboard.read([tmp_path / "one" / f"{both[0][0].key}.json"])
    assert [entry.cell.seed for entry in single.entries] == [0]


def test_a_metric_that_is_not_known_here_is_named(tmp_path: Path) -> None:
    (content,) = written(tmp_path, cell())
    content["metrics"]["of_a_plugin"] = content["metrics"]["robust_accuracy"]
    (tmp_path / f"{content['key']}.json").write_text(json.dumps(content))
    (entry,) = leaderboard.read([tmp_path]).entries
    assert entry.unknown == {"of_a_plugin"}


def test_a_file_of_before_is_of_evasion(tmp_path: Path) -> None:
    (content,) = written(tmp_path, cell(), samples=True)
    del content["cell"]["threat"], content["axis"]
    (tmp_path / f"{content['key']}.json").write_text(json.dumps(content))
    (entry,) = leaderboard.read([tmp_path]).entries
    assert entry.cell == cell()[0].cell
    assert (entry.cell.threat, entry.axis) == ("evasion", "eps")
    assert entry.result
    assert entry.result.beside.keys() == {"white"}
    written(tmp_path / "new", cell())
    assert len(leaderboard.read([tmp_path, tmp_path / "new"]).entries) == 1, "files of both ages may lie side by side"


def test_records_of_another_threat_come_back_where_it_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(METRICS, "_items", {name: METRICS[name] for name in METRICS.names()})
    rate(of=Noise, name="kept")(lambda record: (record.label == record.noisy.T, record.label >= 0))
    record, plain = noise(60), noise(60, score=torch.rand(60))
    origin = replace(cell()[1], beside={"plain": "e" * 64})
    made = cell()[0].provenance
    place = replace(cell()[0].cell, threat="noise", view="outside")
    key = place.key(made["outcome"], origin.beside)
    curves = metrics.curves(record, "outside", {})
    result = Result(key, place, record, {"plain": plain}, curves, Verdict(), made)
    (content,) = written(tmp_path, (result, origin), samples=True)
    assert (content["cell"]["threat"], content["axis"], content["eps"]) == ("noise", "sigma", [0.0, 0.5])
    assert content["provenance"]["beside"] == {"plain": "e" * 64}
    with pytest.raises(ResultsError, match="its threat 'noise' is not known here"):
        leaderboard.read([tmp_path])
    THREATS.register(SimpleNamespace(record=Noise), "elsewhere.noise")  # type: ignore[arg-type]
    (entry,) = leaderboard.read([tmp_path]).entries
    assert entry.result
    assert isinstance(entry.result.outcome, Noise)
    assert torch.equal(entry.result.beside["plain"].score, plain.score)
    assert {(row.metric, row.axis) for row in leaderboard.read([tmp_path]).rows} == {("kept", "sigma")}


# what is refused


DROP = object()


def array(values: bytes, dtype: str = "int8", shape: Sequence[int] = (60,)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape), "data": base64.b64encode(zlib.compress(values)).decode()}


ACCURACY = ("metrics", "robust_accuracy")
LABEL = ("samples", "outcome", "label")
WRONG: list[tuple[str, Sequence[str | int], object]] = [
    ("schema tl_robust.leaderboard/3, and this version reads", ["schema"], "tl_robust.leaderboard/3"),
    ("no leaderboard file", ["schema"], "someone.else/1"),
    ("no leaderboard file", ["schema"], DROP),
    ("'eps' is a required property", ["eps"], DROP),
    ("'more' was unexpected", ["more"], 1),
    ("cell.view: 'Grey!' does not match", ["cell", "view"], "Grey!"),
    ("key is not that of its coordinates", ["cell", "view"], "shadow"),
    ("key is not that of its coordinates", ["cell", "threat"], "membership"),
    ("key is not that of its coordinates", ["provenance", "beside"], {"plain": "0" * 64}),
    ("cell.seed", ["cell", "seed"], "0"),
    ("key is not that of its coordinates", ["cell", "seed"], 7),
    ("key is not that of its coordinates", ["provenance", "outcome"], "0" * 64),
    ("trust.level", ["trust", "level"], "purple"),
    ("must have 3 values", [*ACCURACY, "low", 0], DROP),
    ("must have 1 values", ["metrics", "curve_area", "low"], [0.1, 0.1]),
    ("must be in [0, 1]", [*ACCURACY, "value", 0], 1.5),
    ("another metric here", [*ACCURACY, "unit"], "ratio"),
    ("value 1 of metrics.curve_area is stated as 0.99", ["metrics", "curve_area", "value", 0], 0.99),
    ("value 1 of metrics.transfer_ratio is stated as nan", ["metrics", "transfer_ratio", "value", 0], None),
    ("n 1 of metrics.error_rate is stated as 59", ["metrics", "error_rate", "n", 0], 59),
    ("low 3 of metrics.robust_accuracy", [*ACCURACY, "low", 2], 0.0),
    ("whole numbers of at most 60 test images", ["metrics", "error_rate", "n", 0], 61),
    ("beyond 2**53", ["metrics", "error_rate", "n", 0], 10**30),
    ("whole numbers of at most", ["metrics", "error_rate", "n", 0], 60.0),
    ("not finite", ["metrics", "transfer_ratio", "value", 0], math.inf),
    ("low <= value <= high", [*ACCURACY, "low", 1], 0.99),
    ("low <= value <= high", ["metrics", "transfer_ratio", "low", 2], 1e6),
    ("eps must rise", ["eps", 1], 0.0),
    ("eps must rise", ["eps", 0], 0.5),
    ("eps must be at most", ["eps", 2], 1e300),
    ("not finite", ["eps", 2], math.inf),
    ("control characters", ["cell", "strategy"], "a\x1b[2J"),
    ("control characters", ["cell", "strategy"], "a\ud800b"),
    ("control characters", ["cell", "strategy"], "a\u202eb"),
    ("control characters", ["provenance", "note\x1b"], 1),
    ("more than 10000 letters", ["cell", "strategy"], "a" * 10_001),
    ("lacks 'by'", ["provenance", "victim"], {"key": "0" * 64, "epochs": 1}),
    ("parent must be a model", ["provenance", "victim", "parent"], "x"),
    ("domain must be a text", ["provenance", "victim", "domain"], ["x"]),
    ("gate must have the numbers", ["provenance", "gate"], "samples accuracy"),
    ("fast must be a list", ["provenance", "fast"], "bf16"),
    ("deeper than", ["provenance", "note"], json.loads("[" * 30 + "]" * 30)),
    ("must be the same", ["data", "target_images"], 81),
    ("declares", LABEL, array(b"\x01", shape=(100_000_000,))),
    ("samples are not those of", ["data", "test_images"], 61),
    ("samples.outcome: None is not of type", ["samples", "outcome"], None),
    ("needs samples.white", ["samples", "white"], None),
    ("label has not the 60 bytes", LABEL, array(b"\x01" * 59)),
    ("label has not the 60 bytes", LABEL, array(b"\x01" * 10**7)),
    ("samples are damaged", [*LABEL, "data"], "no base64"),
    ("samples are damaged", [*LABEL, "data"], "AAAA"),
    ("label cannot be float32", LABEL, array(bytes(240), "float32")),
    ("must have shape", LABEL, array(bytes(60), shape=(6, 10))),
    ("unexpected keyword", ["samples", "outcome", "later"], array(bytes(60))),
    ("dtype: 'object' is not one of", [*LABEL, "dtype"], "object"),
]


@pytest.mark.parametrize(("said", "keys", "value"), WRONG, ids=range(len(WRONG)))
def test_what_does_not_fit_is_one_sentence_with_the_file(
    tmp_path: Path, said: str, keys: Sequence[Any], value: object
) -> None:
    (content,) = written(tmp_path, cell(), samples=True)
    part: Any = content
    for key in keys[:-1]:
        part = part[key]
    if value is DROP:
        del part[keys[-1]]
    else:
        part[keys[-1]] = value
    path = tmp_path / f"{content['key']}.json"
    path.write_text(json.dumps(content).replace("Infinity", "1e999"))
    with pytest.raises(ResultsError) as caught:
        leaderboard.read([tmp_path])
    text = str(caught.value)
    assert text.startswith(f"{path} cannot be used: ")
    assert said in text
    assert "\n" not in text
    assert len(text) < 600


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", "null", "\xff", '{"schema": NaN}', "[" * 100000, "7"])
def test_what_is_no_json_of_ours_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(ResultsError, match=r"x\.json cannot be used: it is (damaged or no JSON|no leaderboard file)"):
        leaderboard.read([tmp_path])


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="no leaderboard file in"):
        leaderboard.read([tmp_path])
    with pytest.raises(ResultsError, match="cannot be read"):
        leaderboard.read([tmp_path / "none.json"])


def test_the_same_cell_with_other_content_names_both(tmp_path: Path) -> None:
    (content,) = written(tmp_path / "one", cell())
    written(tmp_path / "two", cell())
    content["trust"]["level"] = "green"
    name = f"{content['key']}.json"
    (tmp_path / "one" / name).write_text(json.dumps(content))
    with pytest.raises(ResultsError, match="with other content") as caught:
        leaderboard.read([tmp_path / "one", tmp_path / "two"])
    assert all(str(tmp_path / folder / name) in str(caught.value) for folder in ("one", "two"))


@pytest.mark.parametrize("seed", [0, 1])
def test_seeds_of_other_settings_are_not_averaged(tmp_path: Path, seed: int) -> None:
    written(tmp_path / "one", cell(seed=0))
    result, origin = cell(seed=seed)
    made = {**result.provenance, "outcome": digest("other")}
    key = result.cell.key(made["outcome"], origin.beside)
    other = table.replace(result, key=key, provenance=made), table.replace(origin, protocol="0" * 16)
    written(tmp_path / "two", other)
    with pytest.raises(ResultsError, match="same coordinates"):
        leaderboard.read([tmp_path / "one", tmp_path / "two"])
    if seed == 1:
        written(tmp_path / "three", (other[0], origin))
        assert len(leaderboard.read([tmp_path / "one", tmp_path / "three"]).entries) == 2


def test_a_cell_of_a_name_that_cannot_be_shared_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="control characters"):
        leaderboard.write(tmp_path / "board", [cell(strategy="a\x1b[2J")], samples=False)
    assert not (tmp_path / "board").exists()


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "'=1", "'", "''+x", "plain", "'plain", "../x"])
def test_a_spreadsheet_runs_no_cell_and_the_name_comes_back(tmp_path: Path, name: str) -> None:
    result, _ = cell(strategy=name)
    table.write(tmp_path / "table.csv", table.rows(result), table.COLUMNS)
    with (tmp_path / "table.csv").open(newline="") as file:
        texts = {line["strategy"] for line in csv.DictReader(file)}
    assert not [text for text in texts if text[0] in "=+-@\t\r"]
    assert {row.cell.strategy for row in table.read(tmp_path / "table.csv")} == {name}
