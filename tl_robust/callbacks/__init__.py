"""Lightning callbacks: attack a module in a test, follow a backdoor through a fit, and keep weights of its epochs."""

from tl_robust.callbacks.backdoor_test import BackdoorTest
from tl_robust.callbacks.snapshots import Snapshots
from tl_robust.callbacks.transfer_attack import TransferAttack

__all__ = ["BackdoorTest", "Snapshots", "TransferAttack"]
