"""What a run leaves behind: shared, repeated, damaged, failing."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tl_robust.bench import runner
from tl_robust.bench.plan import make_plan
from tl_robust.config import load
from tl_robust.engines.observer import Observer
from tl_robust.errors import ResultsError, StoreError
from tl_robust.nodes.models import WEIGHTS
from tl_robust.nodes.payload import pack_weights
from tl_robust.nodes.store import Store
from tl_robust.results import table


class Witness(Observer):
    """Remembers what was done and said."""

    def __init__(self) -> None:
        self.done: list[tuple[str, str]] = []
        self.said: list[str] = []

    def end(self, stage: str, label: str, seconds: float, note: str) -> None:
        self.done.append((stage, label))

    def warn(self, message: str) -> None:
        self.said.append(message)

    def count(self, stage: str) -> int:
        return sum(kind == stage for kind, _ in self.done)


def run(bench: Path, results: Path, overrides: Sequence[str] = ()) -> tuple[runner.Finished, Witness, bytes]:
    config = load(bench, overrides)
    witness = Witness()
    finished = runner.run(make_plan(config.bench), config.bench, Store(results / "store"), witness)
    rows = [row for result in finished.results for row in table.rows(result)]
    table.write(results / "table.csv", rows, table.COLUMNS)
    return finished, witness, (results / "table.csv").read_bytes()


def test_a_second_run_does_nothing_and_gives_the_same_table(tiny: Path, tmp_path: Path) -> None:
    finished, first, before = run(tiny, tmp_path / "r")
    assert len(finished.results) == 24
    assert (first.count("training"), first.count("attack")) == (12, 20)
    _, second, after = run(tiny, tmp_path / "r")
    assert second.done == []
    assert before == after


def test_the_same_seed_gives_the_same_table_byte_for_byte(tiny: Path, tmp_path: Path) -> None:
    _, _, one = run(tiny, tmp_path / "one")
    torch.manual_seed(99)
    torch.rand(7)
    _, _, other = run(tiny, tmp_path / "other")
    assert one == other
    assert one.count(b"\n") > 100


def test_the_order_of_cells_changes_no_number(tiny: Path, tmp_path: Path) -> None:
    _, _, one = run(tiny, tmp_path / "one")
    reverse = ["axes.seed=[1,0]", "axes.strategy=[common_init,finetune,scratch]", "axes.view=[black,white]"]
    _, _, other = run(tiny, tmp_path / "other", reverse)
    assert one != other
    assert sorted(one.splitlines()) == sorted(other.splitlines())


def test_the_attack_batch_changes_float_rounding_at_most(tiny: Path, tmp_path: Path) -> None:
    one, _, _ = run(tiny, tmp_path / "one")
    other, _, _ = run(tiny, tmp_path / "other", ["attack_batch=17"])
    same = [
        (a.outcome.adv_b == b.outcome.adv_b).double().mean()
        for a, b in zip(one.results, other.results, strict=True)
    ]  # fmt: skip
    assert min(same) >= 0.97  # measured: 1.0; a pixel on the edge of a sign may fall either way
    sizes = [(a.outcome.size - b.outcome.size).abs().max() for a, b in zip(one.results, other.results, strict=True)]
    assert max(sizes) < 1e-6


def test_two_benches_share_trainings(tiny: Path, tmp_path: Path) -> None:
    run(tiny, tmp_path / "r", ["axes.strategy=[scratch]"])
    _, second, _ = run(tiny, tmp_path / "r", ["name=other", "axes.strategy=[scratch,finetune]"])
    assert second.count("training") == 2  # one fine-tuning a seed; the roots were there
    assert all("finetune" in label for stage, label in second.done if stage == "training")


def test_another_seed_trains_only_what_is_new(tiny: Path, tmp_path: Path) -> None:
    run(tiny, tmp_path / "r", ["axes.seed=[0]"])
    _, second, _ = run(tiny, tmp_path / "r", ["axes.seed=[0,1]"])
    assert (second.count("training"), second.count("attack")) == (6, 10)


@pytest.mark.parametrize(("kind", "file"), [("weights", "model.safetensors"), ("outcomes", "outcome.npz")])
def test_a_truncated_file_is_named_and_computed_again(tiny: Path, tmp_path: Path, kind: str, file: str) -> None:
    _, _, before = run(tiny, tmp_path / "r", ["axes.seed=[0]"])
    victim = sorted((tmp_path / "r" / "store" / kind).glob(f"*/{file}"))[0]
    content = victim.read_bytes()
    victim.write_bytes(content[: len(content) // 2])
    _, again, after = run(tiny, tmp_path / "r", ["axes.seed=[0]"])
    assert any(str(victim) in message and "damaged" in message for message in again.said)
    assert len(again.done) == 1
    assert victim.read_bytes() == content
    assert before == after


def test_whole_weights_that_do_not_fit_their_network_are_computed_again(tiny: Path, tmp_path: Path) -> None:
    settings = ["axes.seed=[0]", "axes.strategy=[finetune]"]
    _, _, before = run(tiny, tmp_path / "r", settings)
    store = Store(tmp_path / "r" / "store")
    keys = sorted(path.name for path in (store.root / "weights").iterdir())
    contents = [store.file(WEIGHTS, key).read_bytes() for key in keys]
    for key, change in zip(keys, (cut, renamed), strict=False):
        manifest, state = store.manifest(WEIGHTS, key), store.load(WEIGHTS, key)
        store.write(WEIGHTS, key, pack_weights(change(state)), manifest["spec"], manifest["made"])
        assert store.whole(WEIGHTS, key)
    finished, again, after = run(tiny, tmp_path / "r", settings)
    assert finished.failures == ()
    assert again.count("training") == len(again.done) == 2
    assert sum("is damaged: Error(s) in loading state_dict" in message for message in again.said) == 2
    assert [store.file(WEIGHTS, key).read_bytes() for key in keys] == contents
    assert before == after


def cut(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value[:1] if value.ndim else value for name, value in state.items()}


def renamed(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"module.{name}": value for name, value in state.items()}


def test_a_missing_manifest_counts_as_absent(tiny: Path, tmp_path: Path) -> None:
    _, _, before = run(tiny, tmp_path / "r", ["axes.seed=[0]"])
    manifest = sorted((tmp_path / "r" / "store" / "outcomes").glob("*/manifest.json"))[0]
    manifest.unlink()  # as a kill between the two writes leaves it
    _, again, after = run(tiny, tmp_path / "r", ["axes.seed=[0]"])
    assert again.count("attack") == 1
    assert again.said == []
    assert before == after


def test_an_entry_of_another_specification_is_refused(tiny: Path, tmp_path: Path) -> None:
    run(tiny, tmp_path / "r", ["axes.seed=[0]", "axes.strategy=[scratch]"])
    store = Store(tmp_path / "r" / "store")
    path = sorted((store.root / "weights").glob("*/manifest.json"))[0]
    manifest = json.loads(path.read_text())
    manifest["spec"]["seed"] = 5
    path.write_text(json.dumps(manifest))
    with pytest.raises(StoreError, match="another specification"):
        store.whole(WEIGHTS, path.parent.name)


def test_a_lock_is_held_by_one(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with store.lock("key") as first, store.lock("key") as second:
        assert (first, second) == (True, False)
    with store.lock("key") as third:
        assert third


def test_a_failing_attack_does_not_stop_the_others(tiny: Path, tmp_path: Path) -> None:
    (tiny.parent / "plugins" / "broken.py").write_text(
        "from dataclasses import dataclass\nfrom tl_robust.attacks import ATTACKS, Attack\n"
        "@ATTACKS.register\n@dataclass(frozen=True)\nclass Broken(Attack):\n"
        "    def perturb(self, problem, eps):\n        raise RuntimeError('no luck')\n"
    )
    finished, witness, _ = run(tiny, tmp_path / "r", ["axes.attack=[fgsm,broken]", "axes.seed=[0]"])
    assert {result.cell.attack for result in finished.results} == {"fgsm"}
    assert len(finished.missing) == 6
    assert all(failure.cause == "RuntimeError: no luck" for failure in finished.failures)
    assert "perturb" in finished.failures[0].trace
    assert witness.said


def test_a_failing_training_names_what_depends_on_it(tiny: Path, tmp_path: Path) -> None:
    (tiny.parent / "plugins" / "stubborn.py").write_text(
        "from tl_robust.strategies import STRATEGIES\nfrom tl_robust.strategies.finetune import FineTune\n"
        "@STRATEGIES.register\nclass Stubborn(FineTune):\n"
        "    @staticmethod\n    def lineage(train, source, target, common):\n"
        "        a = train(source, by='stubborn')\n        return a, train(target, parent=a)\n"
        "    def initialize(self, parent):\n        raise ValueError('will not')\n"
    )
    finished, _, _ = run(tiny, tmp_path / "r", ["axes.strategy=[scratch,stubborn]", "axes.seed=[0]"])
    assert {result.cell.strategy for result in finished.results} == {"scratch"}
    causes = [failure.cause for failure in finished.failures]
    assert causes[0] == "ValueError: will not"
    assert causes[1].startswith("it needs a training that failed: stubborn made_a")


def test_results_that_are_no_folder_are_one_sentence(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ResultsError, match="writable folder"):
        run(tiny, tmp_path / "file")


def test_provenance_leads_back_to_config_seed_device_and_commit(tiny: Path, tmp_path: Path) -> None:
    finished, _, _ = run(tiny, tmp_path / "r", ["axes.seed=[0]", "axes.strategy=[common_init]"])
    found = finished.results[0].provenance
    assert found["victim"]["parent"]["domain"] == "made_c"
    assert found["surrogate"]["key"] != found["victim"]["key"] or finished.results[0].cell.view == "white"
    assert found["device"].startswith("cpu")
    assert {"torch", "python", "tl_robust"} <= found["versions"].keys()
    assert "commit" in found
