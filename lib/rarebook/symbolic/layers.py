"""The layers as Theano expressions: each adds what it does to the expression of the layer before.

A layer's ``output`` is its value when the network predicts, ``train_output`` the value in a
training step; the two differ from the first :class:`BatchNorm` on. Both are ordinary Theano
variables, to be used in any further expression. The twins in :mod:`rarebook.numeric.layers` compute
the same values from the same arrays.

Source: the posts "Sparse Input Data With Theano" and "Converting Theano to Numpy".
"""

from functools import cached_property

import numpy as np

from rarebook import checks
from rarebook.backend import SparseType, T, theano
from rarebook.symbolic.sparse_ops import aligned, sparse_dot


class Layer:
    """One step of a network. ``prev`` is the layer it stands on, None for an input.

    A subclass defines ``expression(x, training)``. Its ``params`` are the shared variables that
    training adjusts; its ``state`` are those that a training step sets to ``new_state()``, as for
    a running mean. ``train_inputs`` are variables that the value in a training step depends on
    besides the rows, as for noise; ``draw`` gives their values. ``takes`` says what it may stand
    on, ``gives`` what it gives: dense rows, sparse rows, ids, or images; None: what it stands on
    gives. ``shape`` is (H, W, C) for images, None for anything else.
    """

    prev = None
    params = ()
    state = ()
    train_inputs = ()
    takes = ("dense",)
    gives = "dense"
    shape = None

    def __init__(self, prev, name=None):
        if not isinstance(prev, Layer):
            checks.refuse("prev", repr(prev), "a layer of this floor")
        if prev.gives not in self.takes:
            checks.refuse("prev", type(prev).__name__, checks.LAYERS[self.takes[0]])
        self.prev, self.name = prev, name
        self.gives = self.gives or prev.gives
        self.shape = prev.shape if self.gives == "images" else None
        self.size, self.dtype = prev.size, prev.dtype

    @cached_property
    def output(self):
        """The Theano variable (B, ``size``) of the layer's value in prediction."""
        return self.expression(self.prev.output, training=False)

    @cached_property
    def train_output(self):
        """The Theano variable (B, ``size``) of the layer's value in a training step."""
        return self.expression(self.prev.train_output, training=True)

    def new_state(self):
        """One expression for each variable in ``state``."""
        return []

    def draw(self, rng, n_rows):
        """One array for each of ``train_inputs``, drawn for a training step with so many rows."""
        return []

    def rows_read(self, x):
        """A sparse S, where the layer is S W for its first param W, and what comes after; or None.

        So the gradient for W touches only the rows of W in which S has entries.
        """
        return None

    def config(self):
        """All that the expression depends on besides its variables, hashable.

        Two networks whose layers have equal configs share one compiled function. A layer that does
        not say is like no other.
        """
        return (self,)

    @property
    def n_params(self):
        """How many trained numbers the layer holds."""
        return sum(param.get_value(borrow=True).size for param in self.params)

    def __str__(self):
        return f"{type(self).__name__} → {self.size}"


class Input(Layer):
    """Dense rows: a Theano matrix (B, ``size``).

    Args:
        size: the number of columns.
        dtype: "float32" or "float64", of the whole network.
        name: of the layer and its variable.

    Raises:
        ValueError: if an argument is not allowed.
    """

    def __init__(self, size, dtype="float32", name=None):
        self.size = checks.whole_number("size", size, 1)
        self.dtype = checks.float_dtype("dtype", dtype)
        self.name = name

    @cached_property
    def output(self):
        """The Theano matrix (B, ``size``) that stands for the rows."""
        return T.matrix(self.name or "X", dtype=str(self.dtype))

    @property
    def train_output(self):
        """The same variable as ``output``."""
        return self.output

    def rows(self, X, argument="X"):
        """``X`` as the network's compiled functions take it; see ``checks.dense_rows``."""
        return checks.dense_rows(argument, X, self.size, self.dtype)

    def config(self):
        return type(self), self.size, str(self.dtype)


