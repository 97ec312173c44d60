"""Compiled functions that all networks of one shape share, so that the second does not compile.

Compiling takes seconds to a minute, a call a millisecond. So a function is compiled over stand-ins:
shared variables of its own, which hold a network's arrays while that network uses the function.
Handing an array over moves a reference, not the numbers.
"""

import threading
from collections import OrderedDict
from contextlib import contextmanager

from rarebook.backend import clone_replace, theano

MAX_FUNCTIONS = 64  # kept at a time; the one not used for longest goes first

_functions = OrderedDict()
_lock = threading.RLock()


def with_stand_ins(variables, expressions):
    """Fresh shared variables for ``variables``, and ``expressions`` written in terms of them."""
    stand_ins = [theano.shared(variable.get_value(), variable.name) for variable in variables]
    replace = dict(zip(variables, stand_ins, strict=True))
    return stand_ins, clone_replace(list(expressions), replace=replace)


class Compiled:
    """A compiled function and its stand-ins.

    Args:
        function: the result of ``theano.function``.
        stand_ins: shared variables in the function's graph that stand for a network's.
        state: further ones that belong to a training run, such as an optimizer's; their values
            now are the ones to start from.
    """

    def __init__(self, function, stand_ins, state=()):
        self.function, self.stand_ins = function, [*stand_ins, *state]
        self._starts = [variable.get_value() for variable in state]
        self._in_use = threading.Lock()

    def new_state(self):
        """Fresh variables for ``state``, for one training run."""
        return [theano.shared(start.copy()) for start in self._starts]

    @contextmanager
    def lend(self, variables):
        """Within the ``with``, the function reads and updates ``variables``, in the order of
        ``stand_ins`` and ``state``. Another thread waits for its turn.
        """
        with self._in_use:
            hand_over(variables, self.stand_ins)
            try:
                yield self.function
            finally:
                hand_over(self.stand_ins, variables)


def hand_over(givers, takers):
    """Let each taker hold the giver's array itself."""
    for giver, taker in zip(givers, takers, strict=True):
        taker.set_value(giver.get_value(borrow=True), borrow=True)


def compiled(network, purpose, build):
    """The :class:`Compiled` for ``purpose`` and the shape of ``network``, built if it is new.

    Args:
        network: a :class:`~rarebook.symbolic.network.Network`.
        purpose: hashable; with the network's layers it decides whether two functions are the same.
        build: called without arguments for a new one.
    """
    key = (tuple(layer.config() for layer in network), purpose)
    with _lock:
        if key not in _functions:
            _functions[key] = build()
        _functions.move_to_end(key)
        while len(_functions) > MAX_FUNCTIONS:
            _functions.popitem(last=False)
        return _functions[key]
