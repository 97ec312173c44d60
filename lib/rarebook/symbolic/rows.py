"""Some rows of a table as Theano expressions: looking them up, and changing them alone.

The gradient for ``W[ids]`` has one row an id, the one for W has N. A step that needs the first
alone costs the same whatever N is:

* :func:`lookup` is ``W[ids]`` with ids that are looked at;
* :func:`row_step` takes the gradient off the rows that were read, every time that an id occurs;
* :func:`coalesce` names each row once, with the sum of its gradients, for optimizers that remember.

Numba's compiled code does not compare an id with the table that it points into. So ids are checked
here, in the graph, before the first row is read.

Source: the post "Efficient Embeddings With Theano".
"""

import numpy as np

from rarebook import checks, update_rules
from rarebook.backend import Apply, SparseType, T
from rarebook.symbolic.ops import KernelOp, kernel_op

try:
    from rarebook import row_kernels
except ModuleNotFoundError:  # as with classic Theano
    row_kernels = None


def lookup(W, ids):
    """W[ids], the rows of a table.

    Args:
        W: a Theano matrix (N, dim).
        ids: an integer variable of any number of dimensions, or integers; each in 0 … N - 1.

    Returns:
        A Theano variable of the shape ids.shape + (dim,) and W's type. Take the gradient with
        respect to it, not to W.

    Raises:
        ValueError: if W is not a matrix or the ids are not integers; when the function is called,
            if an id lies outside.

    Example:
        >>> from rarebook.backend import theano
        >>> W, ids = theano.shared(np.arange(6.0).reshape(3, 2)), T.lvector("ids")
        >>> theano.function([ids], lookup(W, ids))(np.array([2, 0, 2])).tolist()
        [[4.0, 5.0], [0.0, 1.0], [4.0, 5.0]]
    """
    W, ids = _table(W), _ids(ids)
    rows = Lookup()(W, T.flatten(ids))
    if ids.ndim == 1:
        return rows
    shape = T.stack([*(ids.shape[axis] for axis in range(ids.ndim)), W.shape[1]])
    return T.reshape(rows, shape, ndim=ids.ndim + 1)


def row_step(W, ids, G, learning_rate, padding=None):
    """W with row ids[i] less learning_rate · G[i], for every i; what occurs twice counts twice.

    A step of gradient descent for the rows ``lookup(W, ids)``. As the update of a shared variable
    it changes W in place; the cost does not grow with N.

    Args:
        W: a Theano matrix (N, dim).
        ids: an integer variable of any number of dimensions.
        G: ids.shape + (dim,), the gradient for the rows that were read.
        learning_rate: a scalar, above 0.
        padding: an id whose row is left as it is; None if there is none.

    Returns:
        A Theano matrix (N, dim) of W's type.

    Raises:
        ValueError: if an argument is not allowed; when the function is called, if the shapes do not
            fit, an id lies outside, the learning rate is not above 0, or G or a row that would be
            changed has a value that is not finite. W is then as it was.

    Example:
        >>> from rarebook.backend import theano
        >>> W, ids = theano.shared(np.ones((3, 2))), T.lvector("ids")
        >>> rows = lookup(W, ids)
        >>> G = T.grad(T.sum(rows), rows)
        >>> step = theano.function([ids], [], updates=[(W, row_step(W, ids, G, 0.25))])
        >>> _ = step(np.array([1, 2, 1]))
        >>> W.get_value().tolist()
        [[1.0, 1.0], [0.5, 0.5], [0.75, 0.75]]
    """
    W, ids, G, rate = _step_inputs(W, ids, G, learning_rate)
    return AddRows(_padding(padding))(W, ids, G, rate)


