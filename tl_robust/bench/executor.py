"""Makes every node of a plan present in the store."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from tl_robust.bench.craft import CraftGroup, Examinee, Judgment, PictureGroup
from tl_robust.bench.lineage import Model, Training
from tl_robust.bench.observer import Observer, Stage
from tl_robust.bench.payload import pack_examination, pack_outcome, pack_pictures, pack_weights
from tl_robust.bench.plan import Plan
from tl_robust.bench.spec import Bench
from tl_robust.bench.store import Kind, Store
from tl_robust.bench.work import Made, Worker, misfit
from tl_robust.errors import InputError, StoreError

WAIT_SECONDS = 0.2
VIEWS: dict[Stage, str] = {"check": "trust checks", "picture": "pictures"}  # as failures name them


@dataclass(frozen=True)
class Failure:
    """A node that could not be computed.

    Attributes:
        node: What it is, in words.
        cause: First cause, one line.
        trace: Full traceback; empty where the cause lies in another node.
    """

    node: str
    cause: str
    trace: str = ""


class Executor:
    """Runs what is absent or damaged; two executors on one store share the work.

    Args:
        bench: How to run.
        store: Where entries are.
        observer: Hears of progress.
    """

    def __init__(self, bench: Bench, store: Store, observer: Observer) -> None:
        self._store = store
        self._observer = observer
        self._worker = Worker(bench.trainer, bench.attack_batch)
        self._whole: set[str] = set()
        self._damaged: set[str] = set()
        self._models: dict[str, Model] = {}
        self.failures: dict[str, Failure] = {}

    def run(self, plan: Plan) -> dict[str, Failure]:
        """Compute all nodes of a plan, parents first.

        A node that fails does not stop the others. A node that another process is computing is left for later.

        Returns:
            Failures by key of training, judgment, examinee or picture group.

        Raises:
            InputError: What the user wrote cannot work for any node, or the store cannot be written.
        """
        self._models = {item.key: item for item in plan.trainings}
        trainings = [item for item in plan.trainings if not self._present("weights", item.key)]
        groups = [
            (group, missing)
            for group, judgments in plan.groups
            if (missing := [item for item in judgments if not self._present("outcomes", item.key)])
        ]
        self._observer.expect("training", len(trainings), sum(map(_epochs, trainings)))
        self._observer.expect("attack", len(groups), sum(_images(group) for group, _ in groups))
        checks = [item for item in plan.examinees if not self._present("examinations", item.key)]
        self._observer.expect("check", len(checks), len(checks))
        pictures = [item for item in plan.pictures if not self._present("pictures", item.key)]
        self._observer.expect("picture", len(pictures), len(pictures))
        while left := len(trainings) + len(groups) + len(checks) + len(pictures):
            trainings = [item for item in trainings if not self._try_training(item)]
            groups = [(group, wanted) for group, wanted in groups if not self._try_group(group, wanted)]
            checks = [item for item in checks if not self._try_check(item)]
            pictures = [item for item in pictures if not self._try_pictures(item)]
            if len(trainings) + len(groups) + len(checks) + len(pictures) == left:
                time.sleep(WAIT_SECONDS)
        return self.failures

    def _try_training(self, training: Model) -> bool:
        """Settle a training; False where it must wait for another process."""
        parent = training.parent
        if parent and parent.key in self.failures:
            self._fail(training.key, str(training), f"it starts from a training that failed: {parent}")
            self._observer.drop("training", _epochs(training))
            return True
        if parent and not self._present("weights", parent.key):
            return False
        with self._store.lock(training.key) as held:
            if not held:
                return False
            if self._present("weights", training.key):
                made = self._store.manifest("weights", training.key)["made"]
                self._observer.advance("training", _epochs(training))
                self._observer.end("training", str(training), made["seconds"], _note(training, made))
                return True
            self._observer.begin("training", str(training))
            try:
                weights = self._store.read_weights(parent.key) if parent else None
                state, made = self._worker.train(
                    training, weights, lambda work: self._observer.advance("training", work)
                )
                self._store.write("weights", training.key, pack_weights(state), training.spec, made)
            except InputError:
                raise
            except Exception as error:  # noqa: BLE001  (one node must not stop the others; the trace is kept)
                self._fail(training.key, str(training), _first_line(error), traceback.format_exc())
                return True
            self._observer.end("training", str(training), made["seconds"], _note(training, made))
            self._whole.add(training.key)
        return True

    def _try_group(self, group: CraftGroup, judgments: Sequence[Judgment]) -> bool:
        """Settle the judgments of a craft group; False where it must wait for another process."""
        label = str(group)
        wanted = []
        for judgment in judgments:
            failed = next((item for item in (group.surrogate, judgment.victim) if item.key in self.failures), None)
            if failed:
                self._fail(
                    judgment.key, f"{label}, judged on {judgment.victim}", f"it needs a training that failed: {failed}"
                )
            else:
                wanted.append(judgment)
        needed = [group.surrogate, *(judgment.victim for judgment in wanted)]
        if wanted and not all(self._present("weights", item.key) for item in needed):
            return False
        with self._store.lock(group.key) as held:
            if not held:
                return False
            wanted = [judgment for judgment in wanted if not self._present("outcomes", judgment.key)]
            if not wanted:
                self._observer.advance("attack", _images(group))
                self._observer.end("attack", label, self._seconds(judgments), "")
                return True
            self._observer.begin("attack", label)
            try:
                victims = {
                    judgment.key: (judgment.victim, self._store.read_weights(judgment.victim.key))
                    for judgment in wanted
                }
                surrogate = self._store.read_weights(group.surrogate.key)
                outcomes, made = self._worker.attack(
                    group, surrogate, victims, lambda work: self._observer.advance("attack", work)
                )
                for judgment in wanted:
                    content = pack_outcome(outcomes[judgment.key])
                    self._store.write("outcomes", judgment.key, content, judgment.spec, made)
                    self._whole.add(judgment.key)
            except InputError:
                raise
            except Exception as error:  # noqa: BLE001  (as above)
                for judgment in wanted:
                    self._fail(judgment.key, label, _first_line(error), traceback.format_exc())
                return True
            self._observer.end("attack", label, made["seconds"], "")
        return True

    def _try_check(self, examinee: Examinee) -> bool:
        """Settle the examination of a model; False where it must wait for another process."""

        def make() -> tuple[bytes, Made]:
            found, made = self._worker.examine(examinee, self._store.read_weights(examinee.model.key))
            return pack_examination(found), made

        return self._try_view("check", "examinations", examinee, {examinee.model.key: "weights"}, make)

    def _try_pictures(self, pictured: PictureGroup) -> bool:
        """Settle the pictures of a craft group; False where it must wait for another process."""
        surrogate, judged = pictured.group.surrogate.key, pictured.judgments[0].key

        def make() -> tuple[bytes, Made]:
            refused = self._store.manifest("outcomes", judged)["made"].get("refused", "never tried")
            found, made = self._worker.picture(pictured, self._store.read_weights(surrogate), fast=not refused)
            return pack_pictures(found), made

        return self._try_view("picture", "pictures", pictured, {surrogate: "weights", judged: "outcomes"}, make)

    def _try_view(
        self,
        stage: Stage,
        kind: Kind,
        node: Examinee | PictureGroup,
        needs: Mapping[str, Kind],
        make: Callable[[], tuple[bytes, Made]],
    ) -> bool:
        """Settle what nothing else depends on; it is left out where what it needs failed."""
        if self.failures.keys() & needs:
            self._observer.drop(stage, 1)
            return True
        if not all(self._present(needed, key) for key, needed in needs.items()):
            return False
        with self._store.lock(node.key) as held:
            if not held:
                return False
            if not self._present(kind, node.key):
                self._observer.begin(stage, str(node))
                try:
                    content, made = make()
                    self._store.write(kind, node.key, content, node.spec, made)
                    self._whole.add(node.key)
                except InputError:
                    raise
                except Exception as error:  # noqa: BLE001  (as above)
                    self._fail(node.key, f"{VIEWS[stage]} of {node}", _first_line(error), traceback.format_exc())
                    return True
            seconds = self._store.manifest(kind, node.key)["made"]["seconds"]
            self._observer.advance(stage, 1)
            self._observer.end(stage, str(node), seconds, "")
        return True

    def _seconds(self, judgments: Sequence[Judgment]) -> float:
        """Time another process took; 0 where all failed here."""
        done = [item for item in judgments if item.key not in self.failures]
        return float(self._store.manifest("outcomes", done[0].key)["made"]["seconds"]) if done else 0.0

    def _present(self, kind: Kind, key: str) -> bool:
        """Whether an entry is present and whole; a damaged one is named, and will be computed again."""
        if key in self._whole:
            return True
        fits = partial(misfit, self._models[key]) if kind == "weights" and key in self._models else None
        try:
            if not self._store.whole(kind, key, fits):
                return False
        except StoreError as error:
            if key not in self._damaged:  # asked again before it is computed, perhaps by another process
                self._observer.warn(f"{error}; computing it again.")
            self._damaged.add(key)
            return False
        self._whole.add(key)
        return True

    def _fail(self, key: str, node: str, cause: str, trace: str = "") -> None:
        self.failures.setdefault(key, Failure(node, cause, trace))
        self._observer.warn(f"failed: {node}: {cause}")


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or ['-'])[0]}"


def _note(training: Model, made: Made) -> str:
    chosen = "test" if isinstance(training, Training) and training.recipe.select == "test" else "validation"
    return f"{chosen} {made['val_accuracy']:.1%}" if "val_accuracy" in made else "read"


def _epochs(training: Model) -> int:
    return training.effort


def _images(group: CraftGroup) -> int:
    return len(group.test.images("test"))
