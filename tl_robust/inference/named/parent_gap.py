"""What fine-tuning gained on a sample: the public parent as the only reference."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from typing_extensions import override

from tl_robust.errors import ConfigError
from tl_robust.inference.base import INFERENCES, Inference, Seen

SIGNALS = ("loss", "margin")


@INFERENCES.register
@dataclass(frozen=True)
class ParentGap(Inference):
    """The parent as a free reference, as on language models: Mireshghallah and others, EMNLP 2022.

    Attributes:
        signal: ``loss`` (that of A less that of B) or ``margin`` (that of B less that of A).
    """

    PARENT: ClassVar[bool] = True

    signal: str = "loss"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.signal not in SIGNALS:
            raise ConfigError(f"setting 'signal' of parent_gap must be {' or '.join(SIGNALS)}, got {self.signal!r}.")
        if self.side == "source":
            raise ConfigError("parent_gap asks the parent, whose own training data side: source is about: use loss.")

    @override
    def score(self, seen: Seen) -> Tensor:
        assert seen.parent
        if self.signal == "margin":
            return seen.victim.margin - seen.parent.margin
        return seen.parent.loss - seen.victim.loss
