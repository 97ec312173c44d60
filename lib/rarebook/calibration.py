"""Whether probabilities mean what they say: reliability bins, their error, and a temperature."""

from typing import NamedTuple

import numpy as np

from rarebook import checks

COLDEST, HOTTEST = 1e-4, 1e4  # the temperatures that are tried


class CalibrationBins(NamedTuple):
    """Predictions by confidence; arrays (n_bins,), nan in the last two where a bin is empty.

    ``counts``: the number of predictions. ``confidence``: their mean top probability.
    ``accuracy``: the share of them that are right.
    """

    counts: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray


def calibration_bins(y, p, n_bins=15):
    """The rows of p by their top probability, in bins (b / n_bins, (b + 1) / n_bins].

    The prediction of a row is the label of its top probability, the lowest where several are equal.

    Args:
        y: true labels, integers (n,) in 0 … C - 1.
        p: probabilities (n, C), n ≥ 1, the sum of a row 1 ± 0.001.
        n_bins: the number of bins of equal width, at least 1.

    Returns:
        A :class:`CalibrationBins`: int64 counts and two float64 arrays, each (n_bins,).

    Raises:
        ValueError: if an argument is not allowed.

    Source: Guo et al., On Calibration of Modern Neural Networks, 2017.

    Example:
        >>> p = [[0.75, 0.25], [0.25, 0.75], [0.875, 0.125], [0.5, 0.5]]
        >>> bins = calibration_bins([0, 0, 0, 1], p, n_bins=2)
        >>> bins.counts.tolist(), bins.accuracy.round(2).tolist()
        ([1, 3], [0.0, 0.67])
    """
    n_bins = checks.whole_number("n_bins", n_bins, 1)
    p = _rows("p", p)
    if p.min() < 0:
        checks.refuse("p", f"{p.min():g}", "probabilities of at least 0")
    sums = p.sum(axis=1)
    worst = sums[np.abs(sums - 1).argmax()]
    if abs(worst - 1) > 1e-3:
        checks.refuse("p", f"a row that sums to {worst:g}", "rows that sum to 1")
    y = checks.labels("y", y, *p.shape)
    top = p.max(axis=1)
    right = p.argmax(axis=1) == y
    upper = np.arange(1, n_bins) / n_bins  # what is above the last of these is in the last bin
    bins = np.searchsorted(upper, top)
    counts = np.bincount(bins, minlength=n_bins)
    size = np.where(counts > 0, counts, np.nan)
    return CalibrationBins(
        counts.astype(np.int64),
        np.bincount(bins, top, n_bins) / size,
        np.bincount(bins, right, n_bins) / size,
    )


def expected_calibration_error(y, p, n_bins=15):
    """``Σ_b n_b / n · |accuracy_b - confidence_b|`` over the bins of :func:`calibration_bins`.

    Args:
        y, p, n_bins: those of :func:`calibration_bins`.

    Returns:
        A float from 0, where each bin is right as often as it says, to 1. Chance alone makes it
        larger than 0, the more so the fewer predictions a bin has.

    Raises:
        ValueError: if an argument is not allowed.

    Source: Naeini et al., Obtaining Well Calibrated Probabilities Using Bayesian Binning, 2015.

    Example:
        >>> p = [[0.75, 0.25], [0.25, 0.75], [0.875, 0.125], [0.5, 0.5]]
        >>> expected_calibration_error([0, 0, 0, 1], p, n_bins=2)
        0.21875
    """
    counts, confidence, accuracy = calibration_bins(y, p, n_bins)
    gaps = np.abs(accuracy - confidence)[counts > 0]
    return float(gaps @ counts[counts > 0] / counts.sum())


def fit_temperature(z, y):
    """The T > 0 with which softmax(z / T) predicts y best: the smallest mean of -log p_y.

    In 1 / T this mean is convex, and its derivative, the mean of Σ_c p_c z_c - z_y, is 0 at one
    place or none. So there is one best T, within the limits of 0.0001 and 10000. The lower limit is
    returned where ever more confidence pays, as it does if each z_y is the largest of its row; the
    upper one where none does: the z_y are on average no larger than the means of their rows. Where
    T makes no difference, because the logits of each row are equal, 1 is returned.

    Args:
        z: logits (n, C), n ≥ 1, best of data that the model has not seen.
        y: true labels, integers (n,) in 0 … C - 1.

    Returns:
        T, a float: above 1 where the model is too confident, below where it is too timid.

    Raises:
        ValueError: if an argument is not allowed.

    Source: Guo et al., On Calibration of Modern Neural Networks, 2017.

    Example:
        >>> z = np.array([[4.0, 0.0]] * 3 + [[0.0, 4.0]])  # p = 0.98, right 3 times of 4
        >>> T = fit_temperature(z, [0, 0, 0, 0])
        >>> f"{T:.2f} {1 / (1 + np.exp(-4 / T)):.2f}"
        '3.64 0.75'
    """
    from scipy.optimize import brentq
    from scipy.special import softmax

    z = _rows("z", z)
    y = checks.labels("y", y, *z.shape)
    margins = z - z[np.arange(len(z)), y][:, None]
    if not margins.any():
        return 1.0

    def slope(log_T):
        scaled = margins * np.exp(-log_T)
        return (softmax(scaled, axis=1) * margins).sum(axis=1).mean()

    low, high = np.log(COLDEST), np.log(HOTTEST)
    if slope(low) <= 0:
        return COLDEST
    if slope(high) >= 0:
        return HOTTEST
    return float(np.exp(brentq(slope, low, high)))


def _rows(argument, values):
    """``values`` as a finite float64 array of at least one row and one column."""
    values = checks.array(argument, values, (None, None), np.dtype(np.float64))
    if not values.size:
        checks.refuse(argument, f"shape {values.shape}", "one row and one column, or more")
    return values
