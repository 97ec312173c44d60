import subprocess
import sys

import numpy as np
import pytest

from rarebook.numeric.convolution import (
    Convolution,
    Dropout,
    Flatten,
    ImageInput,
    MaxPool,
)
from rarebook.numeric.layers import BatchNorm, Input, Projection, ReLU
from rarebook.numeric.network import Network
from support import clean_environment, without


def test_a_network_on_images(rng):
    first = ImageInput(5, 4)
    W = np.zeros((3, 3, 1, 2))
    W[1, 1, 0, 0] = 1  # the pixel itself
    W[1, 2, 0, 1] = -1  # less the one to its right
    convolve = Convolution(first, W, [0, 2])
    relu = ReLU(convolve)
    pool = MaxPool(relu)
    net = Network([first, convolve, relu, pool, Flatten(pool)])
    X = rng.normal(size=(3, 5, 4)).astype("float32")
    right = np.pad(X, ((0, 0), (0, 0), (0, 1)))[:, :, 1:]
    expected = np.maximum(np.stack([X, 2 - right], axis=-1), 0)
    np.testing.assert_allclose(net[2](X), expected, rtol=1e-6)
    best = expected[:, :4].reshape(3, 2, 2, 2, 2, 2).max(axis=(2, 4))
    np.testing.assert_allclose(net[3](X), best, rtol=1e-6)
    np.testing.assert_allclose(net[-1](X), best.reshape(3, 8), rtol=1e-6)
    assert [layer.size for layer in net] == [1, 2, 2, 2, 8] and net.n_params == 20
    assert net[-1](X[:0]).shape == (0, 8) and net[-1](X).dtype == np.float32


def test_a_row_does_not_depend_on_the_rows_beside_it(rng):
    """Images are multiplied some at a time; with 1,000 there are several parts."""
    first = ImageInput(28, 28)
    net = Convolution(first, rng.normal(size=(3, 3, 1, 4)), rng.normal(size=4))
    X = rng.random((1000, 28, 28)).astype("float32")
    whole = net(X)
    for i in (0, 147, 148, 149, 999):
        np.testing.assert_allclose(net(X[i : i + 1])[0], whole[i], atol=1e-5)


@pytest.mark.parametrize(
    "make, argument",
    [
        (lambda: ImageInput(0, 3), "height"),
        (lambda: ImageInput(3, None), "width"),
        (lambda: ImageInput(3, 3, -1), "channels"),
        (lambda: Convolution(ImageInput(3, 3), np.zeros((3, 3, 2, 4)), np.zeros(4)), "W"),
        (lambda: Convolution(ImageInput(3, 3), np.zeros((3, 2, 1, 4)), np.zeros(4)), "W"),
        (lambda: Convolution(ImageInput(3, 3), np.full((3, 3, 1, 1), np.inf), [0]), "W"),
        (lambda: Convolution(ImageInput(3, 3), np.zeros((3, 3, 1, 4)), np.zeros(3)), "bias"),
        (lambda: Convolution(Input(3), np.zeros((3, 3, 1, 4)), np.zeros(4)), "prev"),
        (lambda: MaxPool(ImageInput(3, 1)), "prev"),
        (lambda: Flatten(Input(3)), "prev"),
        (lambda: BatchNorm(ImageInput(3, 3), *np.ones((4, 2))), "gamma"),
        (lambda: Projection(ImageInput(3, 3), np.ones((1, 1)), [0]), "prev"),
        (lambda: Dropout(Input(3), 1.5), "rate"),
        (lambda: ImageInput(3, 3)(np.zeros((2, 3, 2))), "X"),
        (lambda: ImageInput(3, 3, 2)(np.zeros((2, 3, 3))), "X"),
        (lambda: ImageInput(3, 3)(np.full((2, 3, 3), np.nan)), "X"),
    ],
)
def test_refuses(make, argument):
    with pytest.raises(ValueError, match=rf"^{argument}: received .*; allowed: "):
        make()


def test_numpy_alone_is_imported():
    code = without("scipy", "numba", "pytensor", "theano", "sklearn", "matplotlib")
    code += "import rarebook.numeric.convolution"
    subprocess.run([sys.executable, "-c", code], env=clean_environment(), check=True)
