"""Bags of embeddings as Theano expressions: one vector for each list of ids, whatever its length.

A bag is a list of ids. Its vector is the mean (or the weighted mean, the sum, the largest value of
each column) of the rows that they name in a table W (N, dim); that of an empty bag is zero. A batch
of bags is either *padded*, a matrix (B, L) with the id ``padding`` wherever there is nothing, or
*flat*, all ids in one vector with the offsets at which the bags begin and end.

Four ways that give the same values and the same gradients:

* :func:`masked_bag`, the post's: read all rows, take those of the padding out again;
* :func:`flat_bag`: flat ids, nothing to take out;
* :func:`averaging_matrix`: a sparse matrix (B, N); its product with W is the bags' vectors;
* :func:`embedding_bag`: one loop over the padded ids.

A weighted mean is Σ wᵢ W[idᵢ] / Σ wᵢ, with weights that are at least 0; it is zero where Σ wᵢ is.
There is a gradient for the weights in the first and in the last way.

The row of the padding is never read, and gets no gradient. To leave it out of the optimizer's state
and of the weight decay too, take the row-subset step: with h = ``embedding_bag(W, ids)`` and G the
gradient for h, that is ``RowGradient(averaging_matrix(ids, N), G)``. The twins in
:mod:`rarebook.numeric.bags` compute the same from arrays.

Source: the post "Padded Word Indexes For Embeddings With Theano".
"""

import numpy as np

from rarebook import checks
from rarebook.backend import Apply, Assert, T, sparse
from rarebook.symbolic.ops import KernelOp, kernel_op
from rarebook.symbolic.rows import CheckedIds, _ids, _padding, _table, lookup
from rarebook.symbolic.sparse_ops import SparseDot, sparse_dot

try:
    from rarebook import row_kernels
except ModuleNotFoundError:  # as with classic Theano
    row_kernels = None


def masked_bag(W, ids, weights=None, mode="mean", padding=0):
    """The vectors of padded bags, by a mask: sum(mask · W[ids]) / max(1, count).

    Reads all B · L rows, and holds them, (B, L, dim).

    Args:
        W: a Theano matrix (N, dim).
        ids: an integer matrix (B, L).
        weights: a float matrix (B, L), or None for ones. Not with "max".
        mode: "mean", "sum" or "max".
        padding: the id that stands for nothing; None if all ids count.

    Returns:
        A Theano matrix (B, dim) of W's type.

    Raises:
        ValueError: if an argument is not allowed; when the function is called, if an id lies
            outside.
        AssertionError: when the function is called, if a weight of a mean is below 0.
    """
    W, ids, weights, padding = _padded(_table(W), ids, weights, mode, padding)
    return pool_rows(lookup(W, ids), ids, weights, mode, None if padding < 0 else padding)


def pool_rows(rows, ids, weights=None, mode="mean", padding=0):
    """:func:`masked_bag` of rows that are read already, ``rows = lookup(W, ids)``.

    For the row-subset step take the gradient for ``rows``; it is zero for those of the padding.

    Args:
        rows: a Theano variable (B, L, dim).
        ids, weights, mode, padding: see :func:`masked_bag`.
    """
    rows, ids, weights, padding = _padded(rows, ids, weights, mode, padding)
    mask = T.neq(ids, padding)[:, :, None]
    if mode == "max":
        lowest = np.dtype(rows.dtype).type(-np.inf)
        first = T.argmax(T.switch(mask, rows, lowest), axis=1)
        wins = T.eq(T.arange(ids.shape[1])[None, :, None], first[:, None, :])
        return T.sum(T.switch(mask * wins, rows, T.zeros_like(rows)), axis=1)
    factors = T.cast(mask, rows.dtype)
    if weights is not None:
        if mode == "mean":
            allowed = "weights: those of a mean must be at least 0"
            weights = Assert(allowed)(weights, T.all(weights >= 0))
        factors = factors * weights[:, :, None]
    # Not factors * rows alone: a row of the padding may be anything, and 0 times infinity is not 0.
    total = T.sum(factors * T.switch(mask, rows, T.zeros_like(rows)), axis=1)
    if mode == "sum":
        return total
    count = T.sum(factors, axis=1)
    return total / T.switch(T.gt(count, 0), count, T.ones_like(count))


