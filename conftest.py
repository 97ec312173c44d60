"""For all tests: random numbers, hypothesis, the built book, notebooks and their exercises."""

import ast
import fcntl
import importlib.util
import json
import os
import re
import subprocess
import sys
import warnings
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

from rarebook import backend
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


@pytest.fixture(scope="session", autouse=True)
def light_compilation():
    """Numba optimizes what the library's tests compile, hundreds of functions, with -O1 for -O3.

    A first run takes about three fifths of the time. What comes out is kept apart from what
    readers use, and the chapters, whose kernels are processes of their own, are run with the full
    optimization.
    """
    if backend.engine == "pytensor":
        from numba import config
        from pytensor.link.numba import cache

        config.OPT = type(config.OPT)(1)
        cache.NUMBA_CACHE_PATH = cache.NUMBA_CACHE_PATH.with_name("numba-O1")
        cache.NUMBA_CACHE_PATH.mkdir(exist_ok=True)


@pytest.fixture(scope="session")
def html(tmp_path_factory):
    """The folder of the book's pages, built with every warning an error; once for all workers."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    with open(shared / "book.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        log = shared / "book.log"
        if not log.exists():
            log.write_text(build_book(shared / "book"))
    assert not (said := log.read_text()), said
    return shared / "book" / "_build" / "html"


def build_book(folder):
    """Build the book into a folder; what went wrong, or an empty text."""
    root = Path(__file__).parent
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
    if done.returncode == 0:
        return ""
    warned = [line for line in done.stdout.splitlines() if "WARNING" in line or "ERROR" in line]
    return "\n".join(warned) or done.stdout[-3000:]


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
def contents(path):
    return json.loads(path.read_text("utf-8"))


def stub_checks(notebook):
    """{number of a solution's code cell: what remains of it without the names that the stub has}.

    Between ``{exercise-start}`` and ``{exercise-end}`` stands the stub, between
    ``{solution-start}`` and ``{solution-end}`` the solution with its check.
    """
    checks, place, stub, number = {}, None, set(), 0
    for cell in notebook["cells"]:
        text = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            for what, end in re.findall(r"\{(exercise|solution)-(start|end)\}", text):
                place = what if end == "start" else None
            continue
        if place == "exercise":
            stub = set().union(*map(defined, ast.parse(text).body))
        elif place == "solution":
            rest = [node for node in ast.parse(text).body if not defined(node) & stub]
            checks[number] = "\n".join(map(ast.unparse, rest))
        number += 1
    return checks


def defined(node):
    """The names that a statement defines at the top level."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return {node.name}
    targets = node.targets if isinstance(node, ast.Assign) else []
    return {target.id for target in targets if isinstance(target, ast.Name)}


def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.suffix == ".ipynb":
            item.parent.skip_compare = {*item.parent.skip_compare, "image/svg+xml"}
            needs = contents(item.path)["metadata"].get("rarebook", {}).get("data", [])
            for reason in filter(None, map(missing, needs)):
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call(item):
    """A solution's cell: first its check alone, with the stub still in place. It must fail."""
    if item.path.suffix != ".ipynb":
        return
    check = stub_checks(contents(item.path)).get(item.cell_num)
    if check is None:
        return
    kernel = item.parent.kernel
    # In a copy of the namespace, so that the chapter goes on as it would without this.
    message = kernel.kc.execute(f"exec({check!r}, dict(globals()))", store_history=False)
    while (reply := kernel.kc.get_shell_msg(timeout=600))["parent_header"]["msg_id"] != message:
        pass
    kernel.await_idle(message, timeout=60)
    error = reply["content"].get("ename")
    if error in (None, "NameError", "SyntaxError", "ImportError", "ModuleNotFoundError"):
        pytest.fail(f"with the stub, the check of this exercise ends with {error or 'success'}")
