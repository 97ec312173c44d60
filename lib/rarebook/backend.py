"""The one place that decides which Theano runs: PyTensor, or classic Theano 1.0.5.

Chapters and programs take three names from here::

    from rarebook.backend import theano, T, sparse

``RAREBOOK_BACKEND`` may be ``pytensor`` (the default) or ``theano``; it is read once, at the first
import. What the two engines name differently is given one name here. Flags that the reader sets in
``PYTENSOR_FLAGS`` or ``THEANO_FLAGS`` win over those set here.

**Which linker.** A linker turns a graph into something that runs. PyTensor's Numba linker is
chosen, on every Python, from measurements with ``benchmarks/linker.py`` on one core of a server
processor. *Cold* and *warm* are the time to compile eight typical graphs, from an empty cache and
from a full one; a *step* is one call of a compiled training step, for a network with sparse input
and for a feedback network with three unrolled steps of a gated recurrence.

========  ==============  =====  =====  ====  ===========  =============
PyTensor  linker          start  cold   warm  sparse step  feedback step
========  ==============  =====  =====  ====  ===========  =============
3.3.7     numba           0.5 s  195 s  5 s   0.8 ms       2.4 ms
3.3.7     no compilation  0.5 s  4 s    4 s   13.7 ms      11.1 ms
3.0.7     numba           0.7 s  101 s  6 s   1.3 ms       2.9 ms
3.0.7     no compilation  0.7 s  13 s   17 s  2,969.3 ms   1,367.6 ms
========  ==============  =====  =====  ====  ===========  =============

Without compilation a graph is ready at once, but these steps take 5 to 17 times as long with
PyTensor 3.3, and 470 to 2,300 times as long with 3.0, which Python 3.11 gets. Numba's cache
outlives the process, so that its wait comes once for a graph; ``make notebooks`` prints how long
each chapter takes. No C++ compiler is needed or looked for.

**What Numba does not check.** Its loops do not compare an index with the array that it points
into: a wrong one reads or writes foreign memory. So ids and labels are checked before they enter a
graph, sparse matrices by a type of our own (``rarebook.symbolic.layers.CheckedRows``), and
``structured_dot`` runs in the loops of ``rarebook.kernels``, which look at each index.
"""

import importlib
import logging
import os
import warnings

ENGINES = {  # value of RAREBOOK_BACKEND: (variable with its flags, our flags, how to get it)
    "pytensor": ("PYTENSOR_FLAGS", "linker=numba,cxx=", "pip install pytensor"),
    "theano": ("THEANO_FLAGS", "blas.ldflags=,warn.ignore_bug_before=all", "make theano"),
}

engine = os.environ.get("RAREBOOK_BACKEND") or "pytensor"
if engine not in ENGINES:
    raise ValueError(f"RAREBOOK_BACKEND: received {engine!r}; allowed: {' or '.join(ENGINES)}")

_variable, _flags, _remedy = ENGINES[engine]
os.environ[_variable] = f"{_flags},{os.environ.get(_variable, '')}".rstrip(",")
# Two remarks on speed that a reader can do nothing about; the first is due to blas.ldflags= above.
logging.getLogger("theano.tensor.blas").setLevel(logging.ERROR)
warnings.filterwarnings("ignore", message=".*is faster on contiguous arrays")

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


def _register_kernels():
    """Give PyTensor's ``structured_dot`` the checked loops of :mod:`rarebook.kernels`."""
    import hashlib
    import inspect

    import numpy as np
    from pytensor.link.numba.dispatch.basic import (
        numba_funcify_and_cache_key,
        numba_njit,
        register_funcify_and_cache_key,
    )
    from pytensor.sparse.math import StructuredDot

    from rarebook import kernels

    pytensors_own = numba_funcify_and_cache_key.dispatch(StructuredDot)
    version = hashlib.sha256(inspect.getsource(kernels).encode()).hexdigest()

    @register_funcify_and_cache_key(StructuredDot)
    def structured_dot(op, node, **kwargs):
        X, W = node.inputs
        if not isinstance(X.type, SparseType) or isinstance(W.type, SparseType) or W.ndim != 2:
            return pytensors_own(op, node, **kwargs)
        loop = numba_njit(kernels.rows_dot if X.type.format == "csr" else kernels.columns_dot)
        dtype = np.dtype(node.outputs[0].dtype)

        @numba_njit
        def dot(X, W):
            if X.shape[1] != W.shape[0]:
                raise ValueError("structured_dot: X has not as many columns as W has rows")
            product = np.zeros((X.shape[0], W.shape[1]), dtype)
            loop(X.indptr, X.indices, X.data, np.ascontiguousarray(W), product)
            return product

        return dot, f"{version} {X.type.format} {dtype}"


if engine == "pytensor":
    _register_kernels()
