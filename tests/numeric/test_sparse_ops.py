import re

import numpy as np
import pytest
import scipy.sparse

from rarebook.numeric.sparse_ops import row_sparse_step, sparse_dot
from support import sparse_matrix

TRIPLE = ([0, 2, 2], [1, 1], [2.0, 3.0])  # the second row is empty, the first has a column twice


def test_three_arrays_need_no_scipy():
    D = np.arange(6.0).reshape(3, 2)
    assert sparse_dot(TRIPLE, D).tolist() == [[10, 15], [0, 0]]
    assert row_sparse_step(D, TRIPLE, [[1, 2], [7, 7]], 0.1) is D
    assert D.tolist() == [[0, 1], [1.5, 2], [4, 5]]


@pytest.mark.parametrize("format", ["csr", "csc", "coo", "lil"])
def test_any_format(rng, format):
    X = sparse_matrix(rng, (4, 6), 0.4, format, "float64")
    D, G = rng.normal(size=(6, 3)), rng.normal(size=(4, 3))
    np.testing.assert_allclose(sparse_dot(X, D), X.toarray() @ D)
    expected = D - 0.3 * X.toarray().T @ G
    np.testing.assert_allclose(row_sparse_step(D, X, G, 0.3), expected)


@pytest.mark.parametrize(
    "arguments, argument",
    [
        ((np.ones((3, 2), int), TRIPLE, np.ones((2, 2)), 0.1), "W.dtype"),
        (([[1.0]], TRIPLE, np.ones((2, 2)), 0.1), "W"),
        ((np.ones((1, 2)), TRIPLE, np.ones((2, 2)), 0.1), "X.indices"),
        ((np.ones((3, 2)), scipy.sparse.eye(4), np.ones((2, 2)), 0.1), "X"),
        ((np.ones((3, 2)), np.ones((2, 3)), np.ones((2, 2)), 0.1), "X"),
        ((np.ones((3, 2)), TRIPLE, np.ones((3, 2)), 0.1), "G"),
        ((np.ones((3, 2)), TRIPLE, np.full((2, 2), np.nan), 0.1), "G"),
        ((np.ones((3, 2)), TRIPLE, np.ones((2, 2)), np.inf), "learning_rate"),
    ],
)
def test_refuses_and_leaves_the_weights(arguments, argument):
    W = arguments[0]
    with pytest.raises(ValueError, match=rf"^{re.escape(argument)}: received .*; allowed: "):
        row_sparse_step(*arguments)
    assert np.all(np.asarray(W) == 1)


def test_product_refuses():
    for X, D, argument in [
        (TRIPLE, np.ones((1, 2)), "X.indices"),
        (TRIPLE, np.ones(3), "D"),
        (TRIPLE, np.ones((3, 2), int), "D.dtype"),
        (np.ones((2, 3)), np.ones((3, 2)), "X"),
    ]:
        with pytest.raises(ValueError, match=rf"^{re.escape(argument)}: received"):
            sparse_dot(X, D)
