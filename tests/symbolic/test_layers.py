import functools
import re

import numpy as np
import pytest
import scipy.sparse
import scipy.special
from hypothesis import given
from hypothesis import strategies as st

from rarebook.backend import T, theano
from rarebook.numeric.layers import Input as NumericInput
from rarebook.numeric.layers import LayerNorm as NumericLayerNorm
from rarebook.symbolic.layers import (
    BatchNorm,
    Input,
    L2Norm,
    Layer,
    LayerNorm,
    Projection,
    ReLU,
    Softmax,
    SparseInput,
)
from rarebook.symbolic.losses import nll
from rarebook.symbolic.network import Network
from support import classifier, scatter, sparse_matrix, twin

RTOL = {"float32": 1e-5, "float64": 1e-12}


@functools.cache
def projection(format, dtype):
    """A network of one projection from 5 columns to 3, its bias not zero."""
    first = SparseInput(5, dtype, format) if format else Input(5, dtype)
    net = Network([first, Projection(first, 3, np.random.default_rng(0))])
    net[-1].bias.set_value(np.array([1, -2, 3], dtype))
    return net


@given(
    seed=st.integers(0, 1000),
    n_rows=st.integers(0, 6),
    density=st.sampled_from([0, 0.3, 1]),
    format=st.sampled_from(["csr", "csc"]),
    dtype=st.sampled_from(["float32", "float64"]),
    given_format=st.sampled_from(["csr", "csc", "coo", "lil"]),
    given_dtype=st.sampled_from(["float32", "float64", "int64", "bool"]),
    kind=st.sampled_from(["matrix", "array"]),
)
def test_projection_of_sparse_rows_is_the_dense_product(
    seed, n_rows, density, format, dtype, given_format, given_dtype, kind
):
    net = projection(format, dtype)
    rng = np.random.default_rng(seed)
    X = sparse_matrix(rng, (n_rows, 5), density, given_format, given_dtype, kind)
    W, bias = (param.get_value() for param in net.params)
    product = net.output(X, batch_size=4)
    assert product.dtype == dtype and product.shape == (n_rows, 3)
    np.testing.assert_allclose(product, X.toarray().astype(dtype) @ W + bias, rtol=RTOL[dtype])


@given(
    seed=st.integers(0, 1000),
    n_rows=st.integers(0, 6),
    dtype=st.sampled_from(["float32", "float64"]),
    given_dtype=st.sampled_from(["float32", "float64", "int64", "bool"]),
)
def test_projection_of_dense_rows(seed, n_rows, dtype, given_dtype):
    net = projection(None, dtype)
    X = np.random.default_rng(seed).normal(size=(n_rows, 5)).astype(given_dtype)
    W, bias = (param.get_value() for param in net.params)
    product = net.output(X, batch_size=4)
    assert product.dtype == dtype
    np.testing.assert_allclose(
        product, X.astype(dtype) @ W + bias, rtol=RTOL[dtype], atol=RTOL[dtype]
    )


@pytest.mark.parametrize("format", ["csr", "csc"])
def test_the_gradient_for_the_weights_is_dense_and_right(rng, format):
    net = projection(format, "float64")
    X = sparse_matrix(rng, (4, 5), 0.4, format, "float64")
    G = rng.normal(size=(4, 3))
    g = T.dmatrix("g")
    grad = T.grad(T.sum(g * net[-1].output), net[-1].W)
    value = theano.function([net[0].output, g], grad)(X, G)
    assert isinstance(value, np.ndarray)
    np.testing.assert_allclose(value, X.toarray().T @ G, rtol=1e-12)


