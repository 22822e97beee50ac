"""Whatever is wrong with an input of an audit: one sentence, exit code 2, nothing written, no code of a file run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.auditor import damages
from tests.auditor.refusals import PICKLED, command, refused
from tests.auditor.tiny_models import tiny
from tl_robust.cli.program import main

FIT = "does not fit network 'dtn'"
IMAGES = "expected CLASS/IMAGE in this folder"
SPLITS = "the layout that docs/own-pair.md describes"

Case = tuple[dict[str, str | None], str]


def of(option: str, cases: dict[str, str]) -> dict[str, Case]:
    """Each value of an option with a part of the sentence."""
    return {f"{option} {value}": ({option: value}, sentence) for value, sentence in cases.items()}


KINDS = ("safetensors", "npz", "pt", "ckpt")
MODELS = {
    **{f"{damage}.{kind}": f"checkpoint {damage}.{kind} cannot be read ("
       for kind in KINDS for damage in ("cut", "stub", "empty")},
    **{f"was_{kind}.{other}": f"checkpoint was_{kind}.{other} cannot be read ("
       for kind in KINDS for other in KINDS[:3] if kind != other and (kind, other) != ("ckpt", "pt")},
    "runs_raw.pt": PICKLED,
    "runs.pt": PICKLED,
    "runs.ckpt": PICKLED,
    "runs.npz": PICKLED,
    "whole.pt": PICKLED,
    "other.safetensors": f"checkpoint 'other.safetensors' {FIT} (other shapes: classifier.weight: file [4, 102], ",
    "part.safetensors": f"checkpoint 'part.safetensors' {FIT} (missing in the file: features.0.weight, ",
    "infinite.safetensors": "holds values that are not finite (classifier.bias)",
    "weights.h5": "checkpoint 'weights.h5' is of no known kind: expected a file ending in .safetensors, ",
    "gone.pt": "gone.pt not found: expected the file or the folder of a model.",
    "": "model is missing: an audit needs model and data.",
    "[a]": "[a] not found",
    "void": "void/config.json not found: expected the folder of a published model, with config.json.",
    "{from: gone.pt}": "gone.pt not found",
    "{form: oak.safetensors}": "a model is a file, a folder or a mapping such as",
    "{from: oak.safetensors, netwrk: dtn}": "unknown key of oak 'netwrk'; did you mean 'network'?",
    "{from: oak.safetensors, rename: {features: foo}}": "(missing in the file: features.0.weight",
    "{from: ": "'{from: ' is not valid YAML",
    "ResNet18_Weights.NOPE": "torchvision has no weights 'ResNet18_Weights.NOPE'",
    "adapter_kind": "peft_type 'IA3': only 'LORA' can be merged.",
    "adapter_bent": "changes 'hidden.0' by a tensor [51, 3], but its base has [51, 26] there.",
    "adapter_foreign": "changes 'hiden.0', which its base lacks.",
    "adapter_option": "has the option 'use_dora'",
    "adapter_bare": "has no adapter_model.safetensors",
    "adapter_cut": "adapter adapter_cut cannot be read (",
    "adapter_empty": "adapter adapter_empty cannot be read (",
    "adapter_config_cut": "adapter_config_cut/adapter_config.json cannot be read (",
    "adapter_config_empty": "adapter_config_empty/adapter_config.json cannot be read (",
}  # fmt: skip
CASES: dict[str, Case] = {
    **of("model", MODELS),
    "adapter without base": ({"model": "adapter", "parent": None, "decoy": None}, "give the folder of its base by --p"),
    **of("parent", {
        "cut.pt": "checkpoint cut.pt cannot be read (", "other.safetensors": FIT, "runs.ckpt": PICKLED,
        "gone.pt": "gone.pt not found", "adapter": "adapter is a LoRA adapter alone",
    }),
    **of("decoy", {
        "cut.npz": "checkpoint cut.npz cannot be read (", "other.safetensors": FIT, "runs.npz": PICKLED,
        "gone.pt": "gone.pt not found", "oak.safetensors": "has the same files as oak: give a model of the same kind",
        "oak_child0.safetensors": "has the same files as oak_child0: give",
    }),
    **of("data", {
        "": "data is missing: an audit needs model and data.",
        "gone": "'gone' is no folder, and no domain either", "photo": "'photo' is no folder, and no domain",
        "mnits": "did you mean 'mnist'?", "fine.npz": "write npz:NAME, and their folder as --root.",
        "oak.safetensors": "is no folder, and no domain", "svhn": "give it by --root.",
        "npz:gone": "expected gone_train.npz and gone_test.npz; get them from their source, or give their folder by",
        "void": f"the images void cannot be read (void has no folder of a class): {IMAGES}",
        "texts": f"the images texts cannot be read (no image): {IMAGES}",
        "loose": f"the images loose cannot be read (loose has no folder of a class): {IMAGES}",
        "broken": f"the images broken cannot be read (broken/ant/a.png cannot be decoded: it is no image): {IMAGES}",
        "cut_image": "(cut_image/ant/a.png cannot be decoded: image file is truncated)",
        "single": "oak_child0 has 4 classes, and single has 1 (ant): name the model's classes",
        "npz:cut": SPLITS, "npz:empty": SPLITS, "npz:bent": SPLITS, "npz:nameless": SPLITS,
        "npz:fewer": "has 7 images and 40 labels", "npz:runs_raw": SPLITS,
        "npz:runs": "has images of Python objects, which are not unpickled",
        "npz:runs_labels": "has labels of Python objects, which are not unpickled",
    }),
    **of("train", {
        "gone": "'gone' is no folder", "void": "the images void cannot be read",
        "{from: npz:runs, classes: [ant, bee, cow, dog]}": "are not unpickled",
        "broken": "the images broken cannot be read", "npz:cut": SPLITS,
    }),
    **of("reference", {
        "gone.npz": "--reference gone.npz cannot be read (No such file or directory)",
        "photos": "--reference photos cannot be read (it has another kind)",
        "reference_runs.npz": PICKLED, "reference_runs_raw.npz": "(no zip archive)",
        "reference_cut.npz": "(no zip archive)", "reference_empty.npz": "(no zip archive)",
        "reference_npy.npz": "(no zip archive)", "reference_unnamed.npz": "(it has outputs)",
        "reference_flat.npz": "(its logits have the shape [4])",
        "reference_words.npz": "no dense tensor of real numbers",
    }),
    **of("policy", {
        "gone.yaml": "cannot read the policy gone.yaml (No such file or directory).",
        "policy_typo.yaml": "line 2: unknown metric 'robustaccuracy'; did you mean 'robust_accuracy'?",
        "policy_empty.yaml": "policy_empty.yaml must have rules:", "policy_binary.yaml": "(not UTF-8)",
        "policy_cut.yaml": "policy_cut.yaml", "policy_size.yaml": "and not at 1/255",
        "policy_view.yaml": "unknown view of robust_accuracy in this audit 'grey'. Known: black, white.",
        "policy_tag.yaml": "policy_tag.yaml, line 1", "policy_last_gone.yaml": "gone.json cannot be used",
        "policy_last_cut.yaml": "cut.json cannot be used: it is damaged or no JSON",
        "policy_last_other.yaml": "other.json cannot be used: it is no audit",
        "policy_last_empty.yaml": "empty.json cannot be used: it is damaged",
    }),
    **of("network", {
        "": "oak.safetensors holds weights alone: say which network they are of, such as --network resnet18",
        "resnet81": "unknown network 'resnet81'; did you mean 'resnet18'?",
        "resnet18": "does not fit network 'resnet18'",
        "{name: dtn, widht: 1}": "unknown setting of network 'dtn' 'widht'; did you mean 'width'?",
        "{width: 1}": "an entry of --network must be a name or a mapping with a name",
        "{a: [}": "'{a: [}' is not valid YAML", "{name: !!python/name:os.system ''}": "is not valid YAML",
    }),
    **of("classes", {
        "ant,bee": "oak_child0 has 4 classes, and you give 2 (ant, bee)", "a,b,c,d": "share no class",
        "ant,ant,bee,cow": "oak_child0.classes has 'ant' for the labels 0 and 1",
        "policy_binary.yaml": "the file of class names policy_binary.yaml is not UTF-8.",
    }),
    **of("transfer", {"fgms": "unknown attack 'fgms'; did you mean 'fgsm'?", "{name: mi, stpes: 3}": "'stpes'"}),
    **of("strong", {
        "stronk": "unknown attack 'stronk'; did you mean 'strong'?", "{name: strong": "is not valid YAML",
        "{name: strong, steps: -3}": "steps of attack 'strong' must be at least 1, got -3.",
    }),
    **of("space", {
        "digit": "unknown space 'digit'; did you mean 'digits'?", "{name: square, side: 0}": "must be 8 to 1024 pixels",
        "{name: square, side: 9}": "network 'dtn' needs image sides divisible by 8",
    }),
    **of("eps", {"big": "--eps must hold numbers", "0": "--eps must be above 0, up to 1", "5": "up to 1, got 5.0."}),
    **of("norm", {"l1": "--norm must be linf or l2, got l1."}),
    **of("images", {"-1": "--images must be 0 (all) or more, got -1.", "x": "argument --images: invalid int"}),
    **of("stated", {"93": "--stated must be a share from 0 to 1, got 93.0.", "high": "--stated must hold numbers"}),
    **of("seed", {"x": "argument --seed: invalid int value"}),
    **of("workers", {"-2": "--workers must be 0 (one a CPU core, at most 4) or more, got -2."}),
    **of("accelerator", {"tpu": "--accelerator must be auto, cpu or gpu, got tpu."}),
    **of("decoys", {"elm.safetensors": "unknown option of tl-robust audit '--decoys'; did you mean '--decoy'?"}),
    **of("out", {"weights.h5": "--out weights.h5 cannot be a folder", "weights.h5/x": "since weights.h5 is a file"}),
    **of("results", {"weights.h5": "cannot write"}),
}  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tiny(tmp_path_factory.mktemp("bad"))
    canary = folder / "canary"
    damages.weights(folder, canary)
    damages.references(folder, canary)
    damages.arrays(folder, canary)
    damages.pictures(folder)
    damages.adapters(folder)
    damages.policies(folder)
    return folder


@pytest.fixture
def here(made: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(made)
    return made


@pytest.mark.parametrize("case", CASES)
def test_bad_input_is_one_sentence_and_leaves_nothing(
    case: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changes, sentence = CASES[case]
    assert sentence in refused(command(changes), here, capsys)


def test_what_is_damaged_here_is_taken_while_it_is_whole(here: Path, tmp_path: Path) -> None:
    """Else the refusals above could be for another reason."""
    for changes in (
        *({"model": f"good.{kind}"} for kind in KINDS),
        {"model": "adapter"},
        {"data": "npz:fine"},
    ):
        assert main(command({**changes, "out": str(tmp_path)})) == 0, changes
        assert json.loads((tmp_path / "audit.json").read_text())["findings"]
        assert not (here / "out").exists()


def test_the_canary_is_one(tmp_path: Path) -> None:
    import pickle

    pickle.loads(pickle.dumps(damages.Runs(tmp_path / "canary")))
    assert (tmp_path / "canary").exists()


def test_a_missing_argument_is_told(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "the following arguments are required: --data" in refused(["audit", "good.pt"], here, capsys)
    assert "required: model" in refused(["audit", "--data", "photos"], here, capsys)
