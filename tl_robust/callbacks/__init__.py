"""Lightning callbacks."""

from tl_robust.callbacks.transfer_attack import TransferAttack

__all__ = ["TransferAttack"]
