"""Summaries of repeated measurements."""

import numpy as np

from rarebook import checks


def mean_interval(values, level=0.95):
    """Mean of n measurements and the half-width of its confidence interval, t · s / √n.

    Args:
        values: n ≥ 2 independent measurements, such as one accuracy a seed.
        level: the confidence, above 0 and below 1.

    Returns:
        Two floats in the unit of the values. s is the standard deviation with divisor n - 1, t the
        quantile of Student's distribution with n - 1 degrees of freedom.

    Raises:
        ValueError: if an argument is not allowed.

    Source: Student, The probable error of a mean, 1908.

    Example:
        >>> mean, half = mean_interval([0.79, 0.80, 0.81])
        >>> f"{mean:.2f} ± {half:.2f}"
        '0.80 ± 0.02'
    """
    from scipy.stats import t

    values = checks.array("values", values, (None,), np.dtype("float64"))
    level = checks.real_number("level", level, above=0, below=1)
    if len(values) < 2:
        checks.refuse("values", f"{len(values)} measurements", "two or more")
    quantile = t.ppf((1 + level) / 2, len(values) - 1)
    return float(values.mean()), float(quantile * values.std(ddof=1) / np.sqrt(len(values)))
