"""Looking rows up and changing them: against NumPy, under two linkers, and bad input."""

import functools

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st

from rarebook.backend import T, engine, sparse, theano
from rarebook.numeric import embedding as numeric
from rarebook.symbolic.rows import coalesce, lookup, row_step, touched
from rarebook.update_rules import RowGradient
from rarebook.update_rules import coalesce as in_numpy

RTOL = {"float32": 1e-5, "float64": 1e-12}
MODES = {"default": None, "perform": theano.compile.Mode(linker="py", optimizer="fast_run")}
N, DIM = 9, 3


@functools.cache
def functions(dtype, mode="default", padding=None):
    """W and functions: rows of ids; a step; coalesced rows and sums."""
    W, ids, rate = theano.shared(np.zeros((N, DIM), dtype)), T.lvector("ids"), T.dscalar("rate")
    G = T.matrix("G", dtype=dtype)
    mode = MODES[mode]
    return (
        W,
        theano.function([ids], lookup(W, ids), mode=mode),
        theano.function(
            [ids, G, rate], [], updates=[(W, row_step(W, ids, G, rate, padding))], mode=mode
        ),
        theano.function(
            [ids, G, rate], list(coalesce(W, RowGradient(ids, G, padding), rate)), mode=mode
        ),
    )


@given(
    ids=st.lists(st.integers(0, N - 1), max_size=30),
    dtype=st.sampled_from(["float32", "float64"]),
    mode=st.sampled_from(list(MODES)),
    padding=st.sampled_from([None, 0]),
)
def test_rows_steps_and_sums_are_those_of_numpy(ids, dtype, mode, padding):
    rng, ids = np.random.default_rng(len(ids)), np.array(ids, np.int64)
    W, rows_of, step, summed = functions(dtype, mode, padding)
    start = rng.normal(size=(N, DIM)).astype(dtype)
    G = rng.normal(size=(len(ids), DIM)).astype(dtype)
    W.set_value(start)
    rows = rows_of(ids)
    assert rows.dtype == dtype
    np.testing.assert_array_equal(rows, start[ids])
    named, sums = summed(ids, G, 0.5)
    order = np.argsort(named)
    expected_rows, expected = in_numpy(ids, G, padding)
    np.testing.assert_array_equal(named[order], expected_rows)
    np.testing.assert_allclose(sums[order], expected, rtol=RTOL[dtype], atol=RTOL[dtype])
    step(ids, G, 0.5)
    dense = np.zeros((N, DIM), dtype)
    np.add.at(dense, ids, G)
    if padding is not None:
        dense[padding] = 0
    np.testing.assert_allclose(W.get_value(), start - 0.5 * dense, rtol=1e-4, atol=RTOL[dtype])
    twin = numeric.row_step(start.copy(), ids, G, 0.5, padding)
    np.testing.assert_allclose(W.get_value(), twin, rtol=1e-4, atol=RTOL[dtype])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("ids", "change", "error"),
    [
        ([0, N], {}, "ids: received ids from 0 to 9; allowed: 0 to 8"),
        ([-1, 2], {}, "ids: received ids from -1 to 2; allowed: 0 to 8"),
        ([0], {"rate": 0.0}, "learning_rate: received"),
        ([0], {"rate": -0.5}, "learning_rate: received"),
        ([0], {"rate": np.nan}, "learning_rate: received"),
        ([0], {"rate": np.inf}, "learning_rate: received"),
        ([0], {"G": np.full((1, DIM), np.nan)}, "G: received nan or infinity"),
        ([0, 1], {"G": np.full((2, DIM), np.inf)}, "G: received nan or infinity"),
        ([0, 1], {"G": np.ones((1, DIM))}, "G: received"),
        ([0], {"G": np.ones((1, DIM + 1))}, "G: received"),
        ([4], {"W": np.nan}, "W: received nan or infinity"),
    ],
)
def test_a_refused_step_leaves_w_as_it_was(rng, ids, change, error, mode):
    W, rows_of, step, summed = functions("float64", mode)
    start = rng.normal(size=(N, DIM))
    if "W" in change:
        start[4, 1] = change["W"]
    W.set_value(start)
    G = change.get("G", np.ones((len(ids), DIM)))
    for function in (step, summed):
        with pytest.raises(ValueError, match=error):
            function(np.array(ids), G, change.get("rate", 0.5))
        np.testing.assert_array_equal(W.get_value(), start)
    if error.startswith("ids"):
        with pytest.raises(ValueError, match=error):
            rows_of(np.array(ids))


