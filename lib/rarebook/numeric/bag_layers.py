"""Layers for bags of embeddings in plain NumPy: a network whose input is lists of ids.

The twins of :mod:`rarebook.symbolic.bag_layers`.

Source: the post "Padded Word Indexes For Embeddings With Theano".
"""

from rarebook import checks
from rarebook.numeric.bags import embedding_bag
from rarebook.numeric.layers import Input, Layer
from rarebook.sequences import pad_sequences


class BagInput(Input):
    """Bags of ids, padded with 0.

    Args:
        size: N, the number of rows of the table that the ids name, row 0 among them.
        dtype: "float32" or "float64", of the whole network.

    Calling it with integers (B, L), or with a list of B lists, returns an int64 matrix (B, L), and
    raises ``ValueError`` if an id lies outside.
    """

    gives = "ids"

    def __call__(self, X):
        if isinstance(X, list):
            X = pad_sequences(X)
        return checks.bags("X", X, self.size)


class EmbeddingBag(Layer):
    """The mean of a bag's rows of W, or their sum, or the largest of each column.

    Args:
        prev: a BagInput of size N.
        W: the table (N, dim).
        mode: "mean", "sum" or "max".

    Raises:
        ValueError: if an argument is not allowed.

    Example:
        >>> bag = EmbeddingBag(BagInput(3), W=[[0, 0], [1, 2], [3, 4]])
        >>> bag([[1, 2], [], [2]]).tolist()
        [[2.0, 3.0], [0.0, 0.0], [3.0, 4.0]]
    """

    takes = ("ids",)

    def __init__(self, prev, W, mode="mean", name=None):
        super().__init__(prev, name)
        self.W = checks.array("W", W, (prev.size, None), prev.dtype)
        self.size, self.params = self.W.shape[1], (self.W,)
        if mode not in ("mean", "sum", "max"):
            checks.refuse("mode", repr(mode), "'mean', 'sum' or 'max'")
        self.mode = mode

    def compute(self, x):
        return embedding_bag(self.W, x, mode=self.mode)
