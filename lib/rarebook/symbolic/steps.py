"""One training step of any loss: the updates of a network's parameters."""

from rarebook import checks
from rarebook.backend import T, clone_replace
from rarebook.symbolic.optimizers import Optimizer
from rarebook.update_rules import RowGradient


def by_rows(network, optimizer, wanted=None):
    """Whether the gradient for W of the first layer goes to the optimizer as a RowGradient.

    Args:
        network: a :class:`~rarebook.symbolic.network.Network`.
        optimizer: of :mod:`rarebook.symbolic.optimizers`.
        wanted: True, False, or None: where the layer reads rows of W, and the result is the same.

    Raises:
        ValueError: if it is wanted but cannot be, or the optimizer needs it.
    """
    ours = isinstance(optimizer, Optimizer)
    possible = ours and network[1].rows_read(network[0].output) is not None
    chosen = possible and (optimizer.rows_equal_dense if wanted is None else wanted)
    if wanted and not chosen:
        received = f"True with {network[1]} and {getattr(optimizer, 'name', optimizer)}"
        checks.refuse("row_gradients", received, "None or False here")
    if ours and optimizer.defers and not chosen:
        allowed = "one that does not wait, unless row gradients reach it"
        checks.refuse("optimizer", optimizer.name, allowed)
    return chosen


def updates(params, cost, others, optimizer, rate, rows=None):
    """What a training step does.

    Args:
        params: shared variables; where ``rows`` are given, W of the first layer comes first.
        cost: the loss, a scalar expression of them.
        others: further expressions of them that the step computes.
        optimizer: of :mod:`rarebook.symbolic.optimizers`.
        rate: the learning rate, a scalar expression.
        rows: None, or (h, S): the output of the first layer, and the sparse S that it reads rows of
            W with, for an optimizer that gets the gradient of these rows only.

    Returns:
        ``cost`` and ``others``, where they have to be computed from rows brought up to date; the
        pairs (variable, new value); and the pairs that bring all rows up to date in the end.
    """
    if rows is None:
        return cost, others, optimizer.updates(params, T.grad(cost, params), rate), []
    (h, S), (W, *params) = rows, params
    start, at_the_end = optimizer.init(W), []
    now, state = optimizer.catch_up(W, start, S)
    if optimizer.defers:
        cost, h, *others = clone_replace([cost, h, *others], replace={W: now})
        at_the_end = optimizer.pairs(W, start, *optimizer.catch_up(W, start))
    G, *grads = T.grad(cost, [h, *params])
    after = optimizer.step(now, state, RowGradient(S, G), rate)
    pairs = optimizer.pairs(W, start, *after)
    return cost, others, pairs + optimizer.without_waiting.updates(params, grads, rate), at_the_end
