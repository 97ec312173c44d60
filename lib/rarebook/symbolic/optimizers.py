"""Optimizers: settings that turn gradients into the updates of a Theano function.

``optimizer.updates(params, grads, learning_rate)`` returns pairs (shared variable, new value) for
``theano.function(…, updates=…)``: the parameters first, then the optimizer's own state. The
learning rate is passed apart from the other settings, so that one compiled function serves them
all. An optimizer that ``takes_row_gradients`` gets the gradient for the weights of a sparse product
as a :class:`~rarebook.symbolic.sparse_ops.RowGradient`, the others a dense matrix.
"""

from dataclasses import dataclass

import numpy as np

from rarebook import checks
from rarebook.backend import T, theano
from rarebook.symbolic.sparse_ops import RowGradient, row_sparse_step


@dataclass(frozen=True)
class SGD:
    """W ← W - learning_rate · g.

    A row of weights whose gradient is zero stays as it is. So where the gradient comes as a
    :class:`~rarebook.symbolic.sparse_ops.RowGradient`, only the other rows are visited.

    Args:
        learning_rate: above 0.

    Raises:
        ValueError: if an argument is not allowed.

    Example:
        >>> w = theano.shared(np.ones(2))
        >>> updates = SGD(0.1).updates([w], T.grad(T.sum(w**2), [w]), 0.1)
        >>> _ = theano.function([], [], updates=updates)()
        >>> w.get_value().tolist()
        [0.8, 0.8]
    """

    learning_rate: float = 0.1
    takes_row_gradients = True

    def __post_init__(self):
        checks.real_number("learning_rate", self.learning_rate, above=0)

    def updates(self, params, grads, learning_rate):
        """Pairs (parameter, new value); ``learning_rate`` is a Theano scalar or a number."""
        return [
            (param, self.step(param, grad, learning_rate))
            for param, grad in zip(params, grads, strict=True)
        ]

    @staticmethod
    def step(param, grad, learning_rate):
        """The new value of one parameter."""
        if isinstance(grad, RowGradient):
            return row_sparse_step(param, *grad, learning_rate)
        return param - T.cast(learning_rate, param.dtype) * grad


@dataclass(frozen=True)
class Adam:
    """m ← β₁m + (1 - β₁)g, v ← β₂v + (1 - β₂)g², W ← W - learning_rate · m̂ / (√v̂ + ε).

    m̂ = m / (1 - β₁ᵗ) and v̂ = v / (1 - β₂ᵗ) at step t = 1, 2, …

    Args:
        learning_rate: above 0.
        beta1, beta2: at least 0, below 1.
        epsilon: above 0.

    Raises:
        ValueError: if an argument is not allowed.

    Source: Kingma and Ba, Adam, 2015, algorithm 1.
    """

    learning_rate: float = 0.001
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    def __post_init__(self):
        checks.real_number("learning_rate", self.learning_rate, above=0)
        checks.real_number("beta1", self.beta1, at_least=0, below=1)
        checks.real_number("beta2", self.beta2, at_least=0, below=1)
        checks.real_number("epsilon", self.epsilon, above=0)

    def updates(self, params, grads, learning_rate):
        """Pairs (parameter, new value), then those of t, m and v, which start at zero."""
        t = theano.shared(np.float64(0), "t")
        step = learning_rate * T.sqrt(1 - self.beta2 ** (t + 1)) / (1 - self.beta1 ** (t + 1))
        floor = self.epsilon * T.sqrt(1 - self.beta2 ** (t + 1))  # ε, moved into √v's units
        changed, state = [], [(t, t + 1)]
        for param, grad in zip(params, grads, strict=True):
            number = np.dtype(param.dtype).type
            m, v = (theano.shared(np.zeros_like(param.get_value(borrow=True))) for _ in "mv")
            m_new = number(self.beta1) * m + number(1 - self.beta1) * grad
            v_new = number(self.beta2) * v + number(1 - self.beta2) * grad**2
            change = (
                T.cast(step, param.dtype) * m_new / (T.sqrt(v_new) + T.cast(floor, param.dtype))
            )
            changed.append((param, param - change))
            state += [(m, m_new), (v, v_new)]
        return changed + state
