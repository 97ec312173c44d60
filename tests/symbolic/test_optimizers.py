import numpy as np
import pytest

from rarebook.backend import T, theano
from rarebook.symbolic.optimizers import SGD, Adam


def descend(optimizer, dtype, learning_rates):
    """The parameter after each step on a bowl, Σ scale · w², and the scale."""
    w = theano.shared(np.array([1, -2, 3, 0], dtype))
    scale = np.array([1, 10, 0.1, 1], dtype)
    rate = T.dscalar("rate")
    updates = optimizer.updates([w], [T.grad(T.sum(scale * w**2), w)], rate)
    step = theano.function([rate], [], updates=updates)
    path = []
    for learning_rate in learning_rates:
        step(learning_rate)
        path.append(w.get_value())
    assert all(variable.dtype == dtype for variable, _ in updates if variable.ndim)
    return path, scale


def plain_sgd(w, grad, learning_rates):
    for rate in learning_rates:
        w = w - rate * grad(w)
        yield w


def plain_adam(w, grad, learning_rates, beta1, beta2, epsilon):
    m, v = np.zeros_like(w), np.zeros_like(w)
    for t, rate in enumerate(learning_rates, start=1):
        g = grad(w)
        m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g**2
        w = w - rate * (m / (1 - beta1**t)) / (np.sqrt(v / (1 - beta2**t)) + epsilon)
        yield w


RATES = [0.05, 0.05, 0.01, 0.02, 0.05, 0.05, 0.05]


@pytest.mark.parametrize("dtype, rtol", [("float32", 2e-5), ("float64", 1e-12)])
@pytest.mark.parametrize(
    "optimizer, plain",
    [
        (SGD(), plain_sgd),
        (Adam(), lambda *a: plain_adam(*a, 0.9, 0.999, 1e-8)),
        (
            Adam(beta1=0, beta2=0.5, epsilon=0.1),
            lambda *a: plain_adam(*a, 0, 0.5, 0.1),
        ),
    ],
)
def test_equals_a_plain_loop(optimizer, plain, dtype, rtol):
    path, scale = descend(optimizer, dtype, RATES)
    scale = scale.astype("float64")
    expected = plain(np.array([1.0, -2, 3, 0]), lambda w: 2 * scale * w, RATES)
    for got, want in zip(path, expected, strict=True):
        assert got.dtype == dtype
        np.testing.assert_allclose(got, want, rtol=rtol, atol=rtol)


@pytest.mark.parametrize(
    "make, argument",
    [
        (lambda: SGD(0), "learning_rate"),
        (lambda: SGD(-1), "learning_rate"),
        (lambda: SGD(np.nan), "learning_rate"),
        (lambda: SGD("fast"), "learning_rate"),
        (lambda: Adam(np.inf), "learning_rate"),
        (lambda: Adam(beta1=1), "beta1"),
        (lambda: Adam(beta1=-0.1), "beta1"),
        (lambda: Adam(beta2=1.5), "beta2"),
        (lambda: Adam(epsilon=0), "epsilon"),
    ],
)
def test_refuses(make, argument):
    with pytest.raises(ValueError, match=rf"^{argument}: received .*; allowed: "):
        make()
