"""The two kinds of work under a bench: train a network, attack a test set. Lightning does both."""

from __future__ import annotations

import logging
import math
import os
import signal
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import torch
from lightning import Callback, Trainer
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.strategies.launchers import _SubprocessScriptLauncher
from torch import Tensor, nn

from tl_robust.attacks import Judge
from tl_robust.bench.allocator import keep_freed_memory
from tl_robust.bench.craft import CraftGroup, Examinee, PictureGroup
from tl_robust.bench.gate import Gate, compare, gate_places
from tl_robust.bench.lineage import Model, Public
from tl_robust.bench.progress import Advance, Epochs, Tested, nothing
from tl_robust.bench.provenance import commit, device_name, versions
from tl_robust.callbacks import TransferAttack
from tl_robust.data.batches import Batches
from tl_robust.data.pair import DomainModule
from tl_robust.data.space import get_space
from tl_robust.errors import ConfigError, DataError
from tl_robust.models import build
from tl_robust.models.base import classifier_names
from tl_robust.models.checkpoint import checkpoint_digest, load_checkpoint
from tl_robust.models.fast import accelerate, best_batch
from tl_robust.models.module import NetworkModule
from tl_robust.registry import Scalar
from tl_robust.seeding import derive
from tl_robust.strategies import STRATEGIES
from tl_robust.trust import examine
from tl_robust.types import Examination, ImageSet, Outcome, Pictures

