"""A network of Theano layers."""

import numpy as np

from rarebook import checks
from rarebook.backend import theano
from rarebook.network import LayerList
from rarebook.symbolic.compiled import Compiled, compiled, with_stand_ins


class Network(LayerList):
    """Layers in order; ``net[-1].output`` is the expression of the prediction.

    See :class:`rarebook.network.LayerList` for the arguments.

    Example:
        >>> from rarebook.symbolic.layers import Input, Projection, Softmax
        >>> inp = Input(3)
        >>> pro = Projection(inp, 2, np.random.default_rng(0))
        >>> net = Network([inp, pro, Softmax(pro)])
        >>> net.predict_proba(np.zeros((1, 3)))
        array([[0.5, 0.5]], dtype=float32)
    """

    @property
    def variables(self):
        """All shared variables, those trained and then those that training keeps beside them."""
        return [*self.params, *(variable for layer in self for variable in layer.state)]

    def output(self, X, layer=-1, batch_size=1024):
        """A layer's value in prediction for rows X, (B, ``net[layer].size``) or (B, H, W, C).

        Args:
            X: (B, N), sparse where the network starts with SparseInput, otherwise dense.
            layer: position or name of the layer, the input excepted.
            batch_size: rows computed at a time, which bounds the memory.

        Raises:
            ValueError: if X or batch_size is not allowed, or the layer is the input.
        """
        chosen = self[layer]
        if chosen is self[0]:
            checks.refuse("layer", repr(layer), "a layer after the input")
        X = self[0].rows(X)
        batch_size = checks.whole_number("batch_size", batch_size, 1)
        position = self.index(chosen)

        def build():
            stand_ins, (value,) = with_stand_ins(self.variables, [chosen.output])
            return Compiled(theano.function([self[0].output], value), stand_ins)

        values = np.empty((X.shape[0], *(chosen.shape or [chosen.size])), self[0].dtype)
        with compiled(self, ("output", position), build).lend(self.variables) as function:
            for start in range(0, len(values), batch_size):
                values[start : start + batch_size] = function(X[start : start + batch_size])
        return values

    def predict_proba(self, X, batch_size=1024):
        """The last layer's output for rows X, (B, C); see :meth:`output`."""
        return self.output(X, batch_size=batch_size)

    def predict(self, X, batch_size=1024):
        """The column of each row's largest output, (B,) int64; see :meth:`output`."""
        return self.output(X, batch_size=batch_size).argmax(axis=1)
