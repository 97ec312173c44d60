import numpy as np
import pytest
import scipy.special

from rarebook.backend import T, theano
from rarebook.symbolic.losses import log_softmax, nll


@pytest.fixture(scope="module")
def functions():
    z, y = T.dmatrix("z"), T.lvector("y")
    loss = nll(z, y)
    return (
        theano.function([z], log_softmax(z)),
        theano.function([z, y], [loss, T.grad(loss, z)]),
    )


@pytest.mark.parametrize("scale", [0, 1, 100, 1e4])
def test_value_and_gradient(rng, functions, scale):
    z, y = scale * rng.normal(size=(6, 4)), rng.integers(4, size=6)
    log_p = scipy.special.log_softmax(z, axis=1)
    np.testing.assert_allclose(functions[0](z), log_p, rtol=1e-12)
    loss, grad = functions[1](z, y)
    np.testing.assert_allclose(loss, -log_p[np.arange(6), y].mean(), rtol=1e-12)
    np.testing.assert_allclose(grad, (np.exp(log_p) - np.eye(4)[y]) / 6, atol=1e-12)


def test_is_finite_where_the_softmax_is_zero(functions):
    loss, grad = functions[1](np.array([[1e4, -1e4]]), np.array([1]))
    assert loss == 2e4 and grad.tolist() == [[1, -1]]


@pytest.mark.parametrize("label", [4, -1, 10**9, -(10**9)])
def test_no_label_outside_is_followed(functions, label):
    with pytest.raises(AssertionError, match="y: labels must be at least 0 and below"):
        functions[1](np.zeros((2, 4)), np.array([0, label]))
