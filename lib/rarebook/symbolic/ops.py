"""What the library's own Ops share: operations that it adds to Theano.

An Op hands its arrays to a loop that Numba has compiled (:mod:`rarebook.kernels`,
:mod:`rarebook.row_kernels`), under any linker: Numba's calls the loop without a detour, the others
through ``perform``. Where Numba is not installed, as with classic Theano, ``plain`` takes its
place, in NumPy and SciPy.
"""

import functools

from rarebook import checks
from rarebook.backend import Op, SparseType, in_place_at_last, numba_kernel

try:
    from numba import njit
except ModuleNotFoundError:  # as with classic Theano
    njit = None


class KernelOp(Op):
    """An Op whose inputs are dense arrays, or a sparse matrix S (n, K) and then dense arrays.

    A subclass has ``compiled(format, compile)``, which returns the compiled function of the inputs,
    S being given as rows, columns and its three arrays; ``format`` is S's, None if there is no S.
    And it has ``plain(*inputs)``, which does the same without Numba; the indices of S are checked
    before. One with a property ``in_place`` overwrites inputs where that is True.
    """

    __props__ = ()

    def perform(self, node, inputs, outputs):
        S = inputs[0] if isinstance(node.inputs[0].type, SparseType) else None
        if njit is None:
            if S is not None:
                n_major, n_minor = S.shape if S.format == "csr" else S.shape[::-1]
                checks.compressed("X", S.indptr, S.indices, S.data, n_minor, n_major)
            values = self.plain(*inputs)
        else:
            if S is not None:
                inputs = (*S.shape, S.indptr, S.indices, S.data, *inputs[1:])
            values = _alone(self, S if S is None else S.format)(*inputs)
        values = values if isinstance(values, tuple) else (values,)
        for output, value in zip(outputs, values, strict=True):
            output[0] = value


@functools.cache
def _alone(op, format):
    """The Op's function for linkers that call ``perform``."""
    # Sums may be taken in any order, so that the processor adds several numbers at a time.
    return op.compiled(format, functools.partial(njit, fastmath={"contract", "nsz", "reassoc"}))


def kernel_op(op_type):
    """Class decorator: register the Op with Numba's linker, and its form that works in place."""

    @numba_kernel(op_type)
    def build(op, node, compile):
        return op.compiled(getattr(node.inputs[0].type, "format", None), compile)

    if "in_place" in op_type.__props__:
        in_place_at_last(op_type)
    return op_type
