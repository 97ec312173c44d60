"""Convolution, pooling and dropout: against plain loops, finite differences and the NumPy twin."""

import functools

import numpy as np
import pytest

from rarebook.backend import T, theano
from rarebook.numeric import convolution as numeric
from rarebook.numeric import layers as numeric_layers
from rarebook.numeric.network import Network as NumericNetwork
from rarebook.symbolic.convolution import (
    Convolution,
    Convolve,
    ConvolveWeights,
    Dropout,
    Flatten,
    ImageInput,
    MaxPool,
    Pool,
)
from rarebook.symbolic.layers import BatchNorm, Input, Projection, ReLU
from rarebook.symbolic.network import Network
from support import scatter

RTOL = {"float32": 1e-5, "float64": 1e-12}
SHAPES = [(2, 4, 5, 3, 4), (1, 1, 1, 1, 1), (3, 1, 4, 2, 1), (0, 3, 3, 1, 2), (40, 28, 28, 1, 3)]


def by_hand(X, W):
    """One pixel after another."""
    B, H, L, _ = X.shape
    out = np.zeros((B, H, L, W.shape[3]))
    for y in range(H):
        for x in range(L):
            for i in range(3):
                for j in range(3):
                    if 0 <= y + i - 1 < H and 0 <= x + j - 1 < L:
                        out[:, y, x] += X[:, y + i - 1, x + j - 1].astype(float) @ W[i, j]
    return out


@functools.cache
def ops(dtype):
    """(X, W, G) → the convolution, its gradients for X and for W."""
    X, W, G = (T.tensor4(name, dtype=dtype) for name in "XWG")
    value = Convolve()(X, W)
    return theano.function([X, W, G], [value, *T.grad(T.sum(value * G), [X, W])])


def arrays(rng, shape, dtype):
    B, H, L, C, F = shape
    return [
        rng.normal(size=size).astype(dtype) for size in ((B, H, L, C), (3, 3, C, F), (B, H, L, F))
    ]


@pytest.mark.parametrize("dtype", RTOL)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_convolution_and_its_gradients(rng, shape, dtype):
    X, W, G = arrays(rng, shape, dtype)
    value, for_X, for_W = ops(dtype)(X, W, G)
    expected = by_hand(X, W)
    close = functools.partial(np.testing.assert_allclose, rtol=0)
    assert value.dtype == for_X.dtype == for_W.dtype == dtype
    close(value, expected, atol=10 * RTOL[dtype])
    close(numeric.convolve(X, W), expected, atol=10 * RTOL[dtype])
    # It is linear in X and in W: ⟨G, X * W⟩ = ⟨for X, X⟩ = ⟨for W, W⟩, for any X and W.
    other, of_other, _ = arrays(rng, shape, dtype)
    scale = 10 * RTOL[dtype] * (1 + np.sqrt(G.size * X.shape[3]))
    close((for_X * other).sum(), (G * by_hand(other, W)).sum(), atol=10 * scale)
    close((for_W * of_other).sum(), (G * by_hand(X, of_other)).sum(), atol=10 * scale)


def test_the_same_without_a_compiler(rng):
    X, W, G = (T.tensor4(name, dtype="float64") for name in "XWG")
    value, pool = Convolve()(X, W), Pool()(X)
    expressions = [value, *T.grad(T.sum(value * G), [X, W]), pool, T.grad(T.sum(pool**2), X)]
    given = arrays(rng, (3, 5, 6, 2, 4), "float64")
    results = [
        theano.function([X, W, G], expressions, mode=mode)(*given)
        for mode in (None, theano.compile.Mode(linker="py", optimizer="fast_run"))
    ]
    for fast, slow in zip(*results, strict=True):
        np.testing.assert_allclose(fast, slow, rtol=1e-12, atol=1e-12)
    plain = Convolve().plain(*given[:2])
    np.testing.assert_allclose(plain, results[0][0], rtol=1e-12, atol=1e-12)
    for_W = ConvolveWeights().plain(given[0], given[2])
    np.testing.assert_allclose(for_W, results[0][2], rtol=1e-12, atol=1e-12)
    gradient = (
        Pool()
        .pullback([X], [pool], [G])[0]
        .owner.op.plain(given[0], results[0][3], 2 * results[0][3])
    )
    np.testing.assert_allclose(gradient, results[0][4], rtol=1e-12, atol=1e-12)


def test_operands_that_do_not_fit_are_refused(rng):
    X, W, G = arrays(rng, (2, 4, 4, 3, 5), "float32")
    for bad in (W[:2], W[:, :2], W[:, :, :2]):
        with pytest.raises(ValueError, match=r"^W: received"):
            ops("float32")(X, bad, G)
    x, g = T.ftensor4(), T.ftensor4()
    function = theano.function([x, g], ConvolveWeights()(x, g))
    for bad in (G[:1], G[:, :3], G[:, :, :3]):
        with pytest.raises(ValueError, match=r"^G: received"):
            function(X, bad)


