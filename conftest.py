"""For all tests: random numbers, hypothesis, and notebooks whose data cannot be had."""

import importlib.util
import json
import warnings
from functools import cache

import numpy as np
import pytest
from hypothesis import settings

from rarebook.datasets import load_newsgroups

# Derandomized: what fails on one machine fails on all. No deadline: the first example may compile.
settings.register_profile("rarebook", derandomize=True, deadline=None, max_examples=60)
settings.load_profile("rarebook")

# Classic Theano goes without Numba, and so without the modules that need it.
KERNELS = [f"lib/rarebook/{name}kernels.py" for name in ("", "image_", "pair_", "row_")]
collect_ignore = [] if importlib.util.find_spec("numba") else KERNELS

# A notebook names the data it needs in its metadata: "rarebook": {"data": ["newsgroups"]}
LOADERS = {"newsgroups": lambda: load_newsgroups(n_features=1)}


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@cache
def missing(name):
    """Why the data of this name cannot be had, or None."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            LOADERS[name]()
        except OSError as error:
            return f"{name} is neither here nor to be fetched: {error}"


@cache
def needs(path):
    return json.loads(path.read_text("utf-8"))["metadata"].get("rarebook", {}).get("data", [])


def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.suffix == ".ipynb":
            for reason in filter(None, map(missing, needs(item.path))):
                item.add_marker(pytest.mark.skip(reason=reason))
