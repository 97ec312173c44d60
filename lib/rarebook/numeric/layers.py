"""The layers in plain NumPy: ``layer(X)`` asks the layer before it, until the input returns X.

Nothing is compiled and nothing but NumPy is imported. The layers and their arguments are those of
:mod:`rarebook.symbolic.layers`; here the weights are arrays, and a layer only computes what a
trained network predicts.

Source: the post "Converting Theano to Numpy".
"""

import numpy as np

from rarebook import checks
from rarebook.numeric.sparse_ops import product


class Layer:
    """One step of a network. ``prev`` is the layer it stands on, None for an input.

    Calling a layer with rows X returns its output for these rows, an array (B, ``size``). A
    subclass defines ``compute(x)``, its output from that of ``prev``. ``takes`` says what it may
    stand on, ``gives`` what it gives: dense rows, sparse rows, ids, or images; None: what it stands
    on gives. ``shape`` is (H, W, C) for images, None for anything else.
    """

    prev = None
    params = ()
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

    def __call__(self, X):
        return self.compute(self.prev(X))

    @property
    def n_params(self):
        """How many trained numbers the layer holds."""
        return sum(param.size for param in self.params)

    def __str__(self):
        return f"{type(self).__name__} → {self.size}"


class Input(Layer):
    """Dense rows.

    Args:
        size: the number of columns.
        dtype: "float32" or "float64"; integers and booleans are converted.

    Calling it returns X as a dense array (B, ``size``) and raises ``ValueError`` for a sparse
    matrix, another width, or values that are not finite numbers.
    """

    def __init__(self, size, dtype="float32", name=None):
        self.size = checks.whole_number("size", size, 1)
        self.dtype = checks.float_dtype("dtype", dtype)
        self.name = name

    def __call__(self, X):
        return checks.dense_rows("X", X, self.size, self.dtype)


class SparseInput(Input):
    """Sparse rows: a SciPy matrix, or the three arrays of compressed rows.

    Args:
        size: the number of columns.
        dtype: "float32" or "float64"; integers and booleans are converted.

    Calling it takes a SciPy sparse matrix (B, ``size``) of any format, or a tuple ``(indptr,
    indices, data)``: row i holds ``data[indptr[i]:indptr[i + 1]]`` in the columns
    ``indices[indptr[i]:indptr[i + 1]]``, as in SciPy's CSR, and SciPy is not needed. Raises
    ``ValueError`` for a dense array, another width, an index outside, values that are not finite.
    """

    gives = "sparse"

    def __call__(self, X):
        return checks.sparse_or_arrays("X", X, self.size, self.dtype)


class Projection(Layer):
    """x W + b, for dense and for sparse rows.

    Args:
        prev: the layer before, of size N.
        W: weights (N, M).
        bias: (M,).

    Raises:
        ValueError: if the shapes do not fit, or a value is not a finite number.

    Example:
        >>> project = Projection(SparseInput(3), W=[[1, 2], [3, 4], [5, 6]], bias=[0, 1])
        >>> project(([0, 2], [0, 2], [1, 10])).tolist()
        [[51.0, 63.0]]
    """

    takes = ("dense", "sparse")

    def __init__(self, prev, W, bias, name=None):
        super().__init__(prev, name)
        self.W = checks.array("W", W, (prev.size, None), prev.dtype)
        self.size = self.W.shape[1]
        self.bias = checks.array("bias", bias, (self.size,), prev.dtype)
        self.params = self.W, self.bias

    def compute(self, x):
        dot = product if self.prev.gives == "sparse" else np.matmul
        out = dot(x, self.W)
        out += self.bias
        return out