def flat_bag(W, ids, offsets, weights=None, mode="mean"):
    """The vectors of flat bags: bag i has the ids from offsets[i] up to offsets[i + 1].

    Args:
        W: a Theano matrix (N, dim).
        ids: an integer vector (n,), all bags one after another.
        offsets: an integer vector (B + 1,), from 0 rising to n.
        weights: a float vector (n,), or None for ones. Not with "max".
        mode: "mean", "sum" or "max".

    Returns:
        A Theano matrix (B, dim) of W's type.

    Raises:
        ValueError: if an argument is not allowed; when the function is called, if an id lies
            outside, or the offsets do not fit.

    Example:
        >>> from rarebook.backend import theano
        >>> W, ids, offsets = theano.shared(np.arange(6.0).reshape(3, 2)), T.lvector(), T.lvector()
        >>> mean = theano.function([ids, offsets], flat_bag(W, ids, offsets))
        >>> mean(np.array([1, 0, 2]), np.array([0, 1, 1, 3])).tolist()
        [[2.0, 3.0], [0.0, 0.0], [2.0, 3.0]]
    """
    W = _table(W)
    _check_mode(mode, weights)
    if mode == "max":
        return BagMax()(W, *_flat(ids, offsets))[0]
    return sparse_dot(flat_matrix(ids, offsets, W.shape[0], weights, mode, W.dtype), W)


def flat_matrix(ids, offsets, n_rows, weights=None, mode="mean", dtype="float32"):
    """The sparse matrix (B, N) whose product with W is the vectors of flat bags.

    Args:
        ids, offsets, weights: see :func:`flat_bag`.
        n_rows: N, an integer or an integer scalar.
        mode: "mean" or "sum".
        dtype: "float32" or "float64".

    Returns:
        A sparse variable in CSR, with an entry for each id.

    Raises:
        ValueError: as for :func:`flat_bag`.
    """
    dtype, n_rows = _matrix_settings(dtype, n_rows, mode)
    ids, offsets = _flat(ids, offsets)
    ids = CheckedIds()(ids, n_rows)
    factors = T.ones_like(ids, dtype=dtype) if weights is None else T.cast(weights, dtype)
    factors = Shares(mode)(factors, offsets)
    return _csr(factors, ids, offsets, n_rows)


def averaging_matrix(ids, n_rows, weights=None, mode="mean", padding=0, dtype="float32"):
    """The sparse matrix (B, N) whose product with W is the vectors of padded bags.

    Args:
        ids: an integer matrix (B, L).
        n_rows: N, an integer or an integer scalar.
        weights: a float matrix (B, L), or None for ones.
        mode: "mean" or "sum".
        padding: the id that stands for nothing; None if all ids count.
        dtype: "float32" or "float64".

    Returns:
        A sparse variable in CSR, with an entry for each id that is no padding.

    Raises:
        ValueError: if an argument is not allowed; when the function is called, if an id lies
            outside, or a weight is not allowed.
    """
    dtype, n_rows = _matrix_settings(dtype, n_rows, mode)
    ids = _ids(ids)
    if ids.ndim != 2:
        checks.refuse("ids", f"{ids.ndim} dimensions", "a matrix (B, L)")
    ids = CheckedIds()(ids, n_rows)
    inputs = [ids] if weights is None else [ids, T.cast(weights, dtype)]
    factors, flat, offsets = Unpad(mode, weights is not None, _padding(padding), dtype)(*inputs)
    return _csr(factors, flat, offsets, n_rows)


def embedding_bag(W, ids, weights=None, mode="mean", padding=0):
    """The vectors of padded bags, in one loop that skips the padding, on all cores.

    Args:
        W: a Theano matrix (N, dim).
        ids: an integer matrix (B, L).
        weights: a float matrix (B, L), or None for ones. Not with "max".
        mode: "mean", "sum" or "max".
        padding: the id that stands for nothing; None if all ids count.

    Returns:
        A Theano matrix (B, dim) of W's type. Its gradient for W is dense; see the module for the
        step that is not.

    Raises:
        ValueError: if an argument is not allowed; when the function is called, if an id lies
            outside, or a weight is not allowed.

    Example:
        >>> from rarebook.backend import theano
        >>> W, ids = theano.shared(np.arange(6.0).reshape(3, 2)), T.lmatrix("ids")
        >>> mean = theano.function([ids], embedding_bag(W, ids))
        >>> mean(np.array([[1, 2], [0, 1], [0, 0]])).tolist()
        [[3.0, 4.0], [2.0, 3.0], [0.0, 0.0]]
    """
    W, ids, weights, padding = _padded(_table(W), ids, weights, mode, padding)
    if mode == "max":
        _, flat, offsets = Unpad("sum", False, padding, str(W.dtype))(ids)
        return BagMax()(W, flat, offsets)[0]
    inputs = [W, ids] if weights is None else [W, ids, weights]
    return EmbeddingBag(mode, weights is not None, padding)(*inputs)


