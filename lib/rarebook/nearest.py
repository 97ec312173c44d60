"""Unit vectors: how they are made, averaged, and searched for the nearest.

Source: Kaiser et al., Learning to Remember Rare Events, 2017.
"""

import numpy as np

from rarebook import checks


def unit_rows(argument, X, shape, dtype):
    """The rows of X divided by their Euclidean lengths, ‖x‖ = √Σ xᵢ², as ``dtype``.

    Raises:
        ValueError: if the shape does not fit, a value is not finite or a row has length 0.
    """
    # In C order, for the order of a sum depends on the layout.
    X = np.ascontiguousarray(checks.array(argument, X, shape, np.dtype(np.float64)))
    peak = np.abs(X).max(axis=1, initial=0)
    if not peak.all():
        checks.refuse(argument, "a row of length 0", "rows with a direction")
    X = np.ldexp(X, -np.frexp(peak)[1][:, None])  # a power of two changes no digit
    return (X / np.sqrt((X * X).sum(axis=1, keepdims=True))).astype(dtype)


def averaged(Q, K):
    """(q + k) / ‖q + k‖ for unit rows (B, key_size), and q where the sum is zero up to rounding."""
    total = np.add(Q, K, dtype=np.float64)
    length = np.sqrt((total * total).sum(axis=1, keepdims=True))
    opposite = length[:, 0] <= 16 * np.finfo(Q.dtype).eps
    if opposite.any():
        total[opposite], length[opposite] = Q[opposite], 1
    return (total / length).astype(Q.dtype)


def exact(K, q):
    """Σ kᵢ qᵢ over the last axis, in float64 and in an order that depends on its length alone."""
    return (K.astype(np.float64) * q).sum(axis=-1)


def largest(Q, K, k, tolerance):
    """The k rows of K with the largest products with each row of Q, and these products.

    The largest comes first; among equal ones the lowest row. Products are :func:`exact`.
    """
    S = Q @ K.T
    if k == 1:
        slots, second = two_largest(S)
        slots, kth = slots[:, None], S[np.arange(len(Q)), slots]
        close = np.flatnonzero(second >= kth - tolerance)
    else:
        slots = np.argpartition(S, len(K) - k, axis=1)[:, len(K) - k :]
        kth = np.take_along_axis(S, slots, axis=1).min(axis=1)
        close = np.flatnonzero(((kth - tolerance)[:, None] <= S).sum(axis=1) > k)
    similarities = exact(K[slots], Q[:, None])
    for i in close:
        near = np.flatnonzero(S[i] >= kth[i] - tolerance)
        product = exact(K[near], Q[i])
        order = np.argsort(-product, kind="stable")[:k]
        slots[i], similarities[i] = near[order], product[order]
    order = np.lexsort((slots, -similarities), axis=1)
    return np.take_along_axis(slots, order, axis=1), np.take_along_axis(similarities, order, axis=1)


def two_largest(S):
    """The column of the largest entry of each row, and the second largest entry."""
    rows, best = np.arange(len(S)), S.argmax(axis=1)
    top = S[rows, best]
    S[rows, best] = -np.inf
    second = S.max(axis=1)
    S[rows, best] = top
    return best, second
