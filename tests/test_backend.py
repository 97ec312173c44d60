import re
import subprocess
import sys
from pathlib import Path

import pytest

import rarebook
from rarebook import backend
from support import clean_environment, without

LIBRARY = Path(rarebook.__file__).parent


def python(source, **variables):
    return subprocess.run(
        [sys.executable, "-c", source],
        env=clean_environment(**variables),
        capture_output=True,
        text=True,
    )


def test_gives_the_three_names_from_one_engine():
    modules = backend.theano, backend.T, backend.sparse
    assert [m.__name__ for m in modules] == [
        backend.engine,
        f"{backend.engine}.tensor",
        f"{backend.engine}.sparse",
    ]


def test_refuses_an_unknown_engine():
    done = python("import rarebook.backend", RAREBOOK_BACKEND="jax")
    assert done.returncode != 0
    assert done.stderr.endswith(
        "ValueError: RAREBOOK_BACKEND: received 'jax'; allowed: pytensor or theano\n"
    )


@pytest.mark.parametrize(
    "engine, remedy", [("pytensor", "pip install pytensor"), ("theano", "make theano")]
)
def test_says_which_package_is_missing_and_how_to_get_it(engine, remedy):
    done = python(without(engine) + "import rarebook.backend", RAREBOOK_BACKEND=engine)
    assert done.stderr.endswith(
        f"ModuleNotFoundError: RAREBOOK_BACKEND={engine} needs the package {engine}, "
        f"which is not installed: {remedy}\n"
    )


def test_the_readers_own_flags_win():
    variable = backend.ENGINES[backend.engine][0]
    name = "linker" if backend.engine == "pytensor" else "mode"
    value = "py" if backend.engine == "pytensor" else "FAST_COMPILE"
    source = f"from rarebook.backend import theano; print(theano.config.{name})"
    done = python(source, RAREBOOK_BACKEND=backend.engine, **{variable: f"{name}={value}"})
    assert done.stdout == f"{value}\n"


@pytest.mark.skipif(backend.engine == "theano", reason="classic Theano needs a C++ compiler")
def test_works_silently_where_there_is_no_compiler(tmp_path):
    source = (
        "from rarebook.backend import T, theano\n"
        "x = T.dvector()\n"
        "print(theano.function([x], 2 * x)([1, 2]).tolist(), repr(theano.config.cxx))"
    )
    done = python(source, PATH=str(tmp_path))
    assert (done.stdout, done.stderr) == ("[2.0, 4.0] ''\n", "")


def test_no_other_module_names_an_engine():
    pattern = re.compile(r"^\s*(import|from) (pytensor|theano)\b", re.MULTILINE)
    named = [p.name for p in LIBRARY.rglob("*.py") if pattern.search(p.read_text("utf-8"))]
    assert named == ["backend.py"]


ALONE = [
    *sorted(f"rarebook.numeric.{path.stem}" for path in (LIBRARY / "numeric").glob("[a-z]*.py")),
    "rarebook.checks",
    "rarebook.eviction",
    "rarebook.feedback_network",
    "rarebook.files",
    "rarebook.label_tree",
    "rarebook.loss_settings",
    "rarebook.memory",
    "rarebook.memory_batch",
    "rarebook.memory_files",
    "rarebook.nearest",
    "rarebook.sequences",
    "rarebook.update_rules",
]


def test_the_numeric_floor_imports_numpy_alone():
    heavy = ("scipy", "pytensor", "theano", "numba", "sklearn", "matplotlib", "tqdm")
    source = without(*heavy) + (
        f"import {', '.join(ALONE)}\n"
        "from rarebook.numeric.layers import *\n"
        "inp = SparseInput(3)\n"
        "pro = Projection(inp, [[1, 2], [3, 4], [5, 6]], [0, 1])\n"
        "print(pro(([0, 2, 2], [0, 2], [1, 10])).tolist())\n"
        "from rarebook.numeric.bag_layers import *\n"
        "print(EmbeddingBag(BagInput(3), [[0], [1], [3]])([[1, 2], []]).tolist())\n"
        "import numpy\n"
        "from rarebook.memory import Memory\n"
        "memory = Memory(2, 2, rng=numpy.random.default_rng(0))\n"
        "print(memory.update([[1, 0], [0, 1], [1, 1]], ['a', 'b', 'c']).evicted.tolist())"
    )
    done = python(source)
    printed = "[[51.0, 63.0], [0.0, 1.0]]\n[[2.0], [0.0]]\n[None, None, 'a']\n"
    assert (done.stdout, done.stderr) == (printed, "")


def test_neither_floor_imports_the_other():
    for floor, other in [("symbolic", "numeric"), ("numeric", "symbolic")]:
        for path in (LIBRARY / floor).glob("*.py"):
            assert f"import rarebook.{other}" not in path.read_text("utf-8")
            assert f"from rarebook.{other}" not in path.read_text("utf-8")
            if floor == "numeric":
                assert "rarebook.backend" not in path.read_text("utf-8")


def test_the_docstring_shows_the_measured_figures():
    script = Path(__file__).parent.parent / "benchmarks" / "linker.py"
    done = subprocess.run([sys.executable, script, "--table"], capture_output=True, text=True)
    table = done.stdout.strip().splitlines()
    assert len(table) > 4
    docstring = [line.strip() for line in backend.__doc__.splitlines()]
    assert [line.strip() for line in table] == [line for line in docstring if line in table]
