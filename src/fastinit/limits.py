"""What measurements of good tensors exceed with a small probability."""

from __future__ import annotations

import math
from statistics import NormalDist

#: The probability with which a test flags a tensor that is as it should be.
FALSE_ALARM = 1e-9
#: The same in standard errors, two-sided.
SIGMAS = -NormalDist().inv_cdf(FALSE_ALARM / 2)


def ks_limit(n: int) -> float:
    """What the distance of n values exceeds with a probability of at most `FALSE_ALARM`.

    Notes
    -----
    Massart, "The tight constant in the Dvoretzky-Kiefer-Wolfowitz inequality", Annals of
    Probability 18, 1990; it holds for every n, and for distributions with steps too.
    """
    return math.sqrt(-math.log(FALSE_ALARM / 2) / (2 * n)) if n else math.inf


def variance_limits(n: int, kurtosis: float) -> tuple[float, float]:
    """Between which the variance of n values about their mean lies, over its theory."""
    freedom = n - 1  # degrees of freedom
    error = SIGMAS * math.sqrt((kurtosis - 1) / freedom) + 1e-9  # the latter for rounding
    # The variance about the mean of the values is smaller than that about the theory's by the square of
    # the distance. Of two values with a probability of 1/2 each, this is all that makes it vary.
    distance = SIGMAS * SIGMAS / n
    spread = (kurtosis - 1) / (9 * freedom)  # Wilson, Hilferty: 2 / (9 degrees of freedom)
    root = SIGMAS * math.sqrt(spread)
    low, high = (max(0.0, 1 - spread + side * root) ** 3 * freedom / n for side in (-1, 1))
    return max(0.0, min(low, 1 - error - distance)), max(high, 1 + error)
