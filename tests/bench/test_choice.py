"""Which bench runs where none was named: patched devices, data and networks."""

import argparse
from pathlib import Path

import pytest
import torch

from tl_robust.bench.choice import choose, missing_domains
from tl_robust.cli.commands import base
from tl_robust.config import load

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
USPS, MNIST = ("usps.bz2", "usps.t.bz2"), [f"{part}-ubyte" for part in (
    "train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1",
)]  # fmt: skip


def test_each_choice_is_one_sentence_with_its_reason() -> None:
    assert choose("", "data", ["usps"], True).bench == "embedded"
    assert choose("", "data", [], True).why == "No bench was named: embedded, since no CUDA device is present."
    there = choose("Card X", "data", [], False)
    assert (there.bench, there.overrides) == ("digits", ())
    assert "Card X" in there.why
    assert "lie in data" in there.why
    fetched = choose("Card X", "data", ["mnist", "usps"], True)
    assert (fetched.bench, fetched.overrides) == ("digits", ("data.download=true",))
    assert "fetching mnist and usps" in fetched.why
    alone = choose("Card X", "data", ["usps"], False)
    assert (alone.bench, alone.overrides) == ("embedded", ("axes.network[0].width=1.0",))
    assert "full width" in alone.why
    assert "lacks usps and no network" in alone.why


def test_the_overrides_of_each_choice_fit_its_bench() -> None:
    wide = load(EXPERIMENTS / "embedded.yaml", choose("x", "data", ["usps"], False).overrides).bench
    assert dict(wide.axes.network[0].settings).get("width", 1.0) == 1.0  # the default is not kept
    assert load(EXPERIMENTS / "digits.yaml", choose("x", "data", ["usps"], True).overrides).bench.data.download


def _lay(root: Path, *names: str) -> None:
    for name in names:
        path = root / "MNIST" / "raw" / name if name in MNIST else root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_missing_domains_are_those_without_all_their_files(tmp_path: Path) -> None:
    bench = load(EXPERIMENTS / "digits.yaml", [f"data.root={tmp_path}"]).bench
    assert missing_domains(bench) == ["mnist", "usps"]  # rendered_syn, the common domain, has no files
    _lay(tmp_path, *MNIST)
    assert missing_domains(bench) == ["usps"]
    _lay(tmp_path, USPS[0])
    assert missing_domains(bench) == ["usps"]
    _lay(tmp_path, USPS[1])
    assert missing_domains(bench) == []


@pytest.mark.parametrize(
    ("card", "data", "network", "overrides", "bench", "expected"),
    [
        (False, True, True, [], "embedded", []),
        (False, False, False, [], "embedded", []),
        (True, True, False, [], "digits", []),
        (True, True, True, [], "digits", []),
        (True, False, True, [], "digits", ["data.download=true"]),
        (True, False, False, [], "embedded", ["axes.network[0].width=1.0"]),
        (True, False, True, ["data.download=false"], "embedded", ["axes.network[0].width=1.0"]),
        (True, False, True, ["data.download=true"], "digits", ["data.download=true"]),
        (True, False, True, ["trainer.accelerator=cpu"], "embedded", []),
    ],
)
def test_auto_with_patched_device_data_and_network(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    card: bool, data: bool, network: bool, overrides: list[str], bench: str, expected: list[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(torch.cuda, "is_available", lambda: card)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda *_: "Card X")
    asked: list[str] = []
    monkeypatch.setattr("tl_robust.data.network.can_fetch", lambda domain: asked.append(domain) or network)
    if data:
        _lay(tmp_path / "data", *MNIST, *USPS)
    parsed = argparse.Namespace(bench="auto", overrides=list(overrides))
    base.name_bench(parsed)
    assert (parsed.bench, parsed.overrides) == (bench, [*expected, *overrides])
    assert capsys.readouterr().out.count("No bench was named") == 1
    assert not (asked and data), "the network is not tried where the data are there"
    base.name_bench(parsed)  # chosen once
    assert capsys.readouterr().out == ""


def test_where_the_data_lie_is_what_the_user_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda *_: "Card X")
    monkeypatch.setattr("tl_robust.data.network.can_fetch", lambda domain: False)
    _lay(tmp_path / "elsewhere", *MNIST, *USPS)
    parsed = argparse.Namespace(bench="auto", overrides=[f"data.root={tmp_path / 'elsewhere'}"])
    base.name_bench(parsed)
    assert parsed.bench == "digits"


def test_json_has_its_stream_for_itself(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    base.name_bench(argparse.Namespace(bench="auto", overrides=[], json=True))
    said = capsys.readouterr()
    assert said.out == ""
    assert "No bench was named: embedded" in said.err