@pytest.mark.parametrize("format", ["csr", "csc"])
def test_a_function_of_ones_own_is_safe_from_bad_indices(rng, format):
    net = projection(format, "float32")
    function = theano.function([net[0].output], net[-1].output)
    X = sparse_matrix(rng, (4, 5), 0.6, format)
    right = function(X)
    X.indices, X.indptr = X.indices.astype(np.int64), X.indptr.astype(np.int64)
    np.testing.assert_array_equal(function(X), right)
    for index in (5, -1, 10**6, 2**40):
        bad = X.copy()
        bad.indices = X.indices.astype(np.int64)
        bad.indices[0] = index
        with pytest.raises(ValueError, match=r"X\.indices: received ids from"):
            function(bad)
    with pytest.raises(ValueError, match="which is not sparse"):
        function(X.toarray())
    with pytest.raises(ValueError, match=re.escape("received a sparse matrix of shape (4, 4)")):
        function(X[:, :4])


def test_each_input_takes_its_own_kind_of_rows(rng):
    X = sparse_matrix(rng, (2, 5))
    with pytest.raises(ValueError, match=r"pass scipy.sparse.csr_matrix\(X\)"):
        projection("csr", "float32").predict(X.toarray())
    with pytest.raises(ValueError, match=r"pass X.toarray\(\)"):
        projection(None, "float32").predict(X)


@pytest.mark.parametrize(
    "make, argument",
    [
        (lambda rng: Input(0), "size"),
        (lambda rng: Input(2.5), "size"),
        (lambda rng: Input(3, "int32"), "dtype"),
        (lambda rng: SparseInput(3, format="coo"), "format"),
        (lambda rng: Projection(Input(3), 0, rng), "num_units"),
        (lambda rng: Projection(Input(3), 2, 0), "rng"),
        (lambda rng: BatchNorm(Input(3), momentum=1), "momentum"),
        (lambda rng: BatchNorm(Input(3), momentum=-0.1), "momentum"),
        (lambda rng: BatchNorm(Input(3), epsilon=0), "epsilon"),
        (lambda rng: LayerNorm(Input(3), epsilon=0), "epsilon"),
        (lambda rng: LayerNorm(Input(3), epsilon=np.nan), "epsilon"),
        (lambda rng: LayerNorm(SparseInput(3)), "prev"),
        (lambda rng: projection(None, "float32").output(np.zeros((1, 5)), 0), "layer"),
        (
            lambda rng: projection(None, "float32").output(np.zeros((1, 5)), batch_size=0),
            "batch_size",
        ),
    ],
)
def test_refuses(rng, make, argument):
    with pytest.raises(ValueError, match=rf"^{argument}: received .*; allowed: "):
        make(rng)


def test_glorot_range(rng):
    W = Projection(Input(40), 20, rng).W.get_value()
    assert W.dtype == np.float32
    assert 0.95 < np.abs(W).max() / np.sqrt(6 / 60) <= 1 and abs(W.mean()) < 0.02


@pytest.fixture(scope="module")
def norm():
    first = Input(3, "float64")
    layer = BatchNorm(first, momentum=0.8, epsilon=1e-3)
    scatter(np.random.default_rng(1), Network([first, layer]))
    train = theano.function(
        [first.output],
        layer.train_output,
        updates=list(zip(layer.state, layer.new_state(), strict=True)),
    )
    return layer, train


def test_batch_norm_in_training_and_in_prediction(rng, norm):
    layer, train = norm
    gamma, beta, mean, var = (
        v.get_value() for v in (layer.gamma, layer.beta, layer.mean, layer.var)
    )
    for X in (rng.normal(2, 3, size=(7, 3)), np.zeros((4, 3)), rng.normal(size=(1, 3))):
        expected = gamma * (X - X.mean(0)) / np.sqrt(X.var(0) + 1e-3) + beta
        np.testing.assert_allclose(train(X), expected, rtol=1e-10)
        mean, var = 0.8 * mean + 0.2 * X.mean(0), 0.8 * var + 0.2 * X.var(0)
        np.testing.assert_allclose(layer.mean.get_value(), mean, rtol=1e-12)
        np.testing.assert_allclose(layer.var.get_value(), var, rtol=1e-12)
    X = rng.normal(size=(5, 3))
    predicted = Network([layer.prev, layer]).output(X)
    np.testing.assert_allclose(
        predicted, gamma * (X - mean) / np.sqrt(var + 1e-3) + beta, rtol=1e-10
    )


