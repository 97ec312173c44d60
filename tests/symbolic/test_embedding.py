"""The loss over pairs: its value, its gradient, extreme scores; both floors."""

import numpy as np
import pytest

from rarebook.backend import T, theano
from rarebook.numeric import embedding as numeric
from rarebook.symbolic.embedding import log_sigmoid, pair_loss


@pytest.fixture(scope="module")
def compiled():
    """rows (k, dim) or (B, k, dim) → loss and gradient, by the number of dimensions."""
    functions = {}
    for rows in (T.dmatrix("rows"), T.dtensor3("rows")):
        loss = pair_loss(rows)
        functions[rows.ndim] = theano.function([rows], [loss, T.grad(loss, rows)])
    return functions


@pytest.mark.parametrize("shape", [(3, 4), (2, 1), (7, 4), (1, 3, 4), (5, 2, 3), (5, 7, 3)])
def test_equals_the_twin_and_finite_differences(rng, compiled, shape):
    rows = rng.normal(size=shape)
    loss, G = compiled[rows.ndim](rows)
    np.testing.assert_allclose(loss, numeric.pair_loss(rows), rtol=1e-12)
    np.testing.assert_allclose(G, numeric.pair_gradient(rows), atol=1e-12)
    for _ in range(5):
        direction = rng.normal(size=shape)
        ahead, behind = (numeric.pair_loss(rows + step * direction) for step in (1e-5, -1e-5))
        np.testing.assert_allclose((ahead - behind) / 2e-5, (G * direction).sum(), rtol=1e-6)


def test_a_table_that_starts_at_zero_gets_half_a_gradient(compiled):
    rows = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0]])
    _, G = compiled[2](rows)
    np.testing.assert_allclose(G, [[-0.5, 1], [0, 0], [0, 0]], atol=1e-15)
    np.testing.assert_allclose(numeric.pair_gradient(rows), G, atol=1e-15)


def test_scores_of_any_size_are_finite(compiled):
    for scale in (1.0, -1.0):
        rows = scale * np.array([[1e4, 0], [1e4, 0], [-1e4, 0.0]])
        loss, G = compiled[2](rows)
        assert np.isfinite(loss) and np.isfinite(G).all()
        np.testing.assert_allclose(loss, numeric.pair_loss(rows))
    x = T.dvector("x")
    values = theano.function([x], log_sigmoid(x))(np.array([-1e4, 0, 1e4]))
    np.testing.assert_allclose(values, [-1e4, -np.log(2), 0])
    np.testing.assert_allclose(numeric.log_sigmoid(np.array([-1e4, 0, 1e4])), values)


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match=r"^rows: received 1 dimensions; allowed: "):
        pair_loss(T.dvector())