Made = dict[str, Any]
Pixels = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Worker:
    """Trains and attacks with one set of Trainer options.

    Attributes:
        options: Options of the Lightning Trainer.
        attack_batch: Images an attack works on at a time.
    """

    options: Mapping[str, Scalar]
    attack_batch: int

    def train(
        self, training: Model, parent: Mapping[str, Tensor] | None, advance: Advance
    ) -> tuple[Mapping[str, Tensor], Made]:
        """Train one network; a public checkpoint is read instead.

        Weights, order of images and dropout follow from the training's key alone; torch's global generator is left as
        it was.

        Args:
            training: What to train.
            parent: State dict of its parent, None at a root.
            advance: Told the number of images after each epoch.

        Returns:
            The state dict of the chosen epoch, and how it was made.
        """
        start = time.perf_counter()
        if isinstance(training, Public):
            source = training.checkpoint
            with torch.device("meta"):  # names and shapes alone, and no random draw
                network = _network(training)
            rename = None if source.rename is None else dict(source.rename)
            state = load_checkpoint(source.where, source.root, network, rename)
            if checkpoint_digest(source.where, source.root) != training.spec["content"]:
                raise DataError(f"{training} changed while the bench ran: run the bench again.")
            advance(training.effort)
            return state, self._made(torch.device("cpu"), start)
        data = DomainModule(training.data, training.recipe, derive("order", training.key))
        with _seeded(derive("weights", training.key)):
            network = _network(training)
            task = STRATEGIES[training.by.name](
                network, training.recipe, len(training.labels), **dict(training.by.settings)
            )
            if parent is not None and not training.same_labels:
                other = classifier_names(network)
                parent = {name: value for name, value in parent.items() if name not in other}
            task.initialize(parent)
            with self._trainer([Epochs(advance)], max_epochs=training.recipe.epochs, **self.options) as trainer:
                task.check_processes(trainer.world_size)  # here: from a spawned process it would come as a long trace
                trainer.fit(task, datamodule=data)
        accuracy = float(task.kept_accuracy)
        if math.isnan(accuracy):
            raise ConfigError(
                "no validation ran, so no epoch could be chosen: leave trainer.limit_val_batches, max_steps and "
                "check_val_every_n_epoch so that each training validates."
            )
        return task.network.state_dict(), self._made(trainer.strategy.root_device, start) | {"val_accuracy": accuracy}

    def attack(
        self,
        group: CraftGroup,
        surrogate: Mapping[str, Tensor],
        victims: Mapping[str, tuple[Model, Mapping[str, Tensor]]],
        advance: Advance,
    ) -> tuple[dict[str, Outcome], Made]:
        """Craft once and judge every victim.

        Args:
            group: Surrogate, test set, attack, eps and seed.
            surrogate: The surrogate's state dict.
            victims: Name to training and state dict. A victim that is the surrogate is not run twice.
            advance: Told the number of images after each batch.

        Returns:
            One outcome a victim, and how they were made.
        """
        start = time.perf_counter()
        networks: dict[str, nn.Module] = {"": _network(group.surrogate, surrogate)}
        for name, (model, state) in victims.items():
            networks[name] = networks[""] if model.key == group.surrogate.key else _network(model, state)
        fast, refused = _accelerated(networks, group)
        pool = group.pool()
        given = _pixels(pool) if pool else None
        outcomes, device, batch = self._judged(group, fast, given, advance)
        speed: Made = {}
        if group.fast:
            speed = {"fast": list(group.fast), "refused": refused}
            if not refused:
                gate = self._gate(group, networks, given, outcomes, batch)
                speed |= {"gate": asdict(gate)}
                if not gate.passed:
                    speed["refused"] = f"{gate.accuracy:.1%} of accuracy differ, {gate.predictions:.1%} of predictions"
                    outcomes, device, batch = self._judged(group, networks, given, nothing)
        return outcomes, self._made(device, start) | {"attack_batch": batch} | speed

    def _judged(
        self, group: CraftGroup, networks: Mapping[str, nn.Module], pool: Pixels | None, advance: Advance
    ) -> tuple[dict[str, Outcome], torch.device, int]:
        """Outcomes of all victims; the surrogate's name is empty."""
        task = NetworkModule(networks[""])
        victims = {name: task if one is networks[""] else one for name, one in networks.items() if name}
        callback = TransferAttack(
            group.built, victims, group.eps, group.seed, group.same_labels, group.early, pool, False
        )
        with self._tester([callback, Tested(advance)]) as trainer:
            device = trainer.strategy.root_device
            images = group.test.images("test")
            batch = self.attack_batch
            if not batch:
                batch = best_batch(
                    task.to(device).eval(), _pixels(images.take(torch.arange(min(len(images), 1000))))[0].to(device)
                )
            trainer.test(task, dataloaders=Batches(images, batch, device=device), verbose=False)
        return callback.outcomes, device, batch

    def _gate(
        self,
        group: CraftGroup,
        networks: Mapping[str, nn.Module],
        pool: Pixels | None,
        outcomes: Mapping[str, Outcome],
        batch: int,
    ) -> Gate:
        images = group.test.images("test")
        place = gate_places(images.labels)
        with self._tester([]) as trainer:
            device = trainer.strategy.root_device
            moved = {name: network.to(device) for name, network in networks.items()}
            victims = {name: network for name, network in moved.items() if name}
            judge = Judge(
                group.built,
                moved[""],
                victims,
                group.eps,
                group.seed,
                group.same_labels,
                group.early,
                pool,
                strict=False,
            )
            for some in place.split(batch):
                judge.update(*(part.to(device) for part in (*_pixels(images.take(some)), some)))
        return compare(outcomes, judge.outcomes())

    def examine(self, examinee: Examinee, state: Mapping[str, Tensor]) -> tuple[Examination, Made]:
        """Measure a model for the trust checks.

        Args:
            examinee: The model, the test set, norm, eps and seed.
            state: The model's state dict.
        """
        start = time.perf_counter()
        chosen, place = examinee.images()
        with self._tester([]) as trainer:
            device = trainer.strategy.root_device
            images, labels = (part.to(device) for part in _pixels(chosen))
            found = examine(
                _network(examinee.model, state).to(device),
                images,
                labels if examinee.same_labels else None,
                examinee.eps,
                examinee.norm,
                sample_id=place.to(device),
                seed=examinee.seed,
            )
        return found, self._made(device, start)

    def picture(self, pictured: PictureGroup, surrogate: Mapping[str, Tensor], fast: bool) -> tuple[Pictures, Made]:
        """Craft a few samples again, at all eps and in the same (fast) mode as in the full run, and keep some."""
        start = time.perf_counter()
        group, attack, chosen = pictured.group, pictured.group.built, pictured.images()
        with self._tester([]) as trainer:
            device = trainer.strategy.root_device
            network = _network(group.surrogate, surrogate).to(device)
            model = accelerate(network, group.fast) if fast else network
            options: dict[str, Any] = {"eps": group.eps, "seed": group.seed}
            given, *pool = (
                (images.to(device), labels.to(device) if group.same_labels else None)
                for images, labels in map(_pixels, filter(None, (chosen, group.pool())))
            )
            fitted = attack.fitted(model, *pool[0], **options) if pool else None
            options |= {"sample_id": pictured.sample_id.to(device), "early": group.early, "fitted": fitted}
            options["strict"] = False  # a network that diverged has pictures, too
            found = attack(model, *given, **options)[pictured.places].mul(255).round().to(torch.uint8).cpu()
        eps = torch.tensor(group.eps, dtype=torch.float64)[pictured.places]
        return Pictures(pictured.sample_id, eps, chosen.images, found, group.test.labels), self._made(device, start)

    def _tester(self, callbacks: list[Callback]) -> AbstractContextManager[Trainer]:
        options = {name: value for name, value in self.options.items() if name in ("accelerator", "deterministic")}
        return self._trainer(callbacks, inference_mode=False, devices=1, **options)

    @contextmanager
    def _trainer(self, callbacks: list[Callback], **options: Any) -> Iterator[Trainer]:
        """A quiet Trainer on one CPU thread; Ctrl-C inside reaches the caller as KeyboardInterrupt."""
        with _process_restored(), warnings.catch_warnings():
            for category in (UserWarning, FutureWarning):
                warnings.filterwarnings("ignore", category=category, module="lightning")
            logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
            # processes share the work instead: faster for small networks, and the same numbers on any number of cores
            torch.set_num_threads(1)
            keep_freed_memory()
            handler = signal.getsignal(signal.SIGINT)
            try:
                trainer = Trainer(
                    callbacks=callbacks,
                    logger=False,
                    enable_checkpointing=False,
                    enable_progress_bar=False,
                    enable_model_summary=False,
                    num_sanity_val_steps=0,
                    **({"deterministic": True, "devices": 1} | options),
                )
            except (MisconfigurationException, ValueError, TypeError) as error:
                cause = " ".join(str(error).split())
                raise ConfigError(f"the Trainer refuses these trainer options: {cause}") from error
            if isinstance(trainer.strategy.launcher, _SubprocessScriptLauncher) and trainer.num_devices > 1:
                raise ConfigError(
                    f"trainer.devices={trainer.num_devices} would start the whole command again for each device: "
                    "use trainer.strategy=ddp_spawn."
                )
            torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
            try:
                yield trainer
            except SystemExit as stopped:  # Lightning turns Ctrl-C into this, and ignores the next one
                signal.signal(signal.SIGINT, handler)
                if isinstance(stopped.__context__, KeyboardInterrupt):
                    raise KeyboardInterrupt from stopped
                raise

    @staticmethod
    def _made(device: torch.device, start: float) -> Made:
        return {
            "seconds": round(time.perf_counter() - start, 3),
            "device": device_name(device),
            "versions": versions(),
            "commit": commit(),
        }


