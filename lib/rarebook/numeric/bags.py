"""Bags of embeddings in plain NumPy: one vector for each list of ids, whatever its length.

The twins of :mod:`rarebook.symbolic.bags`, with the same names; that page says what a bag is. A
padded batch comes from :func:`rarebook.sequences.pad_sequences`, a flat one from
:func:`rarebook.sequences.flatten_sequences`.

Source: the post "Padded Word Indexes For Embeddings With Theano".
"""

import numpy as np

from rarebook import checks
from rarebook.numeric.sparse_ops import product
from rarebook.update_rules import RowGradient


def masked_bag(W, ids, weights=None, mode="mean", padding=0):
    """The vectors of padded bags, by a mask: sum(mask · W[ids]) / max(1, count).

    Args:
        W: an array (N, dim), float32 or float64.
        ids: integers (B, L).
        weights: floats (B, L), or None for ones; for a mean at least 0. Not with "max".
        mode: "mean", "sum" or "max".
        padding: the id that stands for nothing; None if all ids count.

    Returns:
        An array (B, dim) of W's type; an empty bag gives zeros.

    Raises:
        ValueError: if an argument is not allowed.

    Example:
        >>> masked_bag(np.arange(6.0).reshape(3, 2), [[1, 2], [0, 1], [0, 0]]).tolist()
        [[3.0, 4.0], [2.0, 3.0], [0.0, 0.0]]
    """
    W, ids, factors, mask = _padded(W, ids, weights, mode, padding)
    rows = np.where(mask[:, :, None], W[ids], 0)
    if mode == "max":
        rows = np.where(mask[:, :, None], rows, -np.inf)
        return np.where(mask.any(axis=1)[:, None], rows.max(axis=1, initial=-np.inf), 0)
    total = (factors[:, :, None] * rows).sum(axis=1)
    if mode == "sum":
        return total
    count = factors.sum(axis=1, keepdims=True)
    return total / np.where(count > 0, count, 1)


def flat_bag(W, ids, offsets, weights=None, mode="mean"):
    """The vectors of flat bags: bag i has the ids from offsets[i] up to offsets[i + 1].

    Args:
        W: an array (N, dim), float32 or float64.
        ids: integers (n,).
        offsets: integers (B + 1,), from 0 rising to n.
        weights: floats (n,), or None for ones; for a mean at least 0. Not with "max".
        mode: "mean", "sum" or "max".

    Returns:
        An array (B, dim) of W's type.

    Raises:
        ValueError: if an argument is not allowed.

    Example:
        >>> flat_bag(np.arange(6.0).reshape(3, 2), [1, 0, 2], [0, 1, 1, 3]).tolist()
        [[2.0, 3.0], [0.0, 0.0], [2.0, 3.0]]
    """
    W = _table(W)
    _check_mode(mode, weights)
    ids = checks.id_array("ids", ids, len(W), ndim=1)
    checks.array("W", W[ids], (None, None), W.dtype)
    offsets = checks.offsets("offsets", offsets, len(ids))
    if mode == "max":
        out = np.zeros((len(offsets) - 1, W.shape[1]), W.dtype)
        for bag in np.flatnonzero(np.diff(offsets)):
            out[bag] = W[ids[offsets[bag] : offsets[bag + 1]]].max(axis=0)
        return out
    factors = checks.bag_weights(weights, ids, mode, W.dtype)
    if mode == "mean":
        bags = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
        total = np.bincount(bags, factors, minlength=len(offsets) - 1)
        factors = (factors / np.where(total > 0, total, 1)[bags]).astype(W.dtype)
    return product((offsets, ids, factors), W)


