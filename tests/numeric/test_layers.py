import functools
import re

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st

from rarebook.numeric.layers import (
    BatchNorm,
    Input,
    LayerNorm,
    Projection,
    ReLU,
    Softmax,
    SparseInput,
)
from rarebook.numeric.network import Network
from rarebook.symbolic import layers as symbolic
from support import classifier, scatter, sparse_matrix, twin

TOLERANCE = {"float32": 1e-4, "float64": 1e-12}


@functools.cache
def twins(kind, dtype):
    """One network on both floors, its arrays all different from what they start as."""
    rng = np.random.default_rng(0)
    net = classifier(rng, kind(7, dtype))
    scatter(rng, net)
    return net, twin(net)


@given(
    seed=st.integers(0, 1000),
    n_rows=st.integers(0, 5),
    density=st.sampled_from([0, 0.3, 1]),
    format=st.sampled_from(["csr", "csc", "coo", "lil"]),
    dtype=st.sampled_from(["float32", "float64"]),
    given_dtype=st.sampled_from(["float32", "float64", "int64", "bool"]),
    kind=st.sampled_from(["matrix", "array"]),
)
def test_every_layer_equals_its_symbolic_twin(
    seed, n_rows, density, format, dtype, given_dtype, kind
):
    X = sparse_matrix(np.random.default_rng(seed), (n_rows, 7), density, format, given_dtype, kind)
    csr = X.tocsr()
    for input_kind, forms in [
        (symbolic.SparseInput, [X, (csr.indptr, csr.indices, csr.data)]),
        (symbolic.Input, [X.toarray()]),
    ]:
        net, numbers = twins(input_kind, dtype)
        for layer in range(1, len(net)):
            expected = net.output(forms[0], layer)
            for form in forms:
                value = numbers[layer](form)
                assert value.dtype == dtype and value.shape == expected.shape
                np.testing.assert_allclose(
                    value, expected, rtol=1e3 * TOLERANCE[dtype], atol=1e3 * TOLERANCE[dtype]
                )
        np.testing.assert_array_equal(numbers.predict(forms[-1]), net.predict(forms[0]))


def test_a_row_is_three_short_lists():
    first = SparseInput(4)
    net = Projection(first, np.arange(8).reshape(4, 2), [0, 100])
    assert net(([0, 2], [1, 3], [1, 10])).tolist() == [[2 + 60, 100 + 3 + 70]]
    assert net(([0, 0], [], [])).tolist() == [[0, 100]]
    assert net(([0], [], [])).shape == (0, 2)
    assert net(([0, 3], [1, 1, 1], [1, 1, 1])).tolist() == [[6, 109]]


@pytest.mark.parametrize(
    "X, argument, received",
    [
        (([0, 1], [0]), "X", "a tuple of 2"),
        (([0, 1], [4], [1.0]), "X.indices", "ids from 4 to 4"),
        (([0, 1], [-1], [1.0]), "X.indices", "ids from -1 to -1"),
        (([0, 1], [0.5], [1.0]), "X.indices", "float64 of shape (1,)"),
        (([0, 2], [0], [1.0]), "X.indptr", "2 offsets from [0] to [2]"),
        (([1, 1], [0], [1.0]), "X.indptr", "2 offsets from [1] to [1]"),
        (([0, 1, 0, 1], [0], [1.0]), "X.indptr", "4 offsets"),
        (([], [0], [1.0]), "X.indptr", ""),
        (([0, 1], [0], [1.0, 2.0]), "X.data", "shape (2,)"),
        (([0, 1], [0], [np.nan]), "X.data", "nan or infinity"),
        (([0, 1], [0], [1j]), "X.data", "values of dtype complex128"),
        (np.zeros((1, 4)), "X", "ndarray, which is not sparse"),
        (scipy.sparse.csr_matrix((1, 5)), "X", "a sparse matrix of shape (1, 5)"),
    ],
)
def test_sparse_input_refuses(X, argument, received):
    expected = rf"^{re.escape(argument)}: received {re.escape(received)}.*; allowed: "
    with pytest.raises(ValueError, match=expected):
        SparseInput(4)(X)