@pytest.mark.parametrize("size", [(2, 2), (4, 6), (5, 7), (28, 28)], ids=str)
def test_pooling_sends_the_gradient_to_the_first_of_the_largest(rng, size):
    X = rng.integers(0, 3, size=(3, *size, 2)).astype("float64")  # many ties
    x, g = T.dtensor4(), T.dtensor4()
    value = Pool()(x)
    H, L = size[0] // 2, size[1] // 2
    G = rng.normal(size=(3, H, L, 2))
    pooled, gradient = theano.function([x, g], [value, T.grad(T.sum(value * g), x)])(X, G)
    expected = np.zeros_like(X)
    for b, y, z, c in np.ndindex(3, H, L, 2):
        block = X[b, 2 * y : 2 * y + 2, 2 * z : 2 * z + 2, c]
        assert pooled[b, y, z, c] == block.max()
        first = np.unravel_index(block.argmax(), (2, 2))
        expected[b, 2 * y + first[0], 2 * z + first[1], c] = G[b, y, z, c]
    np.testing.assert_array_equal(gradient, expected)


def controller(rng, dtype, size=(9, 6), channels=1):
    """Twice convolution, norm, ReLU and pooling; then a projection with dropout."""
    layers = [ImageInput(*size, channels, dtype)]
    for n_filters in (3, 4):
        layers.append(Convolution(layers[-1], n_filters, rng))
        layers += [norm := BatchNorm(layers[-1]), relu := ReLU(norm)]
        layers.append(MaxPool(relu))
    layers.append(Flatten(layers[-1]))
    layers.append(Projection(layers[-1], 5, rng))
    layers.append(Dropout(layers[-1], 0.4))
    net = Network(layers)
    scatter(rng, net)
    for variable in net.params:
        variable.set_value(variable.get_value() - np.ones(1, dtype)[0])
    return net


def twin(net):
    """The NumPy network with the layers and the arrays of a Theano one."""
    names = {"BatchNorm": ("gamma", "beta", "mean", "var")}
    layers = [numeric.ImageInput(*net[0].shape, dtype=net[0].dtype)]
    for layer in net[1:]:
        kind = type(layer).__name__
        make = getattr(numeric, kind, None) or getattr(numeric_layers, kind)
        kept = names.get(kind, ("W", "bias") if layer.params else ())
        given = {name: getattr(layer, name).get_value() for name in kept}
        if kind == "Dropout":
            given["rate"] = layer.rate
        layers.append(make(layers[-1], **given))
    return NumericNetwork(layers)


@pytest.mark.parametrize("dtype", RTOL)
@pytest.mark.parametrize("channels", [1, 2])
def test_every_layer_equals_its_numeric_twin(rng, dtype, channels):
    net = controller(rng, dtype, channels=channels)
    numbers = twin(net)
    X = rng.normal(size=(7, 9, 6, channels))
    function = theano.function([net[0].output], [layer.output for layer in net[1:]])
    outputs = function(net[0].rows(X))
    for layer, other, expected in zip(net[1:], numbers[1:], outputs, strict=True):
        value = other(X)
        assert value.dtype == expected.dtype == dtype and value.shape == expected.shape
        assert value.shape[1:] == (layer.shape or (layer.size,)) and layer.shape == other.shape
        np.testing.assert_allclose(
            value, expected, rtol=RTOL[dtype], atol=RTOL[dtype] * np.abs(expected).max()
        )
    np.testing.assert_allclose(net.output(X, 2), outputs[1], atol=RTOL[dtype] * 10)
    assert numbers.n_params == net.n_params
    np.testing.assert_array_equal(numbers[-1](X), numbers[-2](X))
    if channels == 1:
        np.testing.assert_array_equal(net.output(X[..., 0]), net.output(X))
        parts = net.output(X[..., 0], batch_size=3)
        np.testing.assert_allclose(parts, net.output(X), rtol=0, atol=100 * RTOL[dtype])
        np.testing.assert_array_equal(numbers[-1](X[..., 0]), numbers[-1](X))


def test_gradients_agree_with_finite_differences(rng):
    net = controller(rng, "float64")
    (mask,) = net[-1].train_inputs
    loss = T.sum(T.sqr(net[-1].train_output))
    f = theano.function([net[0].output, mask], [loss, *T.grad(loss, net.params)])
    X = net[0].rows(rng.normal(size=(4, 9, 6)))
    m = net[-1].draw(rng, 4)[0]
    _, *grads = f(X, m)
    for param, grad in zip(net.params, grads, strict=True):
        start = param.get_value()
        assert grad.shape == start.shape
        for position in rng.permutation(list(np.ndindex(start.shape)))[:12]:
            step = np.zeros_like(start)
            step[tuple(position)] = 1e-6
            param.set_value(start + step)
            above = f(X, m)[0]
            param.set_value(start - step)
            slope = (above - f(X, m)[0]) / 2e-6
            param.set_value(start)
            assert abs(slope - grad[tuple(position)]) < 1e-5 * (1 + abs(slope))


