import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rarebook import kernels
from support import sparse_matrix


@given(
    seed=st.integers(0, 1000),
    shape=st.tuples(st.integers(0, 5), st.integers(1, 5), st.integers(1, 4)),
    density=st.sampled_from([0, 0.3, 1]),
    layout=st.sampled_from(["csr", "csc"]),
)
def test_equal_the_dense_product(seed, shape, density, layout):
    rng = np.random.default_rng(seed)
    n_rows, n_columns, n_units = shape
    X = sparse_matrix(rng, (n_rows, n_columns), density, layout, "float64")
    W = rng.normal(size=(n_columns, n_units))
    product = np.zeros((n_rows, n_units))
    loop = kernels.rows_dot if layout == "csr" else kernels.columns_dot
    loop(X.indptr, X.indices, X.data, W, product)
    np.testing.assert_allclose(product, X.toarray() @ W, atol=1e-12)


@pytest.mark.parametrize("index", [-1, 3, 10**9])
@pytest.mark.parametrize("loop", [kernels.rows_dot, kernels.columns_dot])
def test_follow_no_index_outside(loop, index):
    indptr, indices, data = np.array([0, 1, 1, 1]), np.array([index]), np.array([1.0])
    with pytest.raises(IndexError, match="index outside"):
        loop(indptr, indices, data, np.ones((3, 2)), np.zeros((3, 2)))
