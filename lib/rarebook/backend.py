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
3.3.7     numba           0.7 s  256 s  6 s   1.4 ms       2.6 ms
3.3.7     no compilation  0.7 s  4 s    4 s   11.9 ms      12.9 ms
3.0.7     numba           0.8 s  123 s  7 s   1.6 ms       4.4 ms
3.0.7     no compilation  1.0 s  17 s   21 s  2,944.7 ms   1,564.3 ms
========  ==============  =====  =====  ====  ===========  =============

Without compilation a graph is ready at once, but these steps take 5 to 9 times as long with
PyTensor 3.3, and 360 to 1,800 times as long with 3.0, which Python 3.11 gets. Numba's cache
outlives the process, so that its wait comes once for a graph; ``make notebooks`` prints how long
each chapter takes. No C++ compiler is needed or looked for.

**What Numba does not check.** Its loops do not compare an index with the array that it points
into: a wrong one reads or writes foreign memory. So ids and labels are checked before they enter a
graph, sparse matrices by a type of our own (``rarebook.symbolic.layers.CheckedRows``), and
``structured_dot`` runs in the loops of ``rarebook.kernels``, which look at each index.
"""

import hashlib
import importlib
import inspect
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
# Remarks that a reader can do nothing about: on speed, the first due to blas.ldflags= above, and on
# another process that was compiling as well.
for _name in ("theano.tensor.blas", "theano.gof.compilelock"):
    logging.getLogger(_name).setLevel(logging.ERROR)
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
softplus = T.softplus if engine == "pytensor" else T.nnet.softplus
sparse = importlib.import_module(f"{engine}.sparse")

if engine == "pytensor":
    from pytensor.compile.mode import optdb
    from pytensor.graph.basic import Apply
    from pytensor.graph.op import Op
    from pytensor.graph.replace import clone_replace
    from pytensor.graph.rewriting.basic import WalkingGraphRewriter, node_rewriter
    from pytensor.raise_op import Assert
    from pytensor.sparse import SparseTensorType as SparseType
else:
    from theano import clone as clone_replace
    from theano.compile import optdb
    from theano.gof import Apply
    from theano.gof import Op as _Op
    from theano.gof import TopoOptimizer as WalkingGraphRewriter
    from theano.gof import local_optimizer as node_rewriter
    from theano.sparse import SparseType
    from theano.tensor.opt import Assert

    class Op(_Op):
        """Theano's Op under PyTensor's name for the gradient, ``pullback``."""

        def L_op(self, inputs, outputs, gradients):
            return self.pullback(inputs, outputs, gradients)


__all__ = [
    "Apply",
    "Assert",
    "Op",
    "SparseType",
    "T",
    "clone_replace",
    "engine",
    "in_place_at_last",
    "numba_kernel",
    "softplus",
    "sparse",
    "theano",
]


def in_place_at_last(op_type):
    """Let ``op_type(in_place=True)`` stand for an Op in a compiled graph, where nothing forbids it.

    The Op that a user puts into a graph is the pure one; the engine decides where its input may be
    overwritten, as it does for its own Ops: where no other node needs it afterwards.
    """

    @node_rewriter([op_type])
    def rewrite(*arguments):  # Theano passes (node), PyTensor (graph, node)
        node = arguments[-1]
        if not isinstance(node.op, op_type) or node.op.in_place:
            return False
        settings = {name: getattr(node.op, name) for name in node.op.__props__}
        return op_type(**settings | {"in_place": True})(*node.inputs, return_list=True)

    rewriter = WalkingGraphRewriter(rewrite, failure_callback=WalkingGraphRewriter.warn_inplace)
    name, tags, position = f"{op_type.__name__} in place", ("fast_run", "inplace"), 60
    if engine == "pytensor":
        optdb.register(name, rewriter, *tags, position=position)
    else:
        optdb.register(name, rewriter, position, *tags)


def numba_kernel(*op_types):
    """Register how PyTensor's Numba linker computes Ops of the library.

    Decorates a function (op, node, compile) → a compiled function of the node's inputs, or None for
    what PyTensor does itself. A sparse matrix, if there is one, is the first input, and is handed
    over as rows, columns and its three arrays. Without this, the linker would call ``perform`` and
    cache nothing.
    """

    def register(build):
        if engine == "pytensor":
            for op_type in op_types:
                _register(op_type, build)
        return build

    return register


def _register(op_type, build):
    from pytensor.link.numba.dispatch.basic import (
        numba_funcify_and_cache_key,
        numba_njit,
        register_funcify_and_cache_key,
    )

    from rarebook import image_kernels, kernels, pair_kernels, row_kernels

    pytensors_own = numba_funcify_and_cache_key.dispatch(op_type)
    # Once the source changes, what is cached on disk is out of date.
    modules = image_kernels, kernels, pair_kernels, row_kernels
    source = [inspect.getsource(module) for module in modules]

    @register_funcify_and_cache_key(op_type)
    def funcify(op, node, **kwargs):
        function = build(op, node, numba_njit)
        if function is None:
            return pytensors_own(op, node, **kwargs)

        if isinstance(node.inputs[0].type, SparseType):

            @numba_njit
            def run(S, *dense):
                return function(S.shape[0], S.shape[1], S.indptr, S.indices, S.data, *dense)

        else:

            @numba_njit
            def run(*dense):
                return function(*dense)

        key = str([op, [variable.type for variable in node.inputs], source])
        return run, hashlib.sha256(key.encode()).hexdigest()


def _prepare_numba():
    """Faster calls with sparse matrices, and :mod:`rarebook.kernels` for ``structured_dot``."""
    import pytensor.link.numba.dispatch.sparse.variable as pytensors
    from numba.extending import typeof_impl
    from pytensor.sparse.math import StructuredDot
    from scipy.sparse import csc_matrix, csr_matrix

    known = {}

    # PyTensor works out the type of each argument anew at each call, in Python.
    @typeof_impl.register(csc_matrix)
    @typeof_impl.register(csr_matrix)
    def typeof(matrix, context):
        parts = matrix.data, matrix.indices, matrix.indptr
        key = (matrix.format, *[(part.dtype, part.flags.num, part.ndim) for part in parts])
        if key not in known:
            known[key] = pytensors.typeof_cs_matrix(matrix, context)
        return known[key]

    @numba_kernel(StructuredDot)
    def structured_dot(op, node, compile):
        from rarebook import kernels

        X, W = (variable.type for variable in node.inputs)
        ours = isinstance(X, SparseType) and not isinstance(W, SparseType) and W.ndim == 2
        if ours and X.dtype == W.dtype:
            return kernels.sparse_dot(X.format, compile)


if engine == "pytensor":
    _prepare_numba()