def test_float32_stays_float32(rng):
    net = controller(rng, "float32")
    loss = T.sum(net[-1].train_output)
    expressions = [layer.output for layer in net] + [layer.train_output for layer in net]
    expressions += [loss, *T.grad(loss, net.params)]
    expressions += [new for layer in net for new in layer.new_state()]
    assert {expression.dtype for expression in expressions} == {"float32"}


def test_batch_norm_of_images_is_that_of_their_pixels(rng):
    first = ImageInput(3, 4, 2, "float64")
    norm = BatchNorm(first, momentum=0.75, epsilon=1e-3)
    scatter(rng, Network([first, norm]))
    gamma, beta, mean, var = (variable.get_value() for variable in (*norm.params, *norm.state))
    X = rng.normal(2, 3, size=(5, 3, 4, 2))
    train = theano.function([first.output], [norm.train_output, *norm.new_state(), norm.output])
    value, new_mean, new_var, predicted = train(X)
    m, v = X.mean((0, 1, 2)), X.var((0, 1, 2))
    np.testing.assert_allclose(value, gamma * (X - m) / np.sqrt(v + 1e-3) + beta, rtol=1e-10)
    np.testing.assert_allclose(new_mean, 0.75 * mean + 0.25 * m, rtol=1e-12)
    np.testing.assert_allclose(new_var, 0.75 * var + 0.25 * v, rtol=1e-12)
    expected = gamma * (X - mean) / np.sqrt(var + 1e-3) + beta
    np.testing.assert_allclose(predicted, expected, rtol=1e-10)


def test_dropout_multiplies_by_what_it_draws(rng):
    first = Input(50, "float32")
    drop = Dropout(first, 0.3)
    train = theano.function([first.output, *drop.train_inputs], drop.train_output)
    (mask,) = drop.draw(rng, 400)
    assert mask.dtype == np.float32 and mask.shape == (400, 50)
    np.testing.assert_allclose(np.unique(mask), [0, 1 / 0.7], rtol=1e-6)
    assert abs((mask > 0).mean() - 0.7) < 0.01
    X = rng.normal(size=(400, 50)).astype("float32")
    np.testing.assert_array_equal(train(X, mask), X * mask)
    np.testing.assert_array_equal(Network([first, drop]).output(X), X)
    (same,) = drop.draw(np.random.default_rng(4), 3)
    np.testing.assert_array_equal(same, drop.draw(np.random.default_rng(4), 3)[0])
    assert (Dropout(first, 0).draw(rng, 3)[0] == 1).all()


def test_the_weights_start_with_hes_variance(rng):
    layer = Convolution(Convolution(ImageInput(5, 5), 30, rng), 40, rng)
    W = layer.W.get_value()
    assert W.dtype == np.float32 and W.shape == (3, 3, 30, 40)
    assert abs(W.std() / np.sqrt(2 / 270) - 1) < 0.03 and not layer.bias.get_value().any()


def test_networks_of_one_shape_share_a_function(rng):
    first, second = controller(rng, "float32"), controller(rng, "float32")
    assert [layer.config() for layer in first] == [layer.config() for layer in second]
    wide = controller(rng, "float32", size=(9, 8))
    assert wide[0].config() != first[0].config()


@pytest.mark.parametrize(
    "make, argument",
    [
        (lambda rng: ImageInput(0, 3), "height"),
        (lambda rng: ImageInput(3, 2.5), "width"),
        (lambda rng: ImageInput(3, 3, 0), "channels"),
        (lambda rng: ImageInput(3, 3, dtype="int8"), "dtype"),
        (lambda rng: Convolution(ImageInput(3, 3), 0, rng), "n_filters"),
        (lambda rng: Convolution(ImageInput(3, 3), 2, 0), "rng"),
        (lambda rng: Convolution(Input(3), 2, rng), "prev"),
        (lambda rng: MaxPool(ImageInput(1, 9)), "prev"),
        (lambda rng: MaxPool(Input(3)), "prev"),
        (lambda rng: Flatten(Flatten(ImageInput(3, 3))), "prev"),
        (lambda rng: BatchNorm(ImageInput(3, 3), momentum=1), "momentum"),
        (lambda rng: Projection(ImageInput(3, 3), 2, rng), "prev"),
        (lambda rng: Dropout(Input(3), 1), "rate"),
        (lambda rng: Dropout(Input(3), -0.1), "rate"),
        (lambda rng: controller(rng, "float32").output(np.zeros((2, 9, 5))), "X"),
        (lambda rng: controller(rng, "float32").output(np.zeros((2, 9, 6, 2))), "X"),
        (lambda rng: controller(rng, "float32").output(np.full((1, 9, 6), np.nan)), "X"),
    ],
)
def test_refuses(rng, make, argument):
    with pytest.raises(ValueError, match=rf"^{argument}: received .*; allowed: "):
        make(rng)