def coalesce(W, gradient, learning_rate, weight_decay=0.0):
    """The rows of W that a gradient touches, each once, and the sum of its gradients for each.

    Args:
        W: a Theano matrix (N, dim).
        gradient: a :class:`~rarebook.update_rules.RowGradient`.
        learning_rate: a scalar; looked at here, since whatever comes after would not.
        weight_decay: a number; the product of the two must be below 1.

    Returns:
        rows, a Theano vector (n,) int64, and sums, a matrix (n, dim) of W's type.

    Raises:
        ValueError: as for :func:`row_step`.
    """
    X, G, padding = gradient
    if isinstance(getattr(X, "type", None), SparseType):
        if padding is not None:
            checks.refuse("padding", repr(padding), "None where X is a sparse matrix")
        W, G = _table(W), _matrix("G", G)
        X = X if X.dtype == W.dtype else X.astype(W.dtype)
        return CoalesceProduct(weight_decay)(X, W, T.cast(G, W.dtype), _rate(W, learning_rate))
    return Coalesce(_padding(padding), weight_decay)(*_step_inputs(W, X, G, learning_rate))


def touched(X):
    """The ids that X names, a vector: integers of any shape, or the columns of a sparse matrix."""
    if isinstance(getattr(X, "type", None), SparseType):
        return Columns()(X)
    return T.flatten(_ids(X))


def _table(W):
    W = T.as_tensor_variable(W)
    if W.ndim != 2:
        checks.refuse("W", f"{W.ndim} dimensions", "a matrix (N, dim)")
    return W


def _matrix(name, G):
    G = T.as_tensor_variable(G)
    if G.ndim != 2:
        checks.refuse(name, f"{G.ndim} dimensions", "a matrix")
    return G


def _ids(ids):
    ids = T.as_tensor_variable(ids)
    if ids.dtype not in ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32"):
        checks.refuse("ids", f"the type {ids.dtype}", "integers")
    return ids


def _padding(padding):
    return -1 if padding is None else checks.whole_number("padding", padding, 0)


def _rate(W, learning_rate):
    if isinstance(learning_rate, (int, float)):
        checks.real_number("learning_rate", learning_rate, above=0)
    return T.cast(learning_rate, W.dtype)


def _step_inputs(W, ids, G, learning_rate):
    """Ids and gradients as a vector and a matrix, one row an id."""
    W, ids, G = _table(W), _ids(ids), T.as_tensor_variable(G)
    if G.ndim != ids.ndim + 1:
        allowed = f"{ids.ndim + 1}, the shape of W[ids]"
        checks.refuse("G", f"{G.ndim} dimensions", allowed)
    G = T.cast(G, W.dtype)
    if ids.ndim != 1:
        # The length comes from the ids: G may then be any expression of this shape.
        G = T.reshape(G, (ids.size, W.shape[1]), ndim=2)
        ids = T.flatten(ids)
    return W, ids, G, _rate(W, learning_rate)


@kernel_op
class Lookup(KernelOp):
    """The rows of W that ids (n,) name, (n, dim); see :func:`lookup`."""

    def make_node(self, W, ids):
        return Apply(self, [W, ids], [T.matrix(dtype=W.dtype)])

    def infer_shape(self, *arguments):
        W, ids = arguments[-1]
        return [(ids[0], W[1])]

    def pullback(self, inputs, outputs, gradients):
        (W, ids), (G,) = inputs, gradients
        ids = CheckedIds()(ids, W.shape[0])
        return [T.inc_subtensor(T.zeros_like(W)[ids], G), T.zeros_like(ids, dtype=W.dtype)]

    def compiled(self, format, compile):
        return row_kernels.lookup(compile)

    def plain(self, W, ids):
        return W[checks.ids("ids", ids, len(W))]


@kernel_op
class CheckedIds(KernelOp):
    """The ids themselves, if each is at least 0 and below n."""

    def __init__(self):
        self.view_map = {0: [0]}

    def make_node(self, ids, n):
        return Apply(self, [ids, n], [ids.type()])

    def infer_shape(self, *arguments):
        return [arguments[-1][0]]

    def compiled(self, format, compile):
        look = compile(row_kernels.check_ids)

        def run(ids, n):
            look(ids, n.item())
            return ids

        return compile(run)

    def plain(self, ids, n):
        return checks.ids("ids", ids, int(n))


def check_step(W, ids, G, n, rate, weight_decay=0.0):
    """``row_kernels.step_check`` in NumPy."""
    if G.shape != (n, W.shape[1]):
        checks.refuse("G", f"shape {G.shape}", f"({n}, {W.shape[1]})")
    checks.ids("ids", ids, len(W))
    rate = checks.real_number("learning_rate", rate, above=0)
    if rate * weight_decay >= 1:
        checks.refuse("learning_rate", f"{rate:g}", f"below 1 / weight_decay, {1 / weight_decay:g}")
    checks.array("W", W[ids], (None, None), W.dtype)
    checks.array("G", G, (None, None), W.dtype)


