import numpy as np
import pytest
from hypothesis import settings

# Derandomized: what fails on one machine fails on all. No deadline: the first example may compile.
settings.register_profile("rarebook", derandomize=True, deadline=None, max_examples=60)
settings.load_profile("rarebook")


@pytest.fixture
def rng():
    return np.random.default_rng(0)
