"""From Theano to NumPy: the numeric twin of a trained symbolic network.

Source: the post "Converting Theano to Numpy".
"""

from copy import deepcopy

from rarebook import checks
from rarebook.numeric import memory_network as numeric_memory
from rarebook.numeric.feedback import FeedbackNetwork
from rarebook.numeric.files import LAYERS, class_of
from rarebook.numeric.network import Network
from rarebook.symbolic import feedback, memory_network
from rarebook.symbolic.network import Network as SymbolicNetwork


def to_numeric(network):
    """A network of NumPy layers that predicts what the symbolic network predicts now.

    Its arrays are copies: what the symbolic network learns later does not reach it. A memory is
    copied with its generator and its rule. Layers that two chains share stay shared.

    Args:
        network: a symbolic :class:`~rarebook.symbolic.network.Network`,
            :class:`~rarebook.symbolic.feedback.FeedbackNetwork` or
            :class:`~rarebook.symbolic.memory_network.MemoryNetwork`, of the library's own layers.

    Returns:
        The class of the same name on the numeric floor; :func:`rarebook.numeric.files.save` writes
        it to a file.

    Raises:
        ValueError: if the network or one of its layers has no twin.

    Example:
        >>> import numpy as np
        >>> from rarebook.symbolic.layers import Input, Projection, Softmax
        >>> inp = Input(3)
        >>> pro = Projection(inp, 2, np.random.default_rng(0))
        >>> twin = to_numeric(SymbolicNetwork([inp, pro, Softmax(pro)]))
        >>> twin[-1]([[0, 0, 0]]).tolist()
        [[0.5, 0.5]]
    """
    made = {}
    if isinstance(network, memory_network.MemoryNetwork):
        head = network.head
        return numeric_memory.MemoryNetwork(
            _chain(network.controller, made),
            deepcopy(network.memory),
            head=None if head is None else _chain(head, made),
            head_labels=network.head_labels or None,
        )
    if not isinstance(network, SymbolicNetwork):
        checks.refuse("network", type(network).__name__, "a symbolic network")
    return _chain(network, made)


def _chain(network, made):
    """The twin of a chain of layers; ``made`` has those of layers met before."""
    for layer in network:
        if layer not in made:
            made[layer] = _twin(layer, made)
    kind = FeedbackNetwork if isinstance(network, feedback.FeedbackNetwork) else Network
    return kind([made[layer] for layer in network])


def _twin(layer, made):
    kind = type(layer).__name__
    if kind not in LAYERS or not type(layer).__module__.startswith("rarebook.symbolic."):
        checks.refuse("network", f"a layer {kind}", f"layers among {', '.join(LAYERS)}")
    kind, names = class_of(kind)
    arguments = {name: _plain(getattr(layer, name)) for name in names}
    before = [] if layer.prev is None else [made[layer.prev]]
    return kind(*before, **arguments, name=layer.name)


def _plain(value):
    """The array of a shared variable, a list of those of several, anything else as it is."""
    if isinstance(value, tuple):
        return [part.get_value() for part in value]
    return value.get_value() if hasattr(value, "get_value") else value