def _check_mode(mode, weights):
    if mode not in ("mean", "sum", "max"):
        checks.refuse("mode", repr(mode), "'mean', 'sum' or 'max'")
    if mode == "max" and weights is not None:
        checks.refuse("weights", "weights with mode 'max'", "None")


def _padded(rows, ids, weights, mode, padding):
    rows, ids = T.as_tensor_variable(rows), _ids(ids)
    _check_mode(mode, weights)
    if ids.ndim != 2:
        checks.refuse("ids", f"{ids.ndim} dimensions", "a matrix (B, L)")
    if weights is not None:
        weights = T.as_tensor_variable(weights)
        if weights.ndim != 2:
            checks.refuse("weights", f"{weights.ndim} dimensions", "a matrix (B, L)")
        weights = T.cast(weights, rows.dtype)
    return rows, ids, weights, _padding(padding)


def _flat(ids, offsets):
    ids, offsets = _ids(ids), _ids(offsets)
    if ids.ndim != 1 or offsets.ndim != 1:
        checks.refuse("ids, offsets", f"{ids.ndim}, {offsets.ndim} dimensions", "vectors")
    return ids, offsets


def _matrix_settings(dtype, n_rows, mode):
    if mode not in ("mean", "sum"):
        checks.refuse("mode", repr(mode), "'mean' or 'sum'; no matrix takes the largest")
    dtype = str(checks.float_dtype("dtype", dtype))
    return dtype, T.cast(T.as_tensor_variable(n_rows), "int64")


def _csr(factors, ids, offsets, n_rows):
    shape = T.stack([offsets.shape[0] - 1, n_rows])
    return sparse.CSR(factors, T.cast(ids, "int32"), T.cast(offsets, "int32"), shape)


@kernel_op
class EmbeddingBag(KernelOp):
    """Sums or weighted means of the rows of W; see :func:`embedding_bag`."""

    __props__ = ("mode", "weighted", "padding")

    def __init__(self, mode, weighted, padding):
        self.mode, self.weighted, self.padding = mode, weighted, padding

    def make_node(self, W, ids, *weights):
        return Apply(self, [W, ids, *weights], [T.matrix(dtype=W.dtype)])

    def infer_shape(self, *arguments):
        W, ids, *_ = arguments[-1]
        return [(ids[0], W[1])]

    def pullback(self, inputs, outputs, gradients):
        (W, ids, *weights), (h,), (G,) = inputs, outputs, gradients
        padding = None if self.padding < 0 else self.padding
        A = averaging_matrix(ids, W.shape[0], *weights or [None], self.mode, padding, W.dtype)
        for_W = SparseDot()(sparse.transpose(A), G)
        return [
            for_W,
            T.zeros_like(ids, dtype=W.dtype),
            *(self._for(*inputs, h, G) for _ in weights),
        ]

    def _for(self, W, ids, weights, h, G):
        """The gradient for the weights."""
        mask = T.cast(T.neq(ids, self.padding), W.dtype)
        along = T.sum(W[ids] * G[:, None, :], axis=2)
        if self.mode == "sum":
            return mask * along
        total = T.sum(mask * weights, axis=1, keepdims=True)
        total = T.switch(T.gt(total, 0), total, T.ones_like(total))
        return mask * (along - T.sum(h * G, axis=1, keepdims=True)) / total

    def compiled(self, format, compile):
        return row_kernels.embedding_bag(self.mode, self.weighted, self.padding, compile)

    def plain(self, W, ids, *weights):
        checks.ids("ids", ids, len(W))
        factors, flat, offsets = Unpad(self.mode, self.weighted, self.padding, W.dtype).plain(
            ids, *weights
        )
        out, bags = (
            np.zeros((len(ids), W.shape[1]), W.dtype),
            np.repeat(np.arange(len(ids)), np.diff(offsets)),
        )
        np.add.at(out, bags, factors[:, None] * W[flat])
        return out