class CheckedRows(SparseType):
    """The type of a sparse variable that looks at a matrix before a compiled loop follows it.

    Theano calls ``filter`` on each argument of a compiled function. The loops read the indices as
    int32, whatever they are, and do not compare them with the width: other integers would give
    wrong numbers, and an index outside would read or write memory that is not the array's.
    """

    n_columns = None

    def filter(self, value, strict=False, allow_downcast=None):
        value = checks.sparse_rows("X", value, self.n_columns, self.dtype, self.format)
        return super().filter(value, strict, allow_downcast)


class SparseInput(Input):
    """Sparse rows: a Theano sparse matrix (B, ``size``).

    Args:
        size: the number of columns.
        dtype: "float32" or "float64", of the whole network.
        format: "csr" (rows; suits the product with W) or "csc" (columns). The other formats of
            SciPy, integers and booleans are converted to it.
        name: of the layer and its variable.

    Raises:
        ValueError: if an argument is not allowed; when a compiled function is called, if its
            argument is dense, has another width, or an index outside the matrix.

    Example:
        >>> project = Projection(SparseInput(10_000), 64, np.random.default_rng(0))
        >>> project.output.ndim, project.n_params
        (2, 640064)
    """

    gives = "sparse"

    def __init__(self, size, dtype="float32", format="csr", name=None):
        if format not in ("csr", "csc"):
            checks.refuse("format", repr(format), "'csr' or 'csc'")
        self.format = format
        super().__init__(size, dtype, name)

    @cached_property
    def output(self):
        """The Theano sparse matrix (B, ``size``) that stands for the rows."""
        rows = CheckedRows(self.format, dtype=str(self.dtype))
        rows.n_columns = self.size
        return rows(self.name or "X")

    def rows(self, X, argument="X"):
        """``X`` in compressed rows, from which minibatches are cut quickly."""
        return checks.sparse_rows(argument, X, self.size, self.dtype)

    def config(self):
        return (*super().config(), self.format)


def is_sparse(x):
    """Whether the Theano variable ``x`` is a sparse matrix."""
    return isinstance(x.type, SparseType)


class Projection(Layer):
    """x W + b: for a sparse x the structured product, for a dense one the usual.

    Args:
        prev: the layer before, of size N.
        num_units: M, the number of columns of W.
        rng: a ``numpy.random.Generator``; draws W (N, M) uniformly within ±√(6 / (N + M)). The
            bias (M,) starts at zero.

    Raises:
        ValueError: if an argument is not allowed.

    Source: for the range, Glorot and Bengio, 2010.
    """

    takes = ("dense", "sparse")

    def __init__(self, prev, num_units, rng, name=None):
        super().__init__(prev, name)
        self.size = checks.whole_number("num_units", num_units, 1)
        checks.generator("rng", rng)
        limit = np.sqrt(6 / (prev.size + self.size))
        W = rng.uniform(-limit, limit, size=(prev.size, self.size))
        self.W = theano.shared(aligned(W.astype(self.dtype)), "W", borrow=True)
        self.bias = theano.shared(np.zeros(self.size, self.dtype), "bias")
        self.params = self.W, self.bias

    def expression(self, x, training):
        dot = sparse_dot if is_sparse(x) else T.dot
        return dot(x, self.W) + self.bias

    def rows_read(self, x):
        # A subclass may compute something else.
        return x if is_sparse(x) and type(self) is Projection else None

    def config(self):
        return type(self), self.size


class BatchNorm(Layer):
    """γ (x - mean) / √(var + ε) + β, over each column, or each channel of images.

    In training, mean and variance (divided by B) are the batch's, and a running average of each
    follows them: new = momentum · old + (1 - momentum) · batch. In prediction they are the running
    averages, so that a row's output does not depend on the rows beside it.

    Args:
        prev: the layer before, of size M; of images, M is the number of channels.
        momentum: at least 0, below 1.
        epsilon: above 0; in the unit of a variance.

    Raises:
        ValueError: if an argument is not allowed.

    Source: Ioffe and Szegedy, Batch Normalization, 2015.
    """

    takes = ("dense", "images")
    gives = None

    def __init__(self, prev, momentum=0.9, epsilon=1e-5, name=None):
        super().__init__(prev, name)
        self.momentum = checks.real_number("momentum", momentum, at_least=0, below=1)
        self.epsilon = checks.real_number("epsilon", epsilon, above=0)
        starts = [("gamma", 1), ("beta", 0), ("mean", 0), ("var", 1)]
        self.gamma, self.beta, self.mean, self.var = (
            theano.shared(np.full(self.size, start, self.dtype), argument)
            for argument, start in starts
        )
        self.params = self.gamma, self.beta
        self.state = self.mean, self.var

    def expression(self, x, training):
        mean, var = moments(x) if training else self.state
        epsilon = self.dtype.type(self.epsilon)  # a Python float would turn float32 into float64
        return (x - mean) * (self.gamma / T.sqrt(var + epsilon)) + self.beta

    def new_state(self):
        keep, take = self.dtype.type(self.momentum), self.dtype.type(1 - self.momentum)
        batch = moments(self.prev.train_output)
        return [keep * old + take * new for old, new in zip(self.state, batch, strict=True)]

    def config(self):
        return type(self), self.momentum, self.epsilon