def test_arguments_of_another_kind_are_refused():
    W, x, ids = theano.shared(np.zeros((N, DIM))), T.dvector("x"), T.lvector("ids")
    with pytest.raises(ValueError, match=r"^ids: received the type float64; allowed: integers"):
        lookup(W, x)
    with pytest.raises(ValueError, match=r"^W: received 1 dimensions"):
        lookup(x, ids)
    with pytest.raises(ValueError, match=r"^G: received 1 dimensions"):
        row_step(W, ids, x, 0.1)
    for rate in (0, -1, np.nan):
        with pytest.raises(ValueError, match=r"^learning_rate: received"):
            row_step(W, ids, T.dmatrix(), rate)
    with pytest.raises(ValueError, match=r"^padding: received -1"):
        row_step(W, ids, T.dmatrix(), 0.1, padding=-1)


@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_matrices_of_ids(rng, dtype):
    start = rng.normal(size=(N, DIM))
    W, ids = theano.shared(start), T.matrix("ids", dtype=dtype)
    rows = lookup(W, ids)
    G = T.grad(T.sum(rows**2), rows)
    step = theano.function([ids], rows, updates=[(W, row_step(W, ids, G, 0.1))])
    named = rng.integers(N, size=(4, 5)).astype(dtype)
    np.testing.assert_array_equal(step(named), start[named])
    expected = start.copy()
    np.add.at(expected, named, -0.1 * 2 * start[named])
    np.testing.assert_allclose(W.get_value(), expected, atol=1e-12)
    with pytest.raises(ValueError, match=r"ids: received"):
        step(named + N)
    np.testing.assert_allclose(W.get_value(), expected, atol=1e-12)


def test_the_gradient_for_the_table_is_that_of_plain_indexing(rng):
    W, ids = T.dmatrix("W"), T.lvector("ids")
    gradients = [T.grad(T.sum(rows**3), W) for rows in (lookup(W, ids), W[ids])]
    ours, plain = theano.function([W, ids], gradients)(
        rng.normal(size=(N, DIM)), np.array([1, 4, 1])
    )
    np.testing.assert_allclose(ours, plain, atol=1e-12)


def test_large_batches_use_all_cores_and_give_the_same(rng):
    W, _, step, summed = functions("float64")
    start, ids = np.zeros((N, 512)), rng.integers(N, size=3000)
    G = rng.normal(size=(3000, 512))
    W.set_value(start)
    step(ids, G, 1.0)
    expected = np.zeros((N, 512))
    np.add.at(expected, ids, -G)
    np.testing.assert_allclose(W.get_value(), expected, atol=1e-10)
    rows, sums = summed(ids, G, 1.0)
    np.testing.assert_allclose(sums, -expected[rows], atol=1e-10)


@pytest.mark.parametrize("format", ["csr", "csc"])
@pytest.mark.parametrize("mode", MODES)
def test_a_sparse_gradient_is_coalesced(rng, format, mode):
    X, G = getattr(sparse, f"{format}_matrix")("X", dtype="float64"), T.dmatrix("G")
    W = theano.shared(rng.normal(size=(N, DIM)))
    outputs = [*coalesce(W, RowGradient(X, G), 0.5), touched(X)]
    function = theano.function([X, G], outputs, mode=MODES[mode])
    matrix = scipy.sparse.random(5, N, 0.3, format=format, random_state=0)
    matrix = getattr(scipy.sparse, f"{format}_matrix")(matrix)
    of = rng.normal(size=(5, DIM))
    rows, sums, ids = function(matrix, of)
    assert sorted(rows) == sorted(set(ids)) == np.unique(matrix.tocoo().col).tolist()
    np.testing.assert_allclose(sums, (matrix.T @ of)[rows], atol=1e-12)
    with pytest.raises(ValueError, match=r"X|column"):
        function(scipy.sparse.random(5, N + 1, 0.9, format=format), of)
    with pytest.raises(ValueError, match=r"G"):
        function(matrix, np.full((5, DIM), np.nan))
    with pytest.raises(ValueError, match=r"^padding: received 0"):
        coalesce(W, RowGradient(X, G, 0), 0.5)


@pytest.mark.skipif(engine != "pytensor", reason="looks at PyTensor's compiled graph")
def test_the_table_is_changed_in_place():
    W, _, step, _ = functions("float64")
    W.set_value(np.zeros((1000, DIM)))
    step(np.array([3]), np.ones((1, DIM)), 0.5)  # its first call may copy what set_value was given
    address = W.get_value(borrow=True).ctypes.data
    step(np.array([3]), np.ones((1, DIM)), 0.5)
    assert W.get_value(borrow=True).ctypes.data == address
    assert W.get_value()[3].tolist() == [-1, -1, -1]