def averaging_matrix(ids, n_rows, weights=None, mode="mean", padding=0, dtype="float32"):
    """The sparse matrix (B, N) whose product with W is the vectors of padded bags.

    Args:
        ids: integers (B, L).
        n_rows: N.
        weights: floats (B, L), or None for ones; for a mean at least 0.
        mode: "mean" or "sum".
        padding: the id that stands for nothing; None if all ids count.
        dtype: "float32" or "float64".

    Returns:
        Its compressed rows ``(indptr, indices, data)``, as the functions of
        :mod:`rarebook.numeric.sparse_ops` take them. For a SciPy matrix, which Theano takes, write
        ``scipy.sparse.csr_matrix((data, indices, indptr), shape=(B, N))``.

    Raises:
        ValueError: if an argument is not allowed.

    Example:
        >>> [part.tolist() for part in averaging_matrix([[1, 2], [0, 1], [0, 0]], 3)]
        [[0, 2, 3, 3], [1, 2, 1], [0.5, 0.5, 1.0]]
    """
    n_rows = checks.whole_number("n_rows", n_rows, 0)
    dtype = checks.float_dtype("dtype", dtype)
    if mode not in ("mean", "sum"):
        checks.refuse("mode", repr(mode), "'mean' or 'sum'; no matrix takes the largest")
    ids, factors, mask = _ids_and_factors(ids, n_rows, weights, mode, padding, dtype)
    if mode == "mean":
        total = factors.sum(axis=1, keepdims=True)
        factors = factors / np.where(total > 0, total, 1)
    indptr = np.concatenate([[0], np.cumsum(mask.sum(axis=1))]).astype(np.int32)
    return indptr, ids[mask].astype(np.int32), factors[mask]


def embedding_bag(W, ids, weights=None, mode="mean", padding=0):
    """The vectors of padded bags, one bag at a time; nothing of the size B · L · dim is made.

    Args, result and errors are those of :func:`masked_bag`.

    Example:
        >>> embedding_bag(np.arange(6.0).reshape(3, 2), [[1, 2], [0, 0]], mode="sum").tolist()
        [[6.0, 8.0], [0.0, 0.0]]
    """
    W, ids, factors, mask = _padded(W, ids, weights, mode, padding)
    offsets = np.concatenate([[0], np.cumsum(mask.sum(axis=1))])
    return flat_bag(W, ids[mask], offsets, None if weights is None else factors[mask], mode)


def bag_gradient(W, ids, G, weights=None, mode="mean", padding=0):
    """The gradient for W of padded bags, as a RowGradient: only rows of ids that are no padding.

    Args:
        W, ids, weights, mode, padding: those of the forward pass.
        G: the gradient for the bags' vectors, (B, dim).

    Raises:
        ValueError: if an argument is not allowed.

    Example:
        >>> rows, G, _ = bag_gradient(np.ones((3, 1)), [[1, 2], [0, 1]], [[1.0], [10.0]])
        >>> rows[1].tolist(), rows[2].tolist(), G.tolist()
        ([1, 2, 1], [0.5, 0.5, 1.0], [[1.0], [10.0]])
    """
    W, ids, _, mask = _padded(W, ids, weights, mode, padding)
    G = checks.array("G", G, (len(ids), W.shape[1]), W.dtype)
    if mode != "max":
        return RowGradient(averaging_matrix(ids, len(W), weights, mode, padding, W.dtype), G)
    rows = np.where(mask[:, :, None], W[ids], -np.inf)
    first = rows.argmax(axis=1)[:, None, :]
    wins = (np.arange(ids.shape[1])[None, :, None] == first) & mask[:, :, None]
    return RowGradient(ids[mask], np.where(wins, G[:, None, :], 0)[mask])


def _table(W):
    """W if it is a table; only the rows that are read are looked at."""
    W = np.asarray(W)
    checks.float_dtype("W.dtype", W.dtype)
    if W.ndim != 2:
        checks.refuse("W", f"shape {W.shape}", "a matrix (N, dim)")
    return W


def _check_mode(mode, weights):
    if mode not in ("mean", "sum", "max"):
        checks.refuse("mode", repr(mode), "'mean', 'sum' or 'max'")
    if mode == "max" and weights is not None:
        checks.refuse("weights", "weights with mode 'max'", "None")


def _ids_and_factors(ids, n_rows, weights, mode, padding, dtype):
    """The ids, checked, the weight of each, 0 for padding, and which are none."""
    ids = checks.id_array("ids", ids, n_rows, ndim=2)
    padding = -1 if padding is None else checks.whole_number("padding", padding, 0)
    mask = ids != padding
    return ids, checks.bag_weights(weights, ids, mode, dtype) * mask, mask


def _padded(W, ids, weights, mode, padding):
    W = _table(W)
    _check_mode(mode, weights)
    ids, factors, mask = _ids_and_factors(ids, len(W), weights, mode, padding, W.dtype)
    checks.array("W", W[ids[mask]], (None, None), W.dtype)
    return W, ids, factors, mask