def test_input_refuses_sparse_rows():
    for X in (scipy.sparse.csr_matrix((1, 4)), ([0, 1], [0], [1.0])):
        with pytest.raises(ValueError, match=r"^X: received a sparse matrix"):
            Input(4)(X)


@pytest.mark.parametrize(
    "make, argument",
    [
        (lambda: Input(-1), "size"),
        (lambda: Input(3, "float16"), "dtype"),
        (lambda: Projection(Input(3), np.ones((4, 2)), np.ones(2)), "W"),
        (lambda: Projection(Input(3), np.ones((3, 2)), np.ones(3)), "bias"),
        (lambda: Projection(Input(3), np.full((3, 2), np.nan), np.ones(2)), "W"),
        (lambda: BatchNorm(Input(2), [1], [0, 0], [0, 0], [1, 1]), "gamma"),
        (lambda: BatchNorm(Input(2), [1, 1], [0, 0], [0, 0], [1, -1]), "var"),
        (lambda: BatchNorm(Input(2), [1, 1], [0, 0], [0, 0], [1, 1], epsilon=0), "epsilon"),
        (lambda: LayerNorm(Input(2), [1], [0, 0]), "gamma"),
        (lambda: LayerNorm(Input(2), [1, 1], [0, np.inf]), "beta"),
        (lambda: LayerNorm(Input(2), [1, 1], [0, 0], epsilon=0), "epsilon"),
        (lambda: LayerNorm(SparseInput(2), [1, 1], [0, 0]), "prev"),
    ],
)
def test_refuses(make, argument):
    with pytest.raises(ValueError, match=rf"^{argument}: received .*; allowed: "):
        make()


def test_any_layer_of_a_list_can_be_called(rng):
    first = Input(3, "float64")
    project = Projection(first, rng.normal(size=(3, 2)), [0, 0])
    relu = ReLU(project)
    net = Network([first, project, relu])
    X = rng.normal(size=(4, 3))
    np.testing.assert_allclose(net[-2](X), X @ project.W)
    np.testing.assert_array_equal(net[-1](X), np.maximum(net["projection"](X), 0))
    np.testing.assert_array_equal(net.predict_proba(X), net[-1](X))


def test_softmax_is_finite_for_logits_of_any_size():
    z = np.array([[1e4, -1e4], [1e30, 1e30], [0, 0]])
    assert Softmax(Input(2, "float64"))(z).tolist() == [[1, 0], [0.5, 0.5], [0.5, 0.5]]


@given(
    seed=st.integers(0, 1000),
    n_rows=st.integers(0, 4),
    size=st.integers(1, 5),
    dtype=st.sampled_from(["float32", "float64"]),
    scale=st.sampled_from([1e-4, 1, 1e4]),
    epsilon=st.sampled_from([1e-5, 0.3]),
)
def test_layer_norm_is_the_formula_row_by_row(seed, n_rows, size, dtype, scale, epsilon):
    rng = np.random.default_rng(seed)
    X = (scale * rng.normal(size=(n_rows, size))).astype(dtype)
    before = X.copy()
    gamma, beta = rng.normal(size=(2, size)).astype(dtype)
    normal = LayerNorm(Input(size, dtype), gamma, beta, epsilon)(X)
    assert normal.dtype == dtype and normal.shape == X.shape
    tolerance = 1e3 * TOLERANCE[dtype]
    for x, row in zip(X.astype("float64"), normal, strict=True):
        expected = gamma * (x - x.mean()) / np.sqrt(x.var() + epsilon) + beta
        np.testing.assert_allclose(row, expected, rtol=tolerance, atol=tolerance)
    np.testing.assert_array_equal(X, before)


def test_layer_norm_of_a_row_of_equals_is_beta():
    norm = LayerNorm(Input(3, "float32"), [1, 2, 3], [4, 5, 6])
    assert norm([[0, 0, 0], [7, 7, 7], [-1e3] * 3]).tolist() == [[4, 5, 6]] * 3
    assert norm.n_params == 6 and str(norm) == "LayerNorm → 3"


def test_what_is_handed_in_is_not_changed(rng):
    X = sparse_matrix(rng, (3, 7))
    before = X.copy()
    twins(symbolic.SparseInput, "float32")[1].predict(X)
    np.testing.assert_array_equal(X.toarray(), before.toarray())
