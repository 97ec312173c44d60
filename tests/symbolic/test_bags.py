"""Every way to take the vector of a bag: one value and one gradient, on both floors."""

import functools

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st

from rarebook.backend import T, theano
from rarebook.numeric import bags as numeric
from rarebook.numeric.optimizers import SGD
from rarebook.numeric.sparse_ops import sparse_dot as in_numpy
from rarebook.sequences import flatten_sequences, pad_sequences
from rarebook.symbolic.bags import (
    averaging_matrix,
    embedding_bag,
    flat_bag,
    flat_matrix,
    masked_bag,
)
from rarebook.symbolic.sparse_ops import row_sparse_step, sparse_dot

N, DIM = 11, 3
MODES = {"default": None, "perform": theano.compile.Mode(linker="py", optimizer="fast_run")}
KINDS = [("mean", False), ("mean", True), ("sum", False), ("sum", True), ("max", False)]
RTOL = {"float32": 1e-4, "float64": 1e-10}


@functools.cache
def ways(mode, weighted, dtype="float64", linker="default"):
    """(W, ids, flat, offsets, weights, flat weights, G) → each way's value, then its gradient."""
    W, G, weights = (T.matrix(name, dtype=dtype) for name in ("W", "G", "weights"))
    ids, flat, offsets = T.lmatrix("ids"), T.lvector("flat"), T.lvector("offsets")
    of_flat = T.vector("of_flat", dtype=dtype)
    given = weights if weighted else None
    values = [
        masked_bag(W, ids, given, mode),
        embedding_bag(W, ids, given, mode),
        flat_bag(W, flat, offsets, of_flat if weighted else None, mode),
    ]
    if mode != "max":
        values.append(sparse_dot(averaging_matrix(ids, N, given, mode, dtype=dtype), W))
    gradients = [T.grad(T.sum(value * G), W) for value in values]
    for_weights = [T.grad(T.sum(h * G), weights) for h in values[:2]] if weighted else []
    return theano.function(
        [W, ids, flat, offsets, weights, of_flat, G],
        [*values, *gradients, *for_weights],
        mode=MODES[linker],
        on_unused_input="ignore",
    )


def by_hand(W, sequences, weights, mode):
    """One bag after another."""
    out = np.zeros((len(sequences), W.shape[1]), W.dtype)
    for i, (ids, of_ids) in enumerate(zip(sequences, weights, strict=True)):
        rows = W[np.array(ids, int)]
        if len(ids) and mode == "max":
            out[i] = rows.max(axis=0)
        elif mode == "sum":
            out[i] = of_ids @ rows
        elif sum(of_ids) > 0:
            out[i] = of_ids @ rows / sum(of_ids)
    return out


def check(sequences, mode, weighted, dtype="float64", linker="default", seed=0):
    rng = np.random.default_rng(seed)
    W = rng.normal(size=(N, DIM)).astype(dtype)
    G = rng.normal(size=(len(sequences), DIM)).astype(dtype)
    ids, (flat, offsets) = pad_sequences(sequences), flatten_sequences(sequences)
    of_flat = rng.integers(0, 4, size=len(flat)).astype(dtype) if weighted else np.ones(len(flat))
    weights = np.zeros(ids.shape, dtype)
    weights[ids != 0] = of_flat
    parts = np.split(of_flat, offsets[1:-1])
    expected = by_hand(W, sequences, parts, mode)
    results = ways(mode, weighted, dtype, linker)(
        W, ids, flat, offsets, weights, of_flat.astype(dtype), G
    )
    n = 3 if mode == "max" else 4
    values, gradients, for_weights = results[:n], results[n : 2 * n], results[2 * n :]
    close = functools.partial(np.testing.assert_allclose, rtol=RTOL[dtype], atol=RTOL[dtype])
    given = (weights, of_flat) if weighted else (None, None)
    for value in values:
        assert value.dtype == dtype and value.shape == expected.shape
        close(value, expected)
    close(numeric.masked_bag(W, ids, given[0], mode), expected)
    close(numeric.embedding_bag(W, ids, given[0], mode), expected)
    close(numeric.flat_bag(W, flat, offsets, given[1], mode), expected)
    if mode != "max":
        close(in_numpy(numeric.averaging_matrix(ids, N, given[0], mode, dtype=dtype), W), expected)
    twin = np.zeros_like(W)
    SGD().step(twin, {}, numeric.bag_gradient(W, ids, G, given[0], mode), 1.0)
    for gradient in gradients:
        close(gradient, -twin)
        assert not gradient[0].any()
    if weighted:
        close(*for_weights)
    return W, ids, G, weights, gradients[0], for_weights


@pytest.mark.parametrize("mode, weighted", KINDS)
@settings(max_examples=25)
@given(
    sequences=st.lists(st.lists(st.integers(1, N - 1), max_size=9), min_size=1, max_size=6),
    single=st.booleans(),
)
def test_all_ways_agree(mode, weighted, sequences, single):
    # Each type is compiled for anew, so not each with every mode.
    dtype = "float32" if single and (mode, weighted) == ("mean", False) else "float64"
    check(sequences, mode, weighted, dtype, seed=len(sequences))


