from dataclasses import dataclass

from tl_robust.backdoors import BACKDOORS, Backdoor


@BACKDOORS.register
@dataclass(frozen=True)
class WhiteLine(Backdoor):
    """A white row. Fields are settings; target, rate, labels, into and wake are there already."""

    row: int = 2

    def stamp(self, images, sample_id, fitted):  # uint8 [N,C,H,W], which stay as they are
        stamped = images.clone()
        stamped[:, :, self.row % images.shape[2]] = 255  # images may be of any size
        return stamped
