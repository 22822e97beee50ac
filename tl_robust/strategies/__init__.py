"""Strategies: how the surrogate A and the victim B come to be, as LightningModules."""

from tl_robust.strategies.base import STRATEGIES, Train, TransferTask

__all__ = ["STRATEGIES", "Train", "TransferTask"]