@kernel_op
class Unpad(KernelOp):
    """Factors, ids and offsets of the averaging matrix; see :func:`averaging_matrix`."""

    __props__ = ("mode", "weighted", "padding", "dtype")

    def __init__(self, mode, weighted, padding, dtype):
        self.mode, self.weighted, self.padding, self.dtype = mode, weighted, padding, str(dtype)

    def make_node(self, ids, *weights):
        return Apply(self, [ids, *weights], [T.vector(dtype=self.dtype), T.ivector(), T.ivector()])

    def compiled(self, format, compile):
        return row_kernels.unpad(self.mode, self.weighted, self.padding, self.dtype, compile)

    def plain(self, ids, *weights):
        kept = ids != self.padding
        weights = checks.bag_weights(weights[0] if weights else None, ids, self.mode, self.dtype)
        offsets = np.concatenate([[0], np.cumsum(kept.sum(axis=1))]).astype(np.int32)
        factors = (weights * kept).astype(self.dtype)
        if self.mode == "mean":
            total = factors.sum(axis=1, keepdims=True)
            factors = factors / np.where(total > 0, total, 1)
        return factors[kept].astype(self.dtype), ids[kept].astype(np.int32), offsets


@kernel_op
class Shares(KernelOp):
    """The factors (n,) of flat bags; for a mean each one's share of the sum of its bag, or 0."""

    __props__ = ("mode",)

    def __init__(self, mode):
        self.mode = mode

    def make_node(self, factors, offsets):
        return Apply(self, [factors, offsets], [factors.type()])

    def infer_shape(self, *arguments):
        return [arguments[-1][0]]

    def compiled(self, format, compile):
        return row_kernels.shares(self.mode, compile)

    def plain(self, factors, offsets):
        checks.offsets("offsets", offsets, len(factors))
        checks.bag_weights(factors, factors, self.mode, factors.dtype)
        if self.mode == "sum":
            return factors.copy()
        bags = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
        total = np.bincount(bags, factors, minlength=len(offsets) - 1)
        return (factors / np.where(total > 0, total, 1)[bags]).astype(factors.dtype)


@kernel_op
class BagMax(KernelOp):
    """The largest of each column in a bag, and its id; see ``row_kernels.bag_max``."""

    def make_node(self, W, ids, offsets):
        return Apply(self, [W, ids, offsets], [W.type(), T.lmatrix()])

    def infer_shape(self, *arguments):
        W, _, offsets = arguments[-1]
        return [(offsets[0] - 1, W[1])] * 2

    def pullback(self, inputs, outputs, gradients):
        (W, ids, offsets), (_, winners), (G, _) = inputs, outputs, gradients
        return [
            ToWinners()(W, winners, G),
            T.zeros_like(ids, dtype=W.dtype),
            T.zeros_like(offsets, dtype=W.dtype),
        ]

    def compiled(self, format, compile):
        return row_kernels.bag_max(compile)

    def plain(self, W, ids, offsets):
        checks.ids("ids", ids, len(W))
        checks.offsets("offsets", offsets, len(ids))
        out = np.zeros((len(offsets) - 1, W.shape[1]), W.dtype)
        winners = np.full(out.shape, -1, np.int64)
        for bag in np.flatnonzero(np.diff(offsets)):
            named = ids[offsets[bag] : offsets[bag + 1]]
            first = W[named].argmax(axis=0)
            winners[bag] = named[first]
            out[bag] = W[named].max(axis=0)
        return out, winners


@kernel_op
class ToWinners(KernelOp):
    """Zeros (N, dim) with G[b, j] added in row winners[b, j], column j; none where that is -1."""

    def make_node(self, W, winners, G):
        return Apply(self, [W, winners, G], [W.type()])

    def infer_shape(self, *arguments):
        return [arguments[-1][0]]

    def compiled(self, format, compile):
        return row_kernels.to_winners(compile)

    def plain(self, W, winners, G):
        out, (bags, columns) = np.zeros_like(W), np.nonzero(winners >= 0)
        np.add.at(out, (winners[bags, columns], columns), G[bags, columns])
        return out
