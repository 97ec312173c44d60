"""Rows of a table and the loss over pairs of them in plain NumPy.

The twins of :mod:`rarebook.symbolic.rows` and :mod:`rarebook.symbolic.embedding`; here the gradient
is written out.

Source: the post "Efficient Embeddings With Theano".
"""

import numpy as np

from rarebook import checks
from rarebook.numeric.optimizers import SGD
from rarebook.update_rules import RowGradient


def lookup(W, ids):
    """W[ids], the rows of a table.

    Args:
        W: an array (N, dim), float32 or float64.
        ids: integers of any shape, each in 0 … N - 1.

    Returns:
        An array of the shape ids.shape + (dim,).

    Raises:
        ValueError: if an argument is not allowed, or a row that is read has a value that is not
            finite.

    Example:
        >>> lookup(np.arange(6.0).reshape(3, 2), [2, 0, 2]).tolist()
        [[4.0, 5.0], [0.0, 1.0], [4.0, 5.0]]
    """
    W = np.asarray(W)
    dtype = checks.float_dtype("W.dtype", W.dtype)
    if W.ndim != 2:
        checks.refuse("W", f"shape {W.shape}", "a matrix (N, dim)")
    ids = checks.id_array("ids", ids, len(W))
    return checks.array("W", W[ids], (*ids.shape, W.shape[1]), dtype)


def row_step(W, ids, G, learning_rate, padding=None):
    """Change row ids[i] of W by - learning_rate · G[i], for every i, in place.

    An id that occurs twice counts twice. Plain ``W[ids] -= learning_rate * G`` would keep one of
    the two.

    Args:
        W: an array (N, dim).
        ids: integers of any shape.
        G: ids.shape + (dim,), the gradient for the rows that were read.
        learning_rate: above 0.
        padding: an id whose row is left as it is; None if there is none.

    Returns:
        W itself.

    Raises:
        ValueError: if an argument is not allowed. W is then as it was.

    Example:
        >>> W = np.ones((3, 2))
        >>> row_step(W, [1, 2, 1], np.ones((3, 2)), 0.25).tolist()
        [[1.0, 1.0], [0.5, 0.5], [0.75, 0.75]]
    """
    return SGD().step(W, {}, RowGradient(ids, G, padding), learning_rate)


def log_sigmoid(x):
    """log(1 / (1 + exp(-x))), finite for any x."""
    return np.minimum(x, 0) - np.log1p(np.exp(-np.abs(x)))


def pair_loss(rows):
    """-log σ(r·p) - Σₖ log σ(-r·nₖ), summed over all samples.

    Args:
        rows: an array (k, dim) or (B, k, dim), k ≥ 2, in the order r, p, n₁, n₂, …

    Raises:
        ValueError: if the shape is another one, or a value is not finite.

    Example:
        >>> f"{pair_loss([[1, 0], [3, 0], [0, 5]]):.3f}"
        '0.742'
    """
    scores = _scores(_samples(rows))
    return -log_sigmoid(scores[:, 0]).sum() - log_sigmoid(-scores[:, 1:]).sum()


def pair_gradient(rows):
    """The gradient of :func:`pair_loss` for its rows, of their shape.

    With e = σ(r·p) - 1 for the positive and e = σ(r·n) for a negative, each row p or n gets e · r,
    and r gets the sum of e · p and of e · n.

    Example:
        >>> pair_gradient([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0]]).tolist()
        [[-0.5, 1.0], [-0.0, -0.0], [0.0, 0.0]]
    """
    samples = _samples(rows)
    errors = np.exp(log_sigmoid(_scores(samples)))
    errors[:, 0] -= 1
    G = np.empty_like(samples)
    G[:, 1:] = errors[:, :, None] * samples[:, :1]
    G[:, 0] = (errors[:, :, None] * samples[:, 1:]).sum(axis=1)
    return G.reshape(np.shape(rows))


def _samples(rows):
    """The rows as finite floats (B, k, dim)."""
    rows = np.asarray(rows)
    if rows.ndim not in (2, 3) or rows.shape[-2] < 2:
        checks.refuse("rows", f"shape {rows.shape}", "(k, dim) or (B, k, dim), k at least 2")
    dtype = rows.dtype if rows.dtype.kind == "f" else np.dtype(np.float64)
    rows = checks.array("rows", rows, rows.shape, dtype)
    return rows.reshape(-1, *rows.shape[-2:])


def _scores(samples):
    """r·p and all r·nₖ of each sample, (B, k - 1)."""
    return (samples[:, :1] * samples[:, 1:]).sum(axis=2)
