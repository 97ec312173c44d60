"""Pairs of rows that belong together as Theano expressions: what an embedding is trained with.

Source: the post "Efficient Embeddings With Theano"; for the loss, Mikolov et al., Distributed
Representations of Words and Phrases and their Compositionality, 2013.
"""

from rarebook import checks
from rarebook.backend import T, softplus
from rarebook.symbolic.rows import lookup, row_step

__all__ = ["log_sigmoid", "lookup", "pair_loss", "row_step"]


def log_sigmoid(x):
    """log(1 / (1 + exp(-x))), finite for any x."""
    return -softplus(-x)


def pair_loss(rows):
    """-log σ(r·p) - Σₖ log σ(-r·nₖ), summed over all samples.

    A sample is a reference r, a row p that is to come near it, and one row nₖ or more that are to
    be pushed away. σ is the logistic function.

    Args:
        rows: a Theano variable (k, dim) for one sample or (B, k, dim) for B of them, k ≥ 2, in the
            order r, p, n₁, n₂, …; with W (N, dim), that is ``lookup(W, ids)`` for ids (k,) or
            (B, k).

    Returns:
        A scalar of the type of ``rows``.

    Raises:
        ValueError: if the rows have another number of dimensions.

    Example:
        >>> from rarebook.backend import theano
        >>> rows = T.dmatrix("rows")
        >>> loss = theano.function([rows], pair_loss(rows))
        >>> f"{loss([[1, 0], [3, 0], [0, 5]]):.3f}"
        '0.742'
    """
    if rows.ndim == 2:
        rows = rows[None, :, :]
    if rows.ndim != 3:
        checks.refuse("rows", f"{rows.ndim} dimensions", "(k, dim) or (B, k, dim)")
    scores = T.sum(rows[:, 0][:, None, :] * rows[:, 1:], axis=2)
    return -T.sum(log_sigmoid(scores[:, 0])) - T.sum(log_sigmoid(-scores[:, 1:]))
