"""compare, export, merge and plan --precision as a user meets them, on one bench that is run under two recipes."""

import json
import math
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from tl_robust.cli import main

# Lightning 2.6 uses what torch 2.9 and later warn about
pytestmark = pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")
SMALL = ["axes.attack=[fgsm]", "axes.strategy=[scratch, finetune]"]


@pytest.fixture
def ran(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Path:
    """A folder with ``results/fast`` and ``results/slow``, which learned too little."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "disabled")
    for name, more in (("fast", ["recipe.lr=0.05"]), ("slow", ["recipe.lr=0.001", "axes.strategy=[finetune]"])):
        assert main(["run", str(tiny), "--plain", *SMALL, f"name={name}", *more]) == 0
    capsys.readouterr()
    return tiny


def facts(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert main([*arguments, "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out, parse_constant=lambda name: pytest.fail(name))
    return found


def test_benches_folders_and_shared_files_compare(
    ran: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # plugins are not loaded from a folder of results; these domains are known since the bench ran
    folders = facts(capsys, "compare", "results/fast", "results/slow")
    assert (folders["only_first"], folders["only_second"]) == (2, 0), "scratch, white and black"
    assert folders["compared"] == folders["paired"] > 20
    assert folders["notes"] == {}
    assert {"setting": "recipe.lr", "first": "0.05", "second": "0.001"} in folders["settings"]
    clean = [one for one in folders["numbers"] if one["metric"] == "robust_accuracy" and one["eps"] == 0]
    assert [one["strategy"] for one in clean] == ["finetune"] * 2
    for one in clean:
        assert one["change"] == pytest.approx(one["second"]["value"] - one["first"]["value"])
        assert one["change"] < -0.2
        assert one["low"] <= one["change"] <= one["high"]
    assert folders["moved"] == sum(one["moved"] for one in folders["numbers"])
    assert folders["answer"].startswith(f"{folders['moved']} of {folders['compared']} numbers moved beyond noise")

    bench = facts(capsys, "compare", str(ran), "results/slow", *SMALL, "name=fast", "recipe.lr=0.05")
    assert bench["numbers"] == folders["numbers"], "a bench file is its results"

    for name, samples in (("fast", ["--samples"]), ("slow", [])):
        lr, strategy = ("0.05", "[scratch, finetune]") if name == "fast" else ("0.001", "[finetune]")
        export = ["export", str(ran), *SMALL[:1], f"axes.strategy={strategy}", f"name={name}", f"recipe.lr={lr}"]
        assert main([*export, "--out", f"shared/{name}", *samples, "--submitter", f"Group {name}"]) == 0
        assert f"{8 if name == 'fast' else 4} cells in shared/{name}" in capsys.readouterr().out
    shared = facts(capsys, "compare", "shared/fast", "results/slow")
    assert shared["numbers"] == folders["numbers"], "samples are as good as a store"
    assert shared["settings"] == [], "a file knows no settings"
    stated = facts(capsys, "compare", "shared/fast", "shared/slow", "--metric", "robust_accuracy")
    assert (stated["paired"], stated["compared"]) == (0, 6)
    assert stated["notes"] == {"shared/slow": "its files came without samples"}
    both = {(one["view"], one["eps"]): one for one in folders["numbers"] if one["metric"] == "robust_accuracy"}
    for one in stated["numbers"]:
        other = both[one["view"], one["eps"]]
        assert one["change"] == pytest.approx(other["change"])
        assert not one["paired"]

    shutil.copytree("results/slow", "elsewhere/slow")
    tables = facts(capsys, "compare", "results/fast", "elsewhere/slow", "--metric", "robust_accuracy")
    assert tables["paired"] == 0
    assert "run it first" in tables["notes"]["elsewhere/slow"]
    for one, other in zip(tables["numbers"], stated["numbers"], strict=True):
        assert one["change"] == pytest.approx(other["change"], abs=1e-5)
    Path("elsewhere/slow/summary.csv").unlink()
    Path("elsewhere/slow/config.yaml").write_text("axes: [")
    assert facts(capsys, "compare", "results/fast", "elsewhere/slow", "--metric", "robust_accuracy")["compared"] == 6

    # as a reader sees it
    assert main(["compare", "results/fast", "elsewhere/slow", "--rows", "3"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert "numbers moved beyond noise (5 %, Holm over all)" in said[-1]
    assert any("more numbers: --rows 0 shows all" in line for line in said)
    assert any("2 cells (all seeds as one) are in results/fast only" in line for line in said)
    assert any("The settings of elsewhere/slow are not known" in line for line in said)
    assert sum(line.endswith(("yes", "no", "n/a")) for line in said) == 3
    assert main(["compare", "results/fast", "results/fast", "--fail-on-move"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("0 of ")
    assert main(["compare", "results/fast", "results/slow", "--rows", "-1"]) == 2
    assert "--rows must be 0 (all) or more, got -1" in capsys.readouterr().err
    assert main(["compare", "results/fast", "results/slow", "--metric", "nothing"]) == 2
    assert "unknown metric 'nothing'" in capsys.readouterr().err
    moved = json.loads(Path(next(Path("shared/slow").glob("*.json"))).read_text())

    # merged again
    assert main(["merge", "shared/fast", "--out", "merged"]) == 0
    for name in ("table.csv", "summary.csv"):
        assert Path("merged", name).read_bytes() == Path("results/fast", name).read_bytes()
    assert "report.html" in capsys.readouterr().out
    assert "Trust" in Path("merged/report.html").read_text()
    assert main(["merge", "shared/fast", "shared/slow", "--out", "both"]) == 0
    assert "4 of 12 cells came without samples" in capsys.readouterr().out
    fast, slow = (Path("results", name, "table.csv").read_text().splitlines() for name in ("fast", "slow"))
    assert Path("both/table.csv").read_text().splitlines() == [*fast, *slow[1:]]
    page = Path("both/leaderboard.html").read_text()
    assert "Group fast" in page
    assert "Group slow" in page
    assert main(["merge", "shared/fast", "--out", "results/slow"]) == 2
    assert "choose another --out" in capsys.readouterr().err
    moved["trust"]["level"] = "purple"
    path = Path("shared/slow", f"{moved['key']}.json")
    path.write_text(json.dumps(moved))
    assert main(["merge", "shared/fast", "shared/slow", "--out", "none"]) == 2
    assert capsys.readouterr().err.startswith(f"error: {path} cannot be used: trust.level")
    assert not Path("none").exists(), "nothing half-written"


def test_a_number_that_moved_can_fail_a_script(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    head = (
        "bench,source,target,network,strategy,common,defense,attack,norm,view,seed,eps,metric,value,n,low,high,trust,"
        "cell,target_images\n"
    )
    for name, value in (("one", 0.5), ("two", 0.9)):
        (tmp_path / name).mkdir()
        line = f"x,a,b,dtn,finetune,,none,fgsm,linf,white,0,0.1,robust_accuracy,{value},90,{value - 0.1},{value + 0.1}"
        (tmp_path / name / "table.csv").write_text(f"{head}{line},green,k,80\n")
    sides = [str(tmp_path / name) for name in ("one", "two")]
    assert main(["compare", *sides]) == 0
    said = capsys.readouterr().out
    assert "1 of 1 numbers moved beyond noise (5 %, Holm over all); the largest: robust_accuracy at eps 0.1" in said
    assert "from 50.0 to 90.0 (+40.0)." in said
    assert "With one seed a difference speaks of these trainings alone" in said
    assert main(["compare", *sides, "--fail-on-move"]) == 1
    assert main(["compare", sides[0], sides[0], "--fail-on-move"]) == 0
    capsys.readouterr()
    (tmp_path / "two" / "table.csv").write_text(head.replace("value", "worth") + "x\n")
    assert main(["compare", *sides]) == 2
    assert "table.csv is damaged or no table of tl_robust" in capsys.readouterr().err
    (tmp_path / "two" / "table.csv").write_text(head)
    assert main(["compare", *sides]) == 2
    assert "have no number in common" in capsys.readouterr().err
    assert main(["compare", sides[0], str(tmp_path)]) == 2
    assert "no leaderboard file" in capsys.readouterr().err


def test_export_before_a_run_says_so(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(tiny)]) == 2
    assert "run it first" in capsys.readouterr().err


def test_plan_forecasts_only_when_asked(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "tl_robust.metrics.precision"
    monkeypatch.delitem(sys.modules, name, raising=False)
    assert main(["plan", str(tiny)]) == 0
    assert name not in sys.modules
    assert main(["plan", str(tiny), "--precision"]) == 0
    assert name in sys.modules


def test_plan_says_how_sure_numbers_will_be(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = facts(capsys, "plan", str(tiny), "--precision")
    assert found["cells"] == 24
    assert found["precision"]["assumed"] == {"seed_sd": 0.02, "correlation": 0.5}
    half, most = found["precision"]["accuracies"]
    assert [half[name] for name in ("target", "images", "seeds", "share")] == ["made_b", 80, 2, 0.5]
    assert half["cell"] == pytest.approx(0.1142, abs=1e-3)
    assert half["mean"]["error"] == pytest.approx(math.sqrt(0.25 / 80 * 0.75 + 0.0004 / 2))
    assert most["share"] == 0.9
    assert main(["plan", str(tiny), "--precision", "data.test_limit=40", "--seed-sd", "0.05"]) == 0
    said = capsys.readouterr().out
    assert "--seed-sd 0.05" in said
    rows = [line.split()[1:4] for line in said.splitlines() if line.startswith("made_b")]
    assert rows == [[n, s, p] for p in ("50", "90") for n, s in (("40", "2"), ("40", "4"), ("80", "2"))]
    assert "nothing can be said of other seeds" not in said
    alone = facts(capsys, "plan", str(tiny), "--precision", "axes.seed=[0]")
    assert {one["mean"] for one in alone["precision"]["accuracies"]} == {None}
    assert main(["plan", str(tiny), "--precision", "axes.seed=[0]"]) == 0
    assert "With 1 seed nothing can be said of other seeds" in capsys.readouterr().out
    assert main(["plan", str(tiny), "--precision", "--correlation", "1"]) == 2
    assert "--correlation must be in [0, 1), got 1" in capsys.readouterr().err
