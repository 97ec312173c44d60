"""What several tests share: seeded random numbers and small networks on both floors."""

import os

import numpy as np
import pytest
import scipy.sparse
from hypothesis import settings

# One derandomized profile: a failure seen on one machine is seen on all, and compiling the first
# example of a graph may take a minute, so no example has a deadline.
settings.register_profile("rarebook", derandomize=True, deadline=None, max_examples=60)
settings.load_profile("rarebook")


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def sparse_matrix(rng, shape, density=0.3, format="csr", dtype="float32"):
    """A random matrix with about ``density`` of its entries set, some rows empty."""
    dense = rng.normal(size=shape) * (rng.random(shape) < density)
    return scipy.sparse.csr_matrix(dense.astype(dtype)).asformat(format)


def without(*packages):
    """Python source that makes importing any of these packages fail."""
    return f"import sys; sys.modules.update(dict.fromkeys({packages}))\n"


def clean_environment(**variables):
    """This process's environment without the variables that choose an engine."""
    ours = ("RAREBOOK_BACKEND", "PYTENSOR_FLAGS", "THEANO_FLAGS")
    return {k: v for k, v in os.environ.items() if k not in ours} | variables
