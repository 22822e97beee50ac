"""Lightning callbacks."""

from tl_robust.callbacks.snapshots import Snapshots
from tl_robust.callbacks.transfer_attack import TransferAttack

__all__ = ["Snapshots", "TransferAttack"]
