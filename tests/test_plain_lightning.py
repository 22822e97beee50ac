"""The suite's pairs, strategies and callback in a user's own Trainer; and what ``import tl_robust`` costs."""

import csv
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Trainer

import tl_robust
from tests.docs.blocks import ROOT, blocks

(EXAMPLE,) = (block.code for block in blocks(ROOT / "docs" / "python.md") if "tester" in block.code)
NAMES = set(tl_robust.__all__)


@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")  # Lightning 2.6 uses what torch 2.9 warns about
@pytest.mark.filterwarnings("ignore:The number of training batches")
@pytest.mark.filterwarnings("ignore:Be aware that when using .ckpt_path.")  # the callback that wrote the file
def test_the_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PL_GLOBAL_SEED", "PL_SEED_WORKERS"):  # seed_everything sets them
        monkeypatch.setenv(name, "0")
    assert sum(bool(line.strip()) for line in EXAMPLE.splitlines()) <= 30
    names: dict[str, Any] = {}
    exec(EXAMPLE, names)
    b, data, outcome = names["b"], names["data"], names["attack"].outcomes["finetune"]
    (rows,) = [
        found
        for path in sorted((tmp_path / "logs").rglob("metrics.csv"))
        if (found := [row for row in csv.DictReader(path.read_text().splitlines()) if row.get("eps")])
    ]
    assert [float(row["eps"]) for row in rows] == [0, 8 / 255, 16 / 255]
    right = (outcome.adv_b == outcome.label) & (outcome.clean_b == outcome.label)
    assert [float(row["robust/finetune"]) for row in rows] == pytest.approx(right.double().mean(1).tolist())
    logits = torch.cat(names["logits"])
    assert torch.equal(logits.argmax(1), outcome.clean_b), "the loaded checkpoint is B"
    share = (logits.argmax(1) == data.data.images("test").labels).double().mean()
    assert float(share) > 0.2, "it has learned something"
    more = names["FineTune"](names["network"](), names["recipe"], 10)
    Trainer(max_epochs=3, logger=False, enable_checkpointing=False).fit(more, datamodule=data, ckpt_path="b.ckpt")
    assert more.history[:2] == b.history
    assert len(more.history) == 3


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_the_package_imports_nothing_heavy() -> None:
    heavy = "torch numpy scipy lightning torchmetrics wandb omegaconf altair"
    code = f"print(sorted(set('{heavy}'.split()) & sys.modules.keys()))"
    assert run(f"import sys, tl_robust; tl_robust.__version__; dir(tl_robust); {code}") == "[]\n"


@pytest.mark.parametrize("name", sorted(NAMES))
def test_every_name_is_there_from_the_start(name: str) -> None:
    assert name in dir(tl_robust)
    named = getattr(tl_robust, name)
    assert named.__name__.removeprefix("tl_robust.") == name
    names: dict[str, Any] = {}
    exec(f"from tl_robust import {name} as found", names)
    assert names["found"] is named


@pytest.mark.slow
def test_names_do_not_depend_on_what_was_imported_before() -> None:
    """``tl_robust.data.pair`` is a module, ``tl_robust.pair`` a function, in either order."""
    function = "assert callable(tl_robust.pair), 'a function'"
    for code in (
        f"import tl_robust.data.pair; {function}",
        f"import tl_robust; {function}; import tl_robust.data.pair",
    ):
        run(f"{code}; {function}; assert tl_robust.pair is tl_robust.data.pair.pair")
    run("from tl_robust import *; assert callable(pair) and callable(evaluate) and attacks.get and TransferAttack")


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    assert not hasattr(tl_robust, "nothing")
    with pytest.raises(ImportError, match="cannot import name 'nothing' from 'tl_robust'"):
        exec("from tl_robust import nothing")