@pytest.mark.parametrize("mode, weighted", KINDS)
@pytest.mark.parametrize(
    "sequences",
    [
        [[]],
        [[], [], []],
        [[5]],
        [[5, 5, 5]],
        [[1, 2, 3, 4, 5, 6, 7, 8, 9]],
        [[], [3], [], [1, 2, 1, 10]],
    ],
    ids=str,
)
def test_special_bags(mode, weighted, sequences):
    check(sequences, mode, weighted)


@pytest.mark.parametrize("mode, weighted", [("mean", True), ("max", False)])
def test_the_same_without_a_compiler(mode, weighted):
    check([[], [3], [1, 2, 1, 10]], mode, weighted, linker="perform")


@pytest.mark.parametrize("mode, weighted", KINDS)
def test_gradients_agree_with_finite_differences(rng, mode, weighted):
    W, ids, G, weights, for_W, for_weights = check([[1, 2, 2], [4], [], [9, 3]], mode, weighted)

    def loss(W, weights):
        value = numeric.masked_bag(W, ids, weights if weighted else None, mode)
        return (value * G).sum()

    step = 1e-6 * rng.normal(size=W.shape)
    slope = loss(W + step, weights) - loss(W - step, weights)
    np.testing.assert_allclose(slope / 2, (for_W * step).sum(), rtol=1e-5, atol=1e-13)
    if weighted:
        step = 1e-6 * rng.normal(size=ids.shape) * (weights > 0)
        slope = loss(W, weights + step) - loss(W, weights - step)
        np.testing.assert_allclose(slope / 2, (for_weights[0] * step).sum(), rtol=1e-5, atol=1e-13)


def test_padding_may_stand_anywhere_or_not_at_all(rng):
    W, ids = theano.shared(rng.normal(size=(N, DIM))), T.lmatrix("ids")
    outputs = [embedding_bag(W, ids), embedding_bag(W, ids, padding=None)]
    masked = [masked_bag(W, ids), masked_bag(W, ids, padding=None)]
    function = theano.function([ids], outputs + masked)
    with_gaps, everything, *others = function(np.array([[0, 3, 0, 5], [0, 0, 0, 7]]))
    value = W.get_value()
    np.testing.assert_allclose(with_gaps, [(value[3] + value[5]) / 2, value[7]], atol=1e-12)
    np.testing.assert_allclose(everything[1], (3 * value[0] + value[7]) / 4, atol=1e-12)
    np.testing.assert_allclose(others, [with_gaps, everything], atol=1e-12)
    for ids, expected in [([[0, 3, 0, 5]], with_gaps[:1]), ([[3, 5, 0]], with_gaps[:1])]:
        np.testing.assert_allclose(numeric.embedding_bag(value, ids), expected, atol=1e-12)
    np.testing.assert_allclose(
        numeric.masked_bag(value, [[0, 3, 0, 5]], padding=None), everything[:1], atol=1e-12
    )


def test_the_row_of_the_padding_is_never_read(rng):
    W = rng.normal(size=(N, DIM))
    W[0] = np.nan
    for mode, weighted in KINDS[::2]:
        *values, _, _, _ = ways(mode, weighted)(
            W, np.array([[1, 0]]), np.array([1]), np.array([0, 1]), np.ones((1, 2)), np.ones(1),
            np.ones((1, DIM)),
        )  # fmt: skip
        for value in values:
            if value.shape == (1, DIM):
                np.testing.assert_array_equal(value, W[1:2])
        np.testing.assert_array_equal(numeric.masked_bag(W, [[1, 0]], mode=mode), W[1:2])


def test_the_row_step_is_the_dense_step_without_its_cost(rng):
    start, ids, G = rng.normal(size=(N, DIM)), T.lmatrix("ids"), T.dmatrix("G")
    W = theano.shared(start)
    h = embedding_bag(W, ids)
    matrix = averaging_matrix(ids, N, dtype="float64")
    step = theano.function(
        [ids, G],
        T.grad(T.sum(h * G), W),
        updates=[(W, row_sparse_step(W, matrix, T.grad(T.sum(h * G), h), 0.5))],
    )
    gradient = step(np.array([[1, 2, 0], [2, 2, 9]]), rng.normal(size=(2, DIM)))
    np.testing.assert_allclose(W.get_value(), start - 0.5 * gradient, atol=1e-12)
    np.testing.assert_array_equal(W.get_value()[[0, 3, 4]], start[[0, 3, 4]])


def test_large_batches_use_all_cores_and_give_the_same(rng):
    W = rng.normal(size=(N, 64))
    ids = rng.integers(0, N, size=(2000, 10))
    expected = numeric.masked_bag(W, ids)
    table, symbol = theano.shared(W), T.lmatrix("ids")
    value = theano.function([symbol], embedding_bag(table, symbol))(ids)
    np.testing.assert_allclose(value, expected, atol=1e-12)


