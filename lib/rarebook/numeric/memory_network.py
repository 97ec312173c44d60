"""The memory network in NumPy, for where it only predicts and remembers.

The twin of :mod:`rarebook.symbolic.memory_network`.
"""

from rarebook.memory_network import MemoryPredictor
from rarebook.numeric.layers import outputs


class MemoryNetwork(MemoryPredictor):
    """A controller of NumPy layers and a memory; see
    :class:`~rarebook.memory_network.MemoryPredictor`.

    Example:
        >>> import numpy as np
        >>> from rarebook.memory import Memory
        >>> from rarebook.numeric.layers import Input, L2Norm
        >>> from rarebook.numeric.network import Network
        >>> rows = Input(2)
        >>> memory = Memory(3, key_size=2, rng=np.random.default_rng(0))
        >>> network = MemoryNetwork(Network([rows, L2Norm(rows)]), memory)
        >>> _ = network.remember([[9, 1], [1, 9]], ["flat", "steep"])
        >>> network.predict([[5, 1]]).tolist()
        ['flat']
    """

    def keys(self, X):
        return self.controller[-1](X)

    def keys_and_head(self, X):
        return outputs([self.controller[-1], self.head[-1]], X)
