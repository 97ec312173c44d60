"""Optimizers in plain NumPy: they change W and their state in place.

The twins of :mod:`rarebook.symbolic.optimizers`, with the rules of :mod:`rarebook.update_rules`:

* ``init(W)``: what the optimizer remembers of W, a dict of arrays;
* ``catch_up(W, state, ids)``: bring rows up to date, for ``exact`` and ``deferred_decay``;
* ``step(W, state, gradient)``: one step, for all of W or for the rows of a RowGradient.

A step that is refused changes nothing.

Example:
    >>> from rarebook.update_rules import RowGradient
    >>> W, adam = np.ones((3, 1)), Adam(0.1)
    >>> state = adam.init(W)
    >>> adam.step(W, state, RowGradient([0, 2], 2 * W[[0, 2]])).round(6).tolist()
    [[0.9], [1.0], [0.9]]
"""

import numpy as np

from rarebook import checks, update_rules
from rarebook.update_rules import NumPy, RowGradient


class Optimizer:
    """What all rules share on this floor."""

    def init(self, W):
        """The state of an optimizer for W; see the twin in :mod:`rarebook.symbolic.optimizers`."""
        W = _weights(W)
        state = {name: np.zeros_like(W) for name in self.slots}
        if self.counts_steps or self.defers:
            state["t"] = 0
        if self.per_row_steps:
            state["steps"] = np.zeros(len(W), np.int64)
        if self.defers:
            state["last"] = np.zeros(len(W), np.int64)
            state["history"] = np.zeros((1024, 2))
        return state

    def catch_up(self, W, state, ids=None, padding=None):
        """Change the rows ``ids`` of W, and the state, to what the dense form would have by now.

        Args:
            W: an array (N, dim).
            state: of ``init``.
            ids: integers of any shape; None for all rows.
            padding: an id whose row is left as it is.

        Returns:
            W itself.

        Raises:
            ValueError: if an argument is not allowed. Nothing is changed then.
        """
        W = _weights(W)
        self._check_state(W, state)
        if not self.defers:
            return W
        ids = np.arange(len(W)) if ids is None else checks.id_array("ids", ids, len(W))
        rows = np.unique(ids)
        rows = rows[rows != (-1 if padding is None else padding)]
        checks.array("W", W[rows], (None,) * W.ndim, W.dtype)
        update_rules.catch_up(self, W, state["last"], state["t"], state["history"], rows, state)
        return W

    def step(self, W, state, gradient, learning_rate=None):
        """Change W and the state by one step.

        Args:
            W: an array; a matrix (N, dim) where the gradient is for some rows.
            state: of ``init``.
            gradient: dense, of W's shape, or a RowGradient whose X is ids, a SciPy matrix, or
                compressed rows ``(indptr, indices, data)``.
            learning_rate: above 0; None takes the rule's own.

        Returns:
            W itself.

        Raises:
            ValueError: if an argument is not allowed, a value is not finite, an id lies outside, or
                a row is not caught up that should be. Nothing is changed then.
        """
        W = _weights(W)
        self._check_state(W, state)
        rate = self.check_rate(self.learning_rate if learning_rate is None else learning_rate)
        rows, g = slice(None), gradient
        if isinstance(gradient, RowGradient):
            rows, g = self._rows(W, gradient)
        elif self.defers:
            checks.refuse("gradient", "a dense one", f"a RowGradient where {self.name} waits")
        else:
            g = checks.array("gradient", gradient, W.shape, W.dtype)
        part = checks.array("W", W[rows], (None,) * W.ndim, W.dtype)
        count = t = state.get("t", 0) + 1
        if self.defers and (state["last"][rows] < t - 1).any():
            checks.refuse("W", "rows that are not up to date", "rows after catch_up(W, state, ids)")
        if self.per_row_steps:
            counted = state["steps"][rows] + 1
            count = counted[:, None]
        old = {name: state[name][rows] for name in self.slots}
        change, new = self.change(g, old, count, rate, NumPy)
        W[rows] = part * W.dtype.type(1 - rate * self.weight_decay) - change
        for name, value in new.items():
            state[name][rows] = value
        if self.per_row_steps:
            state["steps"][rows] = counted
        if self.defers:
            state["history"] = update_rules.remember(state["history"], t, rate, self.weight_decay)
            state["last"][rows] = t
        if "t" in state:
            state["t"] = t
        return W

    def _check_state(self, W, state):
        for name in self.slots:
            if np.shape(state.get(name)) != W.shape:
                received = f"shape {np.shape(state.get(name))}"
                checks.refuse(f"state[{name!r}]", received, f"{W.shape}, as init(W) makes it")

    @staticmethod
    def _rows(W, gradient):
        """The rows that the gradient touches, each once, and their gradients."""
        X, G, padding = gradient
        if not checks.is_sparse(X) and not isinstance(X, tuple):
            ids = checks.id_array("ids", X, len(W))
            G = checks.array("G", G, (*ids.shape, W.shape[1]), W.dtype)
            return update_rules.coalesce(ids, G, padding)
        if padding is not None:
            checks.refuse("padding", repr(padding), "None where X is a sparse matrix")
        X = checks.sparse_or_arrays("X", X, len(W), W.dtype)
        if not isinstance(X, tuple):
            X = X.tocsr()
            X = X.indptr, X.indices, X.data
        indptr, indices, data = X
        G = checks.array("G", G, (len(indptr) - 1, W.shape[1]), W.dtype)
        return update_rules.coalesce(indices, data[:, None] * np.repeat(G, np.diff(indptr), axis=0))


def _weights(W):
    """W if it is an array that may be changed in place."""
    if not isinstance(W, np.ndarray) or not W.ndim or not W.flags.writeable:
        checks.refuse("W", type(W).__name__, "a NumPy array that may be written to")
    checks.float_dtype("W.dtype", W.dtype)
    return W


class SGD(Optimizer, update_rules.SGD):
    __doc__ = update_rules.SGD.__doc__


class Momentum(Optimizer, update_rules.Momentum):
    __doc__ = update_rules.Momentum.__doc__


class RMSprop(Optimizer, update_rules.RMSprop):
    __doc__ = update_rules.RMSprop.__doc__


class Adagrad(Optimizer, update_rules.Adagrad):
    __doc__ = update_rules.Adagrad.__doc__


class Adam(Optimizer, update_rules.Adam):
    __doc__ = update_rules.Adam.__doc__
