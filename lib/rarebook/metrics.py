"""Summaries of repeated measurements."""

from typing import NamedTuple

import numpy as np

from rarebook import checks


class PairedDifference(NamedTuple):
    """The mean of a - b, the half-width of its confidence interval, and the p-value of a = b."""

    mean: float
    half_width: float
    p_value: float


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


def paired_difference(a, b, level=0.95):
    """By how much a is above b on average over n pairs, and whether that could be chance.

    Args:
        a, b: n ≥ 2 measurements each, such as the accuracies of two models; those at one place
            belong together, such as those of one seed and one split.
        level: the share of intervals that contain the true difference, above 0, below 1.

    Returns:
        A :class:`PairedDifference`: mean and half-width are those that :func:`mean_interval` gives
        for a - b. The p-value is that of Student's paired t-test, of both sides: at or below
        1 - level where the interval leaves out 0. Where all n differences are equal, the
        half-width is 0 and the p-value 1 if they are 0, else 0.

    Raises:
        ValueError: if an argument is not allowed.

    Source: Student, The probable error of a mean, 1908.

    Example:
        >>> with_penalty, without = [0.79, 0.80, 0.84], [0.78, 0.78, 0.81]
        >>> "{:.2f} ± {:.2f}, p = {:.2f}".format(*paired_difference(with_penalty, without))
        '0.02 ± 0.02, p = 0.07'
    """
    from scipy.stats import t

    a = checks.array("a", a, (None,), np.dtype("float64"))
    b = checks.array("b", b, a.shape, np.dtype("float64"))
    if len(a) < 2:
        checks.refuse("a", f"{len(a)} measurements", "two or more")
    difference = a - b
    mean, half_width = mean_interval(difference, level)
    if np.ptp(difference) == 0:
        return PairedDifference(float(difference[0]), 0.0, float(difference[0] == 0))
    error = difference.std(ddof=1) / np.sqrt(len(a))
    return PairedDifference(mean, half_width, float(2 * t.sf(abs(mean) / error, len(a) - 1)))


def ranks(scores, answers, allowed=None):
    """The rank of the right answer to each question, 1 for the best; the mean one where scores tie.

    1 + the number of competitors with a higher score + half the number of those with an equal one.
    To count ties as if the answer had won them rewards a model that gives all the same score.

    Args:
        scores: (B, N), one row a question, the higher the better.
        answers: ids (B,), the right answer to each.
        allowed: bool (B, N), which of the N compete; None: all. The answer always does.

    Returns:
        float64 (B,), at least 1. The mean of their reciprocals is the mean reciprocal rank (MRR);
        the share of those at or below 10 is hits@10.

    Raises:
        ValueError: if an argument is not allowed.

    Source: Bordes et al., Translating embeddings for modeling multi-relational data, 2013; for
    ties, Sun et al., A re-evaluation of knowledge graph completion methods, 2020.

    Example:
        >>> ranks([[0.9, 0.5, 0.7], [0.1, 0.1, 0.1]], [2, 0]).tolist()
        [2.0, 2.0]
    """
    scores = checks.array("scores", scores, (None, None), np.dtype("float64"))
    answers = checks.labels("answers", answers, *scores.shape)
    if allowed is None:
        allowed = np.ones(scores.shape, bool)
    allowed = np.asarray(allowed)
    if allowed.dtype != bool or allowed.shape != scores.shape:
        received = f"{allowed.dtype} of shape {allowed.shape}"
        checks.refuse("allowed", received, f"booleans of shape {scores.shape}")
    rows = np.arange(len(scores))
    competes = allowed.copy()
    competes[rows, answers] = False
    of_answer = scores[rows, answers][:, None]
    ahead = (competes & (scores > of_answer)).sum(axis=1)
    return 1 + ahead + (competes & (scores == of_answer)).sum(axis=1) / 2
