"""Locks of an audit; one file each in ``named/``."""

from tl_robust.auditor.locks.base import LOCKS, Answer, Question, ask, lock

__all__ = ["LOCKS", "Answer", "Question", "ask", "lock"]
