"""Lightning callbacks."""

from tl_robust.callbacks.transfer_attack import Surrogate, TransferAttack

__all__ = ["Surrogate", "TransferAttack"]
