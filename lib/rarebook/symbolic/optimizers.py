"""Optimizers as Theano expressions: three functions, for all of W or for the rows of a step.

The rules and their settings are those of :mod:`rarebook.update_rules`. Each has

* ``init(W)``: what the optimizer remembers of W, a dict of shared variables;
* ``catch_up(W, state, X)``: W and the state with the rows that X names made up to date; only for
  ``exact`` and ``deferred_decay``, the others give back what they got. Read the rows from its W;
* ``step(W, state, gradient, learning_rate)``: W and the state after a step. The gradient is a dense
  expression of W's shape, or a :class:`~rarebook.update_rules.RowGradient`.

All return expressions; :meth:`Optimizer.pairs` makes the updates of a Theano function of them. The
learning rate is passed apart from the other settings, so that one compiled function serves them
all. The twins in :mod:`rarebook.numeric.optimizers` have the same names.

Example:
    >>> from rarebook.symbolic.rows import lookup
    >>> from rarebook.update_rules import RowGradient
    >>> W, ids, adam = theano.shared(np.ones((3, 1))), T.lvector("ids"), Adam(0.1, exact=True)
    >>> state = adam.init(W)
    >>> now = adam.catch_up(W, state, ids)
    >>> rows = lookup(now[0], ids)
    >>> G = T.grad(T.sum(rows**2), rows)
    >>> after = adam.step(*now, RowGradient(ids, G), 0.1)
    >>> _ = theano.function([ids], [], updates=adam.pairs(W, state, *after))(np.array([0, 2]))
    >>> W.get_value().round(6).tolist()
    [[0.9], [1.0], [0.9]]
"""

import numpy as np

from rarebook import checks, update_rules
from rarebook.backend import Apply, Assert, SparseType, T, theano
from rarebook.symbolic.ops import KernelOp, kernel_op
from rarebook.symbolic.rows import SetRows, Tick, coalesce, row_step, touched
from rarebook.symbolic.sparse_ops import row_sparse_step
from rarebook.update_rules import RowGradient

try:
    from rarebook import row_kernels
except ModuleNotFoundError:  # as with classic Theano
    row_kernels = None

FIRST_HISTORY = 1024  # steps that the history has room for at the start


class Optimizer:
    """What all rules share on this floor."""

    def init(self, W):
        """The state of an optimizer for W, a dict of shared variables that start at zero.

        The rule's slots are of W's shape. Where they are needed, ``t`` counts the steps, ``steps``
        each row's own, ``last`` is the step up to which a row is done, ``history`` holds the
        learning rates.
        """
        value = W.get_value(borrow=True)
        state = {}
        if self.counts_steps or self.defers:
            state["t"] = theano.shared(np.int64(0), "t")
        for name in self.slots:
            state[name] = theano.shared(np.zeros_like(value), name)
        if self.per_row_steps:
            state["steps"] = theano.shared(np.zeros(len(value), np.int64), "steps")
        if self.defers:
            state["last"] = theano.shared(np.zeros(len(value), np.int64), "last")
            state["history"] = theano.shared(np.zeros((FIRST_HISTORY, 2)), "history")
        return state

    def catch_up(self, W, state, X=None, padding=None):
        """W and the state, with the rows that X names as the dense form would have them by now.

        Args:
            W: a Theano matrix (N, dim).
            state: of ``init``, or what ``catch_up`` or ``step`` returned.
            X: integer ids of any shape, or a sparse variable (B, N), whose columns are meant. None:
                all rows, as at the end of a training.
            padding: an id whose row is left as it is.

        Raises:
            ValueError: when the function is called, if an id lies outside, or W has a value that is
                not finite in these rows.
        """
        if not self.defers:
            return W, state
        ids = T.arange(W.shape[0]) if X is None else touched(X)
        names = self.slots if self.exact else ()
        op = CatchUp(self, -1 if padding is None else checks.whole_number("padding", padding, 0))
        parts = [state[name] for name in ("last", "t", "history")]
        W, last, *slots = op(W, *parts, ids, *(state[name] for name in names))
        return W, state | {"last": last} | dict(zip(names, slots, strict=True))

    def step(self, W, state, gradient, learning_rate):
        """W and the state after one step.

        Args:
            W: a Theano variable; a matrix (N, dim) where the gradient is for some rows.
            state: of ``init``, or what ``catch_up`` returned.
            gradient: dense, of W's shape, or a RowGradient.
            learning_rate: a Theano scalar or a number, above 0.

        Raises:
            ValueError: when the function is called, for a RowGradient: if an id lies outside, the
                learning rate is not above 0, or the gradient or a row that would be changed has a
                value that is not finite. Nothing is changed then, but that rows may have been
                caught up.
            AssertionError: when the function is called, if a row that has to be caught up is not.
        """
        if isinstance(learning_rate, (int, float)):
            self.check_rate(learning_rate)
        if not isinstance(gradient, RowGradient):
            return self._dense_step(W, state, gradient, learning_rate)
        if not self.slots and not self.weight_decay:
            return self._plain_step(W, gradient, learning_rate), state
        rows, g = coalesce(W, gradient, learning_rate, self.weight_decay)
        new, t = {}, None
        if "t" in state:
            t = new["t"] = Tick()(state["t"], rows)
        if self.defers:
            done = T.all(T.eq(state["last"][rows], state["t"]))
            stale = "the rows are not up to date: read them from what catch_up returns"
            rows = Assert(stale)(rows, done)
            rate = T.cast(learning_rate, "float64")
            new["history"] = Remember(self.weight_decay)(state["history"], t, rate)
            now = T.zeros_like(rows) + t
            new["last"] = SetRows()(state["last"], rows, now)
        count = t
        if self.per_row_steps:
            counted = state["steps"][rows] + 1
            new["steps"], count = SetRows()(state["steps"], rows, counted), counted[:, None]
        old = {name: state[name][rows] for name in self.slots}
        change, slots = self.change(g, old, count, learning_rate, Theano)
        for name, value in slots.items():
            new[name] = SetRows()(state[name], rows, value)
        changed = self._shrunk(W[rows], learning_rate) - change
        return SetRows()(W, rows, changed), state | new

    def _dense_step(self, W, state, gradient, learning_rate):
        if self.defers:
            checks.refuse("gradient", "a dense one", f"a RowGradient where {self.name} waits")
        t = state["t"] + 1 if "t" in state else None
        old = {name: state[name] for name in self.slots}
        change, slots = self.change(gradient, old, t, learning_rate, Theano)
        new = slots if t is None else slots | {"t": t}
        return self._shrunk(W, learning_rate) - change, state | new

    @staticmethod
    def pairs(W, state, new_W, new_state):
        """Pairs (shared variable, new value) of W and of all in its state."""
        changed = [(state[name], new_state[name]) for name in state]
        return [(W, new_W), *((old, new) for old, new in changed if new is not old)]

    def updates(self, params, grads, learning_rate):
        """Pairs (shared variable, new value) for several parameters, and for their fresh states.

        The parameters come first. Not for settings that have rows caught up before they are read.
        """
        if self.defers:
            allowed = "init, catch_up and step, so that rows are caught up"
            checks.refuse("optimizer", self.name, allowed)
        changed, kept = [], []
        for param, grad in zip(params, grads, strict=True):
            state = self.init(param)
            pair, *of_state = self.pairs(
                param, state, *self.step(param, state, grad, learning_rate)
            )
            changed.append(pair)
            kept += of_state
        return changed + kept

    def _shrunk(self, W, rate):
        return W * T.cast(1 - rate * self.weight_decay, W.dtype) if self.weight_decay else W

    def _plain_step(self, W, gradient, rate):
        X, G, padding = gradient
        if isinstance(getattr(X, "type", None), SparseType):
            return row_sparse_step(W, X, G, rate)
        return row_step(W, X, G, rate, padding)


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


