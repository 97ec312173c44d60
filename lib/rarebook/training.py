"""The training loop: minibatches, records per epoch, early stopping."""

import time
from dataclasses import is_dataclass, replace

import numpy as np
from tqdm import tqdm

from rarebook import checks
from rarebook.backend import T, theano
from rarebook.symbolic.compiled import Compiled, compiled, with_stand_ins
from rarebook.symbolic.feedback import Levels
from rarebook.symbolic.layers import Softmax
from rarebook.symbolic.losses import nll
from rarebook.symbolic.network import Network
from rarebook.symbolic.optimizers import Adam
from rarebook.symbolic.steps import by_rows, updates


def fit(
    network,
    X,
    y,
    *,
    rng,
    optimizer=None,
    loss=nll,
    level_weights=None,
    epochs=10,
    batch_size=100,
    valid=None,
    patience=None,
    row_gradients=None,
    progress=None,
):
    """Train a network in place and return one record an epoch.

    Every epoch visits each row once, in a new order drawn from ``rng``. The network's values are
    trained on from where they are; the optimizer starts afresh. A network whose layers equal those
    of one trained before, with the same loss and optimizer, uses its compiled function, whatever
    the learning rate, the batch size and the data.

    Args:
        network: a :class:`rarebook.symbolic.network.Network` that ends in ``Softmax``, or in
            ``LevelSoftmax`` or ``TreeSoftmax`` of :mod:`rarebook.symbolic.feedback`.
        X: (n, N), sparse where the network starts with SparseInput, otherwise dense.
        y: labels (n,), integers in 0 … C - 1, or rows of probabilities (n, C). For a network with
            L levels, labels (n, L), a column a level.
        rng: a ``numpy.random.Generator``, for the order of the rows.
        optimizer: an optimizer of :mod:`rarebook.symbolic.optimizers`; None is ``Adam()``.
        loss: a function (logits, y) → scalar expression, such as ``nll`` or a
            :class:`~rarebook.symbolic.losses.SoftmaxLoss`. One with a true ``anneal`` also gets the
            share of the training that is done. With levels it is added up over them.
        level_weights: what the loss of each level counts, (L,), each at least 0; None: 1.
        epochs: how often each row is visited.
        batch_size: rows a step; the last batch of an epoch may be smaller.
        valid: (X, y) held out; their loss and accuracy enter the records.
        patience: stop after this many epochs without a lower ``valid_nll``, and set the network
            back to its best epoch. Needs ``valid``. None: train to the end.
        row_gradients: whether the optimizer gets the gradient for W of the first layer, where that
            reads sparse rows or bags, as a RowGradient; then a step costs the same whatever N is.
            None: only where the result is that of the dense form.
        progress: whether to show a bar. None: only where standard error is a terminal.

    Returns:
        A list of dicts: ``epoch`` (from 1), ``loss`` (mean over the rows, each taken before its
        step), ``seconds`` (of training), and with ``valid`` also ``valid_nll`` (nats),
        ``valid_accuracy``; with levels ``valid_nll`` is added up over them, and ``valid_accuracy``
        is a tuple, a level each.

    Raises:
        ValueError: if an argument is not allowed, or the loss stops being finite. The network
            then holds the values that it had before the call.
    """
    if not isinstance(network, Network) or not isinstance(network[-1], (Softmax, Levels)):
        ends = f" that ends in {network[-1]}" if isinstance(network, Network) else ""
        received = type(network).__name__ + ends
        checks.refuse("network", received, "a symbolic Network that ends in a softmax")
    X, y = _rows(network, "X", "y", X, y)
    checks.generator("rng", rng)
    optimizer = Adam() if optimizer is None else optimizer
    if not hasattr(optimizer, "updates") or not is_dataclass(optimizer):
        checks.refuse("optimizer", repr(optimizer), "an optimizer such as SGD() or Adam()")
    if row_gradients not in (None, True, False):
        checks.refuse("row_gradients", repr(row_gradients), "None, True or False")
    if not callable(loss):
        checks.refuse("loss", repr(loss), "a function (logits, y), such as nll")
    _fits(loss, network[-1])
    level_weights = _level_weights(network, level_weights)
    epochs = checks.whole_number("epochs", epochs, 1)
    batch_size = checks.whole_number("batch_size", batch_size, 1)
    if valid is not None:
        if not isinstance(valid, (tuple, list)) or len(valid) != 2:
            checks.refuse("valid", type(valid).__name__, "a pair (X, y)")
        valid = _rows(network, "valid[0]", "valid[1]", *valid)
    if patience is not None:
        patience = checks.whole_number("patience", patience, 1)
        if valid is None:
            checks.refuse("patience", repr(patience), "None, unless valid is given")

    step = _step(network, loss, optimizer, row_gradients, y.ndim)
    holders = network.variables + step.new_state()
    start = best = _values(network)
    best_epoch, records, n_seen = 0, [], 0
    shown = "loss", "seconds", "valid_nll"
    bar = tqdm(
        range(1, epochs + 1), unit="epoch", disable=None if progress is None else not progress
    )
    for epoch in bar:
        began, total, order = time.perf_counter(), 0.0, rng.permutation(len(y))
        try:
            with step.lend(holders) as (function, finish):
                for batch in np.split(order, range(batch_size, len(y), batch_size)):
                    done = n_seen / (epochs * len(y))
                    inputs = X[batch], y[batch], optimizer.learning_rate, done, level_weights
                    total += len(batch) * float(function(*inputs))
                    n_seen += len(batch)
                finish()
        except ValueError:  # a row step refuses what is not finite
            _set_values(network, start)
            raise
        record = {"epoch": epoch, "loss": total / len(y), "seconds": time.perf_counter() - began}
        if not np.isfinite(total):
            _set_values(network, start)
            checks.refuse(
                "loss",
                f"{total} in epoch {epoch} with {optimizer}",
                "a finite number; a smaller learning_rate may do",
            )
        if valid is not None:
            record |= _evaluate(network, *valid)
        records.append(record)
        bar.set_postfix({name: f"{record[name]:.4g}" for name in shown if name in record})
        if patience is not None:
            if not best_epoch or record["valid_nll"] < records[best_epoch - 1]["valid_nll"]:
                best, best_epoch = _values(network), epoch
            elif epoch - best_epoch >= patience:
                break
    bar.close()
    if patience is not None:
        _set_values(network, best)
    return records


