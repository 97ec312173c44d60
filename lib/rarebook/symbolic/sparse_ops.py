"""Products with a sparse matrix as Theano expressions, as fast as the memory allows.

Theano's own ``structured_dot`` computes the same; so does its gradient. What is here adds

* loops that check each index and use all cores (:mod:`rarebook.kernels`), called from ``perform``,
  so that they are there under any linker; Numba's linker calls them without a detour. Where Numba
  is not installed, SciPy takes their place;
* :func:`row_sparse_step`, which changes only the rows of W that a batch touches.

The twins in :mod:`rarebook.numeric.sparse_ops` compute the same from arrays.

Source: the post "Sparse Input Data With Theano".
"""

import numpy as np

from rarebook import checks
from rarebook.backend import Apply, SparseType, T, sparse
from rarebook.symbolic.ops import KernelOp, kernel_op

try:
    from rarebook import kernels
except ModuleNotFoundError:  # as with classic Theano
    kernels = None


def sparse_dot(X, D):
    """X D, dense.

    Args:
        X: sparse (B, N), a CSR or CSC variable of any real type.
        D: dense (N, M).

    Returns:
        A Theano matrix (B, M) of the common float type. Its gradient for D is the dense Xᵀ G, where
        G (B, M) is the gradient for the product; the one for X is sparse, G Dᵀ at X's stored
        entries.

    Raises:
        ValueError: if X is not sparse, or D is not a matrix; when the function is called, if X has
            not as many columns as D has rows, or an index outside.

    Example:
        >>> from rarebook.backend import theano
        >>> import scipy.sparse
        >>> X, D = sparse.csr_matrix("X", dtype="float64"), T.dmatrix("D")
        >>> product = theano.function([X, D], sparse_dot(X, D))
        >>> product(scipy.sparse.csr_matrix([[0.0, 2.0]]), [[1.0, 3.0], [10.0, 30.0]]).tolist()
        [[20.0, 60.0]]
    """
    return SparseDot()(*_operands(X, "D", D))


def row_sparse_step(W, X, G, learning_rate):
    """W - learning_rate · Xᵀ G, for which only the rows of W are read and written that X touches.

    A step of gradient descent for a projection X W, whose gradient for the product is G. As the
    update of a shared variable it changes W in place; the cost does not grow with N.

    Args:
        W: dense (N, M).
        X: sparse (B, N), a CSR or CSC variable.
        G: dense (B, M).
        learning_rate: a scalar.

    Returns:
        A Theano matrix (N, M) of W's type.

    Raises:
        ValueError: if X is not sparse, or G is not a matrix; when the function is called, if the
            shapes do not fit, or an index lies outside X.

    Example:
        >>> from rarebook.backend import theano
        >>> import scipy.sparse
        >>> W, X = theano.shared(np.ones((3, 2))), sparse.csr_matrix("X", dtype="float64")
        >>> h = sparse_dot(X, W)
        >>> G = T.grad(T.sum(h), h)
        >>> step = theano.function([X], [], updates=[(W, row_sparse_step(W, X, G, 0.5))])
        >>> _ = step(scipy.sparse.csr_matrix([[0.0, 1.0, 0.0]]))
        >>> W.get_value().tolist()
        [[1.0, 1.0], [0.5, 0.5], [1.0, 1.0]]
    """
    W = T.as_tensor_variable(W)
    X, G = _operands(X, "G", G, W.dtype)
    return AddSparseDot()(sparse.transpose(X), G, W, T.cast(-learning_rate, W.dtype))


def aligned(array):
    """A copy of the array whose first number starts a cache line, 64 bytes.

    NumPy's large arrays start 16 bytes after one, so that each second vector register is loaded
    from two lines. What that costs is measured in benchmarks/sparse_tuning.py.
    """
    room = np.empty(array.size + 64 // array.itemsize, array.dtype)
    skip = -room.ctypes.data % 64 // array.itemsize
    copy = room[skip : skip + array.size].reshape(array.shape)
    copy[...] = array
    return copy


def _operands(X, name, D, dtype=None):
    """X, sparse, and D, the dense argument ``name``, as variables of one float type."""
    if not isinstance(getattr(X, "type", None), SparseType):
        checks.refuse("X", repr(X), "a sparse variable")
    D = T.as_tensor_variable(D)
    if D.ndim != 2:
        checks.refuse(name, f"{D.ndim} dimensions", "a matrix")
    dtype = dtype or str(np.result_type(X.dtype, D.dtype, "float32"))
    return X if X.dtype == dtype else sparse.cast(X, dtype), T.cast(D, dtype)


@kernel_op
class SparseDot(KernelOp):
    """S D, a new matrix (n, M); see :func:`sparse_dot`."""

    def make_node(self, S, D):
        return Apply(self, [S, D], [T.matrix(dtype=D.dtype)])

    def infer_shape(self, *arguments):  # (node, shapes), in PyTensor (graph, node, shapes)
        S, D = arguments[-1]
        return [(S[0], D[1])]

    def pullback(self, inputs, outputs, gradients):
        (S, D), (G,) = inputs, gradients
        _, indices, indptr, shape = sparse.csm_properties(S)
        entries = {"csr": sparse.CSR, "csc": sparse.CSC}[S.format]
        for_S = entries(SampledDot()(S, G, D), indices, indptr, shape)
        return [for_S, SparseDot()(sparse.transpose(S), G)]

    def compiled(self, format, compile):
        return kernels.sparse_dot(format, compile)

    def plain(self, S, D):
        return S @ D


@kernel_op
class AddSparseDot(KernelOp):
    """W + alpha S D; see :func:`row_sparse_step`. ``in_place``: W itself is changed."""

    __props__ = ("in_place",)

    def __init__(self, in_place=False):
        self.in_place = in_place
        if in_place:
            self.destroy_map = {0: [2]}

    def make_node(self, S, D, W, alpha):
        return Apply(self, [S, D, W, alpha], [W.type()])

    def infer_shape(self, *arguments):
        return [arguments[-1][2]]

    def compiled(self, format, compile):
        return kernels.add_sparse_dot(format, self.in_place, compile)

    def plain(self, S, D, W, alpha):
        if S.shape != (W.shape[0], D.shape[0]) or D.shape[1] != W.shape[1]:
            raise ValueError("row_sparse_step: the shapes of W, X and G do not fit")
        out, S = W if self.in_place else W.copy(), S.tocsr()
        touched = np.flatnonzero(np.diff(S.indptr))
        out[touched] += alpha * (S[touched] @ D)
        return out


@kernel_op
class SampledDot(KernelOp):
    """G Dᵀ at the entries of S, a vector (nnz,) in their order."""

    def make_node(self, S, G, D):
        return Apply(self, [S, G, D], [T.vector(dtype=D.dtype)])

    def compiled(self, format, compile):
        return kernels.sampled_dot(format, compile)

    def plain(self, S, G, D):
        A, B = (G, D) if S.format == "csr" else (D, G)
        majors = np.repeat(np.arange(len(S.indptr) - 1), np.diff(S.indptr))
        return np.einsum("ij,ij->i", A[majors], B[S.indices])