def test_layer_norm_looks_at_each_row_alone(rng):
    first = Input(3)
    layer = LayerNorm(first, epsilon=1e-3)
    layer.gamma.set_value(np.array([1, 2, -0.5], "float32"))
    layer.beta.set_value(np.array([0, -3, 1], "float32"))
    layer_norm = Network([first, layer])
    X = rng.normal(2, 3, size=(7, 3)).astype("float32")
    X[1], X[2], X[3], X[4] = 0, 7.25, 1e4 * X[4], 1e-4 * X[4]
    mean, var = X.mean(axis=1, keepdims=True), X.var(axis=1, keepdims=True, dtype="float64")
    expected = np.array([1, 2, -0.5]) * (X - mean) / np.sqrt(var + 1e-3) + np.array([0, -3, 1])
    normal = layer_norm.output(X)
    np.testing.assert_allclose(normal, expected, rtol=1e-5, atol=1e-4)
    np.testing.assert_array_equal(normal[1:3], [[0, -3, 1]] * 2)
    np.testing.assert_array_equal(layer_norm.output(X[3:4]), normal[3:4])
    arrays = {"gamma": layer.gamma.get_value(), "beta": layer.beta.get_value()}
    numeric = NumericLayerNorm(NumericInput(3), **arrays, epsilon=1e-3)(X)
    assert normal.dtype == numeric.dtype == np.float32
    np.testing.assert_allclose(normal, numeric, rtol=1e-5, atol=1e-5)
    assert layer_norm.output(X[:0]).shape == (0, 3)


def test_where_layer_norm_starts():
    layer = LayerNorm(Input(4))
    assert (layer.gamma.get_value() == 1).all() and not layer.beta.get_value().any()
    assert layer.epsilon == 1e-5 and layer.gamma.get_value().dtype == np.float32
    assert layer.state == () and layer.new_state() == []
    assert layer.params == (layer.gamma, layer.beta) and layer.n_params == 8
    other = LayerNorm(Input(4), epsilon=1e-3)
    assert other.config() != layer.config() == LayerNorm(Input(4)).config()


