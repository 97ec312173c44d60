"""Pairs of rows that belong together as Theano expressions: what an embedding is trained with.

Source: the post "Efficient Embeddings With Theano"; for the loss, Mikolov et al., Distributed
Representations of Words and Phrases and their Compositionality, 2013.
"""

import numpy as np

from rarebook import checks
from rarebook.backend import Apply, T, softplus
from rarebook.symbolic.ops import KernelOp, kernel_op
from rarebook.symbolic.rows import lookup, row_step

try:
    from rarebook import row_kernels
except ModuleNotFoundError:  # as with classic Theano
    row_kernels = None

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
    return PairLoss()(rows)[0]


@kernel_op
class PairLoss(KernelOp):
    """The loss over pairs and its gradient for the rows, in one pass; see :func:`pair_loss`.

    As an expression, with s = T.sum(rows[:, 0][:, None, :] * rows[:, 1:], axis=2), the loss is
    -T.sum(log_sigmoid(s[:, 0])) - T.sum(log_sigmoid(-s[:, 1:])); its gradient would be a dozen
    arrays of the size of the rows. ``in_place``: the gradient takes the place of the rows.
    """

    __props__ = ("in_place",)

    def __init__(self, in_place=False):
        self.in_place = in_place
        if in_place:
            self.destroy_map = {1: [0]}

    def make_node(self, rows):
        return Apply(self, [rows], [T.scalar(dtype=rows.dtype), rows.type()])

    def infer_shape(self, *arguments):
        return [(), arguments[-1][0]]

    def pullback(self, inputs, outputs, gradients):
        return [gradients[0] * outputs[1]]

    def compiled(self, format, compile):
        return row_kernels.pair_loss(self.in_place, compile)

    def plain(self, rows):
        if rows.shape[1] < 2:
            checks.refuse("rows", f"shape {rows.shape}", "(B, k, dim), k at least 2")
        scores = np.sum(rows[:, :1] * rows[:, 1:], axis=2)
        scores[:, 0] *= -1
        losses = np.maximum(scores, 0) + np.log1p(np.exp(-np.abs(scores)))
        errors = np.exp(np.minimum(scores, 0)) / (1 + np.exp(-np.abs(scores)))
        errors[:, 0] *= -1
        G = np.empty_like(rows)
        G[:, 1:] = errors[:, :, None] * rows[:, :1]
        G[:, 0] = np.sum(errors[:, :, None] * rows[:, 1:], axis=1)
        return np.asarray(losses.sum(), rows.dtype), G
