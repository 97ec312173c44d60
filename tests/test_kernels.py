import os
import subprocess
import sys

import numpy as np
import pytest

numba = pytest.importorskip("numba")

from rarebook import kernels  # noqa: E402
from support import sparse_matrix  # noqa: E402

COMPILE = numba.njit


@pytest.fixture(scope="module")
def products():
    """(format) → the function S D, compiled once."""
    return {format: kernels.sparse_dot(format, COMPILE) for format in ("csr", "csc")}


def arguments(S):
    return *S.shape, S.indptr, S.indices, S.data


@pytest.mark.parametrize("format", ["csr", "csc"])
def test_many_cores_give_the_numbers_of_one(rng, products, format):
    """Enough work for threads, in rows of very different length."""
    S = sparse_matrix(rng, (300, 2000), 0.02, "csr", "float64").tolil()
    S[7] = rng.normal(size=2000)
    S[:, 3] = rng.normal(size=(300, 1))
    S, D = S.asformat(format), rng.normal(size=(2000, 64))
    assert S.nnz * 64 > kernels.WORTH_THREADS
    many = products[format](*arguments(S), D)
    before = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        one = products[format](*arguments(S), D)
    finally:
        numba.set_num_threads(before)
    np.testing.assert_array_equal(many, one)
    np.testing.assert_allclose(many, S @ D, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("n_parts", [1, 2, 3, 64])
@pytest.mark.parametrize("n", [1, 5, 1023, 5000])
def test_the_parts_of_a_loop_over_columns_cover_every_row_once(rng, n, n_parts):
    S = sparse_matrix(rng, (n, 4), 0.5, "csc", "float64")
    D, out = rng.normal(size=(4, 2)), np.full((n, 2), np.nan)
    kernels.columns_loop(n_parts, S.indptr, S.indices, S.data, 1.0, 0, D, out)
    np.testing.assert_allclose(out, S @ D)


@pytest.mark.parametrize("format", ["csr", "csc"])
@pytest.mark.parametrize(
    "spoil",
    [
        lambda S: S.indices.__setitem__(0, 5),
        lambda S: S.indices.__setitem__(-1, -1),
        lambda S: S.indices.__setitem__(0, 2**31 - 1),
        lambda S: S.indptr.__setitem__(0, 1),
        lambda S: S.indptr.__setitem__(1, -1),
        lambda S: S.indptr.__setitem__(-1, S.nnz + 1),
        lambda S: S.indptr.__setitem__(2, S.indptr[-1] + 1),
        lambda S: setattr(S, "indptr", S.indptr[:-1]),
        lambda S: setattr(S, "data", S.data[:-1]),
        lambda S: setattr(S, "indices", S.indices[:-1]),
    ],
)
def test_what_leads_outside_an_array_is_refused_before_the_loop(rng, products, format, spoil):
    S = sparse_matrix(rng, (5, 5), 0.6, format, "float64")
    spoil(S)
    with pytest.raises(ValueError, match=r"X\.(indptr|indices): received"):
        products[format](*arguments(S), rng.normal(size=(5, 3)))


def test_int64_indices_are_followed_as_they_are(rng, products):
    S, D = sparse_matrix(rng, (6, 5), 0.6, "csr", "float64"), rng.normal(size=(5, 3))
    wide = products["csr"](6, 5, S.indptr.astype("int64"), S.indices.astype("int64"), S.data, D)
    np.testing.assert_allclose(wide, S @ D)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_computes_too():
    """OpenMP's threads do not survive a fork, and a parallel loop would end the child."""
    program = """
import os
import numpy as np, scipy.sparse
from numba import njit
from rarebook import kernels
S = scipy.sparse.random(300, 2000, 0.05, format="csr", random_state=0)
D = np.ones((2000, 64))
dot = kernels.sparse_dot("csr", njit)
product = dot(*S.shape, S.indptr, S.indices, S.data, D)
child = os.fork()
if child == 0:
    again = dot(*S.shape, S.indptr, S.indices, S.data, D)
    os._exit(0 if (again == product).all() else 1)
print(os.waitpid(child, 0)[1])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "0\n", done.stderr
