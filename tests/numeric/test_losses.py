import numpy as np
import pytest

from rarebook.backend import T, theano
from rarebook.numeric.losses import margin_loss
from rarebook.symbolic import losses as symbolic


@pytest.fixture(scope="module")
def from_theano():
    q, P, N, present = T.dmatrix(), T.dmatrix(), T.dtensor3(), T.dmatrix()
    margin = T.dscalar()
    loss = symbolic.margin_loss(q, P, N, present, margin)
    return theano.function([q, P, N, present, margin], [loss, T.grad(loss, q)])


def unit(values):
    return values / np.linalg.norm(values, axis=-1, keepdims=True)


@pytest.mark.parametrize(
    "n_rows, k, size, margin", [(5, 3, 4, 0.1), (1, 1, 2, 0.5), (7, 4, 3, 2.5)]
)
def test_margin_loss(rng, from_theano, n_rows, k, size, margin):
    q, P = unit(rng.normal(size=(n_rows, size))), unit(rng.normal(size=(n_rows, size)))
    N = unit(rng.normal(size=(n_rows, k, size)))
    present = (rng.random((n_rows, k)) < 0.7).astype(float)
    by_hand = sum(
        present[i, j] * max(0, q[i] @ N[i, j] - q[i] @ P[i] + margin)
        for i in range(n_rows)
        for j in range(k)
    )
    loss, grad = margin_loss(q, P, N, present, margin)
    assert loss == pytest.approx(by_hand / n_rows, rel=1e-12)
    there_loss, there_grad = from_theano(q, P, N, present, margin)
    assert loss == pytest.approx(float(there_loss), rel=1e-12)
    np.testing.assert_allclose(grad, there_grad, atol=1e-14)
    step = 1e-6 * rng.normal(size=q.shape)
    change = margin_loss(q + step, P, N, present, margin)[0]
    change -= margin_loss(q - step, P, N, present, margin)[0]
    assert change == pytest.approx(2 * (grad * step).sum(), rel=1e-6, abs=1e-13)


def test_pairs_that_do_not_count_do_nothing(rng, from_theano):
    q, P, N = np.eye(2), np.eye(2)[::-1].copy(), np.ones((2, 1, 2))
    for function in (margin_loss, from_theano):
        loss, grad = function(q, P, N, np.zeros((2, 1)), 0.1)
        assert loss == 0 and not grad.any()
