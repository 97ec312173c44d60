"""A network of NumPy layers: what is left of a trained network when only predictions are wanted."""

from rarebook.network import LayerList


class Network(LayerList):
    """Layers in order; ``net[-1](X)`` is the output, ``net[-3](X)`` that of an earlier layer.

    See :class:`rarebook.network.LayerList` for the arguments.
    """

    def predict_proba(self, X):
        """The last layer's output for rows X, (B, C)."""
        return self[-1](X)

    def predict(self, X):
        """The column of each row's largest output, (B,) int64."""
        return self[-1](X).argmax(axis=1)
