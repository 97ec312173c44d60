"""Layers for bags of embeddings: a network whose input is lists of ids.

The twins are in :mod:`rarebook.numeric.bag_layers`.

Source: the post "Padded Word Indexes For Embeddings With Theano".
"""

from functools import cached_property

from rarebook import checks
from rarebook.backend import T, theano
from rarebook.sequences import pad_sequences
from rarebook.symbolic.bags import averaging_matrix, embedding_bag
from rarebook.symbolic.layers import Input, Layer
from rarebook.symbolic.sparse_ops import aligned


class BagInput(Input):
    """Bags of ids: an integer matrix (B, L), padded with 0.

    Args:
        size: N, the number of rows of the table that the ids name, row 0, the padding's, among
            them.
        dtype: "float32" or "float64", of the whole network.
        name: of the layer and its variable.

    Raises:
        ValueError: if an argument is not allowed; when rows are handed in, if an id lies outside.
    """

    gives = "ids"

    @cached_property
    def output(self):
        """The Theano matrix (B, L) int64 that stands for the ids."""
        return T.lmatrix(self.name or "ids")

    def rows(self, X, argument="X"):
        """Padded ids (B, L) int64, from such a matrix or from a list of lists."""
        if isinstance(X, list):
            X = pad_sequences(X)
        return checks.bags(argument, X, self.size)


class EmbeddingBag(Layer):
    """The mean of a bag's rows of W, or their sum, or the largest of each column.

    Args:
        prev: a BagInput of size N.
        num_units: dim, the number of columns of W.
        rng: a ``numpy.random.Generator``; draws W (N, dim) from a normal distribution with standard
            deviation 1 / √dim. Row 0 is zero, and training leaves it so.
        mode: "mean", "sum" or "max".

    Raises:
        ValueError: if an argument is not allowed.

    Example:
        >>> import numpy as np
        >>> bag = EmbeddingBag(BagInput(100), 8, np.random.default_rng(0))
        >>> bag.output.ndim, bag.n_params
        (2, 800)
    """

    takes = ("ids",)

    def __init__(self, prev, num_units, rng, mode="mean", name=None):
        super().__init__(prev, name)
        self.size = checks.whole_number("num_units", num_units, 1)
        checks.generator("rng", rng)
        if mode not in ("mean", "sum", "max"):
            checks.refuse("mode", repr(mode), "'mean', 'sum' or 'max'")
        self.mode = mode
        W = rng.normal(0, self.size**-0.5, size=(prev.size, self.size))
        W[0] = 0
        self.W = theano.shared(aligned(W.astype(self.dtype)), "W", borrow=True)
        self.params = (self.W,)

    def expression(self, x, training):
        return embedding_bag(self.W, x, mode=self.mode)

    def rows_read(self, x):
        if self.mode == "max" or type(self) is not EmbeddingBag:
            return None
        return averaging_matrix(x, self.prev.size, mode=self.mode, dtype=self.dtype)

    def config(self):
        return type(self), self.size, self.mode