class BatchNorm(Layer):
    """γ (x - mean) / √(var + ε) + β with the running mean and variance of the training.

    Args:
        prev: the layer before, of size M; of images, M is the number of channels.
        gamma, beta, mean, var: (M,) each; ``var`` is not negative.
        epsilon: above 0.

    Raises:
        ValueError: if the shapes do not fit, or a value is not allowed.

    Source: Ioffe and Szegedy, Batch Normalization, 2015, algorithm 2.
    """

    takes = ("dense", "images")
    gives = None

    def __init__(self, prev, gamma, beta, mean, var, epsilon=1e-5, name=None):
        super().__init__(prev, name)
        self.epsilon = checks.real_number("epsilon", epsilon, above=0)
        given = [("gamma", gamma), ("beta", beta), ("mean", mean), ("var", var)]
        self.gamma, self.beta, self.mean, self.var = (
            checks.array(argument, values, (self.size,), self.dtype) for argument, values in given
        )
        if (self.var < 0).any():
            checks.refuse("var", f"{self.var.min():g}", "variances, at least 0")
        self.params = self.gamma, self.beta

    def compute(self, x):
        scale = self.gamma / np.sqrt(self.var + self.dtype.type(self.epsilon))
        return (x - self.mean) * scale + self.beta


class LayerNorm(Layer):
    """γ (x - mean) / √(var + ε) + β, mean and variance (divided by M) over each row.

    Args:
        prev: the layer before, of size M.
        gamma, beta: (M,) each.
        epsilon: above 0.

    Raises:
        ValueError: if the shapes do not fit, or a value is not allowed.

    Source: Ba, Kiros and Hinton, Layer Normalization, 2016.

    Example:
        >>> LayerNorm(Input(2), gamma=[1, 1], beta=[0, 5])([[3, 7]]).round(3).tolist()
        [[-1.0, 6.0]]
    """

    def __init__(self, prev, gamma, beta, epsilon=1e-5, name=None):
        super().__init__(prev, name)
        self.epsilon = checks.real_number("epsilon", epsilon, above=0)
        self.gamma = checks.array("gamma", gamma, (self.size,), self.dtype)
        self.beta = checks.array("beta", beta, (self.size,), self.dtype)
        self.params = self.gamma, self.beta

    def compute(self, x):
        return normalized(x, self.epsilon) * self.gamma + self.beta


def normalized(x, epsilon=1e-5):
    """(x - mean) / √(var + ε) over the last axis of x."""
    x = x - x.mean(axis=-1, keepdims=True)
    return x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + x.dtype.type(epsilon))


class ReLU(Layer):
    """max(0, x)."""

    takes = ("dense", "images")
    gives = None

    def compute(self, x):
        return np.maximum(x, 0)


class L2Norm(Layer):
    """x / ‖x‖ for each row, ‖x‖ = √Σⱼ xⱼ²; a row of zeros becomes (1, …, 1) / √M."""

    def compute(self, x):
        peak = np.abs(x).max(axis=1, keepdims=True)
        x = x / np.where(peak, peak, 1)  # so that no square overflows
        squares = (x * x).sum(axis=1, keepdims=True)
        constant = self.dtype.type(self.size**-0.5)
        return np.where(peak, x / np.sqrt(np.where(peak, squares, 1)), constant)


class Softmax(Layer):
    """exp(zᵢ) / Σⱼ exp(zⱼ) over each row, finite for logits of any size."""

    def compute(self, x):
        return softmax(x)


def softmax(x):
    """exp(xᵢ) / Σⱼ exp(xⱼ) over each row."""
    e = np.exp(x - np.maximum.reduce(x, axis=1, keepdims=True))
    e /= np.add.reduce(e, axis=1, keepdims=True)  # in a small row, calls count
    return e


def outputs(layers, X):
    """What several layers give for rows X, a list; each layer below them is computed once.

    Example:
        >>> rows = Input(2)
        >>> hidden = ReLU(rows)
        >>> outputs([hidden, Softmax(hidden)], [[-1, 0]])[1].tolist()
        [[0.5, 0.5]]
    """
    found = {}

    def output(layer):
        if layer not in found:
            found[layer] = layer(X) if layer.prev is None else layer.compute(output(layer.prev))
        return found[layer]

    return [output(layer) for layer in layers]
