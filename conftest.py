"""For all tests: random numbers, hypothesis, the built book, notebooks whose data are missing."""

import importlib.util
import json
import os
import subprocess
import sys
import warnings
from functools import cache
from pathlib import Path

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


@pytest.fixture(scope="session")
def html(tmp_path_factory):
    """The folder of the book's pages, built with every warning an error."""
    folder, root = tmp_path_factory.mktemp("book"), Path(__file__).parent
    program = Path(sys.executable).with_name("jupyter-book")
    flags = ["-W", "-n", "--keep-going", "--path-output", str(folder)]
    environment = os.environ | {"PYTHONPATH": str(root / "lib"), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [program, "build", *flags, str(root)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    warned = [line for line in done.stdout.splitlines() if "WARNING" in line or "ERROR" in line]
    assert done.returncode == 0, "\n".join(warned) or done.stdout[-3000:]
    return folder / "_build" / "html"


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