def moments(x):
    """Mean and variance over all axes of x (B, …, M) but the last, two vectors (M,)."""
    axes = list(range(x.ndim - 1))
    mean = T.mean(x, axis=axes)
    return mean, T.mean((x - mean) ** 2, axis=axes)


class LayerNorm(Layer):
    """γ (x - mean) / √(var + ε) + β, mean and variance (divided by M) over each row.

    A row's output does not depend on the rows beside it, in training either.

    Args:
        prev: the layer before, of size M. γ and β are (M,).
        epsilon: above 0; in the unit of a variance.

    Raises:
        ValueError: if an argument is not allowed.

    Source: Ba, Kiros and Hinton, Layer Normalization, 2016.
    """

    def __init__(self, prev, epsilon=1e-5, name=None):
        super().__init__(prev, name)
        self.epsilon = checks.real_number("epsilon", epsilon, above=0)
        self.gamma = theano.shared(np.ones(self.size, self.dtype), "gamma")
        self.beta = theano.shared(np.zeros(self.size, self.dtype), "beta")
        self.params = self.gamma, self.beta

    def expression(self, x, training):
        return normalized(x, self.epsilon) * self.gamma + self.beta

    def config(self):
        return type(self), self.epsilon


def normalized(x, epsilon=1e-5):
    """(x - mean) / √(var + ε) over the last axis of x."""
    x = x - T.mean(x, axis=-1, keepdims=True)
    return x / T.sqrt(T.mean(x * x, axis=-1, keepdims=True) + np.asarray(epsilon, x.dtype))


class ReLU(Layer):
    """max(0, x), with derivative 0 at 0."""

    takes = ("dense", "images")
    gives = None

    def expression(self, x, training):
        return relu(x)

    def config(self):
        return (type(self),)


def relu(x):
    """max(0, x)."""
    return T.switch(x > 0, x, T.zeros_like(x))


class L2Norm(Layer):
    """x / ‖x‖ for each row, ‖x‖ = √Σⱼ xⱼ²; a row of zeros becomes (1, …, 1) / √M.

    Such a row has no direction of its own; so all of them get the same one, and every row that
    leaves this layer has length 1.
    """

    def expression(self, x, training):
        peak = T.max(abs(x), axis=1, keepdims=True)
        zero = T.eq(peak, 0)
        # Scaled so that no square overflows; the scale cancels, and so does its derivative.
        peak = T.switch(zero, T.ones_like(peak), peak)
        x = x / theano.gradient.disconnected_grad(peak)
        squares = T.sum(x * x, axis=1, keepdims=True)
        unit = x / T.sqrt(T.switch(zero, T.ones_like(squares), squares))
        return T.switch(zero, T.ones_like(x) * self.dtype.type(self.size**-0.5), unit)

    def config(self):
        return type(self), self.size


class Softmax(Layer):
    """exp(zᵢ) / Σⱼ exp(zⱼ) over each row, finite for logits of any size.

    A loss is taken from the logits, ``prev.train_output``; see :mod:`rarebook.symbolic.losses`.
    """

    def expression(self, x, training):
        return softmax(x)

    def config(self):
        return (type(self),)


def softmax(x):
    """exp(xᵢ) / Σⱼ exp(xⱼ) over each row."""
    e = T.exp(x - T.max(x, axis=1, keepdims=True))
    return e / T.sum(e, axis=1, keepdims=True)
