"""Skips a notebook where its public data can neither be found nor fetched.

A notebook names what it needs in its metadata:
``"rarebook": {"data": ["newsgroups"]}``.
"""

import json
import warnings
from functools import cache

import pytest

from rarebook.datasets import load_newsgroups

LOADERS = {"newsgroups": lambda: load_newsgroups(n_features=1)}


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
    return (
        json.loads(path.read_text("utf-8"))["metadata"]
        .get("rarebook", {})
        .get("data", [])
    )


def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.suffix == ".ipynb":
            for reason in filter(None, map(missing, needs(item.path))):
                item.add_marker(pytest.mark.skip(reason=reason))
