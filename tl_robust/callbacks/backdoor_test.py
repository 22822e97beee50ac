"""A backdoor followed through any fit: after every epoch the module is asked about clean and stamped images."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from lightning import Callback, LightningModule, Trainer
from torch import Tensor
from typing_extensions import override

from tl_robust.backdoors import Backdoor
from tl_robust.backdoors.judge import Said, stamp_test
from tl_robust.errors import ConfigError
from tl_robust.metrics import METRICS
from tl_robust.types import Stamped

ALONE = ("attack_success", "victim_accuracy")  # what is logged of one fit
TOGETHER = ("lift", "false_trigger", "clean_cost")  # and of a fit beside that of its clean twin


class BackdoorTest(Callback):
    """Asks the module during ``trainer.fit`` and changes nothing about the fit; ``record`` then holds a ``Stamped``.

    Epoch 0 is what the fit starts from. The module maps images in [0,1] to logits; it is asked in eval mode, and no
    random number is drawn. Where the Trainer has loggers, they get one row for each epoch, with ``epochs``,
    ``backdoor/attack_success`` and ``backdoor/victim_accuracy``, and with a twin also ``backdoor/lift``,
    ``backdoor/false_trigger`` and ``backdoor/clean_cost``. A checkpoint carries what was said so far.

    Args:
        backdoor: For example ``backdoors.get("patch", side=3)``: the trigger that the public model may answer to.
        images: Test images ``[N,C,H,W]``, uint8, or floating point in [0,1], which is rounded to 8 bits.
        labels: True classes, int64 ``[N]``.
        target: The class t that the trigger calls for, as the labels number it.
        twin: The callback of the same fit from a clean model, which ran before. Attack success means little without it:
            a trigger may send images of a clean model to class t, too.
        epochs: After which epochs the module is asked, with 0; None: after all.
        fitted: What the backdoor learned from a clean model, where it learns something.

    Raises:
        ConfigError: Images, labels or target are of another form, or the trigger does not fit.
    """

    def __init__(
        self,
        backdoor: Backdoor,
        images: Tensor,
        labels: Tensor,
        target: int,
        twin: BackdoorTest | None = None,
        epochs: Collection[int] | None = None,
        fitted: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.test = stamp_test(backdoor, images, labels, target, fitted)
        self.twin = twin
        self.epochs = None if epochs is None else frozenset(epochs)
        self._said: dict[int, Said] = {}

    @property
    def record(self) -> Stamped:
        """What the module said after each epoch.

        Raises:
            ConfigError: No fit has begun.
        """
        if not self._said:
            raise ConfigError("nothing was asked yet: give this callback to a Trainer and call its fit.")
        return self.test.record(list(self._said.values()), list(self._said))

    @property
    def beside(self) -> dict[str, Stamped]:
        """The record of the clean twin after the same epochs, as metrics take it; empty without a twin.

        Raises:
            ConfigError: The twin was asked after other epochs.
        """
        if self.twin is None:
            return {}
        said = {epoch: one for epoch, one in self.twin._said.items() if epoch in self._said}
        if said.keys() != self._said.keys():
            raise ConfigError(
                f"the twin was asked after epochs {sorted(self.twin._said)}, this fit after {sorted(self._said)}: fit "
                "the twin first, for as many epochs."
            )
        return {"twin": self.twin.test.record(list(said.values()), list(said))}

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if trainer.world_size > 1:
            raise ConfigError(f"BackdoorTest needs devices=1, got {trainer.world_size} processes.")
        if stage == "fit":
            self._said = {}  # forget an earlier fit; a checkpoint is read after this

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.global_step == 0:
            self._ask(trainer, pl_module, 0)

    @override
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._ask(trainer, pl_module, trainer.current_epoch + 1)

    def _ask(self, trainer: Trainer, module: LightningModule, epoch: int) -> None:
        if epoch in self._said or not (self.epochs is None or epoch in self.epochs):
            return
        self._said[epoch] = said = self.test.ask(module, module.device, "the module")
        record, beside = self.test.record([said], [epoch]), {}
        if self.twin is not None and epoch in self.twin._said:
            beside = {"twin": self.twin.test.record([self.twin._said[epoch]], [epoch])}
        for logger in trainer.loggers:
            row = {name: METRICS[name](record, beside) for name in (*ALONE, *TOGETHER * bool(beside))}
            logger.log_metrics({"epochs": epoch} | {f"backdoor/{name}": float(value) for name, value in row.items()})

    @override
    def state_dict(self) -> dict[str, Any]:
        return {"said": {epoch: dict(vars(said)) for epoch, said in self._said.items()}}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._said = {epoch: Said(**said) for epoch, said in state_dict["said"].items()}
