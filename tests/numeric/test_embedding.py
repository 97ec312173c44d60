"""Rows of a table in NumPy: values, repeated ids, bad input. The loss: see the symbolic floor."""

import numpy as np
import pytest

from rarebook.numeric.embedding import lookup, pair_gradient, pair_loss, row_step

N, DIM = 6, 2


def test_ids_of_any_shape(rng):
    W = rng.normal(size=(N, DIM))
    for ids in ([], 3, [1, 1], [[0, 5], [2, 2]], np.zeros((2, 0, 3), int)):
        rows = lookup(W, ids)
        assert rows.shape == (*np.shape(ids), DIM)
        np.testing.assert_array_equal(rows, W[np.asarray(ids, int)])


def test_an_id_that_occurs_twice_counts_twice(rng):
    W, G = rng.normal(size=(N, DIM)), rng.normal(size=(2, 2, DIM))
    expected = W.copy()
    for id, g in zip([4, 1, 4, 4], G.reshape(4, DIM), strict=True):
        expected[id] -= 0.5 * g
    assert row_step(W, [[4, 1], [4, 4]], G, 0.5) is W
    np.testing.assert_allclose(W, expected, atol=1e-15)


@pytest.mark.parametrize("ids", [[N], [-1], [0.0], [[0], [1, 2]], ["a"], [None], [True]])
def test_bad_ids_are_refused(ids):
    W = np.ones((N, DIM))
    with pytest.raises(ValueError, match=r"^ids: received .*; allowed: "):
        lookup(W, ids)
    with pytest.raises(ValueError, match=r"^ids: received .*; allowed: "):
        row_step(W, ids, np.ones((1, DIM)), 0.1)
    assert (W == 1).all()


def test_a_table_that_is_none_is_refused():
    broken = np.ones((N, DIM))
    broken[2, 1] = np.inf
    with pytest.raises(ValueError, match=r"^W: received nan or infinity"):
        lookup(broken, [0, 2])
    assert lookup(broken, [0, 1]).shape == (2, DIM)
    for W in (np.ones(N), np.ones((N, DIM), int)):
        with pytest.raises(ValueError, match=r"^W"):
            lookup(W, [0])


def test_bad_rows_of_a_loss_are_refused():
    for rows in (
        np.ones(3),
        np.ones((1, 2)),
        np.ones((2, 2, 2, 2)),
        [[np.nan], [1.0]],
        [["a"]] * 2,
    ):
        for function in (pair_loss, pair_gradient):
            with pytest.raises(ValueError, match=r"^rows: received .*; allowed: "):
                function(rows)
