"""The same bench under the paper's protocol and under ours, and the choice of the epoch on the test split."""

import csv
import re
from pathlib import Path

import pytest
import torch
from by_hand import trained

from tl_robust.bench.plan import make_plan
from tl_robust.cli import main
from tl_robust.config import load
from tl_robust.data.pair import DomainModule
from tl_robust.data.space import get_space
from tl_robust.data.splits import split_validation
from tl_robust.models import build
from tl_robust.nodes.training import Training

# Lightning 2.6 uses what torch 2.9 and later warn about
pytestmark = pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")
BENCH = """
name: tiny
axes: {pair: [made_a-made_b], network: [{name: dtn, width: 0.05}], strategy: [finetune]}
recipe: {epochs: 3}
trainer: {accelerator: cpu}
workers: 1
plugins: [plugins]
"""


@pytest.fixture
def bench(tiny: Path) -> Path:
    """The tiny bench without sizes, attacks and recipe: what the profile says counts."""
    tiny.write_text(BENCH)
    return tiny


def cells(line: str) -> list[str]:
    return re.split(r"\s{2,}", line.strip())


def test_profiles_shows_what_differs(bench: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profiles", str(bench), "--plain", "data.test_limit=40", "profile=default"]) == 0
    said = capsys.readouterr().out
    assert "[92m" not in said
    _, settings, numbers = re.split(r"^Settings *\n|^Accuracy under attack in %, .*\n", said, flags=re.MULTILINE)
    shown = [cells(line) for line in settings.splitlines()]
    assert shown[0] == ["setting", "kdd20", "default"]
    assert ["axes.attack", "['fgsm']", "['fgsm', 'pgd']"] in shown
    assert ["eps_scale", "kdd20", "pixel"] in shown
    assert ["recipe.lr", "0.01", "0.02"] in shown
    assert ["recipe.momentum", "0.5", "0.9"] in shown
    assert ["recipe.select", "test", "best"] in shown
    assert {line[0] for line in shown[1:] if len(line) == 3} == {
        *("axes.attack", "eps_scale", "eps", "recipe.lr", "recipe.momentum", "recipe.select"),
    }
    head, *body = [cells(line) for line in numbers.splitlines() if line.strip()]
    assert head == ["attack", "view", "strategy", "eps", "kdd20", "default", "change", "interval", "beyond noise"]
    assert [line[1] for line in body] == ["white"] * 5 + ["black"] * 5
    assert [line[3] for line in body] == ["0", "2/255", "4/255", "8/255", "16/255"] * 2, "in pixels"
    assert {line[0] for line in body} == {"fgsm linf"}, "pgd is in one of them alone"
    found = {}
    for profile in ("kdd20", "default"):
        with Path(f"results/tiny.{profile}/summary.csv").open() as file:
            rows = [row for row in csv.DictReader(file) if row["metric"] == "robust_accuracy"]
        found[profile] = {
            (row["view"], round(255 * float(row["eps"]))): f"{100 * float(row['value']):.1f}"
            for row in rows
            if row["attack"] == "fgsm"
        }
        assert {row["bench"] for row in rows} == {f"tiny.{profile}"}
        assert {row["n"] for row in rows} == {"40"}, "overrides hold for both"
        assert f"profile: {profile}\n" in Path(f"results/tiny.{profile}/config.yaml").read_text()
        assert Path(f"results/tiny.{profile}/report.html").is_file()
    assert {path.name for path in Path("results").iterdir()} == {"tiny.kdd20", "tiny.default", "store"}
    for line in body:
        place = line[1], int(line[3].partition("/")[0])
        first, second = (found[profile][place] for profile in ("kdd20", "default"))
        assert (line[4].split()[0], line[5].split()[0]) == (first, second)
        assert float(line[6]) == pytest.approx(float(second) - float(first), abs=0.11)
        assert line[8] in ("yes", "no")
    assert main(["profiles", str(bench), "--plain", "data.test_limit=40"]) == 0
    again = capsys.readouterr().out
    assert re.findall(r"\((\d+) done\)", again) == ["2", "4"], "both are in the store"
    assert again.endswith(said[said.index("Settings") :])


def test_bad_input_is_one_sentence(bench: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profiles", str(bench), "recipe.epochs=0"]) == 2
    assert capsys.readouterr().err == "error: recipe.epochs must be at least 1, got 0.\n"
    assert not Path("results").exists()


# the choice of the epoch


def trainings(bench: Path, *overrides: str) -> list[Training]:
    plan = make_plan(load(bench, overrides).bench)
    return [training for training in plan.trainings if isinstance(training, Training)]


def test_choosing_on_the_test_split_learns_from_the_whole_training_split(bench: Path) -> None:
    def samples(select: str) -> dict[str, list[int]]:
        training = trainings(bench, f"recipe.select={select}")[1]
        module = DomainModule(training.data, training.recipe, seed=1)
        loaders = {"learn": module.train_dataloader(), "choose": module.val_dataloader()}
        return {name: [int(i) for _, _, ids in batches for i in ids] for name, batches in loaders.items()}

    found = samples("test")
    assert sorted(found["learn"]) == list(range(80))
    assert found["learn"] != list(range(80)), "shuffled"
    training = trainings(bench, "recipe.select=test")[1]
    test = training.data.images("test")
    module = DomainModule(training.data, training.recipe)
    for images, labels, ids in module.val_dataloader():
        assert torch.equal(images, test.images[ids].float() / 255)
        assert torch.equal(labels, test.labels[ids])
    assert found["choose"] == list(range(80))
    learn, held = split_validation(training.data.images("train"), 0.1)
    for select in ("best", "last"):
        found = samples(select)
        assert sorted(found["learn"]) == learn.tolist()
        assert found["choose"] == held.tolist()


def test_choosing_on_the_test_split_needs_no_validation_part(bench: Path) -> None:
    few = "data.train_limit=10"
    assert len(trainings(bench, few, "profile=kdd20")) == 2
    assert main(["plan", str(bench), few]) == 2, "one image a class is too few to hold one out"


def test_the_key_depends_on_the_test_images_only_if_they_choose(bench: Path) -> None:
    def keys(*overrides: str) -> list[str]:
        return [training.key for training in trainings(bench, *overrides)]

    for profile, same in (("kdd20", False), ("default", True)):
        every, some = keys(f"profile={profile}"), keys(f"profile={profile}", "data.test_limit=40")
        assert [one == other for one, other in zip(every, some, strict=True)] == [same, same]
    assert len({*keys("recipe.select=best"), *keys("recipe.select=last"), *keys("recipe.select=test")}) == 6
    spec = trainings(bench, "profile=kdd20")[1].spec
    assert spec["test_images"] == trainings(bench)[1].data.images("test").fingerprint


@pytest.mark.parametrize("select", ["test", "best"])
def test_the_weights_are_those_of_the_best_epoch_on_the_split_that_chooses(bench: Path, select: str) -> None:
    too_fast = "recipe.lr=0.5", "recipe.epochs=6", "recipe.batch_size=16"  # so that the last epoch is not the best
    training, _ = trainings(bench, f"recipe.select={select}", *too_fast)
    weights, made = trained(training)
    network = build(training.network, get_space(training.space).image_shape, 10).eval()
    network.load_state_dict(weights)

    def accuracy(split: str) -> float:
        images = training.data.images("test" if split == "test" else "train")
        if split == "held":
            images = images.take(split_validation(images, training.recipe.val_share)[1])
        return float((network(images.images.float() / 255).argmax(1) == images.labels).float().mean())

    assert made["val_accuracy"] == pytest.approx(accuracy("test" if select == "test" else "held"))
