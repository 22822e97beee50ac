"""Exact tests of counts, for checks that must stay silent on few samples."""

from scipy.special import betainc


def at_least(count: int, trials: int, chance: float) -> float:
    """Probability of ``count`` or more successes in ``trials`` that each succeed with ``chance`` in (0, 1).

    The tail of a binomial as an incomplete beta function (Abramowitz and Stegun, 1964, 26.5.24).
    """
    return float(betainc(count, trials - count + 1, chance)) if count > 0 else 1.0


def paired(first: int, second: int) -> float:
    """Two-sided p-value of the exact McNemar test: ``first`` and ``second`` samples changed, one way and the other.

    Where nothing but chance decides, each goes either way with one half (Psychometrika 1947; the exact form is the sign
    test).
    """
    return min(1.0, 2 * at_least(max(first, second), first + second, 0.5))
