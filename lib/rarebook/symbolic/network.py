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
        purpose = "output", self.index(chosen)
        return outputs(self, [chosen], self.variables, purpose, X, batch_size)[0]

    def predict_proba(self, X, batch_size=1024):
        """The last layer's output for rows X, (B, C); see :meth:`output`."""
        return self.output(X, batch_size=batch_size)

    def predict(self, X, batch_size=1024):
        """The column of each row's largest output, (B,) int64; see :meth:`output`."""
        return self.output(X, batch_size=batch_size).argmax(axis=1)


def outputs(network, layers, variables, purpose, X, batch_size=1024):
    """What several layers give for rows X, a list; one function computes them.

    Args:
        network: the one whose input X is for.
        layers: on that input.
        variables: all that the layers depend on.
        purpose: what :func:`~rarebook.symbolic.compiled.compiled` knows the function by.
        X, batch_size: those of :meth:`Network.output`, checked.
    """

    def build():
        stand_ins, values = with_stand_ins(variables, [layer.output for layer in layers])
        return Compiled(theano.function([network[0].output], values), stand_ins)

    shapes = [layer.shape or [layer.size] for layer in layers]
    found = [np.empty((X.shape[0], *shape), network[0].dtype) for shape in shapes]
    with compiled(network, purpose, build).lend(variables) as function:
        for start in range(0, X.shape[0], batch_size):
            batch = slice(start, start + batch_size)
            for array, values in zip(found, function(X[batch]), strict=True):
                array[batch] = values
    return found
