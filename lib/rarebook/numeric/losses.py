"""Losses in NumPy, each with its gradient in closed form: what Theano derives can be checked here.

The names and arguments are those of :mod:`rarebook.symbolic.losses`.
"""

import numpy as np


def margin_loss(q, positives, negatives, present, margin):
    """The mean over a batch of Σⱼ max(0, q · Nⱼ - q · P + margin), and its gradient for q.

    Args:
        q: queries of length 1, (B, M).
        positives: P, a key of the right label for each query, (B, M).
        negatives: N, keys of wrong labels, (B, k, M).
        present: (B, k), 1 where the pair counts and 0 where there is no such key.
        margin: a number.

    Returns:
        The loss, a float, and the gradient (B, M): Σ (Nⱼ - P) / B over the pairs that are short of
        the margin.

    Source: Kaiser et al., Learning to Remember Rare Events, 2017, with one negative.

    Example:
        >>> q, P, N = np.array([[1.0, 0]]), np.array([[0.0, 1]]), np.array([[[0.6, 0.8]]])
        >>> loss, grad = margin_loss(q, P, N, np.ones((1, 1)), margin=0.1)
        >>> f"{loss:.1f}", grad.round(1).tolist()
        ('0.7', [[0.6, -0.2]])
    """
    short = np.einsum("bm,bkm->bk", q, negatives) - (q * positives).sum(axis=1, keepdims=True)
    short = present * np.maximum(short + margin, 0)
    counts = (short > 0).astype(q.dtype)
    grad = (
        np.einsum("bk,bkm->bm", counts, negatives) - counts.sum(axis=1, keepdims=True) * positives
    )
    return float(short.sum() / len(q)), grad / len(q)
