"""Lightning callbacks: attack a module while a Trainer tests it, and keep the weights of epochs while it fits."""

from tl_robust.callbacks.snapshots import Snapshots
from tl_robust.callbacks.transfer_attack import TransferAttack

__all__ = ["Snapshots", "TransferAttack"]