class Theano:
    """What ``change`` needs of Theano; :class:`rarebook.update_rules.NumPy` is its twin."""

    @staticmethod
    def sqrt(x):
        """The square root of each number."""
        return T.sqrt(x)

    @staticmethod
    def number(value, like):
        """The constant ``value`` in the type of ``like``; a Python float could widen float32."""
        return np.dtype(like.dtype).type(value)

    @staticmethod
    def cast(value, like):
        """A scalar, or one number a row, in the type of ``like``."""
        return T.cast(value, like.dtype)


@kernel_op
class CatchUp(KernelOp):
    """W, last and the slots, with the rows ids at step t; see ``update_rules.catch_up``."""

    __props__ = ("rule", "padding", "in_place")

    def __init__(self, rule, padding, in_place=False):
        self.rule, self.padding, self.in_place = rule, padding, in_place
        if in_place:
            n_slots = len(rule.slots) if rule.exact else 0
            self.destroy_map = {0: [0], 1: [1]} | {2 + i: [5 + i] for i in range(n_slots)}

    def make_node(self, W, last, t, history, ids, *slots):
        outputs = [W.type(), last.type(), *(slot.type() for slot in slots)]
        return Apply(self, [W, last, t, history, ids, *slots], outputs)

    def infer_shape(self, *arguments):
        W, last, _, _, _, *slots = arguments[-1]
        return [W, last, *slots]

    def compiled(self, format, compile):
        rule = self.rule
        name = type(rule).__name__ if rule.exact else None
        names = {"Momentum": ("momentum",), "RMSprop": ("rho",)}
        settings = names.get(name, ("beta1", "beta2", "epsilon")) if name else ()
        values = tuple(float(getattr(rule, setting)) for setting in settings)
        return row_kernels.catch_up(
            name, values, rule.n_terms, self.padding, self.in_place, compile
        )

    def plain(self, W, last, t, history, ids, *slots):
        checks.ids("ids", ids, len(W))
        checks.array("W", W[ids], (None, None), W.dtype)
        if not self.in_place:
            W, last, *slots = (part.copy() for part in (W, last, *slots))
        rows = np.unique(ids)
        named = dict(zip(self.rule.slots, slots, strict=False))
        rows = rows[rows != self.padding]
        update_rules.catch_up(self.rule, W, last, int(t), history, rows, named)
        return W, last, *slots


@kernel_op
class Remember(KernelOp):
    """The history with step t; see ``update_rules.remember``."""

    __props__ = ("weight_decay", "in_place")

    def __init__(self, weight_decay, in_place=False):
        self.weight_decay, self.in_place = weight_decay, in_place
        if in_place:
            self.destroy_map = {0: [0]}

    def make_node(self, history, t, rate):
        return Apply(self, [history, t, T.as_tensor_variable(rate)], [history.type()])

    def compiled(self, format, compile):
        return row_kernels.remember(self.weight_decay, self.in_place, compile)

    def plain(self, history, t, rate):
        history = history if self.in_place else history.copy()
        return update_rules.remember(history, int(t), float(rate), self.weight_decay)
