"""The one place that decides which Theano runs: PyTensor, or classic Theano 1.0.5.

    from rarebook.backend import theano, T, sparse

``RAREBOOK_BACKEND`` may be ``pytensor`` (the default) or ``theano``; it is read once, at the first
import. What the two engines name differently is given one name here.

Flags that the reader sets in ``PYTENSOR_FLAGS`` or ``THEANO_FLAGS`` win over those set here.
"""

import importlib
import logging
import os

ENGINES = {  # value of RAREBOOK_BACKEND: (variable with its flags, our flags, how to get it)
    "pytensor": ("PYTENSOR_FLAGS", "linker=numba,cxx=", "pip install pytensor"),
    "theano": ("THEANO_FLAGS", "blas.ldflags=,warn.ignore_bug_before=all", "make theano"),
}

engine = os.environ.get("RAREBOOK_BACKEND") or "pytensor"
if engine not in ENGINES:
    raise ValueError(f"RAREBOOK_BACKEND: received {engine!r}; allowed: {' or '.join(ENGINES)}")

_variable, _flags, _remedy = ENGINES[engine]
os.environ[_variable] = f"{_flags},{os.environ.get(_variable, '')}".rstrip(",")
logging.getLogger("theano.tensor.blas").setLevel(logging.ERROR)  # "no BLAS" is our own choice

try:
    theano = importlib.import_module(engine)
except ModuleNotFoundError as error:
    if error.name != engine:
        raise
    raise ModuleNotFoundError(
        f"RAREBOOK_BACKEND={engine} needs the package {engine}, which is not installed: {_remedy}",
        name=engine,
    ) from None
T = importlib.import_module(f"{engine}.tensor")
sparse = importlib.import_module(f"{engine}.sparse")

if engine == "pytensor":
    from pytensor.graph.replace import clone_replace
    from pytensor.raise_op import Assert
    from pytensor.sparse import SparseTensorType as SparseType
else:
    from theano import clone as clone_replace
    from theano.sparse import SparseType
    from theano.tensor.opt import Assert

__all__ = ["Assert", "SparseType", "T", "clone_replace", "engine", "sparse", "theano"]