def _network(model: Model, state: Mapping[str, Tensor] | None = None, assign: bool = False) -> nn.Module:
    network = build(model.network, get_space(model.space).image_shape, len(model.labels))
    if state is not None:
        network.load_state_dict(state, assign=assign)
    return network


def misfit(model: Model, state: Mapping[str, Tensor]) -> str:
    """Why a state dict cannot be that of a model's network; empty if it can."""
    try:
        with torch.device("meta"):  # names and shapes alone
            _network(model, state, assign=True)
        return ""
    except RuntimeError as error:
        return " ".join(str(error).split())[:200]


def _accelerated(networks: Mapping[str, nn.Module], group: CraftGroup) -> tuple[Mapping[str, nn.Module], str]:
    """Faster copies, the surrogate's once; or the networks themselves and why they cannot be faster."""
    if not group.fast:
        return networks, ""
    if group.built.goal.INSIDE:
        return networks, "the objective looks inside the network"
    try:
        fast = {id(one): accelerate(one, group.fast) for one in networks.values()}
    except Exception as error:  # noqa: BLE001  (any network that torch cannot change is run as it is)
        return networks, f"{type(error).__name__}: {(str(error).splitlines() or ['-'])[0]}"
    return {name: fast[id(one)] for name, one in networks.items()}, ""


def _pixels(images: ImageSet) -> Pixels:
    """Images in [0,1] and labels."""
    return images.images.to(torch.float32).div_(255), images.labels


@contextmanager
def _process_restored() -> Iterator[None]:
    """Leave threads, determinism, process group, logging and environment as they were before a training."""
    log, memory = logging.getLogger("lightning.pytorch"), torch.utils.deterministic
    level, threads, environment = log.level, torch.get_num_threads(), dict(os.environ)
    deterministic = torch.are_deterministic_algorithms_enabled()
    fill = memory.fill_uninitialized_memory  # type: ignore[attr-defined]
    grouped = torch.distributed.is_available() and torch.distributed.is_initialized()
    try:
        yield
    finally:
        log.setLevel(level)
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(deterministic)
        memory.fill_uninitialized_memory = fill  # type: ignore[attr-defined]
        if not grouped and torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
        for name in os.environ.keys() - environment.keys():
            del os.environ[name]


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    with torch.random.fork_rng(range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        yield