def _rows(network, X_name, y_name, X, y):
    """X and y checked: as many labels as rows, and at least one."""
    X = network[0].rows(X, X_name)
    if X.shape[0] == 0:
        checks.refuse(X_name, "no rows", "one row or more")
    n, head = X.shape[0], network[-1]
    if isinstance(head, Levels):
        return X, checks.level_labels(y_name, y, n, head.n_classes)
    if not checks.is_sparse(y):
        y = checks.as_array(y_name, y, "one label or one row of probabilities a row of X")
    if y.ndim == 2:
        return X, checks.soft_labels(y_name, y, n, head.size, head.dtype)
    return X, checks.labels(y_name, y, n, head.size)


def _fits(loss, head):
    """Refuse a loss with class weights that are not one a class."""
    weights = getattr(loss, "class_weights", None)
    sizes = set(getattr(head, "n_classes", [head.size]))
    if weights is not None and sizes != {len(weights)}:
        received = f"{len(weights)} class weights for {sorted(sizes)} classes"
        checks.refuse("loss", received, "one weight a class, on every level")


def _level_weights(network, weights):
    """What the loss of each level counts, an array; one 1 where there are no levels."""
    dtype, n = network[0].dtype, len(getattr(network[-1], "n_classes", [None]))
    if weights is None:
        return np.ones(n, dtype)
    if not isinstance(network[-1], Levels):
        checks.refuse("level_weights", repr(weights), "None for a network without levels")
    weights = checks.array("level_weights", weights, (n,), dtype)
    if (weights < 0).any():
        checks.refuse("level_weights", f"{weights.min():g}", "weights of at least 0")
    return weights


def _step(network, loss, optimizer, row_gradients, ndim):
    """The compiled training step for networks of this shape, this loss and this optimizer.

    Its function is a pair: the step, and what brings rows up to date at the end of an epoch.
    """
    use_rows = by_rows(network, optimizer, row_gradients)

    def build():
        dtype, head = str(network[0].dtype), network[-1]
        rate, progress = T.dscalar("learning_rate"), T.dscalar("progress")
        weights = T.vector("level_weights", dtype=dtype)
        more = (progress,) if getattr(loss, "anneal", 0) else ()
        x = head.prev.train_output
        if isinstance(head, Levels):
            y = T.lmatrix("y")
            costs = [
                weights[level] * loss(z, y[:, level], *more)
                for level, z in enumerate(head.all_logits(x))
            ]
            cost = sum(costs[1:], costs[0])
        else:
            y = T.lvector("y") if ndim == 1 else T.matrix("y", dtype=dtype)
            cost = loss(x, y, *more)
        kept = [new for layer in network for new in layer.new_state()]
        h, S = network[1].train_output, network[1].rows_read(network[0].output)
        stand_ins, (cost, h, *kept) = with_stand_ins(network.variables, [cost, h, *kept])
        n = len(network.params)
        cost, kept, pairs, at_the_end = updates(
            stand_ins[:n], cost, kept, optimizer, rate, (h, S) if use_rows else None
        )
        state = [variable for variable, _ in pairs if variable not in stand_ins]
        pairs += zip(stand_ins[n:], kept, strict=True)
        inputs = [network[0].output, y, rate, progress, weights]
        function = theano.function(inputs, cost, updates=pairs, on_unused_input="ignore")
        finish = theano.function([], [], updates=at_the_end) if at_the_end else lambda: None
        return Compiled((function, finish), stand_ins, state)

    settings = replace(optimizer, learning_rate=1e-6)
    return compiled(network, ("fit", loss, settings, use_rows, ndim), build)


def _values(network):
    """Copies of all the network's arrays."""
    return [variable.get_value() for variable in network.variables]


def _set_values(network, values):
    for variable, value in zip(network.variables, values, strict=True):
        variable.set_value(value)


def _evaluate(network, X, y):
    """The mean nll in nats and the accuracy of the network's predictions for rows X, labels y."""
    if isinstance(network[-1], Levels):
        ends = np.cumsum(network[-1].n_classes)[:-1]
        levels = list(zip(np.split(network.output(X), ends, axis=1), y.T, strict=True))
        return {
            "valid_nll": sum(_mean_nll(p, labels) for p, labels in levels),
            "valid_accuracy": tuple(_accuracy(p, labels) for p, labels in levels),
        }
    p = network.predict_proba(X)
    return {"valid_nll": _mean_nll(p, y), "valid_accuracy": _accuracy(p, y)}


def _mean_nll(p, y):
    log_p = np.log(np.maximum(p, np.finfo(p.dtype).tiny), dtype=np.float64)
    return float(
        -(log_p * y).sum() / len(y) if y.ndim == 2 else -log_p[np.arange(len(y)), y].mean()
    )


def _accuracy(p, y):
    return float((p.argmax(axis=1) == (y.argmax(axis=1) if y.ndim == 2 else y)).mean())