@pytest.mark.parametrize("mode, weighted", KINDS)
def test_ids_outside_the_table_are_refused(mode, weighted):
    function = ways(mode, weighted)
    good = np.array([[1, 2]]), np.array([1, 2])
    for bad in (N, -1, 2**40):
        for ids, flat in [(np.array([[1, bad]]), good[1]), (good[0], np.array([1, bad]))]:
            with pytest.raises(ValueError, match=r"ids: received ids from .*; allowed: 0 to 10"):
                function(
                    np.ones((N, DIM)), ids, flat, np.array([0, 2]), np.ones((1, 2)), np.ones(2),
                    np.ones((1, DIM)),
                )  # fmt: skip
        for way in (numeric.masked_bag, numeric.embedding_bag):
            with pytest.raises(ValueError, match=r"^ids: received"):
                way(np.ones((N, DIM)), [[1, bad]], mode=mode)


@pytest.mark.parametrize("offsets", [[0], [1, 2], [0, 3], [0, 2, 1, 2], []])
def test_offsets_that_do_not_fit_are_refused(offsets):
    for mode, weighted in KINDS:
        with pytest.raises(ValueError, match="offsets"):
            ways(mode, weighted)(
                np.ones((N, DIM)), np.array([[1, 2]]), np.array([1, 2]), np.array(offsets, int),
                np.ones((1, 2)), np.ones(2), np.ones((1, DIM)),
            )  # fmt: skip
    with pytest.raises(ValueError, match=r"^offsets: received"):
        numeric.flat_bag(np.ones((N, DIM)), [1, 2], offsets)


def test_weights_that_are_none_are_refused(rng):
    W, ids = np.ones((N, DIM)), np.array([[1, 2]])
    for weights in (np.array([[1.0, -1.0]]), np.array([[1.0, np.nan]]), np.ones((1, 3))):
        for way in (numeric.masked_bag, numeric.embedding_bag):
            with pytest.raises(ValueError, match=r"^weights: received .*; allowed: "):
                way(W, ids, weights)
        with pytest.raises((ValueError, AssertionError)):
            flat = weights.ravel()[:2].copy()
            ways("mean", True)(W, ids, ids[0], np.array([0, 2]), weights, flat, np.ones((1, DIM)))
    table, symbol, given = theano.shared(W), T.lmatrix("ids"), T.dmatrix("weights")
    fused = theano.function([symbol, given], embedding_bag(table, symbol, given))
    for weights in ([[1.0, -1.0]], [[1.0, np.nan]], [[1.0, 1.0, 1.0]]):
        with pytest.raises(ValueError, match="weights: received"):
            fused(ids, np.array(weights))
    np.testing.assert_allclose(fused(ids, np.zeros((1, 2))), np.zeros((1, DIM)))


def test_arguments_of_another_kind_are_refused():
    W, ids, flat, x = theano.shared(np.ones((N, DIM))), T.lmatrix(), T.lvector(), T.dmatrix()
    for call, argument in [
        (lambda: embedding_bag(W, x), "ids"),
        (lambda: embedding_bag(W, flat), "ids"),
        (lambda: embedding_bag(flat, ids), "W"),
        (lambda: embedding_bag(W, ids, mode="min"), "mode"),
        (lambda: masked_bag(W, ids, x, mode="max"), "weights"),
        (lambda: masked_bag(W, ids, T.dvector()), "weights"),
        (lambda: flat_bag(W, ids, flat), "ids, offsets"),
        (lambda: averaging_matrix(ids, N, mode="max"), "mode"),
        (lambda: averaging_matrix(flat, N), "ids"),
        (lambda: averaging_matrix(ids, N, dtype="int64"), "dtype"),
        (lambda: flat_matrix(flat, flat, N, mode="max"), "mode"),
        (lambda: embedding_bag(W, ids, padding=-2), "padding"),
        (lambda: numeric.masked_bag(np.ones(3), [[1]]), "W"),
        (lambda: numeric.masked_bag(np.ones((3, 2)), [1]), "ids"),
        (lambda: numeric.embedding_bag(np.ones((3, 2)), [[1], [1, 2]]), "ids"),
        (lambda: numeric.embedding_bag(np.ones((3, 2)), [[0.5]]), "ids"),
        (lambda: numeric.masked_bag(np.ones((3, 2)), [[1]], mode="min"), "mode"),
        (lambda: numeric.averaging_matrix([[1]], 3, mode="max"), "mode"),
        (lambda: numeric.bag_gradient(np.ones((3, 2)), [[1]], [[1.0]]), "G"),
    ]:
        with pytest.raises(ValueError, match=rf"^{argument}: received .*; allowed: "):
            call()


def test_scipy_takes_the_arrays_of_the_averaging_matrix(rng):
    W, ids = rng.normal(size=(N, DIM)), np.array([[1, 2, 0], [0, 0, 0], [3, 0, 3]])
    indptr, indices, factors = numeric.averaging_matrix(ids, N, dtype="float64")
    matrix = scipy.sparse.csr_matrix((factors, indices, indptr), shape=(3, N))
    np.testing.assert_allclose(matrix @ W, numeric.masked_bag(W, ids), atol=1e-12)