def test_the_gradient_of_layer_norm(rng):
    """For x it is at right angles to 1 and, but for ε, to x; and finite for a row of equals."""
    first = Input(4, "float64")
    layer = LayerNorm(first)
    weights = rng.normal(size=(3, 4))
    cost = T.sum(layer.train_output * weights)
    f = theano.function([first.output], [cost, *T.grad(cost, [first.output, *layer.params])])
    x = rng.normal(size=(3, 4))
    x[1] = 2
    _, slope, of_gamma, of_beta = f(x)
    np.testing.assert_allclose(of_beta, weights.sum(axis=0), rtol=1e-10)
    centred = x - x.mean(axis=1, keepdims=True)
    scale = np.sqrt((centred**2).mean(axis=1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(of_gamma, (weights * centred / scale).sum(axis=0), rtol=1e-10)
    np.testing.assert_allclose(slope.sum(axis=1), 0, atol=1e-8)
    for position in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[position] = 1e-6
        expected = (f(x + step)[0] - f(x - step)[0]) / 2e-6
        np.testing.assert_allclose(slope[position], expected, rtol=1e-5, atol=1e-6)


def test_relu_has_derivative_zero_at_zero():
    first = Input(3, "float64")
    relu = ReLU(first)
    f = theano.function([first.output], [relu.output, T.grad(T.sum(relu.output), first.output)])
    value, slope = f(np.array([[-1.0, 0.0, 2.0]]))
    assert value.tolist() == [[0, 0, 2]] and slope.tolist() == [[0, 0, 1]]


def test_softmax_is_finite_for_logits_of_any_size(rng):
    first = Input(4, "float32")
    net = Network([first, Softmax(first)])
    z = rng.normal(size=(6, 4)) * np.array([[1], [10], [100], [1e3], [1e4], [1e30]])
    p = net.predict_proba(z)
    np.testing.assert_allclose(p, scipy.special.softmax(z.astype("float32"), axis=1), rtol=1e-5)
    np.testing.assert_array_equal(net.predict(z), z.argmax(axis=1))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_l2_norm_gives_rows_of_length_one(rng, dtype):
    first = Input(4, dtype)
    net = Network([first, L2Norm(first)])
    X = rng.normal(size=(5, 4)) * np.array([[1], [1e-30], [1e30], [0], [1e-3]])
    unit = net.output(X)
    assert unit.dtype == dtype
    np.testing.assert_allclose(np.linalg.norm(unit.astype("float64"), axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(unit[3], 0.5)
    cosine = (unit * X).sum(axis=1) / np.maximum(np.linalg.norm(X, axis=1), 1e-300)
    np.testing.assert_allclose(cosine[[0, 1, 2, 4]], 1, rtol=1e-6)
    np.testing.assert_allclose(twin(net)[-1](X), unit, rtol=1e-6)


def test_the_gradient_of_l2_norm(rng):
    first = Input(3, "float64")
    unit, weights = L2Norm(first).output, rng.normal(size=(3, 3))
    slope = theano.function([first.output], T.grad(T.sum(unit * weights), first.output))
    x = rng.normal(size=(3, 3)) * np.array([[1], [100], [0]])
    length = np.linalg.norm(x, axis=1, keepdims=True)[:2]
    u, w = x[:2] / length, weights[:2]
    expected = (w - u * (u * w).sum(axis=1, keepdims=True)) / length
    np.testing.assert_allclose(slope(x), [*expected, np.zeros(3)], rtol=1e-10)


@pytest.mark.parametrize("kind", [Input, SparseInput])
def test_gradients_agree_with_finite_differences(rng, kind):
    net = classifier(rng, kind(5, "float64"))
    scatter(rng, net)
    y = T.lvector("y")
    loss = nll(net[-2].train_output, y)
    f = theano.function([net[0].output, y], [loss, *T.grad(loss, net.params)])
    X, labels = sparse_matrix(rng, (6, 5), 0.5, dtype="float64"), rng.integers(3, size=6)
    X = X if kind is SparseInput else X.toarray()
    _, *grads = f(X, labels)
    for param, grad in zip(net.params, grads, strict=True):
        start = param.get_value()
        assert grad.shape == start.shape
        for position in np.ndindex(start.shape):
            step = np.zeros_like(start)
            step[position] = 1e-6
            param.set_value(start + step)
            above = f(X, labels)[0]
            param.set_value(start - step)
            slope = (above - f(X, labels)[0]) / 2e-6
            param.set_value(start)
            assert abs(slope - grad[position]) < 1e-7 + 1e-5 * abs(slope)


def test_a_layer_of_ones_own_is_a_few_lines(rng):
    class Square(Layer):
        def expression(self, x, training):
            return x**2

    first = Input(2, "float64")
    square = Square(first)
    net = Network([first, square, Projection(square, 1, rng)])
    W, bias = (param.get_value() for param in net.params)
    X = np.array([[1.0, 3.0]])
    np.testing.assert_allclose(net.output(X), X**2 @ W + bias, rtol=1e-12)


def test_float32_stays_float32_and_float64_float64(rng):
    for dtype in ("float32", "float64"):
        net = classifier(rng, SparseInput(5, dtype))
        y = T.lvector("y")
        loss = nll(net[-2].train_output, y)
        expressions = [layer.output for layer in net] + [layer.train_output for layer in net]
        expressions += [loss, *T.grad(loss, net.params), *net[2].new_state()]
        assert {expression.dtype for expression in expressions} == {dtype}


def test_an_empty_batch_and_an_empty_matrix(rng):
    net = classifier(rng, SparseInput(5))
    assert net.predict(scipy.sparse.csr_matrix((0, 5))).shape == (0,)
    p = net.predict_proba(scipy.sparse.csr_matrix((2, 5)))
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-6)