@kernel_op
class AddRows(KernelOp):
    """W less rate · G[i] in row ids[i]; see :func:`row_step`. ``in_place``: W itself is changed."""

    __props__ = ("padding", "in_place")

    def __init__(self, padding, in_place=False):
        self.padding, self.in_place = padding, in_place
        if in_place:
            self.destroy_map = {0: [0]}

    def make_node(self, W, ids, G, rate):
        return Apply(self, [W, ids, G, rate], [W.type()])

    def infer_shape(self, *arguments):
        return [arguments[-1][0]]

    def compiled(self, format, compile):
        return row_kernels.add_rows(self.padding, self.in_place, compile)

    def plain(self, W, ids, G, rate):
        check_step(W, ids, G, len(ids), rate)
        out, kept = W if self.in_place else W.copy(), ids != self.padding
        np.add.at(out, ids[kept], -rate * G[kept])
        return out


@kernel_op
class Coalesce(KernelOp):
    """The rows that ids name and the sum of G for each; see :func:`coalesce`."""

    __props__ = ("padding", "weight_decay")

    def __init__(self, padding, weight_decay):
        self.padding, self.weight_decay = padding, weight_decay

    def make_node(self, W, ids, G, rate):
        return Apply(self, [W, ids, G, rate], [T.lvector(), T.matrix(dtype=W.dtype)])

    def compiled(self, format, compile):
        return row_kernels.coalesce(self.padding, self.weight_decay, compile)

    def plain(self, W, ids, G, rate):
        check_step(W, ids, G, len(ids), rate, self.weight_decay)
        return update_rules.coalesce(ids, G, self.padding)


@kernel_op
class CoalesceProduct(KernelOp):
    """The columns that X has entries in and their rows of Xᵀ G; see :func:`coalesce`."""

    __props__ = ("weight_decay",)

    def __init__(self, weight_decay):
        self.weight_decay = weight_decay

    def make_node(self, X, W, G, rate):
        return Apply(self, [X, W, G, rate], [T.lvector(), T.matrix(dtype=W.dtype)])

    def compiled(self, format, compile):
        return row_kernels.coalesce_product(format, self.weight_decay, compile)

    def plain(self, X, W, G, rate):
        X = X.tocsr()
        check_step(W, X.indices, G, X.shape[0], rate, self.weight_decay)
        rows = np.unique(X.indices).astype(np.int64)
        return rows, np.asarray(X[:, rows].T @ G, W.dtype)


@kernel_op
class Columns(KernelOp):
    """The column of each entry of X, a vector (nnz,) int64."""

    def make_node(self, X):
        return Apply(self, [X], [T.lvector()])

    def compiled(self, format, compile):
        return row_kernels.columns(format, compile)

    def plain(self, X):
        return X.tocsr().indices.astype(np.int64)


@kernel_op
class SetRows(KernelOp):
    """W with other values in some rows, each named once; ``in_place``: W itself is changed.

    Theano's ``set_subtensor`` does the same, and is refused one row by some linkers.
    """

    __props__ = ("in_place",)

    def __init__(self, in_place=False):
        self.in_place = in_place
        if in_place:
            self.destroy_map = {0: [0]}

    def make_node(self, W, rows, values):
        return Apply(self, [W, rows, values], [W.type()])

    def infer_shape(self, *arguments):
        return [arguments[-1][0]]

    def compiled(self, format, compile):
        return row_kernels.set_rows(self.in_place, compile)

    def plain(self, W, rows, values):
        out = W if self.in_place else W.copy()
        out[rows] = values
        return out


@kernel_op
class Tick(KernelOp):
    """t + 1, once the rows are known: a step that is refused does not count."""

    def make_node(self, t, rows):
        return Apply(self, [t, rows], [t.type()])

    def infer_shape(self, *arguments):
        return [()]

    def compiled(self, format, compile):
        return row_kernels.tick(compile)

    def plain(self, t, rows):
        return np.asarray(t + 1)
