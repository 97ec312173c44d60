"""Products with a sparse matrix in plain NumPy, from a SciPy matrix or from three arrays.

The twins of :mod:`rarebook.symbolic.sparse_ops`. A sparse X (B, N) is what
:class:`rarebook.numeric.layers.SparseInput` takes: a SciPy matrix, or ``(indptr, indices, data)``,
its compressed rows, for which SciPy is not needed.

Source: the post "Sparse Input Data With Theano".
"""

from itertools import pairwise

import numpy as np

from rarebook import checks


def sparse_dot(X, D):
    """X D, dense (B, M), in nnz · M multiply-adds.

    Args:
        X: sparse (B, N), with finite values.
        D: dense (N, M), float32 or float64; the product is of its type.

    Raises:
        ValueError: if an argument is not allowed.

    Example:
        >>> sparse_dot(([0, 2], [0, 2], [1, 10]), np.array([[1.0], [2.0], [3.0]])).tolist()
        [[31.0]]
    """
    D = checks.array("D", D, (None, None), checks.float_dtype("D.dtype", np.asarray(D).dtype))
    return product(checks.sparse_or_arrays("X", X, len(D), D.dtype), D)


def product(X, D):
    """:func:`sparse_dot` of operands that are known to fit."""
    if not isinstance(X, tuple):
        return X @ D
    indptr, indices, data = X
    out = np.zeros((len(indptr) - 1, D.shape[1]), D.dtype)
    for row, (start, stop) in enumerate(pairwise(indptr)):
        out[row] = data[start:stop] @ D.take(indices[start:stop], axis=0)
    return out


def row_sparse_step(W, X, G, learning_rate):
    """Change W (N, M) in place to W - learning_rate · Xᵀ G, only in the rows that X touches.

    Args:
        W: an array (N, M), float32 or float64.
        X: sparse (B, N), with finite values.
        G: dense (B, M), the gradient for the product X W.
        learning_rate: a finite number.

    Returns:
        W itself.

    Raises:
        ValueError: if an argument is not allowed. W is then as it was.

    Example:
        >>> W = np.ones((3, 2))
        >>> row_sparse_step(W, ([0, 1], [1], [1.0]), [[1.0, 1.0]], 0.5).tolist()
        [[1.0, 1.0], [0.5, 0.5], [1.0, 1.0]]
    """
    if not isinstance(W, np.ndarray) or W.ndim != 2 or not W.flags.writeable:
        checks.refuse("W", type(W).__name__, "a NumPy array (N, M) that may be written to")
    dtype = checks.float_dtype("W.dtype", W.dtype)
    X = checks.sparse_or_arrays("X", X, len(W), dtype)
    if not isinstance(X, tuple):
        X = X.tocsr()
        X = X.indptr, X.indices, X.data
    indptr, indices, data = X
    G = checks.array("G", G, (len(indptr) - 1, W.shape[1]), dtype)
    rate = checks.real_number("learning_rate", learning_rate)
    rows, position = np.unique(indices, return_inverse=True)
    gradient = np.zeros((len(rows), W.shape[1]), dtype)
    np.add.at(gradient, position, data[:, None] * np.repeat(G, np.diff(indptr), axis=0))
    W[rows] -= dtype.type(rate) * gradient
    return W
